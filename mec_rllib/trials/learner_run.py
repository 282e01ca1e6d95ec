"""The DQN under a gate, as a trial plays it."""

from pathlib import Path
from typing import Any

from mec_rllib.callbacks.corrupt_q import CorruptQCallback
from mec_rllib.config.explorations import exploration_class
from mec_rllib.config.study import Strategy
from mec_rllib.rl.actor_critic.algorithms import GatedPPOConfig, GatedSACConfig
from mec_rllib.rl.algorithm import PLAY, GatedAlgorithm
from mec_rllib.rl.dqn.algorithm import GatedDQNConfig
from mec_rllib.rl.gated_config import GatedConfig
from mec_rllib.rl.policy import GreedyPolicy
from mec_rllib.rl.policy_file import load_policy, save_policy
from mec_rllib.schedulers import Scheduler
from mec_rllib.sim.jobs import Floats
from mec_rllib.sim.totals import Sums


class LearnerRun:
    """A DQN under a gate, from scratch or from the policy of a checkpoint."""

    def __init__(self, strategy: Strategy, seed: int, start_from: Path | None = None):
        self._observe = strategy.experiment.learner.observe.model_dump()
        self._algorithm: GatedAlgorithm = algorithm_config(strategy, seed).build_algo()
        if start_from is not None:
            self._algorithm.start_from(load_policy(start_from)[0])

    @property
    def totals(self) -> Sums:
        """Sums since the start."""
        totals = self._algorithm.totals
        assert totals is not None  # something has been played
        return totals

    @property
    def learner_updates(self) -> int:
        """Updates since the start."""
        return self._algorithm.learner_updates

    @property
    def updates_of_kinds(self) -> list[int]:
        """Updates since the start that each kind of training jobs has paid for."""
        return self._algorithm.updates.tolist()

    @property
    def requests_by_reason(self) -> dict[str, int]:
        """Training jobs asked for since the start, by the gate's reasons."""
        return self._algorithm.requests_by_reason

    def play(self, slots: int) -> dict[str, Any]:
        """One iteration of the algorithm."""
        self._algorithm.slots_per_iteration = slots
        result = self._algorithm.train()
        shown = ("timesteps_total", "reward", "miss_rate", "server", "share_training")
        learned = ("training", "gate", "learner", "training_slots", "faults")
        return {name: result[name] for name in shown + learned}

    @property
    def world(self) -> Any:
        """What it plays in this process; it is not to be changed."""
        return self._algorithm.env_runner.env.servers

    def psi(self) -> Floats:
        """(N,) what a training job now is worth, in Q; of several kinds, one of the first."""
        psi: Floats = self._algorithm.env_runner.psi()
        return psi[:, 0] if psi.ndim == 2 else psi

    @property
    def plays(self) -> str:
        """Who plays the slots: compiled stretches, or why it is slot by slot."""
        return self._algorithm.plays

    def learn_once(self) -> None:
        """An update on what has been played, whoever pays for it."""
        self._algorithm.learn(kind=0, updates=1)

    def policy(self) -> Scheduler:
        """The greedy policy."""
        return GreedyPolicy(self._algorithm.get_module(), self._observe)

    def save(self, folder: Path, to_go_on: bool) -> None:
        """An RLlib checkpoint, the policy and its optimizer or all of it; and a policy file."""
        state = self._algorithm.get_state(not_components=None if to_go_on else PLAY)
        self._algorithm.save_to_path(folder.absolute(), state=state)
        save_policy(self._algorithm.get_module(), folder, self._observe)

    def restore(self, folder: Path, slots: int) -> None:
        """Goes on from a checkpoint that holds all of it."""
        self._algorithm.restore_from_path(folder.absolute())

    def stop(self) -> None:
        """Ends its runners."""
        self._algorithm.stop()


def algorithm_config(strategy: Strategy, seed: int) -> GatedConfig:
    """The AlgorithmConfig of a strategy that learns."""
    experiment = strategy.experiment
    learner, runners = experiment.learner, experiment.runners
    gate = strategy.gate
    assert gate is not None
    config, training = _learner_of(strategy)
    return (
        config.environment(env_config=experiment.env.model_dump(mode="json"))
        .env_runners(num_env_runners=runners.num, num_envs_per_env_runner=runners.servers)
        .rl_module(
            model_config={
                "fcnet_hiddens": learner.hidden,
                "fcnet_activation": "relu",
                "act_with": learner.act_with,
            }
        )
        .training(
            gamma=learner.gamma,
            train_batch_size_per_learner=learner.batch,
            **training,
        )
        .gating(
            gate=gate,
            gate_args=dict(strategy.args),
            updates_per_job=strategy.updates_of_kinds,
            batch_per_job=strategy.batch_of_kinds,
            training_kind=strategy.training_kind,
            td_rate=experiment.gate.td_rate,
            train_until=experiment.gate.until,
            train_free=experiment.gate.free,
        )
        .replay(
            capacity=learner.replay,
            alpha=learner.alpha,
            beta=learner.beta,
            learning_starts=learner.learning_starts,
        )
        .acting(
            exploration=exploration_class(strategy.exploration),
            exploration_args=dict(strategy.exploration_args),
            observe=learner.observe.model_dump(),
        )
        .corrupting(**learner.corrupt.model_dump())
        .callbacks(CorruptQCallback)
        .debugging(seed=seed, log_level="ERROR")
    )


def _learner_of(strategy: Strategy) -> tuple[GatedConfig, dict[str, Any]]:
    """The config of the algorithm that is asked for, and what only it is told."""
    learner = strategy.experiment.learner
    if learner.algorithm == "ppo":
        return GatedPPOConfig(), {"lr": learner.lr}
    targets = {"tau": learner.tau, "n_step": learner.n_step}
    if learner.algorithm == "sac":
        rates = ("actor_lr", "critic_lr", "alpha_lr")
        return GatedSACConfig(), targets | dict.fromkeys(rates, learner.lr)
    config = GatedDQNConfig()
    if learner.experience == "imagined":
        config.imagining(**learner.imagined.model_dump())
    return config, targets | {"lr": learner.lr, "double_q": learner.double_q}
