"""The seam between the learning loop and whoever decides when to train: two questions.

`mec_rllib.callbacks.training_gate.TrainingGateCallback` answers both. One instance of it lives in
every env runner, where it holds the gate, and one in the algorithm.
"""

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mec_rllib.gates import Gate, GateView, State
from mec_rllib.sim.jobs import Floats, Ints


@runtime_checkable
class RunnerGate(Protocol):
    """Runner side: asked in every slot, before training jobs are inserted."""

    gate: Gate

    def want_training(self, env_runner: Any, view: GateView) -> Ints:
        """(N,) the kind of training job to insert, or -1 for none."""
        ...

    def slots_allowed(self, env_runner: Any) -> range | None:
        """Slots in which a wish of the gate is carried out; None: it has to be asked in each."""
        ...

    def get_state(self) -> State:
        """What the gate remembers."""
        ...

    def set_state(self, state: State) -> None:
        """Takes over what `get_state` returned."""
        ...


@runtime_checkable
class UpdateGate(Protocol):
    """Learner side: asked after every call that samples, before updates are run."""

    def allow_updates(self, algorithm: Any, requested: int, credits: Ints) -> Ints:
        """(J,) how many updates run now, for each kind of training job.

        Args:
            algorithm: a `GatedAlgorithm`.
            requested: updates that would run without a gate: one per slot sampled.
            credits: (J,) training jobs that have completed since updates ran last.
        """
        ...


def runner_gate(callbacks: Iterable[Any]) -> RunnerGate:
    """The one among a runner's callbacks; `GatedConfig` sees to it that it is there."""
    return next(callback for callback in callbacks if isinstance(callback, RunnerGate))


def update_gate(callbacks: Iterable[Any]) -> UpdateGate:
    """The one among an algorithm's callbacks; `GatedConfig` sees to it that it is there."""
    return next(callback for callback in callbacks if isinstance(callback, UpdateGate))


def view_of(
    world: Any,
    gate: Gate,
    *,
    psi: Floats,
    td_statistic: Floats,
    rng: np.random.Generator,
    td_error: Floats,
    reward: Floats,
    agreement: Floats | None = None,
    price: Floats | None = None,
) -> GateView:
    """What a gate sees of a world in this slot; the shapes are those of `GateView`."""
    return GateView(
        slot=world.slot,
        psi=psi,
        can_ask=world.can_ask,
        is_idle=world.is_idle,
        is_empty=world.is_empty,
        since_training=world.since_kind if gate.chooses_kind else world.since_training,
        td_statistic=td_statistic,
        rng=rng,
        td_error=td_error,
        reward=reward,
        use=world.use,
        queue=world.queue,
        agreement=np.full(world.num_servers, np.nan) if agreement is None else agreement,
        price=np.full(world.num_servers, np.nan) if price is None else price,
    )
