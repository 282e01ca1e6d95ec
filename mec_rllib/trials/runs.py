"""Who plays a trial: a strategy in motion, built from what the study says of it."""

from pathlib import Path
from typing import Any, ClassVar, Protocol

from mec_rllib.config.study import Strategy
from mec_rllib.envs.gym_world import GymBatch
from mec_rllib.envs.world import totals_of
from mec_rllib.lookup import seeded
from mec_rllib.schedulers import Scheduler, Shadow, run
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.totals import Sums, world_figures


class StrategyRun(Protocol):
    """A strategy in motion."""

    @property
    def totals(self) -> Sums:
        """Sums since the start, once something has been played."""
        ...

    @property
    def learner_updates(self) -> int:
        """Updates since the start."""
        ...

    @property
    def updates_of_kinds(self) -> list[int]:
        """Updates since the start that each kind of training jobs has paid for."""
        ...

    @property
    def requests_by_reason(self) -> dict[str, int]:
        """Training jobs asked for since the start, by the gate's reasons; {} where it has none."""
        ...

    def play(self, slots: int) -> dict[str, Any]:
        """Plays about so many slots and returns the figures to report."""
        ...

    def policy(self) -> Scheduler:
        """What the strategy would do now, without exploring or learning."""
        ...

    def save(self, folder: Path, to_go_on: bool) -> None:
        """Writes what has been learned; `to_go_on`: and all that `restore` needs."""
        ...

    def restore(self, folder: Path, slots: int) -> None:
        """Goes on from what `save` wrote after so many slots."""
        ...

    def stop(self) -> None:
        """Gives everything back."""
        ...


class SchedulerRun:
    """A scheduler at work: it learns nothing; only one that searches pays for anything."""

    learner_updates = 0
    updates_of_kinds: ClassVar[list[int]] = []
    requests_by_reason: ClassVar[dict[str, int]] = {}

    def __init__(self, scheduler: Scheduler, batch: ServerBatch | GymBatch):
        self._scheduler, self._batch = scheduler, batch

    @property
    def totals(self) -> Sums:
        """Sums since the start."""
        return totals_of(self._batch)

    def play(self, slots: int) -> dict[str, Any]:
        """Plays the slots (rounded up to whole slots of all servers)."""
        before = self.totals
        run(self._batch, self._scheduler, -(-slots // self._batch.num_servers))
        faults = {"faults": {"workload": self._batch.workload_faults}}
        return world_figures(self.totals, before) | faults

    def policy(self) -> Scheduler:
        """The scheduler; of one that searches for a rule, the rule."""
        found = self._scheduler
        return found.policy() if isinstance(found, Shadow) else found

    def save(self, folder: Path, to_go_on: bool) -> None:
        """A rule has nothing to keep."""

    def restore(self, folder: Path, slots: int) -> None:
        """Plays these slots again: that is fast, and needs no file."""
        self.play(slots)

    def stop(self) -> None:
        """Holds nothing."""


def start_run(strategy: Strategy, seed: int, pretrained: Path | None = None) -> StrategyRun:
    """The strategy at slot 0; `pretrained` is a checkpoint whose policy it starts from."""
    if strategy.learns:
        # Torch and RLlib take seconds to import: in the trial, not in the driver that waits for it.
        from mec_rllib.trials.learner_run import LearnerRun

        return LearnerRun(strategy, seed, pretrained)
    runners = strategy.experiment.runners
    batch = strategy.experiment.env.build_world(max(runners.num, 1) * runners.servers, seed)
    return SchedulerRun(seeded(strategy.scheduler, strategy.args, seed), batch)
