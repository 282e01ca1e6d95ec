"""GatedDQN: DQN whose learner updates have to be paid for with training jobs.

One iteration: runners play slots -> transitions go to the flat replay, completed training jobs
become credits -> the gating callback says how many updates they pay for -> the learner trains ->
weights go back to the runners.
"""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import ray
import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig, NotProvided
from ray.rllib.algorithms.dqn import DQN, DQNConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.rl_module.rl_module import RLModule, RLModuleSpec
from ray.rllib.env.env_runner_group import EnvRunnerGroup
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    LEARNER_RESULTS,
    NUM_ENV_STEPS_SAMPLED,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
)
from ray.rllib.utils.typing import StateDict

from mec_rllib.envs.registration import ENV_ID
from mec_rllib.gates import ATS, Gate
from mec_rllib.rl.afterstate_module import AfterstateModule
from mec_rllib.rl.afterstate_replay import AfterstateReplay
from mec_rllib.rl.bootstrapped import BootstrappedLearner, BootstrappedModule
from mec_rllib.rl.env_runner import Fragment, MecEnvRunner, Report
from mec_rllib.rl.exploration import Bootstrapped, EpsilonGreedy, Greedy, Noisy
from mec_rllib.rl.fleet import Fleet
from mec_rllib.rl.gating import find_gating
from mec_rllib.rl.learner import GatedDQNTorchLearner, UpdateMetrics
from mec_rllib.rl.noisy import NoisyLearner, NoisyModule
from mec_rllib.rl.policy import acting_weights
from mec_rllib.rl.replay import PrioritizedReplay
from mec_rllib.rl.rollout import Rollout
from mec_rllib.sim.totals import Sums

PLAY = "play"  # component of a checkpoint: all that training needs beside the networks
COUNTERS = ("slots", "credits", "updates", "vetoed_updates")


class GatedConfig(AlgorithmConfig):
    """What every algorithm under a gate has in its config: `gating`, `replay`, `acting`."""

    on_policy = False  # experience is used up by training

    def __init__(self, algo_class: type[Algorithm] | None = None):
        super().__init__(algo_class=algo_class)
        self.gate_class: type[Gate] = ATS
        self.gate_args: dict[str, Any] = {}
        self.updates_per_job: int | Sequence[int] = 32
        self.batch_per_job: Sequence[int] | None = None
        self.training_kind = 0
        self.train_until: int | None = None
        self.td_rate = 5e-4
        self.observe: dict[str, Any] = {}
        self.exploration: type[Greedy] = EpsilonGreedy
        self.exploration_args: dict[str, Any] = {}
        self.slots_per_iteration = 1000
        self.learning_starts = 500
        self.replay_capacity, self.replay_alpha, self.replay_beta = 65_536, 0.6, 0.5
        self.corrupt_slot: int | None = None
        self.corrupt_noise = 1.0
        self.seed = 0
        self.environment(ENV_ID, env_config={})
        self.env_runners(
            env_runner_cls=MecEnvRunner,
            num_env_runners=0,
            rollout_fragment_length=100,
            create_env_on_local_worker=False,
        )
        self.rl_module(model_config={"fcnet_hiddens": [64, 64], "fcnet_activation": "relu"})
        self.n_step = 1
        self.training(gamma=0.95, lr=5e-4, train_batch_size_per_learner=32)
        self.grad_clip = None
        # One training step is one iteration: `slots_per_iteration` is counted there.
        self.reporting(min_sample_timesteps_per_iteration=0, min_time_s_per_iteration=None)
        self._dont_auto_sync_env_runner_states = True
        # `Fleet` brings lost runners back; a run of weeks may lose many.
        self.fault_tolerance(restart_failed_env_runners=True, max_num_env_runner_restarts=10**6)

    def gating(
        self,
        *,
        gate: type[Gate] = NotProvided,
        gate_args: dict[str, Any] = NotProvided,
        updates_per_job: int | Sequence[int] = NotProvided,
        batch_per_job: Sequence[int] | None = NotProvided,
        training_kind: int = NotProvided,
        td_rate: float = NotProvided,
        train_until: int | None = NotProvided,
    ) -> Self:
        """Sets the gate and what its training jobs are worth.

        Args:
            gate: a class.
            gate_args: its arguments.
            updates_per_job: K updates per training job, or one K for each kind of them.
            batch_per_job: transitions per update, for each kind; None: as for any update.
            training_kind: index of the kind that the gate asks for, unless it chooses itself.
            td_rate: of the TD statistic.
            train_until: no training job is inserted from this slot (of each server) on.
        """
        return self._take(
            gate_class=gate,
            gate_args=gate_args,
            updates_per_job=updates_per_job,
            batch_per_job=batch_per_job,
            training_kind=training_kind,
            td_rate=td_rate,
            train_until=train_until,
        )

    def replay(
        self,
        *,
        capacity: int = NotProvided,
        alpha: float = NotProvided,
        beta: float = NotProvided,
        learning_starts: int = NotProvided,
    ) -> Self:
        """Sets the flat prioritized replay and the transitions it needs before any training."""
        return self._take(
            replay_capacity=capacity,
            replay_alpha=alpha,
            replay_beta=beta,
            learning_starts=learning_starts,
        )

    def acting(
        self,
        *,
        exploration: type[Greedy] = NotProvided,
        exploration_args: dict[str, Any] = NotProvided,
        observe: dict[str, Any] = NotProvided,
        slots_per_iteration: int = NotProvided,
    ) -> Self:
        """Sets exploration (a class, its arguments), the observation, slots per `train()`."""
        return self._take(
            exploration=exploration,
            exploration_args=exploration_args,
            observe=observe,
            slots_per_iteration=slots_per_iteration,
        )

    def corrupting(self, *, slot: int | None = NotProvided, noise: float = NotProvided) -> Self:
        """Sets when and how much `CorruptQCallback` damages the network."""
        return self._take(corrupt_slot=slot, corrupt_noise=noise)

    def _take(self, **values: Any) -> Self:
        for name, value in values.items():
            if value is not NotProvided:
                setattr(self, name, value)
        return self

    def build_replay(self, obs_size: int, num_actions: int) -> PrioritizedReplay | Rollout:
        """Where experience waits for training."""
        kind = AfterstateReplay if self.observe.get("afterstates") else PrioritizedReplay
        return kind(
            self.replay_capacity,
            obs_size,
            num_actions,
            self.replay_alpha,
            self.replay_beta,
            seed=self.seed,
        )

    def validate(self) -> None:
        """RLlib's checks, and what no algorithm under a gate does.

        Raises:
            ValueError: remote learners, clipped gradients.
        """
        super().validate()
        if self.num_learners:
            self._value_error("a gated algorithm trains in the driver: `num_learners` must be 0")
        if self.grad_clip is not None:
            self._value_error(f"{self.algo_class.__name__} needs grad_clip=None")


