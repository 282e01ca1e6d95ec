"""Good configs, bad configs: one line that names the place and the nearest right value."""

from pathlib import Path

import pytest

from mec_rllib.errors import ConfigError
from mec_rllib.experiments.config import build, load, with_values
from mec_rllib.experiments.config_reference import reference
from mec_rllib.experiments.pretraining import pretraining_of
from mec_rllib.experiments.results import read_config, write_config
from mec_rllib.experiments.runner import stages
from mec_rllib.experiments.search import _sampled, check_search, cores_of_sample
from mec_rllib.experiments.strategies import resolve
from mec_rllib.experiments.yaml_text import parse_yaml

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "tune_configs").glob("*.yaml"))


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(
        "strategies: [ats, {gate: pts, period: 400, label: pts400}, sjf]\nslots: 1000\n"
    )
    return path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_configs_that_we_ship_are_good(path):
    assert stages(load(path), Path("out"))


def test_overrides_are_yaml_and_reach_into_lists(config):
    overrides = ["env.load=[[0, 0.1], [100, 0.3]]", "strategies.1.period=50", "env.trace=null"]
    experiment = load(config, overrides)
    assert experiment.env.load == [(0, 0.1), (100, 0.3)]
    assert resolve(experiment)[1].args == {"period": 50}


def test_a_strategy_sees_its_own_values(config):
    own = "strategies=[{gate: ats, percentile: 90, set: {learner.epsilon.floor: 0.02}}, ats]"
    with pytest.raises(ConfigError, match="label 'ats' is taken"):
        resolve(load(config, [own]))
    first, second = resolve(load(config, [own.replace("90", "90, label: a")]))
    assert (first.args["percentile"], second.args["percentile"]) == (90, 99)
    assert first.experiment.learner.epsilon.floor == 0.02
    assert second.experiment.learner.epsilon.floor == 0.1


def test_free_training_and_naive_training_pay_for_one_update(config):
    strategies = resolve(load(config, ["strategies=[ideal, always, ats, pts]"]))
    assert [s.updates_per_job for s in strategies] == [1, 1, 32, 32]


class OneName:
    """A workload of the user's with two classes of one name."""

    class_names = ("a", "a")


