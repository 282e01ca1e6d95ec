"""What there is, by name, with a line each: configs, gates, schedulers, agents, traces, formats."""

import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mec_rllib.config import agents, shipped
from mec_rllib.gates import GATES
from mec_rllib.importers import IMPORTERS
from mec_rllib.schedulers import SCHEDULERS
from mec_rllib.sim.traces.made import MADE, PREFIX

SENTENCE = re.compile(r".*?(?<!et al)[.?!](?=\s|$)", re.DOTALL)


def listing() -> dict[str, dict[str, str]]:
    """A line for each name, by what it names."""
    made = {f"{PREFIX}{name}": function for name, function in MADE.items()}
    return {
        "configs": {name: _of_file(shipped.FOLDER / f"{name}.yaml") for name in shipped.names()},
        "gates": _of_objects(GATES),
        "schedulers": _of_objects(SCHEDULERS),
        "agents": {name: _of_file(agents.FOLDER / f"{name}.yaml") for name in agents.names()},
        "traces": _of_objects(made),
        "formats": _of_objects(IMPORTERS),
    }


def print_listing(shown: Mapping[str, Mapping[str, str]], console: Console) -> None:
    """A block for each kind of names."""
    for kind, lines in shown.items():
        table = Table(kind, box=None, pad_edge=False, header_style="bold")
        table.add_column("")
        for name, line in lines.items():
            table.add_row(f"  {name}", Text(line))
        console.print(table)


def _of_objects(found: Mapping[str, Callable[..., Any]]) -> dict[str, str]:
    return {name: sentence(inspect.getdoc(thing) or "") for name, thing in found.items()}


def _of_file(path: Path) -> str:
    """The first sentence of the comment that a YAML file begins with."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#") or line.startswith("#  "):  # a command
            break
        lines.append(line.lstrip("# "))
    return sentence(" ".join(lines))


def sentence(text: str) -> str:
    """The first one, in one line."""
    match = SENTENCE.match(text)
    first = " ".join((match[0] if match else text).split()).removesuffix(".")
    return first.removesuffix("; see the module")
