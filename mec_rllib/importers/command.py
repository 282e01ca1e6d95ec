"""`mec-rllib import FORMAT`: an importer's settings as options of the command line."""

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic.fields import FieldInfo

from mec_rllib.config.load import checked
from mec_rllib.importers import IMPORTERS
from mec_rllib.importers.base import Importer
from mec_rllib.importers.run import import_log

EXAMPLES = {
    "swf": "mec-rllib import swf KTH-SP2.swf.gz --interactive-s 300 --out jobs.parquet",
    "azure-llm": "mec-rllib import azure-llm code.csv --ms-per-token 30 --out jobs.parquet",
    "mooncake": "mec-rllib import mooncake trace.jsonl --prefix-cache --out jobs.parquet",
    "alibaba-pods": "mec-rllib import alibaba-pods openb_pod_list.csv --out pods.csv",
    "bupt-edge": "mec-rllib import bupt-edge day1.csv day9.csv --out edge.parquet",
    "csv": "mec-rllib import csv log.csv --map arrival_s=submit,duration_s=end-submit,"
    "demand=cores/64 --out jobs.parquet",
}


def command_of(name: str, out: Any, files: Any) -> Any:
    """The command of a format.

    Args:
        name: of the format.
        out: annotation of the option --out.
        files: annotation of the argument.
    """
    kind = IMPORTERS[name]

    def run(files: list[Path], out: Path, overwrite: bool, **settings: Any) -> None:
        importer = checked(kind, settings, f"import {name}")
        print(import_log(importer, files, out, overwrite))

    flag = Annotated[bool, typer.Option("--overwrite", help="replace what is there")]
    parameters = [
        _parameter("files", files),
        _parameter("out", out),
        _parameter("overwrite", flag, False),
        *(_option(key, field) for key, field in kind.model_fields.items()),
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    run.__doc__ = f"{inspect.getdoc(kind)}\n\nExample: {EXAMPLES[name]}"
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(name)(run)
    return typer.main.get_command(app)


def _parameter(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> Any:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, annotation=annotation, default=default)


def _option(key: str, field: FieldInfo) -> Any:
    """A setting as an option; what its bounds are, the setting checks."""
    default = field.get_default(call_default_factory=True)
    names = [f"--{key.replace('_', '-')}"]
    if field.annotation is bool:
        names[0] += f"/--no-{key.replace('_', '-')}"
    option = typer.Option(*names, help=field.description, show_default=_shown(default))
    return _parameter(key, Annotated[field.annotation, option], default)


def _shown(default: Any) -> bool | str:
    """How the help states a default."""
    return "none" if default in (None, "", []) else True


def first_line(kind: type[Importer]) -> str:
    """What a format is."""
    return (inspect.getdoc(kind) or "").partition("\n")[0]
