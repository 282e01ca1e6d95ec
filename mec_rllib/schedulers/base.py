"""What a scheduler is, what it plays, and the one loop that runs any of them."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mec_rllib.compiled import is_ours
from mec_rllib.sim.jobs import Bools, Floats, Ints
from mec_rllib.sim.server import ServerBatch


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


@runtime_checkable
class Playing(Protocol):
    """A scheduler that can play servers faster than slot by slot, with the same outcome."""

    def play(self, batch: ServerBatch, slots: int) -> None:
        """Plays so many slots of every server, as `select` and `step` in turns."""
        ...


def run(
    batch: Playable,
    scheduler: Scheduler,
    slots: int,
    on_slot: Callable[[int], None] | None = None,
) -> None:
    """Plays `slots` slots of every server; `on_slot` gets the number of slots done."""
    is_whole = on_slot is None and type(batch) is ServerBatch
    if is_whole and isinstance(scheduler, Playing) and is_ours(scheduler):
        scheduler.play(batch, slots)  # type: ignore[arg-type]
        return
    for done in range(1, slots + 1):
        batch.step(scheduler.select(batch))
        if on_slot is not None:
            on_slot(done)


def random_actions(mask: Bools, rng: np.random.Generator) -> Ints:
    """One action (N,) per row of the mask (N, M + 1), uniform over the allowed ones."""
    return np.where(mask, rng.random(mask.shape), -1.0).argmax(axis=1)
