"""What a run reports, over slots: the groups that TensorBoard, progress and reports show."""

from typing import Any

from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.utils.metrics import LEARNER_RESULTS

from mec_rllib.rl.algorithm import GatedAlgorithm
from mec_rllib.rl.gated_config import require_gated
from mec_rllib.sim.totals import Sums, world_figures


class MetricsCallback(RLlibCallback):
    """Adds the figures of an iteration to the result; the configs of gated algorithms have it.

    `timesteps_total` is the number of slots, so it is the x-axis in TensorBoard.
    """

    def on_algorithm_init(self, *, algorithm: GatedAlgorithm, **kwargs: Any) -> None:
        """Nothing has been reported so far."""
        require_gated(algorithm.config, self)
        self._reported: Sums | None = None
        self._requests: dict[str, int] = {}

    def on_checkpoint_loaded(self, *, algorithm: GatedAlgorithm, **kwargs: Any) -> None:
        """What was played before has been reported."""
        self._reported = algorithm.totals
        self._requests = algorithm.requests_by_reason

    def on_train_result(
        self, *, algorithm: GatedAlgorithm, result: dict[str, Any], **kwargs: Any
    ) -> None:
        """Adds the groups reward, miss_rate, server, training, gate and learner."""
        totals = algorithm.totals
        assert totals is not None  # an iteration plays at least a slot
        result |= world_figures(totals, self._reported)
        self._reported = totals
        result["training"] = {
            "jobs": int(totals.training_jobs),
            "updates": algorithm.learner_updates,
            "vetoed_updates": algorithm.vetoed_updates,
        }
        result["faults"] = algorithm.faults
        result["gate"] = {name: float(value) for name, value in result.get("gate", {}).items()}
        result["gate"] |= self._request_figures(algorithm.requests_by_reason)
        learned = result.get(LEARNER_RESULTS, {}) | result.get("exploration", {})
        result["learner"] = {name: float(value) for name, value in learned.items()}
        # A tuple: Tune's TensorBoard logger would draw a histogram of a list in every iteration.
        result["training_slots"] = tuple(algorithm.training_slots)

    def _request_figures(self, requests: dict[str, int]) -> dict[str, float]:
        """Requests to train so far, by reason; and their shares, of those since the last report."""
        new = {reason: n - self._requests.get(reason, 0) for reason, n in requests.items()}
        self._requests = requests
        figures = {f"requests_by_{reason}": float(n) for reason, n in requests.items()}
        if total := sum(new.values()):
            figures |= {f"share_by_{reason}": n / total for reason, n in new.items()}
        return figures
