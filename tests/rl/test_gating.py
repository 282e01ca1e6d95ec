"""The gate and its callback: how a config takes them, and that both decisions pass through it."""

import ast
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from gate_slots import view
from ray.rllib.algorithms.dqn import DQNConfig
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.callbacks.callbacks import RLlibCallback

from mec_rllib.callbacks.corrupt_q import CorruptQCallback
from mec_rllib.callbacks.metrics import MetricsCallback
from mec_rllib.callbacks.training_gate import TrainingGateCallback
from mec_rllib.envs.registration import ENV_ID
from mec_rllib.gates import ATS, GATES, PTS, Gate, Ideal
from mec_rllib.rl import GatedPPOConfig, GatedSACConfig
from mec_rllib.rl.dqn.algorithm import GatedDQNConfig
from mec_rllib.sim.training_jobs import NO_KIND

ROOT = Path(__file__).parents[2]
needs_ray = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]
ray_test = lambda test: needs_ray[0](needs_ray[1](test))  # noqa: E731
CONFIGS = [GatedDQNConfig, GatedSACConfig, GatedPPOConfig]


class Own(Gate):
    """A user's gate; one of its keys has no default."""

    def __init__(self, num_servers, often, seldom=7):
        super().__init__(num_servers)
        self.often, self.seldom = often, seldom

    def wants(self, view):
        return view.since_training >= self.often


class Loose(Own):
    """It takes whatever it is given."""

    def __init__(self, num_servers, **keys):
        super().__init__(num_servers, **keys)


class NoUpdates(TrainingGateCallback):
    """Training jobs run, and nothing is learned."""

    def allow_updates(self, algorithm, requested, credits):
        return np.zeros_like(credits)


class Half(TrainingGateCallback):
    """Half of what is paid for."""

    def allow_updates(self, algorithm, requested, credits):
        return super().allow_updates(algorithm, requested, credits) // 2


class EverySlot(TrainingGateCallback):
    """As many updates as stock DQN runs, paid for or not."""

    def allow_updates(self, algorithm, requested, credits):
        return np.array([requested])


class Later(TrainingGateCallback):
    """No training job before slot 700."""

    def allow_training(self, env_runner, view):
        return super().allow_training(env_runner, view) and view.slot >= 700


class FirstServer(TrainingGateCallback):
    """The first server never trains."""

    def allow_training(self, env_runner, view):
        return super().allow_training(env_runner, view) & (np.arange(env_runner.num_envs) > 0)


class Wrong(TrainingGateCallback):
    """Not a number of updates for each kind."""

    def allow_updates(self, algorithm, requested, credits):
        return -1 - credits


@pytest.fixture
def train():
    """Plays 1500 slots under a callback; what is left of the algorithm."""
    built = []

    def play(*callbacks, gate="pts", servers=1):
        configured = GatedDQNConfig().gating(gate, updates_per_job=4)
        if gate == "pts":
            configured.gating(period=50)
        configured.env_runners(num_envs_per_env_runner=servers)
        configured.acting(slots_per_iteration=1500).debugging(seed=0)
        if callbacks:
            configured.callbacks(list(callbacks))
        built.append(configured.build_algo())
        built[-1].train()
        return built[-1]

    yield play
    for algorithm in built:
        algorithm.stop()


@ray_test
@pytest.mark.parametrize("config", CONFIGS)
def test_a_config_builds_and_trains_and_nothing_is_said_twice(config):
    algorithm = config().environment("MecScheduling-v0").gating("ats").build_algo()
    result = algorithm.train()
    assert algorithm.learner_updates == 32 * algorithm.totals.training_jobs > 0
    assert result["training"]["updates"] == algorithm.learner_updates  # MetricsCallback is there
    assert isinstance(algorithm.env_runner._gating.gate, ATS)
    algorithm.stop()


@ray_test
def test_no_updates_are_allowed(train):
    algorithm = train(NoUpdates)
    assert algorithm.totals.training_jobs > 10
    assert algorithm.learner_updates == 0
    assert algorithm.vetoed_updates == 1500


