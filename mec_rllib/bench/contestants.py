"""Who is measured: each function warms up and returns a player that plays slots when asked.

Runs in a process of its own (`mec_rllib.bench.worker`), on one thread. A peer that is not
installed raises ImportError. Every contestant plays the reference workload at load 0.3.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mec_rllib.bench.clock import Player
from mec_rllib.bench.free_updates import EverySlots
from mec_rllib.envs.vector import MecVectorEnv
from mec_rllib.gates.periodic import FOR_EVER

HIDDEN, BATCH, REPLAY, WARM_UP = [64, 64], 32, 65_536, 1_000
ATS_SLOTS = 4_000  # of each server: so long that bursts of training do not matter


class Schedule(NamedTuple):
    """`updates` after every `slots` slots of all servers together."""

    slots: int
    updates: int


# `ats` asks for about one training job of 32 updates per 100 slots; peers get that, unpaid.
SCHEDULES = {
    "ats": Schedule(100, 32),
    "never": Schedule(100, 0),
    "1 per 100 slots": Schedule(100, 1),
    "1 per 4 slots": Schedule(4, 1),
    "1 per slot": Schedule(1, 1),
}


def kernel(servers: int) -> Player:
    """Slots of the compiled kernel under SJF, jobs drawn on the way."""
    from mec_rllib.envs.config import EnvConfig
    from mec_rllib.schedulers import SCHEDULERS, run

    batch = EnvConfig().build_servers(servers, 0)
    sjf = SCHEDULERS["sjf"]()
    slots = max(100_000 // servers, 20)

    def play() -> int:
        run(batch, sjf, slots)
        return slots * servers

    return Player(play)


def plain_python(servers: int) -> Player:
    """Slots of the plain Python environment in Gymnasium's SyncVectorEnv, under SJF."""
    from gymnasium.vector import SyncVectorEnv

    from mec_rllib.envs.reference_env import MecReferenceEnv

    # Gymnasium calls every factory with no argument: the index is bound here.
    env = SyncVectorEnv([lambda index=index: MecReferenceEnv(index) for index in range(servers)])
    env.reset(seed=0)

    def shortest(server: Any) -> int:
        allowed = server.mask()
        rows = [row for row, job in enumerate(server.waiting) if allowed[row + 1]]
        return 1 + min(rows, key=lambda row: server.waiting[row].execution) if rows else 0

    def play() -> int:
        env.step(np.array([shortest(one.server) for one in env.envs]))
        return servers

    return Player(play)


def gated_dqn(
    servers: int,
    schedule: str = "ats",
    runners: int = 0,
    buffer: int = 10,
    capacity: int = REPLAY,
    warm_up: int = 4 * WARM_UP,
) -> Player:
    """Training slots of this project, after `warm_up` slots that fill the replay."""
    from mec_rllib.rl.dqn.algorithm import GatedDQNConfig

    own = schedule in ("ats", "never")  # gates of ours
    config = (
        GatedDQNConfig()
        .environment(env_config={"buffer": buffer})
        .env_runners(num_env_runners=runners, num_envs_per_env_runner=servers)
        .gating(
            gate=schedule if own else EverySlots,
            gate_args={} if own else {"slots": SCHEDULES[schedule].slots},
            updates_per_job=32 if own else 1,
        )
        .replay(capacity=capacity, learning_starts=WARM_UP)
    )
    algorithm = config.build_algo()
    algorithm.slots_per_iteration = warm_up
    algorithm.train()
    algorithm.slots_per_iteration = max(200, servers)

    def play() -> int:
        before = algorithm.slots
        algorithm.training_step()
        return algorithm.slots - before

    plays = "" if runners else algorithm.env_runner.plays
    # The servers share a network: under ats all of them train a lot for a while, then hardly.
    least_slots = ATS_SLOTS * min(servers, 64) if schedule == "ats" else 0
    return Player(play, lambda: algorithm.learner_updates, bool(runners), plays, least_slots)


