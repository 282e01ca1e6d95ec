"""Training jobs that imagine: what is played, what is learned from it, and who pays for it."""

import numpy as np
import pytest

from mec_rllib.callbacks.training_gate import TrainingGateCallback
from mec_rllib.config.load import build
from mec_rllib.config.strategies import resolve
from mec_rllib.envs.afterstates import AfterstateEncoder
from mec_rllib.envs.config import EnvConfig
from mec_rllib.errors import ConfigError
from mec_rllib.gates import PTS
from mec_rllib.rl.dqn.afterstates import AfterstateNetwork
from mec_rllib.rl.dqn.algorithm import GatedDQNConfig
from mec_rllib.rl.dqn.imagination import Passed, Terms, imagine, lambda_returns
from mec_rllib.rl.dqn.imagined import ImaginedExperience
from mec_rllib.rl.exploration import Greedy
from mec_rllib.rl.policy import GreedyPolicy
from mec_rllib.schedulers import SCHEDULERS
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.totals import Totals, world_figures
from mec_rllib.sim.workloads import ScriptedWorkload

SMALL = {"servers": 8, "lambda_": 0.8, "exploration": 0.1, "forget": 50.0, "interrupted": 0.25}
JOBS = [(0, 3, 2, 3, 4.0), (1, 5, 4, 2, 1.0), (1, 4, 1, 0, 2.0), (4, 10, 3, 5, 1.0)]


def experience_of(jobs=JOBS, slots=8, **options):
    batch = ServerBatch(ScriptedWorkload(jobs), buffer=4)
    batch.recording = True
    for _ in range(slots):
        batch.step(np.zeros(1, np.int64))
    experience = ImaginedExperience(batch, 0.9, 1, seed=3, **SMALL | options)
    experience.add(batch.take_arrivals())
    return experience


def network_of(experience, seed=0):
    rng, features = np.random.default_rng(seed), experience.parts[2].features
    layers = (
        (rng.normal(size=(features, 16)).astype(np.float32), np.zeros(16, np.float32)),
        (rng.normal(size=(1, 16)).astype(np.float32), np.ones(1, np.float32)),
    )
    return AfterstateNetwork(layers, 5)


def imagined(experience, updates=4, batch=20):
    field, sight, terms, recorded = experience.parts
    chances = experience.uniforms(updates, batch)
    passed = imagine(field, sight, network_of(experience), terms, chances, recorded)
    return passed, chances


def test_what_is_imagined_is_what_the_servers_would_play():
    """An oracle: a batch of the real class, one server at a time, told the same arrivals."""
    experience = experience_of(interrupted=0.0)
    passed, chances = imagined(experience)
    slots, servers = chances.arrivals.shape
    assert slots * servers == 11 * 8  # 80 afterstates are learned from; the last slot bootstraps
    recorded, network = experience.arrivals.recorded, network_of(experience)
    for i in range(servers):
        script = []
        for t in range(slots):
            known = -np.expm1(-9 / 50)
            age = int(-50 * np.log1p(-chances.arrivals[t, i] * known))
            first, last = recorded.bounds[8 - age], recorded.bounds[9 - age]
            for j in range(first, last):
                columns = [c[j] for c in recorded.jobs[2:6]]
                script.append((t + 1, columns[0].item(), *columns[1:]))
        batch = ServerBatch(ScriptedWorkload(script or [(99, 1, 1, 0, 4.0)]), buffer=4)
        encoder = AfterstateEncoder(batch)
        encoder.sight = experience.parts[1]._replace()  # the same scales
        policy = PolicyOf(network, encoder)
        for t in range(slots):
            q, blocks = policy.look(batch)
            allowed = np.flatnonzero(batch.mask[0])
            best = allowed[q[allowed].argmax()]
            action = best
            if chances.exploration[t, i] < 0.1:
                action = allowed[int(chances.action[t, i] * len(allowed))]
            np.testing.assert_allclose(passed.features[t, i], blocks[action, 1:], rtol=1e-6)
            np.testing.assert_allclose(passed.certain[t, i], blocks[action, 0], rtol=1e-6)
            np.testing.assert_allclose(passed.best[t, i], q[best], rtol=1e-4)
            assert passed.is_best[t, i] == (action == best)
            reward = batch.step(np.array([action]))[0] / 4.0
            np.testing.assert_allclose(
                passed.chance[t, i] + passed.certain[t, i], reward, atol=1e-6
            )


class PolicyOf:
    """A network over afterstates, evaluated in numpy."""

    def __init__(self, network, encoder):
        (self.w1, self.b1), (self.w2, self.b2) = network.layers
        self.encoder, self.actions = encoder, network.actions

    def look(self, batch):
        self.encoder._batch = batch
        blocks = self.encoder.encode().reshape(self.actions, -1)
        hidden = np.maximum(blocks[:, 1:] @ self.w1 + self.b1, 0.0)
        return blocks[:, 0] + (hidden @ self.w2.T + self.b2)[:, 0], blocks


