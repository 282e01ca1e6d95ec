"""The exact optimum of tiny instances: average-reward value iteration on the full state.

The state is what the future depends on: every waiting job with the time it has waited, and the
units that running jobs give back in each of the next slots. A decision
leads to a post-decision state without chance; arrivals lead from there to the next state. Nothing
here knows of training: it is the optimum of scheduling alone.
"""

import math
from collections.abc import Iterator
from itertools import combinations_with_replacement, product
from typing import NamedTuple

import numpy as np

from mec_rllib.sim.jobs import Floats, Ints
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.workloads import BernoulliWorkload, Workload

MAX_STATES = 100_000
MAX_TRANSITIONS = 3_000_000
HOPELESS = 1e12  # states by the upper bound: not worth a try
TOLERANCE = 1e-9  # of the average reward per slot, in units of weight


class Kind(NamedTuple):
    """A job as arrivals can bring it."""

    requirement: tuple[int, ...]
    execution: int
    slack: int
    weight: float


Waiting = tuple[tuple[int, Kind], ...]  # (slots waited, kind), longest wait first
Releases = tuple[tuple[int, ...], ...]  # units given back after 1, 2, ... slots


class State(NamedTuple):
    """A server at the moment of the decision, or (post-decision) before the arrivals."""

    releases: Releases
    waiting: Waiting


