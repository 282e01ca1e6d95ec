"""n-step returns: transitions that look n slots ahead (Sutton and Barto, chapter 7)."""

from typing import Any

import numpy as np

from mec_rllib.rl.messages import Transitions
from mec_rllib.sim.jobs import Bools


class NStep:
    """Turns consecutive one-slot transitions of N servers into n-step transitions.

    The reward becomes sum_k gamma^k r_(t+k), k < n, and the next state is that of n slots later;
    its discount becomes gamma^n. A return ends with its episode: it looks fewer slots ahead then.
    The last n - 1 slots are held back until the slots that they need are played. What was
    explored on the way is not corrected for.

    Args:
        steps: n, at least 1.
        gamma: discount per slot.
    """

    def __init__(self, steps: int, gamma: float):
        self._steps, self._gamma = steps, gamma
        self._discounts = (gamma ** np.arange(steps)).astype(np.float32)
        # Columns of shape (slots < n, N, ...), and (slots, N) where episodes ended.
        self._held: tuple[Transitions, Bools] | None = None

    def extend(self, rows: Transitions, ends: Bools | None = None) -> Transitions:
        """Takes columns of shape (slots, N, ...); returns those that are complete now.

        Args:
            rows: one-slot transitions.
            ends: (slots, N) whether an episode ended with the transition; None: nowhere.
        """
        if self._steps == 1:
            return rows
        if ends is None:
            ends = np.zeros(rows.rewards.shape, bool)
        if self._held is not None:
            held, held_ends = self._held
            columns = zip(held, rows, strict=True)
            rows = Transitions._make(np.concatenate([before, new]) for before, new in columns)
            ends = np.concatenate((held_ends, ends))
        last = self._steps - 1
        complete = max(len(rows.rewards) - last, 0)
        self._held = (
            Transitions._make(column[complete:].copy() for column in rows),
            ends[complete:].copy(),
        )
        rewards = np.zeros_like(rows.rewards[:complete])
        for k, discount in enumerate(self._discounts):
            rewards += discount * rows.rewards[k : k + complete]
        whole = Transitions(
            rows.obs[:complete],
            rows.actions[:complete],
            rewards,
            rows.next_obs[last : last + complete],
            rows.next_mask[last : last + complete],
            np.full(rewards.shape, self._gamma**self._steps),
            rows.mask[:complete],
        )
        return self._cut(whole, rows, ends) if ends.any() else whole

    def _cut(self, whole: Transitions, rows: Transitions, ends: Bools) -> Transitions:
        """Lets every return end with its episode, at the first end among its n slots."""
        cut = Transitions._make(column.copy() for column in whole)
        is_open = np.ones(cut.rewards.shape, bool)
        rewards = np.zeros_like(cut.rewards)
        for k, discount in enumerate(self._discounts):
            ahead = slice(k, k + len(rewards))
            rewards += discount * rows.rewards[ahead]
            here = is_open & ends[ahead]
            cut.rewards[here] = rewards[here]
            cut.next_obs[here] = rows.next_obs[ahead][here]
            cut.next_mask[here] = rows.next_mask[ahead][here]
            cut.discounts[here] = np.where(
                rows.discounts[ahead][here] > 0.0, self._gamma ** (k + 1), 0.0
            )
            is_open &= ~here
        return cut

    def get_state(self) -> list[Any] | None:
        """The slots held back: the columns, then where episodes ended."""
        return None if self._held is None else [c.copy() for c in (*self._held[0], self._held[1])]

    def set_state(self, state: list[Any] | None) -> None:
        """Takes over what `get_state` returned."""
        self._held = None
        if state is not None:
            *columns, ends = [column.copy() for column in state]
            self._held = Transitions._make(columns), ends