class GatedDQNConfig(GatedConfig, DQNConfig):
    """DQNConfig with the source's agent as defaults, plus `gating` and `replay`.

    Defaults: Double DQN, no dueling, 2x64 ReLU, Adam 5e-4, Huber, gamma 0.95, soft targets
    (tau 0.005) after every update, batch 32.
    """

    def __init__(self, algo_class: type[Algorithm] | None = None):
        super().__init__(algo_class=algo_class or GatedDQN)
        self.training(
            tau=0.005,
            double_q=True,
            dueling=False,
            num_atoms=1,
            noisy=False,
            td_error_loss_fn="huber",
        )

    def get_default_learner_class(self) -> type[GatedDQNTorchLearner]:
        """The learner that trains from the flat replay."""
        if self.noisy:
            return NoisyLearner
        return BootstrappedLearner if self._has_heads else GatedDQNTorchLearner

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        """DQN's network; noisy, with heads, or one that values afterstates."""
        spec = super().get_default_rl_module_spec()
        if self.observe.get("afterstates"):
            spec.module_class = AfterstateModule
        elif self.noisy:
            spec.module_class = NoisyModule
        elif self._has_heads:
            spec.module_class = BootstrappedModule
        return spec

    @property
    def _has_heads(self) -> bool:
        return "heads" in self.model_config

    def validate(self) -> None:
        """RLlib's checks, and what GatedDQN does not do.

        Raises:
            ValueError: distributional networks, another loss than Huber, an exploration without
                the network that it needs, two kinds of network at once.
        """
        super().validate()
        if self.num_atoms != 1:
            self._value_error("GatedDQN needs num_atoms=1")
        kinds = (bool(self.observe.get("afterstates")), self.noisy, self._has_heads)
        if sum(kinds) > 1:
            self._value_error("a network is noisy, has heads, or values afterstates: one of them")
        if issubclass(self.exploration, Noisy) and not self.noisy:
            self._value_error("exploration Noisy needs noisy=True")
        if issubclass(self.exploration, Bootstrapped) and not self._has_heads:
            self._value_error("exploration Bootstrapped needs `heads` in model_config")
        if self.td_error_loss_fn != "huber":
            self._value_error("GatedDQN needs td_error_loss_fn='huber'")


