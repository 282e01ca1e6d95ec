"""Good configs, bad configs: one line that names the place and the nearest right value."""

import re
from pathlib import Path

import pytest
from gate_slots import view

from mec_rllib.config.load import (
    build,
    load,
    read_values,
    with_values,
)
from mec_rllib.config.strategies import resolve
from mec_rllib.config.study_file import load_study
from mec_rllib.errors import ConfigError
from mec_rllib.launch.pretraining import pretraining_of
from mec_rllib.launch.search.search import _sampled, cores_of_sample
from mec_rllib.launch.stages import stages
from mec_rllib.reference.config import reference
from mec_rllib.results.folder import Folder
from mec_rllib.section import section_of
from mec_rllib.trials.begin import begin
from mec_rllib.trials.check import check_study

ROOT = Path(__file__).parents[2]
EVERY_CONFIG = sorted((ROOT / "tune_configs").glob("*.yaml"))
CONFIGS = [path for path in EVERY_CONFIG if "suite" not in read_values(path)]


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(
        "strategies: [ats, {gate: pts, period: 400, label: pts400}, sjf]\nslots: 1000\n"
    )
    return path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_configs_that_we_ship_are_good(path):
    assert stages(load_study(path), Folder("out"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_config_may_be_narrowed_to_a_rule(path):
    """Its own keys are judged by its own strategies, whatever is left of them."""
    (strategy,) = load_study(path, ["strategies=[sjf]"]).strategies
    assert strategy.label == "sjf"


@pytest.mark.parametrize("name", ["demo", "stationary", "deployable"])
def test_a_shipped_config_may_be_played_on_a_recording(name):
    """As `make demo TRACE=...` does: what only the jobs of the file need is no fault then."""
    path = ROOT / "tune_configs" / f"{name}.yaml"
    found = load_study(path, ["env.workload=trace", "env.trace.path=made:edge_day"])
    assert found.experiment.env.workload == "trace"
    with pytest.raises(ConfigError, match=r"env\.load: none of the strategies uses it"):
        load_study(path, ["env.workload=trace", "env.trace.path=made:edge_day", "env.load=0.5"])


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_what_a_folder_keeps_can_be_played_again(path, tmp_path):
    """`config.yaml` is whole: the defaults in it are no keys that somebody asked for."""
    study, folder = load_study(path), Folder(tmp_path)
    begin(study, folder)
    again = load_study(folder.config)
    assert again.experiment.model_dump() == study.experiment.model_dump()
    assert again.to_json() == study.to_json()
    with pytest.raises(ConfigError, match=r"learner\.sigma0: none of the strategies uses it"):
        load_study(folder.config, ["strategies=[sjf]", "learner.sigma0=0.3"])


NOBODY = {  # with the paper's agent, ats, bernoulli jobs; in the file, and with --set
    "learner.guide.slots: 5": "none of the strategies uses it; exploration: guided would",
    "gate.burst: 1": "gate.burst: none of the strategies uses it; budget would",
    "learner.temperature.start: 1": "exploration: boltzmann would",
    "learner.sigma0: 0.3": "exploration: noisy would",
    "learner.imagined.servers: 8": "learner.experience: imagined would",
    "env.bursts.factor: 3": None,  # of bernoulli: used
    "env.drift.worlds: 3": "env.workload: drift would",
    "learner.epsilon.floor: 0.2": None,
}


@pytest.mark.parametrize("key", NOBODY)
def test_a_key_that_nobody_uses_is_refused(tmp_path, key):
    path, (dotted, value) = tmp_path / "c.yaml", key.split(": ")
    *sections, name = dotted.split(".")
    text = "".join(f"{'  ' * k}{s}:\n" for k, s in enumerate(sections))
    path.write_text(f"{text}{'  ' * len(sections)}{name}: {value}\n")
    plain = tmp_path / "plain.yaml"
    plain.write_text("strategies: [ats]\n")
    for arguments in ((path,), (plain, [f"{dotted}={value}"])):
        if NOBODY[key] is None:
            assert load_study(*arguments)
        else:
            with pytest.raises(ConfigError) as caught:
                load_study(*arguments)
            assert NOBODY[key] in str(caught.value)


def test_an_agent_is_a_file_of_settings(tmp_path):
    agent = tmp_path / "mine.yaml"
    agent.write_text("exploration: boltzmann\nlearner: {lr: 0.001, n_step: 5}\n")
    values = {"agent": str(agent), "learner": {"n_step": 2}}  # what the config says itself counts
    experiment = build(values, "test")
    assert (experiment.exploration, experiment.learner.lr) == ("boltzmann", 0.001)
    assert experiment.learner.n_step == 2
    entries = ["ats", {"gate": "ats", "agent": str(agent), "label": "mine"}]
    paper, mine = resolve(build({"strategies": entries}, "test")).strategies
    assert (paper.experiment.learner.lr, mine.experiment.learner.lr) == (5e-4, 0.001)
    agent.unlink()  # what is written down for a resumed run needs it no more
    assert build(experiment.model_dump(mode="json"), "test") == experiment


@pytest.mark.parametrize(
    ("agent", "message"),
    [
        ("papr", "unknown agent 'papr'; did you mean 'paper'?"),
        ("none/mine.yaml", "agent none/mine.yaml: cannot be read (No such file or directory)"),
    ],
)
def test_an_agent_that_is_not_there_is_named(agent, message):
    for values in ({"agent": agent}, {"strategies": [{"gate": "ats", "agent": agent}]}):
        with pytest.raises(ConfigError) as caught:
            resolve(build(values, "test"))
        assert message in str(caught.value)


def test_a_claim_is_about_what_a_strategy_is_not_about_its_label(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(
        "strategies: [ats, sjf, pts]\n"
        "claims:\n"
        "  - {id: a, text: t, measure: difference, of: {better: ats, worse: sjf}}\n"
        "  - {id: b, text: t, measure: difference, of: {better: pts, worse: sjf}}\n"
    )
    study = load_study(path, ["strategies=[{gate: idle, label: ats}, sjf, pts]"])
    assert [claim.id for claim in study.experiment.claims] == ["b"]
    assert "ats is not what it is" in study.notes[0]
    same = load_study(path, ["strategies=[{gate: ats}, sjf]", "gate.period=50", "env.load=0.6"])
    assert [claim.id for claim in same.experiment.claims] == ["a", "b"]
    assert not same.notes


def test_overrides_are_yaml_and_reach_into_lists(config):
    overrides = ["env.load=[[0, 0.1], [100, 0.3]]", "strategies.1.period=50", "env.trace=null"]
    experiment = load(config, overrides)
    assert experiment.env.load == [(0, 0.1), (100, 0.3)]
    assert resolve(experiment).strategies[1].args == {"period": 50}


def test_a_strategy_sees_its_own_values(config):
    own = "strategies=[{gate: ats, percentile: 90, set: {learner.epsilon.floor: 0.02}}, ats]"
    with pytest.raises(ConfigError, match="label 'ats' is taken"):
        resolve(load(config, [own]))
    own = own.replace("90", "90, label: a")
    first, second = resolve(load(config, [own])).strategies
    assert (first.args["percentile"], second.args["percentile"]) == (90, 99)
    assert first.exploration_args["floor"] == 0.02
    assert second.exploration_args["floor"] == 0.1


def test_free_training_and_naive_training_pay_for_one_update(config):
    strategies = resolve(load(config, ["strategies=[ideal, always, ats, pts]"])).strategies
    assert [s.updates_per_job for s in strategies] == [1, 1, 32, 32]


class OneName:
    """A workload of the user's with two classes of one name."""

    class_names = ("a", "a")


JOB_CLASS = "name: a, resources: [1, 9], execution: [1, 2], slack: [0, 1], weight: 1"
BAD = {  # an override, and what the one line must say
    "slts=3": "slts: unknown key; did you mean 'slots'?",
    "gate.persentile=3": "gate.persentile: unknown key; did you mean 'percentile'?",
    "exploration=noisi": "unknown exploration 'noisi'; did you mean 'noisy'?",
    "exploration={none: {}, noisy: {}}": "exploration: must be one of them, not 2",
    "exploration={}": "exploration: must be one of them, not 0",
    "exploration={guided: {slot: 3}}": "exploration.guided.slot: unknown key; did you",
    "exploration=mec_rllib.gates:ATS": "is no mec_rllib.rl.exploration.Greedy",
    "exploration={epsilon_greedy: {floor: 2}}": "exploration.epsilon_greedy.floor: Input",
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
    "env.training_job=[{name: a}, {name: a}]": "training_job: a name is given twice (a, a)",
    "env.training_job=[{name: a, slot: 3}]": "env.training_job.0.slot: unknown key; did you",
    "env.training_job.slot=3": "env.training_job.slot: unknown key; did you mean 'slots'?",
    "env.training_job=[]": "env.training_job: ",
    "env.training_job=[{name: a, mode: drain}, {name: b, mode: pause}]": "one mode is for all",
    "env.training_jobs=[{name: a}]": "unknown key; did you mean 'training_job'?",
    "strategies=[ats_kinds]": "ats_kinds is now ats: without `kind` it chooses",
    "strategies=[{gate: td_slope}]": "td_slope is now a gate of one's own: examples/gates",
    "env.training_job=[{name: a}, {name: b}]": "does it ask for? kind: a, b",
    "strategies=[{gate: pts, kind: large}]": "kind 'large' is not in env.training_job",
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
    "gate.percentile=0.99": "gate.percentile: is in percent: did you mean 99?",
    "gate.percentile=1": "did you mean 99?",
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
        stages(load_study(config, overrides), Folder("out"))
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
    study = resolve(build({"strategies": [{"gate": "ats", "percentile": 98}]}, "test"))
    assert _sampled(study, {"gate.percentile": 91.5}).args["percentile"] == 91.5
    assert _sampled(study, {"gate.window": 2000}).args["percentile"] == 98


def test_a_sample_asks_for_the_runners_of_all_its_seeds():
    values = {"strategies": ["pts", "sjf"], "runners": {"num": 2}}
    pts, sjf = resolve(build(values, "test")).strategies
    assert cores_of_sample(pts, seeds=3) == [{"CPU": 1.0}, {"CPU": 3.0}, {"CPU": 3.0}]
    assert cores_of_sample(sjf, seeds=3) == [{"CPU": 1.0}]


def test_damage_and_the_end_of_training_are_not_of_the_pretraining():
    values = {"pretrain": {}, "learner.corrupt.slot": 50, "gate.until": 100}
    experiment = with_values(build({}, "test"), values | {"gate.updates_per_job": 32}, "test")
    pretraining = pretraining_of(resolve(experiment)).experiment
    assert pretraining.learner.corrupt.slot is pretraining.gate.until is None
    assert pretraining.gate.updates_per_job is None
    assert experiment.learner.corrupt.slot == 50


def test_the_config_reference_is_that_of_the_code():
    assert (ROOT / "docs" / "config.md").read_text() == reference(), "run `make docs`"


@pytest.mark.usefixtures("fresh_modules")
def test_a_newcomer_adds_a_gate_with_a_key_and_a_claim(tmp_path, monkeypatch):
    """CONTRIBUTING's gate: one file of code, one YAML; the key is checked and described."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    for name, text in re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", page, re.DOTALL):
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    study = load_study("alternating.yaml")
    check_study(study)
    mine = study.by_label["alternating"]
    assert mine.args == {"stretch": 20}
    field = section_of(mine.gate).model_fields["stretch"]
    assert field.description == "slots of either kind"
    wanted = mine.gate(1, **mine.args).wants(view(slot=15))
    assert wanted.tolist() == [True]
    with pytest.raises(
        ConfigError, match=r"stretch: Input should be greater than or equal to 1, not 0"
    ):
        load_study("alternating.yaml", ["strategies.0.stretch=0"])
    with pytest.raises(ConfigError, match="has no key 'stretsh'; did you mean 'stretch'"):
        load_study("alternating.yaml", ["strategies.0.stretsh=3"])
