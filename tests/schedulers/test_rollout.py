"""The one-step rollout: what it imagines, how far, and by which rule."""

import numpy as np
import pytest

from mec_rllib.envs.config import EnvConfig
from mec_rllib.schedulers import SCHEDULERS, Reservation
from mec_rllib.sim.jobs import JobClass
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.workloads import BernoulliWorkload, ScriptedWorkload


def test_rollout_sees_what_the_rule_does_not():
    """One of two units is in use for one more slot, and a job of weight 4 needs both then.

    A light job of five slots fits now; the rule starts it, and the heavy one is lost.
    """
    unit = {"mix": 1, "resources": [1, 1], "execution": [1, 5], "slack": [0, 9]}
    classes = [unit | {"name": "light", "weight": 1}, unit | {"name": "heavy", "weight": 4}]
    batch = EnvConfig(capacity=2, users=1, load=0.01, classes=classes).build_servers(1, seed=0)
    servers = batch.servers
    assert not servers.waiting.any()
    servers.used[0, 0] = servers.releases[0, 0, 0] = 1
    servers.waiting[0] = 2
    servers.requirement[0, :2, 0], servers.execution[0, :2] = [1, 2], [5, 1]
    servers.slack[0, :2], servers.weight[0, :2] = [9, 1], [1.0, 4.0]
    batch.refresh()
    before = batch.get_state()
    assert Reservation(reserve=0).select(batch) == [1]
    assert SCHEDULERS["rollout"](seed=1, reserve=0).select(batch) == [0]
    np.testing.assert_equal(batch.get_state(), before)  # it only imagines


def two_for_the_whole_server():
    """A job of weight 1 that runs 10 slots and cannot wait, and one of weight 10 that can."""
    unit = {"mix": 1, "resources": [1, 1], "execution": [1, 10], "slack": [0, 99]}
    classes = [unit | {"name": "light", "weight": 1}, unit | {"name": "heavy", "weight": 10}]
    batch = EnvConfig(capacity=1, users=1, load=0.001, classes=classes).build_servers(1, seed=0)
    servers = batch.servers
    assert not servers.waiting.any()
    servers.waiting[0] = 2
    servers.requirement[0, :2, 0], servers.execution[0, :2] = 1, [10, 1]
    servers.slack[0, :2], servers.weight[0, :2] = [0, 99], [1.0, 10.0]
    batch.refresh()
    return batch


@pytest.mark.parametrize(("gamma", "chosen"), [(1.0, 1), (0.985, 1), (0.98, 2), (0.5, 2)])
def test_rollout_discounts_what_comes_later(gamma, chosen):
    """The light one first: 1, and gamma^10 * 10 * (1 - 0.5 * 10 / 100). The heavy one: 10 - 1.

    They are worth the same at gamma^10 = 8 / 9.5, that is at 0.983.
    """
    rollout = SCHEDULERS["rollout"](futures=8, horizon=15, gamma=gamma, reserve=0)
    assert rollout.select(two_for_the_whole_server()) == [chosen]


class Asked(BernoulliWorkload):
    """Notes the slots whose jobs it was asked for."""

    def arrivals(self, rng, start, stop):
        self.asked = [*getattr(self, "asked", []), (start, stop)]
        return super().arrivals(rng, start, stop)


ONE_KIND = JobClass("one", 1.0, ((1, 1),), (1, 10), (0, 99), 10.0)


def asked_servers(*jobs, servers=1, slots=3, **options):
    """Servers of one unit after some slots, with these jobs waiting: execution, slack, weight."""
    batch = ServerBatch(
        Asked([ONE_KIND], load=0.001, capacity=(1,), users=1), servers, buffer=3, **options
    )
    for _ in range(slots):
        batch.step(np.zeros(servers, np.int64))
    s = batch.servers
    assert not s.waiting.any()
    s.waiting[:] = len(jobs)
    for row, (execution, slack, weight) in enumerate(jobs):
        s.requirement[:, row, 0], s.execution[:, row] = 1, execution
        s.slack[:, row], s.weight[:, row] = slack, weight
    batch.refresh()
    return batch


