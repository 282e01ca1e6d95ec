"""The pictures of a page: small files, for they are kept with the project."""

import io
from pathlib import Path

from mec_rllib.published.shelf import Played
from mec_rllib.results.report.plots import PICTURES, Drawn

SHOWN = ("rewards", "greedy", "server", "trade_off")  # of a report's pictures
COLOURS = 64
DPI = 80
MANY = 6  # points that are worth a picture of the trade-off


def draw(played: Played, folder: Path) -> list[str]:
    """Draws the pictures of a unit; returns their names.

    Args:
        played: whose.
        folder: for the files.
    """
    drawn = pictures(played)
    for name, png in drawn.items():
        (folder / name).write_bytes(png)
    return list(drawn)


def names(played: Played) -> list[str]:
    """What `draw` would call them."""
    drawn = Drawn(played.study)
    shown = [name for name in SHOWN if _is_shown(name, drawn)]
    return [f"{played.unit.name}.{name}.png" for name in shown]


def pictures(played: Played) -> dict[str, bytes]:
    """PNG files by name."""
    drawn, by_name = Drawn(played.study), {picture.name: picture for picture in PICTURES}
    found = {}
    for name in SHOWN:
        figure = by_name[name].draw(drawn) if _is_shown(name, drawn) else None
        if figure is not None:
            buffer = io.BytesIO()
            figure.savefig(buffer, dpi=DPI)
            found[f"{played.unit.name}.{name}.png"] = _small(buffer)
    return found


def _is_shown(name: str, drawn: Drawn) -> bool:
    """The server over time is worth a look where the load changes."""
    if name == "server":
        return isinstance(drawn.study.setting("env.load"), list) and bool(drawn.paying)
    if name == "greedy":
        return any("greedy" in r for ts in drawn.trials.values() for t in ts for r in t.reports)
    return name != "trade_off" or len(drawn.trade_off) >= MANY


def _small(png: io.BytesIO) -> bytes:
    from PIL import Image

    small = io.BytesIO()
    Image.open(png).convert("RGB").quantize(COLOURS).save(small, "PNG", optimize=True)
    return small.getvalue()
