"""One MEC server as a Gymnasium environment."""

from typing import Any, ClassVar

import gymnasium
import numpy as np

from mec_rllib.envs.config import EnvConfig
from mec_rllib.envs.vector import MecVectorEnv


class MecEnv(gymnasium.Env):
    """Schedule user jobs with deadlines on one server; a training job may take it over.

    Action i starts the i-th waiting job, 0 starts nothing; `info["action_mask"]` (M + 1,) says
    what is allowed, a disallowed action starts nothing. The reward is the sum of
    `info["reward_terms"]` (start, expiry, drop) divided by the largest weight. The observation
    is described in `mec_rllib.envs.observation`.

    The task is continuing: `reset(seed=...)` empties the server and starts the jobs anew,
    `reset()` goes on where the last episode ended (an episode is bookkeeping).

    Args:
        server_index: which server of the seed this is; index k sees the jobs of `MecVectorEnv`'s
            server k.
        observe: what is observed (arguments of `mec_rllib.envs.afterstates.encoder_of`).
        render_mode: "ansi" or None.
        **env: the keys of the config's `env` section (`mec_rllib.envs.config.EnvConfig`).
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi"], "render_fps": 4}

    def __init__(
        self,
        server_index: int = 0,
        observe: dict[str, Any] | None = None,
        render_mode: str | None = None,
        **env: Any,
    ):
        if render_mode not in (None, "ansi"):
            raise ValueError(f"render_mode must be 'ansi' or None, not {render_mode!r}")
        self.render_mode = render_mode
        self._fleet = MecVectorEnv(
            1, first_index=server_index, observe=observe, config=EnvConfig(**env)
        )
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

    def request_training(self, kind: int = 1) -> None:
        """Inserts a training job of a kind (1..J) before the next step, unless one is there."""
        self.servers.request_training(np.array([kind]))

    def render(self) -> str | None:
        """One line: slot, units in use, waiting jobs as class:requirement x execution."""
        if self.render_mode is None:
            return None
        s, names = self.servers.servers, self.servers.workload.class_names
        units = lambda vector: "/".join(map(str, vector))  # noqa: E731
        jobs = [
            f"{names[s.job_class[0, k]]}:{units(s.requirement[0, k])}x{s.execution[0, k]}"
            for k in range(s.waiting[0])
        ]
        used = units(self.servers.units_in_use[0])
        training = {0: "", -1: " training waits"}.get(int(s.training[0]), " training runs")
        return f"slot {self.servers.slot}: {used} in use,{training} [{', '.join(jobs)}]"


def _first(infos: dict[str, Any]) -> dict[str, Any]:
    return {key: value[0] for key, value in infos.items() if not key.startswith("_")}