class Solution:
    """The optimum of an instance.

    Args:
        workload: with constant load.
        buffer: M.

    Attributes:
        states: every reachable state.
        reward: R of the best policy: average reward per slot over the weight that arrives.

    Raises:
        ValueError: the workload is none that can be enumerated, or has too many states.
    """

    def __init__(self, workload: Workload, buffer: int):
        if not isinstance(workload, BernoulliWorkload) or len(workload.load.loads) > 1:
            raise ValueError("the optimum needs the bernoulli workload at a constant load")
        if workload.bursts:
            raise ValueError("the optimum is for jobs at an even rate: no bursts")
        most = count_states(workload, buffer)
        if most > HOPELESS:
            raise ValueError(
                f"the optimum needs a tiny instance: this one has up to 1e{math.log10(most):.0f} "
                f"states, at most {MAX_STATES:,} can be solved (fewer and shorter jobs, less "
                "slack, a smaller buffer and capacity)"
            )
        from scipy.stats import binom  # here: it takes a second to load, and every trial would pay

        self._workload, self._buffer = workload, buffer
        self._kinds = _kinds(workload)
        rate = float(workload.job_rate(0))
        users = np.arange(workload.users + 1)
        self._arrivals = binom.pmf(users, workload.users, rate / workload.users)
        self._mean_weight = sum(chance * kind.weight for kind, chance in self._kinds.items())
        self._weight_rate = rate * self._mean_weight
        self._enumerate()
        self._value, gain = self._iterate()
        self.reward = gain / self._weight_rate
        best = self._rewards + self._after(self._value)[self._posts]
        # The first best choice of each state; `_choices` holds None for "start nothing".
        self._best = {
            state: self._choices[start + int(np.argmax(best[start:stop]))]
            for state, start, stop in zip(
                self.states, self._starts[:-1], self._starts[1:], strict=True
            )
        }

    def choose(self, state: State) -> tuple[int, Kind] | None:
        """The waiting job that the optimum starts, or None.

        Raises:
            ValueError: a state that scheduling alone cannot reach.
        """
        if state not in self._best:
            raise ValueError("the optimum knows scheduling alone, no training jobs")
        return self._best[state]

    def reward_of(self, scheduler) -> float:
        """R of a scheduler, exactly; ties in the order of arrival if there is only one user."""
        batch = self._as_batch()
        actions = scheduler.select(batch)
        chosen = np.empty(len(self.states), np.int64)
        for k, (state, action) in enumerate(zip(self.states, actions, strict=True)):
            job = state.waiting[action - 1] if action else None
            start, stop = self._starts[k], self._starts[k + 1]
            chosen[k] = start + self._choices[start:stop].index(job)
        gain = self._iterate(chosen)[1]
        return gain / self._weight_rate

    def _enumerate(self) -> None:
        """All reachable states, and the transitions between them, breadth first."""
        nothing = (0,) * len(self._workload.capacity)
        posts = {State((nothing,) * self._workload.max_execution, ()): 0}
        states: dict[State, int] = {}
        arrivals: tuple[list, list, list] = ([], [], [])  # post, state, chance
        drops: list[float] = []
        self._starts, self._choices = [0], list[tuple[int, Kind] | None]()
        rewards, targets = list[float](), list[int]()
        queue = list(posts)
        for post in queue:  # grows on the way
            drops.append(self._expected_drop(self._buffer - len(post.waiting)))
            for chance, waiting in self._outcomes(post.waiting):
                state = State(post.releases, waiting)
                if state not in states:
                    states[state] = len(states)
                    for job in self._startable(state):
                        reward, after = self._decide(state, job)
                        if after not in posts:
                            posts[after] = len(posts)
                            queue.append(after)
                        self._choices.append(job)
                        rewards.append(reward)
                        targets.append(posts[after])
                    self._starts.append(len(rewards))
                for column, value in zip(
                    arrivals, (posts[post], states[state], chance), strict=True
                ):
                    column.append(value)
            if len(states) > MAX_STATES or len(arrivals[0]) > MAX_TRANSITIONS:
                raise ValueError(
                    f"the optimum needs a tiny instance: this one has more than {len(states):,} "
                    f"states and {len(arrivals[0]):,} transitions (at most {MAX_STATES:,} and "
                    f"{MAX_TRANSITIONS:,})"
                )
        self.states = list(states)
        self._rewards, self._posts = np.array(rewards), np.array(targets)
        self._drops = np.array(drops)
        rows, columns, chances = arrivals
        from scipy.sparse import csr_array  # here, as binom

        self._chances = csr_array((chances, (rows, columns)), shape=(len(posts), len(states)))

    def _outcomes(self, waiting: Waiting) -> Iterator[tuple[float, Waiting]]:
        """What arrivals make of a buffer: chance and buffer; a full one admits nobody more."""
        free = self._buffer - len(waiting)
        for admitted in range(min(free, self._workload.users) + 1):
            chance = self._arrivals[admitted]
            if admitted == free:
                chance = self._arrivals[admitted:].sum()
            if chance <= 0.0:
                continue
            for kinds in combinations_with_replacement(self._kinds, admitted):
                orders = math.factorial(admitted)
                for kind in set(kinds):
                    orders //= math.factorial(kinds.count(kind))
                mix = math.prod(self._kinds[kind] for kind in kinds)
                yield chance * orders * mix, waiting + tuple((0, kind) for kind in kinds)

    def _expected_drop(self, free: int) -> float:
        """Mean weight that is dropped where `free` rows are free; who is dropped is chance."""
        surplus = np.maximum(np.arange(len(self._arrivals)) - free, 0)
        return float(surplus @ self._arrivals) * self._mean_weight

    def _startable(self, state: State) -> list[tuple[int, Kind] | None]:
        used = [sum(units) for units in zip(*state.releases, strict=True)]
        fits = [
            job
            for job in dict.fromkeys(state.waiting)
            if all(
                u + r <= c
                for u, r, c in zip(used, job[1].requirement, self._workload.capacity, strict=True)
            )
        ]
        return [None, *fits]

    def _decide(self, state: State, job: tuple[int, Kind] | None) -> tuple[float, State]:
        """Start and expiry terms of the slot, and the state in which it ends."""
        waiting, releases, reward = list(state.waiting), list(state.releases), 0.0
        if job is not None:
            wait, kind = job
            waiting.remove(job)
            end = kind.execution - 1
            releases[end] = tuple(
                units + more for units, more in zip(releases[end], kind.requirement, strict=True)
            )
            reward += kind.weight * (1.0 - 0.5 * wait / (kind.slack + 1))
        reward -= sum(kind.weight for wait, kind in waiting if wait + 1 > kind.slack)
        kept = tuple((wait + 1, kind) for wait, kind in waiting if wait + 1 <= kind.slack)
        nothing = (0,) * len(self._workload.capacity)
        return reward, State((*releases[1:], nothing), kept)

    def _after(self, value: Floats) -> Floats:
        """Value of each post-decision state."""
        return self._chances @ value - self._drops

    def _iterate(self, chosen: Ints | None = None) -> tuple[Floats, float]:
        """Relative values and average reward per slot, of the optimum or of chosen decisions.

        The empty state is reached from everywhere and may follow itself: it converges.
        """
        value = np.zeros(len(self.states))
        while True:
            each = self._rewards + self._after(value)[self._posts]
            new = (
                each[chosen] if chosen is not None else np.maximum.reduceat(each, self._starts[:-1])
            )
            change = new - value
            if np.ptp(change) < TOLERANCE:
                return new - new[0], float(change.max() + change.min()) / 2.0
            value = new - new[0]

    def _as_batch(self) -> ServerBatch:
        """A batch with one server in each state."""
        batch = ServerBatch(self._workload, len(self.states), self._buffer)
        s = batch.servers
        for k, (releases, waiting) in enumerate(self.states):
            s.releases[k, :-1], s.releases[k, -1] = releases, 0
            s.used[k] = np.sum(releases, axis=0)
            s.waiting[k] = len(waiting)
            for column in (s.requirement, s.execution, s.slack, s.wait, s.weight):
                column[k] = 0
            for row, (wait, kind) in enumerate(waiting):
                s.requirement[k, row] = kind.requirement
                s.execution[k, row], s.slack[k, row] = kind.execution, kind.slack
                s.wait[k, row], s.weight[k, row] = wait, kind.weight
        batch.refresh()
        return batch


