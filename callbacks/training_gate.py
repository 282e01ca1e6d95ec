"""The callback that makes learning pay: it inserts training jobs and vetoes learner updates."""

from typing import Any

import numpy as np
from ray.rllib.callbacks.callbacks import RLlibCallback

from mec_rllib.gates import Gate, GateView, State
from mec_rllib.rl.algorithm import GatedAlgorithm
from mec_rllib.rl.env_runner import MecEnvRunner
from mec_rllib.rl.gated_config import require_gated
from mec_rllib.sim.jobs import Bools, Ints
from mec_rllib.sim.training_jobs import NO_KIND


class TrainingGateCallback(RLlibCallback):
    """Carries a gate's decisions into RLlib; the rule itself is a `mec_rllib.gates.Gate`.

    Runner side: psi becomes training jobs in the environment. Learner side: completed training
    jobs are credits, and every update that they do not pay for is vetoed.

    `GatedDQNConfig` and its like bring it along. To decide otherwise, override `allow_training`
    or `allow_updates` in a subclass, and give that to the config's `callbacks()`: it takes the
    place of this one.

    Attributes:
        gate: in a runner, the gate of its N servers.
    """

    gate: Gate

    def on_environment_created(self, *, env_runner: MecEnvRunner, **kwargs: Any) -> None:
        """Builds the gate for the runner's servers.

        Raises:
            ValueError: the algorithm is RLlib's own, which would train without a gate.
        """
        config = require_gated(env_runner.config, self)
        self.gate = config.build_gate(env_runner.env.servers)

    def on_algorithm_init(self, *, algorithm: GatedAlgorithm, **kwargs: Any) -> None:
        """Raises a ValueError where the algorithm is RLlib's own."""
        require_gated(algorithm.config, self)

    def want_training(self, env_runner: MecEnvRunner, view: GateView) -> Ints:
        """(N,) the kind of training job that the gate wants where one is allowed; -1: none."""
        wanted = self.gate.wants(view)
        if not self.gate.chooses_kind:
            wanted = np.where(wanted, env_runner.config.training_kind or 0, NO_KIND)
        return np.where(self.allow_training(env_runner, view), wanted, NO_KIND)

    def allow_training(self, env_runner: MecEnvRunner, view: GateView) -> bool | Bools:
        """Whether training jobs may be asked for in this slot; (N,) if servers differ in it.

        Not before there is enough experience to learn from, nor once training is over.
        """
        allowed = env_runner.config.slots_of_training
        return allowed.start <= view.slot < allowed.stop

    def slots_allowed(self, env_runner: MecEnvRunner) -> range | None:
        """Slots in which training jobs may be asked for; None: a subclass says it slot by slot."""
        asked, own = TrainingGateCallback, type(self)
        is_ours = own.allow_training is asked.allow_training
        is_ours &= own.want_training is asked.want_training
        return env_runner.config.slots_of_training if is_ours else None

    def allow_updates(self, algorithm: GatedAlgorithm, requested: int, credits: Ints) -> Ints:
        """(J,) the updates that training jobs have paid for; all others are vetoed.

        The credits are spent by this, however many updates are allowed.

        Args:
            algorithm: which asks as soon as it has enough experience to learn from.
            requested: updates that stock DQN would run: one per slot sampled.
            credits: (J,) training jobs of each kind that completed since it asked last.
        """
        return credits * algorithm.config.updates_of_kinds

    def get_state(self) -> State:
        """What the gate remembers."""
        return self.gate.get_state()

    def set_state(self, state: State) -> None:
        """Takes over what `get_state` returned."""
        self.gate.set_state(state)
