"""The lines of progress where there is no terminal."""

import io

import pytest
from rich.console import Console

from mec_rllib.launch import progress
from mec_rllib.launch.progress import ExperimentProgress


@pytest.fixture
def clock(monkeypatch):
    """Seconds that the test sets."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def report(slots, **more):
    return {"timesteps_total": slots, "reward": {"lifetime": 0.5}, "share_training": 0.01} | more


def test_time_left_is_counted_from_the_first_report(clock):
    out = io.StringIO()
    shown = ExperimentProgress(Console(file=out, width=200), trials=2, slots=1000)
    clock[0] = 20.0  # starting up
    shown.show("ats_seed0", report(100))
    clock[0] = 80.0
    shown.show("ats_seed0", report(300))  # 200 slots a minute, 1,700 are left
    first, second = out.getvalue().splitlines()
    assert first.endswith("training 1.00%, ? left in all")
    assert second.endswith("300/1,000 slots  reward 0.500  training 1.00%, 0:08:30 left in all")


def test_slots_from_before_a_resume_are_neither_to_do_nor_played_now(clock):
    out = io.StringIO()
    behind = {"ats_seed0": 800, "pts_seed0": 500}
    shown = ExperimentProgress(Console(file=out, width=200), 2, 1000, behind)
    shown.show("ats_seed0", report(900))
    clock[0] = 60.0
    shown.show("pts_seed0", report(600))  # 100 slots a minute; 100 and 400 are left
    assert out.getvalue().splitlines()[-1].endswith(", 0:05:00 left in all")


def test_a_finished_trial_has_a_line_at_once(clock):
    out = io.StringIO()
    shown = ExperimentProgress(Console(file=out, width=200), trials=1, slots=1000)
    shown.show("sjf_seed0", report(1000, done=True))
    assert out.getvalue() == "sjf_seed0: 1,000/1,000 slots  reward 0.500  training 1.00%\n"
