"""Names in a config that lead to code: built-in names, or `package.module:Class`."""

import difflib
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from mec_rllib.user_code import fault_of, named

T = TypeVar("T")


def nearest(name: str, known: Iterable[str]) -> str:
    """' Did you mean X?' for the closest known name, or ' Known: ...' if none is close."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def is_import_path(name: str) -> bool:
    """Whether the name has the form `package.module:Class`."""
    return ":" in name


def find(name: str, builtin: Mapping[str, T], kind: str) -> T | Any:
    """The built-in of that name, or the class that an import path leads to.

    Raises:
        ValueError: unknown name, or an import path that leads nowhere; one line.
    """
    if not is_import_path(name):
        if name not in builtin:
            raise ValueError(f"unknown {kind} {name!r}; {nearest(name, builtin)}")
        return builtin[name]
    try:
        return load_path(name)
    except Exception as error:  # whatever a module of the user raises while it is imported
        if fault := fault_of(error):
            raise ValueError(f"{fault.place}: {named(fault.error)} ({kind} {name})") from None
        raise ValueError(f"{kind} {name!r} cannot be imported: {error}") from None


def load_path(path: str) -> Any:
    """What `module:name` leads to; raises what the import raises."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def seeded(constructor: Callable[..., Any] | None, args: Mapping[str, Any], seed: int) -> Any:
    """What a constructor builds of its arguments; if it draws, it gets the seed, too."""
    assert constructor is not None
    if "seed" in inspect.signature(constructor).parameters:
        args = {"seed": seed} | dict(args)
    return constructor(**args)


def path_of(found: Any) -> str:
    """The import path of a class or function."""
    return f"{found.__module__}:{found.__qualname__}"