JOB_CLASS = "name: a, resources: [1, 9], execution: [1, 2], slack: [0, 1], weight: 1"
BAD = {  # an override, and what the one line must say
    "slts=3": "slts: unknown key; did you mean 'slots'?",
    "gate.persentile=3": "gate.persentile: unknown key; did you mean 'percentile'?",
    "learner.epsilon.flor=0": "learner.epsilon.flor: unknown key; did you mean 'floor'?",
    "slots=many": "slots: Input should be a valid integer",
    "slots=0": "slots: Input should be greater than or equal to 1, not 0",
    "slots": "must have the form a.b=value",
    "slots=a: b: c": "mapping values are not allowed here",
    "seeds=[]": "seeds: List should have at least 1 item",
    "seeds=[0, 0]": "seeds: a seed is named twice",
    "env=5": "env: Input should be a valid dictionary",
    "env.load=0": "env.load: Input should be greater than 0, not 0",
    "env.load=-0.3": "env.load: Input should be greater than 0",
    "env.load=.nan": "env.load: Input should be a finite number, not nan",
    "env.load=[[0, 0.1], [5, -1]]": "env.load.1.1: Input should be greater than 0, not -1",
    "env.load=[[9, 0.1], [5, 0.1]]": "the slots of a load schedule must rise",
    "env.load=100": "at most load 48.3, or more users",
    "env.load.x=1": "env.load",
    "env.classes=[]": "env.classes: List should have at least 1 item",
    f"env.classes=[{{mix: 1, {JOB_CLASS}}}, {{mix: 2, {JOB_CLASS}}}]": (
        "env: classes: a name is given twice (a, a)"
    ),
    "env.workload=test_config:OneName": "class_names of test_config:OneName: a name is given twice",
    "slots=0100": "0100 has a leading 0 (octal?): write 100, or '0100' for a text",
    "slots=0899": "0899 has a leading 0 (octal?): write 899",
    "slots=-012": "write -12",
    "seeds=[1, 007]": "write 7",
    "env={007: 1}": "write 7",
    "slots=1:30": "1:30 would be a number in base 60: write 90, or '1:30' for a text",
    "env.load=1:30.5": "1:30.5 would be a number in base 60: write 90.5",
    "slots=1.5e0": "slots: Input should be a valid integer",
    "slots=1e400": "slots: Input should be a finite number",
    "slots=1e13": "slots: Input should be less than or equal to 1000000000000",
    "gate.percentile=0.99": "gate.percentile: 0.99 would fire nearly always; did you mean 99?",
    "gate.percentile=0.999": "did you mean 99.9?",
    "gate.percentile=1": "gate.percentile: 1 would fire nearly always; did you mean 99?",
    "strategies=[{gate: ats, percentile: 0.95}]": "did you mean 95?",
    "search={space: }": "space is empty: name the keys to search",
    f"env.classes=[{{mix: 0, {JOB_CLASS}}}]": "not all zero",
    f"env.classes=[{{mix: .nan, {JOB_CLASS}}}]": "env.classes.0.mix: Input should be a finite",
    f"env.classes=[{{mix: 1, {JOB_CLASS.replace('9', '99')}}}]": "99 units, the capacity is 10",
    f"env.classes=[{{mixx: 1, {JOB_CLASS}}}]": "env.classes.0",
    "env.capacity=0": "env.capacity",
    "env.workload=trac": "unknown workload 'trac'; did you mean 'trace'?",
    "env.workload=trace": "trace.path is missing",
    "env.trace.path=/no/such.csv": "",
    "env.training_job.mode=drian": "'drain', 'backfill' or 'pause', not 'drian'",
    "env.training_job.share=1.5": "env.training_job.share: Input should be less than or equal to 1",
    "env.training_jobs=[{name: a}, {name: a}]": "training_jobs: a name is given twice (a, a)",
    "env.training_jobs=[{name: a, slot: 3}]": "unknown key; did you mean 'slots'?",
    "env.training_jobs=[{name: a}, {name: b}]": "does it ask for? kind: a, b",
    "strategies=[{gate: pts, kind: large}]": "kind 'large' is not in env.training_jobs",
    "strategies=[{gate: ats_kinds, kind: large}]": "chooses among the kinds",
    "env.bursts={slots: 100, every: 100}": "bursts.every (100) at least 1 more",
    "env={bursts: {factor: 40}, load: 20}": "or more users",
    "gate.min_history=5000": "min_history is 5000, but the window holds 1000",
    "learner.learning_starts=100000": "the replay holds 65536",
    "strategies=[]": "strategies: List should have at least 1 item",
    "strategies=[atx]": "unknown strategy 'atx'; did you mean 'ats'?",
    "strategies=[{gate: sjf}]": "unknown gate 'sjf'",
    "strategies=[{gate: ats, scheduler: sjf}]": "needs either gate: NAME or scheduler: NAME",
    "strategies=[{gate: ats, perid: 3}]": "ats has no key 'perid'; did you mean 'period'?",
    "strategies=[{gate: pts, window: 30}]": "pts has no key 'window'",
    "strategies=[{gate: pts, period: 0}]": "gate.period: Input should be greater than or equal",
    "strategies=[{scheduler: sjf, label: ../up}]": "label '../up' must be",
    "strategies=[no.such:Thing]": "cannot be imported: No module named 'no'",
    "strategies=[mec_rllib.gates:Nothing]": "cannot be imported",
    "strategies=[mec_rllib.gates:TDStatistic]": "neither a Gate nor a scheduler",
    "strategies=[{scheduler: reservation, args: {patients: 3}}]": "patients",
    "strategies=[{gate: ats, set: {slots: 3}}]": "all strategies share slots",
}


