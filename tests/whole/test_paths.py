"""Paths as they are given and printed."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from mec_rllib.cli import main
from mec_rllib.config.load import build
from mec_rllib.config.strategies import resolve
from mec_rllib.errors import ConfigError
from mec_rllib.launch.cluster import Cluster, start_ray
from mec_rllib.launch.launcher import Launcher
from mec_rllib.paths import command, path_of
from mec_rllib.results.folder import Folder
from mec_rllib.trials.begin import begin


@pytest.mark.parametrize("text", ["runs/a", "/runs", ".", "a:b", "2026-11-27T10:00", "a b", "s3"])
def test_a_path_is_a_path(text):
    assert path_of(text) == Path(text)


def test_the_home_folder_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    assert path_of("~/runs") == Path("/home/ada/runs")
    assert path_of("~") == Path("/home/ada")
    assert path_of("runs/~") == Path("runs/~")


@pytest.mark.parametrize("folder", ["a b", "it's", "$(x)", "[x]", "a;b", "[/b]"])
def test_a_printed_command_can_be_pasted(folder):
    line = command("printf", "%s", Path(folder))
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout == folder


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    """Runs the command line in this process; returns the exit code and what it printed."""
    monkeypatch.setenv("HOME", str(tmp_path))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["mec-rllib", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        stdout, stderr = capsys.readouterr()
        return caught.value.code, stdout, stderr

    return run


@pytest.fixture
def odd(tmp_path):
    """An experiment in a folder, and of a name, that shells and rich may misread."""
    folder = tmp_path / "it's [/b] mine"
    begin(resolve(build({"name": "[/b] [red]", "strategies": ["sjf"]}, "test")), Folder(folder))
    return folder


def test_report_and_status_print_commands_that_can_be_pasted(run, odd):
    for verb, start, words in (
        ("report", "curves", ["tensorboard", "--logdir", str(odd)]),
        ("status", "[/b] [red]:", None),
    ):
        code, stdout, stderr = run(verb, odd)
        assert code in (0, None), stderr
        (line,) = [line for line in stdout.splitlines() if line.startswith(start)]
        if words:
            assert shlex.split(line.removeprefix(start)) == words


def test_an_old_run_is_resumed_with_a_command_that_can_be_pasted(run, odd):
    os.utime(odd / "config.yaml", (0, 0))  # long ago: nothing runs any more
    _, stdout, _ = run("status", odd)
    place = stdout.index("mec-rllib resume")
    assert shlex.split(stdout[place:]) == ["mec-rllib", "resume", str(odd)]


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), RuntimeError("no room"), None])
def test_what_to_go_on_with_can_be_pasted(run, odd, monkeypatch, fault):
    def go_on(self, same=None):
        if fault:
            raise fault
        return ["sjf seed 0: it broke"]

    monkeypatch.setattr(Launcher, "go_on", go_on)
    monkeypatch.setattr("signal.signal", lambda *_: None)  # pytest itself wants to hear Ctrl-C
    code, _, stderr = run("resume", odd)
    assert code == (130 if isinstance(fault, KeyboardInterrupt) else 1)
    place = stderr.index("mec-rllib resume")
    assert shlex.split(stderr[place:]) == ["mec-rllib", "resume", str(odd)]


def test_another_experiment_in_the_folder_is_named_with_a_command_that_can_be_pasted(odd):
    launcher = Launcher(odd, Cluster(), None, None)
    with pytest.raises(ConfigError) as caught:
        launcher.go_on(resolve(build({"strategies": ["edf"]}, "test")))
    place = str(caught.value).partition("(")[2].partition("), or elsewhere")[0]
    assert shlex.split(place) == ["mec-rllib", "resume", str(odd)]


def test_a_folder_in_the_home_folder_is_found(run, odd, tmp_path):
    code, stdout, stderr = run("status", f"~/{odd.relative_to(tmp_path)}", "--json")
    assert code in (0, None), stderr
    assert json.loads(stdout)["experiment"] == "[/b] [red]"


def test_what_tune_no_longer_takes_is_dropped_for_our_run(monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 9.0})
    for name in ("TUNE_RESULT_DIR", "RAY_AIR_LOCAL_CACHE_DIR"):
        monkeypatch.setenv(name, "/somewhere")
    start_ray(Cluster(), 1.0)
    assert not {"TUNE_RESULT_DIR", "RAY_AIR_LOCAL_CACHE_DIR"} & set(os.environ)
