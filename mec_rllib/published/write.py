"""Writes `docs/results.md` and the pages in `docs/results/`, from the data files alone."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from mec_rllib.files import write_whole
from mec_rllib.published import pictures
from mec_rllib.published.pages import page_text
from mec_rllib.published.shelf import Shelf, look_up
from mec_rllib.published.source import read_lines, source_text
from mec_rllib.published.summary import summary_text
from mec_rllib.published.units import Page

SUMMARY = "_summary"  # the text that the first page begins with
SOURCE = "source"


def write_docs(found: Sequence[Page], docs: Path) -> None:
    """Writes all pages and pictures.

    Args:
        found: every page.
        docs: the folder; data, texts and lines of the source are in `results/` below it.

    Raises:
        ConfigError: a damaged data file; a text or a line of the source that points nowhere.
    """
    shelves = read_shelves(found, docs)
    for path, text in texts(shelves, docs):
        write_whole(path, text)
    wanted = set()
    for played in (played for shelf in shelves for played in shelf.played):
        wanted.update(pictures.draw(played, docs / "results"))
    for old in (docs / "results").glob("*.png"):
        if old.name not in wanted:
            old.unlink()


def read_shelves(found: Sequence[Page], docs: Path) -> list[Shelf]:
    """The pages with what has been played of them."""
    return [look_up(page, docs / "results" / "data") for page in found]


def texts(shelves: Sequence[Shelf], docs: Path) -> Iterator[tuple[Path, str]]:
    """Every page with its text."""
    folder = docs / "results"
    for shelf in shelves:
        drawn = {played.unit.name: pictures.names(played) for played in shelf.played}
        beside = beside_of(shelf.page.name, docs)
        yield folder / f"{shelf.page.name}.md", page_text(shelf, beside, drawn)
    lines = read_lines(folder / f"{SOURCE}.yaml")
    yield folder / f"{SOURCE}.md", source_text(lines, shelves)
    yield docs / "results.md", summary_text(shelves, beside_of(SUMMARY, docs))


def beside_of(name: str, docs: Path) -> str:
    """The hand-written text of a page; empty where there is none."""
    path = docs / "results" / "text" / f"{name}.md"
    return path.read_text(encoding="utf-8") if path.is_file() else ""
