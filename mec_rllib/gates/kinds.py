"""ATS where there are several kinds of training jobs: when to train, and with which."""

from collections.abc import Sequence

import numpy as np

from mec_rllib.gates.ats import ATS, Percentile, Ties
from mec_rllib.gates.base import Gate, GateView, State
from mec_rllib.gates.periodic import LongestWait, Period
from mec_rllib.gates.psi_gate import Fallback, MinHistory, Refresh, TDCutoff, Window
from mec_rllib.sim.jobs import Bools, Ints


class ATSKinds(Gate):
    """One ATS per kind of training job; a kind is asked for where its psi is high enough.

    The flag in the observation names the kind, so each kind has a psi of its own, and a threshold
    among its own recent values. All kinds together take as much of the server as jobs of one slot
    do at `percentile` (1 % for 99), each kind an equal part of it: a costly kind is rarer. Where
    several ask at once the costliest gets its way, for which a good moment is rarest
    (reconstructed: the source knows one kind).

    Args:
        num_servers: N.
        kind_costs: slots of the whole server that a training job of each kind takes.
        period: as for one kind of one slot; a kind waits that much longer while Q is unreliable.
        percentile: likewise, in (0, 100).
        window: recent values kept, per server and kind.
        min_history: values needed before there is a threshold.
        refresh: slots between two looks at the percentile.
        ties: "ge", "gt" or "random"; see `ATS`.
        td_cutoff: highest TD statistic at which psi is trusted.
        fallback: what it does while Q is unreliable: "pts", "idle" or "server_empty".
        longest_wait: the fallback trains anyway after this many slots; None: it waits for ever.

    Raises:
        ValueError: kinds so small that one of them would have to train in every slot.
    """

    needs_psi = True
    chooses_kind = True

    def __init__(
        self,
        num_servers: int,
        kind_costs: Sequence[float],
        period: Period = 100,
        percentile: Percentile = 99.0,
        window: Window = 1000,
        min_history: MinHistory = 500,
        refresh: Refresh = 10,
        ties: Ties = "ge",
        td_cutoff: TDCutoff = 0.1,
        fallback: Fallback = "pts",
        longest_wait: LongestWait = None,
    ):
        super().__init__(num_servers)
        rarer = [len(kind_costs) * cost for cost in kind_costs]  # than one kind of one slot
        rates = [(1.0 - percentile / 100.0) / times for times in rarer]
        if max(rates) >= 1.0:
            raise ValueError(f"percentile {percentile:g} would train small kinds in every slot")
        self.gates = [
            ATS(
                num_servers,
                max(round(period * times), 1),
                100.0 * (1.0 - rate),
                window,
                min_history,
                refresh,
                ties,
                td_cutoff,
                fallback,
                longest_wait,
            )
            for times, rate in zip(rarer, rates, strict=True)
        ]
        self._by_cost = np.argsort(kind_costs, kind="stable")
        self._wanted = np.zeros(num_servers, np.int64)

    def wants(self, view: GateView) -> Ints:
        """(N,) the kind to ask for, 1..J, or 0."""
        kinds = np.zeros(self.num_servers, np.int64)
        for k in self._by_cost:
            of_kind = view._replace(
                psi=np.ascontiguousarray(view.psi[:, k]), since_training=view.since_training[:, k]
            )
            kinds[self.gates[k].wants(of_kind)] = k + 1
        self._wanted = kinds
        return kinds

    def reasons(self) -> dict[str, Bools]:
        """Those of the ATS of the kind that is asked for."""
        of_kinds = [gate.reasons() for gate in self.gates]
        return {
            name: np.any(
                [(self._wanted == k) & of[name] for k, of in enumerate(of_kinds, start=1)], axis=0
            )
            for name in of_kinds[0]
        }

    def get_state(self) -> State:
        """Of every kind."""
        return {"kinds": [gate.get_state() for gate in self.gates]}

    def set_state(self, state: State) -> None:
        """Takes over what `get_state` returned."""
        for gate, of_kind in zip(self.gates, state["kinds"], strict=True):
            gate.set_state(of_kind)

    def metrics(self) -> dict[str, float]:
        """Those of ATS, for each kind (1..J)."""
        return {
            f"{name}_{k}": value
            for k, gate in enumerate(self.gates, start=1)
            for name, value in gate.metrics().items()
        }
