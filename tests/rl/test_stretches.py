"""Compiled stretches play exactly what slot by slot plays: every bit of it."""

import os
import subprocess
import sys

import numpy as np
import pytest

from mec_rllib.callbacks.training_gate import TrainingGateCallback
from mec_rllib.gates import ATS, PTS, Always, Budget, Ideal, Idle, Never, ServerEmpty
from mec_rllib.rl.dqn.afterstates import AfterstateQ
from mec_rllib.rl.dqn.algorithm import GatedDQNConfig
from mec_rllib.rl.duel import Duel
from mec_rllib.rl.env_runner import MecEnvRunner
from mec_rllib.rl.exploration import Boltzmann, EpsilonGreedy, Greedy, Guided
from mec_rllib.schedulers import Reservation

COMPILED = "compiled stretches"
AFTERSTATES = {"afterstates": True}
# Small windows: psi decides from slot 60 on.
PSI = {"window": 50, "min_history": 20, "refresh": 5, "td_cutoff": 1e9}
QUICK_DUEL = {
    "opens": 20,
    "drives_from": 60,
    "bin_slots": 20,
    "bins": 4,
    "period": 50,
    "window": 100,
    "candidates": 4,
}
RULES = {
    "ats": (ATS, PSI | {"percentile": 95.0}),
    "ats, unreliable": (ATS, PSI | {"td_cutoff": 0.0, "period": 7, "fallback": "idle"}),
    "ats, ties never": (ATS, PSI | {"ties": "gt", "fallback": "server_empty", "longest_wait": 30}),
    "budget": (Budget, PSI | {"rate": {"first": 0.1, "last": 0.02, "half_life": 100}}),
    "budget, unreliable": (Budget, PSI | {"rate": 0.05, "td_cutoff": 0.0, "fallback": "use"}),
    "budget, warm": (Budget, PSI | {"warm_up": {"start": 60, "until": 200, "jobs": 20}}),
    "budget, queue": (Budget, PSI | {"score": "queue", "rate": 0.1}),
    "pts": (PTS, {"period": 9}),
    "idle": (Idle, {"period": 5, "longest_wait": 40}),
    "server_empty": (ServerEmpty, {"period": 5}),
    "always": (Always, {}),
    "never": (Never, {}),
    "ideal": (Ideal, {}),
}


TWO_KINDS = [
    {
        "name": name,
        "mix": 0.5,
        "resources": [[1, 5], [2, 6]],
        "execution": [1, 6],
        "slack": [0, 9],
        "weight": weight,
    }
    for name, weight in (("a", 1.0), ("b", 3.0))
]


def in_python(gate):
    """The same gate, as a class of a user's: asked slot by slot."""
    return type(
        f"My{gate.__name__}", (gate,), {"wants": lambda self, view: super(gate, self).wants(view)}
    )


def runner_of(gate, gate_args, **options):
    return MecEnvRunner(config=config_of(gate, gate_args, **options))


def config_of(gate, gate_args, servers=3, n_step=1, callback=TrainingGateCallback, **options):
    env = {"load": 0.6, "buffer": 6} | options.pop("env", {})
    gating = options.pop("gating", {})
    acting = {"exploration": EpsilonGreedy, "exploration_args": {"decay_slots": 600}} | options
    return (
        GatedDQNConfig()
        .gating(gate=gate, gate_args=gate_args, **gating)
        .env_runners(num_envs_per_env_runner=servers)
        .environment(env_config=env)
        .replay(learning_starts=50)
        .training(n_step=n_step, dueling=False)
        .acting(**acting)
        .callbacks(callback)
        .debugging(seed=3)
    )


