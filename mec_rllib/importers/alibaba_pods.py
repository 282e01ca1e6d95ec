"""The openb pod lists of Alibaba's cluster-trace-gpu-v2023: pods of a GPU cluster, one node large.

The recipe of `pods_openb.csv`: pods that were scheduled arrive when they were created and run from
scheduling to deletion. The demand is the larger share of a node's processors and accelerators. The
first pods have been there for ever, so a share of them is left out.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from mec_rllib.importers.base import Found, Importer, Jobs, at_most_one, interactive_where
from mec_rllib.importers.lines import Log, concatenated, table_of

CPU, MEMORY, GPUS, GPU, QOS = "cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "qos"
CREATED, DELETED, SCHEDULED = "creation_time", "deletion_time", "scheduled_time"
TIMES = (CREATED, DELETED, SCHEDULED)


class AlibabaPods(Importer):
    """Alibaba cluster-trace-gpu-v2023: an openb pod list (CSV)."""

    node_cpu_milli: float = Field(96_000.0, gt=0, description="cpu_milli of a node")
    node_gpu_milli: float = Field(8_000.0, gt=0, description="gpu_milli of a node, all its GPUs")
    node_memory_mib: float | None = Field(
        None, gt=0, description="memory_mib of a node; none: memory is not looked at"
    )
    demands: Literal["largest", "each"] = Field(
        "largest",
        description="largest: one demand, the largest share; each: demand_cpu, demand_gpu (and "
        "demand_memory)",
    )
    interactive_qos: str = Field(
        "LS,Guaranteed", description="qos that are interactive, comma-separated; others are elastic"
    )
    skip: float = Field(
        0.05, ge=0, lt=1, description="share of the scheduled pods that is left out at the start"
    )

    digits: ClassVar[int] = 3
    demand_digits: ClassVar[int] = 4

    def jobs(self, files: Sequence[Path]) -> Jobs:
        """See `Importer.jobs`; several files share one clock."""
        memory = () if self.node_memory_mib is None else (MEMORY,)
        numbers = (CPU, *memory, GPUS, GPU, *TIMES)
        logs = [table_of(file, numbers, (QOS,), (DELETED, SCHEDULED)) for file in files]
        for log in logs:
            _check(log, numbers)
        columns = {name: concatenated(logs, name) for name in (*numbers, QOS)}
        duration = columns[DELETED] - columns[SCHEDULED]
        found = Found(len(duration))
        found.leave_out(np.isnan(columns[SCHEDULED]), "never scheduled")
        found.leave_out(np.isnan(columns[DELETED]), "never deleted")
        found.leave_out(duration == 0, "that ran 0 s")
        demands = self._demands(columns, found)
        interactive = [name.strip() for name in self.interactive_qos.split(",")]
        qos = pd.Series(columns[QOS]).fillna("").str.strip()
        table = {"arrival_s": columns[CREATED], "duration_s": duration, **demands}
        table["job_class"] = interactive_where(qos.isin(interactive).to_numpy())
        return self.finished(pd.DataFrame(table), found)

    def _demands(self, columns: dict[str, np.ndarray], found: Found) -> dict[str, np.ndarray]:
        """Shares of a node, by column."""
        shares = {"cpu": columns[CPU] / self.node_cpu_milli}
        shares["gpu"] = columns[GPUS] * columns[GPU] / self.node_gpu_milli
        if self.node_memory_mib is not None:
            shares["memory"] = columns[MEMORY] / self.node_memory_mib
        found.leave_out(np.max([*shares.values()], axis=0) <= 0, "that demand nothing")
        if self.demands == "largest":
            largest = np.max([*shares.values()], axis=0)
            return {"demand": at_most_one(largest, found, "a whole node")}
        return {
            f"demand_{kind}": at_most_one(share, found, f"a node's {kind}")
            for kind, share in shares.items()
        }

    def trimmed(self, table: pd.DataFrame, found: Found) -> pd.DataFrame:
        """Without the first pods."""
        first = math.ceil(self.skip * len(table))
        if first:
            found.left_out[f"at the start ({100 * self.skip:g} % of the scheduled ones)"] = first
        return table.iloc[first:].reset_index(drop=True)


def _check(log: Log, numbers: Sequence[str]) -> None:
    """A ValueError names the line of a pod that cannot be right."""
    for name in numbers:
        log.refuse(log[name] < 0, f"{name} must be 0 or more, not {{{name}}}", name)
        log.refuse(log[name] > 1e12, f"{name} must be at most 1e12, not {{{name}}}", name)
    for later, earlier in ((DELETED, SCHEDULED), (SCHEDULED, CREATED)):
        wrong = log[later] < log[earlier]
        log.refuse(wrong, f"{later} {{{later}}} is before {earlier} {{{earlier}}}", later, earlier)
