"""The search for an index rule: what it sees, what it pays, and what it finds."""

import copy
import re

import numpy as np
import pytest
import yaml

from mec_rllib.config.load import build
from mec_rllib.config.strategies import resolve
from mec_rllib.envs.config import EnvConfig
from mec_rllib.errors import ConfigError
from mec_rllib.schedulers import SCHEDULERS, Index, Shadow, run
from mec_rllib.schedulers.rule_search import Log, RuleSearch, earned, jobs_for, replay
from mec_rllib.sim.jobs import Jobs
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.totals import Totals
from mec_rllib.sim.workloads import BernoulliWorkload, ScriptedWorkload
from mec_rllib.trials.runs import start_run
from mec_rllib.trials.trial import Trial

SMALL = {"period": 300, "window": 700, "candidates": 12, "slots_per_job": 2000}


def servers(load=0.9, n=1, seed=3, **keys):
    return EnvConfig(load=load, **keys).build_servers(n, seed=seed)


class ChangesAt:
    """A workload whose jobs from a slot on are others."""

    def __init__(self, slot, load):
        self.before, self.after = (EnvConfig(load=x).build_workload() for x in (0.9, load))
        self.slot = slot
        for name in ("class_names", "capacity", "max_execution", "max_slack", "max_weight"):
            setattr(self, name, getattr(self.before, name))
        self.length = None

    def arrivals(self, rng, start, stop):
        jobs = self.before.arrivals(np.random.default_rng(start), start, stop)
        later = self.after.arrivals(np.random.default_rng(start + 1), start, stop)
        first = jobs.take(slice(int(np.searchsorted(jobs.arrival, self.slot))))
        rest = later.take(slice(int(np.searchsorted(later.arrival, self.slot)), None))
        return Jobs.concatenate([first, rest])


@pytest.mark.parametrize("slot", [600, 601, 900, 1500])
def test_no_job_is_used_before_its_arrival(slot):
    """Two worlds that differ from a slot on only: until then all is the same."""
    seen = []
    for load in (0.1, 1.4):
        batch, shadow, rules = ServerBatch(ChangesAt(slot, load)), Shadow(**SMALL), []
        actions = []
        for _ in range(slot - 1):
            actions.append(int(shadow.select(batch)[0]))
            rules.append(shadow.searches[0].rule.tolist())
            rules.append(copy.deepcopy(shadow.searches[0].found))
            batch.step(np.array(actions[-1:]))
        seen.append((actions, str(rules)))
    assert seen[0] == seen[1]
    assert seen[0][1].count("array") > 0  # something was found


def test_a_log_refuses_jobs_that_are_still_to_come():
    jobs = servers().workload.arrivals(np.random.default_rng(0), 0, 50)
    log = Log(window=10)
    with pytest.raises(ValueError, match=r"slot 20: a job of slot 4\d is still to come"):
        log.observe(jobs, 20)


def test_a_log_holds_every_job_once_and_the_window_the_last_slots():
    batch, log = servers(seed=5), Log(window=500)
    everything = ServerBatch(batch.workload, seed=5).arrived(0)
    for slot in range(3000):
        log.observe(batch.arrived(0), slot)
        if slot % 7 == 0:
            log.observe(batch.arrived(0), slot)  # a second look adds nothing
        everything = batch.arrived(0) if slot < 1023 else everything
        batch.step(np.zeros(1, int))
    jobs, slots = log.window()
    assert slots == 500
    assert 0 <= jobs.arrival.min() <= jobs.arrival.max() < 500
    before_the_last = 2999 - 500
    counts = [b.tally.jobs[0, :, 0].sum() for b in played_to((before_the_last, 2999), seed=5)]
    assert len(jobs.arrival) == counts[1] - counts[0]


def played_to(slots, seed):
    """Servers of load 0.9 on which nothing starts, after so many slots."""
    for count in slots:
        batch = servers(seed=seed)
        for _ in range(count):
            batch.step(np.zeros(1, int))
        yield batch


