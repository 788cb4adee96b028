"""Everything about wearables that is the same for every provider.

From the ground floor up:

    errors.py        what can go wrong, grouped by what to do about it
    core/            pure decisions: no clock, dice, environment, log or network
    provider.py      what a provider must offer;  config.py, log.py: settings and events
    ports.py         what we need from storage, queues and ciphers
    spending.py      every request is counted before it is sent
    renewal.py       an access token that works, renewed by one caller at a time
    ownership.py     whose account a grant is for, where only the records tell
    connections.py   connecting a member;  sync.py: bringing their records here
    overview.py      what a member may know
    poison.py        messages that nobody could finish
    nightly.py       everybody's turn in the night;  cleanup.py: what nobody needs any more
    adapters/        the only place that imports an SDK
    bootstrap.py     settings and providers in, services out
"""
