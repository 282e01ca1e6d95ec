"""A built-in scheduler's rule: a compiled function over a tuple of all that it knows."""

from typing import Any

import numpy as np

from mec_rllib.compiled import by_type, compiled
from mec_rllib.sim.jobs import Ints
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.slot import Now, Rules, Servers


@by_type
def select(rule: Any, servers: Servers, now: Now, rules: Rules, actions: Ints) -> None:
    """Writes (N,) actions; `rule` says by its type how they are chosen."""


@compiled
def _ask(rule: Any, servers: Servers, now: Now, rules: Rules, actions: Ints) -> None:
    select(rule, servers, now, rules, actions)


def asked(rule: Any, batch: ServerBatch) -> Ints:
    """Actions (N,) that a compiled rule chooses."""
    actions = np.empty(batch.num_servers, np.int64)
    _ask(rule, batch.servers, batch.now, batch.rules, actions)
    return actions
