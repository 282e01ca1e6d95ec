"""Looks for the index rule that would have earned most on the jobs that came last."""

import math
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from mec_rllib.schedulers.candidates import Candidates
from mec_rllib.schedulers.index import Index
from mec_rllib.schedulers.index_rule import IndexRule, play_by_index
from mec_rllib.sim.jobs import Floats, Jobs
from mec_rllib.sim.recorded import RecordedJobs
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.streams import Purpose, generator
from mec_rllib.sim.workloads import Workload

# Keys of whoever searches: their bounds and meaning.
Period = Annotated[int, Field(ge=1, le=10**9, description="slots from one search to the next")]
Window = Annotated[int, Field(ge=1, le=10**7, description="slots back whose arrivals are replayed")]
CandidateCount = Annotated[
    int, Field(ge=1, le=100_000, description="index rules that a search tries")
]
SlotsPerJob = Annotated[
    int, Field(ge=1, le=10**12, description="slots of rules played per training job it costs")
]
Price = Annotated[
    float, Field(ge=0, le=1e6, description="factor on what a search costs; 0: nothing")
]

GENERATIONS = 4  # of the candidates of a search: each but the first varies the best so far
KEPT = 8  # best rules of a search that the next one tries again


def replay(vectors: Floats, jobs: Jobs, workload: Workload, buffer: int, slots: int) -> ServerBatch:
    """Empty servers after so many slots in which each rule has played the same jobs.

    Args:
        vectors: (K, columns) of index rules.
        jobs: from slot 0 on.
        workload: that the jobs came from.
        buffer: M.
        slots: that are played.
    """
    played = ServerBatch(RecordedJobs(jobs, workload, slots), len(vectors), buffer)
    play_by_index(IndexRule(vectors), played, slots)
    return played


def earned(played: ServerBatch) -> Floats:
    """(K,) R of each server; 0 where no job was resolved."""
    tally = played.tally
    nobody = tally.weight == 0
    return np.where(nobody, 0.0, tally.reward.sum(axis=1) / np.where(nobody, 1.0, tally.weight))


class Log:
    """The jobs that have arrived at a server in the last slots; nothing of what is to come.

    Args:
        window: slots that it reaches back.
    """

    def __init__(self, window: int):
        self._window, self._tables = window, list[Jobs]()
        self.slot = -1  # the last one that was observed

    def observe(self, jobs: Jobs, slot: int) -> None:
        """Adds the jobs that arrived after the last slot observed, up to this one.

        Raises:
            ValueError: a job that arrives later.
        """
        if len(jobs.arrival) and jobs.arrival[-1] > slot:
            raise ValueError(f"slot {slot}: a job of slot {jobs.arrival[-1]} is still to come")
        new = jobs.take(slice(int(np.searchsorted(jobs.arrival, self.slot, side="right")), None))
        self._tables.append(Jobs._make(column.copy() for column in new))
        self.slot = slot

    def window(self) -> tuple[Jobs, int]:
        """The jobs of the last slots, counted from the first of these; and how many these are."""
        slots = min(self.slot + 1, self._window)
        jobs = Jobs.concatenate(self._tables)
        begin = self.slot + 1 - slots
        jobs = jobs.take(slice(int(np.searchsorted(jobs.arrival, begin)), None))
        self._tables = [jobs]
        return jobs._replace(arrival=jobs.arrival - begin), slots

    def get_state(self) -> dict[str, Any]:
        """The jobs, and the slot."""
        return {"slot": self.slot, "jobs": [list(table) for table in self._tables]}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes over what `get_state` returned."""
        self.slot, self._tables = state["slot"], [Jobs(*table) for table in state["jobs"]]


class RuleSearch:
    """A rule that is looked for anew every `period` slots, among rules that replay the last jobs.

    Whoever plays tells it which jobs have arrived (`log.observe`), asks for a search when one is
    due, and lets the rule that was found act (`adopt`), once it is paid for. Reconstructed.

    Args:
        workload: where the jobs come from; what it says of them in advance is all that is used.
        buffer: M of the server.
        period: slots from one search to the next.
        window: slots that are replayed, at most.
        candidates: rules that a search tries.
        seed: of the run.
        index: of the server: each draws its own candidates.
        begin: the rule until the first search.

    Attributes:
        rule: (columns,) the vector that acts.
        found: the vector that the last search has found, until it acts; None: it does.
        log: of the jobs that have arrived.
    """

    def __init__(
        self,
        workload: Workload,
        buffer: int,
        period: int,
        window: int,
        candidates: int,
        seed: int = 0,
        index: int = 0,
        begin: Index | None = None,
    ):
        self._workload, self._buffer = workload, buffer
        self._period, self._count = period, candidates
        self._step = math.ceil(candidates / GENERATIONS)
        self._rng = generator(seed, Purpose.RULES, index)
        self._candidates = Candidates(workload, self._rng)
        self._best: list[Floats] = []
        top = float(workload.max_weight)
        self.rule = self._candidates.known()[0] if begin is None else begin.vector(top)
        self.found: Floats | None = None
        self.log = Log(window)
        self.next_slot = period  # of a search

    def is_due(self) -> bool:
        """Whether the next search is to begin in the slot that was observed last."""
        return self.found is None and self.log.slot >= self.next_slot

    def search(self) -> int:
        """Looks for a rule in the jobs of the window; returns the slots that all rules played."""
        jobs, slots = self.log.window()
        self.next_slot = self.log.slot + self._period
        tried = self._first_generation()
        rewards = self._rate(tried, jobs, slots)
        while len(tried) < self._count:
            best = tried[np.argsort(-rewards, kind="stable")[:KEPT]]
            more = self._candidates.varied(best, min(self._step, self._count - len(tried)))
            tried = np.concatenate([tried, more])
            rewards = np.concatenate([rewards, self._rate(more, jobs, slots)])
        order = np.argsort(-rewards, kind="stable")
        self._best = list(tried[order[:KEPT]])
        self.found = tried[order[0]]
        return len(tried) * slots

    def adopt(self) -> None:
        """The rule that was found acts from now on."""
        if self.found is not None:
            self.rule, self.found = self.found, None

    def _first_generation(self) -> Floats:
        """The rule that acts, the best of the last search, the built-in ones, and drawn ones."""
        known = np.array([self.rule, *self._best, *self._candidates.known()])
        once = known[np.sort(np.unique(known, axis=0, return_index=True)[1])]
        drawn = self._candidates.drawn(max(self._step - len(once), 0))
        return np.concatenate([once, drawn])[: self._step]

    def _rate(self, vectors: Floats, jobs: Jobs, slots: int) -> Floats:
        return earned(replay(vectors, jobs, self._workload, self._buffer, slots))

    def get_state(self) -> dict[str, Any]:
        """Everything it remembers."""
        return {
            "rng": self._rng.bit_generator.state,
            "best": [vector.copy() for vector in self._best],
            "rule": self.rule.copy(),
            "found": None if self.found is None else self.found.copy(),
            "next_slot": self.next_slot,
            "log": self.log.get_state(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes over what `get_state` returned."""
        self._rng.bit_generator.state = state["rng"]
        self._best, self.rule = list(state["best"]), state["rule"]
        self.found, self.next_slot = state["found"], state["next_slot"]
        self.log.set_state(state["log"])


def jobs_for(rule_slots: int, slots_per_job: int, price: float) -> int:
    """Training jobs that a search is paid with."""
    return math.ceil(price * rule_slots / slots_per_job)
