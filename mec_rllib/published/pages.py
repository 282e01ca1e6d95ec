"""The page of an experiment or a suite, in Markdown, from data files and the text beside it."""

from collections.abc import Mapping, Sequence
from typing import Any

from mec_rllib.published.shelf import Played, Shelf
from mec_rllib.published.texts import filled
from mec_rllib.results.compare import compare
from mec_rllib.results.luck import luck_section
from mec_rllib.results.robust import iqm, is_normal, robust_section
from mec_rllib.results.suite import world_section
from mec_rllib.results.summary import aggregate_of
from mec_rllib.results.tables import (
    HEADINGS,
    PATTERNS,
    Section,
    claim_section,
    compare_section,
    front_section,
    pipes,
    request_section,
    strategy_rows,
    text,
)
from mec_rllib.results.trade_off import trade_off

NOT_PLAYED = "Not played yet: there are no data."
NOT_HERE = "Not played here: the recording `{file}` is not part of the project."


def page_text(shelf: Shelf, beside: str, pictures: Mapping[str, Sequence[str]]) -> str:
    """The page.

    Args:
        shelf: what has been played.
        beside: the hand-written text; what it names in braces is filled in.
        pictures: names of the picture files of each unit, by its name.
    """
    page = shelf.page
    parts = [
        f"# {page.name}",
        f"Written by `make results-docs` from the data files. `{page.config}`",
    ]
    parts += [page.about] if page.about else []
    said = filled(beside, shelf)  # whether what it names exists is asked in any case
    parts.append(said if shelf.played else _why_nothing(shelf))
    if page.is_suite and shelf.is_whole:
        parts += _of_suite(shelf)
    for played in shelf.played:
        parts += _of_unit(played, page.is_suite, pictures.get(played.unit.name, ()))
    missing = [
        unit.name for unit in page.units if unit.name not in {p.unit.name for p in shelf.played}
    ]
    if missing and shelf.played:
        parts.append(f"Not played yet: {', '.join(missing)}.")
    return "\n\n".join(filter(None, parts)) + "\n"


def _why_nothing(shelf: Shelf) -> str:
    recording = shelf.page.units[0].recording
    return NOT_HERE.format(file=recording) if recording else NOT_PLAYED


def _of_suite(shelf: Shelf) -> list[str]:
    over_all = claim_section(shelf.claims_over_worlds, "mean over the experiments")
    return _shown([world_section(shelf.suite), middles(shelf), over_all], "##")


def middles(shelf: Shelf) -> Section:
    """Strategies that are in all worlds, where R is not normal in one of them."""
    worlds = [_rewards(played.rows) for played in shelf.played]
    labels = [s for s in worlds[0] if all(s in world for world in worlds)]
    odd = [s for s in labels if not all(is_normal(world[s]) for world in worlds)]
    rows = []
    for label in odd:
        found = iqm([world[label] for world in worlds])
        spread = f"[{text(found.low, '.3f')}, {text(found.high, '.3f')}]"
        rows.append([label, text(found.mean, ".3f"), spread])
    note = (
        "Where R over the seeds is not normal in an experiment: the interquartile mean over all "
        "experiments, and its 95 % interval by bootstrap, stratified by experiment."
    )
    return Section(
        "IQM over the experiments", note, ("strategy", "IQM of R", "95 % bootstrap"), rows
    )


def _rewards(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for row in rows:
        value = row["reward_lifetime"]
        found.setdefault(row["strategy"], []).append(float("nan") if value is None else value)
    return found


def _of_unit(played: Played, is_world: bool, pictures: Sequence[str]) -> list[str]:
    level = "###" if is_world else "##"
    parts = [f"## {played.unit.world}"] if is_world else []
    parts += [_stale(played)] if played.stale_by else []
    parts += _shown(sections_of(played), level)
    if undecided := detectable(played.claims):
        parts.append(undecided)
    if played.data.findings:
        lines = (f"- {f.strategy}: {f.signature}; {f.figures}" for f in played.data.findings)
        parts += [f"{level} Gate health", "\n".join(lines)]
    parts += [f"![{name}]({name})" for name in pictures]
    return [*parts, f"{level} Played", "\n".join(f"- {line}" for line in how_played(played))]


def sections_of(played: Played) -> list[Section]:
    """The tables of a unit, those without rows left out."""
    study, rows = played.study, played.rows
    aggregate = aggregate_of(rows)
    note = f"{study.slots:,} slots a trial; mean over n seeds, ± half the 95 % t-interval."
    baseline = study.setting("compare.baseline")
    compared = compare(study, baseline) if baseline else []
    return [
        Section("Strategies", note, HEADINGS, strategy_rows(aggregate)),
        compare_section(compared),
        claim_section(played.claims),
        luck_section(study),
        robust_section(rows),
        front_section(trade_off(study)),
        request_section(aggregate),
    ]


def detectable(claims: Sequence[Mapping[str, Any]]) -> str:
    """What undecided claims could have seen; empty where there is none."""
    found = [c for c in claims if c["verdict"] == "undecided" and c["detectable"] is not None]
    effects = [f"- {c['text']}: {_effect(c)}" for c in found if c["detectable"] == c["detectable"]]
    if not effects:
        return ""
    head = (
        "Undecided. Beside each claim stands the distance from its margin that as many seeds find "
        "in four of five cases:"
    )
    return "\n".join([head, "", *effects])


def _effect(claim: Mapping[str, Any]) -> str:
    return text(claim["detectable"], PATTERNS[claim["unit"]]).lstrip("+")


def how_played(played: Played) -> list[str]:
    """Commit, versions, kind of host, minutes, traces: what a table rests on."""
    content = played.data.content
    versions = ", ".join(f"{name} {number}" for name, number in content["versions"].items())
    seeds = len(content["identity"]["seeds"])
    lines = [
        f"{len(content['identity']['strategies'])} strategies x {seeds} seeds, "
        f"{content['minutes']:,.0f} minutes of trials",
        f"{content['host']['cpu']}, {content['host']['cores']} cores",
        versions,
        f"commit {content['commit'] or 'unknown'}; behaviour {content['behaviour']}; "
        f"data: `data/{played.unit.name}.json.gz`",
    ]
    if found := content["searched"]:
        values = ", ".join(f"{key} {_plain(value)}" for key, value in found["winner"].items())
        lines.append(f"search: {found['samples']} samples, won by {values}")
    for trace in content["traces"]:
        lines += [f"{trace['line']}; SHA-256 `{trace['sha256']}`", *trace["warnings"]]
        if played.unit.recording:
            lines.append(
                "on a recording n counts agents, not days: the jobs are the same for all seeds, so "
                "the intervals say nothing about another day"
            )
    return lines


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _stale(played: Played) -> str:
    return f"**Stale**: played before a change of {played.stale_by}; `make results` plays it again."


def _shown(sections: Sequence[Section], level: str) -> list[str]:
    parts = []
    for section in sections:
        if section.rows:
            parts += [
                f"{level} {section.title}",
                section.note,
                pipes(section.headings, section.rows),
            ]
    return parts
