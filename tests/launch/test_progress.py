"""The lines of progress where there is no terminal."""

import io
import re

import pytest
from rich.console import Console

from mec_rllib.launch.reporting import progress
from mec_rllib.launch.reporting.progress import ExperimentProgress, waiting


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


def test_what_is_waited_for_is_said_until_there_is_a_report(clock):
    out = io.StringIO()
    shown = ExperimentProgress(Console(file=out, width=200), trials=2, slots=1000)
    shown.begin("starting Ray")
    shown.begin(waiting(2))
    shown.show("ats_seed0", report(10))  # the first one is said at once
    shown.show("ats_seed0", report(20))
    started, waits, first = out.getvalue().splitlines()
    assert started == "starting Ray ..."
    assert waits == "2 trials wait for their processes ..."
    assert first.startswith("ats_seed0: 10/1,000 slots")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_time_left_is_on_the_terminal(width):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    shown = ExperimentProgress(console, trials=7, slots=200_000)
    shown.begin("starting Ray")
    names = ("ats_seed0", "a_long_label_of_somebody_who_likes_that-tuned_seed17")
    lines = rendered(shown)
    assert "starting Ray ..." in lines[0]
    for name in names:
        shown.show(name, report(100_000))
    lines = rendered(shown)
    assert len(lines) == 3
    for line in lines:
        assert line.endswith(" left")
        assert re.search(r" [-\d]:[-\d]{2}:[-\d]{2} left$", line)
        assert "%" in line
    assert all("reward 0.500" in line for line in lines[1:])
    assert ("100,000/200,000 slots" in lines[1]) is (width == 120)
    assert ("training 1.00%" in lines[1]) is (width > 60)


def rendered(shown):
    console = shown._console
    with console.capture() as captured:
        console.print(shown._bars.get_renderable())
    return [line.rstrip() for line in captured.get().splitlines()]


def test_a_failure_is_said_with_its_reason(clock):
    out = io.StringIO()
    shown = ExperimentProgress(Console(file=out, width=200), trials=2, slots=1000)
    shown.fail("ats_seed0", "gates.py:4: KeyError: [0]")
    assert out.getvalue() == "ats_seed0: failed: gates.py:4: KeyError: [0]\n"
