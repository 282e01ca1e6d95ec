"""Remote env runners that may die: a lost one goes on where its last answer left it.

Every answer brings the runner's state along (servers, gate, generators). A runner that is killed,
stalls or raises is given that state back, so its last call is as if it had never been made: no
slot, job or credit is lost or counted twice. What a fault costs is time, and it is counted.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import ray
from ray.rllib.env.env_runner_group import EnvRunnerGroup

from mec_rllib.errors import LostError
from mec_rllib.rl.env_runner import MecEnvRunner
from mec_rllib.rl.messages import Fragment, Report
from mec_rllib.user_code import fault_of, named

LIMIT_IN_A_ROW = 5  # faults of one runner without an answer in between
PROBE_EVERY_S = 2.0  # looking for a lost runner must not slow the others down
PROBE_S, PROBE_ALONE_S = 0.2, 10.0  # ... nor may each look; with no runner left there is no hurry
GIVE_UP_S = 600.0  # without any runner


class _Answer(NamedTuple):
    runner: int
    fragment: Fragment | None  # None: it raised
    report: Report | None
    state: dict[str, Any] | None
    error: str = ""


class RemoteRunners:
    """The remote runners of an algorithm.

    Args:
        group: RLlib's.
        send_weights: gives these runners the weights of now.
        timeout_s: a runner that takes longer for a call is killed and restarted.
    """

    def __init__(
        self, group: EnvRunnerGroup, send_weights: Callable[[list[int]], None], timeout_s: float
    ):
        self._group, self._send_weights, self._timeout_s = group, send_weights, timeout_s
        self._in_a_row: Counter[int] = Counter()
        self._lost: set[int] = set()  # counted, and not back yet
        self._last_probe = 0.0
        self.faults = {"runners_lost": 0, "runners_restored": 0, "runner_errors": 0}
        self.states: dict[int, dict[str, Any]] = {}
        self.states = self._call(lambda runner: runner.get_play_state())

    @property
    def healthy(self) -> list[int]:
        """Runners that answer, as far as we know."""
        return self._group.healthy_worker_ids()

    def sample(self, slots: int) -> list[tuple[Fragment, Report]]:
        """Every healthy runner plays so many slots; those that answer are in the result.

        Raises:
            RuntimeError: a runner fails again and again.
        """
        answers = {
            answer.runner: answer
            for answer in self._group.foreach_env_runner(
                lambda runner: _sample(runner, slots),
                local_env_runner=False,
                timeout_seconds=self._timeout_s,
            )
        }
        self._lose_all_but(answers.keys())
        played = []
        for answer in answers.values():
            if answer.fragment is None:
                self.faults["runner_errors"] += 1
                self._count(answer.runner, answer.error)
                self._give_back_state([answer.runner])
            else:
                self._in_a_row[answer.runner] = 0
                self.states[answer.runner] = answer.state
                played.append((answer.fragment, answer.report))
        return played

    def restore(self) -> list[int]:
        """Takes runners that are back into service; which ones.

        Raises:
            LostError: none has come back for a long time.
        """
        deadline = time.monotonic() + GIVE_UP_S
        while True:
            back = self._look_for_lost_ones()
            if self.healthy:
                return back
            if time.monotonic() > deadline:
                raise LostError(f"all env runners are lost, none came back in {GIVE_UP_S:g} s")

    def set_states(self, states: dict[int, dict[str, Any]]) -> None:
        """Every runner goes on from a state of `states`."""
        self.states = dict(states)
        self._give_back_state(list(states))

    def _look_for_lost_ones(self) -> list[int]:
        # Whoever calls a runner may be the first to notice: the sending of weights, for one.
        self._lose_all_but(self.healthy)
        is_alone = not self.healthy
        if self._group.num_healthy_remote_workers() == self._group.num_remote_env_runners():
            return []
        if not is_alone and time.monotonic() - self._last_probe < PROBE_EVERY_S:
            return []
        back = self._group.probe_unhealthy_env_runners(PROBE_ALONE_S if is_alone else PROBE_S)
        self._last_probe = time.monotonic()
        if back:
            self._lost.difference_update(back)
            self.faults["runners_restored"] += len(back)
            self._send_weights(back)
            self._give_back_state(back)
        return back

    def _lose_all_but(self, present: Iterable[int]) -> None:
        for runner in sorted(self.states.keys() - self._lost - set(present)):
            self._lose(runner)

    def _lose(self, runner: int) -> None:
        """Counts it, and makes sure that a late answer does not come."""
        self._lost.add(runner)
        self.faults["runners_lost"] += 1
        self._count(runner, "it died or stalled", LostError)
        manager = self._group._worker_manager
        if manager.is_actor_healthy(runner):  # it stalls
            ray.kill(manager.actors()[runner], no_restart=False)
            manager.set_actor_state(runner, healthy=False)

    def _count(self, runner: int, error: str, kind: type[Exception] = RuntimeError) -> None:
        self._in_a_row[runner] += 1
        if self._in_a_row[runner] > LIMIT_IN_A_ROW:
            raise kind(
                f"env runner {runner} failed {self._in_a_row[runner]} times in a row: {error}"
            )

    def _give_back_state(self, runners: list[int]) -> None:
        for runner in runners:  # each its own; one that is lost on the way is missed by `sample`
            self._call(partial(_set_state, state=self.states[runner]), [runner])

    def _call(self, do: Callable[[MecEnvRunner], Any], runners: list[int] | None = None) -> dict:
        return dict(
            self._group.foreach_env_runner(
                lambda runner: (runner.worker_index, do(runner)),
                local_env_runner=False,
                remote_worker_ids=runners,
            )
        )


def _set_state(runner: MecEnvRunner, state: dict[str, Any]) -> None:
    runner.set_play_state(state)


def _sample(runner: MecEnvRunner, slots: int) -> _Answer:
    """Experience, figures and state in one answer: all or none. An error is one, too."""
    try:
        fragment = runner.sample(num_slots=slots)
        answer = (runner.worker_index, fragment, runner.take_report(), runner.get_play_state())
    except Exception as error:  # whatever a gate or a workload of the user raises
        fault = fault_of(error)
        place = f" ({fault.place})" if fault else ""
        return _Answer(runner.worker_index, None, None, None, f"{named(error)}{place}")
    return _Answer(*answer)