@ray_test
def test_half_of_the_updates_are_allowed(train):
    algorithm, plain = train(Half), train()
    jobs = algorithm.totals.training_jobs
    assert algorithm.learner_updates == 2 * jobs > 0
    assert plain.learner_updates == 4 * plain.totals.training_jobs
    assert algorithm.vetoed_updates > plain.vetoed_updates


@ray_test
def test_updates_that_nobody_has_paid_for_can_be_allowed(train):
    algorithm = train(EverySlot, gate="never")
    assert algorithm.totals.training_jobs == 0
    assert algorithm.learner_updates == 1500  # one call samples all slots, as nothing completes
    assert algorithm.vetoed_updates == 0


@ray_test
@pytest.mark.parametrize(("callback", "first"), [(TrainingGateCallback, 500), (Later, 700)])
def test_no_training_job_before_a_slot(train, callback, first):
    algorithm = train(callback, gate="always")
    longest = algorithm.env_runner.env.servers.workload.max_execution  # what runs ends before
    assert first <= min(algorithm.training_slots) <= first + longest
    assert algorithm.learner_updates == 4 * algorithm.totals.training_jobs > 0


@ray_test
def test_servers_may_differ_in_what_is_allowed(train):
    algorithm = train(FirstServer, servers=3)
    jobs = algorithm.env_runner.env.servers.tally.training_jobs
    assert jobs.reshape(3, -1).sum(axis=1)[0] == 0
    assert (jobs.reshape(3, -1).sum(axis=1)[1:] > 0).all()


@ray_test
def test_an_answer_that_is_no_number_of_updates_is_refused(train):
    with pytest.raises(ValueError, match="must answer 1 numbers"):
        train(Wrong)


@ray_test
@pytest.mark.parametrize("stock", [DQNConfig, PPOConfig])
@pytest.mark.parametrize("callback", [TrainingGateCallback, MetricsCallback, CorruptQCallback])
def test_an_algorithm_of_rllib_is_refused_in_one_line(stock, callback):
    config = stock().environment(ENV_ID).env_runners(num_env_runners=0).callbacks(callback)
    config.env_runners(gym_env_vectorize_mode="vector_entry_point")
    with pytest.raises(ValueError, match=callback.__name__) as refused:
        config.build_algo()
    message = str(refused.value)
    assert f"use mec_rllib.rl.Gated{stock.__name__} instead of {stock.__name__}" in message
    assert "\n" not in message


class Logging(RLlibCallback):
    """A callback of a user."""


class Figures(MetricsCallback):
    """One that adds figures."""


@pytest.mark.parametrize("config", CONFIGS)
def test_the_built_in_callbacks_come_first(config):
    built_in = [TrainingGateCallback, MetricsCallback]
    assert config().callbacks_class == built_in
    assert config().callbacks(Logging).callbacks_class == [*built_in, Logging]
    assert config().callbacks(None).callbacks_class == built_in
    assert config().callbacks([*built_in, Logging]).callbacks_class == [*built_in, Logging]


def test_a_subclass_takes_the_place_of_the_built_in_one():
    assert GatedDQNConfig().callbacks(Half).callbacks_class == [MetricsCallback, Half]
    config = GatedDQNConfig().callbacks([Logging, Half, Figures])
    assert config.callbacks_class == [Logging, Half, Figures]


def test_a_callback_may_be_given_with_its_arguments():
    half = partial(Half)
    assert GatedDQNConfig().callbacks(half).callbacks_class == [MetricsCallback, half]


def test_two_gates_are_refused():
    with pytest.raises(ValueError, match="one TrainingGateCallback is enough, not Half and Later"):
        GatedDQNConfig().callbacks([Half, Later])


@pytest.mark.parametrize(
    ("gate", "found"),
    [*GATES.items(), ("test_gating:Own", Own), (Own, Own), ("mec_rllib.gates:PTS", PTS)],
)
def test_a_gate_is_given_by_name_or_class(gate, found):
    chosen = GatedDQNConfig().gating(gate).gate_class
    assert chosen.__qualname__ == found.__qualname__


