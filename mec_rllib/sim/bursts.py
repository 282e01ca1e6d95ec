"""Arrivals in bursts: calm and busy phases by turns, at the same mean load."""

from dataclasses import dataclass

import numpy as np

from mec_rllib.sim.jobs import Floats


@dataclass(frozen=True)
class Bursts:
    """A two-phase Markov-modulated rate of arrivals, each server with phases of its own.

    A busy phase lasts `slots` slots on average and brings `factor` times as many jobs per slot as
    a calm one; one begins every `every` slots on average (both lengths geometric). The mean load
    stays what it is. Phases are drawn for a chunk of slots at once, beginning at random: a phase
    does not reach beyond it (reconstructed).

    Raises:
        ValueError: phases of less than a slot, or a factor below 1.
    """

    factor: float
    slots: float
    every: float

    def __post_init__(self) -> None:
        if self.slots < 1 or self.every - self.slots < 1:
            raise ValueError(
                f"bursts.slots ({self.slots:g}) must be at least 1, and bursts.every "
                f"({self.every:g}) at least 1 more"
            )
        if self.factor < 1:
            raise ValueError(f"bursts.factor must be at least 1, not {self.factor:g}")

    @property
    def calm(self) -> float:
        """Load in a calm phase, relative to the mean."""
        busy_share = self.slots / self.every
        return 1.0 / (1.0 + busy_share * (self.factor - 1.0))

    @property
    def busy(self) -> float:
        """Load in a busy phase, relative to the mean."""
        return self.factor * self.calm

    def rates(self, rng: np.random.Generator, slots: int) -> Floats:
        """(slots,) load of each slot, relative to the mean."""
        rates = np.empty(slots)
        busy, start = rng.random() < self.slots / self.every, 0
        while start < slots:
            mean = self.slots if busy else self.every - self.slots
            end = start + int(rng.geometric(1.0 / mean))
            rates[start:end] = self.busy if busy else self.calm
            busy, start = not busy, end
        return rates
