"""Tests of this project: `python -m pytest`, in its folder."""

import numpy as np

from mec_rllib import Study
from mec_rllib.schedulers import run
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.totals import Totals
from my_rules import WorthMost
from my_workloads import Cameras


def test_the_workload_brings_what_it_promises():
    workload = Cameras(cameras=3, every=10)
    jobs = workload.arrivals(np.random.default_rng(0), 0, 1000)
    assert np.sum(jobs.job_class == 0) == 300  # three cameras, a picture each in ten slots
    assert np.all(np.diff(jobs.arrival) >= 0)
    assert jobs.slack.max() <= workload.max_slack


def test_the_rule_serves_nearly_all_jobs():
    batch = ServerBatch(Cameras(), buffer=12, seed=1)
    run(batch, WorthMost(), 2000)
    assert Totals.of(batch).miss_rate < 0.1


def test_every_strategy_of_the_experiment_can_be_played():
    study = Study.load("experiment.yaml")
    assert len(study.check()) == len(study.strategies)
