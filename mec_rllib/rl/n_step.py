"""n-step returns: transitions that look n slots ahead (Sutton and Barto, chapter 7)."""

from typing import Any

import numpy as np

from mec_rllib.rl.replay import Transitions


class NStep:
    """Turns consecutive one-slot transitions of N servers into n-step transitions.

    The reward becomes sum_k gamma^k r_(t+k), k < n, and the next state is that of n slots later;
    the bootstrap is to be discounted by gamma^n. The last n - 1 slots are held back until the
    slots that they need are played. What was explored on the way is not corrected for.

    Args:
        steps: n, at least 1.
        gamma: discount per slot.
    """

    def __init__(self, steps: int, gamma: float):
        self._steps, self._discounts = steps, (gamma ** np.arange(steps)).astype(np.float32)
        self._held: Transitions | None = None  # columns of shape (slots < n, N, ...)

    def extend(self, rows: Transitions) -> Transitions:
        """Takes columns of shape (slots, N, ...); returns those that are complete now."""
        if self._steps == 1:
            return rows
        if self._held is not None:
            columns = zip(self._held, rows, strict=True)
            rows = Transitions._make(np.concatenate([held, new]) for held, new in columns)
        last = self._steps - 1
        complete = max(len(rows.rewards) - last, 0)
        self._held = Transitions._make(column[complete:].copy() for column in rows)
        rewards = np.zeros_like(rows.rewards[:complete])
        for k, discount in enumerate(self._discounts):
            rewards += discount * rows.rewards[k : k + complete]
        return Transitions(
            rows.obs[:complete],
            rows.actions[:complete],
            rewards,
            rows.next_obs[last : last + complete],
            rows.next_mask[last : last + complete],
        )

    def get_state(self) -> list[Any] | None:
        """The slots held back."""
        return None if self._held is None else [column.copy() for column in self._held]

    def set_state(self, state: list[Any] | None) -> None:
        """Takes over what `get_state` returned."""
        self._held = None if state is None else Transitions._make(c.copy() for c in state)
