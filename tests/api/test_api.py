"""Experiments from Python: a study is played, its results are read, its policy acts."""

import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from commands import mec_rllib
from stored import stored, trial, write

from mec_rllib import Results, Study
from mec_rllib.errors import ConfigError
from mec_rllib.results.compare import compare

CONFIG = {
    "strategies": ["ats", "sjf", "reservation"],
    "seeds": [0, 1],
    "slots": 1200,
    "evaluation": {"slots": 400},
    "claims": [
        {
            "id": "sjf_first",
            "text": "SJF is above ATS",
            "measure": "difference",
            "of": {"better": "sjf", "worse": "ats"},
        }
    ],
}


@pytest.fixture(scope="module")
def results(tmp_path_factory, cluster):
    return Study(CONFIG).run_here(tmp_path_factory.mktemp("runs") / "mine")


@pytest.mark.ray
class TestResults:
    def test_rows_are_those_of_every_trial(self, results):
        rows = results.rows()
        assert sorted(zip(rows.strategy, rows.seed, strict=True)) == [
            (s, k) for s in ("ats", "reservation", "sjf") for k in (0, 1)
        ]
        assert (rows.slots == 1200).all()

    def test_reports_are_learning_curves(self, results):
        reports = results.reports()
        mine = reports[(reports.strategy == "ats") & (reports.seed == 1)]
        assert len(mine) == 100
        assert mine["timesteps_total"].is_monotonic_increasing
        last = results.rows().set_index(["strategy", "seed"]).loc[("ats", 1)]
        assert mine["reward.lifetime"].iloc[-1] == last.reward_lifetime

    def test_a_comparison_is_the_paired_difference(self, results):
        found = results.compare("reservation", "sjf")
        rows = results.rows().pivot(index="seed", columns="strategy", values="reward_lifetime")
        assert found["estimate"] == pytest.approx((rows.reservation - rows.sjf).mean())
        assert found["n"] == 2
        assert found["ci95"][0] < found["estimate"] < found["ci95"][1]
        with pytest.raises(ConfigError, match="no strategy is called 'stf'; did you mean 'sjf'"):
            results.compare("stf", "sjf")

    def test_its_own_claim_is_decided(self, results):
        (claim,) = results.claims().to_dict("records")
        assert claim["id"] == "sjf_first"
        assert claim["estimate"] == results.compare("sjf", "ats")["estimate"]

    def test_its_policy_acts_on_the_environment(self, results):
        policy = results.policy("ats", seed=0)
        env = gymnasium.make("MecScheduling-v0")
        observation, info = env.reset(seed=3)
        for _ in range(30):
            action, state = policy.predict(observation, action_masks=info["action_mask"])
            assert info["action_mask"][action]
            assert state is None
            observation, _, _, _, info = env.step(action)
        actions, _ = policy.predict(np.stack([observation] * 2))
        assert actions.shape == (2,)
        with pytest.raises(ValueError, match=r"action_masks must be \(1, 11\)"):
            policy.predict(observation, action_masks=np.ones(3))

    def test_finished_trials_are_not_played_again(self, results):
        files = {p: p.stat().st_mtime_ns for p in results.folder.rglob("result.json")}
        Study(CONFIG).run_here(results.folder)
        assert files == {p: p.stat().st_mtime_ns for p in results.folder.rglob("result.json")}

    def test_the_command_line_reports_its_folder(self, results):
        done = mec_rllib("report", results.folder, "--baseline", "sjf")
        assert done.returncode == 0, done.stderr
        assert "Against sjf, paired by seed" in done.stdout
        assert "SJF is above ATS" in done.stdout


def test_a_bad_study_is_refused_in_one_line(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'slots'"):
        Study({"slotz": 3})
    for changes, message in (
        ({"measure": "diference"}, "unknown measure 'diference'; did you mean 'difference'"),
        ({"of": {"better": "stf", "worse": "ats"}}, "no strategy is called 'stf'; did you mean"),
        ({"of": {"better": "ats"}}, "missing a required argument: 'worse'"),
    ):
        study = Study(CONFIG | {"claims": [CONFIG["claims"][0] | changes]})
        with pytest.raises(ConfigError, match=f"claims: sjf_first: .*{message}"):
            study.check()
    with pytest.raises(ConfigError, match="search: is played by Tune only"):
        Study({"search": {"space": {"learner.lr": {"uniform": [0.1, 0.2]}}}}).run_here(tmp_path)
    with pytest.raises(ConfigError, match="holds no experiment"):
        Results(tmp_path)


def test_everybody_is_compared_with_the_baseline():
    rewards = {"ats": (0.8, 0.9), "pts": (0.7, 0.79), "sjf": (0.8, 0.9), "idle": (0.5, 0.9)}
    trials = [
        trial(label, seed, reward_lifetime=reward)
        for label, seeds in rewards.items()
        for seed, reward in enumerate(seeds)
    ]
    study = stored(trials, strategies=list(rewards), seeds=[0, 1])
    found = {c["strategy"]: c for c in compare(study, "ats")}
    assert set(found) == {"pts", "sjf", "idle"}
    assert found["pts"]["estimate"] == pytest.approx(-0.105)
    assert found["sjf"]["note"] == "all 2 seeds equal"
    assert [c["holm"] for c in found.values()] == [False, False, False]  # 2 seeds decide little


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import mec_rllib", "ray torch numba scipy pandas pydantic mec_rllib.rl mec_rllib.sim"),
        ("import mec_rllib.results", "ray torch numba mec_rllib.rl"),
        (
            "from mec_rllib import Results; Results({folder!r}).rows()",
            "ray torch numba mec_rllib.rl mec_rllib.gates mec_rllib.sim",
        ),
        (
            "from mec_rllib.results.status import status; from pathlib import Path\n"
            "status(Path({folder!r}))",
            "ray torch numba pandas mec_rllib.rl mec_rllib.gates mec_rllib.sim",
        ),
    ],
)
def test_what_an_import_brings_in(tmp_path, code, absent):
    config = {"strategies": ["ats"], "seeds": [0], "slots": 20_000}
    write(tmp_path / "run", [trial("ats")], config)
    code = code.format(folder=str(tmp_path / "run"))
    check = f"\nimport sys; print([m for m in {absent.split()!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + check], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_a_folder_is_read_without_the_modules_of_its_user(tmp_path, readme_examples, monkeypatch):
    config = {
        "strategies": [{"gate": "my_package.gates:EveryMonday", "label": "mine"}, "sjf"],
        "slots": 20_000,
    }
    write(tmp_path / "run", [trial("mine"), trial("sjf")], config)
    for name in [m for m in sys.modules if m.startswith("my_package")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.chdir("/")
    for command in (["report"], ["status"]):
        done = subprocess.run(
            [sys.executable, "-m", "mec_rllib", *command, str(tmp_path / "run")],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert "mine" in done.stdout
