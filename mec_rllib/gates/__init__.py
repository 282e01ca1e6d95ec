"""When to train: the gates. Pure rules on numpy arrays, batched over N servers.

Each slot a gate sees a `GateView` and answers a boolean per server: insert a training job now?
Where there are several kinds of training jobs, a gate asks for the kind that the config tells, or
chooses one itself (`Gate.of_kinds`). A gate is asked for all servers; the answer counts where no
training job waits or runs. One completed training job is one credit, worth `updates_per_job`
learner updates.

`ideal`, `pts` and `ats` follow the source (arXiv 2411.07086); what it leaves open is
*reconstructed*: the TD statistic, the tie rules, and the naive gates `idle` and `server_empty`.
`budget`, which ranks slots by a score, is ours; more gates of ours are in `examples/gates`.
"""

from collections.abc import Callable

from mec_rllib.gates.ats import ATS, Ties
from mec_rllib.gates.base import Gate, GateView, State
from mec_rllib.gates.budget import Budget
from mec_rllib.gates.costless import Costless
from mec_rllib.gates.kinds import GatePerKind, build_gate
from mec_rllib.gates.periodic import PTS, Always, Ideal, Idle, Never, ServerEmpty
from mec_rllib.gates.psi_gate import Fallback, PsiGate
from mec_rllib.gates.rule import RuleGate
from mec_rllib.gates.td_statistic import TDStatistic

__all__ = [
    "ATS",
    "GATES",
    "PTS",
    "Always",
    "Budget",
    "Costless",
    "Fallback",
    "Gate",
    "GatePerKind",
    "GateView",
    "Ideal",
    "Idle",
    "Never",
    "PsiGate",
    "RuleGate",
    "ServerEmpty",
    "State",
    "TDStatistic",
    "Ties",
    "build_gate",
]

GATES: dict[str, Callable[..., Gate]] = {
    "ideal": Ideal,
    "never": Never,
    "always": Always,
    "pts": PTS,
    "ats": ATS,
    "idle": Idle,
    "server_empty": ServerEmpty,
    "budget": Budget,
    "costless": Costless,
}
