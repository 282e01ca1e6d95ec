"""`mec-rllib list`: what there is, by name; `--version`."""

import json
import sys

import pytest

import mec_rllib
from mec_rllib.cli import main
from mec_rllib.config import agents, shipped
from mec_rllib.gates import GATES
from mec_rllib.importers import IMPORTERS
from mec_rllib.reference.listing import listing, sentence
from mec_rllib.schedulers import SCHEDULERS


def run_main(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["mec-rllib", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code or 0


def test_everything_has_a_name_and_a_line():
    found = listing()
    assert list(found["configs"]) == shipped.names()
    assert list(found["gates"]) == list(GATES)
    assert list(found["schedulers"]) == list(SCHEDULERS)
    assert list(found["agents"]) == agents.names()
    assert list(found["formats"]) == list(IMPORTERS)
    assert "made:edge_day" in found["traces"]
    for lines in found.values():
        for name, line in lines.items():
            assert 10 < len(line) < 200, name
            assert "\n" not in line
    assert found["configs"]["demo"] == "The demo: does it pay to choose when to train?"
    assert found["gates"]["ats"].startswith("Trains where psi is among its highest recent values")


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("One. Two.", "One"),
        ("Load 0.3 is one. Two", "Load 0.3 is one"),
        ("Is it? Yes.", "Is it?"),
        ("After Grandl et al. 2014: packing. More", "After Grandl et al. 2014: packing"),
        ("An hour; see the module.", "An hour"),
        ("No end", "No end"),
        ("A list:\n\n- a", "A list: - a"),
    ],
)
def test_a_sentence_ends_at_its_point(text, first):
    assert sentence(text) == first


def test_the_command_lists_all_or_one_kind(monkeypatch, capsys):
    assert run_main(monkeypatch, "list", "--json") == 0
    assert json.loads(capsys.readouterr().out) == listing()
    monkeypatch.setenv("COLUMNS", "300")
    assert run_main(monkeypatch, "list") == 0
    out = capsys.readouterr().out
    for kind, lines in listing().items():
        assert kind in out
        for name, line in lines.items():
            assert name in out
            assert line in out
    assert run_main(monkeypatch, "list", "gates") == 0
    out = capsys.readouterr().out
    assert "server_empty" in out
    assert "tetris" not in out
    assert run_main(monkeypatch, "list", "gate") == 2
    assert "list: unknown kind 'gate'; did you mean 'gates'?" in capsys.readouterr().err


def test_the_version_is_that_of_the_package(monkeypatch, capsys):
    assert run_main(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"mec-rllib {mec_rllib.__version__}\n"
