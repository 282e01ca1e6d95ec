"""The page on top of all results: what was claimed, what came out, and where it stands."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from inspect import signature
from typing import Any, NamedTuple

from mec_rllib.files import number
from mec_rllib.gates import ATS
from mec_rllib.published.pages import NOT_HERE, NOT_PLAYED
from mec_rllib.published.shelf import Played, Shelf
from mec_rllib.published.texts import estimate_text
from mec_rllib.results.claims import with_holm
from mec_rllib.results.summary import aggregate_of
from mec_rllib.results.tables import p_text, pipes, text

PRIMARY = (
    "The few claims that the project was made for, named in the configs before the runs "
    "(`primary: true`). Holm's correction is for all of them together, over all experiments."
)
EXPLORATORY = (
    "All other claims explore: Holm's correction is for the claims of one experiment, and with so "
    "many experiments some of them hold by chance."
)
CUTOFF = signature(ATS).parameters["td_cutoff"].default
MOST = 0.5  # of the requests


class Decided(NamedTuple):
    """A claim that has come to something, and where."""

    claim: Mapping[str, Any]
    experiment: str  # its page, with the world of a suite
    page: str
    is_primary: bool


def summary_text(shelves: Sequence[Shelf], beside: str) -> str:
    """The page, Markdown.

    Args:
        shelves: all pages with what has been played of them.
        beside: the hand-written text that it begins with.
    """
    decided = [found for shelf in shelves for found in _decided(shelf)]
    primary = [found for found in decided if found.is_primary]
    other = [found for found in decided if not found.is_primary]
    parts = ["# Results", beside.strip()]
    parts += ["## Primary claims", PRIMARY, _claims(_corrected(primary), with_p=True)]
    parts += ["## Experiments", _experiments(shelves)]
    parts += _where_psi_decides(shelves)
    parts += ["## Exploratory claims", EXPLORATORY, _claims(other)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _decided(shelf: Shelf) -> Iterator[Decided]:
    name = shelf.page.name
    primary = {claim["id"] for claim in shelf.page.claims if claim["primary"]}
    for claim in shelf.claims_over_worlds:
        yield Decided(claim, name, name, claim["id"] in primary)
    for played in shelf.played:
        primary = {c.id for c in played.unit.study.experiment.claims if c.primary}
        where = f"{name}, {played.unit.world}" if played.unit.world else name
        for claim in played.claims:
            yield Decided(claim, where, name, claim["id"] in primary)


def _corrected(primary: Sequence[Decided]) -> list[Decided]:
    claims = with_holm([found.claim for found in primary])
    return [found._replace(claim=claim) for found, claim in zip(primary, claims, strict=True)]


def _claims(decided: Iterable[Decided], with_p: bool = False) -> str:
    rows = [
        [
            found.claim["text"],
            found.claim["verdict"],
            found.claim["note"] or estimate_text(found.claim),
            str(found.claim["n"]),
            *([p_text(found.claim["p"])] if with_p else []),
            ("yes" if found.claim["holm"] else "no") if not found.claim["note"] else "-",
            f"[{found.experiment}](results/{found.page}.md)",
        ]
        for found in decided
    ]
    if not rows:
        return NOT_PLAYED
    p = ["p"] if with_p else []
    return pipes(["claim", "verdict", "estimate, 95 % CI", "n", *p, "Holm", "where"], rows)


def _where_psi_decides(shelves: Sequence[Shelf]) -> list[str]:
    """What the requests of `ats` rest on, as it is by default, in every experiment that has it."""
    rows = [row for shelf in shelves for played in shelf.played for row in _requests(shelf, played)]
    if not rows:
        return []
    decided = sum(is_psi for _, is_psi in rows)
    note = (
        f"What the requests of `ats` rest on, with its default TD cutoff of {CUTOFF:g}. Psi "
        f"decides most of them in {decided} of {len(rows)} cases; elsewhere Q is held for "
        "unreliable, and a fallback decides."
    )
    table = pipes(["experiment", "strategy", "psi above", "tie", "fallback"], [r for r, _ in rows])
    return ["## Where psi decides", note, table]


def _requests(shelf: Shelf, played: Played) -> Iterator[tuple[list[str], bool]]:
    settings = {strategy.label: strategy for strategy in played.study.strategies}
    for entry in aggregate_of(played.rows):
        strategy = settings[entry["strategy"]]
        if strategy.rule == "ats" and strategy.args["td_cutoff"] == CUTOFF and "requests" in entry:
            shares = {name: number(s["mean"]) for name, s in entry["requests"]["shares"].items()}
            cells = [text(shares[name], ".1%") for name in ("psi", "tie", "fallback")]
            link = f"[{played.unit.name}](results/{shelf.page.name}.md)"
            yield [link, strategy.label, *cells], shares["psi"] > MOST


def _experiments(shelves: Sequence[Shelf]) -> str:
    rows = [row for shelf in shelves for row in _of_shelf(shelf)]
    minutes = sum(p.data.content["minutes"] for shelf in shelves for p in shelf.played)
    table = pipes(["experiment", "trials", "slots", "minutes", "commit", "state"], rows)
    return f"{table}\n\nAll together: {minutes / 60:,.1f} hours of trials, by the clock."


def _of_shelf(shelf: Shelf) -> Iterator[list[str]]:
    played = {p.unit.name: p for p in shelf.played}
    for unit in shelf.page.units:
        link = f"[{unit.name}](results/{shelf.page.name}.md)"
        experiment = unit.study.experiment
        trials, slots = len(unit.study.trials), f"{experiment.slots:,}"
        if unit.name in played:
            yield [link, *_how(played[unit.name])]
        else:
            here = NOT_HERE.format(file=unit.recording) if unit.recording else NOT_PLAYED
            yield [link, str(trials), slots, "-", "-", here]


def _how(played: Played) -> list[str]:
    content = played.data.content
    return [
        str(len(content["rows"])),
        f"{played.study.slots:,}",
        f"{content['minutes']:,.0f}",
        content["commit"] or "-",
        f"stale: {played.stale_by}" if played.stale_by else "played",
    ]
