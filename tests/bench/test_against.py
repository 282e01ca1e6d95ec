"""This code beside a revision of it: the checkout comes and goes, and each plays its own code."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import ray
from commands import mec_rllib
from rich.console import Console

from mec_rllib.bench import against, revision
from mec_rllib.bench.against import IN_PYTHON, OURS, Code, Own, checked_out, entries_of
from mec_rllib.bench.clock import Work
from mec_rllib.bench.run import print_results
from mec_rllib.bench.turns import Turns
from mec_rllib.errors import ConfigError

GIT = ("git", "-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "core.hooksPath=hooks")


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A git checkout of two commits in place of ours; its hook forbids every checkout."""
    root = tmp_path / "checkout"
    root.mkdir()

    def git(*arguments):
        env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        command = [*GIT, "-C", str(root), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout

    git("init", "-q")
    for text in ("old", "new"):
        (root / "code.txt").write_text(text)
        git("add", "code.txt")
        git("commit", "-q", "-m", text)
    git("tag", "before-stretch", "HEAD~1")
    git("config", "core.hooksPath", "hooks")
    (root / "hooks").mkdir()
    (root / "hooks" / "post-checkout").write_text("#!/bin/sh\nexit 1\n")
    (root / "hooks" / "post-checkout").chmod(0o755)
    monkeypatch.setattr(against, "ROOT", root)
    return git


def test_a_revision_is_checked_out_and_removed(checkout):
    with checked_out("before-stretch") as code:
        assert (code.folder / "code.txt").read_text() == "old"
        assert code.name == f"before-stretch ({code.folder.name})"
        assert len(checkout("worktree", "list").splitlines()) == 2
    assert not code.folder.parent.exists()
    assert len(checkout("worktree", "list").splitlines()) == 1


def test_what_is_broken_off_leaves_no_worktree(checkout):
    commit = checkout("rev-parse", "HEAD~1")[:9]
    with pytest.raises(KeyboardInterrupt), checked_out(commit) as code:
        raise KeyboardInterrupt
    assert code.name == commit
    assert not code.folder.parent.exists()
    assert len(checkout("worktree", "list").splitlines()) == 1


@pytest.mark.parametrize(
    ("unknown", "hint"),
    [
        ("before-strech", "did you mean 'before-stretch'?"),
        ("v1", "known: before-stretch"),
        ("--all", "known: before-stretch"),
    ],
)
def test_an_unknown_revision_is_one_line(checkout, unknown, hint):
    done = mec_rllib("bench", f"--against={unknown}")
    root = against.ROOT
    assert done.returncode == 2
    assert done.stderr == (f"mec-rllib: --against {unknown}: {root} has no such revision; {hint}\n")


@pytest.mark.parametrize("kind", ["no git", "no checkout", "inside another"])
def test_without_a_git_checkout_of_its_own_there_is_nothing_to_compare(
    checkout, monkeypatch, tmp_path, kind
):
    if kind == "no git":
        monkeypatch.setenv("PATH", str(tmp_path))
    elif kind == "no checkout":
        monkeypatch.setattr(against, "ROOT", tmp_path)
    else:  # as in the virtual environment of another project
        monkeypatch.setattr(against, "ROOT", against.ROOT / "hooks")
    with pytest.raises(ConfigError, match=r"HEAD: needs a git checkout, and /\S* is none$"):
        next(checked_out("HEAD").gen)


def test_ratios_are_taken_turn_by_turn_and_shown(monkeypatch):
    asked = {}

    def play(contestants, rounds, say):
        asked.update({one.name: one for one in contestants})
        say("ours warms up")
        works = {OURS: (1.0, 2.0), IN_PYTHON: (8.0, 8.0), "old (1234567)": (4.0, 6.0)}
        return {
            name: Turns([Work(1_000, 300, s, 5.0) for s in seconds], "slot by slot: it is Python")
            for name, seconds in works.items()
        }

    monkeypatch.setattr(against, "take_turns", play)
    said, case = [], Own("ats, N = 1", slots=1_000, also_in_python=True)
    entries = entries_of(case, Code(Path("/old"), "old (1234567)"), 2, said.append)
    assert [entry["us_per_slot"] for entry in entries] == [
        [1e3, 2e3],
        [8e3, 8e3],
        [4e3, 6e3],
    ]
    assert [entry.get("times_faster") for entry in entries] == [[4.0, 3.0], [0.5, 0.75], None]
    assert said == ["ats, N = 1: ours warms up"]
    assert [one.env["PYTHONPATH"] for one in asked.values()] == [str(against.ROOT)] * 2 + ["/old"]
    assert {one.command[:2] for one in asked.values()} == {(sys.executable, "-P")}
    shown = io.StringIO()
    results = {"machine": "here", "rounds": 2, "against": {"revision": "old", "cases": entries}}
    print_results(results, Console(file=shown, width=120))
    row = next(line for line in shown.getvalue().splitlines() if OURS in line).split("│")
    assert [cell.strip() for cell in row[1:-1]] == [
        "ats, N = 1",
        OURS,
        "1500.0 [1000.0-2000.0]",
        "0.300",
        "3.50 [3.00-4.00]",
        "slot by slot",
    ]


def test_a_revision_that_cannot_play_a_case_has_no_ratio(monkeypatch):
    turns = {OURS: Turns([Work(1_000, 300, 1.0, 5.0)]), "old": Turns([], skipped="no such gate")}
    monkeypatch.setattr(against, "take_turns", lambda *arguments: turns)
    ours, theirs = entries_of(Own("a"), Code(Path("/old"), "old"), 1, lambda line: None)
    assert ours["times_faster"] == []
    assert theirs["skipped"] == "no such gate"


def test_a_process_that_got_other_code_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["revision.py", str(tmp_path), "{}"])
    with pytest.raises(SystemExit, match=f"was imported, not {tmp_path}"):
        revision.main()


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_a_case_plays_its_slots_compiled_and_asked_in_python(monkeypatch):
    monkeypatch.setattr(ray, "init", lambda **options: None)  # the one of the tests is there
    played = {}
    for in_python in (False, True):
        player = revision.prepare("ats", 1, "paper", 700, 900, in_python)
        works = [player.measure_once() for _ in range(2)]
        played[player.plays.partition(":")[0]] = [work.updates for work in works]
        assert [work.slots for work in works] == [700, 700]
    assert list(played) == ["compiled stretches", "slot by slot"]
    assert played["compiled stretches"] == played["slot by slot"] != [0, 0]


@pytest.mark.ray
@pytest.mark.slow  # compiles everything anew in the other checkout
def test_this_code_beside_its_last_commit(monkeypatch):
    monkeypatch.setattr(against, "CASES", (Own("never", gate="never", slots=1_000),))
    done = mec_rllib("bench", "--against", "HEAD", "--rounds", "1", "--json")
    assert done.returncode == 0, done.stderr
    ours, theirs = json.loads(done.stdout)["against"]["cases"]
    assert ours["times_faster"] == [theirs["us_per_slot"][0] / ours["us_per_slot"][0]]
    assert "never: this code" in done.stderr
