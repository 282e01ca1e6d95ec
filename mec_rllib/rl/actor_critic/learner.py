"""The learners of SAC and PPO: the stock losses on flat batches, over the actions allowed."""

import numpy as np
import torch
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.algorithms.sac.torch.sac_torch_learner import SACTorchLearner
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.utils.typing import StateDict
from torch import Tensor
from torch.nn.functional import huber_loss

from mec_rllib.envs.observation import Observations
from mec_rllib.rl.messages import Transitions, UpdateMetrics
from mec_rllib.rl.replay.prioritized import PrioritizedReplay
from mec_rllib.rl.replay.rollout import Rollout, advantages, minibatches
from mec_rllib.rl.targets import follow
from mec_rllib.sim.jobs import Floats


class GatedSACTorchLearner(SACTorchLearner):
    """Discrete SAC from the flat replay, as often as the gate allows.

    The stock losses, with the policy over the actions allowed. The policy is trained on the states
    reached: there the agent has a choice (where a training job was just inserted, it has none).
    """

    def build(self) -> None:
        """Builds RLlib's parts; the temperature lives in the module, too."""
        super().build()
        self._publish_temperature()

    def set_state(self, state: StateDict) -> None:
        """Restores module, optimizers and temperature, which RLlib forgets."""
        super().set_state(state)
        self.take_temperature()

    def take_temperature(self) -> None:
        """Goes on with the temperature of the module, which was set from outside."""
        with torch.no_grad():
            log_alpha = self.module[DEFAULT_MODULE_ID].unwrapped().log_alpha
            self.curr_log_alpha[DEFAULT_MODULE_ID].copy_(log_alpha)

    def learn(self, replay: PrioritizedReplay, updates: int, batch: int) -> UpdateMetrics:
        """Draws `updates` batches from the replay, trains on each, writes priorities back."""
        sums = np.zeros(3)
        for _ in range(updates):
            drawn, rows, weights = replay.sample(batch)
            loss, q_value, td_error = self._update(drawn, torch.from_numpy(weights))
            replay.update_priorities(rows, td_error)
            sums += loss, td_error.mean(), q_value
        self._publish_temperature()
        return UpdateMetrics(updates, *(sums / updates))

    def _update(self, drawn: Transitions, weights: Tensor) -> tuple[float, float, Floats]:
        loss, q_taken, td_error = self.compute_flat_loss(drawn, weights)
        for optimizer in self._named_optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer in self._named_optimizers.values():
            optimizer.step()
        follow(self.module[DEFAULT_MODULE_ID].unwrapped(), self.config.tau)
        return loss.item(), q_taken.mean().item(), td_error.numpy()

    def compute_flat_loss(
        self, drawn: Transitions, weights: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss (scalar), Q of the actions taken (B,), and |TD error| (B,)."""
        module = self.module[DEFAULT_MODULE_ID].unwrapped()
        log_alpha = self.curr_log_alpha[DEFAULT_MODULE_ID]
        alpha = log_alpha.exp().detach()
        actions, allowed = torch.from_numpy(drawn.actions), torch.from_numpy(drawn.next_mask)
        now = {Columns.OBS: torch.from_numpy(drawn.obs)}
        reached = {Columns.OBS: torch.from_numpy(drawn.next_obs)}
        logits = module.forward_inference(reached)[Columns.ACTION_DIST_INPUTS]
        pi, log_pi = torch_log_policy(logits, allowed)
        with torch.no_grad():
            next_q = module.forward_target(reached, squeeze=False)
            next_value = (pi * (next_q - alpha * log_pi)).sum(1)
            discounts = torch.from_numpy(drawn.discounts).float()
            target = torch.from_numpy(drawn.rewards) + discounts * next_value
            q_reached = module.compute_q_values(reached, squeeze=False)
        pairs = ((module.qf_encoder, module.qf), (module.qf_twin_encoder, module.qf_twin))
        taken = [
            module._qf_forward_train_helper(now, *pair, squeeze=False).gather(1, actions[:, None])
            for pair in pairs
        ]
        q, q_twin = (values[:, 0] for values in taken)
        critic = sum(
            (weights * huber_loss(v, target, reduction="none")).mean() for v in (q, q_twin)
        )
        actor = (pi * (alpha * log_pi - q_reached)).sum(1).mean()
        entropy = -(pi * log_pi).sum(1).detach()
        wanted = self.config.target_entropy
        temperature = (log_alpha * (entropy - wanted)).mean()
        td_error = 0.5 * ((q - target).abs() + (q_twin - target).abs())
        return critic + actor + temperature, q.detach(), td_error.detach()

    def _publish_temperature(self) -> None:
        with torch.no_grad():
            log_alpha = self.curr_log_alpha[DEFAULT_MODULE_ID]
            self.module[DEFAULT_MODULE_ID].unwrapped().log_alpha.copy_(log_alpha)


class GatedPPOTorchLearner(PPOTorchLearner):
    """PPO on what was played since the last training, which is used up by it.

    `updates` minibatches are drawn from the rollout, epoch by epoch, each in a new order. The
    policy has not changed since the last training, so the old probabilities are those it has when
    training begins. No KL term; the policy is over the actions allowed.
    """

    def learn(self, rollout: Rollout, updates: int, batch: int) -> UpdateMetrics:
        """Takes the rollout and trains on `updates` minibatches of it."""
        rows, config = rollout.take(), self.config
        values, next_values = self._values(rows.obs), self._values(rows.next_obs)
        gains = advantages(rows, values, next_values, config.gamma * config.lambda_)
        goals = torch.from_numpy((gains + values).ravel().astype(np.float32))
        gains = (gains - gains.mean()) / max(gains.std(), 1e-4)
        advantage = torch.from_numpy(gains.ravel().astype(np.float32))
        flat = rows.flat()
        with torch.no_grad():
            before = self._evaluate(flat)[0]
        loss = 0.0
        for chosen in minibatches(len(goals), batch, updates, rollout.rng):
            part = Transitions._make(column[chosen] for column in flat)
            loss += self._update(part, before[chosen], advantage[chosen], goals[chosen])
        surprise = rows.rewards + rows.discounts * next_values - values
        td_error = float(np.abs(surprise).mean())
        return UpdateMetrics(updates, loss / updates, td_error, float(values.mean()))

    def _update(self, part: Transitions, before: Tensor, advantage: Tensor, goals: Tensor) -> float:
        loss = self.compute_flat_loss(part, before, advantage, goals)
        optimizer = self.get_optimizer()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.item()

    def compute_flat_loss(
        self, part: Transitions, before: Tensor, advantage: Tensor, goals: Tensor
    ) -> Tensor:
        """The stock loss without its KL term.

        Args:
            part: B transitions.
            before: (B,) log probability of the actions taken, when training began.
            advantage: (B,) of the actions taken.
            goals: (B,) what V is to be.
        """
        config = self.config
        now, entropy, values = self._evaluate(part)
        ratio = (now - before).exp()
        clipped = ratio.clamp(1 - config.clip_param, 1 + config.clip_param)
        gain = torch.min(advantage * ratio, advantage * clipped)
        missed = ((values - goals) ** 2).clamp(0, config.vf_clip_param)
        worth = config.vf_loss_coeff * missed - config.entropy_coeff * entropy
        return (worth - gain).mean()

    def _evaluate(self, rows: Transitions) -> tuple[Tensor, Tensor, Tensor]:
        """(B,) log probability of the actions taken, (B,) entropy and (B,) V."""
        module = self.module[DEFAULT_MODULE_ID].unwrapped()
        out = module.forward_train({Columns.OBS: torch.from_numpy(rows.obs)})
        logits, mask = out[Columns.ACTION_DIST_INPUTS], torch.from_numpy(rows.mask)
        pi, log_pi = torch_log_policy(logits, mask)
        taken = log_pi.gather(1, torch.from_numpy(rows.actions)[:, None])[:, 0]
        values = module.compute_values({}, out[Columns.EMBEDDINGS])
        return taken, -(pi * log_pi).sum(1), values

    def _values(self, obs: Observations) -> Floats:
        """V of observations (slots, N, F): (slots, N)."""
        module = self.module[DEFAULT_MODULE_ID].unwrapped()
        with torch.no_grad():
            flat = torch.from_numpy(obs.reshape(-1, obs.shape[-1]))
            return module.compute_values({Columns.OBS: flat}).numpy().reshape(obs.shape[:2])


def torch_log_policy(logits: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """(B, A) probabilities, and log probabilities with 0 where an action is not allowed."""
    log_pi = logits.masked_fill(~mask, -1e9).log_softmax(dim=1)
    return log_pi.exp() * mask, log_pi.masked_fill(~mask, 0.0)
