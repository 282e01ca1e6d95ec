"""A built-in gate's rule: a compiled function over a tuple of all that the gate knows."""

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from mec_rllib.compiled import by_type, compiled
from mec_rllib.gates.base import Gate, GateView, State, without_rng
from mec_rllib.sim.jobs import Bools

NO_REASON = -1


@by_type
def wants(rule, view, wanted):
    """Writes (N,) whether to train into `wanted`; `rule` says by its type how that is found."""


@by_type
def reason(rule, i):
    """Index of the reason, in the order of `Gate.reasons`, why server i trains; -1: none."""


@compiled
def ask(rule, view, wanted):
    """`wants`, asked from outside."""
    wants(rule, view, wanted)


class RuleGate(Gate):
    """Base of gates whose rule is compiled, so that a loop can ask it without Python.

    Attributes:
        rule: a NamedTuple of numbers and arrays, which may hold such tuples.
    """

    rule: Any
    derived: ClassVar[tuple[str, ...]] = ()  # arrays that follow from others

    def wants(self, view: GateView) -> Bools:
        """(N,) as the rule says."""
        wanted = np.empty(self.num_servers, bool)
        ask(self.rule, without_rng(view), wanted)
        return wanted

    @property
    def compiled_rule(self) -> Any | None:
        """The rule, if a loop that asks it alone does all that this gate does; else None."""
        taken_over = (getattr(type(self), name) for name in ("wants", "credits", "reasons"))
        is_whole = all(method.__module__.startswith("mec_rllib.gates.") for method in taken_over)
        return self.rule if is_whole else None

    def get_state(self) -> State:
        """Every array of the rule."""
        arrays = arrays_of(self.rule)
        return {name: array.copy() for name, array in arrays if not self._is_derived(name)}

    def set_state(self, state: State) -> None:
        """Takes over what `get_state` returned."""
        for name, array in arrays_of(self.rule):
            if not self._is_derived(name):
                array[...] = state[name]

    def _is_derived(self, name: str) -> bool:
        return name.rpartition(".")[2] in self.derived


def arrays_of(rule: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The arrays of a tuple, and of those in it, by dotted name."""
    for name, value in rule._asdict().items():
        if isinstance(value, tuple):
            yield from arrays_of(value, f"{prefix}{name}.")
        elif isinstance(value, np.ndarray):
            yield prefix + name, value
