"""SAC and PPO under a training gate: their configs and algorithms; the loop is GatedAlgorithm's."""

from typing import Any

from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.ppo import PPO, PPOConfig
from ray.rllib.algorithms.sac import SAC, SACConfig
from ray.rllib.core.rl_module.rl_module import RLModule, RLModuleSpec

from mec_rllib.rl.actor_critic.exploration import Sampled
from mec_rllib.rl.actor_critic.learner import GatedPPOTorchLearner, GatedSACTorchLearner
from mec_rllib.rl.actor_critic.modules import GatedSACModule
from mec_rllib.rl.algorithm import GatedAlgorithm
from mec_rllib.rl.gated_config import GatedConfig
from mec_rllib.rl.replay.rollout import Rollout


class GatedSACConfig(GatedConfig, SACConfig):
    """Discrete SAC: twin Q, 2x64 ReLU, soft targets (tau 0.005) after every update, batch 32."""

    def __init__(self, algo_class: type[Algorithm] | None = None):
        super().__init__(algo_class=algo_class or GatedSAC)
        self.acting(exploration=Sampled)
        self.training(tau=0.005, twin_q=True, initial_alpha=0.05, target_entropy=0.05, n_step=1)

    def get_default_learner_class(self) -> type[GatedSACTorchLearner]:
        """The learner that trains from the flat replay."""
        return GatedSACTorchLearner

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        """RLlib's networks, with the temperature in the module."""
        spec = super().get_default_rl_module_spec()
        spec.module_class = GatedSACModule
        return spec

    def validate(self) -> None:
        """Checks of all gated algorithms; stock SAC's are about its own replay.

        Raises:
            ValueError: remote runners: they hold no Q-values, which V is made of.
        """
        _validate(self)


class GatedPPOConfig(GatedConfig, PPOConfig):
    """PPO on the rollout since the last training: 2x64 ReLU, GAE, minibatches of 32."""

    on_policy = True

    def __init__(self, algo_class: type[Algorithm] | None = None):
        super().__init__(algo_class=algo_class or GatedPPO)
        self.acting(exploration=Sampled)
        self.training(lambda_=0.95, clip_param=0.2, vf_clip_param=10.0, entropy_coeff=0.003)

    def get_default_learner_class(self) -> type[GatedPPOTorchLearner]:
        """The learner that uses the rollout up."""
        return GatedPPOTorchLearner

    def build_replay(self, obs_size: int, num_actions: int) -> Rollout:
        """What was played since the last training."""
        batch = self.train_batch_size_per_learner
        return Rollout(self.replay_capacity, self.num_envs_per_env_runner, batch, self.seed)

    def validate(self) -> None:
        """Checks of all gated algorithms.

        Raises:
            ValueError: remote runners: their policy is older than the learner's.
        """
        _validate(self)


def _validate(config: Any) -> None:
    AlgorithmConfig.validate(config)
    config.check()
    if config.num_env_runners:
        config._value_error(f"{config.algo_class.__name__} plays and trains in one process")


class GatedSAC(GatedAlgorithm, SAC):
    """Discrete SAC under a training gate."""

    @classmethod
    def get_default_config(cls) -> GatedSACConfig:
        """The defaults."""
        return GatedSACConfig()

    def start_from(self, module: RLModule) -> None:
        """Takes over the networks and the temperature of another module."""
        super().start_from(module)
        self.learner_group.foreach_learner(lambda learner: learner.take_temperature())


class GatedPPO(GatedAlgorithm, PPO):
    """PPO under a training gate; a credit is K minibatches of the rollout since the last one."""

    @classmethod
    def get_default_config(cls) -> GatedPPOConfig:
        """The defaults."""
        return GatedPPOConfig()
