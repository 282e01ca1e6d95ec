"""Workloads in the form of recordings, made by a program: nobody's jobs, free for all.

    python -m mec_rllib.sim.traces.made FOLDER     # writes all files again

`made:edge_day`: twelve hours of requests at one edge server. Users come in sessions whose requests
follow one another within a second; a slow rise and fall of the demand lies over them. Most requests
are served within seconds and take a large share of the server; the others run for minutes, with a
heavy tail, and take little.

`made:gpu_cluster`: a month of a cluster that is never empty, seen as one large server. Pods come by
day more than by night, many of them in sets submitted at once; most ask for one of eight
accelerators, and run for minutes. A few services run for weeks and hold most of the work.

`made:llm_requests`: an hour of requests to a server of a large language model, as an import makes a
trace of a log. Chats, completions of code and questions about long documents come in waves. A
request runs for its prompt / 8,000 tokens per second and 25 ms for each token that it generates. It
holds its tokens' share of a cache of 131,072.

The shapes are those of public recordings (mobile requests; pods of GPU clusters; requests to
language models), the numbers are drawn: reconstructed, and no row of any recording is in them. One
seed; the same file everywhere.
"""

import gzip
import io
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np

from mec_rllib.lookup import nearest
from mec_rllib.sim.jobs import Bools, Floats, Ints

PREFIX = "made:"
SEED = 20241107
HOUR, DAY = 3600.0, 86400.0


def file_of(path: str | Path) -> Path:
    """The file behind a trace's path; `made:NAME` is one of the package's.

    Raises:
        ValueError: no such name.
    """
    name = str(path).removeprefix(PREFIX)
    if name == str(path):
        return Path(path)
    if name not in MADE:
        raise ValueError(f"unknown made trace {name!r}; {nearest(name, MADE)}")
    return Path(str(files("mec_rllib.sim.traces"))) / "data" / f"{name}.csv.gz"


def make(name: str) -> str:
    """A made trace, as CSV; times in whole hundredths of a second or whole seconds."""
    return MADE[name](np.random.default_rng([SEED, sum(name.encode())]))


def write(folder: Path) -> list[Path]:
    """Writes all of them, compressed, without a name or a time in them."""
    paths = []
    for name in MADE:
        packed = io.BytesIO()
        with gzip.GzipFile("", "wb", compresslevel=9, fileobj=packed, mtime=0) as file:
            file.write(make(name).encode())
        paths.append(folder / f"{name}.csv.gz")
        paths[-1].write_bytes(packed.getvalue())
    return paths


def edge_day(rng: np.random.Generator, sessions: int = 3300) -> str:
    """Requests of mobile users at one edge server in twelve hours; see the module."""
    # Sessions come as the hour of the day has it, and as chance has it for ten minutes.
    starts = _drawn_times(rng, sessions, 12 * HOUR, _wandering(rng, 72, 0.3, 0.6))
    requests = np.minimum(1 + np.floor(rng.pareto(1.15, sessions) * 2.6), 250).astype(np.int64)
    pauses = np.exp(rng.normal(-1.0, 1.9, requests.sum()))
    arrival = np.sort(np.repeat(starts, requests) + _since_the_first(pauses, requests))
    n = len(arrival)
    is_short = rng.random(n) < 0.61
    short = np.minimum(np.exp(rng.normal(-0.2, 1.15, n)), 5.0)
    long = np.minimum(5.0 + 15.0 * rng.pareto(1.4, n), 600.0)
    duration = np.maximum(np.where(is_short, short, long), 0.05)
    # As a rule, what is served fast takes much.
    rank = np.where(is_short, rng.random(n) ** 0.5, rng.random(n) ** 4.0)
    demand = 0.05 + 0.55 * rank**3
    return _csv(arrival, duration, demand, is_short, digits=2)


def gpu_cluster(rng: np.random.Generator, sets: int = 3700) -> str:
    """Pods of a GPU cluster in 31 days; demand as a share of one node; see the module."""
    hours = np.arange(31 * 24)
    by_day = 1.0 + 0.6 * np.sin(2 * np.pi * (hours % 24 - 9) / 24)
    starts = _drawn_times(rng, sets, 31 * DAY, by_day * _wandering(rng, len(hours), 0.35, 0.9))
    pods = np.minimum(1 + np.floor(rng.pareto(1.8, sets)), 60).astype(np.int64)
    pauses = 1.0 + 60.0 * rng.pareto(1.2, pods.sum())
    arrival = np.repeat(starts, pods) + _since_the_first(np.minimum(pauses, 1800.0), pods)
    n = len(arrival)
    order = np.argsort(arrival, kind="stable")
    is_service = np.repeat(rng.random(sets) < 0.6, pods)[order]
    median = np.where(is_service, 850.0, 400.0)
    body = median * np.exp(rng.normal(0.0, 1.35, n))
    tail = 7200.0 * (1.0 + rng.pareto(0.75, n))
    duration = np.clip(np.where(rng.random(n) < 0.07, tail, body), 4.0, 28 * DAY)
    duration[0] = 28 * DAY  # a service that has always been there
    shares = np.array([1 / 24, 1 / 16, 1 / 12, 1 / 10, 1 / 8, 1 / 6, 1 / 4, 1 / 3, 1.0])
    chance = np.cumsum([0.06, 0.05, 0.08, 0.15, 0.46, 0.10, 0.05, 0.045, 0.005])
    chance = np.append(chance[:-1], 1.0)
    demand = np.repeat(shares[np.searchsorted(chance, rng.random(sets))], pods)[order]
    return _csv(arrival[order], duration, demand, is_service, digits=0)


