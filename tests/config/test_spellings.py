"""What can be spelled in two ways: explorations and their keys, one training job or several."""

import pytest

from mec_rllib.config.load import build, parse_override, with_overrides
from mec_rllib.config.strategies import resolve
from mec_rllib.envs.config import EnvConfig
from mec_rllib.errors import ConfigError


def with_set(*overrides):
    return with_overrides({"strategies": ["ats"]}, map(parse_override, overrides))


def loaded(overrides):
    return build(with_set(*overrides), "c.yaml")


OWN = """
from mec_rllib.rl.exploration import Greedy

class Timid(Greedy):
    def __init__(self, fear: float = 0.5): ...
"""


@pytest.mark.parametrize(
    ("values", "name", "args"),
    [
        (["exploration=noisy"], "noisy", {"sigma0": 0.5}),
        (["exploration={noisy: }"], "noisy", {"sigma0": 0.5}),
        (["exploration={noisy: {sigma0: 0.3}}"], "noisy", {"sigma0": 0.3}),
        (["exploration=noisy", "exploration.noisy.sigma0=0.3"], "noisy", {"sigma0": 0.3}),
        (["exploration=noisy", "learner.sigma0=0.3"], "noisy", {"sigma0": 0.3}),
        (["exploration=timid:Timid"], "timid:Timid", {"fear": 0.5}),
        (["exploration={'timid:Timid': {fear: 2}}"], "timid:Timid", {"fear": 2.0}),
    ],
)
def test_an_exploration_is_a_name_or_a_name_with_its_keys(
    tmp_path, monkeypatch, values, name, args
):
    (tmp_path / "timid.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    (strategy,) = resolve(build(with_set(*values), "c.yaml")).strategies
    assert (strategy.exploration, strategy.exploration_args) == (name, args)


def test_both_spellings_of_an_exploration_are_one():
    """What a strategy is does not hang on how it was written down."""
    newer = resolve(build(with_set("exploration.epsilon_greedy.floor=0.02"), "c")).strategies[0]
    older = resolve(build(with_set("learner.epsilon.floor=0.02"), "c")).strategies[0]
    other = resolve(build(with_set("learner.epsilon.floor=0.03"), "c")).strategies[0]
    assert newer.identity == older.identity != other.identity


def test_a_training_job_is_keys_and_values_or_a_list_of_them():
    (only,) = loaded(["env.training_job={share: 0.5}"]).env.training_job
    assert (only.name, only.share, only.slots, only.mode) == ("training", 0.5, 1, "drain")
    assert loaded(["env.training_job="]).env.training_job == EnvConfig().training_job
    listed = "env.training_job=[{name: a, share: 0.5, mode: pause}, {name: b}]"
    assert [job.mode for job in loaded([listed]).env.training_job] == ["pause", "pause"]
    with pytest.raises(ConfigError, match="'share' is no index of a list of 2"):
        loaded([listed, "env.training_job.share=0.1"])
    one = loaded(["env.training_job=[{name: a}]", "env.training_job.share=0.1"])
    assert [(job.name, job.share) for job in one.env.training_job] == [("a", 0.1)]


@pytest.mark.parametrize("given", [{"share": 0.5}, [{"name": "a", "mode": "pause"}, {"name": "b"}]])
def test_a_training_job_is_written_as_it_was_given(given):
    env = EnvConfig(training_job=given)
    assert isinstance(env.model_dump()["training_job"], type(given))
    assert EnvConfig(**env.model_dump(mode="json")) == env
