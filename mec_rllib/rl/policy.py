"""Q-values from an RLModule, and the greedy policy as a scheduler like any other."""

from pathlib import Path

import numpy as np
import torch
from numba import njit
from ray.rllib.algorithms.dqn.default_dqn_rl_module import QF_PREDS
from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import TargetNetworkAPI
from ray.rllib.core.rl_module.rl_module import RLModule
from ray.rllib.utils.typing import StateDict

from mec_rllib.envs.afterstates import encoder_of
from mec_rllib.envs.gym_world import GymBatch
from mec_rllib.envs.observation import Observations
from mec_rllib.envs.world import WorldEncoder
from mec_rllib.rl.actor_critic import ActorCritic, GatedSACModule, SoftActorCritic
from mec_rllib.rl.afterstate_module import AfterstateModule
from mec_rllib.rl.mlp import afterstate_q, forward, relu_mlp
from mec_rllib.sim.jobs import Bools, Floats, Ints
from mec_rllib.sim.server import ServerBatch


class QFunction:
    """Q-values that a module acts with, for a batch of observations.

    They come from the online network, or from the target network if the module's config says
    `act_with: target` (an averaged network is steadier) and it is there: a module on a remote
    runner has one network only.

    A plain ReLU network is evaluated by compiled code on the module's own memory (no copy: it
    sees every update at once); for the few rows of a slot that is several times faster than
    torch. Any other network goes through `compute_q_values`.
    """

    def __init__(self, module: RLModule):
        self._module = module
        self._layers = None
        self._actions = int(module.action_space.n)
        self._on_afterstates = isinstance(module, AfterstateModule)
        acts_with_target = acts_with_target_network(module)
        self._compute = module.forward_target if acts_with_target else module.compute_q_values
        parts = ("_target_encoder", "_target_af") if acts_with_target else ("encoder", "af")
        linears = relu_mlp(module, *parts)
        if linears and linears[0].weight.device.type == "cpu":
            self._layers = tuple(
                (m.weight.detach().numpy(), m.bias.detach().numpy()) for m in linears
            )

    def __call__(self, obs: Observations) -> Observations:
        """(B, F) observations to (B, M + 1) Q-values, float32."""
        if self._layers is None:
            with torch.inference_mode():
                batch = {Columns.OBS: torch.from_numpy(obs)}
                return self._compute(batch)[QF_PREDS].numpy()
        if self._on_afterstates:
            return afterstate_q(self._layers, obs, self._actions)
        return forward(self._layers, obs)[1]

    def values(self, q: Observations, mask: Bools) -> Floats:
        """(B,) the highest Q of the actions allowed."""
        return best_allowed(q, mask)[1]

    def values_taken(self, q: Observations, actions: Ints) -> Observations:
        """(B,) Q of the actions taken."""
        return q[np.arange(len(q)), actions]


def acts_with_target_network(module: RLModule) -> bool:
    """Whether the module's target network decides; runners' modules have none of their own."""
    wanted = module.model_config.get("act_with") == "target"
    return wanted and hasattr(module, "_target_encoder")


def acting_weights(module: RLModule) -> StateDict:
    """Weights for a module that only acts: of the network that decides."""
    weights = module.get_state(inference_only=True)
    if not acts_with_target_network(module):
        return weights
    whole = module.get_state()
    return {name: whole[f"_target_{name}"] for name in weights}


@njit(cache=True)
def best_allowed(q: Observations, mask: Bools) -> tuple[Ints, Floats]:
    """(B,) the allowed action with the highest Q, the first among equals, and (B,) that Q."""
    actions = np.zeros(len(q), np.int64)
    values = np.full(len(q), -np.inf)
    for b in range(len(q)):
        for a in range(q.shape[1]):
            if mask[b, a] and q[b, a] > values[b]:
                actions[b], values[b] = a, q[b, a]
    return actions, values


class GreedyPolicy:
    """A trained module as a scheduler: always the allowed action that it rates highest.

    Args:
        module: a module of DQN, SAC or PPO.
        observe: the observation that the module was trained with (arguments of `encoder_of`).
    """

    def __init__(self, module: RLModule, observe: dict | None = None):
        self._rate = acting_function(module)
        self._observe = observe or {}
        self._encoder: WorldEncoder | None = None
        self._batch: ServerBatch | GymBatch | None = None

    def select(self, batch: ServerBatch | GymBatch) -> Ints:
        """Actions (N,)."""
        if self._encoder is None or self._batch is not batch:
            self._batch, self._encoder = batch, encoder_of(batch, **self._observe)
        ratings = self._rate(self._encoder.encode())[:, : batch.mask.shape[1]]
        return best_allowed(ratings, batch.mask)[0]


def acting_function(module: RLModule) -> QFunction | ActorCritic | SoftActorCritic:
    """What a module of DQN, SAC or PPO acts with."""
    if isinstance(module, GatedSACModule):
        return SoftActorCritic(module)
    if isinstance(module, DefaultPPOTorchRLModule):
        return ActorCritic(module)
    return QFunction(module)


def load_module(checkpoint: str | Path) -> RLModule:
    """The RLModule of an RLlib checkpoint, with its target network.

    It is loaded with pickle: code in it runs. `mec_rllib.rl.policy_file.load_policy` reads what
    our own checkpoints hold without that.

    Raises:
        ValueError: no such checkpoint.
    """
    path = Path(checkpoint).absolute() / "learner_group" / "learner" / "rl_module"
    if not path.is_dir():
        raise ValueError(f"checkpoint {checkpoint}: no policy found in it")
    module = RLModule.from_checkpoint(path / "default_policy")
    if isinstance(module, TargetNetworkAPI):
        module.make_target_networks()  # RLlib makes them in the learner only
    module.restore_from_path(path / "default_policy")
    return module
