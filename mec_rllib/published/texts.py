"""Hand-written texts beside the tables: figures in them are filled in, or checked against tables.

`{R:ats}` is the lifetime R of a strategy in the table of the page, `{claim:ID}` the estimate of a
claim with its interval, `{verdict:ID}` what it decides. On the page of a suite a name begins with
the label of the world (`{R:load03/ats}`); a claim without one is about all worlds.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from mec_rllib.errors import ConfigError
from mec_rllib.lookup import nearest
from mec_rllib.published.shelf import Played, Shelf
from mec_rllib.results.summary import aggregate_of
from mec_rllib.results.tables import COLUMNS, PATTERNS, figures, text

NAMES = ("R", "last20", "greedy", "missed", "training", "blocked", "updates")  # of COLUMNS
PLACE = re.compile(r"\{(\w+):([^}]+)\}")
NOT_YET = "(not played yet)"
# What is no figure of a table: code, links, ids of papers.
NO_FIGURES = re.compile(r"`[^`]*`|\]\([^)]*\)|arXiv \S+|\b\w*[A-Za-z_]\w*\b")
FIGURE = re.compile(r"[-+]?\d[\d,]*\.\d+(?: ?%)?|[-+]?\d+ ?%|\d{1,3}(?:,\d{3})+")


def filled(beside: str, shelf: Shelf) -> str:
    """The text with the figures of the data; those that are not played yet are named so.

    Raises:
        ConfigError: the text names what the page does not have.
    """
    values = figures_of(shelf)
    return PLACE.sub(lambda found: _value(found[1], found[2], values, shelf), beside).strip()


def figures_of(shelf: Shelf) -> dict[str, str]:
    """Everything that a text can name, by `kind:name`."""
    values: dict[str, str] = {}
    for played in shelf.played:
        prefix = f"{played.unit.world}/" if played.unit.world else ""
        values |= dict(_of_strategies(played, prefix)) | dict(_of_claims(played.claims, prefix))
    return values | dict(_of_claims(shelf.claims_over_worlds, ""))


def settings_of(shelf: Shelf) -> set[str]:
    """Whole numbers of the configs of a page, as a text writes them: 60,000."""
    configs = [unit.study.experiment.model_dump(mode="json") for unit in shelf.page.units]
    return {f"{number:,}" for number in _numbers(configs)}


def _numbers(values: Any) -> Iterator[int]:
    inner = values.values() if isinstance(values, Mapping) else values
    if isinstance(values, Mapping | list):
        for value in inner:
            yield from _numbers(value)
    elif isinstance(values, int):
        yield values


def unsupported(beside: str, page: str, settings: Collection[str] = ()) -> list[str]:
    """Sentences of a text that name a figure which stands in no table of its page.

    Args:
        beside: the text as it is written, with braces.
        page: the page that is made of it.
        settings: figures of its config, which may be named, too.
    """
    tables = "\n".join(line for line in page.splitlines() if line.startswith("|"))
    known = {figure.strip("+ ") for figure in FIGURE.findall(tables)} | set(settings)
    return [
        sentence
        for sentence in _sentences(PLACE.sub("", beside))
        if any(
            figure.strip("+ ") not in known
            for figure in FIGURE.findall(NO_FIGURES.sub("", sentence))
        )
    ]


def _sentences(beside: str) -> list[str]:
    return [" ".join(s.split()) for s in re.split(r"(?<=[.:;!?])\s+|\n\n", beside) if s.strip()]


def _value(kind: str, name: str, values: Mapping[str, str], shelf: Shelf) -> str:
    key = f"{kind}:{name}"
    if key in values:
        return values[key]
    possible = list(possible_names(shelf))
    if key not in possible:
        raise ConfigError(
            f"text of {shelf.page.name}: nothing is called {{{key}}}; {nearest(key, possible)}"
        )
    return NOT_YET


def possible_names(shelf: Shelf) -> Iterator[str]:
    """Everything that a text may name, played or not."""
    yield from _claim_keys((claim["id"] for claim in shelf.page.claims), "")
    for unit in shelf.page.units:
        prefix = f"{unit.world}/" if unit.world else ""
        yield from _claim_keys((claim.id for claim in unit.study.experiment.claims), prefix)
        for strategy in unit.study.strategies:
            yield from (f"{name}:{prefix}{strategy.label}" for name in NAMES)


def _claim_keys(ids: Iterable[str], prefix: str) -> Iterator[str]:
    for claim in ids:
        yield from (f"claim:{prefix}{claim}", f"verdict:{prefix}{claim}")


def _of_strategies(played: Played, prefix: str) -> Iterator[tuple[str, str]]:
    for entry in aggregate_of(played.rows):
        cells = figures(entry[metric]["mean"] for metric, _, _ in COLUMNS)
        for name, cell in zip(NAMES, cells, strict=True):
            yield f"{name}:{prefix}{entry['strategy']}", cell


def _of_claims(claims: Iterable[Mapping[str, Any]], prefix: str) -> Iterator[tuple[str, str]]:
    for claim in claims:
        yield f"claim:{prefix}{claim['id']}", estimate_text(claim)
        yield f"verdict:{prefix}{claim['id']}", claim["verdict"]


def estimate_text(claim: Mapping[str, Any]) -> str:
    """The estimate of a claim with its interval."""
    pattern = PATTERNS[claim["unit"]]
    low, high = (text(bound, pattern) for bound in claim["ci95"])
    return f"{text(claim['estimate'], pattern)} [{low}, {high}]"
