"""A shop that orders goods: a plain Gymnasium environment with a weekly season.

Every morning the shop may order 0, 10, 20 or 30 units, which arrive two mornings later. The
customers of the day are Poisson with a mean that depends on the weekday; a customer who finds the
shelf empty is lost. The task is continuing: it never terminates.
"""

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

DEMAND = (4.0, 4.0, 6.0, 8.0, 14.0, 20.0, 8.0)  # customers per weekday, mean
SHELF = 80  # units that fit; what is more is sent back without pay
LEAD = 2  # mornings until an order arrives
MARGIN, HOLDING, LOST, ORDER = 1.0, 0.05, 2.0, 4.0  # per unit, unit and day, customer, order
SCALE = 20.0  # rewards are divided by it


class Inventory(gymnasium.Env):
    """Observation: stock, orders under way (2), weekday one-hot (7); all in [0, 1]."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}
    sizes = (0, 10, 20, 30)  # units of an order, per action

    def __init__(self) -> None:
        self.observation_space = spaces.Box(0.0, 1.0, (1 + LEAD + len(DEMAND),), np.float32)
        self.action_space = spaces.Discrete(len(self.sizes))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """A half-full shelf on a Monday."""
        super().reset(seed=seed)
        self._stock, self._coming, self._day = SHELF // 2, [0] * LEAD, 0
        return self._observe(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Order, sell, receive."""
        ordered = self.sizes[action]
        customers = int(self.np_random.poisson(DEMAND[self._day]))
        sold = min(customers, self._stock)
        self._stock -= sold
        reward = MARGIN * sold - LOST * (customers - sold) - HOLDING * self._stock
        reward -= ORDER if ordered else 0.0
        self._coming.append(ordered)
        self._stock = min(self._stock + self._coming.pop(0), SHELF)
        self._day = (self._day + 1) % len(DEMAND)
        return self._observe(), reward / SCALE, False, False, {}

    def _observe(self) -> np.ndarray:
        seen = np.zeros(1 + LEAD + len(DEMAND), np.float32)
        seen[0] = self._stock / SHELF
        seen[1 : 1 + LEAD] = np.array(self._coming) / self.sizes[-1]
        seen[1 + LEAD + self._day] = 1.0
        return seen


gymnasium.register("Inventory-v0", entry_point=Inventory)
