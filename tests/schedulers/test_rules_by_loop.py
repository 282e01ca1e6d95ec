"""Every rule against a plain loop over the buffer, on servers with two resource kinds."""

import numpy as np
import pytest

from mec_rllib.envs.config import EnvConfig
from mec_rllib.schedulers import SCHEDULERS, RandomScheduler


def waiting_jobs(batch, i):
    """Rows of the buffer of server i, as plain numbers; which of them fit is said by the mask."""
    s = batch.servers
    return [
        {
            "row": row + 1,
            "fits": bool(batch.mask[i, row + 1]),
            "needs": s.requirement[i, row].tolist(),
            "execution": int(s.execution[i, row]),
            "slack": int(s.slack[i, row]),
            "left": int(s.slack[i, row] - s.wait[i, row]),
            "weight": float(s.weight[i, row]),
        }
        for row in range(s.waiting[i])
    ]


def best(jobs, key):
    """Row of the job with the lowest key, the first among equals; 0 if there is none."""
    return min(jobs, key=key)["row"] if jobs else 0


def fifo_by_loop(jobs, **_):
    return 1 if jobs and jobs[0]["fits"] else 0


def sjf_by_loop(jobs, **_):
    return best([j for j in jobs if j["fits"]], lambda j: j["execution"])


def edf_by_loop(jobs, **_):
    return best([j for j in jobs if j["fits"]], lambda j: j["execution"] + j["left"])


def priority_by_loop(jobs, **_):
    return best([j for j in jobs if j["fits"]], lambda j: (-j["weight"], j["left"]))


def reservation_by_loop(jobs, free, top, **_):
    """Reserve 3 and patience 10; 5 and 4 for what is worth less than half of the top."""

    def may_start(job):
        reserve, patience = (5, 4) if job["weight"] < top / 2 else (3, 10)
        leaves = all(f - n >= reserve for f, n in zip(free, job["needs"], strict=True))
        return job["fits"] and (job["weight"] >= top or job["left"] <= patience or leaves)

    return best([j for j in jobs if may_start(j)], lambda j: (-j["weight"], j["left"]))


BY_LOOP = {
    "fifo": (fifo_by_loop, {}),
    "sjf": (sjf_by_loop, {}),
    "edf": (edf_by_loop, {}),
    "priority": (priority_by_loop, {}),
    "reservation": (reservation_by_loop, {"reserve_low": 5, "patience_low": 4}),
}
TWO_KINDS = [
    {"name": "a", "mix": 0.5, "resources": [[2, 5], [1, 8]], "execution": [1, 9]}
    | {"slack": [0, 14], "weight": 4},
    {"name": "b", "mix": 0.3, "resources": [[1, 9], [0, 3]], "execution": [2, 5]}
    | {"slack": [3, 20], "weight": 2},
    {"name": "c", "mix": 0.2, "resources": [[0, 4], [2, 4]], "execution": [1, 5]}
    | {"slack": [3, 20], "weight": 1},
]


def played(servers, slots=25, seed=0):
    """Servers with two resource kinds after every slot of a busy time, random actions."""
    env = EnvConfig(capacity=[10, 16], load=1.2, classes=TWO_KINDS, buffer=6)
    batch, scheduler = env.build_servers(servers, seed=seed), RandomScheduler(seed=seed)
    for slot in range(slots):
        yield batch
        batch.request_training(np.arange(servers) == slot % 9)
        batch.step(scheduler.select(batch))


@pytest.mark.parametrize("name", BY_LOOP)
def test_every_rule_is_what_a_plain_loop_over_the_buffer_says(name):
    rule, options = BY_LOOP[name]
    scheduler, started = SCHEDULERS[name](**options), 0
    for batch in played(400):  # 10,000 states
        actions = scheduler.select(batch)
        for i, action in enumerate(actions.tolist()):
            free = (batch.rules.capacity - batch.units_in_use[i]).tolist()
            assert action == rule(waiting_jobs(batch, i), free=free, top=4.0)
            started += action > 0
    assert started > 100


@pytest.mark.parametrize("remaining_work", [0.0, 0.5, 1.0, 4.0])
def test_tetris_has_the_highest_score_by_a_plain_loop(remaining_work):
    scheduler, chosen = SCHEDULERS["tetris"](remaining_work=remaining_work), []
    capacity = [10, 16]
    for batch in played(20, seed=1):
        for i, action in enumerate(scheduler.select(batch).tolist()):
            free = [(c - int(u)) / c for c, u in zip(capacity, batch.units_in_use[i], strict=True)]
            scores = {}
            for job in (j for j in waiting_jobs(batch, i) if j["fits"]):
                share = [n / c for n, c in zip(job["needs"], capacity, strict=True)]
                alignment = sum(s * f for s, f in zip(share, free, strict=True))
                scores[job["row"]] = (alignment, sum(share) * job["execution"])
            if not scores:
                assert action == 0
                continue
            a, p = (np.mean(column) for column in zip(*scores.values(), strict=True))
            score = {row: x - remaining_work * a / p * y for row, (x, y) in scores.items()}
            assert score[action] == pytest.approx(max(score.values()), abs=1e-12)
            chosen.append((action, len(scores)))
    assert sum(action > 1 for action, _ in chosen) > 20
    assert sum(others > 1 for _, others in chosen) > 50
