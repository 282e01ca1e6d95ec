"""The learner: stock DQN's loss on flat batches, many updates per call."""

from typing import NamedTuple

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
from torch import Tensor
from torch.nn.functional import huber_loss

from mec_rllib.rl.replay import PrioritizedReplay, Transitions


class UpdateMetrics(NamedTuple):
    """Means over the updates of one call."""

    updates: int
    loss: float
    td_error: float
    q_value: float


class GatedDQNTorchLearner(DQNTorchLearner):
    """An RLlib Learner that trains from the flat replay, as often as the gate allows.

    Stock `update` sends every batch through episodes, connectors and metrics; that costs more
    than the update. `learn` keeps the loss (double Q, Huber, importance weights) and leaves the
    rest out. The bootstrap action is the best *allowed* action. Targets follow softly after every
    update.
    """

    def learn(self, replay: PrioritizedReplay, updates: int) -> UpdateMetrics:
        """Draws `updates` batches from the replay, trains on each, writes priorities back."""
        module = self.module[DEFAULT_MODULE_ID].unwrapped()
        optimizer = self.get_optimizer()
        sums = np.zeros(3)
        for _ in range(updates):
            drawn, rows, weights = replay.sample(self.config.train_batch_size_per_learner)
            loss, q_selected, td_error = self.compute_flat_loss(module, drawn, weights)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            self._follow(module)
            errors = td_error.detach().numpy()
            replay.update_priorities(rows, errors)
            sums += loss.item(), errors.mean(), q_selected.detach().mean().item()
        return UpdateMetrics(updates, *(sums / updates))

    def compute_flat_loss(
        self, module, drawn: Transitions, weights: np.ndarray
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss (scalar), Q of the actions taken (B,), and |TD error| (B,)."""
        rewards, actions = torch.from_numpy(drawn.rewards), torch.from_numpy(drawn.actions)
        q = module.forward_train(
            {
                Columns.OBS: torch.from_numpy(drawn.obs),
                Columns.NEXT_OBS: torch.from_numpy(drawn.next_obs),
            }
        )
        q_selected = q[QF_PREDS].gather(1, actions[:, None])[:, 0]
        with torch.no_grad():
            allowed = torch.from_numpy(drawn.next_mask)
            judge = q[QF_NEXT_PREDS] if self.config.double_q else q[QF_TARGET_NEXT_PREDS]
            best = judge.masked_fill(~allowed, -torch.inf).argmax(1, keepdim=True)
            bootstrap = q[QF_TARGET_NEXT_PREDS].gather(1, best)[:, 0]
            target = rewards + self.config.gamma * bootstrap
        losses = huber_loss(q_selected, target, reduction="none")
        loss = (torch.from_numpy(weights) * losses).mean()
        return loss, q_selected, (q_selected.detach() - target).abs()

    def _follow(self, module) -> None:
        """Soft update of the target network."""
        with torch.no_grad():
            for main, target in module.get_target_network_pairs():
                torch._foreach_lerp_(
                    list(target.parameters()), list(main.parameters()), self.config.tau
                )