def naive_return(passed, terms, t, i):
    """The lambda-return as it is defined: a mean over n-step returns, cut where it explored."""
    slots = len(passed.value) - 1
    returns, total, discount = [], 0.0, 1.0
    for n in range(t, slots):
        total += discount * passed.chance[n, i]
        discount *= terms.gamma
        returns.append(total + discount * passed.best[n + 1, i])
        if n + 1 == slots or not passed.is_best[n + 1, i]:
            break
        total += discount * passed.certain[n + 1, i]
    weights = [(1 - terms.trace_decay) * terms.trace_decay**k for k in range(len(returns))]
    weights[-1] = terms.trace_decay ** (len(returns) - 1)
    return np.dot(weights, returns)


@pytest.mark.parametrize("trace_decay", [0.0, 0.8, 1.0])
def test_returns_are_means_of_n_step_returns(trace_decay):
    rng, shape = np.random.default_rng(1), (9, 3)
    is_best = rng.random(shape) < 0.7
    certain, value = rng.normal(size=(2, *shape))
    best = np.where(is_best, certain + value, certain + value + rng.random(shape))
    features, counts = np.zeros((*shape, 2), np.float32), np.ones(shape, np.float32)
    chance = -rng.random(shape)
    passed = Passed(features, certain, value, best, is_best, chance, counts)
    terms = Terms(2, 0.9, trace_decay, 0.0, 0, 1.0)
    expected = [[naive_return(passed, terms, t, i) for i in range(3)] for t in range(8)]
    np.testing.assert_allclose(lambda_returns(passed, terms), expected)


def test_where_training_jobs_come_only_what_is_seen_of_them_counts():
    experience = experience_of(interrupted=0.25)
    counts, flags = [], []
    for _ in range(12):
        passed, _ = imagined(experience, updates=16)
        counts.append(passed.counts)
        flags.append(passed.features[:, :, -1])
    counts, flags = np.concatenate(counts), np.concatenate(flags)
    assert (counts[:, 2:] == 1).all()
    assert not flags[:, 2:].any()
    np.testing.assert_array_equal(counts[:, :2], flags[:, :2])
    assert 0 < flags[:, :2].mean() < 0.6


def test_training_jobs_of_every_kind_are_imagined():
    batch = ServerBatch(
        ScriptedWorkload(JOBS), buffer=4, training_share=[1.0, 0.9], training_slots=[1, 3]
    )
    batch.recording = True
    experience = ImaginedExperience(batch, 0.9, 1, seed=3, **SMALL)
    experience.add(batch.take_arrivals())
    flags = [imagined(experience, updates=16)[0].features[..., -2:] for _ in range(12)]
    assert (np.concatenate(flags).sum(axis=(0, 1)) > 0).all()


def config_of(**options):
    env = {"load": 0.6, "buffer": 6} | options.pop("env", {})
    return (
        GatedDQNConfig()
        .environment(env_config=env)
        .imagining(**{"servers": 16} | options.pop("imagined", {}))
        .training(tau=0.01, gamma=0.98, lr=[[0, 1e-3], [2000, 5e-4]])
        .gating(gate=options.pop("gate", PTS), gate_args={"period": 20})
        .replay(learning_starts=100)
        .acting(observe={"afterstates": True}, exploration=Greedy, slots_per_iteration=500)
        .callbacks(options.pop("callback", TrainingGateCallback))
        .debugging(seed=5)
        .env_runners(**options)
    )


@pytest.fixture
def built():
    """Builds algorithms, and ends them."""
    algorithms = []

    def build_it(**options):
        algorithms.append(config_of(**options).build_algo())
        return algorithms[-1]

    yield build_it
    for algorithm in algorithms:
        algorithm.stop()


def weights_of(algorithm):
    return {k: v.numpy().copy() for k, v in algorithm.get_module().state_dict().items()}


@pytest.mark.ray
def test_updates_are_paid_and_the_step_size_follows_the_slots(built):
    algorithm = built()
    algorithm.train()
    jobs = algorithm.credits.sum()
    assert 15 < jobs < 21
    assert algorithm.learner_updates == 32 * jobs
    assert len(algorithm.replay) == 501  # every slot that has arrived, the first one included
    for _ in range(4):
        algorithm.train()
    rate = algorithm.learner_group._learner.get_optimizer().param_groups[0]["lr"]
    assert rate == pytest.approx(5e-4)


@pytest.mark.ray
def test_what_does_not_count_moves_no_weight(built):
    """All servers are such that only a waiting training job counts, and none comes."""
    algorithm = built(imagined={"interrupted": 0.99})
    algorithm.train()
    drawn = algorithm.replay.uniforms
    algorithm.replay.uniforms = lambda *sizes: drawn(*sizes)._replace(
        training=np.ones_like(drawn(*sizes).training)
    )
    algorithm.replay._servers.reset(seed=0)  # none waits from before
    for state in algorithm.learner_group._learner.get_optimizer().state.values():
        state["exp_avg"].zero_()
    before = weights_of(algorithm)
    algorithm.learn(kind=0, updates=4)
    for name, values in weights_of(algorithm).items():
        if not name.startswith("_target"):
            np.testing.assert_array_equal(values, before[name])