@pytest.mark.parametrize("kinds", [1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_a_replay_earns_exactly_what_the_server_earned(seed, kinds):
    """Whatever the jobs, and whatever the rule."""
    rng = np.random.default_rng(seed)
    capacity, slots = [int(c) for c in rng.integers(5, 30, kinds)], 1500
    classes = [
        {
            "name": str(k),
            "mix": rng.uniform(0.1, 1),
            "resources": [sorted(rng.integers(1, c, 2, endpoint=True).tolist()) for c in capacity],
            "execution": sorted(rng.integers(1, 30, 2).tolist()),
            "slack": sorted(rng.integers(0, 60, 2).tolist()),
            "weight": rng.uniform(0.1, 5),
        }
        for k in range(3)
    ]
    env = {"capacity": capacity, "classes": classes, "buffer": int(rng.integers(1, 15))}
    batch = servers(load=0.8, seed=seed, **env)
    rules = [SCHEDULERS[name]() for name in ("fifo", "sjf", "edf", "priority", "reservation")]
    rules.append(Index(weight=1, execution=-1, slack=-0.3, long=0.7, ahead=0.6, crowd=-2))
    vectors = np.array([rule.vector(batch.workload.max_weight) for rule in rules])
    for vector, rule in zip(vectors, rules, strict=True):
        batch, log = servers(load=0.8, seed=seed, **env), Log(window=slots + 1)
        for slot in range(slots):
            log.observe(batch.arrived(0), slot)
            batch.step(rule.select(batch))
        log.observe(batch.arrived(0), slots)
        jobs, _ = log.window()
        again = replay(vector[None], jobs, batch.workload, batch.buffer, slots)
        assert earned(again)[0] == Totals.of(batch).mean_reward
        np.testing.assert_array_equal(again.tally.reward, batch.tally.reward)
        np.testing.assert_array_equal(again.tally.jobs, batch.tally.jobs)


@pytest.mark.parametrize("n", [1, 3])
def test_many_slots_at_once_are_the_same_slots(n):
    one, other = servers(n=n), servers(n=n)
    first, second = Shadow(seed=1, **SMALL), Shadow(seed=1, **SMALL)
    for slots in (1, 299, 1, 40, 1700):
        run(one, first, slots)
    for _ in range(2041):
        other.step(second.select(other))
    np.testing.assert_array_equal(one.tally.reward, other.tally.reward)
    np.testing.assert_array_equal(one.tally.training_jobs, other.tally.training_jobs)
    first.select(one), second.select(other)  # they see who has arrived
    for mine, theirs in zip(first.searches, second.searches, strict=True):
        assert mine.rule.tolist() == theirs.rule.tolist()
        assert str(mine.log.window()) == str(theirs.log.window())
    assert one.tally.training_jobs.min() > 5


@pytest.mark.parametrize("slots", [299, 300, 305, 1023, 1024, 1400])
def test_a_search_goes_on_bit_for_bit(slots):
    whole, resumed = servers(load=0.6), servers(load=0.6)
    uninterrupted, before = Shadow(seed=4, **SMALL), Shadow(seed=4, **SMALL)
    run(whole, uninterrupted, 2500)
    run(resumed, before, slots)
    states = copy.deepcopy((resumed.get_state(), before.get_state()))
    run(resumed, before, 100)  # the states are copies
    again, after = servers(load=0.6, seed=9), Shadow(seed=77, **SMALL)
    again.set_state(states[0])
    after.set_state(again, states[1])
    run(again, after, 2500 - slots)
    np.testing.assert_array_equal(whole.tally.reward, again.tally.reward)
    np.testing.assert_array_equal(whole.tally.training_jobs, again.tally.training_jobs)
    assert str(uninterrupted.get_state()) == str(after.get_state())


def test_a_search_pays_for_every_slot_that_a_rule_has_played():
    """12 rules play 301 slots, then 601, 700, 700, ...: one training job for each 2,000."""
    batch, shadow = servers(load=0.3), Shadow(**SMALL)
    run(batch, shadow, 299 + 100)
    assert batch.tally.training_jobs.sum() == jobs_for(12 * 301, 2000, 1.0) == 2
    run(batch, shadow, 300)
    assert batch.tally.training_jobs.sum() == 2 + jobs_for(12 * 601, 2000, 1.0) == 6
    run(batch, shadow, 300)
    assert batch.tally.training_jobs.sum() == 6 + jobs_for(12 * 700, 2000, 1.0) == 11


def test_a_search_of_the_defaults_takes_29_training_jobs():
    assert pytest.approx(28.2, abs=0.1) == 96 * 15_000 / 51_000
    assert jobs_for(96 * 15_000, 51_000, 1.0) == 29


@pytest.mark.parametrize(("price", "jobs"), [(0, 0), (1, 11), (4, 8 + 15 + 17)])
def test_a_price_multiplies_what_a_search_costs(price, jobs):
    batch = servers(load=0.3)
    run(batch, Shadow(price=price, **SMALL), 999)
    assert batch.tally.training_jobs.sum() == jobs


def test_where_slots_cost_nothing_searches_do():
    """A search whose only candidate is the rule that acts, in every slot that is free."""
    alone, paying = (servers(load=0.3, seed=8) for _ in range(2))
    run(alone, SCHEDULERS["reservation"](), 2000)
    keys = {"period": 1, "window": 1, "candidates": 1, "slots_per_job": 1}
    run(paying, Shadow(longest_wait=10**6, **keys), 2000)
    assert paying.tally.training_jobs.sum() > 200
    np.testing.assert_array_equal(paying.tally.reward, alone.tally.reward)


def test_a_training_job_is_forced_after_the_longest_wait():
    """One unit is always in use: no slot costs nothing."""
    jobs = [(slot, 1, 5, 9, 1.0) for slot in range(0, 3000, 2)]
    keys = {"period": 500, "window": 100, "candidates": 4, "slots_per_job": 401}
    for longest_wait, paid in ((10**6, 0), (100, 1)):
        batch = ServerBatch(ScriptedWorkload(jobs))
        run(batch, Shadow(longest_wait=longest_wait, **keys), 720)
        assert batch.tally.training_jobs.sum() == paid


def test_it_finds_a_far_better_rule_than_the_one_it_begins_with():
    fixed, searched = servers(load=0.9), servers(load=0.9)
    run(fixed, SCHEDULERS["reservation"](), 30_000)
    run(searched, Shadow(period=2000, window=6000, candidates=48, slots_per_job=51_000), 30_000)
    one, other = Totals.of(fixed).mean_reward, Totals.of(searched).mean_reward
    assert other > one + 0.2


def test_the_rule_acts_once_it_is_paid_for():
    batch, shadow = servers(load=0.9), Shadow(longest_wait=50, **SMALL)
    run(batch, shadow, 301)
    search = shadow.searches[0]
    found, before = search.found.copy(), search.rule.copy()
    assert found is not None
    while search.found is not None:
        np.testing.assert_array_equal(search.rule, before)
        run(batch, shadow, 1)
    np.testing.assert_array_equal(search.rule, found)
    assert batch.tally.training_jobs.sum() == 2


def test_every_server_searches_in_its_own_jobs():
    together = servers(n=3, seed=6)
    run(together, Shadow(seed=2, **SMALL), 1500)
    workload = together.workload
    for k in range(3):
        alone = ServerBatch(workload, seed=6, first_index=k)
        run(alone, Shadow(seed=2, **SMALL), 1500)
        assert alone.tally.reward.sum() == together.tally.reward[k].sum()


def test_what_it_has_found_is_an_index_rule_for_good():
    batch, shadow = servers(load=0.9), Shadow(**SMALL)
    run(batch, shadow, 1200)
    rule = shadow.policy()
    assert type(rule) is Index
    np.testing.assert_array_equal(rule.vector(4.0), shadow.searches[0].rule)
    elsewhere = servers(load=0.9, seed=11)
    run(elsewhere, rule, 500)
    assert elsewhere.tally.training_jobs.sum() == 0


def test_slots_that_it_did_not_see_are_an_error():
    batch, shadow = servers(), Shadow(**SMALL)
    run(batch, shadow, 10)
    run(batch, SCHEDULERS["sjf"](), 3000)
    with pytest.raises(RuntimeError, match="shadow has not seen the slots before"):
        shadow.select(batch)


def test_the_search_draws_from_a_stream_of_its_own():
    workload = EnvConfig().build_workload()
    assert isinstance(workload, BernoulliWorkload)
    drawn = [
        RuleSearch(workload, 10, 10, 10, 8, seed=s, index=k) for s, k in ((0, 0), (0, 1), (1, 0))
    ]
    first = [search._candidates.drawn(3) for search in drawn]
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], first[2])


