"""What the config of every algorithm under a training gate has beside RLlib's."""

import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Self

import numpy as np
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig, NotProvided
from ray.rllib.algorithms.dqn import DQNConfig
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.core.rl_module.rl_module import RLModule
from ray.rllib.utils import force_list

from mec_rllib.envs.registration import ENV_ID
from mec_rllib.envs.world import World
from mec_rllib.gates import ATS, GATES, Gate, build_gate
from mec_rllib.gates.periodic import FOR_EVER
from mec_rllib.lookup import find, nearest
from mec_rllib.rl.env_runner import MecEnvRunner
from mec_rllib.rl.exploration import EpsilonGreedy, Greedy
from mec_rllib.rl.replay.prioritized import PrioritizedReplay
from mec_rllib.rl.replay.rollout import Rollout
from mec_rllib.sim.jobs import Ints


class GatedConfig(AlgorithmConfig):
    """What every algorithm under a gate has in its config: `gating`, `replay`, `acting`."""

    on_policy = False  # experience is used up by training

    def __init__(self, algo_class: type[Algorithm] | None = None):
        super().__init__(algo_class=algo_class)
        self.gate_class: type[Gate] = ATS
        self.gate_args: dict[str, Any] = {}
        self.updates_per_job: int | Sequence[int] | None = None
        self.batch_per_job: Sequence[int] | None = None
        self.training_kind: int | None = None
        self.train_until: int | None = None
        self.train_free = False
        self.td_rate = 5e-4
        self.observe: dict[str, Any] = {}
        self.exploration: type[Greedy] = EpsilonGreedy
        self.exploration_args: Mapping[str, Any] = {}
        self.slots_per_iteration = 1000
        self.learning_starts = 500
        self.imagination: Mapping[str, Any] | None = None
        self.replay_capacity, self.replay_alpha, self.replay_beta = 65_536, 0.6, 0.5
        self.corrupt_slot: int | None = None
        self.corrupt_noise = 1.0
        self.seed = 0
        self.callbacks()
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
        # `RemoteRunners` brings lost runners back; a run of weeks may lose many.
        self.fault_tolerance(
            restart_failed_env_runners=True,
            max_num_env_runner_restarts=10**6,
            delay_between_env_runner_restarts_s=1.0,  # RLlib waits for a minute
        )

    def callbacks(self, callbacks_class: Any = NotProvided, **hooks: Any) -> Self:
        """RLlib's setting; the training gate and the figures of a run need not be named.

        They come first, so that other callbacks find their figures. A subclass of
        `TrainingGateCallback` or `MetricsCallback` takes the place of the built-in one.

        Raises:
            ValueError: two callbacks of one of these kinds.
        """
        named: Any = super().callbacks(callbacks_class, **hooks)
        self.callbacks_class = _with_built_in_ones(force_list(named.callbacks_class))
        return self

    def gating(
        self,
        gate: str | type[Gate] = NotProvided,
        *,
        gate_args: Mapping[str, Any] = NotProvided,
        updates_per_job: int | Sequence[int] | None = NotProvided,
        batch_per_job: Sequence[int] | None = NotProvided,
        training_kind: int | None = NotProvided,
        td_rate: float = NotProvided,
        train_until: int | None = NotProvided,
        train_free: bool = NotProvided,
        **keys: Any,
    ) -> Self:
        """Sets the gate and what its training jobs are worth.

        Args:
            gate: its name ("ats"), "package.module:Class", or a class; its keys start afresh.
            gate_args: its keys, where they are not simply given as such (`period=50`).
            updates_per_job: K updates per training job, or one K for each kind of them; None: as
                the gate says, 1 for ideal and always, else 32.
            batch_per_job: transitions per update, for each kind; None: as for any update.
            training_kind: index of the kind that the gate asks for; None: there is one, or the
                gate chooses.
            td_rate: of the TD statistic.
            train_until: no training job is inserted from this slot (of each server) on.
            train_free: training jobs hold nothing and complete at once, whatever the gate.
            **keys: keys of the gate.

        Raises:
            ValueError: an unknown gate, or a key that the gate does not have.
        """
        if gate is not NotProvided:
            self.gate_class, self.gate_args = _find_gate(gate), {}
        if gate_args is not NotProvided:
            self.gate_args = dict(gate_args)
        self.gate_args = self.gate_args | keys
        _check_keys(self.gate_class, self.gate_args)
        return self._take(
            updates_per_job=updates_per_job,
            batch_per_job=batch_per_job,
            training_kind=training_kind,
            td_rate=td_rate,
            train_until=train_until,
            train_free=train_free,
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
        exploration_args: Mapping[str, Any] = NotProvided,
        observe: dict[str, Any] = NotProvided,
        slots_per_iteration: int = NotProvided,
    ) -> Self:
        """Sets how the agent acts and what it sees.

        Args:
            exploration: class of it.
            exploration_args: its arguments.
            observe: arguments of the encoder, such as `afterstates=True`.
            slots_per_iteration: slots per `train()`.
        """
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

    @property
    def imagines(self) -> bool:
        """Whether it learns from imagined servers instead of a replay."""
        return self.imagination is not None

    @property
    def num_servers(self) -> int:
        """Servers of all runners together."""
        return self.num_envs_per_env_runner * max(self.num_env_runners, 1)

    @property
    def updates_of_kinds(self) -> Ints:
        """(J,) K of each kind of training jobs."""
        updates = self.updates_per_job
        return np.atleast_1d(self.gate_class.updates_per_job if updates is None else updates)

    def build_gate(self, world: World) -> Gate:
        """The gate of a runner's N servers.

        Raises:
            ValueError: a gate that cannot choose among the world's kinds of training jobs, or kinds
                that the config does not know.
        """
        kinds, kind = world.kinds, self.training_kind
        if len(self.updates_of_kinds) != kinds or (kind is not None and kind >= kinds):
            raise ValueError(
                f"the world has {kinds} kinds of training jobs: gating() wants updates_per_job for "
                f"each of them, and a training_kind below {kinds}"
            )
        where = world.num_servers, world.kind_costs, kind
        return build_gate(
            self.gate_class, *where, free=self.train_free, seed=self.seed, **self.gate_args
        )

    def can_learn(self, slots: int) -> bool:
        """Whether so many slots, of all servers together, are enough experience for an update."""
        held_back = (self.n_step - 1) * self.num_servers  # until the slots ahead are played
        return slots - held_back >= self.learning_starts

    @property
    def advice(self) -> tuple[bool, str]:
        """Whether the gate asks a second network, and who tells it what a training job costs."""
        gate = self.gate_class(1, **self.gate_args)
        return gate.needs_agreement, gate.needs_price

    @property
    def slots_of_training(self) -> range:
        """Slots of each server in which training jobs may be asked for."""
        needed = self.learning_starts + (self.n_step - 1) * self.num_servers
        until = FOR_EVER if self.train_until is None else self.train_until
        return range(-(-needed // self.num_servers), until)

    @property
    def module_class(self) -> type[RLModule]:
        """Class of the network; it says which learner, replay and acting function belong to it."""
        return self.rl_module_spec.module_class

    @property
    def _model_config_auto_includes(self) -> dict[str, Any]:
        """RLlib's hook: what a network is told without being asked."""
        of_exploration = self.exploration.network_config(**self.exploration_args)
        return super()._model_config_auto_includes | of_exploration

    def build_replay(self, obs_size: int, num_actions: int) -> PrioritizedReplay | Rollout:
        """Where experience waits for training."""
        replay: type[PrioritizedReplay] = getattr(
            self.module_class, "replay_class", PrioritizedReplay
        )
        return replay(
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
            ValueError: remote learners, clipped gradients, an exploration without its network.
        """
        super().validate()
        self.check()

    def check(self) -> None:
        """Raises a ValueError for what no algorithm under a gate does."""
        try:
            inspect.signature(self.gate_class).bind(1, **self.gate_args)
        except TypeError as error:
            self._value_error(f"gate {self.gate_class.__name__}: {error}")
        needs_agreement, needs_price = self.advice
        has_choice = len(self.updates_of_kinds) > 1 and self.training_kind is None
        if (needs_agreement or needs_price) and (self.num_env_runners or has_choice):
            self._value_error(
                "this gate asks for more than Q: it needs num_env_runners=0, and one kind of "
                "training job"
            )
        if needs_agreement and (self.imagines or not isinstance(self, DQNConfig)):
            self._value_error(
                "gate.reliability agreement compares two Q-networks: it needs DQN, and a replay"
            )
        if self.num_learners:
            self._value_error("a gated algorithm trains in the driver: `num_learners` must be 0")
        if self.grad_clip is not None:
            self._value_error(f"{self.algo_class.__name__} needs grad_clip=None")
        needed = self.exploration.network
        if needed is not None and not issubclass(self.module_class, needed):
            self._value_error(
                f"exploration {self.exploration.__name__} needs the network {needed.__name__}, "
                f"not {self.module_class.__name__}"
            )


def require_gated(config: AlgorithmConfig, callback: object) -> GatedConfig:
    """The config, if it is one of ours.

    Raises:
        ValueError: it is RLlib's own, which knows no gate.
    """
    if isinstance(config, GatedConfig):
        return config
    theirs = type(config).__name__
    ours = f"Gated{theirs}" if theirs in ("SACConfig", "PPOConfig") else "GatedDQNConfig"
    raise ValueError(
        f"{type(callback).__name__} needs an algorithm that it can stop from training: use "
        f"mec_rllib.rl.{ours} instead of {theirs}"
    )


def _with_built_in_ones(given: list[Any]) -> list[Any]:
    # Here, as they build on this package.
    from mec_rllib.callbacks.metrics import MetricsCallback
    from mec_rllib.callbacks.training_gate import TrainingGateCallback

    classes = [callback for callback in given if callback is not RLlibCallback]
    for built_in in (MetricsCallback, TrainingGateCallback):
        of_its_kind = [c for c in map(_made_by, classes) if issubclass(c, built_in)]
        if len(of_its_kind) > 1:
            names = " and ".join(c.__name__ for c in of_its_kind)
            raise ValueError(f"callbacks: one {built_in.__name__} is enough, not {names}")
        if not of_its_kind:
            classes.insert(0, built_in)
    return classes


def _made_by(callback: Any) -> type:
    """The class that RLlib will call; it takes any callable, such as a `functools.partial`."""
    made_by = callback.func if isinstance(callback, partial) else callback
    return made_by if isinstance(made_by, type) else object


def _find_gate(gate: str | type[Gate]) -> type[Gate]:
    found = find(gate, GATES, "gate") if isinstance(gate, str) else gate
    if not (isinstance(found, type) and issubclass(found, Gate)):
        raise ValueError(f"gate {gate!r} is no mec_rllib.gates.Gate")
    return found


def _check_keys(gate: type[Gate], keys: Mapping[str, Any]) -> None:
    _, *parameters = inspect.signature(gate).parameters.values()  # the first: num_servers
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    known = [parameter.name for parameter in parameters]
    for key in keys:
        if key not in known:
            hint = nearest(key, known) if known else "it has none"
            raise ValueError(f"gate {gate.__name__} has no key {key!r}; {hint}")
