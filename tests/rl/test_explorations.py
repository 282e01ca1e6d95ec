"""Explorations that need a network of their own: bootstrapped DQN and noisy networks."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.rllib.core import DEFAULT_MODULE_ID
from torch.nn.functional import huber_loss

from mec_rllib.config.load import build
from mec_rllib.config.strategies import resolve
from mec_rllib.envs.config import EnvConfig
from mec_rllib.errors import ConfigError
from mec_rllib.rl.actor_critic.exploration import Sampled
from mec_rllib.rl.dqn.bootstrapped import Bootstrapped
from mec_rllib.rl.dqn.noisy import Noisy, NoisyLinear
from mec_rllib.rl.exploration import Boltzmann, EpsilonGreedy, Greedy, Guided
from mec_rllib.rl.modules import acting_function
from mec_rllib.rl.policy import GreedyPolicy
from mec_rllib.rl.policy_file import load_policy, save_policy
from mec_rllib.schedulers import run
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.totals import Totals
from mec_rllib.sim.workloads import ScriptedWorkload

HEADS = 3
KINDS = ("bootstrapped", "noisy")


@pytest.fixture
def new_algorithm(cluster):
    """Builds the algorithm of the paper's agent with another exploration."""
    from mec_rllib.trials.learner_run import algorithm_config

    built = []

    def new(exploration, runners=0, slots=1500, gate="ats", **learner):
        values = {
            "strategies": [{"gate": gate}],
            "exploration": exploration,
            "learner": {"bootstrap": {"heads": HEADS, "slots": 40}} | learner,
            "runners": {"num": runners, "servers": 2},
        }
        (strategy,) = resolve(build(values, "test")).strategies
        built.append(algorithm_config(strategy, seed=3).build_algo())
        built[-1].slots_per_iteration = slots
        return built[-1]

    yield new
    for algorithm in built:
        algorithm.stop()


def learner_of(algorithm):
    return algorithm.learner_group._learner


def module_of(algorithm):
    return learner_of(algorithm).module[DEFAULT_MODULE_ID].unwrapped()


@pytest.fixture
def servers():
    batch = EnvConfig(buffer=2).build_servers(4, seed=0)
    batch.mask[:] = True
    return batch


def test_a_server_follows_its_head_and_then_another(servers):
    """Head k of 5 values action k % 3 most; the mean would always take action 0."""
    heads = np.zeros((4, 5, 3), np.float32)
    for k in range(5):
        heads[:, k, k % 3] = 1.0
    mean = np.tile(np.array([9.0, 0.0, 0.0], np.float32), (4, 1))
    q = np.concatenate((mean, heads.reshape(4, -1)), axis=1)
    exploration, rng = Bootstrapped(slots=10), np.random.default_rng(1)
    followed = np.array([exploration.choose(q, servers, t, rng) for t in range(400)])
    stretches = followed.reshape(40, 10, 4)
    assert (stretches == stretches[:, :1]).all()
    assert set(followed.ravel()) == {0, 1, 2}
    assert (stretches[:, 0] != stretches[:, 0, :1]).any()  # servers by themselves
    assert exploration.metrics(0)["disagreement"] == pytest.approx(heads.std(axis=1).mean())


def test_a_head_takes_what_is_allowed_only(servers):
    servers.mask[:, 2] = False
    heads = np.tile(np.array([0.0, 1.0, 2.0], np.float32), (4, HEADS + 1))
    chosen = Bootstrapped(slots=1).choose(heads, servers, 0, np.random.default_rng(0))
    assert chosen.tolist() == [1] * 4