PREFILL_TOKENS_PER_S, S_PER_TOKEN, CACHE_TOKENS = 8000.0, 0.025, 131_072
INTERACTIVE_TOKENS = 256
REQUESTS = (  # share; median and spread (of the logarithm) of prompt and generated tokens
    (0.50, 1000.0, 1.2, 210.0, 0.9),  # chats
    (0.35, 1600.0, 1.0, 20.0, 1.0),  # completions of code
    (0.15, 9000.0, 0.8, 330.0, 0.8),  # documents
)


def llm_requests(rng: np.random.Generator, requests: int = 9_800) -> str:
    """An hour of requests to a language model; see the module."""
    arrival = _drawn_times(rng, requests, HOUR, _wandering(rng, 360, 0.45, 0.9))
    share, *shapes = np.array(REQUESTS).T
    kind = np.searchsorted(np.cumsum(share)[:-1], rng.random(requests))
    tokens = [
        np.exp(np.log(median[kind]) + spread[kind] * rng.standard_normal(requests))
        for median, spread in (shapes[:2], shapes[2:])
    ]
    prompt, generated = (
        np.clip(np.round(n), 1, most) for n, most in zip(tokens, (60_000, 2000), strict=True)
    )
    duration = prompt / PREFILL_TOKENS_PER_S + generated * S_PER_TOKEN
    demand = (prompt + generated) / CACHE_TOKENS
    is_short = generated <= INTERACTIVE_TOKENS
    return _csv(arrival, duration, demand, is_short, digits=2, demand_digits=5)


MADE: dict[str, Callable[[np.random.Generator], str]] = {
    "edge_day": edge_day,
    "gpu_cluster": gpu_cluster,
    "llm_requests": llm_requests,
}


def _wandering(rng: np.random.Generator, n: int, spread: float, memory: float) -> Floats:
    """n rates around 1 whose logarithms go up and down by chance (autoregressive, order 1)."""
    level, levels = 0.0, np.empty(n)
    for k in range(n):
        level = memory * level + spread * np.sqrt(1.0 - memory**2) * rng.standard_normal()
        levels[k] = level
    return np.exp(levels)


def _drawn_times(rng: np.random.Generator, n: int, span: float, rates: Floats) -> Floats:
    """n sorted times in [0, span), as often as the rates of its equal parts have it."""
    share = np.append(0.0, np.cumsum(rates) / rates.sum())
    return np.interp(np.sort(rng.random(n)), share, np.linspace(0.0, span, len(share)))


def _since_the_first(pauses: Floats, lengths: Ints) -> Floats:
    """Time since the first of a group; the groups lie behind one another, all in one array."""
    since = np.cumsum(pauses)
    first = np.cumsum(lengths) - lengths
    return since - np.repeat(since[first], lengths)


def _csv(
    arrival: Floats,
    duration: Floats,
    demand: Floats,
    is_interactive: Bools,
    digits: int,
    demand_digits: int = 3,
) -> str:
    """The file's text. Times are rounded as whole numbers: the last bit differs by processor."""
    unit = 10**digits
    when = np.round(arrival * unit).astype(np.int64)
    when -= when[0]
    runs = np.maximum(np.round(duration * unit), 1).astype(np.int64)
    lines = [
        f"{_decimal(a, digits)},{_decimal(d, digits)},{share:.{demand_digits}f},{name}"
        for a, d, share, name in zip(
            when.tolist(),
            runs.tolist(),
            demand.tolist(),
            np.where(is_interactive, "interactive", "elastic").tolist(),
            strict=True,
        )
    ]
    return "\n".join(["arrival_s,duration_s,demand,job_class", *lines]) + "\n"


def _decimal(number: int, digits: int) -> str:
    whole, part = divmod(number, 10**digits)
    return f"{whole}.{part:0{digits}}" if digits else str(whole)


if __name__ == "__main__":
    for written in write(Path(sys.argv[1] if len(sys.argv) > 1 else ".")):
        print(written)
