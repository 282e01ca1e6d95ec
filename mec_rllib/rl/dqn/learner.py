"""The learner: stock DQN's loss on flat batches, many updates per call."""

from typing import Any

import numpy as np
import torch
from ray.rllib.algorithms.dqn.dqn_learner import (
    QF_NEXT_PREDS,
    QF_PREDS,
    QF_TARGET_NEXT_PREDS,
)
from ray.rllib.algorithms.dqn.torch.dqn_torch_learner import DQNTorchLearner
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.utils.typing import StateDict
from torch import Tensor
from torch.nn.functional import huber_loss

from mec_rllib.rl.dqn.mlp import relu_mlp
from mec_rllib.rl.dqn.mlp_update import train
from mec_rllib.rl.dqn.updates import CompiledUpdates, Train, is_plain_adam
from mec_rllib.rl.messages import Transitions, UpdateMetrics
from mec_rllib.rl.replay.prioritized import PrioritizedReplay
from mec_rllib.rl.targets import follow
from mec_rllib.sim.jobs import Floats


class GatedDQNTorchLearner(DQNTorchLearner):
    """An RLlib Learner that trains from the flat replay, as often as the gate allows.

    Stock `update` sends every batch through episodes, connectors and metrics; that costs more
    than the update. `learn` keeps the loss (double Q, Huber, importance weights) and leaves the
    rest out. The bootstrap action is the best *allowed* action. Targets follow softly after every
    update. A plain ReLU network is updated without autograd (`CompiledUpdates`). Any other is with
    it, and so is one whose learner overrides the loss, or whose replay is a user's own.
    """

    train: Train = staticmethod(train)  # a plain ReLU network
    trains_from: type[Any] = PrioritizedReplay  # what `train` can read

    def build(self) -> None:
        """Builds RLlib's parts, then chooses how to update."""
        super().build()
        self._compiled_updates = self.compile_for(self.agent, self.get_optimizer())

    def set_state(self, state: StateDict) -> None:
        """Restores module and optimizer."""
        super().set_state(state)
        if self._compiled_updates:
            self._compiled_updates.adopt_optimizer_state()

    def anneal(self, slots: int) -> None:
        """Sets Adam's step size, where it is a schedule over the slots played."""
        for optimizer, schedule in self._optimizer_lr_schedules.items():
            self._set_optimizer_lr(optimizer, schedule.update(timestep=slots))

    def learn(self, replay: PrioritizedReplay, updates: int, batch: int) -> UpdateMetrics:
        """Draws `updates` batches from the replay, trains on each, writes priorities back."""
        if self._compiled_updates and type(replay) is self.trains_from:
            return self._compiled_updates.run(replay, updates, batch)
        sums = np.zeros(3)
        for _ in range(updates):
            drawn, rows, weights = replay.sample(batch)
            loss, q_value, td_error = self.autograd_update(drawn, weights)
            replay.update_priorities(rows, td_error)
            sums += loss, td_error.mean(), q_value
        return UpdateMetrics(updates, *(sums / updates))

    def autograd_update(
        self, drawn: Transitions, weights: np.ndarray
    ) -> tuple[float, float, Floats]:
        """One update of any network: the loss, the mean Q taken, and |TD error| (B,)."""
        module, optimizer = self.agent, self.get_optimizer()
        loss, q_selected, td_error = self.compute_flat_loss(module, drawn, weights)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        follow(module, self.config.tau)
        return loss.item(), q_selected.detach().mean().item(), td_error.numpy()

    def compute_flat_loss(
        self, module, drawn: Transitions, weights: np.ndarray
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss (scalar), Q of the actions taken (B,), and |TD error| (B,)."""
        q = module.forward_train(
            {
                Columns.OBS: torch.from_numpy(drawn.obs),
                Columns.NEXT_OBS: torch.from_numpy(drawn.next_obs),
            }
        )
        target = q[QF_TARGET_NEXT_PREDS][:, None]
        judge = q[QF_NEXT_PREDS][:, None] if self.config.double_q else target
        return td_loss(q[QF_PREDS][:, None], judge, target, drawn, weights)

    @property
    def agent(self) -> Any:
        """The network that is trained."""
        return self.module[DEFAULT_MODULE_ID].unwrapped()

    def compile_for(self, module: Any, optimizer: Any) -> CompiledUpdates | None:
        """None if the network, its optimizer, its device or a loss of its own need autograd."""
        online = relu_mlp(module, "encoder", "af")
        if not online or not is_plain_adam(optimizer) or online[0].weight.device.type != "cpu":
            return None
        for piece in ("autograd_update", "compute_flat_loss"):
            if getattr(type(self), piece) is not getattr(GatedDQNTorchLearner, piece):
                return None
        target = relu_mlp(module, "_target_encoder", "_target_af")
        assert target is not None  # a copy of the online network
        config = self.config
        return CompiledUpdates(
            online, target, optimizer, config.tau, config.double_q, train=self.train
        )


def td_loss(
    q: Tensor, judge: Tensor, target: Tensor, drawn: Transitions, weights: np.ndarray
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss (scalar; the sum over heads), and means over heads: Q taken (B,), |TD error| (B,).

    Args:
        q: (B, heads, A) of the states.
        judge: (B, heads, A) of the next states: which of the allowed actions is best there.
        target: (B, heads, A) of the next states: what it is worth.
        drawn: B transitions.
        weights: (B,) importance weights.
    """
    rewards, actions = torch.from_numpy(drawn.rewards), torch.from_numpy(drawn.actions)
    of_action = actions[:, None, None].expand(-1, q.shape[1], 1)
    taken = q.gather(2, of_action)[..., 0]
    with torch.no_grad():
        allowed = torch.from_numpy(drawn.next_mask)[:, None]
        best = judge.masked_fill(~allowed, -torch.inf).argmax(2, keepdim=True)
        discounts = torch.from_numpy(drawn.discounts).float()[:, None]
        goal = rewards[:, None] + discounts * target.gather(2, best)[..., 0]
    losses = huber_loss(taken, goal, reduction="none").sum(dim=1)
    loss = (torch.from_numpy(weights) * losses).mean()
    return loss, taken.mean(dim=1), (taken.detach() - goal).abs().mean(dim=1)
