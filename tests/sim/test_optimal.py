"""The exact optimum: against brute force, against every scheduler, and as a scheduler itself."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mec_rllib.cli import app
from mec_rllib.envs.config import EnvConfig
from mec_rllib.schedulers import SCHEDULERS, run
from mec_rllib.schedulers.optimal import OptimalScheduler, Solution, State
from mec_rllib.sim.jobs import JobClass
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.totals import Totals
from mec_rllib.sim.workloads import BernoulliWorkload

ROOT = Path(__file__).parents[2]
INSTANCES = 200


@st.composite
def tiny(draw, users=1):
    capacity = draw(st.integers(2, 4))
    classes = []
    for k in range(draw(st.integers(1, 2))):
        units, slots = draw(st.integers(1, capacity)), draw(st.integers(1, 3))
        slack = draw(st.integers(0, 2))
        classes.append(
            JobClass(
                f"class{k}",
                draw(st.floats(0.2, 1)),
                ((units, min(units + draw(st.integers(0, 1)), capacity)),),
                (slots, slots),
                (slack, slack),
                draw(st.sampled_from([0.5, 1.0, 4.0])),
            )
        )
    loads = st.floats(0.05, 0.3)  # at most one job per slot and user
    return BernoulliWorkload(classes, draw(loads), (capacity,), users), draw(st.integers(1, 2))


@settings(max_examples=INSTANCES, deadline=None, derandomize=True)
@given(tiny())
def test_no_scheduler_exceeds_it(instance):
    solution = Solution(*instance)
    for name in ("fifo", "sjf", "edf", "priority", "reservation"):
        assert solution.reward_of(SCHEDULERS[name]()) <= solution.reward + 1e-7
    assert solution.reward_of(_Follow(solution)) == pytest.approx(solution.reward, abs=1e-7)
    assert abs(solution.reward) <= 1 + 1e-6


def test_looking_ahead_improves_on_the_rule():
    path = ROOT / "tune_configs" / "tiny_express.yaml"
    config = EnvConfig(**yaml.safe_load(path.read_text())["env"])
    solution = Solution(config.build_workload(), config.buffer)
    rule = solution.reward_of(SCHEDULERS["reservation"]())
    rollout = solution.reward_of(SCHEDULERS["rollout"](seed=0, futures=64))
    assert rule + 0.005 < rollout <= solution.reward


class _Follow(OptimalScheduler):
    def __init__(self, solution):
        self._solution = solution


@settings(max_examples=30, deadline=None, derandomize=True)
@given(tiny(users=2))
def test_value_iteration_is_brute_force_over_short_horizons(instance):
    """All decisions and all arrivals of four slots, played out on the kernel's own rules."""
    workload, buffer = instance
    solution = Solution(workload, buffer)
    chances = workload.job_rate(0) / workload.users
    kinds = list(solution._kinds.items())

    @cache
    def best(state, slots):
        if slots == 0:
            return 0.0
        return max(
            reward + after(post, slots - 1)
            for reward, post in (
                _play(workload, buffer, state, a) for a in _actions(state, workload)
            )
        )

    def after(post, slots):
        """Users fire one by one; each draws its kind; who finds no row is dropped."""
        total = 0.0
        for first in [None, *kinds]:
            for second in [None, *kinds]:
                chance, waiting, reward = 1.0, list(post.waiting), 0.0
                for drawn in (first, second):
                    if drawn is None:
                        chance *= 1.0 - chances
                        continue
                    chance *= chances * drawn[1]
                    if len(waiting) < buffer:
                        waiting.append((0, drawn[0]))
                    else:
                        reward -= drawn[0].weight
                ordered = tuple(sorted(waiting, key=lambda job: (-job[0], job[1])))
                total += chance * (reward + best(State(post.releases, ordered), slots))
        return total

    value = np.zeros(len(solution.states))
    for _ in range(3):
        each = solution._rewards + solution._after(value)[solution._posts]
        value = np.maximum.reduceat(each, solution._starts[:-1])
    for k in np.random.default_rng(0).integers(0, len(solution.states), 5):
        assert value[k] == pytest.approx(best(solution.states[k], 3), abs=1e-9)


def _actions(state, workload):
    used = sum(units for (units,) in state.releases)
    rows = [r for r, (_, kind) in enumerate(state.waiting)]
    fits = [r for r in rows if used + state.waiting[r][1].requirement[0] <= workload.capacity[0]]
    return [None, *fits]