LIGHT, HEAVY = (10, 0, 1.0), (1, 99, 10.0)


@pytest.mark.parametrize(("horizon", "chosen"), [(10, 2), (11, 1), (12, 1)])
def test_rollout_looks_as_far_as_its_horizon(horizon, chosen):
    """After the light job, the heavy one starts in the 11th slot: 1 + 9.5 against 10 - 1."""
    rollout = SCHEDULERS["rollout"](futures=4, horizon=horizon, gamma=1.0, reserve=0)
    batch = asked_servers(LIGHT, HEAVY)
    batch.workload.asked = []
    assert rollout.select(batch) == [chosen]
    assert batch.workload.asked[-4:] == [(4, 4 + horizon)] * 4


def test_rollout_goes_on_with_the_rule_that_it_is_given():
    """Light first: 1, and the other starts next (0.95 * 1.43), or never (-1.5 in slot 10).

    The other first: 1.5 - 1. The top weight, 10, does not wait.
    """
    batch = asked_servers((1, 0, 1.0), (1, 9, 1.5))
    for rule, chosen in (({"reserve": 0}, 1), ({"reserve": 5, "patience": -1}, 2)):
        assert SCHEDULERS["rollout"](futures=4, horizon=15, **rule).select(batch) == [chosen]


def test_rollout_tries_every_row_of_the_buffer():
    batch = asked_servers((9, 9, 1.0), (9, 9, 1.0), (9, 9, 8.0))
    for horizon in (1, 2):
        assert SCHEDULERS["rollout"](futures=2, horizon=horizon).select(batch) == [3]


def test_rollout_decides_for_every_server_that_has_a_choice():
    batch = asked_servers((9, 0, 1.0), servers=3)
    batch.servers.used[1, 0] = batch.servers.releases[1, 5, 0] = 1
    batch.refresh()
    rollout = SCHEDULERS["rollout"](futures=2, horizon=2)
    assert rollout.select(batch).tolist() == [1, 0, 1]
    batch.workload.asked = []
    batch.servers.used[:] = 1
    batch.refresh()
    assert rollout.select(batch).tolist() == [0, 0, 0]
    assert batch.workload.asked == []  # where there is nothing to choose, nothing is drawn


def test_rollout_knows_several_kinds_of_training_jobs():
    """Either may start, so the first does; nothing, while a job of the second kind waits."""
    kinds = {"training_share": [0.5, 1.0], "training_slots": [1, 2], "mode": "backfill"}
    batch = asked_servers((9, 99, 1.0), (1, 99, 1.0), **kinds)
    assert SCHEDULERS["rollout"](futures=2, horizon=8).select(batch) == [1]
    batch.servers.used[0, 0] = batch.servers.releases[0, batch.servers.clock[0] + 3, 0] = 1
    batch.servers.last_end[0] = batch.servers.clock[0] + 4
    batch.request_training(np.array([1]))
    assert SCHEDULERS["rollout"](futures=2, horizon=8).select(batch) == [0]


@pytest.mark.parametrize("bad", [{"futures": 0}, {"horizon": 0}, {"futures": 0, "horizon": 0}])
def test_rollout_needs_a_future_and_a_slot(bad):
    with pytest.raises(ValueError, match="futures and horizon must be at least 1"):
        SCHEDULERS["rollout"](**bad)
    SCHEDULERS["rollout"](futures=1, horizon=1)


def test_recorded_arrivals_are_no_futures():
    batch = ServerBatch(ScriptedWorkload([(0, 1, 1, 9, 1.0)]))
    with pytest.raises(ValueError, match="it needs the bernoulli workload"):
        SCHEDULERS["rollout"]().select(batch)
