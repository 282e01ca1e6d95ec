"""Coverage-guided fuzzing of what users hand in: `make fuzz`, or

    python tests/helpers/fuzz.py config|trace [SECONDS]

Whatever the bytes are, a reader returns or raises its own error of one line; anything else is a
finding, and atheris writes the input that leads to it.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["mec_rllib", "yaml", "csv"]):
    from mec_rllib.config.load import load
    from mec_rllib.config.strategies import resolve
    from mec_rllib.errors import ConfigError
    from mec_rllib.sim.traces.workload import TraceWorkload, read_trace

ROOT = Path(__file__).parents[2]
HEADER = b"arrival_s,duration_s,demand,job_class\n"
SEEDS = {
    "config": [path.read_bytes() for path in sorted((ROOT / "tune_configs").glob("*.yaml"))],
    "trace": [HEADER + b"0,1,0.5,elastic\n1.5,2,1,interactive\n", HEADER],
}
FILE = Path(tempfile.mkdtemp()) / "input"


def config(data: bytes) -> None:
    """A config file: read, checked, strategies resolved."""
    FILE.write_bytes(data)
    try:
        resolve(load(FILE))
    except ConfigError as error:
        check_line(error)


def trace(data: bytes) -> None:
    """A trace: read and turned into jobs."""
    FILE.write_bytes(data)
    try:
        TraceWorkload(read_trace(FILE)).arrivals(None, 0, 100)  # type: ignore[arg-type]
    except ValueError as error:
        check_line(error)


def check_line(error: Exception) -> None:
    """What the user sees is one line."""
    if "\n" in str(error):
        raise AssertionError(f"more than one line: {error}")


def main() -> None:
    """Runs one target for some time."""
    target, seconds = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "600"
    corpus = Path(tempfile.mkdtemp())
    for k, content in enumerate(SEEDS[target]):
        (corpus / f"seed{k}").write_bytes(content)
    options = [f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=4096", "-max_len=4096"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], {"config": config, "trace": trace}[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
