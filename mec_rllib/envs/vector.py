"""N MEC servers as one Gymnasium vector environment, on one kernel call per slot."""

from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from mec_rllib.envs.afterstates import encoder_of
from mec_rllib.envs.config import EnvConfig
from mec_rllib.envs.gym_world import GymVectorEnv
from mec_rllib.envs.viewer import RENDERERS
from mec_rllib.sim.jobs import Bools
from mec_rllib.sim.totals import Totals


def build_vector_env(
    config: EnvConfig,
    num_envs: int,
    first_index: int = 0,
    observe: dict[str, Any] | None = None,
) -> "MecVectorEnv | GymVectorEnv":
    """The vector environment that a config describes."""
    if config.gym is not None:
        return GymVectorEnv(config.gym.build(num_envs, 0, first_index))
    return MecVectorEnv(num_envs, first_index=first_index, observe=observe, config=config)


class MecVectorEnv(VectorEnv):
    """N servers in lockstep; server k of a seed sees the same jobs whatever N is.

    Infos hold `action_mask` (N, M + 1; int8, as Gymnasium's `sample(mask=...)` takes it) and
    `reward_terms` (N, 3: start, expiry, drop, not scaled). Autoreset is NEXT_STEP: after a
    truncation the next step plays no slot. A continuing task needs no reset at all: without
    `max_episode_steps` nothing is ever truncated, unless a workload ends.

    Args:
        num_envs: N.
        max_episode_steps: slots of an episode; None: endless.
        first_index: index of the first server (see `ServerBatch`).
        observe: what is observed (arguments of `encoder_of`).
        config: the env section, typed; or give its keys as **env.
        render_mode: what `render` returns of each server: "ansi", "rgb_array", or None.

    Raises:
        ValueError: another render mode, or a key that leads nowhere.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "autoreset_mode": AutoresetMode.NEXT_STEP,
        "render_modes": list(RENDERERS),
        "render_fps": 4,
    }

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        first_index: int = 0,
        observe: dict[str, Any] | None = None,
        config: EnvConfig | None = None,
        render_mode: str | None = None,
        **env: Any,
    ):
        if render_mode is not None and render_mode not in RENDERERS:
            raise ValueError(
                f"render_mode must be {', '.join(RENDERERS)} or None, not {render_mode!r}"
            )
        self.render_mode = render_mode
        self.servers = (config or EnvConfig(**env)).build_servers(num_envs, 0, first_index)
        self.encoder = encoder_of(self.servers, **(observe or {}))
        self.num_envs = num_envs
        self.single_observation_space = spaces.Box(
            self.encoder.low, self.encoder.high, (self.encoder.size,), np.float32
        )
        self.single_action_space = spaces.Discrete(self.servers.buffer + 1)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._max_episode_steps = max_episode_steps
        self._episode_steps = 0
        self._ended = False
        self._seeded = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Observations (N, size) and infos; a seed starts afresh, without one time goes on."""
        super().reset(seed=seed)
        if seed is None and not self._seeded:
            seed = int(self.np_random.integers(2**31))
        if seed is not None:
            self.servers.reset(seed)
        self._seeded = True
        self._episode_steps, self._ended = 0, False
        return self.encoder.encode(), self._infos()

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Plays one slot of every server: observations, rewards / largest weight, and the rest."""
        if self._ended:  # the autoreset step: only the bookkeeping of the episode starts anew
            self._episode_steps, self._ended = 0, False
            rewards = np.zeros(self.num_envs)
        else:
            rewards = self.servers.step(actions) / self.servers.workload.max_weight
            self._episode_steps += 1
            length = self.servers.workload.length
            self._ended = self._episode_steps == self._max_episode_steps or (
                length is not None and self.servers.slot >= length
            )
        terminated = np.zeros(self.num_envs, bool)
        truncated = np.full(self.num_envs, self._ended)
        return self.encoder.encode(), rewards, terminated, truncated, self._infos()

    def totals(self) -> Totals:
        """What happened since the start."""
        return Totals.of(self.servers)

    def request_training(self, wanted: np.ndarray) -> None:
        """Inserts training jobs where none waits or runs; see `ServerBatch.request_training`."""
        self.servers.request_training(wanted)

    def action_masks(self) -> Bools:
        """(N, M + 1) actions allowed now."""
        return self.servers.mask.copy()

    def render(self) -> tuple[Any, ...] | None:
        """What `render_mode` says, of each server: N lines, or N pictures (H, W, 3), uint8."""
        if self.render_mode is None:
            return None
        show = RENDERERS[self.render_mode]
        return tuple(show(self.servers, index) for index in range(self.num_envs))

    def _infos(self) -> dict[str, Any]:
        present = np.ones(self.num_envs, bool)
        return {
            "action_mask": self.servers.mask.astype(np.int8),
            "_action_mask": present,
            "reward_terms": self.servers.reward_terms.copy(),
            "_reward_terms": present,
        }
