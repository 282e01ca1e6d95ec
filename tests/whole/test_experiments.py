"""A whole experiment through Ray Tune: rows, conservation, files, and what users bring along."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import ray
from commands import command, mec_rllib
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from mec_rllib.config.load import load
from mec_rllib.files import finite
from mec_rllib.results.stored import read_study
from mec_rllib.rl.policy_file import load_policy
from mec_rllib.schedulers import SJF, Reservation, run
from mec_rllib.sim.totals import Totals
from mec_rllib.trials.checkpoints import checkpoint_at
from mec_rllib.trials.runs import SchedulerRun
from mec_rllib.trials.trial import Trial

ROOT = Path(__file__).parents[2]
ROW = {
    *("strategy", "seed", "slots", "reward_lifetime", "reward_last20", "reward_greedy"),
    *("miss_rate", "share_training", "share_blocked", "training_jobs", "learner_updates"),
    *(
        "jobs_arrived",
        "jobs_started",
        "jobs_expired",
        "jobs_dropped",
        "jobs_waiting",
        "wall_s",
        "node",
    ),
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory, cluster):
    """The demo, shrunk, with two seeds for one more look at pairing."""
    out = tmp_path_factory.mktemp("runs") / "demo"
    small = ["slots=3000", "seeds=[0, 1]", "strategies=[ats, idle, ideal, never, sjf]"]
    sets = [part for value in [*small, "evaluation.slots=800"] for part in ("--set", value)]
    done = mec_rllib("tune", ROOT / "tune_configs/demo.yaml", "--out", out, *sets, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return out, json.loads((out / "summary.json").read_text()), done.stdout


@pytest.mark.ray
class TestDemo:
    def test_every_strategy_and_seed_has_a_row_in_which_no_job_is_lost(self, demo):
        rows = demo[1]["rows"]
        assert len(rows) == 10
        for row in rows:
            assert set(row) >= ROW
            ends = row["jobs_started"] + row["jobs_expired"] + row["jobs_dropped"]
            assert row["jobs_arrived"] == ends + row["jobs_waiting"]
            assert row["slots"] == 3000

    def test_the_same_seed_brings_the_same_jobs_to_all(self, demo):
        arrived = {(r["seed"], r["jobs_arrived"]) for r in demo[1]["rows"]}
        assert len(arrived) == 2

    def test_updates_are_paid_for(self, demo):
        rows = {(r["strategy"], r["seed"]): r for r in demo[1]["rows"]}
        for gate in ("ats", "idle"):
            row = rows[gate, 0]
            assert row["learner_updates"] == 32 * row["training_jobs"] > 0
        ideal = rows["ideal", 0]
        assert (ideal["learner_updates"], ideal["training_jobs"]) == (2500, 0)
        assert ideal["share_training"] == ideal["share_blocked"] == 0
        assert rows["never", 0]["learner_updates"] == 0

    def test_claims_are_paired_differences(self, demo):
        rows = {(r["strategy"], r["seed"]): r["reward_lifetime"] for r in demo[1]["rows"]}
        claim = next(c for c in demo[1]["claims"] if c["id"] == "ats_above_sjf_lifetime")
        differences = [rows["ats", s] - rows["sjf", s] for s in (0, 1)]
        assert claim["estimate"] == pytest.approx(sum(differences) / 2)
        assert claim["ci95"][0] < claim["estimate"] < claim["ci95"][1]

    def test_tensorboard_shows_the_figures_over_slots(self, demo):
        events = EventAccumulator(str(demo[0] / "ats_seed0")).Reload()
        names = [
            *("reward/window", "miss_rate/window", "gate/psi", "gate/psi_threshold"),
            *("gate/td_statistic", "gate/fallback_share", "training/jobs", "training/updates"),
            *("training/vetoed_updates", "server/server_use", "learner/epsilon"),
        ]
        for name in names:
            points = events.Scalars(f"ray/tune/{name}")
            assert points[-1].step == 3000
        assert (
            len(events.Scalars("ray/tune/reward/lifetime")) >= 95
        )  # of 100; NaN before the first job

    def test_tensorboard_groups_the_charts_of_every_trial(self, demo):
        events = EventAccumulator(str(demo[0] / "ats_seed0")).Reload()
        tensor = events.Tensors("custom_scalars__config__")[0].tensor_proto
        layout = layout_pb2.Layout.FromString(tensor.string_val[0])
        groups = [group.title for group in layout.category]
        assert groups == ["reward", "gate", "learner", "server"]
        tags = [tag for g in layout.category for c in g.chart for tag in c.multiline.tag]
        assert set(tags) <= set(events.Tags()["scalars"])

    def test_tensorboard_shows_what_a_strategy_is_beside_its_row(self, demo):
        events = EventAccumulator(str(demo[0] / "idle_seed1")).Reload()
        content = events.PluginTagToContent("hparams")["_hparams_/session_start_info"]
        start = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
        values = dict(start.hparams)
        assert values["strategy"].string_value == "idle"
        assert values["seed"].number_value == 1
        assert values["period"].number_value == 100
        assert values["learner.lr"].number_value == 5e-4
        assert events.Scalars("ray/tune/row/reward_greedy")[-1].step == 3000

    def test_reports_and_rows_name_the_node(self, demo):
        trials = read_study(demo[0]).trials
        nodes = {report["node"] for trial in trials for report in trial.reports}
        assert nodes == {row["node"] for row in demo[1]["rows"]}
        assert len(nodes) == 1

    def test_status_says_that_all_is_done(self, demo):
        done = mec_rllib("status", demo[0], "--json", cwd=ROOT)
        found = json.loads(done.stdout)
        assert (done.returncode, found["state"], found["done"]) == (0, "over", 10)

    def test_the_output_ends_with_table_and_report(self, demo):
        out, _, stdout = demo
        assert (out / "rewards.png").stat().st_size > 10_000
        assert "ats" in stdout
        assert str(out / "report.html") in stdout
        assert "took     0:0" in stdout
        assert "sjf_seed1: 3,000/3,000 slots" in stdout  # no terminal: plain lines

    def test_its_policy_can_be_evaluated(self, demo):
        done = mec_rllib(
            *("evaluate", "--checkpoint", demo[0] / "ats_seed0", "--slots", 500, "--json"),
            *("--seeds", "5,6", "--config", ROOT / "tune_configs/demo.yaml"),
            cwd=ROOT,
        )
        assert done.returncode == 0, done.stderr
        rows = json.loads(done.stdout)["rows"]
        assert [row["seed"] for row in rows] == [5, 6]
        assert set(rows[0]) >= ROW

    def test_a_folder_that_holds_a_run_is_not_written_to(self, demo):
        before = sorted(demo[0].rglob("*"))
        done = mec_rllib("train", ROOT / "tune_configs/demo.yaml", "--out", demo[0], cwd=ROOT)
        assert (done.returncode, done.stdout) == (2, "")
        assert "is taken" in done.stderr
        assert sorted(demo[0].rglob("*")) == before


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_gate_scheduler_and_workload_of_the_readme_run(readme_examples, modules):
    shutil.copytree(readme_examples / "my_package", modules / "my_package")
    done = mec_rllib("tune", "mine.yaml", "--out", "out", cwd=readme_examples)
    assert done.returncode == 0, done.stderr
    assert "EveryMonday: " not in done.stdout  # gate health has nothing to say
    rows = json.loads(Path("out/summary.json").read_text())["rows"]
    heaviest, monday = rows
    assert heaviest["strategy"] == "Heaviest"
    assert monday["training_jobs"] == 3  # slots 500, 1000, 1500; nothing to learn from at 0
    assert monday["jobs_arrived"] == 1001  # every other slot, slot 2000's is there at the end


def test_evaluate_gives_the_row_that_tune_would_give(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("strategies: [sjf]\nslots: 2000\nevaluation: {slots: 800}\n")
    done = mec_rllib(
        "evaluate", "--scheduler", "sjf", "--config", config, "--seeds", "3", "--json", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    experiment = load(config)
    trial = Trial("sjf", 3, experiment, SchedulerRun(SJF(), experiment.env.build_servers(1, 3)))
    while not trial.is_done:
        expected = trial.play_report().get("row")
    assert {**row, "wall_s": 0} == {**finite(expected), "wall_s": 0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tune", "nope.yaml", "--out", "out"], "nope.yaml: cannot be read"),
        (["tune", "c.yaml", "--out", "out", "--set", "env.lod=1"], "did you mean 'load'?"),
        (["train", "c.yaml"], "Missing option '--out'"),
        (["evaluate", "--scheduler", "sfj", "--config", "c.yaml"], "did you mean 'sjf'?"),
        (["evaluate", "--config", "c.yaml"], "needs either --checkpoint or --scheduler"),
        (["evaluate", "--checkpoint", ".", "--config", "c.yaml"], "has no manifest.json"),
        (["report", "."], "holds no experiment"),
        (["trian"], "No such command 'trian'"),
        (["tune", "c.yaml", "--out", "out", "--address", "127.0.0.1:9"], "no cluster answers"),
        (["tune", "c.yaml", "--out", "out", "--address", "ray://a:1"], "must be host:port or auto"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_leaves_nothing_behind(tmp_path, monkeypatch, arguments, message):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)  # as in a process of its own
    (tmp_path / "c.yaml").write_text("slots: 100\n")
    done = mec_rllib(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["c.yaml"]


def test_a_process_of_its_own_says_the_same(tmp_path):
    refused = command("tune", "nope.yaml", "--out", "out")
    done = subprocess.run(refused, cwd=tmp_path, capture_output=True, text=True)
    here = mec_rllib("tune", "nope.yaml", "--out", "out", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", here.stderr)
    assert list(tmp_path.iterdir()) == []


def test_help_is_fast_and_every_command_shows_an_example(tmp_path):
    for verb in ("train", "tune", "check", "evaluate", "report", "status"):
        done = mec_rllib(verb, "--help", cwd=tmp_path)
        assert done.returncode == 0
        assert f"Example: mec-rllib {verb}" in done.stdout
    imports = "import sys, mec_rllib.cli; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", imports], capture_output=True, text=True)
    assert done.stdout.strip() == "False"


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_a_trial_that_fails_is_named_and_costs_only_itself(tmp_path, modules):
    """After the slots that are tried before; an error that would come again is not tried again."""
    (modules / "broken.py").write_text(
        "from mec_rllib.gates import Gate\n"
        "class Broken(Gate):\n"
        "    def wants(self, view):\n"
        "        if view.slot == 300: raise RuntimeError('no fuel')\n"
        "        return view.can_ask\n"
    )
    (tmp_path / "c.yaml").write_text("strategies: ['broken:Broken', sjf]\nslots: 500\n")
    done = mec_rllib("tune", "c.yaml", "--out", "out", cwd=tmp_path)
    assert done.returncode == 1
    errors = tmp_path / "out/Broken_seed0/error.txt"
    failure = "broken.py:4: RuntimeError: no fuel"
    assert f"failed: Broken_seed0: {failure} (see {errors})" in done.stderr
    assert errors.read_text().splitlines()[-1] == failure
    assert "raise RuntimeError('no fuel')" in errors.read_text()
    assert "restart" not in done.stdout
    rows = json.loads((tmp_path / "out/summary.json").read_text())["rows"]
    assert [row["strategy"] for row in rows] == ["sjf"]
    told = json.loads(mec_rllib("status", "out", "--json", cwd=tmp_path).stdout)
    assert (told["state"], told["failed"], told["done"]) == ("over", 1, 1)


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_every_strategy_starts_from_the_pretrained_policy_of_its_seed(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text(
        "strategies: [never, ats]\nseeds: [0, 1]\nslots: 1000\nevaluation: {slots: 800}\n"
        "pretrain: {slots: 800, set: {env.load: 0.1}}\n"
    )
    done = mec_rllib("tune", config, "--out", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    before = json.loads(
        (tmp_path / "out/pretrained/ideal_seed1000000/result.json").read_text().splitlines()[-1]
    )["row"]
    assert before["learner_updates"] > 0
    modules = [
        load_policy(checkpoint_at(tmp_path / "out" / name)[0])[0].state_dict()
        for name in ("pretrained/ideal_seed1000000", "never_seed0", "never_seed1", "ats_seed0")
    ]
    same = [
        all((modules[0][key] == other[key]).all() for key in modules[0] if "target" not in key)
        for other in modules[1:]
    ]
    assert same == [True, False, False]  # frozen; another seed; trained on


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_a_search_is_judged_on_fresh_seeds(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text(
        "strategies: [reservation, sjf]\nseeds: [0]\nslots: 1000\nevaluation: {slots: 800}\n"
        "search: {samples: 3, seeds: [7, 8], slots: 1000, space: {args.reserve: {randint: [0, 9]}}}"
    )
    out = tmp_path / "out"
    done = mec_rllib("tune", config, "--out", out, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((out / "search/search.json").read_text())
    complete = [s for s in found["tried"] if s["is_complete"]]
    assert len(found["tried"]) == 3
    assert found["winner"]["reward_lifetime"] == max(s["reward_lifetime"] for s in complete)
    labels = [row["strategy"] for row in json.loads((out / "summary.json").read_text())["rows"]]
    assert labels == ["reservation", "sjf", "reservation-tuned"]
    # The score is the mean over the search's seeds.
    experiment = load(config)
    scheduler = Reservation(reserve=found["winner"]["values"]["args.reserve"])
    rewards = []
    for seed in (7, 8):
        batch = experiment.env.build_servers(1, seed)
        run(batch, scheduler, 1000)
        rewards.append(Totals.of(batch).mean_reward)
    assert found["winner"]["reward_lifetime"] == pytest.approx(sum(rewards) / 2)


def test_check_tries_every_strategy_and_writes_nothing(tmp_path):
    (tmp_path / "c.yaml").write_text("strategies: [ats, sjf]\nslots: 500\n")
    done = mec_rllib("check", "c.yaml", "--set", "evaluation.slots=80", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    ats, sjf = done.stdout.splitlines()
    assert ats == "ats: fine (100 slots, 1 update; compiled stretches)"
    assert sjf == "sjf: fine (100 slots of each server)"
    assert [path.name for path in tmp_path.iterdir()] == ["c.yaml"]


@pytest.mark.parametrize("arguments", [["check", "c.yaml"], ["tune", "c.yaml", "--out", "out"]])
def test_a_typo_in_code_of_the_user_costs_no_trial(tmp_path, monkeypatch, arguments):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)  # as in a process of its own
    (tmp_path / "typo.py").write_text(
        "from mec_rllib.gates import Gate\n"
        "class Typo(Gate):\n"
        "    def wants(self, view):\n"
        "        return np.zeros(self.num_servers, bool)\n"
    )
    (tmp_path / "c.yaml").write_text("strategies: ['typo:Typo', sjf]\nslots: 500\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "typo", raising=False)
    done = mec_rllib(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "mec-rllib: typo.py:4: Typo.wants() raised NameError: name 'np' is not defined\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.ray
def test_a_stage_that_needs_more_cores_than_the_one_before_gets_them():
    code = (
        "import ray\nfrom mec_rllib.launch.cluster import Cluster, start_ray\n"
        "for cpus in (1, 50, 2):\n"
        "    start_ray(Cluster(), cpus)\n"
        "    print(ray.cluster_resources()['CPU'] >= cpus)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True"] * 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("search: {space: {}}", "search: space is empty"),
        ("search: {seeds: [0], space: {learner.lr: {choice: [1]}}}", "seeds share 0"),
        ("search: {space: {learner.lr: {uniform: [2, 1]}}}", "needs [lowest, highest]"),
        ("search: {space: {learner.lr: {uniforn: [1, 2]}}}", "uniforn"),
        ("search: {space: {learner.gama: {uniform: [0.1, 0.9]}}}", "did you mean 'gamma'"),
        ("pretrain: {set: {env.laod: 0.1}}", "did you mean 'load'"),
        (
            "{pretrain: {}, strategies: [{gate: ats, set: {exploration: noisy}}]}",
            "strategy ats: pretrain trains another network: exploration is None there, noisy here",
        ),
        (
            "{pretrain: {}, strategies: [sjf, {gate: ats, set: {learner.hidden: [8]}}]}",
            "learner.hidden is [64, 64] there, [8] here",
        ),
        ("pretrain: {set: {env.buffer: 5}}", "the observation's size is 22 there, 42 here"),
    ],
)
def test_a_bad_search_or_pretraining_is_one_line(tmp_path, text, message):
    (tmp_path / "c.yaml").write_text(text)
    done = mec_rllib("tune", "c.yaml", "--out", "out", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr
    assert not (tmp_path / "out").exists()
