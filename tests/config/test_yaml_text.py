"""YAML as people write it: merge keys, exponents, empty sections; what is ambiguous is refused."""

import pytest

from mec_rllib.config.load import build, load
from mec_rllib.config.strategies import resolve
from mec_rllib.errors import ConfigError
from mec_rllib.launch.search.search import check_search
from mec_rllib.results.folder import Folder
from mec_rllib.trials.begin import begin
from mec_rllib.yaml_text import parse_yaml


def loaded(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return load(path)


CLASS_A = "name: a, mix: 1, resources: [1, 2], execution: [1, 3], slack: [0, 4], weight: 1"


def test_merge_keys_are_taken(tmp_path):
    text = f"""
strategies:
  - &base {{gate: ats, period: 50, percentile: 98}}
  - {{<<: *base, label: later, period: 70}}
env:
  classes:
    - &a {{{CLASS_A}}}
    - &b {{<<: *a, name: b, weight: 2}}
    - {{<<: *b, name: c}}
    - {{<<: [*b, *a], name: d, mix: 5}}
"""
    experiment = loaded(tmp_path, text)
    assert [s.args["period"] for s in resolve(experiment).strategies] == [50, 70]
    assert [s.args["percentile"] for s in resolve(experiment).strategies] == [98, 98]
    classes = experiment.env.classes
    assert [(c.name, c.weight, c.mix) for c in classes] == [
        ("a", 1, 1),
        ("b", 2, 1),
        ("c", 2, 1),
        ("d", 2, 5),
    ]


def test_a_merge_of_what_lies_deeper_is_no_key_twice():
    """PyYAML merges `x` into `z` before it comes to `x` itself, which merges, too."""
    text = "a: &a {k: 1, l: 1}\nb: {x: &x {<<: *a, k: 2}}\nz: {<<: *x, l: 3}\n"
    assert parse_yaml(text, "test") == {
        "a": {"k": 1, "l": 1},
        "b": {"x": {"k": 2, "l": 1}},
        "z": {"k": 2, "l": 3},
    }


def test_merges_of_merges_do_not_grow():
    text = "a0: &a0 {k: 1}\n" + "".join(
        f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12)
    )
    assert parse_yaml(text, "test")["a11"] == {"k": 1}


@pytest.mark.parametrize("number", ["1e4", "1E4", "1.0e4", "1e+4", "10e3", "+1e4", "1_0e3", ".1e5"])
def test_whole_numbers_may_have_an_exponent(tmp_path, number):
    text = f"slots: {number}\nseeds: [{number}]\nenv: {{buffer: {number}}}\n"
    text += f"gate: {{td_cutoff: {number}}}\nstrategies: [{{gate: pts, period: {number}}}]\n"
    experiment = loaded(tmp_path, text)
    assert experiment.slots == experiment.seeds[0] == experiment.env.buffer == 10_000
    assert isinstance(experiment.slots, int)
    assert experiment.gate.td_cutoff == 10_000
    assert resolve(experiment).strategies[0].args["period"] == 10_000
    space = f"search={{space: {{gate.period: {{randint: [1, {number}]}}}}}}"
    searched = load(tmp_path / "c.yaml", ["seeds=[3]", space]).search
    assert searched.space == {"gate.period": {"randint": [1, 10_000]}}


def test_small_numbers_need_no_point(tmp_path):
    experiment = loaded(tmp_path, "search: {space: {learner.lr: {loguniform: [1e-4, 1e-2]}}}\n")
    assert experiment.search.space["learner.lr"] == {"loguniform": [1e-4, 1e-2]}


def test_a_share_for_a_percentile_is_refused_in_a_search(tmp_path):
    space = "search: {space: {gate.percentile: {uniform: [0.9, 0.99]}}}\n"
    with pytest.raises(ConfigError, match=r"gate\.percentile: is in percent: did you mean"):
        check_search(resolve(loaded(tmp_path, space)))


def test_an_empty_section_means_the_defaults(tmp_path):
    text = "env:\ngate:\nlearner:\n  epsilon:\nevaluation:\nrunners:\npretrain:\n"
    strategies = "strategies: [{gate: ats, set: }, {scheduler: sjf, args: }]\n"
    experiment = loaded(tmp_path, text + strategies)
    assert experiment == build({"strategies": experiment.strategies}, "test")
    assert resolve(experiment)
    assert experiment.pretrain is None  # null has a meaning there
    deployable = loaded(tmp_path, "agent: deployable\nlearner:\ngate:\n")
    assert (deployable.learner.experience, deployable.gate.fallback) == ("imagined", "server_empty")
    assert deployable == build({"agent": "deployable"}, "test")
    assert load(tmp_path / "c.yaml", ["env=", "env.load=0.7"]).env.load == 0.7


TEXTS = [
    "1e4",
    "0100",
    "0899",
    "1:30",
    "1.5e3",
    "<<",
    "yes",
    "1_0",
    "a: b",
    "null",
    "~",
    "2020-01-01",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_config_that_was_written_is_read_as_it_was(tmp_path, text):
    experiment = build({"name": text, "env": {"workload_args": {}}}, "test")
    folder = Folder(tmp_path)
    begin(resolve(experiment), folder)
    assert load(folder.config).model_dump() == experiment.model_dump()


def test_what_only_begins_like_a_number_is_text():
    for text in ("1e4b", "00-x", "007bond", "1e4 x", "0.0.1", "1:30pm", "2026-01-02x"):
        assert parse_yaml(text, "test") == text
