"""A rule that is looked for anew, again and again, among rules that replay what has arrived."""

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from mec_rllib.schedulers.index import Index
from mec_rllib.schedulers.index_rule import IndexRule, play_by_index
from mec_rllib.schedulers.rule import asked
from mec_rllib.schedulers.rule_search import (
    CandidateCount,
    Period,
    Price,
    RuleSearch,
    SlotsPerJob,
    Window,
    jobs_for,
)
from mec_rllib.sim.jobs import Bools, Ints
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.training_jobs import NO_KIND


class Shadow:
    """Every `period` slots many index rules replay the jobs of the last slots; the best one acts.

    Nothing is learned, and nothing of the future is seen (reconstructed). Until the first search
    the reservation rule acts. Each server searches for itself, in what has arrived at it.

    A search computes, and pays as training does: one training job for every `slots_per_job` slots
    that a rule has played, one after the other. Each waits for a slot in which it costs nothing:
    the units that it needs are free, and the rule would start nothing; or until it has waited for
    `longest_wait` slots. The rule that was found acts when all of them have run.

    Args:
        seed: of the rules that are tried.
        period: slots from one search to the next, of each server.
        window: slots that are replayed, at most.
        candidates: rules that a search tries.
        slots_per_job: slots of rules played that one training job pays for (reconstructed: what it
            computes in proportion to 32 updates of a batch of 32).
        price: times that; 0: searches are free.
        longest_wait: slots after which a training job is inserted anyway.
        kind: index of the kind of training jobs that pay, where the servers have several.
    """

    occupies = True  # it inserts training jobs

    def __init__(
        self,
        seed: int = 0,
        period: Period = 5000,
        window: Window = 15_000,
        candidates: CandidateCount = 96,
        slots_per_job: SlotsPerJob = 51_000,
        price: Price = 1.0,
        longest_wait: Annotated[
            int,
            Field(ge=0, le=10**9, description="slots that its training jobs wait for a free slot"),
        ] = 200,
        kind: Annotated[
            int, Field(ge=0, le=99, description="index of the kind of training jobs that it takes")
        ] = 0,
    ):
        self._seed, self._longest_wait = seed, longest_wait
        self._period, self._window, self._candidates = period, window, candidates
        self._slots_per_job, self._price, self._kind = slots_per_job, price, kind
        self._batch: ServerBatch | None = None

    def prepare(self, batch: ServerBatch) -> None:
        """Begins anew with these servers; done by itself when they are first seen.

        Raises:
            ValueError: there is no such kind of training jobs.
        """
        if self._kind >= batch.kinds:
            raise ValueError(f"kind {self._kind}: training jobs have kinds 0..{batch.kinds - 1}")
        first, n = batch.first_index, batch.num_servers
        self._batch = batch
        self.searches = [
            RuleSearch(
                batch.workload,
                batch.buffer,
                self._period,
                self._window,
                self._candidates,
                seed=self._seed,
                index=k,
            )
            for k in range(first, first + n)
        ]
        self._owed = np.zeros(n, np.int64)  # training jobs
        self._waits_from = np.zeros(n, np.int64)  # slot
        self._rule = IndexRule(np.array([search.rule for search in self.searches]))

    def select(self, batch: ServerBatch) -> Ints:
        """Actions (N,); inserts training jobs before that."""
        self._look(batch)
        actions = asked(self._rule, batch)
        if not self._owed.any():
            return actions
        wanted = self._moments(batch, actions)
        if not wanted.any():
            return actions
        batch.request_training(np.where(wanted, self._kind, NO_KIND))
        return asked(self._rule, batch)

    def play(self, batch: ServerBatch, slots: int) -> None:
        """As `select` and `step` by turns; in compiled code while no search is to be paid."""
        while slots > 0:
            self._look(batch)
            if self._owed.any():
                ahead = 1
                batch.step(self.select(batch))
            else:
                until = min(search.next_slot for search in self.searches) - batch.slot
                ahead = min(slots, batch.slots_ahead(), until)
                play_by_index(self._rule, batch, ahead)
            slots -= ahead

    def policy(self) -> "Shadow | Index":
        """What acts now, for good: the rule of the first server."""
        return self if self._batch is None else Index.of(self._rule.vectors[0])

    def _look(self, batch: ServerBatch) -> None:
        """Sees who has arrived and which training job has run; searches where it is time."""
        if batch is not self._batch:
            self.prepare(batch)
        paid = (batch.completed == self._kind) & (self._owed > 0)
        for i, search in enumerate(self.searches):
            if search.log.slot == batch.slot:
                continue  # has looked
            if search.log.slot + 1 < batch.drawn_from:
                raise RuntimeError(f"shadow has not seen the slots before {batch.drawn_from}")
            search.log.observe(batch.arrived(i), batch.slot)
            if paid[i]:
                self._owed[i] -= 1
                self._waits_from[i] = batch.slot
            self._adopt(i)
            if search.is_due():
                played = search.search()
                self._owed[i] = jobs_for(played, self._slots_per_job, self._price)
                self._waits_from[i] = batch.slot
                self._adopt(i)

    def _adopt(self, i: int) -> None:
        """What server i's search has found acts, once it is paid for."""
        search = self.searches[i]
        if search.found is not None and self._owed[i] == 0:
            search.adopt()
            self._rule.vectors[i] = search.rule

    def _moments(self, batch: ServerBatch, actions: Ints) -> Bools:
        """(N,) where a training job is owed, and costs nothing or has waited long enough."""
        units = batch.units_in_use + batch.rules.demand[self._kind]
        is_free = (units <= batch.rules.capacity).all(axis=1) & (actions == 0)
        waited = batch.slot - self._waits_from
        moment: Bools = (self._owed > 0) & (is_free | (waited >= self._longest_wait))
        return moment

    def get_state(self) -> dict[str, Any]:
        """Everything it remembers."""
        return {
            "searches": [search.get_state() for search in self.searches],
            "owed": self._owed.copy(),
            "waits_from": self._waits_from.copy(),
        }

    def set_state(self, batch: ServerBatch, state: dict[str, Any]) -> None:
        """Goes on with servers that have taken over their state of the same moment."""
        self.prepare(batch)
        for search, before in zip(self.searches, state["searches"], strict=True):
            search.set_state(before)
        self._owed[:], self._waits_from[:] = state["owed"], state["waits_from"]
        self._rule.vectors[:] = [search.rule for search in self.searches]
