"""A contextual bandit decides: it learns from rewards what a training job costs."""

from typing import Annotated

import numpy as np
from numba import njit
from pydantic import Field

from mec_rllib.gates.average import MovingAverage
from mec_rllib.gates.base import Gate, GateView, State
from mec_rllib.gates.value import (
    DriftRate,
    Least,
    Most,
    Overhead,
    TDRate,
    TrainingValue,
    Worth,
)
from mec_rllib.sim.jobs import Bools, Floats

Horizon = Annotated[
    int, Field(ge=1, le=10_000, description="slots whose rewards count for a decision")
]
Width = Annotated[float, Field(ge=0, le=1e6, description="optimism, in standard errors")]
OwnEvery = Annotated[
    int,
    Field(ge=1, le=10**9, description="one training job in so many pays for its own update"),
]
Prior = Annotated[
    float, Field(gt=0, le=1e12, description="slots of training that psi itself counts for")
]
Forget = Annotated[
    float, Field(gt=0, le=1, description="weight that older experience keeps at its updates")
]

FEATURES = 6
LONG_AGO = np.log1p(1000.0)  # slots since training, for a feature about 1
PSI = 1  # which of them is psi
REWARD_RATE = 1e-3  # of the average that says which reward is usual


class Bandit(Gate):
    """A meta-agent with two actions, train now or not yet, that pays for its own updates (ours).

    LinUCB on the context 1, psi, whether the server is empty, whether it is idle, slots since
    training (logarithmic), TD statistic. What it learns from are the slots in which it could ask.
    The server's reward over the next `horizon` slots, less what is usual, is regressed on context
    and on context times action. The second part is what training there does to users. Before
    there are data that is psi, which counts for `prior` slots of them: the bandit corrects what Q
    says by what happens.
    It trains where the effect, plus `width` times its uncertainty, is at least -kappa. What
    training brings later cannot be told apart in the rewards of a few slots: kappa stands for it,
    as the score `worth` of `budget` has it (see `TrainingValue`).

    Every `own_every`-th training job is the bandit's own: it renews the regression with what was
    seen until then, and brings no learner updates.

    Args:
        num_servers: N, each with a bandit of its own.
        horizon: slots whose rewards count for a decision.
        width: optimism, in standard errors of rewards with variance 1.
        own_every: training jobs of which one is the bandit's own.
        prior: slots of training that psi's own word counts for.
        forget: weight that older experience keeps at each of its updates.
        overhead: what a training job must be worth beyond what users pay for it, in Q.
        worth: share of slots to train in while the TD error is at twice its floor.
        least: share at least, where training costs nothing.
        most: share at most.
        td_rate: rate of the average of |TD error|.
        drift_rate: rate at which its floor rises.
    """

    needs_psi = True

    def __init__(
        self,
        num_servers: int,
        horizon: Horizon = 20,
        width: Width = 0.5,
        own_every: OwnEvery = 10,
        prior: Prior = 100.0,
        forget: Forget = 0.99,
        overhead: Overhead = 0.1,
        worth: Worth = 0.02,
        least: Least = 0.002,
        most: Most = 0.04,
        td_rate: TDRate = 5e-4,
        drift_rate: DriftRate = 5e-5,
    ):
        super().__init__(num_servers)
        self.width, self.own_every, self.forget = width, own_every, forget
        self._value = TrainingValue(num_servers, overhead, worth, least, most, td_rate, drift_rate)
        self._usual_reward = MovingAverage(num_servers, REWARD_RATE)
        self._pending = _Pending(num_servers, horizon)
        size = 2 * FEATURES
        self._moments = np.zeros((num_servers, size, size))  # sums of z z' and z * reward
        self._targets = np.zeros((num_servers, size))
        self._ridge = np.diag([1.0] * FEATURES + [prior] * FEATURES)
        # What the last own update has found: the effect of training, less psi, and its variance.
        self._correction = np.zeros((num_servers, FEATURES))
        self._spread = np.tile(np.eye(FEATURES) / prior, (num_servers, 1, 1))
        self._jobs = np.zeros(num_servers, np.int64)

    def wants(self, view: GateView) -> Bools:
        """(N,) whether what it does to users, seen with optimism, is within its worth."""
        context = _context(view)
        self._usual_reward.add(view.reward)
        excess = view.reward - self._usual_reward.value
        self._pending.settle(view, excess, self._moments, self._targets)
        spread = np.einsum("ni,nij,nj->n", context, self._spread, context)
        effect = view.psi + (context * self._correction).sum(axis=1)
        wanted = effect + self.width * np.sqrt(spread) >= -self._value.of(view)
        self._pending.add(context, wanted, view)
        return wanted

    def credits(self, completed: Bools) -> Bools:
        """(N,) the completed training jobs that the learner gets; the others are the bandit's."""
        self._jobs += completed
        own = completed & (self._jobs % self.own_every == 0)
        for server in np.flatnonzero(own).tolist():
            self._learn(server)
        return completed & ~own

    def get_state(self) -> State:
        """Regression, what it has found, and the decisions whose rewards are not complete."""
        arrays = {name: getattr(self, f"_{name}").copy() for name in _ARRAYS}
        parts = {name: getattr(self, f"_{name}").get_state() for name in _PARTS}
        return arrays | parts

    def set_state(self, state: State) -> None:
        """Takes over what `get_state` returned."""
        for name in _ARRAYS:
            setattr(self, f"_{name}", state[name].copy())
        for name in _PARTS:
            getattr(self, f"_{name}").set_state(state[name])

    def metrics(self) -> dict[str, float]:
        """Means over the servers: the share that the TD error asks for, own updates so far."""
        return {
            "wanted_share": float(self._value.share.mean()),
            "own_updates": float((self._jobs // self.own_every).mean()),
        }

    def _learn(self, server: int) -> None:
        self._moments[server] *= self.forget
        self._targets[server] *= self.forget
        inverse = np.linalg.inv(self._moments[server] + self._ridge)
        self._correction[server] = (inverse @ self._targets[server])[FEATURES:]
        self._spread[server] = inverse[FEATURES:, FEATURES:]


_ARRAYS = ("moments", "targets", "correction", "spread", "jobs")
_PARTS = ("value", "pending", "usual_reward")


def _context(view: GateView) -> Floats:
    """(N, FEATURES)"""
    return np.stack(
        (
            np.ones(len(view.psi)),
            view.psi,
            view.is_empty.astype(float),
            view.is_idle.astype(float),
            np.log1p(view.since_training) / LONG_AGO,
            np.minimum(view.td_statistic, 1.0),
        ),
        axis=1,
    )


class _Pending:
    """The decisions of the last `horizon` slots and the rewards that they have earned so far."""

    def __init__(self, num_servers: int, horizon: int):
        self._contexts = np.zeros((num_servers, horizon, FEATURES))
        self._trained = np.zeros((num_servers, horizon), bool)
        self._rewards = np.zeros((num_servers, horizon))
        self._counts = np.zeros((num_servers, horizon), bool)  # there was something to decide
        self._last_since = np.full(num_servers, -1)  # slots since training, a slot ago
        self._slot = 0

    def settle(self, view: GateView, excess: Floats, moments: Floats, targets: Floats) -> None:
        """Adds the last slot's excess reward; what is complete goes into the regression."""
        _settle(
            *(self._contexts, self._trained, self._rewards, self._counts, self._last_since),
            *(self._slot, excess, view.can_ask, view.since_training, moments, targets),
        )

    def add(self, context: Floats, wanted: Bools, view: GateView) -> None:
        """This slot's decision, in the place of the one that is complete."""
        place = self._slot % self._trained.shape[1]
        self._contexts[:, place] = context
        self._trained[:, place] = wanted
        self._rewards[:, place] = 0.0
        self._counts[:, place] = view.can_ask
        self._slot += 1

    def get_state(self) -> State:
        """All of it."""
        return {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in vars(self).items()}

    def set_state(self, state: State) -> None:
        """Takes over what `get_state` returned."""
        for name, value in state.items():
            setattr(self, name, value.copy() if isinstance(value, np.ndarray) else value)


@njit(cache=True)
def _settle(
    contexts,
    trained,
    rewards,
    counts,
    last_since,
    slot,
    reward,
    can_ask,
    since_training,
    moments,
    targets,
):
    servers, horizon, size = contexts.shape
    newest, oldest = (slot - 1) % horizon, slot % horizon
    row = np.empty(2 * size)
    for i in range(servers):
        # What was wanted a slot ago may not have been granted: then nothing waits or has run.
        begun = not can_ask[i] or since_training[i] <= last_since[i]
        trained[i, newest] &= begun
        last_since[i] = since_training[i]
        for k in range(horizon):
            rewards[i, k] += reward[i]
        if counts[i, oldest]:
            row[:size] = contexts[i, oldest]
            row[size:] = contexts[i, oldest] * trained[i, oldest]
            expected = contexts[i, oldest, PSI] * trained[i, oldest]
            targets[i] += row * (rewards[i, oldest] - expected)
            moments[i] += np.outer(row, row)
