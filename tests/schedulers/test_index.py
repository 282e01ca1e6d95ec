"""Index rules: their members, against a plain loop over the buffer, and many slots at a time."""

import math

import numpy as np
import pytest

from mec_rllib.envs.config import EnvConfig
from mec_rllib.schedulers import SCHEDULERS, Index, run
from mec_rllib.schedulers.index_rule import COLUMNS, IndexRule, play_by_index
from mec_rllib.schedulers.rule import asked
from tests.schedulers.test_rules_by_loop import played, waiting_jobs


def test_which_built_in_rules_are_members():
    """The others draw, search, plan, or rate a job by what else waits."""
    members = [name for name in SCHEDULERS if isinstance(built(name), Index)]
    assert members == ["fifo", "sjf", "edf", "priority", "reservation", "index"]
    assert [name for name in SCHEDULERS if name not in members] == [
        "random",
        "tetris",
        "shadow",
        "rollout",
        "optimal",
    ]


def built(name):
    return SCHEDULERS[name]()


def drawn(rng):
    """Keys of a rule that uses all of them, now and then."""
    keys = {key: float(rng.normal()) for key in COLUMNS[:6]}
    keys |= {key: float(rng.integers(-2, 6)) for key in COLUMNS if "reserve" in key}
    keys |= {key: float(rng.integers(-1, 12)) for key in COLUMNS if "patience" in key}
    keys |= {"long": float(rng.normal()), "crowd": float(rng.normal()) * 4}
    keys |= {"ahead": float(rng.uniform(0, 2)), "top": 3.0, "low": 1.5, "head": rng.random() < 0.2}
    return {key: keys[key] for key in keys if rng.random() < 0.7}


def index_by_loop(jobs, batch, i, keys):
    """The action of server i, from the definition of the family."""
    given = dict.fromkeys(COLUMNS, 0.0) | keys
    for key in ("patience_top", "patience"):
        given[key] = keys.get(key, -1.0)
    top = keys.get("top", batch.workload.max_weight)
    low = keys.get("low", top / 2)
    tiers = {0: ("reserve_top", "patience_top"), 1: ("reserve", "patience")}
    tiers[2] = tuple(f"{key}_low" if f"{key}_low" in keys else key for key in tiers[1])
    may, capacity = [], batch.rules.capacity
    for job in jobs[:1] if given["head"] else jobs:
        tier = 0 if job["weight"] >= top else 1 if job["weight"] >= low else 2
        reserve = given[tiers[tier][0]] + given["long"] * math.log(job["execution"])
        reserve += given["crowd"] * len(jobs) / batch.buffer
        left = [
            capacity[d]
            - batch.units_in_use[i, d]
            - job["needs"][d]
            + given["ahead"] * coming_free(batch, i, d, job["execution"])
            for d in range(len(capacity))
        ]
        if job["fits"] and (job["left"] <= given[tiers[tier][1]] or min(left) >= reserve):
            may.append(job)
    if not may:
        return 0

    def index(job):
        share = max(n / c for n, c in zip(job["needs"], capacity, strict=True))
        wait = job["slack"] - job["left"]
        factors = [
            (job["weight"], "weight"),
            (job["execution"], "execution"),
            (share, "requirement"),
            (1 + job["left"], "slack"),
            (1 + wait, "wait"),
            (job["execution"] + job["left"], "deadline"),
        ]
        return sum(given[key] * math.log(value) for value, key in factors)

    return max(may, key=lambda job: (index(job), -job["row"]))["row"]


def coming_free(batch, i, d, slots):
    """Units given back while a job of so many slots runs, each times its share of them."""
    clock, releases = batch.servers.clock[i], batch.servers.releases[i, :, d]
    soon = min(slots, len(releases))
    return sum(releases[(clock + x) % len(releases)] * (slots - 1 - x) for x in range(soon)) / slots


def test_every_rule_of_the_family_is_what_a_plain_loop_says():
    rng, started, held = np.random.default_rng(3), 0, 0
    rules = [drawn(rng) for _ in range(60)]
    for batch in played(60, seed=4):
        vectors = np.array([Index(**keys).vector(4.0) for keys in rules])
        actions = asked(IndexRule(vectors), batch)
        for i, action in enumerate(actions.tolist()):
            assert action == index_by_loop(waiting_jobs(batch, i), batch, i, rules[i])
            started += action > 1
            held += action == 0 and batch.mask[i, 1:].any()
    assert started > 100
    assert held > 100


@pytest.mark.parametrize("slots", [1, 1023, 1024, 2500])
def test_many_slots_at_once_are_the_same_slots(slots):
    rule = SCHEDULERS["reservation"](reserve_low=6, patience_low=-1)
    one, other = (EnvConfig(load=0.9).build_servers(3, seed=7) for _ in range(2))
    rule.play(one, slots)
    for _ in range(slots):
        other.step(rule.select(other))
    for name, table in one.get_state().items():
        if name in ("servers", "tally", "now", "stream"):
            for mine, theirs in zip(table, other.get_state()[name], strict=True):
                np.testing.assert_array_equal(mine, theirs)
    assert one.slot == other.slot == slots
    one.step(rule.select(one))
    other.step(rule.select(other))
    np.testing.assert_array_equal(one.tally.reward, other.tally.reward)


def test_each_server_may_have_a_rule_of_its_own():
    names = ["sjf", "edf", "reservation"]
    vectors = np.array([built(name).vector(4.0) for name in names])
    together = EnvConfig(load=0.9).build_servers(3, seed=1)
    play_by_index(IndexRule(vectors), together, 2000)
    for k, name in enumerate(names):
        alone = EnvConfig(load=0.9).build_servers(3, seed=1)
        run(alone, built(name), 2000)
        np.testing.assert_array_equal(together.tally.reward[k], alone.tally.reward[k])


class OfAUser(Index):
    """What a user builds on ours is asked in every slot."""

    asked = 0

    def select(self, batch):
        self.asked += 1
        return super().select(batch)


def test_what_a_user_builds_on_it_is_asked_in_every_slot():
    rule = OfAUser(weight=1.0)
    run(EnvConfig().build_servers(1), rule, 30)
    assert rule.asked == 30


def test_a_vector_and_its_keys_are_the_same_rule():
    keys = {"weight": 2.0, "reserve": 3.0, "patience": 4.0, "ahead": 0.5, "by_slack": True}
    vector = Index(**keys).vector(4.0)
    assert Index.of(vector).vector(9.0).tolist() == vector.tolist()
    given = dict(zip(COLUMNS, vector.tolist(), strict=True))
    assert given | {"top": 4.0, "low": 2.0, "reserve_low": 3.0, "patience_low": 4.0} == given
