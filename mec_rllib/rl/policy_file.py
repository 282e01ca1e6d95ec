"""A policy on disk, without pickle: `policy.json` says how to build it, safetensors its weights."""

from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ray.rllib.core.rl_module.apis import TargetNetworkAPI
from ray.rllib.core.rl_module.rl_module import RLModule
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from mec_rllib.lookup import nearest
from mec_rllib.rl.modules import MODULES

SPEC = "policy.json"
WEIGHTS = "policy.safetensors"


class PolicySpec(BaseModel):
    """How to build the module of a policy file."""

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())

    module: str = Field(max_length=100)  # a name in MODULES
    inputs: int = Field(ge=1, le=10**7)  # size of an observation
    actions: int = Field(ge=1, le=10**6)
    observe: dict[str, Any]  # extras of the observation (arguments of `Encoder`)
    model_config_dict: dict[str, Any]  # RLlib's `model_config`


def save_policy(module: RLModule, folder: Path, observe: dict[str, Any]) -> None:
    """Writes the policy, a target network included, into a folder.

    Raises:
        ValueError: a module whose class is not in `MODULES`.
    """
    names = [name for name, kind in MODULES.items() if kind is type(module)]
    if not names:
        raise ValueError(f"{type(module).__name__} has no name in mec_rllib.rl.modules.MODULES")
    spec = PolicySpec(
        module=names[0],
        inputs=module.observation_space.shape[0],
        actions=int(module.action_space.n),
        observe=observe,
        model_config_dict=dict(module.model_config),
    )
    (folder / SPEC).write_text(spec.model_dump_json(indent=1) + "\n", encoding="utf-8")
    weights = {name: np.ascontiguousarray(values) for name, values in module.get_state().items()}
    save_file(weights, folder / WEIGHTS)


def load_policy(folder: Path) -> tuple[RLModule, dict[str, Any]]:
    """The module that `save_policy` wrote, and the extras of its observations.

    Raises:
        ValueError: no policy there, or one that is damaged; one line.
    """
    try:
        spec = PolicySpec.model_validate_json((folder / SPEC).read_bytes())
        weights = load_file(folder / WEIGHTS)
    except FileNotFoundError:
        raise ValueError(f"{folder}: holds no policy ({SPEC}, {WEIGHTS})") from None
    except (OSError, ValidationError, SafetensorError):
        raise ValueError(f"{folder}: its policy is damaged") from None
    if spec.module not in MODULES:
        raise ValueError(
            f"{folder}: unknown module {spec.module!r}; {nearest(spec.module, MODULES)}"
        )
    try:
        module = MODULES[spec.module](
            observation_space=spaces.Box(0.0, 1.0, (spec.inputs,), np.float32),
            action_space=spaces.Discrete(spec.actions),
            model_config=spec.model_config_dict,
            inference_only=False,
        )
        if isinstance(module, TargetNetworkAPI):
            module.make_target_networks()
        if weights.keys() != module.state_dict().keys():
            raise ValueError("the weights are those of another network")
        module.set_state(weights)
    except Exception as error:  # whatever a wrong shape or a wrong value ends in
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"{folder}: its policy does not fit together: {reason[0]}") from None
    return module, spec.observe
