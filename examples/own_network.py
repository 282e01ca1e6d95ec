"""Does another network learn better? A Q-network of my own (an RLModule) under ATS.

python -m examples.own_network
"""

import copy
from typing import Any

import torch
from ray.rllib.algorithms.dqn.dqn_learner import (
    QF_NEXT_PREDS,
    QF_PREDS,
    QF_TARGET_NEXT_PREDS,
)
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import InferenceOnlyAPI, QNetAPI, TargetNetworkAPI
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.torch import TorchRLModule

from mec_rllib.rl import GatedDQNConfig


class WideNet(TorchRLModule, QNetAPI, TargetNetworkAPI, InferenceOnlyAPI):
    """One wide hidden layer."""

    def setup(self) -> None:
        """The layers; `model_config` comes from the RLModuleSpec."""
        width = self.model_config["width"]
        self.net = torch.nn.Sequential(
            torch.nn.Linear(self.observation_space.shape[0], width),
            torch.nn.ReLU(),
            torch.nn.Linear(width, int(self.action_space.n)),
        )

    def compute_q_values(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Q (B, A); forbidden actions are masked by whoever acts."""
        return {QF_PREDS: self.net(batch[Columns.OBS])}

    def make_target_networks(self) -> None:
        """A copy that follows slowly."""
        self._target = copy.deepcopy(self.net)

    def get_target_network_pairs(self) -> list[tuple[Any, Any]]:
        """The networks and their copies."""
        return [(self.net, self._target)]

    def forward_target(self, batch: dict[str, Any], **kwargs: Any) -> Any:
        """Q of the copy."""
        return self._target(batch[Columns.OBS])

    def get_non_inference_attributes(self) -> list[str]:
        """What acting does not need."""
        return ["_target"]

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        following = {Columns.OBS: batch[Columns.NEXT_OBS]}
        return self.compute_q_values(batch) | {
            QF_NEXT_PREDS: self.net(batch[Columns.NEXT_OBS]),
            QF_TARGET_NEXT_PREDS: self.forward_target(following),
        }


def main(slots: int = 20_000, width: int = 512) -> dict[str, Any]:
    """Trains it on one server, and pays for every update."""
    spec = RLModuleSpec(module_class=WideNet, model_config={"width": width})
    config = (
        GatedDQNConfig()
        .environment("MecScheduling-v0", env_config={"load": 0.6})
        .gating("ats", updates_per_job=32)
        .rl_module(rl_module_spec=spec)
        .acting(slots_per_iteration=slots)
    )
    algorithm = config.build_algo()
    result = algorithm.train()
    print("R", result["reward"]["lifetime"], "updates", algorithm.learner_updates)
    algorithm.stop()
    return {"updates": algorithm.learner_updates, "reward": result["reward"]["lifetime"]}


if __name__ == "__main__":
    main()
