"""The bench: who is measured when, what a ratio is, and that the work is the work asked for."""

import io
import sys

import pytest
from commands import mec_rllib
from gate_slots import view
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from mec_rllib.bench import contestants, run, suites
from mec_rllib.bench.clock import Work
from mec_rllib.bench.free_updates import EverySlots
from mec_rllib.bench.run import PARTS, _with_ratios, bench, parts_of, print_results
from mec_rllib.bench.suites import Case, comparisons, measure
from mec_rllib.bench.turns import Turns
from mec_rllib.errors import ConfigError

SHORT = """
from mec_rllib.bench import clock, worker
clock.Player.measure.__defaults__ = (0.1,)  # seconds
worker.main()
"""


def made_up(works, plays=""):
    """Turns of contestants, of which `works` knows the works, or says why they are skipped."""
    return {
        name: Turns([], skipped=found) if isinstance(found, str) else Turns(found, plays)
        for name, found in works.items()
    }


def test_every_case_is_shown_as_soon_as_it_is_done(monkeypatch):
    shown, played = io.StringIO(), []

    def play(contestants, rounds, say):
        played.append(shown.getvalue().count("\n"))
        work = Work(slots=3_000, updates=0, seconds=2.0, peak_mb=5.0)
        return made_up({one.name: [work] * rounds for one in contestants})

    monkeypatch.setattr(suites, "take_turns", play)
    bench(["kernel"], 1, Console(file=shown))
    assert shown.getvalue().splitlines() == [
        "kernel: N = 1: kernel 1,500 slots/s, plain Python 1,500 slots/s",
        "kernel: N = 64: kernel 1,500 slots/s, plain Python 1,500 slots/s",
        "kernel: N = 1,024: kernel 1,500 slots/s, plain Python 1,500 slots/s",
        "kernel: N = 16,384: kernel 1,500 slots/s",
    ]
    assert played == [0, 1, 2, 3]


def test_who_is_skipped_is_in_the_table_and_the_reason_below_it(monkeypatch):
    works = {"ours": [Work(400, 10, 2.0, 5.0)], "absent": "absent is not installed"}
    monkeypatch.setattr(suites, "take_turns", lambda *arguments: made_up(works))
    shown = io.StringIO()
    results = bench(["kernel"], 1, Console(file=io.StringIO()))
    print_results(results, Console(file=shown, width=120))
    row = next(line for line in shown.getvalue().splitlines() if "absent" in line)
    assert [cell.strip() for cell in row.split("│")[1:4]] == ["N = 1", "absent", "skipped"]
    assert shown.getvalue().splitlines()[-1] == "skipped: absent is not installed"
    assert results["kernel"][0]["updates_per_slot"] == [0.025]


def test_what_fails_takes_nothing_else_along(monkeypatch):
    def fail(*arguments):
        raise RuntimeError("bench: kernel failed:\nSegmentation fault")

    monkeypatch.setattr(suites, "take_turns", fail)
    monkeypatch.setattr(run, "COMMANDS", {"--help": lambda: {"seconds": 0.5, "peak_mb": None}})
    done = mec_rllib("bench", "--only", "kernel,experiment", "--rounds", "1")
    assert done.returncode == 1
    assert "│ --help  │ 0.5 [0.5-0.5]" in done.stdout
    assert done.stdout.endswith("failed: kernel: bench: kernel failed:\nSegmentation fault\n")


def test_growth_and_the_other_schedules_are_for_those_who_have_time():
    assert parts_of(None, None, long=False) == ("kernel", "training", "experiment")
    assert parts_of(None, None, long=True) == PARTS
    assert parts_of(None, "HEAD", long=False) == ()
    assert parts_of("growth,kernel", "HEAD", long=False) == ("growth", "kernel")
    with pytest.raises(ConfigError, match=r"--only speed: is none of kernel, training"):
        parts_of("speed", None, long=False)
    short, long = (comparisons("training", is_long) for is_long in (False, True))
    assert {case.name for case in short} < {case.name for case in long}


def test_ratios_are_taken_round_by_round():
    entries = [
        {"case": "a", "contestant": "ours", "slots_per_s": [10.0, 30.0]},
        {"case": "a", "contestant": "theirs", "slots_per_s": [5.0, 10.0]},
        {"case": "b", "contestant": "ours", "slots_per_s": [1.0, 1.0]},
    ]
    assert [entry.get("ratio") for entry in _with_ratios(entries)] == [None, [2.0, 3.0], None]


@settings(deadline=None)  # the first call compiles
@given(st.integers(1, 70), st.integers(1, 200), st.integers(1, 300))
def test_updates_are_granted_at_the_rate_asked_for(servers, every, slots):
    gate = EverySlots(servers, every)
    granted = sum(int(gate.wants(view(slot=slot)).sum()) for slot in range(slots))
    assert granted == slots * servers // every


@given(st.integers(1, 100), st.integers(1, 64), st.integers(1, 200))
def test_a_schedule_in_whole_slots_of_a_fleet_keeps_its_rate(slots, updates, servers):
    fleet = contestants._in_fleet(contestants.Schedule(slots, updates), servers)
    assert fleet.slots % servers == 0
    assert fleet.updates * slots == updates * fleet.slots


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(("schedule", "rate"), [("1 per 4 slots", 0.25), ("never", 0.0)])
def test_the_training_measured_is_the_schedule(schedule, rate):
    player = contestants.gated_dqn(16, schedule, warm_up=2_000)
    work = player.measure(0.2)
    assert work.slots >= 200
    assert work.updates == work.slots * rate
    assert player.plays == "compiled stretches"


def test_a_contestant_plays_in_a_process_of_its_own(monkeypatch):
    monkeypatch.setattr(suites, "WORKER", (sys.executable, "-c", SHORT))
    (entry,) = measure(Case("", {"servers": 2}, ("kernel",)), 2, lambda line: None)
    assert len(entry["slots_per_s"]) == 2
    assert min(entry["slots_per_s"]) > 1_000