def all_explorations(actions):
    """Each with the columns of ratings that it wants beyond those of the actions."""
    return [
        (Greedy(), 0),
        (EpsilonGreedy(start=1.0, floor=1.0), 0),
        (EpsilonGreedy(start=0.5, floor=0.5), 0),
        (Boltzmann(start=5.0, floor=5.0), 0),
        (Sampled(), 2),
        (Guided("fifo", slots=0), 0),
        (Bootstrapped(slots=1), HEADS * actions),
        (Noisy(), actions),
    ]


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_no_exploration_takes_a_forbidden_action(seed, actions):
    """What is forbidden has the highest ratings."""
    rng = np.random.default_rng(seed)
    mask = rng.random((40, actions)) < 0.4
    mask[np.arange(40), rng.integers(0, actions, 40)] = True
    servers = SimpleNamespace(mask=mask)
    for exploration, more in all_explorations(actions):
        q = rng.normal(size=(40, actions + more)).astype(np.float32)
        for start in range(0, q.shape[1] - actions + 1, actions):
            q[:, start : start + actions][~mask] += 50.0
        chosen = exploration.choose(q, servers, 0, rng)
        assert mask[np.arange(40), chosen].all(), type(exploration).__name__


def test_epsilon_greedy_draws_evenly_what_is_allowed():
    """Three of four actions; epsilon 0.6: 0.2 each, and 0.4 more for the best of them."""
    servers = SimpleNamespace(mask=np.tile([True, False, True, True], (20_000, 1)))
    q = np.tile(np.array([1.0, 9.0, 3.0, 2.0], np.float32), (20_000, 1))
    exploration = EpsilonGreedy(start=0.6, floor=0.6)
    chosen = exploration.choose(q, servers, 0, np.random.default_rng(0))
    shares = np.bincount(chosen, minlength=4) / 20_000
    np.testing.assert_allclose(shares, [0.2, 0.0, 0.6, 0.2], atol=0.015)


@pytest.mark.parametrize("slot", [0, 1000, 5000, 19_999, 20_000, 90_000])
def test_epsilon_is_that_of_the_slot_that_is_played(slot):
    """0.1 + 0.9 * exp(-5 t / 20000), and 0.1 from slot 20,000 on; half of what is drawn is best."""
    epsilon = 0.1 + 0.9 * np.exp(-5 * slot / 20_000) if slot < 20_000 else 0.1
    servers = SimpleNamespace(mask=np.ones((20_000, 2), bool))
    q = np.tile(np.array([0.0, 1.0], np.float32), (20_000, 1))
    exploration = EpsilonGreedy(start=1.0, floor=0.1, decay_slots=20_000)
    chosen = exploration.choose(q, servers, slot, np.random.default_rng(slot))
    assert np.mean(chosen == 0) == pytest.approx(epsilon / 2, abs=0.012)
    assert exploration.metrics(slot) == {"epsilon": pytest.approx(epsilon)}


def test_the_guide_decides_until_its_slots_are_over():
    """Two jobs wait, and both fit."""
    jobs = ScriptedWorkload([(0, 2, 9, 9, 1.0), (0, 2, 9, 9, 1.0)])
    servers = ServerBatch(jobs, num_servers=3, buffer=2)
    q = np.tile(np.array([0.0, 1.0, 2.0], np.float32), (3, 1))
    guided, rng = Guided("fifo", slots=100), np.random.default_rng(0)
    for slot, chosen in ((0, 1), (99, 1), (100, 2), (101, 2)):
        assert guided.choose(q, servers, slot, rng).tolist() == [chosen] * 3
        assert guided.metrics(slot) == {"guided": float(chosen == 1)}


