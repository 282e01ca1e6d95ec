"""The lean environment runner: acts, asks the gate, and hands flat transitions back.

Stock sampling builds an episode object per server and a connector call per slot; measured, that
is the bottleneck. This runner keeps RLlib's runner contract (module, weights, remote actors) and
replaces the sampling loop.
"""

import copy
import logging
from typing import Any

import numpy as np
from ray.rllib.callbacks.utils import make_callback
from ray.rllib.env.env_context import EnvContext
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

from mec_rllib.envs.config import EnvConfig
from mec_rllib.envs.observation import Observations
from mec_rllib.envs.vector import build_vector_env
from mec_rllib.envs.world import WorldVectorEnv
from mec_rllib.gates import GateView, TDStatistic
from mec_rllib.lookup import seeded
from mec_rllib.rl.exploration import Greedy
from mec_rllib.rl.gating import runner_gate, view_of
from mec_rllib.rl.messages import Fragment, Report, Transitions
from mec_rllib.rl.modules import acting_function
from mec_rllib.rl.replay.n_step import NStep
from mec_rllib.rl.stretches import Stretch, first_memory, stretch_of
from mec_rllib.sim.jobs import Bools, Floats, Ints
from mec_rllib.sim.streams import Purpose, generator
from mec_rllib.sim.training_jobs import NO_KIND

logger = logging.getLogger(__name__)


