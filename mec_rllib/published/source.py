"""The source, line by line: each points to the claims that test it, or says why none does."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mec_rllib.errors import ConfigError
from mec_rllib.lookup import nearest
from mec_rllib.published.shelf import Shelf
from mec_rllib.published.texts import NOT_YET, estimate_text
from mec_rllib.results.tables import pipes

HEAD = """# The source, line by line

Written by `make results-docs`. What arXiv 2411.07086 states, as a summary of it says, in our words;
where it is tested here, and what came out; or why it is not. S: set-up, C: claims, M: mechanisms,
T: trade-offs, F: failure signatures, E: experiments, Q: open questions, L: limits, N: next checks.
"""
KEYS = {"says", "claims", "pages", "why"}

Lines = Mapping[str, Mapping[str, Any]]


def read_lines(path: Path) -> Lines:
    """The lines by their ids.

    Raises:
        ConfigError: a line without a sentence, or that points nowhere and does not say why.
    """
    lines = yaml.safe_load(path.read_text(encoding="utf-8"))
    for name, line in lines.items():
        if unknown := set(line) - KEYS:
            raise ConfigError(
                f"{path}: {name}: unknown key {min(unknown)!r}; {nearest(min(unknown), KEYS)}"
            )
        if not line.get("says") or not (line.get("claims") or line.get("pages") or line.get("why")):
            raise ConfigError(f"{path}: {name}: needs `says`, and claims, pages or `why`")
    return lines


def source_text(lines: Lines, shelves: Sequence[Shelf]) -> str:
    """The page, Markdown.

    Raises:
        ConfigError: a line names a page or a claim that does not exist.
    """
    by_name = {shelf.page.name: shelf for shelf in shelves}
    rows = [
        [name, line["says"], "; ".join(_where(name, line, by_name))] for name, line in lines.items()
    ]
    return HEAD + "\n" + pipes(["id", "the source", "here"], rows) + "\n"


def _where(name: str, line: Mapping[str, Any], shelves: Mapping[str, Shelf]) -> Iterator[str]:
    for place in line.get("claims", ()):
        page, _, claim = place.partition("/")
        yield _claim(name, _shelf(name, page, shelves), claim)
    for page in line.get("pages", ()):
        yield f"[{_shelf(name, page, shelves).page.name}]({page}.md)"
    if "why" in line:
        yield line["why"]


def _shelf(name: str, page: str, shelves: Mapping[str, Shelf]) -> Shelf:
    if page not in shelves:
        raise ConfigError(f"source: {name}: there is no page {page!r}; {nearest(page, shelves)}")
    return shelves[page]


def _claim(name: str, shelf: Shelf, place: str) -> str:
    """A claim, `ID` or `WORLD/ID`, with its verdict."""
    page = shelf.page
    world, _, claim = place.rpartition("/")
    if world or not page.is_suite:
        known = [
            (c.id, c.text)
            for u in page.units
            if u.world == world
            for c in u.study.experiment.claims
        ]
        found = [c for p in shelf.played if p.unit.world == world for c in p.claims]
    else:
        known, found = [(c["id"], c["text"]) for c in page.claims], shelf.claims_over_worlds
    texts = dict(known)
    if claim not in texts:
        raise ConfigError(
            f"source: {name}: {page.name} has no claim {place!r}; {nearest(claim, texts)}"
        )
    decided = next((c for c in found if c["id"] == claim), None)
    said = f"{decided['verdict']}, {estimate_text(decided)}" if decided else NOT_YET
    return f"[{texts[claim]}]({page.name}.md): {said}"