class Vetoing(TrainingGateCallback):
    """Jobs run, and bring nothing."""

    def allow_updates(self, algorithm, requested, credits):
        return 0 * credits


@pytest.mark.ray
def test_vetoed_updates_leave_every_weight_and_every_imagined_server_as_it_is(built):
    algorithm = built(callback=Vetoing)
    before, servers = weights_of(algorithm), algorithm.replay.get_state()["servers"]
    algorithm.train()
    assert algorithm.credits.sum() > 10
    assert algorithm.learner_updates == 0
    for name, values in weights_of(algorithm).items():
        np.testing.assert_array_equal(values, before[name])
    assert algorithm.replay.get_state()["servers"]["slot"] == servers["slot"]


@pytest.mark.ray
def test_a_restored_run_goes_on_bit_for_bit(built, tmp_path):
    first, second = built(), built()
    first.train()
    first.save_to_path(tmp_path.absolute())
    second.restore_from_path(tmp_path.absolute())
    for algorithm in (first, second):
        algorithm.train()
    assert first.learner_updates == second.learner_updates > 1000
    for name, values in weights_of(first).items():
        np.testing.assert_array_equal(values, weights_of(second)[name])
    assert first.totals.to_json() == second.totals.to_json()


@pytest.mark.ray
def test_remote_runners_tell_of_what_arrived_at_their_servers(built):
    algorithm = built(num_env_runners=1, num_envs_per_env_runner=2)
    algorithm.train()
    assert len(algorithm.replay) == algorithm.slots + 2
    arrived = algorithm.totals.jobs[:, 0].sum()
    assert algorithm.replay.arrivals.recorded.bounds[-1] == arrived
    assert algorithm.learner_updates > 100


@pytest.mark.ray
def test_it_learns_what_a_rule_cannot_say(built):
    """Two lengths of one weight: to start the long job is to lose three short ones."""
    classes = [
        {"name": "short", "mix": 0.9, "resources": [[6, 6]], "execution": [1, 1], "slack": [0, 0]},
        {"name": "long", "mix": 0.1, "resources": [[6, 6]], "execution": [9, 9], "slack": [0, 0]},
    ]
    env = {"load": 0.6, "users": 1, "classes": [c | {"weight": 1.0} for c in classes]}
    algorithm = built(env=env)
    for _ in range(6):
        algorithm.train()
    policy = GreedyPolicy(algorithm.get_module(), {"afterstates": True})
    rewards = {}
    for name, scheduler in {"agent": policy, "sjf": SCHEDULERS["sjf"]()}.items():
        batch = EnvConfig.model_validate(env | {"buffer": 6}).build_servers(8, seed=77)
        for _ in range(2000):
            batch.step(scheduler.select(batch))
        rewards[name] = world_figures(Totals.of(batch), None)["reward"]["lifetime"]
    assert rewards["agent"] > rewards["sjf"] + 0.2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learner": {"experience": "imagined"}}, "it needs algorithm: dqn, observe.afterstates"),
        ({"agent": "deployable", "learner": {"n_step": 3}}, "n_step must be 1"),
        (
            {"agent": "deployable", "learner": {"observe": {"hide_weights": True}}},
            "no hide_weights",
        ),
        (
            {"agent": "deployable", "learner": {"imagined": {"server": 3}}},
            "did you mean 'servers'",
        ),
        ({"agent": "deployable", "learner": {"lr": [[0, 0.0]]}}, "learner.lr"),
        ({"learner": {"lr": [[5, 0.1], [9, 0.2]]}}, "the first at slot 0"),
        ({"learner": {"lr": [[0, 0.1], [9, 0.2], [9, 0.3]]}}, "slots rising"),
        ({"exploration": "duel"}, "exploration duel plays servers of its own: it needs"),
    ],
)
def test_a_wrong_key_is_one_line(values, message):
    with pytest.raises(ConfigError) as error:
        build(values, "config.yaml")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_agent_that_replays_may_compete_with_one_that_imagines():
    values = {"learner": {"imagined": {"servers": 8}}, "agent": "deployable"}
    entries = ["costless", {"gate": "ats", "agent": "paper", "label": "paper"}]
    ours, paper = resolve(build(values | {"strategies": entries}, "test")).strategies
    assert ours.experiment.learner.imagined.servers == 8
    assert (ours.experiment.learner.experience, paper.experiment.learner.experience) == (
        "imagined",
        "replay",
    )


def test_an_agent_alone_brings_its_gate():
    study = resolve(build({"strategies": [{"agent": "deployable"}]}, "test"))
    (strategy,) = study.strategies
    assert (strategy.label, strategy.rule) == ("deployable", "costless")
    with pytest.raises(ConfigError, match="agent paper goes with any gate"):
        resolve(build({"strategies": [{"agent": "paper"}]}, "test"))