def test_keys_of_a_gate_are_given_as_such():
    config = GatedDQNConfig().gating("ats", period=50, updates_per_job=3)
    assert config.gate_args == {"period": 50}
    config.gating(window=20)
    assert config.gate_args == {"period": 50, "window": 20}
    config.gating(gate_args={"ties": "gt"}, period=8)
    assert config.gate_args == {"ties": "gt", "period": 8}
    config.gating("server_empty", longest_wait=9)  # another gate starts afresh
    assert config.gate_args == {"longest_wait": 9}
    assert config.updates_of_kinds.tolist() == [3]
    assert GatedDQNConfig().gating(Loose, often=3).gate_args == {"often": 3}


@pytest.mark.parametrize(
    ("gating", "message"),
    [
        ({"gate": "atz"}, "unknown gate 'atz'; did you mean 'ats'?"),
        ({"gate": "no.such:Gate"}, "gate 'no.such:Gate' cannot be imported"),
        ({"gate": "os:getcwd"}, "gate 'os:getcwd' is no mec_rllib.gates.Gate"),
        ({"gate": RLlibCallback}, "is no mec_rllib.gates.Gate"),
        ({"gate": "pts", "perod": 3}, "gate PTS has no key 'perod'; did you mean 'period'?"),
        ({"gate": "pts", "gate_args": {"zeal": 3}}, "gate PTS has no key 'zeal'; known: period"),
        ({"gate": "never", "period": 3}, "gate Never has no key 'period'; it has none"),
        ({"gate": "pts", "num_servers": 3}, "gate PTS has no key 'num_servers'"),
    ],
)
def test_what_is_no_gate_is_refused_in_one_line(gating, message):
    with pytest.raises(ValueError, match="gate") as refused:
        GatedDQNConfig().gating(**gating)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("config", CONFIGS)
def test_a_key_without_default_is_missed(config):
    with pytest.raises(ValueError, match="gate Own: missing a required argument: 'often'"):
        config().gating(Own).validate()


@pytest.mark.parametrize(("gate", "updates"), [("ideal", 1), ("always", 1), ("pts", 32), (Own, 32)])
def test_a_gate_says_what_a_training_job_is_worth(gate, updates):
    assert GatedDQNConfig().gating(gate).updates_of_kinds.tolist() == [updates]
    told = GatedDQNConfig().gating(gate, updates_per_job=[4, 5])
    assert told.updates_of_kinds.tolist() == [4, 5]


@pytest.mark.parametrize(
    ("n_step", "servers", "runners", "first"), [(1, 1, 0, 500), (3, 1, 0, 502), (3, 2, 2, 508)]
)
def test_enough_experience_counts_complete_returns(n_step, servers, runners, first):
    config = GatedDQNConfig().training(n_step=n_step)
    config.env_runners(num_env_runners=runners, num_envs_per_env_runner=servers)
    assert [config.can_learn(slots) for slots in (first - 1, first)] == [False, True]


def test_nothing_is_trained_once_it_is_over():
    gating = TrainingGateCallback()
    gating.gate = Ideal(2)
    config = GatedDQNConfig().gating("ideal", train_until=50).replay(learning_starts=10)
    for slot, wanted in ((9, False), (10, True), (49, True), (50, False), (51, False)):
        runner = SimpleNamespace(config=config)
        answer = gating.want_training(runner, view(since=[1, 1], slot=slot))
        assert answer.tolist() == [0 if wanted else NO_KIND] * 2


def imports_of(path):
    """Modules of ours that a file imports when it is imported, wherever it says so."""
    for node in ast.parse(path.read_text()).body:
        for inner in ast.walk(node) if isinstance(node, ast.If) else [node]:  # TYPE_CHECKING
            if isinstance(inner, ast.ImportFrom) and (inner.module or "").startswith("mec_rllib"):
                yield inner.module
                yield from (f"{inner.module}.{alias.name}" for alias in inner.names)


def test_no_file_below_the_experiments_is_in_a_circle_of_imports():
    files = {}
    for room in ("sim", "schedulers", "gates", "envs", "rl", "callbacks"):
        for path in (ROOT / "mec_rllib" / room).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            files[name.removesuffix(".__init__")] = path
    graph = {name: {m for m in imports_of(path) if m in files} for name, path in files.items()}
    for name, modules in graph.items():
        modules.discard(name)
        assert not name.startswith("mec_rllib.rl") or not any(".callbacks" in m for m in modules)
    assert len(list(TopologicalSorter(graph).static_order())) == len(files) > 60
