"""The command line."""

import sys
from pathlib import Path

from mec_rllib.cli import play, read  # noqa: F401  they add their verbs to the app
from mec_rllib.cli.shared import app, fail
from mec_rllib.errors import ConfigError

__all__ = ["app", "main"]


def main() -> None:
    """Runs the command line: exit code 0, 1 on failure, 2 on bad input, 130 on Ctrl-C (Typer's)."""
    sys.path.insert(0, str(Path.cwd()))  # import paths in a config start where the user stands
    try:
        sys.exit(app(standalone_mode=False))
    except ConfigError as error:
        fail(error, 2)
    except Exception as error:
        # Typer's own errors (unknown option, missing argument) know their line and exit code.
        if not hasattr(error, "format_message"):
            raise
        fail(error.format_message(), getattr(error, "exit_code", 2))
