"""Pages from data files; the texts beside them; the source line by line."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from mec_rllib.errors import ConfigError
from mec_rllib.published.__main__ import main
from mec_rllib.published.pages import detectable, middles, page_text
from mec_rllib.published.source import read_lines, source_text
from mec_rllib.published.texts import filled, settings_of, unsupported
from mec_rllib.published.units import pages
from mec_rllib.published.write import beside_of, read_shelves, texts

DEMOS = ("demo", "requests")
SIDES = ("better", "worse", "strategy", "rivals")
ROOT = Path(__file__).parents[2]
RULES = """# Two rules at work.
#   mec-rllib tune rules.yaml --out runs/rules

name: rules
strategies: [sjf, fifo]
seeds: [0, 1, 2]
slots: 400
evaluation: {slots: 400}
claims:
  - id: sjf_above_fifo
    text: SJF is above FIFO
    measure: difference
    of: {better: sjf, worse: fifo}
    primary: true
"""
BOTH = """
name: both
suite:
  - {config: rules, label: low, set: {env.load: 0.3}}
  - {config: rules, label: high, set: {env.load: 0.9}}
claims:
  - id: sjf_above_fifo_in_both
    text: SJF is above FIFO in both
    measure: difference
    of: {better: sjf, worse: fifo}
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with an experiment and a suite, of rules only, so that nothing needs Ray."""
    (tmp_path / "tune_configs").mkdir()
    (tmp_path / "tune_configs" / "rules.yaml").write_text(RULES)
    (tmp_path / "tune_configs" / "both.yaml").write_text(BOTH)
    (tmp_path / "docs" / "results" / "text").mkdir(parents=True)
    source = {"S1": {"says": "a rule", "claims": ["rules/sjf_above_fifo"], "pages": ["both"]}}
    (tmp_path / "docs" / "results" / "source.yaml").write_text(yaml.safe_dump(source))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def play(*more):
    return main(["play", "--cores", "1", *more])


def shelf_of(project, name):
    docs = project / "docs"
    found = pages(project / "tune_configs", docs / "results" / "recordings.yaml")
    return {shelf.page.name: shelf for shelf in read_shelves(found, docs)}[name]


def page(project, name):
    return (project / "docs" / "results" / f"{name}.md").read_text()


def test_what_is_missing_is_played_and_the_rest_is_there(project, capsys):
    assert play("--only", "rules") == 0
    assert "rules: is played (no data)" in capsys.readouterr().out
    assert play() == 0
    said = capsys.readouterr().out
    assert "rules: is there" in said
    assert "both.low: is played (no data)" in said
    assert "both.high: is played (no data)" in said
    assert "| sjf | 3 |" in page(project, "rules")
    assert "Two rules at work." in page(project, "rules")
    assert "R by experiment" in page(project, "both")
    assert "SJF is above FIFO in both" in page(project, "both")
    top = (project / "docs" / "results.md").read_text()
    primary, _, rest = top.partition("## Experiments")
    assert "[rules](results/rules.md)" in primary
    assert "in both" not in primary
    assert "SJF is above FIFO in both" in rest
    assert "[SJF is above FIFO](rules.md): " in page(project, "source")


def test_what_is_stale_is_shown_as_such_and_played_again(project, capsys):
    play("--only", "rules")
    path = project / "tune_configs" / "rules.yaml"
    path.write_text(RULES.replace("slots: 400\n", "slots: 500\n"))
    assert main(["write"]) == 0
    assert "**Stale**" in page(project, "rules")
    assert "stale: strategies.sjf.config.slots" in (project / "docs" / "results.md").read_text()
    capsys.readouterr()
    assert play("--only", "rules") == 0
    assert "(stale: strategies.sjf.config.slots)" in capsys.readouterr().out
    assert "500 slots a trial" in page(project, "rules")
    assert "Stale" not in page(project, "rules")


def test_what_was_begun_goes_on_though_the_config_has_grown_keys_since(project, capsys):
    """A key of today that has its default: the trials that are there are not played again."""
    play("--only", "rules")
    runs = project / "runs" / "results"
    (begun,) = runs.glob("*.json")
    older = json.loads(begun.read_text())
    for strategy in older["identity"]["strategies"].values():
        del strategy["config"]["evaluation"]["interval"]
    begun.write_text(json.dumps(older))
    (project / "docs" / "results" / "data" / "rules.json.gz").unlink()
    results = sorted(runs.glob("rules-*/*/result.json"))
    before = [path.stat().st_mtime_ns for path in results]
    assert len(results) == 6
    assert play("--only", "rules") == 0
    assert sorted(runs.glob("rules-*/*/result.json")) == results
    assert [path.stat().st_mtime_ns for path in results] == before
    assert "| sjf | 3 |" in page(project, "rules")


def test_a_trial_that_another_experiment_has_played_is_not_played_again(project, capsys):
    play("--only", "rules")
    more = RULES.replace("[sjf, fifo]", "[{scheduler: sjf, label: shortest}, fifo, edf]")
    more = more.replace("name: rules", "name: more").replace("better: sjf", "better: shortest")
    (project / "tune_configs" / "more.yaml").write_text(more)
    capsys.readouterr()
    assert play("--only", "more") == 0
    assert "more: 6 of 9 trials are there already" in capsys.readouterr().out
    rows = {(r["strategy"], r["seed"]): r for r in shelf_of(project, "more").played[0].rows}
    assert sorted({label for label, _ in rows}) == ["edf", "fifo", "shortest"]
    for there, here in (("sjf", "shortest"), ("fifo", "fifo")):
        for row in shelf_of(project, "rules").played[0].rows:
            if row["strategy"] == there:
                assert rows[here, row["seed"]] == row | {"strategy": here}
    # Other slots are other trials.
    other = more.replace("name: more", "name: longer").replace("slots: 400\n", "slots: 500\n")
    (project / "tune_configs" / "longer.yaml").write_text(other)
    assert play("--only", "longer") == 0
    assert "there already" not in capsys.readouterr().out


def test_a_new_claim_is_decided_without_playing_anything(project, capsys):
    play("--only", "rules")
    path = project / "tune_configs" / "rules.yaml"
    path.write_text(
        RULES.replace("id: sjf_above_fifo", "id: new").replace("text: SJF", "text: the new SJF")
    )
    source = {"S1": {"says": "a rule", "why": "of no use"}}
    (project / "docs" / "results" / "source.yaml").write_text(yaml.safe_dump(source))
    capsys.readouterr()
    assert play("--only", "rules") == 0
    assert "rules: is there" in capsys.readouterr().out
    assert "the new SJF" in page(project, "rules")


def test_what_is_on_a_recording_that_is_not_here_is_left_as_it_is(project, capsys):
    (project / "tune_configs" / "rules.yaml").write_text(
        RULES + "env: {workload: trace, trace: {path: 'made:edge_day'}}\n"
    )
    (project / "tune_configs" / "both.yaml").unlink()
    listed = [{"name": "rules.mine", "config": "rules", "file": "mine.csv"}]
    (project / "docs" / "results" / "recordings.yaml").write_text(yaml.safe_dump(listed))
    source = {"S1": {"says": "a rule", "pages": ["rules.mine"]}}
    (project / "docs" / "results" / "source.yaml").write_text(yaml.safe_dump(source))
    assert play("--only", "rules.mine") == 0
    assert "rules.mine: not played here (mine.csv is not there)" in capsys.readouterr().out
    assert "Not played here: the recording `mine.csv`" in page(project, "rules.mine")
    rows = "".join(f"{k * 1.5},3.0,0.2,elastic\n" for k in range(200))
    (project / "traces").mkdir()
    (project / "traces" / "mine.csv").write_text("arrival_s,duration_s,demand,job_class\n" + rows)
    assert play("--only", "rules.mine", "--traces", "traces") == 0
    shown = page(project, "rules.mine")
    assert re.search(r"trace mine.csv: 200 jobs .*SHA-256 `[0-9a-f]{64}`", shown)
    assert str(project) not in shown
    assert "n counts agents, not days" in shown
    capsys.readouterr()
    assert play("--only", "rules.mine") == 0  # the file is gone: its data are fresh all the same
    assert "rules.mine: is there" in capsys.readouterr().out


def test_bad_input_is_one_line(project, capsys):
    assert play("--only", "rule") == 2
    message = "--only rule: there is no such experiment; did you mean 'rules'?"
    assert capsys.readouterr().err.strip() == message


def test_figures_in_a_text_are_those_of_the_data(project):
    (project / "docs" / "results" / "text" / "rules.md").write_text(
        "SJF has {R:sjf}, and {claim:sjf_above_fifo} more: that {verdict:sjf_above_fifo}."
    )
    main(["write"])
    assert "SJF has" not in page(project, "rules")  # there is nothing to say yet
    play("--only", "rules")
    shelf = shelf_of(project, "rules")
    (claim,) = shelf.played[0].claims
    low, high = claim["ci95"]
    reward = sum(r["reward_lifetime"] for r in shelf.played[0].rows if r["strategy"] == "sjf") / 3
    text = f"SJF has {reward:.3f}, and {claim['estimate']:+.3f} [{low:+.3f}, {high:+.3f}] more"
    assert text in page(project, "rules")
    assert f"that {claim['verdict']}." in page(project, "rules")


def test_a_suite_has_the_middle_of_what_is_not_normal_somewhere():
    """`never` has two humps in one world: the middle half of both is the other one, 5.09 / 10."""
    humps = [-0.5, -0.52, -0.49, -0.51, -0.5, 0.8, 0.81, 0.79, 0.8, 0.82]
    level = [0.50, 0.52, 0.51, 0.49, 0.53, 0.51, 0.5, 0.52, 0.51, 0.5]

    def world(**values):
        rows = [
            {"strategy": label, "reward_lifetime": value}
            for label, of_label in values.items()
            for value in of_label
        ]
        return SimpleNamespace(rows=rows)

    worlds = [world(never=humps, ats=level), world(never=level, ats=level, only=humps)]
    ((label, middle, spread),) = middles(SimpleNamespace(played=worlds)).rows
    assert (label, middle) == ("never", "0.509")
    low, high = (float(bound) for bound in spread.strip("[]").split(", "))
    assert low <= 0.509 <= high


def test_what_is_undecided_says_which_effect_its_seeds_could_have_found():
    decided = [
        {"text": "a", "verdict": "undecided", "detectable": 0.0123, "unit": "R"},
        {"text": "b", "verdict": "undecided", "detectable": float("nan"), "unit": "R"},
        {"text": "c", "verdict": "holds", "detectable": 0.5, "unit": "R"},
        {"text": "d", "verdict": "undecided", "detectable": 1234.0, "unit": "slots"},
    ]
    assert detectable(decided).endswith("in four of five cases:\n\n- a: 0.012\n- d: 1,234")
    assert detectable(decided[1:3]) == ""


@pytest.mark.parametrize(
    "text", ["{R:sjff}", "{claim:sjf_above_fifos}", "{wins:sjf}", "{R:low/sjf}"]
)
def test_a_text_that_names_what_is_not_there_is_refused(project, text):
    with pytest.raises(ConfigError, match="text of rules: nothing is called"):
        filled(text, shelf_of(project, "rules"))


@pytest.mark.parametrize(
    ("sentence", "is_supported"),
    [
        ("It is 0.812 here.", True),
        ("It is 0.813 here.", False),
        ("It is +0.123 better.", True),
        ("A share of 5.5% of 10 seeds.", True),
        ("A share of 6 % of all.", False),
        ("After 1,234 updates.", False),
        ("At slot 400 of `x=0.99` and arXiv 2411.07086.", True),
        ("{R:sjf} was filled in.", True),
    ],
)
def test_sentences_that_name_a_figure_which_no_table_has(sentence, is_supported):
    tables = "# x\n\n9.999 is no table\n\n| a | 0.812 ± 0.1 | 5.5% |\n| b | [+0.123, +0.2] | 1 |\n"
    found = unsupported(f"All is well. {sentence} That was it.", tables)
    assert found == ([] if is_supported else [sentence])


def test_figures_of_the_config_may_be_named(project):
    path = project / "tune_configs" / "rules.yaml"
    path.write_text(RULES.replace("slots: 400\n", "slots: 4000\n"))
    settings = settings_of(shelf_of(project, "rules"))
    text = "After 4,000 slots. After 5,000 of them."
    assert unsupported(text, "", settings) == ["After 5,000 of them."]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"says": "x"}, "S1: needs `says`, and claims, pages or `why`"),
        ({"why": "x"}, "S1: needs `says`"),
        ({"says": "x", "whi": "y"}, "S1: unknown key 'whi'; did you mean 'why'"),
        ({"says": "x", "pages": ["rule"]}, "S1: there is no page 'rule'; did you mean 'rules'"),
        ({"says": "x", "claims": ["rules/sjf"]}, "S1: rules has no claim 'sjf'"),
        ({"says": "x", "claims": ["both/low/no"]}, "S1: both has no claim 'low/no'"),
    ],
)
def test_a_line_of_the_source_that_leads_nowhere_is_refused(project, line, message):
    path = project / "lines.yaml"
    path.write_text(yaml.safe_dump({"S1": line}))
    shelves = [shelf_of(project, name) for name in ("rules", "both")]
    with pytest.raises(ConfigError, match=re.escape(message)):
        source_text(read_lines(path), shelves)


# The lines that a summary of the source has, by id; DESIGN of this project names the same.
IDS = [
    *(f"S{k}" for k in range(1, 9)),
    *(f"C{k}" for k in range(1, 6)),
    *(f"{letter}{k}" for letter in "MTFEQLN" for k in range(1, 4)),
]


def test_every_line_of_the_source_is_there():
    assert list(read_lines(ROOT / "docs" / "results" / "source.yaml")) == IDS


@pytest.fixture(scope="module")
def shipped():
    docs = ROOT / "docs"
    found = pages(ROOT / "tune_configs", docs / "results" / "recordings.yaml")
    return read_shelves(found, docs)


def test_the_shipped_pages_are_what_the_data_say(shipped):
    for path, text in texts(shipped, ROOT / "docs"):
        there = path.read_text() if path.is_file() else None
        assert there == text, f"{path.name}: run `make results-docs`"


def test_no_shipped_text_names_a_figure_that_its_tables_do_not_have(shipped):
    for shelf in shipped:
        beside = beside_of(shelf.page.name, ROOT / "docs")
        if beside and shelf.played:
            found = unsupported(beside, page_text(shelf, "", {}), settings_of(shelf))
            assert found == [], shelf.page.name


def test_all_have_ten_seeds_but_for_the_demos(shipped):
    units = [unit for shelf in shipped for unit in shelf.page.units if shelf.page.name not in DEMOS]
    for unit in units:
        assert unit.study.experiment.seeds == list(range(10)), unit.name


def test_every_pair_is_compared_greedily_too(shipped):
    """A claim over the lifetime has one of the final policies beside it."""
    for unit in (unit for shelf in shipped for unit in shelf.page.units):
        pairs = {}
        for claim in unit.study.experiment.claims:
            if claim.measure in ("difference", "above_best") and not claim.below:
                sides = {k: v for k, v in claim.of.items() if k in SIDES}
                metric = claim.of.get("metric", "reward_lifetime")
                pairs.setdefault(str(sides), set()).add(metric)
        for sides, metrics in pairs.items():
            if "reward_lifetime" in metrics:
                assert "reward_greedy" in metrics, f"{unit.name}: {sides}"


def test_every_text_belongs_to_a_page(shipped):
    names = {shelf.page.name for shelf in shipped} | {"_summary"}
    for path in (ROOT / "docs" / "results" / "text").glob("*.md"):
        assert path.stem in names, f"text/{path.name} belongs to no page"
