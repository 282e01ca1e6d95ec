"""Configs, traces and checkpoints that are wrong on purpose: exit 2, one line, nothing written."""

import copy
import json
import random
import shutil
import sys

import numpy as np
import pytest
import yaml
from gymnasium import spaces

from mec_rllib.cli import main
from mec_rllib.config.load import build
from mec_rllib.config.strategies import resolve
from mec_rllib.errors import ConfigError
from mec_rllib.results.folder import TrialFolder
from mec_rllib.trials.check import check as check_strategy
from mec_rllib.trials.checkpoints import MANIFEST, write_checkpoint

GOOD = {
    "strategies": [
        {"gate": "ats", "kind": "small"},
        {"gate": "pts", "kind": "small", "period": 400, "label": "pts400"},
        "sjf",
    ],
    "pretrain": {"slots": 100},
    "env": {
        "workload": "drift",
        "drift": {},
        "bursts": {},
        "training_job": [{"name": "small", "share": 0.5, "slots": 2, "updates": 16, "batch": 8}],
    },
}
HOSTILE = {
    "nan": float("nan"),
    "infinity": float("inf"),
    "huge": 1e308,
    "very huge": 10**400,
    "negative": -(2**63),
    "empty": "",
    "unicode": "ünï\u2603\U0001f600",
    "long": "x" * 100_000,
    "list": [],
    "map": {"a": 1},
    "nested": [[[[1]]]],
    "bytes": b"\x00\xff",
    "outside": "../../../etc/passwd",
}


@pytest.fixture
def refused(tmp_path, capsys, monkeypatch):
    """Runs the command line in this process and asserts that the input is refused."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        before = sorted(tmp_path.rglob("*"))
        monkeypatch.setattr(sys, "argv", ["mec-rllib", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        stdout, stderr = capsys.readouterr()
        assert caught.value.code == 2, stderr
        assert stdout == ""
        assert stderr.startswith("mec-rllib: ")
        assert len(stderr.splitlines()) == 1
        assert len(stderr) < 500
        assert sorted(tmp_path.rglob("*")) == before
        return stderr

    return run


def numbers(node, path=()):
    """Paths of all numbers in a config."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from numbers(value, (*path, key))
    elif isinstance(node, list):
        for key, value in enumerate(node):
            yield from numbers(value, (*path, key))
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield path


FULL = build(GOOD, "good").model_dump(mode="json")
MUTATIONS = [(path, name) for path in numbers(FULL) for name in HOSTILE]
random.Random(0).shuffle(MUTATIONS)


def mutated(path, name):
    """The good config with a hostile value in one place."""
    config = copy.deepcopy(FULL)
    place = config
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = HOSTILE[name]
    return config


@pytest.mark.parametrize("part", range(5))
def test_a_hostile_number_is_refused(refused, tmp_path, part):
    for mutation in MUTATIONS[part * 30 : (part + 1) * 30]:
        config = yaml.safe_dump(mutated(*mutation), allow_unicode=True)
        (tmp_path / "c.yaml").write_text(config)
        refused("tune", "c.yaml", "--out", "out")


def check(config):
    """All that is looked at before a trial starts."""
    for strategy in resolve(build(config, "hostile")).strategies:
        check_strategy(strategy)


def test_no_hostile_number_gets_as_far_as_a_trial():
    for mutation in MUTATIONS:
        with pytest.raises(ConfigError):
            check(mutated(*mutation))


TEXTS = {
    "a Python object": "name: !!python/object/apply:os.system [ls]",
    "a Python name": "slots: !!python/name:os.system",
    "an unknown tag": "slots: !steps 5",
    "an anchor to itself": "strategies: &a [*a]",
    "a flood of aliases": "a: &a [x, x]\nb: &b [*a, *a]\nslots: [*b, *b]",
    "brackets": "[" * 5000,
    "a tab": "slots:\n\t5",
    "two documents": "slots: 5\n---\nslots: 6",
    "a list": "- 1",
    "a number": "5",
    "a key twice": "slots: 1\nslots: 2",
    "a number as key": "5: 6",
    "a list as key": "? [a, b]\n: 6",
    "yes for a number": "slots: yes",
    "yes in a list of numbers": "seeds: [0, yes]",
    "yes for a load": "env: {load: [[0, yes]]}",
    "a hidden label": "strategies: [{gate: pts, label: .pts}]",
    "a label that is an option": "strategies: [{gate: pts, label: --pts}]",
    "no for a layer": "learner: {hidden: [64, no]}",
    "a user who is not there": "env: {workload: trace, trace: {path: ~nobody-here/x.csv}}",
    "a name of two lines": 'name: "a\\nb"',
    "a label that climbs": "strategies: [{gate: pts, label: ../../up}]",
    "a module that climbs": "strategies: ['...os:system']",
    "a function of the system": "strategies: ['os:system']",
    "a date": "slots: 2020-01-01",
    "an octal number": "slots: 0100",
    "an octal number as key": "0100: 6",
    "a number in base 60": "env: {load: 1:30}",
    "a merge of nothing": "env: {<<: 5}",
    "a merge of itself": "env: &a {<<: *a, x: 1}",
    "a merge twice": "env: &a {}\ngate: {<<: *a, <<: *a}",
    "a flood of merges": "a0: &a0 {k: 1}\n"
    + "".join(f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 20)}]}}\n" for n in range(1, 20)),
    "no integer": 'slots: !!int ""',
    "no float": 'slots: !!float ""',
    "no switch": "slots: !!bool x",
    "no time": "slots: !!timestamp x",
    "a tag on a key": "? !!seq a\n: 6",
    "a share for a percentile": "gate: {percentile: 0.99}",
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_hostile_config_is_refused(refused, tmp_path, name):
    (tmp_path / "c.yaml").write_text(TEXTS[name])
    refused("tune", "c.yaml", "--out", "out")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"slots: \x00", b"\x80", b"\x1f\x8b\x08"])
