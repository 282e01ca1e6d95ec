"""The callback that makes learning pay: it inserts training jobs and vetoes learner updates."""

from typing import Any

import numpy as np

from mec_rllib.gates import GateView, State
from mec_rllib.rl.dqn.algorithm import GatedDQN
from mec_rllib.rl.env_runner import MecEnvRunner
from mec_rllib.rl.gating import GatingCallback
from mec_rllib.sim.jobs import Bools, Ints


class TrainingGateCallback(GatingCallback):
    """Carries a gate's decisions into RLlib; the rule itself is a `mec_rllib.gates.Gate`.

    Runner side: psi becomes training jobs in the environment. Learner side: completed training
    jobs are credits, and what exceeds them is vetoed.
    """

    def on_environment_created(self, *, env_runner: MecEnvRunner, **kwargs: Any) -> None:
        """Builds the gate for the runner's servers."""
        config = env_runner.config
        self.gate = config.gate_class(env_runner.num_envs, **config.gate_args)

    def want_training(self, env_runner: MecEnvRunner, view: GateView) -> Bools | Ints:
        """(N,) where the gate wants a training job.

        Nowhere before there is data to learn from, or once it is to train no more.
        """
        wanted, until = self.gate.wants(view), env_runner.config.train_until
        is_over = until is not None and view.slot >= until
        return wanted if env_runner.can_learn and not is_over else wanted & False

    def allow_updates(self, algorithm: GatedDQN, requested: int) -> Ints:
        """(J,) every update that is paid for, as soon as the replay is filled; none beyond."""
        if not algorithm.can_learn:
            return np.zeros_like(algorithm.credits)
        return algorithm.credits * algorithm.config.updates_per_job - algorithm.updates

    def get_state(self) -> State:
        """What the gate remembers."""
        return self.gate.get_state()

    def set_state(self, state: State) -> None:
        """Takes over what `get_state` returned."""
        self.gate.set_state(state)