def rllib_dqn(servers: int, schedule: str) -> Player:
    """Training slots of RLlib's own DQN (new API stack, prioritized episode replay)."""
    from ray.rllib.algorithms.dqn import DQNConfig

    from mec_rllib.envs.registration import ENV_ID

    slots, updates = _in_fleet(SCHEDULES[schedule], servers)
    config = (
        DQNConfig()
        .environment(ENV_ID)
        .env_runners(
            num_env_runners=0,
            num_envs_per_env_runner=servers,
            gym_env_vectorize_mode="vector_entry_point",
            rollout_fragment_length=slots // servers,
        )
        .rl_module(model_config={"fcnet_hiddens": HIDDEN, "fcnet_activation": "relu"})
        .training(
            train_batch_size_per_learner=BATCH,
            training_intensity=BATCH * updates / slots if updates else None,
            num_steps_sampled_before_learning_starts=WARM_UP if updates else FOR_EVER,
            replay_buffer_config={"type": "PrioritizedEpisodeReplayBuffer", "capacity": REPLAY},
            double_q=True,
            dueling=False,
            num_atoms=1,
            n_step=1,
            noisy=False,
        )
        .reporting(min_sample_timesteps_per_iteration=0, min_time_s_per_iteration=None)
    )
    algorithm = config.build_algo()
    done = {"slots": 0, "updates": 0}
    _count(algorithm.env_runner, "sample", lambda: done.update(slots=done["slots"] + slots))
    learner = algorithm.learner_group._learner
    _count(learner, "update", lambda: done.update(updates=done["updates"] + 1))

    def play() -> int:
        before = done["slots"]
        algorithm.training_step()
        return done["slots"] - before

    while done["slots"] < 2 * WARM_UP:
        play()
    return Player(play, lambda: done["updates"])


def sb3_native(servers: int, schedule: str) -> Player:
    """Training slots of stable-baselines3 DQN, the N servers behind its VecEnv interface."""
    from mec_rllib.bench.sb3_env import FleetVecEnv

    return _sb3(FleetVecEnv(MecVectorEnv(servers)), servers, schedule)


def sb3_dummy(servers: int, schedule: str) -> Player:
    """Training slots of stable-baselines3 DQN over its DummyVecEnv of single servers."""
    from stable_baselines3.common.vec_env import DummyVecEnv

    from mec_rllib.envs.mec_env import MecEnv

    env = DummyVecEnv([lambda index=index: MecEnv(index) for index in range(servers)])
    return _sb3(env, servers, schedule)


def _sb3(env: Any, servers: int, schedule: str) -> Player:
    import torch
    from stable_baselines3 import DQN

    return _like_sb3(DQN, torch.nn.ReLU, env, servers, schedule)


def sbx(servers: int, schedule: str) -> Player:
    """Training slots of sbx's DQN: stable-baselines3 with its updates in JAX."""
    import jax
    from sbx import DQN

    from mec_rllib.bench.sb3_env import FleetVecEnv

    return _like_sb3(DQN, jax.nn.relu, FleetVecEnv(MecVectorEnv(servers)), servers, schedule)


def _like_sb3(dqn: Any, activation: Any, env: Any, servers: int, schedule: str) -> Player:
    slots, updates = _in_fleet(SCHEDULES[schedule], servers)
    model = dqn(
        "MlpPolicy",
        env,
        learning_rate=5e-4,
        buffer_size=REPLAY,
        learning_starts=WARM_UP,
        batch_size=BATCH,
        gamma=0.95,
        train_freq=slots // servers,
        gradient_steps=updates,
        target_update_interval=1_000,
        policy_kwargs={"net_arch": HIDDEN, "activation_fn": activation},
        device="cpu",
    )
    chunk = max(400, slots)
    model.learn(max(2 * WARM_UP, 2 * chunk))

    def play() -> int:
        before = model.num_timesteps
        model.learn(chunk, reset_num_timesteps=False)
        return model.num_timesteps - before

    return Player(play, lambda: model._n_updates)


def jax_loop(servers: int, schedule: str) -> Player:
    """Training slots of a whole JAX program: world, replay and updates in one compiled loop."""
    import jax

    from mec_rllib.bench import jax_loop as loop

    slots, updates = _in_fleet(SCHEDULES[schedule], servers)
    calls = max(WARM_UP // (loop.STEPS * servers), 1)
    program = loop.program(slots // servers, updates, calls)
    state = program(loop.first_state(servers))

    def play() -> int:
        nonlocal state
        state = jax.block_until_ready(program(state))
        return calls * loop.STEPS * servers

    # Every update takes one step of Adam.
    return Player(play, lambda: int(state.agent.adam[0].count))


def _in_fleet(schedule: Schedule, servers: int) -> Schedule:
    """The same rate, counted in whole slots of all servers."""
    times = servers // np.gcd(schedule.slots, servers)
    return Schedule(schedule.slots * int(times), schedule.updates * int(times))


def _count(owner: Any, method: str, note: Callable[[], None]) -> None:
    """Calls `note` whenever this method of an object is called."""
    call = getattr(owner, method)

    def counted(*args: Any, **kwargs: Any) -> Any:
        note()
        return call(*args, **kwargs)

    setattr(owner, method, counted)


CONTESTANTS: dict[str, Callable[..., Player]] = {
    "kernel": kernel,
    "plain Python": plain_python,
    "mec-rllib": gated_dqn,
    "JAX loop": jax_loop,
    "sbx": sbx,
    "RLlib DQN": rllib_dqn,
    "SB3 native": sb3_native,
    "SB3 DummyVecEnv": sb3_dummy,
}