def test_a_config_that_is_no_text_is_refused(refused, tmp_path, content):
    (tmp_path / "c.yaml").write_bytes(content)
    refused("tune", "c.yaml", "--out", "out")


PLACES = {
    "s3://bucket/x": "is a URI, not a path",
    "S3:/bucket/x": "is a URI",
    "hdfs://host/x": "is a URI",
    "file:///x/y": "write /x/y",
    "file:/x": "write /x",
    r"C:\x": "is a path of Windows",
    "c:/x": "is a path of Windows",
    "C:": "is a path of Windows",
    r"\\server\x": "is a path of Windows",
    "~nobody-here/x": "there is no such user",
    "": "the path is empty",
}
VERBS = {
    "train": ("train", "c.yaml", "--out"),
    "tune": ("tune", "c.yaml", "--out"),
    "resume": ("resume",),
    "report": ("report",),
    "status": ("status",),
    "config": ("tune", "--out", "out"),
    "checkpoint": ("evaluate", "--config", "c.yaml", "--checkpoint"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_no_path_of_this_machine_is_refused(refused, tmp_path, verb):
    (tmp_path / "c.yaml").write_text("slots: 100")
    for place, message in PLACES.items():
        line = refused(*VERBS[verb], place)
        assert message in line
        assert place in line


HEADER = "arrival_s,duration_s,demand,job_class"
ROWS = ["0,1,0.5,elastic", "2,3,0.2,interactive", "5,1,1,elastic"]
VALUES = ["", "nan", "inf", "-inf", "-1", "1e308", str(10**400), "abc", "1,5", "0x10", "\u2603"]
TRACES = {
    **{
        f"{HEADER.split(',')[column]} {value or 'empty'}": "\n".join(
            [HEADER, ROWS[0], ",".join([*"234"[:column], value, *"1.5"[: 2 - column], "elastic"])]
        )
        for column in range(3)
        for value in VALUES
    },
    **{f"without {name}": f"{HEADER.replace(name, 'x')}\n{ROWS[0]}" for name in HEADER.split(",")},
    "empty": "",
    "only a header": HEADER,
    "no header": "\n".join(ROWS),
    "backwards": "\n".join([HEADER, *reversed(ROWS)]),
    "demand 0": f"{HEADER}\n0,1,0,elastic",
    "demand above 1": f"{HEADER}\n0,1,1.01,elastic",
    "duration 0": f"{HEADER}\n0,0,0.5,elastic",
    "no class": f"{HEADER}\n0,1,0.5,",
    "an unknown class": f"{HEADER}\n0,1,0.5,elastik",
    "a short row": f"{HEADER}\n0,1",
    "an open quote": f'{HEADER}\n0,1,0.5,"elastic',
    "an open quote in the header": f'{HEADER[:-9]}"job_class\n{ROWS[0]}',
    "a very long field": f"{HEADER}\n{'9' * 200_000},1,0.5,elastic",
    "another separator": f"{HEADER.replace(',', ';')}\n{ROWS[0].replace(',', ';')}",
    "a NUL": f"{HEADER}\n0,1,0.5,ela\0stic",
    "no text": "\udcff\udcfe",
}


@pytest.mark.parametrize("name", TRACES)
def test_a_bad_trace_is_refused(refused, tmp_path, name):
    (tmp_path / "c.yaml").write_text("env: {workload: trace, trace: {path: jobs.csv}}")
    (tmp_path / "jobs.csv").write_text(TRACES[name], errors="surrogateescape")
    assert "jobs.csv" in refused("evaluate", "--scheduler", "sjf", "--config", "c.yaml")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A good checkpoint of an untrained policy."""
    from ray.rllib.algorithms.dqn.torch.default_dqn_torch_rl_module import DefaultDQNTorchRLModule

    from mec_rllib.rl.policy_file import save_policy

    settings = {"double_q": True, "dueling": False, "num_atoms": 1, "std_init": 0.5}
    module = DefaultDQNTorchRLModule(
        observation_space=spaces.Box(0.0, 1.0, (42,), np.float32),
        action_space=spaces.Discrete(11),
        model_config=settings | {"epsilon": [[0, 1.0]], "fcnet_hiddens": [8]},
    )
    module.make_target_networks()
    observe = {"free_ahead": 0, "job_class": False}
    folder = tmp_path_factory.mktemp("good")
    return write_checkpoint(
        TrialFolder(folder), 100, lambda path: save_policy(module, path, observe), {}
    )


def test_the_good_checkpoint_is_taken(checkpoint, tmp_path, monkeypatch, capsys):
    (tmp_path / "c.yaml").write_text("slots: 200\nevaluation: {slots: 100}\n")
    where = ["--checkpoint", str(checkpoint), "--config", str(tmp_path / "c.yaml"), "--json"]
    monkeypatch.setattr(sys, "argv", ["mec-rllib", "evaluate", *where])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code in (0, None)
    assert json.loads(capsys.readouterr().out)["rows"][0]["slots"] == 200


FILES = ("policy.json", "policy.safetensors", MANIFEST)
SPECS = {
    "another module": {"module": "os.system"},
    "a huge network": {"inputs": 10**7, "actions": 10**6},
    "no inputs": {"inputs": -1},
    "other inputs": {"inputs": 43},
    "text for a number": {"inputs": "42"},
    "not a number": {"actions": float("nan")},
    "an unknown key": {"code": "import os"},
    "layers below 0": {"model_config_dict": {"fcnet_hiddens": [-1]}},
    "no settings": {"model_config_dict": {}},
    "another observation": {"observe": {"free_ahead": 3}},
    "no such observation": {"observe": {"eyes": 2}},
}


def damages():
    """50 ways to damage a checkpoint: functions of its folder."""
    rng = random.Random(1)
    for name in FILES:
        yield f"no {name}", lambda path, name=name: (path / name).unlink()
        for share in (0.0, 0.3, 0.6, 0.99):
            yield f"{name} cut at {share:.0%}", lambda path, n=name, s=share: cut(path / n, s)
        for k in range(8):
            place = rng.random()
            yield f"{name}, bit {k}", lambda path, n=name, s=place: flip(path / n, s)
    for name, values in SPECS.items():  # the manifest fits: somebody made it
        yield name, lambda path, values=values: change_spec(path, values)
    yield "weights of nobody", lambda path: replace_weights(path, b"\xff" * 100)
    yield "weights with a huge header", lambda path: replace_weights(path, b"\xff" * 7 + b"\x7f{}")


def cut(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def flip(path, share):
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= 0x20
    path.write_bytes(content)


def change_spec(path, values):
    spec = json.loads((path / "policy.json").read_text())
    (path / "policy.json").write_text(json.dumps(spec | values))
    renew_manifest(path)


def replace_weights(path, content):
    (path / "policy.safetensors").write_bytes(content)
    renew_manifest(path)


def renew_manifest(path):
    files = path.parent / "files"
    path.rename(files)
    (files / MANIFEST).unlink()
    trial = TrialFolder(path.parent)
    write_checkpoint(
        trial, 100, lambda new: shutil.copytree(files, new, dirs_exist_ok=True) and None, {}
    )
    shutil.rmtree(files)


DAMAGES = dict(damages())


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_checkpoint_is_refused(refused, tmp_path, checkpoint, name):
    (tmp_path / "c.yaml").write_text("slots: 200\n")
    shutil.copytree(checkpoint, tmp_path / checkpoint.name)
    DAMAGES[name](tmp_path / checkpoint.name)
    refused("evaluate", "--checkpoint", checkpoint.name, "--config", "c.yaml")


def test_an_rllib_checkpoint_needs_a_word(refused, tmp_path):
    (tmp_path / "c.yaml").write_text("slots: 200\n")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/rllib_checkpoint.json").write_text("{}")
    line = refused("evaluate", "--checkpoint", "foreign", "--config", "c.yaml")
    assert "--allow-pickle" in line
    line = refused("evaluate", "--checkpoint", "foreign", "--config", "c.yaml", "--allow-pickle")
    assert "no policy found" in line


def test_there_is_enough_of_it():
    assert len(TEXTS) + 150 >= 100
    assert len(TRACES) >= 50
    assert len(DAMAGES) >= 50
