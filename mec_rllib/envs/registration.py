"""One name for the environment, in Gymnasium and in RLlib."""

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import gymnasium

ENV_ID = "MecScheduling-v0"
WORLDS = {  # others of ours, for `env.gym`
    "LlmServing-v0": "mec_rllib.envs.llm.env:LlmServing",
    "Polling-v0": "mec_rllib.envs.poll.env:PollingServer",
}
EPISODE_SLOTS = 250  # 350 episodes of exploration decay (known) = 87,500 slots
_RAY_REGISTRY = "ray.tune.registry"


def register_everywhere() -> None:
    """Registers with Gymnasium now, and with RLlib now or when Ray's registry is imported."""
    if ENV_ID in gymnasium.registry:
        return
    gymnasium.register(
        ENV_ID,
        entry_point="mec_rllib.envs.mec_env:MecEnv",
        vector_entry_point="mec_rllib.envs.vector:MecVectorEnv",
        max_episode_steps=EPISODE_SLOTS,
    )
    for name, place in WORLDS.items():
        gymnasium.register(name, entry_point=place)
    if _RAY_REGISTRY in sys.modules:
        sys.modules[_RAY_REGISTRY].register_env(ENV_ID, create)
    else:
        sys.meta_path.insert(0, _RegisterWhenRayArrives())


def create(config: Mapping[str, Any]) -> gymnasium.Env | gymnasium.vector.VectorEnv:
    """RLlib's environment creator: the vector environment if it asks for `num_envs`."""
    if "num_envs" in config:
        mode = gymnasium.VectorizeMode.VECTOR_ENTRY_POINT
        return gymnasium.make_vec(ENV_ID, vectorization_mode=mode, **config)
    return gymnasium.make(ENV_ID, **config)


class _RegisterWhenRayArrives(MetaPathFinder):
    """Calls `register_env` right after Ray's registry is loaded.

    Remote RLlib workers know an environment by name only through Ray's registry, and importing
    Ray takes seconds that `import mec_rllib` should not cost everybody.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _RAY_REGISTRY:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_register(module: ModuleType) -> None:
            load(module)
            module.register_env(ENV_ID, create)

        spec.loader.exec_module = load_and_register  # type: ignore[method-assign]
        return spec