def _play(workload, buffer, state, row):
    """One slot written from the design: start, tick, wait, expire."""
    running = [[left + 1, units] for left, (units,) in enumerate(state.releases) if units]
    waiting, reward = list(state.waiting), 0.0
    if row is not None:
        wait, kind = waiting.pop(row)
        reward += kind.weight * (1 - 0.5 * wait / (kind.slack + 1))
        running.append([kind.execution, kind.requirement[0]])
    running = [[left - 1, units] for left, units in running]
    releases = [0] * workload.max_execution
    for left, units in running:
        if left:
            releases[left - 1] += units
    kept = []
    for wait, kind in waiting:
        if wait + 1 > kind.slack:
            reward -= kind.weight
        else:
            kept.append((wait + 1, kind))
    return reward, State(tuple((units,) for units in releases), tuple(kept))


TINY = {
    "capacity": 2,
    "buffer": 2,
    "users": 2,
    "load": 0.5,
    "classes": [
        {"name": "short", "mix": 0.7, "resources": [2, 2], "execution": [1, 1], "slack": [1, 1],
         "weight": 4},
        {"name": "long", "mix": 0.3, "resources": [1, 1], "execution": [4, 4], "slack": [6, 6],
         "weight": 1},
    ],
}  # fmt: skip


def test_playing_it_gives_the_reward_that_it_promises():
    env = EnvConfig(**TINY)
    batch = env.build_servers(4, seed=1)
    scheduler = OptimalScheduler()
    promised = scheduler.prepare(batch).reward
    run(batch, scheduler, 15_000)
    assert Totals.of(batch).mean_reward == pytest.approx(promised, abs=0.02)
    batch.reset(1)
    run(batch, SCHEDULERS["sjf"](), 15_000)
    assert Totals.of(batch).mean_reward < promised - 0.08


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({}, "up to 1e"),
        ({**TINY, "load": [[0, 0.1], [100, 0.3]]}, "constant load"),
    ],
)
def test_what_cannot_be_solved_is_refused_with_its_size(env, message):
    batch = EnvConfig(**env).build_servers(1)
    with pytest.raises(ValueError, match=message):
        OptimalScheduler().select(batch)


def test_too_many_states_are_noticed_on_the_way(monkeypatch):
    monkeypatch.setattr("mec_rllib.schedulers.optimal.MAX_STATES", 5)
    with pytest.raises(ValueError, match="more than"):
        Solution(EnvConfig(**TINY).build_workload(), 2)


def test_a_training_job_is_beyond_it():
    batch = EnvConfig(**TINY).build_servers(1)
    scheduler = OptimalScheduler()
    scheduler.prepare(batch)
    batch.servers.used[:] = 2
    batch.servers.releases[:] = 2
    with pytest.raises(ValueError, match="scheduling alone"):
        scheduler.select(batch)


def test_two_resource_kinds():
    classes = [
        JobClass("cpu", 1.0, ((2, 2), (0, 0)), (2, 2), (1, 1), 1.0),
        JobClass("gpu", 1.0, ((0, 0), (2, 2)), (2, 2), (1, 1), 1.0),
    ]
    workload = BernoulliWorkload(classes, 0.4, (2, 2), users=1)
    one_by_one = Solution(workload, 2)
    batch = ServerBatch(workload, 8, 2, seed=3)
    run(batch, OptimalScheduler(), 5_000)
    assert Totals.of(batch).mean_reward == pytest.approx(one_by_one.reward, abs=0.02)


@pytest.mark.parametrize("name", ["tiny_express", "tiny_mixed"])
def test_the_tiny_configs_are_solved_by_the_command_line(name, capsys):
    config = str(ROOT / f"tune_configs/{name}.yaml")
    common = ["--config", config, "--slots", "2000", "--set", "evaluation.slots=8000", "--json"]
    rewards = {}
    for scheduler in ("optimal", "reservation"):
        app(["evaluate", "--scheduler", scheduler, *common, "--seeds", "3"], standalone_mode=False)
        (row,) = json.loads(capsys.readouterr().out)["rows"]
        rewards[scheduler] = row["reward_greedy"]
    assert rewards["optimal"] > rewards["reservation"]


def test_who_wants_a_scheduler_does_not_wait_for_other_libraries():
    """They take seconds to load, and every trial and command has the schedulers."""
    slow = {"scipy.stats", "ray", "torch"}
    look = f"import sys, mec_rllib.schedulers; sys.exit(bool({slow} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", look]).returncode == 0