def count_states(workload: BernoulliWorkload, buffer: int) -> float:
    """An upper bound of the number of states."""
    waits = 0  # pairs of a job and the time it has waited
    for c in workload.classes:
        low, high = c.slack
        shapes = math.prod(high - low + 1 for low, high in (*c.resources, c.execution))
        waits += shapes * sum(range(low + 1, high + 2))
    bound = float(math.comb(waits + buffer, buffer))
    for units in workload.capacity:
        bound *= math.comb(workload.max_execution + units, units)
    return bound


def state_of(batch: ServerBatch, index: int) -> State:
    """The state that a server is in."""
    s = batch.servers
    horizon = s.releases.shape[1]
    ahead = (s.clock[index] + np.arange(horizon - 1)) % horizon
    jobs = [
        (
            int(s.wait[index, row]),
            Kind(
                tuple(s.requirement[index, row].tolist()),
                int(s.execution[index, row]),
                int(s.slack[index, row]),
                float(s.weight[index, row]),
            ),
        )
        for row in range(s.waiting[index])
    ]
    releases = tuple(tuple(units) for units in s.releases[index, ahead].tolist())
    return State(releases, _canonical(jobs))


def _canonical(jobs: list[tuple[int, Kind]]) -> Waiting:
    """Longest wait first; equal waits by kind: the order in a slot is chance, and no matter."""
    return tuple(sorted(jobs, key=lambda job: (-job[0], job[1])))


def _kinds(workload: BernoulliWorkload) -> dict[Kind, float]:
    """Every job that can arrive, with its chance, in canonical order."""
    chances: dict[Kind, float] = {}
    total = sum(c.mix for c in workload.classes)
    for c in workload.classes:
        ranges = [range(low, high + 1) for low, high in (*c.resources, c.execution, c.slack)]
        share = c.mix / total / math.prod(map(len, ranges))
        if share <= 0.0:
            continue
        for *requirement, execution, slack in product(*ranges):
            kind = Kind(tuple(requirement), execution, slack, c.weight)
            chances[kind] = chances.get(kind, 0.0) + share
    return dict(sorted(chances.items()))


class OptimalScheduler:
    """The exact optimum as a scheduler, for instances small enough.

    Raises:
        ValueError: (when it first sees servers) the instance cannot be solved.
    """

    def __init__(self) -> None:
        self._solution: Solution | None = None

    def prepare(self, batch: ServerBatch) -> Solution:
        """Solves the instance; done by itself when the first slot is played."""
        if self._solution is None:
            self._solution = Solution(batch.workload, batch.buffer)
        return self._solution

    def select(self, batch: ServerBatch) -> Ints:
        """Actions (N,)."""
        solution = self.prepare(batch)
        actions = np.zeros(batch.num_servers, np.int64)
        for index in range(batch.num_servers):
            job = solution.choose(state_of(batch, index))
            if job is not None:
                actions[index] = 1 + _row_of(batch, index, job)
        return actions


def _row_of(batch: ServerBatch, index: int, job: tuple[int, Kind]) -> int:
    wait, kind = job
    s = batch.servers
    for row in range(s.waiting[index]):
        same_times = (s.wait[index, row], s.execution[index, row], s.slack[index, row]) == (
            wait,
            kind.execution,
            kind.slack,
        )
        same_units = tuple(s.requirement[index, row]) == kind.requirement
        if same_times and same_units and s.weight[index, row] == kind.weight:
            return row
    raise AssertionError(f"no such job waits: {job}")
