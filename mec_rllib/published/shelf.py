"""What has been played of a page, and what it decides."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mec_rllib.published.data import DataFile, asked_of
from mec_rllib.published.units import Page, Unit
from mec_rllib.results.claims import decided
from mec_rllib.results.folder import SuiteFolder
from mec_rllib.results.stored import StoredStudy
from mec_rllib.results.suite import StoredSuite, decide_suite


@dataclass(frozen=True)
class Played:
    """A unit that has a data file.

    Attributes:
        unit: what was played.
        data: its file.
        study: the experiment in it, with the claims of the config as it is now.
    """

    unit: Unit
    data: DataFile
    study: StoredStudy

    @cached_property
    def claims(self) -> list[dict[str, Any]]:
        """What its claims have come to."""
        found = decided(self.data.measured(self.study))
        return [claim | {"interim": False} for claim in found]  # only what is whole has data

    @cached_property
    def stale_by(self) -> str | None:
        """What differs from what would be played now."""
        return self.data.stale_by(self.unit.study)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Of its trials."""
        return self.data.content["rows"]


@dataclass(frozen=True)
class Shelf:
    """A page with what has been played of it.

    Attributes:
        page: what it shows.
        played: its units that have data.
    """

    page: Page
    played: Sequence[Played]

    @property
    def is_whole(self) -> bool:
        """Whether all of its units have data."""
        return len(self.played) == len(self.page.units)

    @cached_property
    def suite(self) -> StoredSuite:
        """Its worlds, as they would be read back from a folder."""
        claims = [dict(claim) for claim in self.page.claims]
        worlds = {played.unit.world: played.study for played in self.played}
        return StoredSuite(SuiteFolder("."), {"name": self.page.name, "claims": claims}, worlds)

    @cached_property
    def claims_over_worlds(self) -> list[dict[str, Any]]:
        """What a suite's own claims have come to; [] while a world is missing."""
        return decide_suite(self.suite) if self.page.is_suite and self.is_whole else []


def look_up(page: Page, data: Path) -> Shelf:
    """What has been played of a page, from the data files.

    Raises:
        ConfigError: a damaged data file.
    """
    played = []
    for unit in page.units:
        found = DataFile.read(unit.data_in(data))
        if found is not None:
            played.append(Played(unit, found, found.study(asked_of(unit.study))))
    return Shelf(page, played)
