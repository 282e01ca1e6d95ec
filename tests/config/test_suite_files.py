"""Suites as files: what they hold, and one line about what is wrong with one."""

import pytest
import yaml

from mec_rllib import Study, Suite
from mec_rllib.config.suite import load_config, load_suite
from mec_rllib.errors import ConfigError
from mec_rllib.launch.cluster import Cluster
from mec_rllib.launch.rehearsal import check
from mec_rllib.launch.suite import SuiteLauncher

WORLD = {"strategies": ["ats", {"gate": "pts", "period": 400, "label": "pts400"}], "slots": 1000}
CLAIM = {
    "id": "c",
    "text": "t",
    "measure": "difference",
    "of": {"better": "ats", "worse": "pts400"},
}
WORLDS = [{"config": "one"}, {"config": "one.yaml", "set": {"env.load": 0.6}, "label": "busy"}]


@pytest.fixture
def suite(tmp_path):
    """Writes a suite beside the experiment `one`; returns its path."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/one.yaml").write_text(yaml.safe_dump(WORLD))

    def write(worlds=WORLDS, **keys):
        path = tmp_path / "configs/all.yaml"
        path.write_text(yaml.safe_dump({"suite": worlds, **keys}))
        return path

    return write


def test_worlds_are_files_beside_the_suite_with_keys_and_labels_of_their_own(suite):
    found = load_suite(suite(name="both", claims=[CLAIM]))
    assert (found.name, list(found.worlds)) == ("both", ["one", "busy"])
    plain, busy = (study.experiment for study in found.worlds.values())
    assert (plain.env.load, busy.env.load) == (0.3, 0.6)
    assert (plain.name, busy.name) == ("one", "busy")  # what their reports say
    assert (plain.slots, busy.slots) == (1000, 1000)
    assert [claim.id for claim in found.claims] == ["c"]


def test_what_is_set_on_the_command_line_is_set_everywhere_and_last(suite):
    found = load_suite(suite(), ["slots=500", "env.load=0.2", "strategies.1.period=7"])
    for study in found.worlds.values():
        assert (study.experiment.slots, study.experiment.env.load) == (500, 0.2)
        assert study.by_label["pts400"].args["period"] == 7


def test_worlds_do_not_share_a_value_that_an_alias_gives_to_both(suite, tmp_path):
    path = suite()
    path.write_text(
        "suite:\n- {config: one, set: {strategies: &s [{gate: pts, period: 5}]}}\n"
        "- {config: one, set: {strategies: *s, strategies.0.period: 9}, label: two}\n"
    )
    worlds = load_suite(path).worlds
    assert [study.by_label["pts"].args["period"] for study in worlds.values()] == [5, 9]


def test_a_claim_is_about_what_a_strategy_is_in_the_suite(suite):
    other = "strategies=[{gate: pts, label: ats}, {gate: pts, period: 400, label: pts400}]"
    found = load_suite(suite(claims=[CLAIM]), [other])
    assert not found.claims
    assert "ats is not what it is in" in found.notes[-1]
    assert load_suite(suite(claims=[CLAIM]), ["strategies=[ats]"]).claims
    turned = [{"gate": "pts", "label": "ats"}, {"gate": "ats", "label": "pts400"}]
    own = [{"config": "one", "set": {"strategies": turned}}]
    assert load_suite(suite(own, claims=[CLAIM])).claims  # the suite itself says so


def test_a_key_of_the_suite_is_judged_by_its_own_strategies(suite):
    worlds = [{"config": "one", "set": {"gate.fallback": "idle"}}]
    assert load_suite(suite(worlds), ["strategies=[sjf]"])
    with pytest.raises(ConfigError, match=r"--set gate.fallback=idle: gate.fallback: none of"):
        load_suite(suite(), ["strategies=[sjf]", "gate.fallback=idle"])


def one(**keys):
    return [{"config": "one", **keys}]


BAD = {  # the worlds, and what the line must say after the suite's path
    "no list": ({"a": 1}, "suite: Input should be a valid list"),
    "empty": ([], "suite: List should have at least 1 item"),
    "no config": ([{"label": "a"}], "suite.0.config: Field required"),
    "unknown key": ([{"config": "one", "labl": "a"}], "suite.0.labl: unknown key; did you mean"),
    "no file": ([{"config": "won"}], "suite.0: config: no file 'won' in"),
    "long file": ([{"config": "x" * 5000}], "suite.0: config: no file"),
    "nul": ([{"config": "a\0b"}], "suite.0: config: no file"),
    "same labels": (one() + one(), "suite.1: label 'one' is taken; give it one of its own"),
    "bad label": (one(label="../x"), "suite.0: label '../x' must be 1-60 letters"),
    "number": (one(label=5), "suite.0.label: Input should be a valid string, not 5"),
    "report's file": (one(label="summary.json"), "label 'summary.json' may be a file of the rep"),
    "stage": (one(label="search"), "suite.0: label 'search' may be a file"),
    "bad key": (one(set={"env.lod": 1}), "one.yaml: env.lod: unknown key; did you mean 'load'?"),
    "unused key": (one(set={"env.drift.worlds": 2}), "suite.0: set.env.drift.worlds: env.drift"),
    "no mapping": (one(set=3), "suite.0.set: Input should be a valid dictionary, not 3"),
    "nested": ([{"config": "all"}], "all.yaml: is a suite, too; a suite holds experiments only"),
    "bad strategy": (one(set={"strategies": ["atz"]}), "suite.0: strategies.0: unknown strategy"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_one_line_that_names_the_place(suite, case):
    worlds, message = BAD[case]
    path = suite(worlds)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}: suite")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"clams": []}, "all.yaml: clams: unknown key; did you mean 'claims'?"),
        ({"slots": 3}, "all.yaml: slots: unknown key"),
        ({"claims": [CLAIM, CLAIM]}, "all.yaml: claims: two claims have the id 'c'"),
    ],
)
def test_a_suite_has_few_keys(suite, keys, message):
    with pytest.raises(ConfigError) as caught:
        load_suite(suite(**keys))
    assert message in str(caught.value)


def test_a_suite_is_no_study_and_a_study_no_suite(suite):
    with pytest.raises(ConfigError, match=r"all\.yaml: is a suite of experiments; play it with"):
        Study.load(suite())
    with pytest.raises(ConfigError, match=r"one\.yaml: is an experiment and no suite"):
        Suite.load(suite().with_name("one.yaml"))
    with pytest.raises(ConfigError, match=r"suite.0.label=x: changes keys of the experiments"):
        load_suite(suite(), ["suite.0.label=x"])
    assert list(Suite.load(suite()).experiments["busy"].trials) == [("ats", 0), ("pts400", 0)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"measure": "diference"}, "one: claims: c: unknown measure 'diference'"),
        ({"of": {"better": "ats", "worse": "pts"}}, "one: claims: c: of: no strategy is called"),
    ],
)
def test_a_claim_must_be_about_strategies_of_every_world(suite, tmp_path, change, message):
    launcher = SuiteLauncher(tmp_path / "out", Cluster(), None, print)
    with pytest.raises(ConfigError, match=message):
        launcher.begin(load_suite(suite(claims=[CLAIM | change])))
    with pytest.raises(ConfigError, match=message):
        next(check(load_suite(suite(claims=[CLAIM | change]))))
    assert not (tmp_path / "out").exists()
