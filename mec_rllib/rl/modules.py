"""The modules that algorithms here are built from: their names, and what they act with."""

from ray.rllib.algorithms.dqn.torch.default_dqn_torch_rl_module import DefaultDQNTorchRLModule
from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
from ray.rllib.core.rl_module.rl_module import RLModule

from mec_rllib.rl.actor_critic.modules import ActorCritic, GatedSACModule, SoftActorCritic
from mec_rllib.rl.dqn.afterstates import AfterstateModule
from mec_rllib.rl.dqn.bootstrapped import BootstrappedModule, BootstrappedQ
from mec_rllib.rl.dqn.noisy import NoisyModule, NoisyQ
from mec_rllib.rl.dqn.q_function import QFunction

# Modules that a policy file may ask for; no other class is ever built from one.
MODULES: dict[str, type[RLModule]] = {
    "dqn": DefaultDQNTorchRLModule,
    "afterstate": AfterstateModule,
    "bootstrapped": BootstrappedModule,
    "noisy": NoisyModule,
    "sac": GatedSACModule,
    "ppo": DefaultPPOTorchRLModule,
}


def acting_function(module: RLModule) -> QFunction | ActorCritic | SoftActorCritic:
    """What a module of DQN, SAC or PPO acts with."""
    if isinstance(module, GatedSACModule):
        return SoftActorCritic(module)
    if isinstance(module, DefaultPPOTorchRLModule):
        return ActorCritic(module)
    if isinstance(module, BootstrappedModule):
        return BootstrappedQ(module)
    return NoisyQ(module) if isinstance(module, NoisyModule) else QFunction(module)