class GatedAlgorithm(Algorithm):
    """Learning under a training gate; see the module's docstring for the flow of an iteration.

    A checkpoint (`save_to_path`) holds everything: networks, optimizer, replay, servers, gates,
    counters and generators. With no remote runners a restored run goes on bit for bit. Without
    the component "play" it holds the policy and the optimizer only.
    """

    def setup(self, config: AlgorithmConfig) -> None:
        """Builds RLlib's parts, then the replay, the counters and the shared module."""
        super().setup(config)
        self._gating = find_gating(self.callbacks)
        obs_space, action_space = self.spaces[DEFAULT_MODULE_ID]
        self.replay = self.config.build_replay(obs_space.shape[0], action_space.n)
        self.slots_per_iteration: int = self.config.slots_per_iteration  # may change on the way
        self.totals: Sums | None = None
        self.slots = 0  # played so far, all servers together
        self.vetoed_updates = 0
        # Credits earned and updates run, for each kind of training jobs.
        self.credits, self.updates = np.zeros((2, np.size(self.config.updates_per_job)), np.int64)
        self.training_slots: list[int] = []  # of the last iteration
        self._update_metrics: list[UpdateMetrics] = []  # of the last iteration
        if self._samples_locally:
            # One module for acting and learning: an update acts in the next slot, without a copy.
            self.env_runner.use_module(self.get_module())
        else:
            self._fleet = Fleet(
                self.env_runner_group, self._send_weights, self.config.sample_timeout_s
            )

    @property
    def can_learn(self) -> bool:
        """Whether there is enough experience for an update to make sense."""
        return self.replay.is_filled(self.config.learning_starts)

    @property
    def learner_updates(self) -> int:
        """Updates so far, whatever kind of training job paid for them."""
        return int(self.updates.sum())

    def get_module(self, module_id: str = DEFAULT_MODULE_ID) -> Any:
        """The learner's module, target network included; runners may have copies that only act."""
        return self.learner_group._learner.module[module_id].unwrapped()

    @property
    def faults(self) -> dict[str, int]:
        """Faults so far that were overcome."""
        if self._samples_locally:
            return {"workload": self.env_runner.env.servers.workload_faults}
        states = self._fleet.states.values()
        return {"workload": sum(s["servers"]["workload_faults"] for s in states)} | (
            self._fleet.faults
        )

    @property
    def requests_by_reason(self) -> dict[str, int]:
        """Training jobs asked for so far, by the gate's reasons, of all runners."""
        if self._samples_locally:
            return dict(self.env_runner.requests)
        of_runners = [state["requests"] for state in self._fleet.states.values()]
        return {reason: sum(of[reason] for of in of_runners) for reason in of_runners[0]}

    def restore_env_runners(self, env_runner_group: EnvRunnerGroup) -> list[int]:
        """RLlib's hook before every training step: takes runners that are back into service."""
        return [] if self._samples_locally else self._fleet.restore()

    def start_from(self, module: RLModule) -> None:
        """Takes over the networks of another module; optimizer and replay stay empty."""
        self.get_module().set_state(module.get_state())
        self._send_weights()

    def corrupt(self, noise: float, rng: np.random.Generator) -> None:
        """Adds noise to the online network, `noise` standard deviations of each layer's weights."""
        for layer in self.get_module().parameters():
            if layer.requires_grad:
                values = layer.detach().cpu().numpy()
                damage = rng.normal(0.0, noise * values.std(), values.shape)
                with torch.no_grad():
                    layer += torch.as_tensor(damage, dtype=layer.dtype, device=layer.device)
        self._send_weights()

    def training_step(self) -> None:
        """Plays `slots_per_iteration` slots, training whenever the gate has paid for it."""
        goal = self.slots + self.slots_per_iteration
        self.training_slots, self._update_metrics = [], []
        while self.slots < goal:
            before = self.slots
            for fragment in self._sample(goal - before):
                self._store(fragment)
            self._train(requested=self.slots - before)
        if self._samples_locally:
            self._add(self.env_runner.take_report())
        self._log()

    def get_state(
        self, components: Any = None, *, not_components: Any = None, **kwargs: Any
    ) -> StateDict:
        """RLlib's state, and "play": replay, counters and the runners' servers and gates."""
        state = super().get_state(components, not_components=not_components, **kwargs)
        if self._check_component(PLAY, components, not_components):
            state[PLAY] = {
                "replay": self.replay.get_state(),
                "totals": self.totals,
                "runners": self._runner_states(),
                "faults": self.faults,
            } | {name: getattr(self, name) for name in COUNTERS}
        return state

    def set_state(self, state: StateDict) -> None:
        """Takes over what `get_state` of an algorithm with the same config returned.

        Raises:
            ValueError: the state is of a policy only: going on with an empty replay would look
                like a collapse of the agent.
        """
        if PLAY not in state:
            raise ValueError("the checkpoint holds a policy only; load_module() reads it")
        play = state[PLAY]
        super().set_state(state)
        # RLlib tells this to the remote runners next, and a window's values are not in its state.
        steps = (ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME)
        self.metrics.log_value(steps, play["slots"], window=1)
        self.replay.set_state(play["replay"])
        self.totals = play["totals"]
        for name in COUNTERS:
            setattr(self, name, play[name])
        if self._samples_locally:
            self.env_runner.set_play_state(play["runners"][0])
        else:
            self._fleet.set_states(play["runners"])
            self._fleet.faults |= {k: n for k, n in play["faults"].items() if k != "workload"}
        self._send_weights()
        for callback in self.callbacks:
            callback.on_checkpoint_loaded(algorithm=self)

    @property
    def _samples_locally(self) -> bool:
        return self.config.num_env_runners == 0

    def _runner_states(self) -> dict[int, dict[str, Any]]:
        return (
            {0: self.env_runner.get_play_state()} if self._samples_locally else self._fleet.states
        )

    def _sample(self, slots: int) -> list[Fragment]:
        """At most `slots` slots (rounded up to whole slots of all servers)."""
        servers = self.config.num_envs_per_env_runner * max(self.config.num_env_runners, 1)
        per_server = -(-slots // servers)
        if self._samples_locally:
            return [self.env_runner.sample(num_slots=per_server, until_credit=True)]
        length = min(per_server, self.config.get_rollout_fragment_length())
        answers = self._fleet.sample(length)
        if not answers:  # all are lost, or all raised
            self.restore_env_runners(self.env_runner_group)
        for _, report in answers:
            self._add(report)
        return [fragment for fragment, _ in answers]

    def _store(self, fragment: Fragment) -> None:
        self.replay.add(fragment.transitions)
        self.slots += fragment.slots
        self.credits += fragment.credits
        self.training_slots += fragment.training_slots

    def _add(self, report: Report) -> None:
        self.totals = report.totals if self.totals is None else self.totals + report.totals
        runners = max(self.config.num_env_runners, 1)  # each tells of its own servers: their mean
        self.metrics.log_dict(report.gate, key=("gate",), window=runners)
        self.metrics.log_dict(report.exploration, key=("exploration",), window=runners)

    def _train(self, requested: int) -> None:
        """Runs the updates that are paid for and vetoes the rest of one update per slot."""
        allowed = self._gating.allow_updates(self, requested)
        self.vetoed_updates += max(requested - int(allowed.sum()), 0)
        for kind in np.flatnonzero(allowed):
            self._learn(int(kind), int(allowed[kind]))
        if allowed.any():
            self._send_weights()

    def _learn(self, kind: int, updates: int) -> None:
        """Runs updates that training jobs of this kind have paid for."""
        batches = self.config.batch_per_job
        batch = batches[kind] if batches else self.config.train_batch_size_per_learner
        (metrics,) = (
            result.get()
            for result in self.learner_group.foreach_learner(
                lambda learner: learner.learn(self.replay, updates, batch)
            )
        )
        self.updates[kind] += metrics.updates
        self._update_metrics.append(metrics)

    def _send_weights(self, runners: list[int] | None = None) -> None:
        """To these remote runners, or to all."""
        if not self._samples_locally:
            weights = ray.put(acting_weights(self.get_module()))
            self.env_runner_group.foreach_env_runner(
                lambda runner: runner.module.set_state(ray.get(weights)),
                local_env_runner=False,
                remote_worker_ids=runners,
            )

    def _log(self) -> None:
        """Once per iteration: logging costs more than a slot."""
        sampled = {
            NUM_ENV_STEPS_SAMPLED: self.slots_per_iteration,
            NUM_ENV_STEPS_SAMPLED_LIFETIME: self.slots,
        }
        self.metrics.log_dict(sampled, key=ENV_RUNNER_RESULTS, window=1)
        if self._update_metrics:
            updates, *means = np.array(self._update_metrics).T
            figures = [updates.sum(), *np.average(means, axis=1, weights=updates)]
            figures_by_name = dict(zip(UpdateMetrics._fields, figures, strict=True))
            self.metrics.log_dict(figures_by_name, key=(LEARNER_RESULTS,), window=1)


class GatedDQN(GatedAlgorithm, DQN):
    """Double DQN under a training gate."""

    @classmethod
    def get_default_config(cls) -> GatedDQNConfig:
        """The source's agent."""
        return GatedDQNConfig()
