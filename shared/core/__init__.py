"""Pure decisions: no clock, dice, environment, log, storage or network."""
