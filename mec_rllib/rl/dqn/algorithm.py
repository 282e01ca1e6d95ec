"""GatedDQN: DQN whose learner updates have to be paid for with training jobs."""

from typing import Any, Self

from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.dqn import DQN, DQNConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from mec_rllib.envs.config import EnvConfig
from mec_rllib.rl.algorithm import GatedAlgorithm
from mec_rllib.rl.dqn.afterstates import AfterstateModule
from mec_rllib.rl.dqn.imagined import ImaginedExperience, ImaginingLearner
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

    def imagining(
        self,
        *,
        servers: int = 64,
        lambda_: float = 0.8,
        exploration: float = 0.01,
        forget: float = 5000.0,
        interrupted: float = 0.0625,
    ) -> Self:
        """Learns from imagined servers instead of a replay; needs `observe={"afterstates": True}`.

        Args:
            servers: that are imagined; they go on from one training job to the next.
            lambda_: of TD(lambda).
            exploration: share of imagined slots with any allowed action.
            forget: slots in which the weight of an arrival falls to 1 / e.
            interrupted: share of imagined servers in which training jobs come.
        """
        self.imagination = {
            "servers": servers,
            "lambda_": lambda_,
            "exploration": exploration,
            "forget": forget,
            "interrupted": interrupted,
        }
        return self

    def build_replay(self, obs_size: int, num_actions: int) -> Any:
        """Where experience waits for training, or is imagined."""
        if self.imagination is None:
            return super().build_replay(obs_size, num_actions)
        batch = EnvConfig.model_validate(self.env_config).build_servers()
        return ImaginedExperience(
            batch, self.gamma, self.num_servers, self.seed, **self.imagination
        )

    def get_default_learner_class(self) -> type[GatedDQNTorchLearner]:
        """The learner that belongs to the experience or the network."""
        if self.imagines:
            return ImaginingLearner
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
        if self.imagines and (not self.observe.get("afterstates") or self.n_step > 1):
            self._value_error("imagining() needs observe={'afterstates': True} and n_step=1")
        if self.imagines and EnvConfig.model_validate(self.env_config).gym is not None:
            self._value_error("imagining() plays MEC servers: env.gym cannot be imagined")


class GatedDQN(GatedAlgorithm, DQN):
    """Double DQN under a training gate."""

    @classmethod
    def get_default_config(cls) -> GatedDQNConfig:
        """The source's agent."""
        return GatedDQNConfig()

    def learn(self, kind: int, updates: int) -> None:
        """As for any algorithm; the step size is that of the slots played so far."""
        self.learner_group._learner.anneal(self.slots)
        super().learn(kind, updates)
