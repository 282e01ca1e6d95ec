"""`python -m mec_rllib.published`: see `make results` and `make results-docs`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mec_rllib.errors import ConfigError
from mec_rllib.lookup import nearest
from mec_rllib.published.play import play_pages
from mec_rllib.published.units import Page, pages
from mec_rllib.published.write import write_docs


def main(arguments: Sequence[str] | None = None) -> int:
    """0: done; 1: a trial failed; 2: bad input; 130: interrupted, the same command goes on."""
    given = _parser().parse_args(arguments)
    docs, configs = given.root / "docs", given.root / "tune_configs"
    try:
        found = pages(configs, docs / "results" / "recordings.yaml", given.traces)
        failures = []
        if given.what == "play":
            wanted = _wanted(found, given.only)
            data, runs = docs / "results" / "data", given.root / "runs" / "results"
            failures = play_pages(
                wanted, data, runs, given.cores, lambda line: print(line, flush=True)
            )
        write_docs(found, docs)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    for line in failures:
        print(line, file=sys.stderr)
    return 1 if failures else 0


def _wanted(found: Sequence[Page], names: Sequence[str]) -> list[Page]:
    by_name = {page.name: page for page in found}
    for name in names:
        if name not in by_name:
            raise ConfigError(
                f"--only {name}: there is no such experiment; {nearest(name, by_name)}"
            )
    return [by_name[name] for name in names] if names else list(found)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mec_rllib.published", description=__doc__)
    parser.add_argument("what", choices=["play", "write"])
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="play only these")
    parser.add_argument("--traces", type=Path, metavar="DIR", help="folder with the recordings")
    parser.add_argument(
        "--cores", type=int, metavar="N", help="trials at once (default: one a core)"
    )
    parser.add_argument("--root", type=Path, default=Path(), help="of the project (default: here)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
