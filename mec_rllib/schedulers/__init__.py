"""Which job next: heuristics and references, and the one loop that runs any scheduler on servers.

A scheduler answers, for a batch of servers, one action each: 0 = start nothing, i = start the
i-th waiting job. The learned policy has the same face (`mec_rllib.rl.policy`), so everything is
compared through `run`. Ties go to the earliest arrival.
"""

from collections.abc import Callable

from mec_rllib.schedulers.base import Playable, Scheduler, random_actions, run
from mec_rllib.schedulers.heuristics import (
    EDF,
    FIFO,
    SJF,
    Priority,
    RandomScheduler,
    Reservation,
    Tetris,
)
from mec_rllib.schedulers.index import Index
from mec_rllib.schedulers.optimal import OptimalScheduler
from mec_rllib.schedulers.rollout import Rollout
from mec_rllib.schedulers.shadow import Shadow

__all__ = [
    "EDF",
    "FIFO",
    "SCHEDULERS",
    "SJF",
    "Index",
    "OptimalScheduler",
    "Playable",
    "Priority",
    "RandomScheduler",
    "Reservation",
    "Rollout",
    "Scheduler",
    "Shadow",
    "Tetris",
    "random_actions",
    "run",
]

SCHEDULERS: dict[str, Callable[..., Scheduler]] = {
    "random": RandomScheduler,
    "fifo": FIFO,
    "sjf": SJF,
    "edf": EDF,
    "priority": Priority,
    "reservation": Reservation,
    "tetris": Tetris,
    "index": Index,
    "shadow": Shadow,
    "rollout": Rollout,
    "optimal": OptimalScheduler,  # tiny instances only
}
