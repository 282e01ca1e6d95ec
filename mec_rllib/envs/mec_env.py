"""One MEC server as a Gymnasium environment."""

from typing import Any, ClassVar

import gymnasium
import numpy as np

from mec_rllib.envs.config import EnvConfig
from mec_rllib.envs.vector import MecVectorEnv
from mec_rllib.envs.viewer import RENDERERS
from mec_rllib.sim.jobs import Bools


class MecEnv(gymnasium.Env):
    """Schedule user jobs with deadlines on one server; a training job may take it over.

    Action i starts the i-th waiting job, 0 starts nothing; `info["action_mask"]` (M + 1,), int8,
    says what is allowed, a disallowed action starts nothing. The reward is the sum of
    `info["reward_terms"]` (start, expiry, drop) divided by the largest weight. The observation
    is described in `mec_rllib.envs.observation`.

    The task is continuing: `reset(seed=...)` empties the server and starts the jobs anew,
    `reset()` goes on where the last episode ended (an episode is bookkeeping).

    Args:
        server_index: which server of the seed this is; index k sees the jobs of `MecVectorEnv`'s
            server k.
        observe: what is observed (arguments of `mec_rllib.envs.afterstates.encoder_of`).
        render_mode: "ansi" (one line), "rgb_array" (a picture), or None; see
            `mec_rllib.envs.viewer`.
        **env: the keys of the config's `env` section (`mec_rllib.envs.config.EnvConfig`).

    Raises:
        ValueError: another render mode, or a key that leads nowhere.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "render_modes": list(RENDERERS),
        "render_fps": 4,
    }

    def __init__(
        self,
        server_index: int = 0,
        observe: dict[str, Any] | None = None,
        render_mode: str | None = None,
        **env: Any,
    ):
        self._fleet = MecVectorEnv(
            1,
            first_index=server_index,
            observe=observe,
            config=EnvConfig(**env),
            render_mode=render_mode,
        )
        self.render_mode = render_mode
        self.servers = self._fleet.servers
        self.observation_space = self._fleet.single_observation_space
        self.action_space = self._fleet.single_action_space
        self._seeded = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Observation (4M + 2,) and info; without a seed, time goes on."""
        super().reset(seed=seed)
        if seed is None and not self._seeded:
            seed = int(self.np_random.integers(2**31))
        self._seeded = True
        observations, infos = self._fleet.reset(seed=seed)
        return observations[0], _first(infos)

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Plays one slot; truncated when a workload that ends has ended."""
        observations, rewards, _, truncated, infos = self._fleet.step(np.array([action]))
        return observations[0], float(rewards[0]), False, bool(truncated[0]), _first(infos)

    def request_training(self, kind: int = 0) -> None:
        """Inserts a training job of a kind before the next step, unless one is there."""
        self.servers.request_training(np.array([kind]))

    def action_masks(self) -> Bools:
        """(M + 1,) actions allowed now, as sb3-contrib's MaskablePPO asks for them."""
        return self._fleet.action_masks()[0]

    def render(self) -> Any:
        """What `render_mode` says: a line of text, or a picture (H, W, 3), uint8."""
        shown = self._fleet.render()
        return None if shown is None else shown[0]


def _first(infos: dict[str, Any]) -> dict[str, Any]:
    return {key: value[0] for key, value in infos.items() if not key.startswith("_")}
