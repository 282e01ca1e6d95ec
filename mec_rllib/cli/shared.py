"""What the verbs of the command line share: options, and how they speak and fail."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from mec_rllib.errors import ConfigError
from mec_rllib.paths import path_of

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def as_path(text: str) -> Path:
    """A path of the command line, ~ and all."""
    try:
        return path_of(text)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None


PATH: dict[str, Any] = {"parser": as_path, "metavar": "PATH"}  # of an option
Config = Annotated[
    Path,
    typer.Argument(help="config file (YAML), or the name of a shipped one: demo", parser=as_path),
]
Folder = Annotated[Path, typer.Argument(help="folder of an experiment", parser=as_path)]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="override a config key: --set env.load=0.6"),
]
Out = Annotated[Path, typer.Option(help="new folder for everything that the run writes", **PATH)]


Address = Annotated[
    str | None, typer.Option(help="a running Ray cluster (host:port or auto); default: local")
]
Dashboard = Annotated[
    bool, typer.Option("--dashboard", help="Ray's dashboard for the local Ray, on this machine")
]
Resume = Annotated[
    bool, typer.Option("--resume", help="go on with what is in --out, if it was begun there")
]


def _tell_version(wanted: bool) -> None:
    if wanted:
        from mec_rllib import __version__

        print(f"mec-rllib {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_tell_version, help="say which, and end"),
    ] = False,
) -> None:
    """Edge servers whose scheduler learns while it works, and pays for learning."""


def warn(message: str) -> None:
    """A line on standard error."""
    print(f"mec-rllib: {message}", file=sys.stderr)


def console(stderr: bool = False) -> "Console":
    """Standard output or error; in a file or a pipe tables are not cut at 80 columns."""
    from rich.console import Console

    is_terminal = (sys.stderr if stderr else sys.stdout).isatty()
    width = None if is_terminal or "COLUMNS" in os.environ else 120
    # Names of the user's may hold brackets.
    return Console(width=width, stderr=stderr, markup=False)


def fail(message: object, code: int) -> NoReturn:
    """A line on standard error, and the end."""
    print(f"mec-rllib: {message}", file=sys.stderr)
    sys.exit(code)
