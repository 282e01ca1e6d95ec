"""What a scheduler is, what it plays, and the one loop that runs any of them."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from mec_rllib.sim.jobs import Bools, Floats, Ints


class Playable(Protocol):
    """What `run` asks of servers, or of any other world."""

    mask: Bools  # (N, A) actions allowed now

    def step(self, actions: Ints) -> Floats:
        """Plays a slot."""
        ...


class Scheduler(Protocol):
    """One interface for heuristics and learned policies."""

    def select(self, batch: Any) -> Ints:
        """Actions (N,), each allowed by `batch.mask` (N, M + 1)."""
        ...


def run(
    batch: Playable,
    scheduler: Scheduler,
    slots: int,
    on_slot: Callable[[int], None] | None = None,
) -> None:
    """Plays `slots` slots of every server; `on_slot` gets the number of slots done."""
    for done in range(1, slots + 1):
        batch.step(scheduler.select(batch))
        if on_slot is not None:
            on_slot(done)


def random_actions(mask: Bools, rng: np.random.Generator) -> Ints:
    """One action (N,) per row of the mask (N, M + 1), uniform over the allowed ones."""
    return np.where(mask, rng.random(mask.shape), -1.0).argmax(axis=1)
