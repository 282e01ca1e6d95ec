"""Learning whose updates have to be paid for with training jobs: the loop of every algorithm here.

One iteration: runners play slots. Their transitions go to the replay, completed training jobs
become credits. The gating callback says how many updates they pay for. The learner trains, and
the weights go back to the runners.
"""

from typing import Any

import numpy as np
import ray
import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.rl_module.rl_module import RLModule
from ray.rllib.env.env_runner_group import EnvRunnerGroup
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    LEARNER_RESULTS,
    NUM_ENV_STEPS_SAMPLED,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
)
from ray.rllib.utils.typing import StateDict

from mec_rllib.rl.gating import update_gate
from mec_rllib.rl.messages import Fragment, Report, UpdateMetrics
from mec_rllib.rl.remote_runners import RemoteRunners
from mec_rllib.rl.targets import acting_weights
from mec_rllib.sim.totals import Sums

PLAY = "play"  # component of a checkpoint: all that training needs beside the networks
COUNTERS = ("slots", "credits", "spent_credits", "updates", "vetoed_updates")


class GatedAlgorithm(Algorithm):
    """Learning under a training gate; see the module's docstring for the flow of an iteration.

    A checkpoint (`save_to_path`) holds everything: networks, optimizer, replay, servers, gates,
    counters and generators. With no remote runners a restored run goes on bit for bit. Without
    the component "play" it holds the policy and the optimizer only.
    """

    def setup(self, config: AlgorithmConfig) -> None:
        """Builds RLlib's parts, then the replay, the counters and the shared module."""
        super().setup(config)
        self._gating = update_gate(self.callbacks)
        obs_space, action_space = self.spaces[DEFAULT_MODULE_ID]
        self.replay = self.config.build_replay(obs_space.shape[0], action_space.n)
        self.slots_per_iteration: int = self.config.slots_per_iteration  # may change on the way
        self.totals: Sums | None = None
        self.slots = 0  # played so far, all servers together
        self.vetoed_updates = 0
        # For each kind of training jobs: credits earned and spent, and updates run.
        kinds = len(self.config.updates_of_kinds)
        self.credits, self.spent_credits, self.updates = np.zeros((3, kinds), np.int64)
        self.training_slots: list[int] = []  # of the last iteration
        self._update_metrics: list[UpdateMetrics] = []  # of the last iteration
        self._advisers = self._build_advisers()
        if self._samples_locally:
            # One module for acting and learning: an update acts in the next slot, without a copy.
            self.env_runner.use_module(self.get_module())
        else:
            self._remote = RemoteRunners(
                self.env_runner_group, self._send_weights, self.config.sample_timeout_s
            )

    @property
    def can_learn(self) -> bool:
        """Whether there is enough experience for an update to make sense."""
        return self.config.can_learn(self.slots) and self.replay.can_train

    @property
    def learner_updates(self) -> int:
        """Updates so far, whatever kind of training job paid for them."""
        return int(self.updates.sum())

    def get_module(self, module_id: str = DEFAULT_MODULE_ID) -> Any:
        """The learner's module, target network included; runners may have copies that only act."""
        return self.learner_group._learner.module[module_id].unwrapped()

    @property
    def plays(self) -> str:
        """Who plays the slots of this process: compiled stretches, or why it is slot by slot."""
        return self.env_runner.plays if self._samples_locally else "remote runners"

    @property
    def faults(self) -> dict[str, int]:
        """Faults so far that were overcome."""
        if self._samples_locally:
            return {"workload": self.env_runner.env.servers.workload_faults}
        states = self._remote.states.values()
        return {"workload": sum(s["servers"]["workload_faults"] for s in states)} | (
            self._remote.faults
        )

    @property
    def requests_by_reason(self) -> dict[str, int]:
        """Training jobs asked for so far, by the gate's reasons, of all runners."""
        if self._samples_locally:
            return dict(self.env_runner.requests)
        of_runners = [state["requests"] for state in self._remote.states.values()]
        return {reason: sum(of[reason] for of in of_runners) for reason in of_runners[0]}

    def restore_env_runners(self, env_runner_group: EnvRunnerGroup) -> list[int]:
        """RLlib's hook before every training step: takes runners that are back into service."""
        return [] if self._samples_locally else self._remote.restore()

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
                "advisers": {k: adviser.get_state() for k, adviser in self._advisers.items()},
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
        for name, adviser in self._advisers.items():
            adviser.set_state(play["advisers"][name])
        if self._samples_locally:
            self.env_runner.set_play_state(play["runners"][0])
        else:
            self._remote.set_states(play["runners"])
            self._remote.faults |= {k: n for k, n in play["faults"].items() if k != "workload"}
        self._send_weights()
        for callback in self.callbacks:
            callback.on_checkpoint_loaded(algorithm=self)

    def _build_advisers(self) -> dict[str, Any]:
        """What the gate asks beside the agent: a second network, or what a training job costs."""
        needs_agreement, needs_price = self.config.advice
        advisers: dict[str, Any] = {}
        if needs_agreement:
            from mec_rllib.rl.dqn.second_opinion import SecondOpinion

            learner, config = self.learner_group._learner, self.config
            advisers["second"] = SecondOpinion(learner, config.num_servers, config.seed)
            self.env_runner.use_second_opinion(advisers["second"])
        if needs_price:
            from mec_rllib.rl.pricing import PRICERS

            advisers["price"] = PRICERS[needs_price](self.env_runner)
            self.env_runner.use_pricer(advisers["price"])
        return advisers

    @property
    def _samples_locally(self) -> bool:
        return self.config.num_env_runners == 0

    def _runner_states(self) -> dict[int, dict[str, Any]]:
        return (
            {0: self.env_runner.get_play_state()} if self._samples_locally else self._remote.states
        )

    def _sample(self, slots: int) -> list[Fragment]:
        """At most `slots` slots (rounded up to whole slots of all servers)."""
        per_server = -(-slots // self.config.num_servers)
        if self._samples_locally:
            return [self.env_runner.sample(num_slots=per_server, until_credit=True)]
        length = min(per_server, self.config.get_rollout_fragment_length())
        answers = self._remote.sample(length)
        if not answers:  # all are lost, or all raised
            self.restore_env_runners(self.env_runner_group)
        for _, report in answers:
            self._add(report)
        return [fragment for fragment, _ in answers]

    def _store(self, fragment: Fragment) -> None:
        self.replay.add(fragment.arrivals if self.config.imagines else fragment.transitions)
        self.slots += fragment.slots
        self.credits += fragment.credits
        self.training_slots += fragment.training_slots

    def _add(self, report: Report) -> None:
        self.totals = report.totals if self.totals is None else self.totals + report.totals
        runners = max(self.config.num_env_runners, 1)  # each tells of its own servers: their mean
        self.metrics.log_dict(report.gate, key=("gate",), window=runners)
        self.metrics.log_dict(report.exploration, key=("exploration",), window=runners)

    def _train(self, requested: int) -> None:
        """Runs the updates that the gating callback allows, of one requested per slot."""
        allowed = np.zeros_like(self.updates)
        if self.can_learn:
            credits = self.credits - self.spent_credits
            allowed = np.asarray(self._gating.allow_updates(self, requested, credits))
            if allowed.shape != credits.shape or (allowed < 0).any():
                raise ValueError(
                    f"allow_updates must answer {len(credits)} numbers (one for each kind of "
                    f"training job), 0 or more, not {allowed}"
                )
            self.spent_credits += credits
        self.vetoed_updates += max(requested - int(allowed.sum()), 0)
        for kind in np.flatnonzero(allowed):
            self.learn(int(kind), int(allowed[kind]))
        if allowed.any():
            self._send_weights()

    def learn(self, kind: int, updates: int) -> None:
        """Runs updates that training jobs of this kind have paid for; without a question."""
        batches = self.config.batch_per_job
        batch = batches[kind] if batches else self.config.train_batch_size_per_learner
        (metrics,) = (
            result.get()
            for result in self.learner_group.foreach_learner(
                lambda learner: learner.learn(self.replay, updates, batch)
            )
        )
        for adviser in self._advisers.values():
            adviser.learn(self.replay, updates, batch)
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
