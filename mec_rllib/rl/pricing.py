"""What a training job costs, found by playing on: the world is stored and restored.

Two copies of the world go on with the same arrivals, one of them with a training job; the agent
plays both, greedily. What the one loses against the other is the price of the job (ours).
`Hindsight` does so on what will really come, which nobody can know: an upper reference.
`Counterfactual` waits until it has come, and learns from it what a job costs where.
"""

from collections import deque
from typing import Any

import numpy as np
import torch
from torch import nn

from mec_rllib.envs.afterstates import encoder_of
from mec_rllib.envs.config import EnvConfig
from mec_rllib.envs.observation import Observations
from mec_rllib.rl.masks import best_allowed
from mec_rllib.sim.jobs import Bools, Floats
from mec_rllib.sim.streams import Purpose, generator, seed_of
from mec_rllib.sim.training_jobs import NO_KIND

AHEAD = 120  # slots that are played on
TRIED = 60  # slots in which two copies of a world must be alike
EVERY = 5  # slots between two states that are stored
PAIRS, FEWEST = 5000, 100  # states with their price that are kept, and needed
HIDDEN, RATE, HUBER = 32, 1e-3, 3.0  # of the network that learns the price


class Twins:
    """Two copies of a runner's world, one of which gets a training job.

    Args:
        runner: a `MecEnvRunner`.

    Raises:
        ValueError: a world of which two copies differ: what comes cannot be known.
    """

    def __init__(self, runner: Any):
        config, real = runner.config, runner.env.servers
        env = EnvConfig.model_validate(config.env_config)
        self._worlds = [env.build_world(real.num_servers, config.seed) for _ in range(2)]
        self._encoders = [encoder_of(world, **config.observe) for world in self._worlds]
        self._runner, self._kind = runner, config.training_kind or 0
        self._check(real)

    def prices(self, state: dict[str, Any]) -> Floats:
        """(N,) reward, as the agent sees it, that a training job takes away from this state on."""
        for world in self._worlds:
            world.set_state(state)
        n = self._worlds[0].num_servers
        self._worlds[1].request_training(np.full(n, self._kind))
        total, q = np.zeros((2, n)), self._runner._q
        for _ in range(AHEAD):
            for k, (world, encoder) in enumerate(zip(self._worlds, self._encoders, strict=True)):
                actions = best_allowed(q(encoder.encode()), world.mask)[0]
                total[k] += world.step(actions)
        prices: Floats = (total[0] - total[1]) / self._worlds[0].reward_scale
        return prices

    def _check(self, real: Any) -> None:
        state = real.get_state()
        seen = []
        for world in self._worlds:
            world.set_state(state)
            world.request_training(np.full(world.num_servers, NO_KIND))
            rewards = [world.step(world.mask.argmax(axis=1)).copy() for _ in range(TRIED)]
            seen.append(np.array(rewards))
        if not np.array_equal(seen[0], seen[1]):
            raise ValueError(
                "two copies of this world do not play alike: what a training job costs cannot be "
                "found by playing on (an environment must draw from np_random only)"
            )


class Hindsight:
    """The price of a training job on what will really come."""

    updates = 0  # it learns nothing

    def __init__(self, runner: Any):
        self._twins, self._runner = Twins(runner), runner
        self.price = np.full(runner.num_envs, np.nan)

    def look(self, obs: Observations, can_ask: Bools) -> None:
        """Finds (N,) `price` of this slot."""
        if can_ask.any():
            self.price[:] = self._twins.prices(self._runner.env.servers.get_state())

    def learn(self, replay: Any, updates: int, batch: int) -> None:
        """Nothing to learn."""

    def get_state(self) -> dict[str, Any]:
        """Nothing that the next slot does not find anew."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes over what `get_state` returned."""


class Counterfactual:
    """Learns from states that lie behind what a training job would have cost there.

    Every fifth slot is stored; 120 slots later it is played again with what has come since, with a
    training job and without. A network of its own (2x32, Adam, Huber) learns the difference from
    the observation, as many updates per training job as the agent: they are paid as well.
    """

    def __init__(self, runner: Any):
        self._twins, self._runner = Twins(runner), runner
        seed, size = runner.config.seed, runner.env.encoder.size
        with torch.random.fork_rng():
            torch.manual_seed(seed_of(seed, Purpose.PRICE))
            layers = (nn.Linear(size, HIDDEN), nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, 1))
        first, second, last = layers
        self._network = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last)
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=RATE)
        self._rng = generator(seed, Purpose.PRICE)
        self._waiting: deque[Any] = deque()  # slot, state, observations and who can be asked
        self._obs = np.zeros((PAIRS, size), np.float32)
        self._prices = np.zeros(PAIRS, np.float32)
        self._slots = self._pairs = self.updates = 0
        self.price = np.full(runner.num_envs, np.nan)

    def look(self, obs: Observations, can_ask: Bools) -> None:
        """Stores the slot, looks back at the one that is due, and says (N,) `price` of now."""
        if self._slots % EVERY == 0:
            state = self._runner.env.servers.get_state()
            self._waiting.append((self._slots, state, obs.copy(), can_ask.copy()))
        if self._waiting[0][0] + AHEAD <= self._slots:
            _, state, before, asked = self._waiting.popleft()
            self._keep(before[asked], self._twins.prices(state)[asked])
        self._slots += 1
        if self.updates:
            with torch.inference_mode():
                self.price[:] = self._network(torch.from_numpy(obs))[:, 0].numpy()

    def learn(self, replay: Any, updates: int, batch: int) -> None:
        """Trains on batches of its own states, drawn evenly, once there are enough."""
        known = min(self._pairs, PAIRS)
        if known < FEWEST:
            return
        for rows in self._rng.integers(known, size=(updates, batch)):
            predicted = self._network(torch.from_numpy(self._obs[rows]))[:, 0]
            goal = torch.from_numpy(self._prices[rows])
            loss = nn.functional.huber_loss(predicted, goal, delta=HUBER)
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self._optimizer.step()
        self.updates += updates

    def get_state(self) -> dict[str, Any]:
        """Networks, what is known, and the states that wait."""
        return {
            "network": {k: v.clone() for k, v in self._network.state_dict().items()},
            "optimizer": self._optimizer.state_dict(),
            "rng": self._rng.bit_generator.state,
            "waiting": list(self._waiting),
            "pairs": (self._obs.copy(), self._prices.copy(), self.price.copy()),
            "counts": (self._slots, self._pairs, self.updates),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes over what `get_state` returned."""
        self._network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._rng.bit_generator.state = state["rng"]
        self._waiting = deque(state["waiting"])
        self._obs[:], self._prices[:], self.price[:] = state["pairs"]
        self._slots, self._pairs, self.updates = state["counts"]

    def _keep(self, obs: Observations, prices: Floats) -> None:
        for one, price in zip(obs, prices, strict=True):
            row = self._pairs % PAIRS
            self._obs[row], self._prices[row] = one, price
            self._pairs += 1


PRICERS = {"hindsight": Hindsight, "counterfactual": Counterfactual}
