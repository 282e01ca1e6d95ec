"""A Ray cluster, looked at before anything starts on it: versions, code, storage and inputs.

Every node answers a probe, so what would fail hours later on one of them is said at once, by name.
"""

import hashlib
import os
import sysconfig
import time
import uuid
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import NamedTuple

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import mec_rllib
from mec_rllib.config.study import Study
from mec_rllib.errors import ConfigError
from mec_rllib.lookup import is_import_path, load_path
from mec_rllib.results.summary import PACKAGES
from mec_rllib.sim.traces.made import file_of

PROBE_S = 120.0  # a node starts a process and imports the package
VISIBLE_S = 10.0  # network file systems show a new file after some seconds


class Node(NamedTuple):
    """A node of the cluster that is alive."""

    id: str
    address: str
    cpus: int


class Answer(NamedTuple):
    """What a node says: versions by package, and what it cannot do with files."""

    versions: dict[str, str]
    complaint: str | None


def check_cluster(study: Study, out: Path) -> list[Node]:
    """Makes sure that every node of the connected cluster can play the experiment.

    Args:
        study: what is to run.
        out: its folder; may not exist yet, and is left as it was.

    Raises:
        ConfigError: a node has other versions or other code, does not share the folder, cannot
            read an input, or does not answer; one line that names the node.
    """
    nodes = [
        Node(n["NodeID"], n["NodeManagerAddress"], int(n["Resources"].get("CPU", 0)))
        for n in ray.nodes()
        if n["Alive"]
    ]
    out = out.absolute()
    made = _make_folder(out)
    token = uuid.uuid4().hex
    files = [out / f".{token}-{name}" for name in ("driver", *(n.id for n in nodes))]
    try:
        files[0].write_text(token)
        probe = ray.remote(num_cpus=0, max_retries=0)(_answer)
        answers = [
            probe.options(scheduling_strategy=NodeAffinitySchedulingStrategy(n.id, soft=False))
            .remote(files[0], file, token, _inputs(study))
            for n, file in zip(nodes, files[1:], strict=True)
        ]  # fmt: skip
        here = _versions()
        for node, answer, file in zip(nodes, answers, files[1:], strict=True):
            _judge(node, answer, here)
            if not _holds(file, token):
                raise _not_shared(node, f"what it writes into {out} does not arrive here")
    finally:
        for file in files:
            file.unlink(missing_ok=True)
        for folder in made:
            folder.rmdir()
    return nodes


def _judge(node: Node, answer: ray.ObjectRef, here: dict[str, str]) -> None:
    try:
        there: Answer = ray.get(answer, timeout=PROBE_S)
    except ray.exceptions.GetTimeoutError:
        raise ConfigError(f"node {node.address}: no answer within {PROBE_S:.0f} s") from None
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ConfigError(
            f"node {node.address}: mec-rllib does not start there ({reason}); install it on every "
            "node, or start the nodes from the image"
        ) from None
    for package, mine in here.items():
        if there.versions[package] != mine:
            raise ConfigError(
                f"node {node.address}: {package} {there.versions[package]} there, {mine} here; "
                "install the same on every node, or start the nodes from one image"
            )
    if there.complaint:
        raise _not_shared(node, there.complaint)


def _not_shared(node: Node, reason: str) -> ConfigError:
    return ConfigError(f"node {node.address}: {reason}; it must be on storage that all nodes share")


def _answer(read: Path, write: Path, token: str, inputs: Sequence[Path]) -> Answer:
    """Runs on a node: its versions, and whether it reads and writes where the driver does."""
    complaint = None
    if not _holds(read, token):
        complaint = f"does not see {read.parent}"
    else:
        try:
            write.write_text(token)
        except OSError as error:
            complaint = f"cannot write into {write.parent} ({error.strerror})"
    for path in inputs:
        if not os.access(path, os.R_OK):
            complaint = complaint or f"cannot read {path}"
    return Answer(_versions(), complaint)


def _holds(file: Path, content: str) -> bool:
    """Whether a file has that content, now or soon."""
    deadline = time.monotonic() + VISIBLE_S
    while True:
        try:
            os.listdir(file.parent)  # makes network file systems look again
            if file.read_text() == content:
                return True
        except OSError:
            pass
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)


def _make_folder(folder: Path) -> list[Path]:
    """Makes a folder with its parents; returns those that were not there, deepest first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {folder}: cannot be made ({error.strerror})") from None
    return missing


def _versions() -> dict[str, str]:
    """Versions of all that results depend on; of our own code, which may be edited, a digest."""
    digest, root = hashlib.sha256(), mec_rllib.__path__[0]
    # Links are followed: in a clone `mec_rllib/callbacks` is one, in a wheel a folder.
    walk = ((Path(place), files) for place, _, files in os.walk(root, followlinks=True))
    for path in sorted(place / name for place, files in walk for name in files):
        if path.suffix == ".py":
            digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    found = {name: version(name) for name in PACKAGES}
    return {"Python": python_version(), **found, "mec-rllib code": digest.hexdigest()[:12]}


def _inputs(study: Study) -> list[Path]:
    """Files that every trial reads."""
    traces = [s.experiment.env.played_trace for s in study.strategies]
    return list({file_of(trace.path) for trace in traces if trace is not None})


def modules_to_send(study: Study) -> list[str]:
    """Where the user's own gates, schedulers, workloads and environments lie: they travel, too.

    What is installed (in site-packages) does not: it has to be installed on the nodes, too.
    """
    modules = set[str]()
    for strategy in study.strategies:
        modules |= {strategy.path.partition(":")[0], load_path(strategy.path).__module__}
        modules |= strategy.experiment.env.modules
        score = str(strategy.args.get("score", ""))
        for rule in (strategy.exploration, strategy.guide or "", score):
            if is_import_path(rule):
                modules.add(rule.partition(":")[0])
    names = {module.partition(".")[0] for module in modules}
    return sorted(_place(name) for name in names - {"mec_rllib"} if not _is_installed(name))


def _place(name: str) -> str:
    """Folder of a package, or file of a module."""
    module = __import__(name)
    return next(iter(getattr(module, "__path__", ())), None) or str(module.__file__)


def _is_installed(name: str) -> bool:
    return Path(_place(name)).is_relative_to(sysconfig.get_path("purelib"))


def describe(nodes: Iterable[Node], out: Path) -> str:
    """One line for the user."""
    nodes = list(nodes)
    each = ", ".join(f"{node.address} ({node.cpus})" for node in nodes)
    cpus = sum(node.cpus for node in nodes)
    return f"cluster: {len(nodes)} nodes, {cpus} cores: {each}; all share {out}"
