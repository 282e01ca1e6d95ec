"""Several kinds of training jobs: a gate for each, and who of them gets its way."""

from collections.abc import Sequence
from inspect import signature
from typing import Any

import numpy as np

from mec_rllib.gates.base import Gate, GateView, State
from mec_rllib.sim.jobs import Bools, Floats, Ints
from mec_rllib.sim.training_jobs import NO_KIND


class GatePerKind(Gate):
    """Asks for a kind of training job where the gate of that kind would.

    The flag in the observation names the kind, so each kind has a psi of its own. Where several
    ask at once the costliest gets its way, for which a good moment is rarest (reconstructed: the
    source knows one kind).

    Args:
        gates: one per kind, of the same N servers.
        kind_costs: (J,) slots of the whole server that a training job of each kind takes.
    """

    chooses_kind = True

    def __init__(self, gates: Sequence[Gate], kind_costs: Floats):
        super().__init__(gates[0].num_servers)
        self.gates = list(gates)
        self.needs_psi, self.needs_td = gates[0].needs_psi, gates[0].needs_td
        self._by_cost = np.argsort(kind_costs, kind="stable")
        self._wanted = np.full(self.num_servers, NO_KIND)

    def wants(self, view: GateView) -> Ints:
        """(N,) the kind to ask for, or -1."""
        kinds = np.full(self.num_servers, NO_KIND)
        for k in self._by_cost:
            of_kind = view._replace(
                psi=np.ascontiguousarray(view.psi[:, k]),
                since_training=np.ascontiguousarray(view.since_training[:, k]),
            )
            kinds[self.gates[k].wants(of_kind)] = k
        self._wanted = kinds
        return kinds

    def reasons(self) -> dict[str, Bools]:
        """Those of the gate of the kind that is asked for."""
        of_kinds = [gate.reasons() for gate in self.gates]
        return {
            name: np.any([(self._wanted == k) & of[name] for k, of in enumerate(of_kinds)], axis=0)
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
        """Those of each kind's gate, with the number of the kind."""
        return {
            f"{name}_{k}": value
            for k, gate in enumerate(self.gates)
            for name, value in gate.metrics().items()
        }


def build_gate(
    gate: Any,
    num_servers: int,
    kind_costs: Floats,
    kind: int | None,
    free: bool = False,
    seed: int = 0,
    **keys: Any,
) -> Gate:
    """A gate for N servers; if it draws by itself, it gets the seed, too.

    Args:
        gate: its class.
        num_servers: N.
        kind_costs: (J,) slots of the whole server that a training job of each kind takes.
        kind: of training job that it asks for; None: the only one, or the gate chooses.
        free: its training jobs hold nothing and complete at once.
        seed: of the run.
        **keys: of the gate.

    Raises:
        ValueError: there are several kinds, none is named, and the gate does not choose.
    """
    if "seed" in signature(gate).parameters:
        keys = {"seed": seed} | keys
    has_choice = kind is None and len(kind_costs) > 1
    built: Gate = (
        gate.of_kinds(num_servers, kind_costs, **keys) if has_choice else gate(num_servers, **keys)
    )
    if free:
        built.occupies = False
    return built
