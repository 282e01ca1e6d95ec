"""GatedDQN: DQN whose learner updates have to be paid for with training jobs."""

from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.dqn import DQN, DQNConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from mec_rllib.rl.algorithm import GatedAlgorithm
from mec_rllib.rl.dqn.afterstates import AfterstateModule
from mec_rllib.rl.dqn.learner import GatedDQNTorchLearner
from mec_rllib.rl.gated_config import GatedConfig


class GatedDQNConfig(GatedConfig, DQNConfig):
    """DQNConfig with the source's agent as defaults, plus `gating` and `replay`.

    Defaults: Double DQN, no dueling, 2x64 ReLU, Adam 5e-4, Huber, gamma 0.95, soft targets
    (tau 0.005) after every update, batch 32.
    """

    def __init__(self, algo_class: type[Algorithm] | None = None):
        super().__init__(algo_class=algo_class or GatedDQN)
        self.training(
            tau=0.005,
            double_q=True,
            dueling=False,
            num_atoms=1,
            noisy=False,
            td_error_loss_fn="huber",
        )

    def get_default_learner_class(self) -> type[GatedDQNTorchLearner]:
        """The learner that belongs to the network; it trains from the flat replay."""
        return getattr(self.module_class, "learner_class", GatedDQNTorchLearner)

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        """DQN's network, or the one that the observation or the exploration needs."""
        spec = super().get_default_rl_module_spec()
        if self.observe.get("afterstates"):
            spec.module_class = AfterstateModule
        elif self.exploration.network is not None:
            spec.module_class = self.exploration.network
        return spec

    def validate(self) -> None:
        """RLlib's checks, and what GatedDQN does not do.

        Raises:
            ValueError: distributional networks, RLlib's key for noisy ones, another loss than
                Huber, an exploration without the network that it needs.
        """
        super().validate()
        if self.num_atoms != 1:
            self._value_error("GatedDQN needs num_atoms=1")
        if self.noisy:
            self._value_error("GatedDQN needs noisy=False; acting(exploration=Noisy) is noisy")
        if self.td_error_loss_fn != "huber":
            self._value_error("GatedDQN needs td_error_loss_fn='huber'")


class GatedDQN(GatedAlgorithm, DQN):
    """Double DQN under a training gate."""

    @classmethod
    def get_default_config(cls) -> GatedDQNConfig:
        """The source's agent."""
        return GatedDQNConfig()
