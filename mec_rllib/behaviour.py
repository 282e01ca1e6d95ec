"""The version of what a seed plays: which rows are still those of this code.

Raise it with every change after which `tune_configs/demo.yaml` has other rows: another order of
random draws, another update, another default. Published results of an older version are stale, and
`make results` plays them again. `tests/published/test_behaviour.py` pins some rows to it.
"""

BEHAVIOUR_VERSION = 1
