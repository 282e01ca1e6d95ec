"""How a file of jobs is to be read: its names for the columns, its unit of time, its order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mec_rllib.lookup import nearest

Unit = Literal["s", "ms", "us", "ns", "iso8601"]

ARRIVAL, DURATION, DEMAND, CLASS = COLUMNS = ("arrival_s", "duration_s", "demand", "job_class")
DEADLINE, SLACK, WEIGHT = OWN = ("deadline_s", "slack_s", "weight")  # override the class's rule
OF_KIND = "demand_"  # and the name of a resource kind


@dataclass(frozen=True)
class Form:
    """What a file calls its columns, and what it means by a time.

    Args:
        ignore: columns of the file that are not used.
        columns: (our name, the file's) of columns that have another name there.
        unit: of its times; "iso8601": arrival_s and deadline_s are dates, the others seconds.
        sort: the jobs are sorted by arrival on reading.
    """

    ignore: tuple[str, ...] = ()
    columns: tuple[tuple[str, str], ...] = ()
    unit: Unit = "s"
    sort: bool = False

    def headings(self, names: Sequence[str]) -> list[str | None]:
        """Our names for the columns of a file, in its order; None for one that is not used.

        Args:
            names: as `normal` has them.

        Raises:
            ValueError: a column is missing, there twice or unknown, or two exclude one another.
        """
        found = ", ".join(map(short, names))
        for k, name in enumerate(names):
            if name in names[:k] and name not in self._ignored:
                raise ValueError(f"column {short(name)!r} is there twice")
        for ours, theirs in self.columns:
            if normal(theirs) not in names:
                raise ValueError(
                    f"env.trace.columns.{ours}: column {short(theirs)!r} is not there; "
                    f"found: {found:.120}"
                )
        headings = [None if name in self._ignored else self.ours(name) for name in names]
        self._check_needed(headings, found)
        for name, heading in zip(names, headings, strict=True):
            self._check_known(name, heading, headings)
        for name in self._ignored:
            if name not in names:
                raise ValueError(
                    f"env.trace.ignore: column {short(name)!r} is not there; found: {found:.120}"
                )
        return headings

    def ours(self, name: str) -> str:
        """Our name for a column of the file."""
        return {normal(theirs): ours for ours, theirs in self.columns}.get(name, name)

    @property
    def _ignored(self) -> tuple[str, ...]:
        return tuple(map(normal, self.ignore))

    def _check_needed(self, headings: Sequence[str | None], found: str) -> None:
        kind = next((name for name in headings if name and is_of_kind(name)), None)
        for needed in COLUMNS:
            if needed in headings or (needed == DEMAND and kind):
                continue
            if needed in map(self.ours, self._ignored):
                raise ValueError(f"env.trace.ignore: column {needed!r} is needed")
            raise ValueError(
                f"column {needed} is missing; it needs {', '.join(COLUMNS)} (env.trace.columns "
                f"gives names); found: {found:.120}"
            )
        for one, other, why in (
            (DEADLINE, SLACK, "both say how long a job may wait"),
            (DEMAND, kind, "both say what a job demands"),
        ):
            if one in headings and other is not None and other in headings:
                raise ValueError(
                    f"columns {one} and {other}: {why}; env.trace.ignore leaves one out"
                )

    def _check_known(self, name: str, heading: str | None, headings: Sequence[str | None]) -> None:
        if heading is None:
            return
        if headings.count(heading) > 1:
            raise ValueError(
                f"column {heading} is there twice, once as {short(name)!r}; "
                "env.trace.ignore leaves one out"
            )
        if not is_known(heading):
            raise ValueError(
                f"column {short(name)!r} is unknown; env.trace.ignore: [{short(name)}] leaves "
                "it out"
            )


def is_of_kind(name: str) -> bool:
    """Whether it is the demand of a resource kind."""
    return name.startswith(OF_KIND) and name != OF_KIND


def is_known(name: str) -> bool:
    """Whether a trace may have a column of this name."""
    return name in (*COLUMNS, *OWN) or is_of_kind(name)


def check_name(name: str) -> None:
    """A ValueError says that no column of ours has this name."""
    if not is_known(name):
        raise ValueError(
            f"no column of a trace is called {short(name)!r}; "
            f"{nearest(name, [*COLUMNS, *OWN, 'demand_<kind>'])}"
        )


def normal(name: str) -> str:
    """A column's name without the spaces and capitals that people give it."""
    return name.strip().lower()


def short(text: str) -> str:
    """The text, cut where it is too long for an error."""
    return text if len(text) <= 60 else f"{text[:57]}..."


def one_line(error: object) -> str:
    """Its text in one line."""
    return " ".join(str(error).split())
