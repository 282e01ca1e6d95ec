"""A trial without Ray: what its row is made of, and what its policy is judged on."""

import numpy as np
import pytest

from mec_rllib.config.experiment import Experiment
from mec_rllib.schedulers import FIFO, SJF
from mec_rllib.sim.totals import Totals
from mec_rllib.trials.runs import SchedulerRun
from mec_rllib.trials.trial import Trial, evaluate_greedy

REWARDS, MISSES = (
    [0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.6, 0.7, 0.8, -0.5],
    [0, 0, 0, 0, 0, 0, 0, 0, 5, 5],
)


class ScriptedRun(SchedulerRun):
    """Ten jobs of weight 1 in every 100 slots; what each hundred earned and missed is given."""

    def __init__(self):
        super().__init__(SJF(), None)
        self._slots = 0

    @property
    def totals(self):
        hundreds = self._slots // 100
        missed = sum(MISSES[:hundreds])
        done = 10 * hundreds
        zero, kinds = np.zeros((), np.int64), np.zeros(1, np.int64)
        return Totals(
            slots=np.array(self._slots),
            training_slots=zero,
            training_jobs=zero,
            jobs=np.array([[done, done - missed, missed, 0]]),
            waiting=kinds,
            reward=np.array([10 * sum(REWARDS[:hundreds]), 0.0, 0.0]),
            weight=np.array(float(done)),
            blocked_slots=zero,
            used_share=np.zeros(1),
            waiting_slots=zero,
            requests=zero,
            used_share_at_request=np.zeros(1),
            waiting_at_request=zero,
            training_jobs_of_kinds=kinds,
        )

    def play(self, slots):
        self._slots += slots
        return {}


@pytest.fixture
def experiment():
    classes = [
        {"name": "one", "mix": 1, "resources": [1, 3], "execution": [1, 4], "slack": [0, 9]}
        | {"weight": 1}
    ]
    return Experiment(slots=1000, env={"classes": classes}, evaluation={"slots": 200, "servers": 2})


def test_the_last_fifth_is_the_last_fifth(experiment):
    """0.8 and -0.5 in the last two hundreds; 0.36 on the whole."""
    trial = Trial("sjf", 0, experiment, ScriptedRun())
    reports = 0
    while not trial.is_done:
        row = trial.play_report().get("row")
        reports += 1
    assert reports == trial.reports == 100
    assert row["reward_last20"] == pytest.approx(0.15)
    assert row["reward_lifetime"] == pytest.approx(0.36)
    assert row["miss_rate"] == pytest.approx(0.1)
    assert row["miss_rate_by_class"] == {"one": pytest.approx(0.1)}
    assert row["slots"] == 1000
    assert row["reward_greedy"] == evaluate_greedy(experiment, SJF(), 0)


def test_the_policy_is_judged_on_the_way_always_on_the_same_jobs(experiment):
    """Reports of 10 slots; every 250 slots are over in the 25th, 50th, 75th and 100th."""
    look = experiment.evaluation.model_copy(update={"interval": 250, "duration": 100})
    looking = experiment.model_copy(update={"evaluation": look})
    watching = ScriptedRun()
    watching._scheduler = Watching()
    trial, rows, seen = Trial("sjf", 0, looking, watching), [], []
    while not trial.is_done:
        report = trial.play_report()
        seen += [report["greedy"]] if "greedy" in report else []
        rows = report.get("row")
    assert [found["slot"] for found in seen] == [250, 500, 750, 1000]
    assert len({found["reward"] for found in seen}) == 1
    assert seen[0]["reward"] == evaluate_greedy(experiment, FIFO(), 0, slots=100)
    arrived = np.array(watching._scheduler.arrived).reshape(-1, 2)
    assert len(arrived) == 4 * 50 + 100  # two servers: 50 slots of each, 100 at the end
    np.testing.assert_array_equal(arrived[:50], arrived[150:200])
    assert rows["reward_greedy"] == evaluate_greedy(experiment, FIFO(), 0)


def test_a_restored_trial_knows_where_its_last_fifth_began(experiment, tmp_path):
    whole, first = (Trial("sjf", 0, experiment, ScriptedRun()) for _ in range(2))
    while not whole.is_done:
        expected = whole.play_report().get("row")
    for _ in range(90):
        first.play_report()
    first.save(tmp_path)
    again = Trial("sjf", 0, experiment, ScriptedRun())
    again.restore(tmp_path)
    while not again.is_done:
        row = again.play_report().get("row")
    assert row["reward_last20"] == expected["reward_last20"] == pytest.approx(0.15)


class Watching(FIFO):
    """Notes how many jobs have arrived at each server, slot by slot."""

    def __init__(self):
        self.arrived = []

    def select(self, batch):
        self.arrived.append(batch.tally.jobs[:, 0, 0].copy())
        return super().select(batch)


def test_a_policy_is_judged_on_jobs_that_it_has_not_learned_on(experiment):
    """Seeds 0 to 4: no server of an evaluation sees what any server of any training sees."""
    trained, judged = [], []
    for seed in range(5):
        world, played = experiment.env.build_world(2, seed), Watching()
        for _ in range(100):
            world.step(played.select(world))
        trained += list(np.array(played.arrived).T)
        watching = Watching()
        evaluate_greedy(experiment, watching, seed)
        assert len(watching.arrived) == 100  # 200 slots of 2 servers
        judged += list(np.array(watching.arrived)[:100].T)
    streams = np.stack(trained + judged)
    assert len(np.unique(streams, axis=0)) == len(streams) == 20


def test_every_policy_of_a_seed_is_judged_on_the_same_jobs(experiment):
    watching = [Watching() for _ in range(3)]
    rewards = [
        evaluate_greedy(experiment, w, seed) for w, seed in zip(watching, (3, 3, 4), strict=True)
    ]
    assert rewards[0] == rewards[1] != rewards[2]
    np.testing.assert_array_equal(watching[0].arrived, watching[1].arrived)
