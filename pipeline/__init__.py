"""From a customer's query to an intent: seven stages, run by DVC in this order, that share nothing but files.

    fetch -> prepare -> featurize -> teach -> train -> evaluate -> export

Stages (``python -m pipeline.<stage>``) import leaves; leaves import leaves; no stage imports a stage.
Commands (``verify``, ``reference``, ``report``, ``tables``) stand beside the stages and import leaves, and of each other
``card``, ``compose`` and ``tour`` alone.
"""
