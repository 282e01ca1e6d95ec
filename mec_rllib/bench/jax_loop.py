"""The reference world and its DQN as one JAX program: no Python between two slots or updates.

An opponent for `bench`, written from the design and not from our kernels: servers, observation,
network and updates of the paper's agent, without training jobs. Its replay is uniform where ours
is prioritized, which is less work. What a few hundred slots need to have drawn is drawn at once.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax, random

from mec_rllib.sim.jobs import REFERENCE_CLASSES
from mec_rllib.sim.workloads import BernoulliWorkload

C, M, USERS, LOAD = 10, 10, 20, 0.3  # units, rows of the buffer
LONGEST, MOST_SLACK, MOST_WEIGHT = 25, 120, 4.0  # of the reference classes
EXECUTION, UNITS, SLACK, WEIGHT, WAIT = range(5)  # columns of a job
ROWS, FEATURES = np.arange(M), 4 * M + 2
STEPS = 200  # slots that are drawn for at once
JOBS = 128  # drawn for them; 25 arrive on average, so many only 20 standard deviations above
HIDDEN, BATCH, GAMMA, TAU, REPLAY = 64, 32, 0.95, 0.005, 65_536
START, FLOOR, DECAY_SLOTS = 1.0, 0.1, 87_500  # of epsilon
ADAM = optax.adam(5e-4)


class Server(NamedTuple):
    """One server; N of them by `jax.vmap`."""

    jobs: Array  # (M, 5) that wait, first come first; the other rows are zero
    waiting: Array  # () how many wait
    used: Array  # () units
    releases: Array  # (LONGEST,) units given back at the end of this slot, the next, ...


class Stream(NamedTuple):
    """Jobs to come."""

    jobs: Array  # (jobs, 5), by arrival
    worth: Array  # (jobs + 1,) sum of the weights before each of them


class Agent(NamedTuple):
    """What learns."""

    network: Any  # [(weights, bias), ...]
    target: Any
    adam: Any  # Adam's state


class Memory(NamedTuple):
    """Ring of T slots of N servers; what a slot leads to stands in the row after it."""

    obs: Array  # (T, N, FEATURES)
    mask: Array  # (T, N, M + 1)
    action: Array  # (T, N)
    reward: Array  # (T, N)


def stream_of(jobs: Array) -> Stream:
    """The stream of these jobs (jobs, 5)."""
    return Stream(jobs, jnp.append(0.0, jnp.cumsum(jobs[:, WEIGHT])))


def empty() -> Server:
    """A server before its first arrivals."""
    return Server(jnp.zeros((M, 5)), jnp.int32(0), jnp.float32(0), jnp.zeros(LONGEST))


def allowed(server: Server) -> Array:
    """(M + 1,) start nothing, or a job that fits."""
    fits = (server.waiting > ROWS) & (server.jobs[:, UNITS] <= C - server.used)
    return jnp.append(True, fits)


def observe(server: Server) -> Array:
    """(FEATURES,) as in `mec_rllib.envs.observation`; no training job ever waits."""
    execution, units, slack, _, wait = server.jobs.T
    row = (
        jnp.log1p(execution) / np.log1p(LONGEST),
        units / C,
        jnp.log1p(wait) / np.log1p(MOST_SLACK),
        jnp.log1p(execution + slack) / np.log1p(LONGEST + MOST_SLACK),
    )
    return jnp.concatenate([jnp.stack(row, 1).ravel(), server.used[None] / C, jnp.zeros(1)])


def play_slot(
    server: Server, action: Array, stream: Stream, first: Array, arrivals: Array
) -> tuple[Server, Array]:
    """Decide, serve, expire, and the arrivals of the next slot: the server then, and its reward.

    Args:
        server: before.
        action: () row of a job + 1; 0, or what is not allowed, starts nothing.
        stream: where jobs come from.
        first: () the job of the stream that arrives next.
        arrivals: () how many arrive in the next slot.
    """
    jobs = server.jobs
    starts = (action - 1 == ROWS) & allowed(server)[1:]
    satisfaction = 1.0 - 0.5 * jobs[:, WAIT] / (jobs[:, SLACK] + 1.0)
    reward = jnp.sum(starts * jobs[:, WEIGHT] * satisfaction)
    units, slots = jnp.sum(starts * jobs[:, UNITS]), jnp.sum(starts * jobs[:, EXECUTION])
    releases = server.releases + units * (np.arange(LONGEST) == slots - 1)
    used, releases = server.used + units - releases[0], jnp.append(releases[1:], 0.0)
    waits = (server.waiting > ROWS) & ~starts
    expires = waits & (jobs[:, WAIT] + 1 > jobs[:, SLACK])
    reward -= jnp.sum(expires * jobs[:, WEIGHT])
    place = jnp.cumsum(waits & ~expires)
    left = place[-1]
    enter = jnp.minimum(arrivals, M - left)
    reward -= stream.worth[first + arrivals] - stream.worth[first + enter]  # who finds it full
    moved = jobs.at[:, WAIT].add(1.0)[jnp.sum(place <= ROWS[:, None], axis=1)]
    arrived = stream.jobs[first + ROWS - left]
    row = ROWS[:, None]
    jobs = jnp.where(row < left, moved, jnp.where(row < left + enter, arrived, 0.0))
    return Server(jobs, left + enter, used, releases), reward / MOST_WEIGHT


def draw_jobs(key: Array) -> tuple[Stream, Array, Array]:
    """A stream, and of each slot (STEPS,) the first job that arrives and how many do."""
    mix = np.array([c.mix for c in REFERENCE_CLASSES])
    ranges = [(*c.execution, *c.resources[0], *c.slack) for c in REFERENCE_CLASSES]
    fire = BernoulliWorkload(REFERENCE_CLASSES, LOAD, (C,), USERS).job_rate(0) / USERS
    of_slots, of_classes, of_jobs = random.split(key, 3)
    arrivals = random.bernoulli(of_slots, fire, (STEPS, USERS)).sum(1)
    kind = random.choice(of_classes, len(mix), (JOBS,), p=mix / mix.sum())
    low, high = jnp.array(ranges).reshape(-1, 3, 2)[kind].transpose(2, 0, 1)  # (JOBS, 3)
    drawn = low + jnp.floor(random.uniform(of_jobs, (JOBS, 3)) * (high - low + 1))
    weight = jnp.array([c.weight for c in REFERENCE_CLASSES])[kind]
    jobs = jnp.column_stack([drawn, weight, jnp.zeros(JOBS)])
    return stream_of(jobs), jnp.cumsum(arrivals) - arrivals, arrivals


def new_agent(key: Array) -> Agent:
    """2 x 64 ReLU, its target network and its optimizer."""
    sizes = [FEATURES, HIDDEN, HIDDEN, M + 1]
    initial = jax.nn.initializers.glorot_uniform()
    keys = random.split(key, 3)
    network = [
        (initial(k, (i, o)), jnp.zeros(o))
        for k, i, o in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]
    target = jax.tree.map(jnp.copy, network)
    return Agent(network, target, ADAM.init(network))


def q_values(network: Any, obs: Array) -> Array:
    """(..., M + 1)."""
    for weights, bias in network[:-1]:
        obs = jax.nn.relu(obs @ weights + bias)
    return obs @ network[-1][0] + network[-1][1]


def learn(agent: Agent, memory: Memory, slots: Array, servers: Array) -> Agent:
    """One update on the transitions of these slots and servers (BATCH,): Double DQN, Huber."""
    rows, then = (slots, servers), ((slots + 1) % len(memory.obs), servers)
    next_obs = memory.obs[then]
    judged = jnp.where(memory.mask[then], q_values(agent.network, next_obs), -jnp.inf)
    best = judged.argmax(1)[:, None]
    value = jnp.take_along_axis(q_values(agent.target, next_obs), best, 1)[:, 0]
    goal = memory.reward[rows] + GAMMA * value
    obs, action = memory.obs[rows], memory.action[rows][:, None]

    def loss(network: Any) -> Array:
        q = jnp.take_along_axis(q_values(network, obs), action, 1)[:, 0]
        return optax.huber_loss(q, goal).mean()

    steps, adam = ADAM.update(jax.grad(loss)(agent.network), agent.adam)
    network = optax.apply_updates(agent.network, steps)
    return Agent(network, optax.incremental_update(network, agent.target, TAU), adam)


def act(agent: Agent, servers: Server, slot: Array, chance: Array) -> tuple[Array, Array, Array]:
    """Observations, masks and actions (N,), epsilon-greedy; `chance` (2, N) is uniform."""
    obs, mask = jax.vmap(observe)(servers), jax.vmap(allowed)(servers)
    best = jnp.where(mask, q_values(agent.network, obs), -jnp.inf).argmax(1)
    count = jnp.cumsum(mask, axis=1)
    any_of_them = jnp.sum(count <= jnp.floor(chance[1] * count[:, -1])[:, None], axis=1)
    decayed = FLOOR + (START - FLOOR) * jnp.exp(-5.0 * slot / DECAY_SLOTS)
    epsilon = jnp.where(slot < DECAY_SLOTS, decayed, FLOOR)
    return obs, mask, jnp.where(chance[0] < epsilon, any_of_them, best)


class State(NamedTuple):
    """All that goes on from slot to slot."""

    agent: Agent
    servers: Server  # N of them
    memory: Memory
    slot: Array  # () played by each server
    key: Array


def play(state: State, every: int, updates: int) -> State:
    """STEPS slots of every server, with so many updates after `every` slots."""
    n = len(state.servers.used)
    key, of_jobs, of_actions, of_rows = random.split(state.key, 4)
    streams, first, arrivals = jax.vmap(draw_jobs)(random.split(of_jobs, n))
    chances = random.uniform(of_actions, (STEPS, 2, n))

    def one_slot(state: State, drawn: Any) -> tuple[State, None]:
        chance, first, arrivals = drawn
        obs, mask, action = act(state.agent, state.servers, state.slot * n, chance)
        servers, reward = jax.vmap(play_slot)(state.servers, action, streams, first, arrivals)
        row = state.slot % len(state.memory.obs)
        seen = Memory(obs, mask, action, reward)
        memory = Memory._make(c.at[row].set(v) for c, v in zip(state.memory, seen, strict=True))
        return state._replace(servers=servers, memory=memory, slot=state.slot + 1), None

    def one_job(state: State, drawn: Any) -> tuple[State, None]:
        of_slots, chances = drawn
        state, _ = lax.scan(one_slot, state, of_slots)
        rows = len(state.memory.obs)
        # The newest slot has no row after it yet.
        known = jnp.minimum(state.slot - 1, rows - 1)
        slots = (state.slot - 2 - jnp.floor(chances[0] * known).astype(int)) % rows
        servers = jnp.floor(chances[1] * n).astype(int)
        update = lambda agent, rows: (learn(agent, state.memory, *rows), None)  # noqa: E731
        agent, _ = lax.scan(update, state.agent, (slots, servers))
        return state._replace(agent=agent), None

    jobs = STEPS // every
    of_slots = jax.tree.map(
        lambda column: column.reshape(jobs, every, *column.shape[1:]),
        (chances, first.T, arrivals.T),
    )
    of_updates = random.uniform(of_rows, (jobs, 2, updates, BATCH))
    state, _ = lax.scan(one_job, state._replace(key=key), (of_slots, of_updates))
    return state


def first_state(servers: int, seed: int = 0) -> State:
    """Before the first slot."""
    rows = REPLAY // servers
    key, of_agent = random.split(random.key(seed))
    return State(
        agent=new_agent(of_agent),
        servers=jax.tree.map(lambda x: jnp.broadcast_to(x, (servers, *x.shape)), empty()),
        memory=Memory(
            jnp.zeros((rows, servers, FEATURES)),
            jnp.zeros((rows, servers, M + 1), bool),
            jnp.zeros((rows, servers), int),
            jnp.zeros((rows, servers)),
        ),
        slot=jnp.int32(0),
        key=key,
    )


def program(every: int, updates: int, times: int) -> Callable[[State], State]:
    """`times` x `play`, compiled as one."""

    @partial(jax.jit, donate_argnums=0)
    def whole(state: State) -> State:
        return lax.fori_loop(0, times, lambda _, state: play(state, every, updates), state)

    return whole