class MecEnvRunner(SingleAgentEnvRunner):
    """Plays N servers with one module and one gate."""

    env: WorldVectorEnv

    def __init__(self, *, config: Any, **kwargs: Any):
        super().__init__(config=config, **kwargs)
        if self.env is None:  # the local runner beside remote ones: keeps a module, samples nothing
            return
        self._gating = runner_gate(self._callbacks)
        self._rng = generator(config.seed, Purpose.ACTING, self._index)
        self._td = TDStatistic(self.num_envs, config.td_rate)
        self._n_step = NStep(config.n_step, config.gamma)
        self._exploration: Greedy = seeded(config.exploration, config.exploration_args, config.seed)
        chooses, kinds = self._gating.gate.chooses_kind, self.env.servers.kinds
        # That the gate is asked about, each with a psi of its own.
        self._kinds = list(range(kinds)) if chooses else [config.training_kind or 0]
        self._no_psi = np.full((self.num_envs, kinds) if chooses else self.num_envs, np.nan)
        rows = (1 + len(self._kinds)) * self.num_envs
        self._rows = np.empty((rows, self.env.encoder.size), np.float32)
        obs, _ = self.env.reset(seed=config.seed)
        reasons = len(self._gating.gate.reasons())
        self._memory = first_memory(obs, self._td.averages, kinds, reasons)
        # Discount of the value of the state that the last slot led to: 0 where an episode ended.
        self._last_discount: Any = config.gamma
        self._second: Any = None  # opinion, and what its network acts with
        self._pricer: Any = None  # says what a training job costs
        self._room = self._empty_rows(0)
        if config.imagines:
            self.env.servers.recording = True
        self._reported = self.env.totals()
        self._reported -= self._reported  # the jobs of slot 0 belong to the first fragment
        self.use_module(self.module)

    @property
    def _index(self) -> int:
        """Place among the runners that sample: 0 for the local one and the first remote one."""
        return max((self.worker_index or 0) - 1, 0)

    def make_env(self) -> None:
        """Builds the N servers; runner k owns the servers k * N and up."""
        servers = self.config.num_envs_per_env_runner
        self.env = build_vector_env(
            EnvConfig.model_validate(self.config.env_config),
            servers,
            first_index=self._index * servers,
            observe=self.config.observe,
        )
        self.num_envs = servers
        make_callback(
            "on_environment_created",
            callbacks_objects=self._callbacks,
            callbacks_functions=self.config.callbacks_on_environment_created,
            kwargs={
                "env_runner": self,
                "metrics_logger": self.metrics,
                "env": self.env,
                "env_context": EnvContext(self.config.env_config, self.worker_index),
            },
        )

    def use_module(self, module: Any) -> None:
        """Acts with this module from now on; the local runner is given the learner's own."""
        self.module = module
        self._q = acting_function(module)
        self._stretch = stretch_of(self)
        logger.info("%s", self.plays)

    def use_second_opinion(self, second: Any) -> None:
        """Compares psi with that of a `SecondOpinion` from now on."""
        self._second = second, acting_function(second.module)

    def use_pricer(self, pricer: Any) -> None:
        """Asks who says what a training job costs, slot by slot, from now on."""
        self._pricer = pricer

    @property
    def lifetime_slots(self) -> int:
        """Slots that all runners together have played, if the others play as fast as this one."""
        return self.env.servers.slot * self.config.num_servers

    def sample(self, *, num_slots: int, until_credit: bool = False, **kwargs: Any) -> Fragment:
        """Plays up to `num_slots` slots of every server.

        Args:
            num_slots: slots per server.
            until_credit: return as soon as a training job is paid for, so that the learner can
                train right after it.
            **kwargs: RLlib's other arguments; not used.
        """
        rows, ends = self._room_for(num_slots), self._no_ends(num_slots)
        earned = np.zeros(num_slots, np.int64)  # credits, by slot
        self._memory.credits[:] = 0  # a call that failed may have left some
        start = self.env.servers.slot
        if isinstance(self._stretch, Stretch):
            played = self._stretch.play(rows, earned, until_credit)
        else:
            played = self._play_slots(rows, ends, earned, until_credit)
        complete = self._n_step.extend(
            Transitions._make(column[:played].copy() for column in rows),
            ends if ends is None else ends[:played],
        )
        credits, completions = self._exploration.settle(self._memory.credits.copy()), list[int]()
        if self._gating.gate.occupies:
            completions = np.repeat(np.arange(start, start + played), earned[:played]).tolist()
        arrivals = self.env.servers.take_arrivals() if self.config.imagines else None
        slots = played * self.num_envs
        return Fragment(complete.flat(), slots, credits, arrivals, completions)

    def psi(self) -> Floats:
        """(N,), or (N, J) for a gate that chooses: what a training job now is worth, in Q."""
        q, q_flagged = self._q_with_and_without_flag(self._memory.obs)
        return self._psi(q_flagged, self._q.values(q, self.env.servers.mask))

    @property
    def requests(self) -> dict[str, int]:
        """Training jobs asked for so far, by the gate's reasons."""
        counts = self._memory.requests.tolist()
        return dict(zip(self._gating.gate.reasons(), counts, strict=True))

    @property
    def plays(self) -> str:
        """Who plays: "compiled stretches", or why it is slot by slot."""
        is_compiled = isinstance(self._stretch, Stretch)
        return "compiled stretches" if is_compiled else f"slot by slot: {self._stretch}"

    def take_report(self) -> Report:
        """Everything since the last report. Asked for in the call that samples: both or none."""
        totals = self.env.totals()
        window, self._reported = totals - self._reported, totals
        exploration = self._exploration.metrics(self.lifetime_slots)
        return Report(window, self._gate_metrics(), exploration)

    def get_play_state(self) -> dict[str, Any]:
        """Everything but the network: servers, gate, TD statistic, generator, what is half done."""
        return {
            "servers": self.env.servers.get_state(),
            "gate": self._gating.get_state(),
            "requests": self.requests,
            "td": self._td.get_state(),
            "exploration": copy.deepcopy(self._exploration),
            "n_step": self._n_step.get_state(),
            "rng": self._rng.bit_generator.state,
            "last_q": self._memory.last_q.copy(),
            "last_reward": self._memory.last_reward.copy(),
            "last_discount": copy.copy(self._last_discount),
            "obs": self._memory.obs.copy(),
            "reported": self._reported,
        }

    def set_play_state(self, state: dict[str, Any]) -> None:
        """Takes over what `get_play_state` of a runner with the same config returned."""
        self.env.servers.set_state(state["servers"])
        self._gating.set_state(state["gate"])
        self._memory.requests[:] = list(state["requests"].values())
        self._td.set_state(state["td"])
        self._exploration = copy.deepcopy(state["exploration"])
        self._n_step.set_state(state["n_step"])
        self._rng.bit_generator.state = state["rng"]
        for name in ("last_q", "last_reward", "obs"):
            getattr(self._memory, name)[:] = state[name]
        self._last_discount = copy.copy(state["last_discount"])
        self._stretch = stretch_of(self)  # the exploration is another object
        self._reported = state["reported"]

    def _play_slots(
        self, rows: Transitions, ends: Bools | None, earned: Ints, until_credit: bool
    ) -> int:
        """Slot by slot, up to the length of the rows; returns how many were played."""
        for k in range(len(earned)):
            earned[k] = self._play_slot(*(column[k] for column in rows))
            if ends is not None:
                ends[k] = self._end_episodes(rows, k)
            if until_credit and earned[k]:
                return k + 1
        return len(earned)

    def _play_slot(
        self,
        obs: Observations,
        actions: Ints,
        rewards: Floats,
        next_obs: Observations,
        next_mask: Bools,
        discounts: Floats,
        mask: Bools,
    ) -> int:
        """One slot of every server, written into the rows given; returns the credits earned."""
        servers, memory = self.env.servers, self._memory
        obs[:] = memory.obs
        self._exploration.look(servers, self._q)
        self._exploration.prepare(self._q, self._rng)
        q = self._gate_beat(obs)
        if self.config.on_policy:
            mask[:] = servers.mask
        actions[:] = self._exploration.choose(q, servers, self.lifetime_slots, self._rng)
        rewards[:] = memory.last_reward[:] = servers.step(actions) / servers.reward_scale
        next_obs[:] = memory.obs[:] = self.env.encoder.encode()
        next_mask[:] = servers.mask
        memory.last_q[:] = self._q.values_taken(q, actions)
        return self._earn()

    def _earn(self) -> int:
        """Credits of this slot, which are noted for their kind."""
        gate, completed = self._gating.gate, self.env.servers.completed
        if not gate.occupies:
            return self._granted  # noted when it was granted
        if (completed == NO_KIND).all():
            return 0
        kinds = completed[gate.credits(completed != NO_KIND)]
        credits = self._memory.credits
        credits += np.bincount(kinds, minlength=len(credits))
        return len(kinds)

    def _end_episodes(self, rows: Transitions, slot: int) -> Bools:
        """Where an episode ended in this slot (N,), the transition leads to its end, not on."""
        world = self.env.servers
        rows.next_obs[slot][world.ended] = world.reached[world.ended]
        rows.next_mask[slot][world.ended] = True
        rows.discounts[slot][world.terminated] = 0.0
        self._last_discount = rows.discounts[slot].copy()
        # What a truncated episode would have been worth is not looked up: no TD error there.
        self._memory.last_q[world.ended & ~world.terminated] = np.nan
        return world.ended.copy()

    def _gate_beat(self, obs: Observations) -> Observations:
        """Asks the gate, inserts training jobs, renews `obs` then; returns Q (N, M + 1)."""
        servers, gate = self.env.servers, self._gating.gate
        psi = self._no_psi
        if gate.needs_psi:
            q, q_flagged = self._q_with_and_without_flag(obs)
            value = self._note_td_error(q)
            psi = self._psi(q_flagged, value)
            if self._second is not None:
                self._ask_for_a_second_opinion(psi)
        else:
            q = self._q(obs)
            if gate.needs_td:
                self._note_td_error(q)
        if self._pricer is not None:
            self._pricer.look(obs, servers.can_ask)
        kinds = self._gating.want_training(self, self._view(psi))
        wanted = kinds != NO_KIND
        self._granted = 0 if gate.occupies else self._train_for_free(wanted, kinds)
        if gate.occupies and wanted.any():
            self._count_requests(wanted)
            servers.request_training(kinds)
            obs[:] = self.env.encoder.encode()
            if gate.needs_psi:
                for kind, flagged in zip(self._kinds, q_flagged, strict=True):
                    waits = servers.training_waiting & (servers.training_kind == kind)
                    q = np.where(waits[:, None], flagged, q)
            else:
                q = self._q(obs)
        return q

    def _train_for_free(self, wanted: Bools, kinds: Ints) -> int:
        """Training jobs that hold nothing and complete at once; returns their credits."""
        if not wanted.any():
            return 0
        self._count_requests(wanted)
        credits, servers = self._memory.credits, self.env.servers
        credits += np.bincount(kinds[wanted], minlength=len(credits))
        servers.since_training[wanted] = 0
        servers.since_kind[wanted, kinds[wanted]] = 0
        return int(wanted.sum())

    def _ask_for_a_second_opinion(self, psi: Floats) -> None:
        """Of the slot whose rows, with and without the flag, are those of now."""
        (second, asked), world, n = self._second, self.env.servers, self.num_envs
        q = asked(self._rows)
        mask = world.mask_with_training(self._kinds[0])
        second.note(psi, asked.values(q[n:], mask) - asked.values(q[:n], world.mask), world.can_ask)

    def _count_requests(self, wanted: Bools) -> None:
        """Where no training job waits or runs one is inserted: notes why it was asked for."""
        inserted = wanted & self.env.servers.can_ask
        if not inserted.any():
            return
        for k, where in enumerate(self._gating.gate.reasons().values()):
            self._memory.requests[k] += (where & inserted).sum()

    def _note_td_error(self, q: Observations) -> Floats:
        """V (N,) of the state that the slot before led to, as it was before the gate's beat."""
        value, memory = self._q.values(q, self.env.servers.mask), self._memory
        memory.td_error[:] = memory.last_reward + self._last_discount * value - memory.last_q
        self._td.update(memory.td_error, value)
        return value

    def _q_with_and_without_flag(
        self, obs: Observations
    ) -> tuple[Observations, list[Observations]]:
        """Q (N, M + 1) as it is, and as if a training job of each kind waited; in one pass."""
        n = len(obs)
        self._rows[:n] = obs
        for k, kind in enumerate(self._kinds, start=1):
            self._rows[k * n : (k + 1) * n] = self.env.encoder.encode_flagged(obs, kind)
        q = self._q(self._rows)
        return q[:n], [q[k * n : (k + 1) * n] for k in range(1, len(self._kinds) + 1)]

    def _psi(self, q_flagged: list[Observations], value: Floats) -> Floats:
        """(N,), or (N, J) for a gate that chooses: what a training job now is worth, in Q."""
        world = self.env.servers
        psi = [
            self._q.values(q, world.mask_with_training(kind)) - value
            for kind, q in zip(self._kinds, q_flagged, strict=True)
        ]
        return np.stack(psi, axis=1) if self._gating.gate.chooses_kind else psi[0]

    def _view(self, psi: Floats) -> GateView:
        return view_of(
            self.env.servers,
            self._gating.gate,
            psi=psi,
            td_statistic=self._td.ratio,
            rng=self._rng,
            td_error=self._memory.td_error,
            reward=self._memory.last_reward,
            agreement=None if self._second is None else self._second[0].agreement,
            price=None if self._pricer is None else self._pricer.price,
        )

    def _gate_metrics(self) -> dict[str, float]:
        gate = self._gating.gate
        figures = dict(gate.metrics())
        if gate.needs_psi or gate.needs_td:
            figures["td_statistic"] = float(np.minimum(self._td.ratio, 1e3).mean())
        if self._pricer is not None:
            figures["price_updates"] = float(self._pricer.updates)
        if self._second is not None:
            second, _ = self._second
            figures["second_updates"] = float(second.updates)
            if np.isfinite(second.agreement).any():
                figures["agreement"] = float(np.nanmean(second.agreement))
        return figures

    def _room_for(self, slots: int) -> Transitions:
        """Columns of shape (slots, N, ...), the same memory in every call."""
        if len(self._room.actions) < slots:
            self._room = self._empty_rows(slots)
        if self.env.servers.has_episodes:
            self._room.discounts[:] = self.config.gamma
        return Transitions._make(column[:slots] for column in self._room)

    def _empty_rows(self, slots: int) -> Transitions:
        """Columns of shape (slots, N, ...)."""
        n, size, actions = self.num_envs, self.env.encoder.size, self.env.servers.mask.shape[1]
        return Transitions(
            np.empty((slots, n, size), np.float32),
            np.empty((slots, n), np.int64),
            np.empty((slots, n), np.float32),
            np.empty((slots, n, size), np.float32),
            np.empty((slots, n, actions), bool),
            np.full((slots, n), self.config.gamma),
            np.empty((slots, n, actions if self.config.on_policy else 0), bool),
        )

    def _no_ends(self, slots: int) -> Bools | None:
        """(slots, N) for where episodes end; None in a continuing task."""
        has_episodes = self.env.servers.has_episodes
        return np.zeros((slots, self.num_envs), bool) if has_episodes else None