def test_a_kind_of_its_own_pays_where_there_are_several():
    kinds = [{"name": "training"}, {"name": "search", "share": 0.5, "slots": 2}]
    batch = servers(load=0.3, training_job=kinds)
    run(batch, Shadow(kind=1, **SMALL), 999)
    assert batch.tally.training_jobs.tolist() == [[0, 11]]
    with pytest.raises(ValueError, match=r"kind 2: training jobs have kinds 0\.\.1"):
        Shadow(kind=2).select(batch)


def test_a_trial_tells_the_kinds_apart_and_judges_the_rule_that_was_found():
    kinds = [{"name": "training"}, {"name": "search", "share": 0.5, "slots": 2}]
    strategy = {"scheduler": "shadow", "args": SMALL | {"kind": 1}}
    keys = {"env": {"load": 0.9, "training_job": kinds}, "slots": 3000, "strategies": [strategy]}
    experiment = build(keys | {"evaluation": {"slots": 500, "servers": 2}}, "here")
    (played,) = resolve(experiment).strategies
    trial = Trial("shadow", 0, played.experiment, start_run(played, 0))
    while not trial.is_done:
        row = trial.play_report().get("row")
    jobs, share = row["training_jobs_by_kind"], row["share_training_by_kind"]
    assert jobs["training"] == share["training"] == 0
    assert share["search"] == pytest.approx(2 * jobs["search"] / 3000)
    assert row["share_training"] == pytest.approx(share["search"], abs=2 / 3000)
    assert np.isfinite(row["reward_greedy"])


BAD = {
    "{scheduler: shadow, args: {period: 0}}": "args.period: Input should be greater than or equal",
    "{scheduler: shadow, args: {perod: 9}}": "args: got an unexpected keyword argument 'perod'",
    "{scheduler: index, args: {weight: heavy}}": "args.weight: Input should be a valid number",
    "{scheduler: index, args: {patience: -2}}": "args.patience: Input should be greater than or",
    "{gate: pts, set: {exploration: {guided: {scheduler: shadow}}}}": "it guides nobody",
}


@pytest.mark.parametrize("entry", BAD)
def test_wrong_arguments_are_named_in_one_line(entry):
    with pytest.raises(ConfigError, match=re.escape(BAD[entry])):
        resolve(build({"strategies": [yaml.safe_load(entry)]}, "here"))
