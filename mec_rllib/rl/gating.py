"""The seam between the learning loop and whoever decides when to train."""

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from ray.rllib.callbacks.callbacks import RLlibCallback

from mec_rllib.gates import Gate, GateView, State
from mec_rllib.sim.jobs import Bools, Ints

if TYPE_CHECKING:
    from mec_rllib.rl.dqn.algorithm import GatedDQN
    from mec_rllib.rl.env_runner import MecEnvRunner


class GatingCallback(RLlibCallback):
    """An RLlib callback that is asked before training jobs are inserted and updates are run.

    One instance lives in every env runner, where it holds the gate, and one in the algorithm.
    """

    gate: Gate

    @abstractmethod
    def want_training(self, env_runner: "MecEnvRunner", view: GateView) -> Bools | Ints:
        """Runner side, every slot: (N,) where to insert a training job, as the gate answers."""

    @abstractmethod
    def allow_updates(self, algorithm: "GatedDQN", requested: int) -> Ints:
        """Learner side: (J,) how many updates of each kind of training job may run now.

        `requested` is one per slot sampled.
        """

    @abstractmethod
    def get_state(self) -> State:
        """What the gate remembers."""

    @abstractmethod
    def set_state(self, state: State) -> None:
        """Takes over what `get_state` returned."""


def find_gating(callbacks: list[Any]) -> GatingCallback:
    """The gating callback among a runner's or an algorithm's callbacks.

    Raises:
        ValueError: there is none, or more than one.
    """
    found = [callback for callback in callbacks if isinstance(callback, GatingCallback)]
    if len(found) != 1:
        raise ValueError(
            f"GatedDQN needs exactly one GatingCallback, found {len(found)}; "
            "see mec_rllib.callbacks.training_gate.TrainingGateCallback"
        )
    return found[0]
