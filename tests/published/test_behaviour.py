"""Rows of today's code: whoever changes them raises BEHAVIOUR_VERSION, and pins the new ones."""

from pathlib import Path

import pytest

from mec_rllib.api import Study
from mec_rllib.behaviour import BEHAVIOUR_VERSION

# Of tune_configs/demo.yaml, 3,000 slots of seed 0: R, and jobs that arrived and started. A rule
# gives the same everywhere; what learns rounds otherwise on another processor.
PINNED = 1
DEMO = Path(__file__).parents[2] / "tune_configs" / "demo.yaml"
RULES = {"sjf": 0.8517353850916525, "reservation": 0.9594494231073736}
JOBS = 356
LEARNERS = {  # R, updates
    "ats": (0.387463, 768),
    "deployable": (0.959993, 3744),
    "pts": (0.387463, 768),
    "idle": (0.417663, 768),
    "ideal": (0.410743, 2500),
}


@pytest.mark.ray
def test_the_rows_are_those_of_this_version(cluster, tmp_path):
    overrides = ["seeds=[0]", "slots=3000", "evaluation.slots=500"]
    study = Study.load(DEMO, overrides)
    rows = study.run_here(tmp_path / "out").rows().set_index("strategy")
    print({label: (row.reward_lifetime, row.learner_updates) for label, row in rows.iterrows()})
    why = "rows have changed: raise BEHAVIOUR_VERSION in mec_rllib/behaviour.py, then pin these"
    assert PINNED == BEHAVIOUR_VERSION, "pin the rows of the new version"
    assert (rows["jobs_arrived"] == JOBS).all(), why
    for label, reward in RULES.items():
        assert rows["reward_lifetime"][label] == pytest.approx(reward, abs=1e-12), why
    for label, (reward, updates) in LEARNERS.items():
        assert rows["learner_updates"][label] == updates, why
        assert rows["reward_lifetime"][label] == pytest.approx(reward, abs=2e-3), why
