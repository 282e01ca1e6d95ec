"""Where a fault lies in code that users bring along: its file and line, for one-line messages."""

import os
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

OURS = str(Path(__file__).parent) + os.sep
LIBRARY = re.compile(r"[/\\](lib[/\\]python3[^/\\]*|site-packages|dist-packages)[/\\]")


class Fault(NamedTuple):
    """Where an error came from."""

    place: str  # file:line
    function: str
    error: BaseException  # the one raised there: others may have been raised from it


class WrongAnswerError(TypeError):
    """Code of the user's answered something else than it has to; the message names its place."""


def wrong_answer(owner: object, method: str, must: str) -> WrongAnswerError:
    """The error for a method that a user has written.

    Args:
        owner: whose method it is.
        method: its name.
        must: what it has to return, and what it did return.
    """
    place = _place_of(getattr(type(owner), method, None))
    return WrongAnswerError(f"{place}{type(owner).__name__}.{method}() must return {must}")


def named_place(function: object) -> str:
    """File, line and name of a function that a user has written."""
    return f"{_place_of(function)}{getattr(function, '__name__', type(function).__name__)}()"


def in_words(error: BaseException) -> str:
    """One line: "my_package/gates.py:12: NameError: name 'np' is not defined".

    Where no frame is the user's, the place is the innermost one.
    """
    if isinstance(error, WrongAnswerError):
        return one_line(error)
    fault = fault_of(error) or _last_frame(error)
    return f"{fault.place}: {named(error)}" if fault else named(error)


def fault_of(error: BaseException) -> Fault | None:
    """The innermost frame that is the user's, in the error or in what it came from."""
    for part in _chain(error):
        if isinstance(part, SyntaxError) and part.filename and _is_theirs(part.filename):
            return Fault(f"{short(part.filename)}:{part.lineno}", "import", part)
        for code, line in reversed(_frames(part)):
            if _is_theirs(code.co_filename):
                return Fault(f"{short(code.co_filename)}:{line}", code.co_qualname, part)
    return None


def named(error: BaseException) -> str:
    """Type and message: "NameError: name 'np' is not defined"."""
    text = error.msg if isinstance(error, SyntaxError) else one_line(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def one_line(error: BaseException) -> str:
    """The message, in one line."""
    return " ".join(str(error).split())


def short(path: str) -> str:
    """A path as its user would name it: from where they stand, or from where it is imported."""
    bases = [os.getcwd(), *sys.path]
    inside = [base for base in bases if base and path.startswith(base.rstrip(os.sep) + os.sep)]
    return os.path.relpath(path, max(inside, key=len)) if inside else path


def described(value: Any) -> str:
    """What something is, in a word: "bool", "an array (3, 1) of float64"."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"an array {value.shape} of {value.dtype}"
    return "None" if value is None else type(value).__name__


def _place_of(function: object) -> str:
    code = getattr(function, "__code__", None)
    return f"{short(code.co_filename)}:{code.co_firstlineno}: " if code is not None else ""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and what it came from."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _frames(error: BaseException) -> list[tuple[CodeType, int]]:
    return [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)]


def _is_theirs(path: str) -> bool:
    return path.endswith(".py") and not path.startswith(OURS) and not LIBRARY.search(path)


def _last_frame(error: BaseException) -> Fault | None:
    for code, line in reversed(_frames(error)):
        return Fault(f"{short(code.co_filename)}:{line}", code.co_qualname, error)
    return None
