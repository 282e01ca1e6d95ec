"""Small environments of Gymnasium that are not ours, registered by name."""

import gymnasium
import numpy as np
from gymnasium import spaces


class Line(gymnasium.Env):
    """Observation: steps so far / 10, reward 1; ends after `length` steps, one way or the other."""

    def __init__(self, length=3, terminates=True):
        self.observation_space = spaces.Box(0.0, 1.0, (1,), np.float32)
        self.action_space = spaces.Discrete(3)
        self._length, self._terminates, self._played = length, terminates, []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._played = []
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self._played.append(action)
        ends = len(self._played) == self._length
        seen = np.array([len(self._played) / 10], np.float32)
        return seen, 1.0, ends and self._terminates, ends and not self._terminates, {}


class Battery(Line):
    """Says itself what training costs: charge, a reward, and every action but the first."""

    charge = 5

    def training_actions(self, last_action):
        return np.array([False, True, True])

    def pay_for_training(self):
        self.charge -= 1
        return -0.5


gymnasium.register("Line-v0", entry_point=Line)
gymnasium.register("Battery-v0", entry_point=Battery)