@pytest.mark.ray
def test_every_head_learns_from_its_own_target(new_algorithm):
    algorithm = new_algorithm("bootstrapped")
    algorithm.train()
    module, learner = module_of(algorithm), learner_of(algorithm)
    drawn, _, weights = algorithm.replay.sample(32)
    loss, taken, td_error = learner.compute_flat_loss(module, drawn, weights)
    heads = [
        network({"obs": torch.from_numpy(obs)})["qf_heads"].detach().reshape(32, HEADS, 11)
        for network, obs in (
            (module.compute_q_values, drawn.obs),
            (module.compute_q_values, drawn.next_obs),
            (module.forward_target, drawn.next_obs),
        )
    ]
    by_hand, errors, q_taken = 0.0, 0.0, 0.0
    for k in range(HEADS):
        q, judge, target = (h[:, k].numpy() for h in heads)
        best = np.where(drawn.next_mask, judge, -np.inf).argmax(axis=1)
        goal = drawn.rewards + drawn.discounts * target[np.arange(32), best]
        mine = q[np.arange(32), drawn.actions]
        of_head = huber_loss(
            *(torch.from_numpy(x.astype(np.float32)) for x in (mine, goal)), reduction="none"
        )
        by_hand += (weights * of_head.numpy()).mean()
        errors, q_taken = errors + np.abs(mine - goal) / HEADS, q_taken + mine / HEADS
    assert loss.item() == pytest.approx(by_hand, rel=1e-5)
    np.testing.assert_allclose(td_error.numpy(), errors, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(taken.detach().numpy(), q_taken, rtol=1e-4, atol=1e-6)
    assert heads[0].std(dim=1).mean() > 1e-3  # they differ


@pytest.mark.ray
def test_what_heads_share_gets_the_mean_of_their_gradients(new_algorithm):
    module = module_of(new_algorithm("bootstrapped"))
    obs = torch.rand(8, module.observation_space.shape[0])
    gradients = []
    for k in [None, *range(HEADS)]:
        module.zero_grad(set_to_none=True)
        q = module.compute_q_values({"obs": obs})["qf_heads"].reshape(8, HEADS, -1)
        (q.sum() if k is None else q[:, k].sum()).backward()
        shared = next(module.encoder.parameters()).grad.clone()
        own = next(module.af.parameters()).grad.reshape(HEADS, -1).clone()
        gradients.append((shared, own))
    (shared, own), *of_heads = gradients
    torch.testing.assert_close(shared, sum(g for g, _ in of_heads))
    plain = torch.autograd.grad(
        module.af(module.encoder({"obs": obs})["encoder_out"]).sum(),
        next(module.encoder.parameters()),
    )[0]
    torch.testing.assert_close(shared, plain / HEADS)
    for k, (_, mine) in enumerate(of_heads):
        torch.testing.assert_close(own[k], mine[k])
        assert not mine[[j for j in range(HEADS) if j != k]].any()


@pytest.mark.ray
def test_the_gate_and_the_trained_policy_see_the_mean_and_no_noise(new_algorithm):
    for exploration in KINDS:
        algorithm = new_algorithm(exploration)
        algorithm.train()
        module = module_of(algorithm)
        inputs = module.observation_space.shape[0]
        obs = np.random.default_rng(0).random((6, inputs), np.float32)
        q = acting_function(module)
        if exploration == "noisy":
            q.redraw(np.random.default_rng(1))
        wide = q(obs)
        assert wide.shape[1] == 11 * (2 if exploration == "noisy" else 1 + HEADS)
        module.eval()
        with torch.no_grad():
            for layer in module.modules():
                if isinstance(layer, NoisyLinear):
                    layer.noise_in.zero_(), layer.noise_out.zero_()
            stock = module.compute_q_values({"obs": torch.from_numpy(obs)})["qf_preds"].numpy()
        np.testing.assert_allclose(wide[:, :11], stock, rtol=1e-4, atol=1e-5)
        assert np.abs(wide[:, 11:22] - stock).max() > 1e-3


def test_noise_is_that_of_the_source():
    """Mean and variance of an output over many draws: sigma^2 * (sum of x_j^2 + 1) * E[f^2]^2."""
    torch.manual_seed(0)
    layer, generator = NoisyLinear(4, 2, sigma0=0.5), torch.Generator().manual_seed(0)
    bound = 4**-0.5
    assert layer.weight.abs().max() <= bound
    assert (layer.weight_sigma == 0.5 * bound).all()
    x = torch.tensor([[1.0, -2.0, 0.5, 0.0]])
    silent = x @ layer.weight.T + layer.bias
    torch.testing.assert_close(layer(x), silent)  # none is drawn yet
    drawn = []
    for _ in range(20_000):
        layer.redraw(generator)
        drawn.append(layer(x).detach().numpy()[0])
    spread = np.sqrt(2 / np.pi)  # E|e| = E[f(e)^2]
    variance = (0.5 * bound) ** 2 * spread * (spread * float((x**2).sum()) + 1.0)
    np.testing.assert_allclose(np.mean(drawn, axis=0), silent.detach()[0], atol=0.02)
    np.testing.assert_allclose(np.var(drawn, axis=0), variance, rtol=0.06)


@pytest.mark.ray
def test_every_update_and_every_slot_has_noise_of_its_own(new_algorithm):
    algorithm = new_algorithm("noisy")
    algorithm.train()
    learner, module = learner_of(algorithm), module_of(algorithm)
    drawn, _, weights = algorithm.replay.sample(32)
    losses = {learner.compute_flat_loss(module, drawn, weights)[0].item() for _ in range(5)}
    assert len(losses) == 5
    layers = [layer for layer in module.modules() if isinstance(layer, NoisyLinear)]
    assert len(layers) == 6  # online and target
    assert not torch.equal(layers[0].noise_in, layers[3].noise_in)
    q, rng = acting_function(module), np.random.default_rng(0)
    obs, answers = np.ones((1, module.observation_space.shape[0]), np.float32), []
    for _ in range(3):
        Noisy().prepare(q, rng)
        answers.append(q(obs)[0, 11:].tolist())
        assert q(obs)[0, 11:].tolist() == answers[-1]  # the same all over the slot
    assert len({tuple(a) for a in answers}) == 3


@pytest.mark.ray
@pytest.mark.parametrize(
    ("exploration", "runners"),
    [
        ("bootstrapped", 0),
        pytest.param("bootstrapped", 1, marks=pytest.mark.slow),
        ("noisy", 0),
        ("noisy", 1),
    ],
)
def test_a_restored_run_goes_on_bit_for_bit(new_algorithm, tmp_path, exploration, runners):
    fast = {"slots": 400, "learning_starts": 100}
    straight = new_algorithm(exploration, runners, **fast)
    straight.train()
    straight.save_to_path(tmp_path)
    for _ in range(2):
        expected = straight.train()
    resumed = new_algorithm(exploration, runners, **fast)
    resumed.restore_from_path(tmp_path)
    for _ in range(2):
        again = resumed.train()
    assert again["training"] == expected["training"]
    assert again["training"]["updates"] > 0
    assert again["reward"] == expected["reward"]
    weights = [module_of(a).get_state() for a in (straight, resumed)]
    for name, value in weights[0].items():
        np.testing.assert_array_equal(value, weights[1][name], err_msg=name)


@pytest.mark.ray
@pytest.mark.parametrize("exploration", KINDS)
def test_a_policy_file_acts_as_its_agent_did(new_algorithm, tmp_path, exploration):
    algorithm = new_algorithm(exploration)
    algorithm.train()
    save_policy(module_of(algorithm), tmp_path, {})
    loaded, observe = load_policy(tmp_path)
    played = []
    for module in (module_of(algorithm), loaded):
        batch = EnvConfig().build_servers(2, seed=9)
        run(batch, GreedyPolicy(module, observe), 500)
        played.append(Totals.of(batch).to_json())
    assert str(played[0]) == str(played[1])


@pytest.mark.ray
@pytest.mark.parametrize("exploration", KINDS)
def test_it_learns(new_algorithm, exploration):
    algorithm = new_algorithm(exploration, slots=5_000, gate="ideal")
    untrained = copy.deepcopy(module_of(algorithm))
    algorithm.train()
    rewards = []
    for module in (untrained, module_of(algorithm)):
        batch = EnvConfig().build_servers(8, seed=1000)
        run(batch, GreedyPolicy(module), 1000)
        rewards.append(Totals.of(batch).mean_reward)
    assert rewards[1] > max(rewards[0], 0.32) + 0.2  # random: 0.32


@pytest.mark.parametrize("exploration", KINDS)
def test_networks_that_do_not_go_together_are_refused(exploration):
    with pytest.raises(ConfigError, match=f"exploration {exploration} has a network of its own"):
        build({"agent": "deployable", "exploration": exploration}, "c.yaml")
    with pytest.raises(ConfigError, match="sac and ppo are sampled"):
        build({"agent": "sac", "exploration": exploration}, "c.yaml")
