"""The bench: who is measured when, what a ratio is, and that the work is the work asked for."""

import io
import json
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from mec_rllib.bench import contestants, suites, worker
from mec_rllib.bench.clock import Work
from mec_rllib.bench.run import _with_ratios, bench
from mec_rllib.bench.suites import Case, SkippedError, measure


def test_contestants_take_turns_and_the_missing_one_is_named(monkeypatch):
    order = []

    def play(name, arguments):
        order.append(name)
        if name == "absent":
            raise SkippedError("absent is not installed")
        return Work(slots=arguments["servers"] * 100, updates=10, seconds=2.0, peak_mb=5.0)

    monkeypatch.setattr(suites, "_in_own_process", play)
    case = Case("N = 4", {"servers": 4}, ("ours", "absent", "theirs"))
    entries = list(measure(case, 2, lambda line: None))
    assert order == ["ours", "absent", "theirs", "ours", "theirs"]
    assert [entry.get("slots_per_s") for entry in entries] == [[200.0] * 2, None, [200.0] * 2]
    assert entries[1]["skipped"] == "absent is not installed"


def test_every_case_is_shown_as_soon_as_it_is_done(monkeypatch):
    shown, played = io.StringIO(), []

    def play(name, arguments):
        played.append((name, shown.getvalue().count("\n")))
        return Work(slots=3_000, updates=0, seconds=2.0, peak_mb=5.0)

    monkeypatch.setattr(suites, "_in_own_process", play)
    bench(["kernel"], 1, Console(file=shown))
    assert shown.getvalue().splitlines() == [
        "kernel: N = 1: kernel 1,500 slots/s, plain Python 1,500 slots/s",
        "kernel: N = 64: kernel 1,500 slots/s, plain Python 1,500 slots/s",
        "kernel: N = 1,024: kernel 1,500 slots/s, plain Python 1,500 slots/s",
        "kernel: N = 16,384: kernel 1,500 slots/s",
    ]
    assert [lines for _, lines in played] == [0, 0, 1, 1, 2, 2, 3]


def test_ratios_are_taken_round_by_round():
    entries = [
        {"case": "a", "contestant": "ours", "slots_per_s": [10.0, 30.0]},
        {"case": "a", "contestant": "theirs", "slots_per_s": [5.0, 10.0]},
        {"case": "b", "contestant": "ours", "slots_per_s": [1.0, 1.0]},
    ]
    assert [entry.get("ratio") for entry in _with_ratios(entries)] == [None, [2.0, 3.0], None]


@given(st.integers(1, 70), st.integers(1, 200), st.integers(1, 300))
def test_updates_are_granted_at_the_rate_asked_for(servers, every, slots):
    gate = contestants.EverySlots(servers, every)
    granted = sum(int(np.sum(gate.wants(None))) for _ in range(slots))
    assert granted == slots * servers // every


@given(st.integers(1, 100), st.integers(1, 64), st.integers(1, 200))
def test_a_schedule_in_whole_slots_of_a_fleet_keeps_its_rate(slots, updates, servers):
    fleet = contestants._in_fleet(contestants.Schedule(slots, updates), servers)
    assert fleet.slots % servers == 0
    assert fleet.updates * slots == updates * fleet.slots


def test_a_worker_prints_its_figures_or_what_is_missing(monkeypatch):
    def absent():
        raise ImportError("no", name="a_peer")

    works = {"fast": lambda: Work(10, 1, 0.5, 3.0), "absent": absent}
    monkeypatch.setattr(contestants, "CONTESTANTS", works)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # restored after the test: the worker sets it
    answers = []
    for name in works:
        monkeypatch.setattr(sys, "argv", ["worker", name, "{}"])
        monkeypatch.setattr(sys, "stdout", io.StringIO())
        out = sys.stdout
        worker.main()
        answers.append(json.loads(out.getvalue()))
    assert answers[0] == {"slots": 10, "updates": 1, "seconds": 0.5, "peak_mb": 3.0}
    assert answers[1] == {"skipped": "a_peer is not installed: pip install 'mec-rllib[bench]'"}


@pytest.mark.ray
def test_the_training_measured_is_the_schedule():
    case = {"servers": 16, "schedule": "1 per 4 slots", "warm_up": 2_000}
    work = suites._in_own_process("mec-rllib", case)
    assert work.seconds >= 2.0
    assert work.slots > 1_000
    assert work.updates == work.slots // 4
