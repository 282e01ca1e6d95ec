"""Contestants in processes of their own: who is measured when, and what becomes of the others."""

import os
import sys

import pytest

from mec_rllib.bench import clock
from mec_rllib.bench.clock import Player, Work
from mec_rllib.bench.turns import Contestant, take_turns


def contestant(name, body):
    """A process that serves: `body` is its `prepare`."""
    lines = ["from mec_rllib.bench.clock import Player, serve", "def prepare():"]
    lines += [f"    {line}" for line in body.splitlines()]
    lines += ["serve(prepare, Player.measure_once)"]
    return Contestant(name, (sys.executable, "-c", "\n".join(lines)), os.environ)


def noting(name, path):
    """Plays 10 slots, and writes its name down."""
    play = f"lambda: print({name!r}, file=open({str(path)!r}, 'a')) or 10"
    return contestant(name, f"print('warm')\nreturn Player({play}, plays='by hand')")


def test_contestants_take_turns_and_the_missing_one_is_named(tmp_path):
    order, said = tmp_path / "order", []
    absent = contestant("absent", "import a_peer")
    unfit = contestant(
        "unfit", "class ConfigError(ValueError): ...\nraise ConfigError('no such gate')"
    )
    here = [noting("ours", order), absent, unfit, noting("theirs", order)]
    turns = take_turns(here, 2, said.append)
    assert order.read_text().split() == ["ours", "theirs", "ours", "theirs"]
    assert [turn.skipped for turn in turns.values()] == [
        None,
        "a_peer is not installed: pip install 'mec-rllib[bench]'",
        "no such gate",
        None,
    ]
    assert [work.slots for work in turns["theirs"].works] == [10, 10]
    assert turns["ours"].plays == "by hand"
    assert said[:2] == ["ours warms up", "absent warms up"]
    assert said[-1] == "theirs, 2 of 2"


def test_a_module_that_an_old_revision_lacks_is_no_package_to_install():
    old = contestant("old", "import mec_rllib.no_such_room")
    skipped = take_turns([old], 1, lambda line: None)["old"].skipped
    assert skipped == "No module named 'mec_rllib.no_such_room'"


def test_who_fails_is_quoted_and_the_others_end(tmp_path):
    pid = tmp_path / "pid"
    good = contestant(
        "good", f"import os; open({str(pid)!r}, 'w').write(str(os.getpid()))\nreturn Player(int)"
    )
    bad = contestant("bad", "return Player(lambda: 1 // 0)")
    with pytest.raises(RuntimeError, match=r"bad failed:[\s\S]*ZeroDivisionError"):
        take_turns([good, bad], 1, lambda line: None)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_what_is_broken_off_leaves_no_process(tmp_path):
    pid = tmp_path / "pid"
    busy = contestant(
        "busy",
        f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid()))\n"
        "return Player(lambda: time.sleep(60))",
    )

    def interrupt(line):
        if line == "busy, 1 of 1":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take_turns([busy], 1, interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_a_measurement_counts_slots_and_updates_until_the_time_is_up(monkeypatch):
    now, played = [0.0], []
    monkeypatch.setattr(clock.time, "process_time", lambda: now[0])

    def play():
        played.append(10)
        now[0] += 0.5
        return 10

    player = Player(play, lambda: 3 * len(played))
    work = player.measure(seconds=2.0)
    assert work[:3] == (40, 12, 2.0)
    assert len(played) == 5  # one before the clock starts
    assert player._replace(least_slots=65).measure(seconds=2.0)[:3] == (70, 21, 3.5)
    assert player.measure_once()[:3] == (10, 3, 0.5)
    assert Work(40, 12, 2.0, 5.0).rate == 20.0