def equal(one, other, place="state"):
    """Whether two nested structures of arrays and numbers are the same, bit for bit."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), place
        for key in one:
            equal(one[key], other[key], f"{place}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), place
        for k, (mine, theirs) in enumerate(zip(one, other, strict=True)):
            equal(mine, theirs, f"{place}.{k}")
    elif isinstance(one, np.ndarray | float | int | str | type(None)):
        np.testing.assert_array_equal(one, other, err_msg=place)


def fragments(runner, slots, until_credit):
    found = []
    while (left := slots - runner.env.servers.slot) > 0:
        found.append(runner.sample(num_slots=left, until_credit=until_credit))
    return found


def play_both(gate, gate_args, slots, until_credit, **options):
    compiled = runner_of(gate, gate_args, **options)
    python = runner_of(in_python(gate), gate_args, **options)
    assert compiled.plays == COMPILED
    assert python.plays.startswith("slot by slot: gate ")
    for ours, theirs in zip(
        fragments(compiled, slots, until_credit),
        fragments(python, slots, until_credit),
        strict=True,
    ):
        copies = [tuple(fragment.transitions) for fragment in (ours, theirs)]
        equal(*copies, "transitions")
        equal(*[(f.slots, f.credits, f.training_slots) for f in (ours, theirs)], "fragment")
    states = [runner.get_play_state() for runner in (compiled, python)]
    for state in states:
        del state["exploration"]  # objects; what they do is in the actions
    equal(*states)
    reports = [runner.take_report() for runner in (compiled, python)]
    equal(*[(r.gate, r.exploration, r.totals.to_json()) for r in reports], "report")
    return compiled


@pytest.mark.parametrize("until_credit", [True, False])
@pytest.mark.parametrize("name", RULES)
def test_every_gate(name, until_credit):
    gate, gate_args = RULES[name]
    runner = play_both(gate, gate_args, 400, until_credit)
    jobs = runner.env.servers.tally.training_jobs.sum()
    assert jobs == 0 if gate in (Never, Ideal) else jobs > 3
    assert name != "ats" or runner.requests["psi"] > 3


@pytest.mark.parametrize("name", ["ats", "pts", "budget"])
def test_every_gate_whose_training_is_free(name):
    gate, gate_args = RULES[name]
    runner = play_both(gate, gate_args, 400, False, gating={"train_free": True})
    assert runner.env.servers.tally.training_jobs.sum() == 0
    assert runner.env.servers.since_training.max() < 400  # counted from the last free one


@pytest.mark.parametrize("observe", [{}, {"free_ahead": 2, "job_class": True}, AFTERSTATES])
@pytest.mark.parametrize(
    ("exploration", "args"),
    [
        (Greedy, {}),
        (EpsilonGreedy, {"start": 0.5, "floor": 0.2}),
        (Guided, {"slots": 200}),
        (Guided, {"slots": 200, "scheduler": "priority"}),
    ],
)
def test_every_exploration_and_encoder(observe, exploration, args):
    options = {"observe": observe, "exploration": exploration, "exploration_args": args}
    play_both(*RULES["ats"], 150, True, **options)


def test_a_duel_among_afterstates():
    options = {"observe": AFTERSTATES, "exploration": Duel, "exploration_args": QUICK_DUEL}
    play_both(*RULES["ats"], 300, True, **options)


@pytest.mark.parametrize("servers", [1, 3, 64])
@pytest.mark.parametrize("n_step", [1, 3])
def test_any_number_of_servers_and_steps_across_chunks(servers, n_step):
    """Jobs are drawn for 1,024 slots at a time."""
    play_both(*RULES["ats"], 1100 if servers < 64 else 1030, True, servers=servers, n_step=n_step)


@pytest.mark.parametrize(
    "env",
    [
        {"training_job": {"slots": 3, "share": 0.5, "mode": "backfill"}},
        {"training_job": {"slots": 2, "mode": "pause"}},
        {"capacity": [10, 10], "load": 0.4, "classes": TWO_KINDS},
    ],
)
@pytest.mark.parametrize("observe", [{}, AFTERSTATES])
def test_every_mode_of_training_jobs(env, observe):
    play_both(
        *RULES["ats"], 200, True, env=env, observe=observe, exploration=Greedy, exploration_args={}
    )


def test_a_stretch_goes_on_where_a_stored_one_ended():
    straight, stored = (runner_of(*RULES["ats"]) for _ in range(2))
    fragments(straight, 700, True)
    fragments(stored, 333, True)
    resumed = runner_of(*RULES["ats"])
    resumed.set_play_state(stored.get_play_state())
    assert resumed.plays == COMPILED
    fragments(resumed, 700, True)
    states = [runner.get_play_state() for runner in (straight, resumed)]
    for state in states:
        del state["exploration"], state["reported"]
    equal(*states)


class Cautious(Reservation):
    """A rule of a user's that is built on one of ours, and starts nothing."""

    def select(self, batch):
        return np.zeros(batch.num_servers, np.int64)


class Telling(PTS):
    """A gate of a user's that is built on one of ours, and gives a reason."""

    def reasons(self):
        return {"because": np.ones(self.num_servers, bool)}


class Paying(PTS):
    """... and whose training jobs do not all pay."""

    def credits(self, completed):
        return np.zeros_like(completed)


class OtherQ(AfterstateQ):
    """A way to act of a user's that is built on one of ours."""


