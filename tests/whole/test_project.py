"""`mec-rllib init`: what it writes runs, and is never written over anything."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mec_rllib.cli import main
from mec_rllib.config.study_file import load_study
from mec_rllib.lookup import load_path
from mec_rllib.schedulers import run

ROOT = Path(__file__).parents[2]
NAMES = ["README.md", "experiment.yaml", "my_gates.py", "my_rules.py", "my_workloads.py"]
NAMES += ["test_mine.py"]


def run_main(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["mec-rllib", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code or 0


def project_tests(folder, *options):
    """What pytest says of the project in a process of its own."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.usefixtures("fresh_modules")
def test_a_project_is_written_that_resolves_and_whose_tests_pass(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "a b" / "mine"
    assert run_main(monkeypatch, "init", folder) == 0
    out = capsys.readouterr().out
    assert f"next: cd '{folder}' && mec-rllib check experiment.yaml" in out
    assert sorted(path.name for path in folder.iterdir()) == NAMES
    assert "2 passed" in project_tests(folder, "-k", "not played")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    study = load_study("experiment.yaml")
    assert list(study.by_label) == ["quiet", "ats", "pts", "WorthMost", "sjf"]
    assert study.by_label["quiet"].args["period"] == 50
    servers = study.experiment.env.build_servers(3)
    run(servers, load_path("my_rules:WorthMost")(), 50)
    assert servers.workload.class_names == ("picture", "video")


@pytest.mark.slow
def test_every_strategy_of_a_new_project_can_be_played(tmp_path, monkeypatch):
    assert run_main(monkeypatch, "init", tmp_path) == 0
    assert "3 passed" in project_tests(tmp_path)


def test_a_folder_may_be_there_but_none_of_the_files(tmp_path, monkeypatch, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert run_main(monkeypatch, "init", tmp_path) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    (tmp_path / "README.md").unlink()
    assert run_main(monkeypatch, "init", tmp_path) == 2
    assert "experiment.yaml: is there already; take a new folder" in capsys.readouterr().err
    assert not (tmp_path / "README.md").exists()
    assert len(before) == 1 + len(NAMES)


def test_what_can_be_no_folder_is_refused(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("mine")
    assert run_main(monkeypatch, "init", tmp_path / "file" / "mine") == 2
    assert run_main(monkeypatch, "init", "s3://bucket/mine") == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert "cannot be written" in errors[0]
    assert "is a URI" in errors[1]
