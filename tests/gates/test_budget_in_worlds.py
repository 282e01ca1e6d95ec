"""Moments to train, measured where a rule acts and nobody learns: what a training job costs."""

from functools import cache

import numpy as np
import pytest

from mec_rllib.envs.config import EnvConfig
from mec_rllib.envs.llm.rules import InteractiveFirst
from mec_rllib.envs.poll.rules import Exhaustive
from mec_rllib.gates import Budget
from mec_rllib.rl.gating import view_of
from mec_rllib.schedulers import run

WORLDS = {
    "llm": ({"id": "LlmServing-v0", "reward": "weight"}, InteractiveFirst(2, preempt=True), 1.0),
    "poll": ({"id": "Polling-v0"}, Exhaustive(), 10.0),  # its rewards are a tenth as large
}
SERVERS, SLOTS, RATE = 8, 4000, 0.005


@cache
def played(world, score):
    """R and training jobs of eight servers, whose moments to train a score finds."""
    gym, rule, scale = WORLDS[world]
    batch = EnvConfig.model_validate({"gym": gym | {"cost": "own", "steps": 8}}).build_world(
        SERVERS, 7
    )
    gate, rng = Budget(SERVERS, score, RATE, min_history=200), np.random.default_rng(0)
    nothing = np.full(SERVERS, np.nan)

    def ask(done):
        view = view_of(
            *(batch, gate),
            psi=nothing,
            td_statistic=nothing,
            rng=rng,
            td_error=nothing,
            reward=batch.rewards,
        )
        batch.request_training(gate.wants(view))

    run(batch, rule, SLOTS, ask)
    totals = batch.totals()
    return scale * totals.mean_reward, int(totals.training_jobs)


@pytest.mark.compiled
@pytest.mark.parametrize("world", WORLDS)
def test_chance_is_as_good_as_a_clock_and_all_spend_the_same(world):
    clock, jobs = played(world, "clock")
    for score in ("random", "use", "queue"):
        assert played(world, score)[1] == pytest.approx(jobs, abs=2 * SERVERS)  # saved at the end
    near = 0.01 if world == "llm" else 0.02  # of rewards ten times as large: 0.002
    assert played(world, "random")[0] == pytest.approx(clock, abs=near)


@pytest.mark.compiled
def test_the_shortest_queue_is_a_better_moment_and_least_use_is_not_where_the_server_must_move():
    for world in WORLDS:
        assert played(world, "queue")[0] > played(world, "clock")[0] + 0.003
    assert played("poll", "use")[0] < played("poll", "clock")[0] - 0.003
