"""Everything about wearables that is the same for every provider.

Read from the bottom up:

    errors.py        what can go wrong, grouped by what to do about it
    core/            pure decisions: no clock, dice, environment, log or network
    provider.py      what a provider must offer;  config.py, log.py: settings and events
    ports.py         what we need from storage, queues and ciphers
    renewal.py       an access token that works, renewed by one caller at a time
    connections.py   connecting a member;  sync.py: bringing their records here
    adapters/        the only place that imports an SDK
    bootstrap.py     settings and providers in, services out
"""
