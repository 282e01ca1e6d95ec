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
        return seen, 1.0, ends and self._terminates, ends and not self._terminates, {"weight": 2.0}


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


class Toll(gymnasium.Env):
    """A coin is seen, 0 or 1; a step of training costs it, and nothing else is worth anything."""

    def __init__(self):
        self.observation_space = spaces.Box(0.0, 1.0, (1,), np.float32)
        self.action_space = spaces.Discrete(2)
        self.paid = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._toss(), {}

    def step(self, action):
        return self._toss(), 0.01 * float(self.np_random.random()), False, False, {}

    def training_actions(self, last_action):
        return np.array([True, True])

    def pay_for_training(self):
        self.paid.append(self.coin)
        return -float(self.coin)

    def _toss(self):
        self.coin = int(self.np_random.random() < 0.5)
        return np.array([self.coin], np.float32)


class Elsewhere(Toll):
    """Draws from a generator that all its copies share."""

    shared = np.random.default_rng(0)

    def step(self, action):
        return self._toss(), float(self.shared.random()), False, False, {}


gymnasium.register("Toll-v0", entry_point=Toll)
gymnasium.register("Elsewhere-v0", entry_point=Elsewhere)