def test_what_is_built_on_ours_is_not_taken_for_it():
    options = {"exploration": Guided, "exploration_args": {"scheduler": f"{__name__}:Cautious"}}
    runner = runner_of(*RULES["pts"], **options)
    assert runner.plays.startswith("slot by slot: exploration ")
    assert not runner.sample(num_slots=200).transitions.actions.any()
    for gate, asked in ((Telling, {"because"}), (Paying, set())):
        runner = runner_of(gate, {"period": 9})
        assert runner.plays.startswith(f"slot by slot: gate {__name__}:{gate.__name__}")
        fragment = runner.sample(num_slots=200)
        assert runner.requests.keys() == asked
        assert fragment.credits.any() == (gate is Telling)
    assert runner_of(Telling, {"period": 9}).requests == {"because": 0}
    runner = runner_of(*RULES["pts"], observe=AFTERSTATES)
    runner._q.__class__ = OtherQ
    assert runner._q.compiled_network is None


@pytest.mark.parametrize("name", ["ats", "always"])
def test_the_kind_that_is_asked_for_and_the_end_of_training(name):
    """Of two kinds the second; none is asked for in slot 150, in which some of 16 servers could."""
    kinds = [{"name": "a", "share": 0.5}, {"name": "b", "slots": 3}]
    gating = {"training_kind": 1, "updates_per_job": [2, 2], "train_until": 150}
    options = {"env": {"training_job": kinds}, "gating": gating, "servers": 16}
    runner = play_both(*RULES[name], 400, True, **options)
    jobs = runner.env.servers.tally.training_jobs.sum(axis=0)
    assert (jobs[0], jobs[1] > 3) == (0, True)
    assert runner.env.servers.since_training.min() > 200


class NotBefore(TrainingGateCallback):
    """No training job before slot 100."""

    def allow_training(self, env_runner, view):
        return view.slot >= 100


@pytest.mark.parametrize(
    ("why", "options"),
    [
        ("callback NotBefore is asked", {"callback": NotBefore}),
        ("exploration mec_rllib.rl.exploration:Boltzmann", {"exploration": Boltzmann}),
        ("gate mec_rllib.gates.ats:ATS is Python", {"gate_args": {"ties": "random"}}),
    ],
)
def test_whoever_has_a_say_in_every_slot_is_named(why, options):
    gate_args = options.pop("gate_args", {})
    runner = runner_of(ATS, gate_args, exploration_args={}, **options)
    assert runner.plays.startswith(f"slot by slot: {why}")
    fragments(runner, 150, True)


class NoUpdates(TrainingGateCallback):
    """Training jobs run, and nothing is learned."""

    def allow_updates(self, algorithm, requested, credits):
        return np.zeros_like(credits)


class Half(TrainingGateCallback):
    """Half of what is paid for."""

    def allow_updates(self, algorithm, requested, credits):
        return super().allow_updates(algorithm, requested, credits) // 2


@pytest.mark.ray
@pytest.mark.parametrize("observe", [{}, AFTERSTATES])
@pytest.mark.parametrize("callback", [TrainingGateCallback, NoUpdates, Half, NotBefore])
def test_whatever_the_callback_allows_the_agent_ends_as_slot_by_slot(cluster, observe, callback):
    gate, gate_args = RULES["ats"]
    ends = []
    for asked in (gate, in_python(gate)):
        config = config_of(asked, gate_args, observe=observe, callback=callback, n_step=3)
        algorithm = config.acting(slots_per_iteration=900).build_algo()
        before = parameters(algorithm)
        algorithm.train()
        if callback is NoUpdates:
            equal(before, parameters(algorithm), "vetoed")
        else:
            assert algorithm.learner_updates > 10
        counts = algorithm.updates, algorithm.vetoed_updates, algorithm.training_slots
        ends.append((parameters(algorithm), algorithm.replay.get_state(), counts))
        algorithm.stop()
    equal(*ends)


def parameters(algorithm):
    """Of all networks, and what Adam knows."""
    (adam,) = algorithm.learner_group.foreach_learner(
        lambda learner: learner.get_optimizer().state_dict()["state"]
    )
    network = algorithm.get_module().state_dict()
    state = [adam.get()[k][name].numpy().copy() for k in adam.get() for name in adam.get()[k]]
    return [{name: values.numpy().copy() for name, values in network.items()}, state]


def test_without_numbas_compiler_it_is_the_same():
    code = (
        "import sys; sys.path[:0] = ['tests/rl', 'tests/helpers']\n"
        "import test_stretches as t\n"
        "t.play_both(*t.RULES['ats'], 130, True, servers=2)\n"
        "t.play_both(*t.RULES['budget'], 60, True, observe=t.AFTERSTATES, servers=1)\n"
    )
    env = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-c", code], env=env, check=True)
