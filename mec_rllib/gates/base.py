"""What a gate is: it sees a `GateView` each slot and answers a boolean per server."""

from typing import Any, NamedTuple

import numpy as np

from mec_rllib.sim.jobs import Bools, Floats, Ints

State = dict[str, Any]


class GateView(NamedTuple):
    """What a gate sees in one slot.

    psi and since_training are about the kind of training job that the gate asks for; a gate that
    chooses among J kinds sees (N, J).
    """

    slot: int  # slots every server has played so far
    psi: Floats  # (N,) what a training job now is worth, in Q: <= 0 if it costs; NaN if not asked
    can_ask: Bools  # (N,) no training job waits or runs
    is_idle: Bools  # (N,) no unit in use and nobody waits
    is_empty: Bools  # (N,) no unit in use; jobs may wait
    since_training: Ints  # (N,) slots since the last training job completed
    td_statistic: Floats  # (N,) EMA(|TD error|) / EMA(|V|): how unreliable Q is
    rng: np.random.Generator  # for gates that draw
    td_error: Floats  # (N,) of the last slot, in Q; NaN if there is none, or not asked
    reward: Floats  # (N,) of the last slot, divided by the largest weight
    use: Floats  # (N,) share of the units in use, of the kind that is used most
    queue: Ints  # (N,) jobs that wait
    agreement: Floats  # (N,) of two networks on psi, rank correlation; NaN if not asked
    price: Floats  # (N,) reward that a training job takes away; NaN if not known, or not asked


def without_rng(view: GateView) -> GateView:
    """For compiled code that does not draw: to hand a generator over costs more than a slot."""
    return view._replace(rng=None)  # type: ignore[arg-type]


class Gate:
    """Base of all gates; a gate of your own needs `wants` only.

    Args:
        num_servers: N.
    """

    needs_psi = False  # psi costs a second row in every forward pass
    needs_td = False  # TD errors and their statistic alone; they come with psi anyway
    needs_agreement = False  # a second network is trained along, and asked for its psi
    needs_price = ""  # who says what a training job costs: "counterfactual" or "hindsight"
    # False: training is free, a job holds nothing and completes at once. So it is for a class
    # (`ideal`), or for any gate that is built so (`gate.free`).
    occupies = True
    chooses_kind = False  # True: it answers a kind of training job, 0..J-1, or -1 for none
    updates_per_job = 32  # K that a training job pays for, unless a config says otherwise

    def __init__(self, num_servers: int):
        self.num_servers = num_servers

    @classmethod
    def of_kinds(cls, num_servers: int, kind_costs: Floats, **keys: Any) -> "Gate":
        """The gate for a world with several kinds of training jobs, if none is named for it.

        Args:
            num_servers: N.
            kind_costs: (J,) slots of the whole server that a training job of each kind takes.
            **keys: of the constructor.

        Raises:
            ValueError: it does not choose among kinds.
        """
        if cls.occupies and not cls.chooses_kind:
            raise ValueError(f"{cls.__name__} does not choose among kinds of training jobs")
        return cls(num_servers, **keys)

    @classmethod
    def can_choose_kind(cls) -> bool:
        """Whether there is a gate `of_kinds`."""
        own, base = (getattr(gate.of_kinds, "__func__", None) for gate in (cls, Gate))
        return not cls.occupies or cls.chooses_kind or own is not base

    def wants(self, view: GateView) -> Bools | Ints:
        """(N,) whether to insert a training job now; if it chooses: of which kind, or -1."""
        raise NotImplementedError(f"{type(self).__name__} must say when it wants to train")

    def credits(self, completed: Bools) -> Bools:
        """(N,) the training jobs, of those just completed, that pay for learner updates: all."""
        return completed

    def reasons(self) -> dict[str, Bools]:
        """Why `wants` answered as it did, by name: (N,) where that is the reason to train.

        Training jobs that are inserted are counted by it; {}: there is nothing to tell apart.
        """
        return {}

    def get_state(self) -> State:
        """Everything `wants` remembers, as numpy arrays and plain numbers."""
        return {}

    def set_state(self, state: State) -> None:
        """Takes over what `get_state` returned."""

    def metrics(self) -> dict[str, float]:
        """Figures of the last slot, for TensorBoard."""
        return {}
