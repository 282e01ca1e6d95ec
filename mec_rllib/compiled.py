"""Functions that numba compiles and finds by the type of their first argument.

What a class decides, a compiled loop can only ask if it is a function of plain data. So a rule is
a NamedTuple of numbers and arrays, and a function that belongs to its type:

    @by_type
    def wants(rule, view, wanted): ...

    @wants.of(Every)
    def _every(rule, view, wanted): ...

`wants(rule, ...)` calls what belongs to the rule, compiled or (without numba's compiler) plain.
"""

import hashlib
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import Any

from numba import njit
from numba.extending import overload

OPTIONS = {"error_model": "numpy"}


def by_type(described: Callable[..., Any]) -> Any:
    """A function that is found by the type of its first argument; `of` adds one."""
    known: dict[type, Callable[..., Any]] = {}

    @wraps(described)
    def asked(first: Any, *others: Any) -> Any:
        return known[type(first)](first, *others)

    def of(kind: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def add(function: Callable[..., Any]) -> Callable[..., Any]:
            known[kind] = function
            return function

        return add

    @overload(asked, strict=False, jit_options=OPTIONS)
    def compile_it(first, *others):
        return known.get(getattr(first, "instance_class", type(None)))

    asked.of = of  # type: ignore[attr-defined]
    return asked


def linked(function: Callable[..., Any]) -> Any:
    """A compiled function that calls such of other files; it is kept on disk.

    Numba compiles a function anew when its own file has changed. Here that goes for every file of
    the package that has compiled functions: one of them may be linked in.
    """
    compiled = njit(cache=True, **OPTIONS)(function)
    kept = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
    if kept is not None:
        kept._source_stamp = sources()
    return compiled


@cache
def sources() -> str:
    """A digest of all files of the package that have compiled functions."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        text = path.read_bytes()
        if b"numba" in text or b"mec_rllib.compiled" in text:
            digest.update(text)
    return digest.hexdigest()