@pytest.mark.parametrize("override", BAD, ids=lambda override: override[:60])
def test_bad_values_are_named_in_one_line(config, override):
    overrides = [override]
    if "/no/such" in override:
        overrides.append("env.workload=trace")
    with pytest.raises(ConfigError) as caught:
        stages(load(config, overrides), Path("out"))
    assert BAD[override] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slots: [1", "line 1"),
        ("agent: [paper]\n", "agent: "),
        ("- a\n- b\n", "must hold keys and values, not a list"),
        ("slots: 1\nslots: 2\n", "line 2: key 'slots' is given twice"),
        ("name: !!python/object/apply:os.system [ls]\n", "could not determine a constructor"),
        ("[" * 5000, ""),
        ("name: a\nslots: 0100\n", "line 2: 0100 has a leading 0"),
        ("env: {load: 1, <<: 5}\n", "line 1: expected a mapping or list of mappings for merging"),
        ("env: &a {load: 1}\ngate: {<<: *a, <<: *a}\n", "write <<: [*one, *other]"),
        ("env: &a {load: 1, load: 2}\ngate: {<<: *a}\n", "line 1: key 'load' is given twice"),
    ],
)
def test_bad_files_are_named_in_one_line(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_searched_takes_the_place_of_the_entrys_own_value():
    experiment = build({"strategies": [{"gate": "ats", "percentile": 98}]}, "test")
    assert _sampled(experiment, {"gate.percentile": 91.5}).args["percentile"] == 91.5
    assert _sampled(experiment, {"gate.window": 2000}).args["percentile"] == 98


def test_a_sample_asks_for_the_runners_of_all_its_seeds():
    values = {"strategies": ["pts", "sjf"], "runners": {"num": 2}}
    pts, sjf = resolve(build(values, "test"))
    assert cores_of_sample(pts, seeds=3) == [{"CPU": 1.0}, {"CPU": 3.0}, {"CPU": 3.0}]
    assert cores_of_sample(sjf, seeds=3) == [{"CPU": 1.0}]


def test_damage_and_the_end_of_training_are_not_of_the_pretraining():
    values = {"pretrain": {}, "learner.corrupt.slot": 50, "gate.until": 100}
    experiment = with_values(build({}, "test"), values | {"gate.updates_per_job": 32}, "test")
    pretraining = pretraining_of(experiment)
    assert pretraining.learner.corrupt.slot is pretraining.gate.until is None
    assert pretraining.gate.updates_per_job is None
    assert experiment.learner.corrupt.slot == 50


def test_the_config_reference_is_that_of_the_code():
    assert (ROOT / "docs" / "config.md").read_text() == reference(), "run `make docs`"


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
    assert [s.args["period"] for s in resolve(experiment)] == [50, 70]
    assert [s.args["percentile"] for s in resolve(experiment)] == [98, 98]
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
    assert resolve(experiment)[0].args["period"] == 10_000
    space = f"search={{space: {{gate.period: {{randint: [1, {number}]}}}}}}"
    searched = load(tmp_path / "c.yaml", ["seeds=[3]", space]).search
    assert searched.space == {"gate.period": {"randint": [1, 10_000]}}


def test_small_numbers_need_no_point(tmp_path):
    experiment = loaded(tmp_path, "search: {space: {learner.lr: {loguniform: [1e-4, 1e-2]}}}\n")
    assert experiment.search.space["learner.lr"] == {"loguniform": [1e-4, 1e-2]}


def test_a_share_for_a_percentile_is_refused_in_a_search(tmp_path):
    space = "search: {space: {gate.percentile: {uniform: [0.9, 0.99]}}}\n"
    with pytest.raises(ConfigError, match="would fire nearly always; did you mean 9"):
        check_search(loaded(tmp_path, space))


def test_an_empty_section_means_the_defaults(tmp_path):
    text = "env:\ngate:\nlearner:\n  epsilon:\nevaluation:\nrunners:\npretrain:\n"
    strategies = "strategies: [{gate: ats, set: }, {scheduler: sjf, args: }]\n"
    experiment = loaded(tmp_path, text + strategies)
    assert experiment == build({"strategies": experiment.strategies}, "test")
    assert resolve(experiment)
    assert experiment.pretrain is None  # null has a meaning there
    deployable = loaded(tmp_path, "agent: deployable\nlearner:\ngate:\n")
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
    write_config(experiment, tmp_path)
    assert read_config(tmp_path) == experiment


def test_what_only_begins_like_a_number_is_text():
    for text in ("1e4b", "00-x", "007bond", "1e4 x", "0.0.1", "1:30pm", "2026-01-02x"):
        assert parse_yaml(text, "test") == text
