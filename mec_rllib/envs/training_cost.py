"""What training costs an environment that is not ours: a protocol, and a Gymnasium wrapper.

An environment gets the training gates if it can say what a step of training does to it: which
actions are left (a frozen control step, a skipped action) and what is paid (a resource that is
consumed, a reward that is lost). Then psi is defined as for a MEC server:

    psi(s) = max over the actions left of Q(s with the training flag, a) - max_a Q(s, a)
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np
from gymnasium import spaces

from mec_rllib.sim.jobs import Bools


@runtime_checkable
class TrainingCost(Protocol):
    """What each step of a training job does to an environment; an environment may be one."""

    def training_actions(self, last_action: int | None) -> Bools:
        """(A,) actions that are left in a step of training.

        Args:
            last_action: played in the step before; None at the start of an episode.
        """
        ...

    def pay_for_training(self) -> float:
        """Called before each step of training; may change the environment.

        Returns:
            What is added to the reward of that step: 0, or less.
        """
        ...


class RepeatLastAction:
    """A frozen control step: the action played before is held.

    Args:
        env: the environment.
        first: what is held at the start of an episode, where nothing was played before.
    """

    def __init__(self, env: gymnasium.Env, first: int = 0):
        self._actions, self._first = _number_of_actions(env), first

    def training_actions(self, last_action: int | None) -> Bools:
        """(A,) only the last action."""
        return np.arange(self._actions) == (self._first if last_action is None else last_action)

    def pay_for_training(self) -> float:
        """Nothing but the choice."""
        return 0.0


class FixedAction:
    """A skipped decision: while it trains, the agent does always the same (nothing, mostly).

    Args:
        env: the environment.
        action: what is done.
    """

    def __init__(self, env: gymnasium.Env, action: int = 0):
        self._allowed = np.arange(_number_of_actions(env)) == action
        if not self._allowed.any():
            raise ValueError(f"action {action} is none of 0..{len(self._allowed) - 1}")

    def training_actions(self, last_action: int | None) -> Bools:
        """(A,) only this action."""
        return self._allowed

    def pay_for_training(self) -> float:
        """Nothing but the choice."""
        return 0.0


def own_cost(env: gymnasium.Env) -> TrainingCost:
    """What the environment itself says.

    Raises:
        ValueError: it says nothing.
    """
    if not isinstance(env.unwrapped, TrainingCost):
        raise ValueError(
            f"{type(env.unwrapped).__name__} has no training_actions() and pay_for_training(); "
            f"name another cost: {', '.join(cost for cost in COSTS if cost != 'own')}"
        )
    return env.unwrapped


COSTS: dict[str, Callable[..., TrainingCost]] = {
    "repeat": RepeatLastAction,
    "fixed": FixedAction,
    "own": own_cost,
}


class TrainingCostWrapper(gymnasium.Wrapper):
    """Lets training jobs take steps of an environment with discrete actions.

    The observation is the environment's, flattened, and one more float: the share of the training
    job that is still to run, 1 right after `request_training`, 0 without one. A training job runs
    in the very next step and does not end with an episode. In pieces it pauses after `chunk` steps
    until the environment's `is_tight` is False: the gate says when it opens, not when it goes on.

    `info["action_mask"]` (A,), int8, says what is allowed: what the environment itself allows
    (`own_mask`), and while it trains, of this what `TrainingCost.training_actions` leaves. Where
    it leaves nothing of it, the environment's word stands: an environment may raise on what it
    forbids. An action that is not allowed becomes the first that is.

    Args:
        env: the environment.
        cost: what a step of training does to it.
        steps: of a training job.
        chunk: steps that it runs in one piece; None: all of them.

    Raises:
        ValueError: actions that are not discrete, observations that cannot be flattened, pieces
            where the environment does not say `is_tight`; in a step: a mask of another shape, or
            one that allows nothing before the episode ends.
    """

    def __init__(
        self, env: gymnasium.Env, cost: TrainingCost, steps: int = 1, chunk: int | None = None
    ):
        super().__init__(env)
        self._actions = _number_of_actions(env)
        inner = spaces.flatten_space(env.observation_space)
        if not isinstance(inner, spaces.Box):
            raise ValueError(f"observations cannot be flattened: {env.observation_space}")
        low = np.append(inner.low, 0.0).astype(np.float32)
        high = np.append(inner.high, 1.0).astype(np.float32)
        self.observation_space = spaces.Box(low, high, dtype=np.float32)
        if chunk is not None and not hasattr(env.unwrapped, "is_tight"):
            raise ValueError(
                f"gym.chunk: {type(env.unwrapped).__name__} has no attribute is_tight, which says "
                "that a training job must not go on now"
            )
        self.cost, self._steps, self._chunk = cost, steps, steps if chunk is None else chunk
        self._allowed_by_env = np.ones(self._actions, bool)
        self._last_action: int | None = None
        self._inner: Any = None
        self.steps_left = 0  # of the training job; 0: there is none
        self.piece_left = 0  # steps of it that run now; 0: there is none, or it pauses

    def reset(self, **kwargs: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode; a training job goes on."""
        self._inner, info = self.env.reset(**kwargs)
        self._last_action = None
        self._allowed_by_env = np.ones(self._actions, bool)
        return self.observation(), self._with_mask(info)

    def step(self, action: Any) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        """Plays a step, and one of the training job, if there is one."""
        mask, action = self.action_masks(), int(action)
        if not mask.any():
            raise ValueError(
                f"{type(self.env.unwrapped).__name__} allows no action: its action mask is all 0"
            )
        if not (0 <= action < self._actions and mask[action]):
            action = int(mask.argmax())
        trains = self.piece_left > 0
        paid = self.cost.pay_for_training() if trains else 0.0
        self._inner, reward, terminated, truncated, info = self.env.step(action)
        self._last_action = action
        self.steps_left -= trains
        self.piece_left -= trains
        if self.steps_left and not self.piece_left and not self._must_pause:
            self._open_piece()
        info = self._with_mask(info)
        return self.observation(), float(reward) + paid, terminated, truncated, info

    def request_training(self) -> None:
        """Inserts a training job before the next step, unless one is running."""
        if not self.steps_left:
            self.steps_left = self._steps
            self._open_piece()

    def forget_training(self) -> None:
        """There is no training job any more."""
        self.steps_left = self.piece_left = 0

    @property
    def is_training_new(self) -> bool:
        """Whether a training job was inserted and has not begun to run."""
        return self.steps_left == self._steps

    def observation(self) -> np.ndarray:
        """(F + 1,) as it is now, the training flag last."""
        flat = spaces.flatten(self.env.observation_space, self._inner)
        return np.append(flat, self.steps_left / self._steps).astype(np.float32)

    def action_masks(self) -> Bools:
        """(A,) actions allowed now."""
        return self.mask_with_training() if self.piece_left else self._allowed_by_env

    def mask_with_training(self) -> Bools:
        """(A,) actions that are left if it trains now."""
        left = np.asarray(self.cost.training_actions(self._last_action), bool)
        both = left & self._allowed_by_env
        return both if both.any() else self._allowed_by_env

    @property
    def _must_pause(self) -> bool:
        return self._chunk < self._steps and bool(self.env.unwrapped.is_tight)

    def _open_piece(self) -> None:
        self.piece_left = min(self._chunk, self.steps_left)

    def _with_mask(self, info: dict[str, Any]) -> dict[str, Any]:
        mask = own_mask(self.env, self._inner, info)
        if mask is not None:
            self._allowed_by_env = _checked(mask, self._actions)
        return info | {"action_mask": self.action_masks().astype(np.int8)}


def own_mask(env: gymnasium.Env, observation: Any, info: dict[str, Any]) -> Any:
    """What an environment says of its actions, in the first of the usual places; None: nothing.

    `info["action_mask"]` (Gymnasium), `observation["action_mask"]` (RLlib, PettingZoo), or a method
    `action_masks()` (sb3-contrib).
    """
    if "action_mask" in info:
        return info["action_mask"]
    if isinstance(observation, Mapping) and "action_mask" in observation:
        return observation["action_mask"]
    return env.get_wrapper_attr("action_masks")() if env.has_wrapper_attr("action_masks") else None


def _checked(mask: Any, actions: int) -> Bools:
    allowed = np.asarray(mask).astype(bool)
    if allowed.shape != (actions,):
        raise ValueError(f"action_mask has the shape {allowed.shape}, not ({actions},)")
    return allowed


def _number_of_actions(env: gymnasium.Env) -> int:
    if not isinstance(env.action_space, spaces.Discrete) or env.action_space.start != 0:
        raise ValueError(f"actions must be Discrete(A), not {env.action_space}")
    return int(env.action_space.n)
