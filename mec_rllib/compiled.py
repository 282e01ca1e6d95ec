"""Functions that numba compiles and finds by the type of their first argument.

What a class decides, a compiled loop can only ask if it is a function of plain data. So a rule is
a NamedTuple of numbers and arrays, and a function that belongs to its type:

    @by_type
    def wants(rule, view, wanted): ...

    @wants.of(Clock)
    def _when_it_is_time(rule, view, wanted): ...

`wants(rule, ...)` calls what belongs to the rule, compiled or (without numba's compiler) plain.
"""

import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial, wraps
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import IndexDataCacheFile
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


def compiled(function: Any = None, **options: Any) -> Any:
    """Numba's `njit`, kept on disk; `options` are numba's.

    Numba looks at the file of the function alone. Here everything is compiled anew when any file
    of the package with compiled functions has changed: it may be linked in, or have another tuple
    of the same name.
    """
    if function is None:
        return partial(compiled, **options)
    dispatcher = njit(cache=True, **(OPTIONS | options))(function)
    kept: Any = getattr(dispatcher, "_cache", None)
    if hasattr(kept, "_cache_file"):  # else numba's compiler is switched off
        base, digest = kept._impl.filename_base, sources()
        _remove_older(Path(kept._cache_path), digest)
        kept._cache_file = IndexDataCacheFile(kept._cache_path, f"{base}-{digest}", digest)
    return dispatcher


@cache
def _remove_older(folder: Path, digest: str) -> None:
    """What was kept of other versions of the package."""
    for path in folder.glob("*.nb[ci]"):
        named = re.search(r"-([0-9a-f]{12})\.", path.name)
        if named and named[1] != digest:
            with suppress(OSError):  # somebody else did it, or may not
                path.unlink()


@contextmanager
def once_per_machine(function: Any, combination: str) -> Iterator[None]:
    """Around a first call: of processes that need the same combination, one compiles.

    The others wait, and read what it has kept.
    """
    folder = getattr(getattr(function, "_cache", None), "_cache_path", None)
    if folder is None:  # numba's compiler is switched off
        yield
        return
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        handle = os.open(Path(folder) / f"{combination}.lock", os.O_CREAT | os.O_RDWR)
    except OSError:  # nothing can be kept there: each compiles for itself
        yield
        return
    try:
        with suppress(OSError):  # nor can be locked
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def is_ours(thing: Any) -> bool:
    """Whether its class is of this package; one that a user builds on it may do anything."""
    return type(thing).__module__.startswith("mec_rllib.")


@cache
def sources() -> str:
    """A digest of all files of the package with compiled functions or their tuples."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        text = path.read_bytes()
        if b"compiled" in text or b"NamedTuple" in text:
            digest.update(text)
    return digest.hexdigest()[:12]
