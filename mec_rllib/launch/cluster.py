"""The Ray that an experiment runs on: one of our own on this machine, or a running cluster."""

import importlib.util
import logging
import os
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ray

from mec_rllib.config.study import Strategy, Study
from mec_rllib.errors import ConfigError
from mec_rllib.launch.cluster_check import Node, check_cluster, describe, modules_to_send

CONNECT_S = 10.0


class Cluster(NamedTuple):
    """Where to run."""

    address: str | None = None  # of a running cluster; None: start one here
    dashboard: bool = False  # of the one started here
    cores: int | None = None  # of the one started here; None: all of this machine

    def check(self) -> None:
        """Looks whether the dashboard is there, if it is asked for.

        Raises:
            ConfigError: it is not.
        """
        if self.dashboard and not importlib.util.find_spec("aiohttp"):
            raise ConfigError(
                f"--dashboard: is not installed; pip install 'ray[default]=={ray.__version__}'"
            )


def join(address: str, studies: Sequence[Study], out: Path) -> str:
    """Connects to a running cluster that can play the experiments; returns a line about it.

    Raises:
        ConfigError: there is no cluster, or one of its nodes is not ready (`check_cluster`).
    """
    modules = {module for study in studies for module in modules_to_send(study)}
    start_ray(Cluster(address), 0, sorted(modules))
    nodes: list[Node] = []
    for study in studies:
        nodes = check_cluster(study, out)
    return describe(nodes, out)


def start_ray(
    cluster: Cluster,
    cpus: float,
    modules: Sequence[str] = (),
    say: Callable[[str], None] = lambda what: None,
) -> None:
    """Joins the cluster, or starts one here with at least so many cores.

    Ray asks for its token by default; that is left as it is.

    Args:
        cluster: which.
        cpus: that one trial needs.
        modules: files and folders with code of the user's that travel to the nodes.
        say: is told what takes a while.

    Raises:
        ConfigError: there is no cluster at the address, or it does not let us in.
    """
    _quiet_tune()
    if ray.is_initialized():
        if cluster.address or ray.cluster_resources().get("CPU", 0.0) >= cpus:
            return
        ray.shutdown()  # the stage before needed less: Tune would wait for more for ever
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    paths = [here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment: dict[str, Any] = {"env_vars": {"PYTHONPATH": os.pathsep.join(paths)}}
    if modules:  # an empty list is no list for Ray
        environment["py_modules"] = list(modules)
    common = {"runtime_env": environment, "log_to_driver": False, "logging_level": "ERROR"}
    if cluster.address:
        _connect(cluster.address, common)
        return
    say("starting Ray")
    ray.init(
        address="local",
        # Trials that need more processes than there are cores share them, instead of waiting.
        num_cpus=max(int(cpus), cluster.cores or os.cpu_count() or 1),
        include_dashboard=cluster.dashboard,
        dashboard_host="127.0.0.1",
        # Idle workers for this process would be for nothing: trials have another environment.
        _system_config={"prestart_worker_first_driver": False},
        **common,
    )


def _quiet_tune() -> None:
    """Progress, failures and places of files are ours to print; reports and Ctrl-C to handle."""
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    for place in ("TUNE_RESULT_DIR", "RAY_AIR_LOCAL_CACHE_DIR"):  # Tune raises where one is set
        os.environ.pop(place, None)  # --out says where everything lies
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)


def _connect(address: str, settings: dict[str, Any]) -> None:
    _check_address(address)
    try:
        ray.init(address=address, **settings)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"--address {address}: {reason}") from None


def _check_address(address: str) -> None:
    """Ray itself waits many minutes for a cluster that is not there."""
    host, _, port = address.rpartition(":")
    if address == "auto":
        return
    if "/" in host or not host or not port.isdecimal():
        raise ConfigError(
            f"--address {address}: must be host:port or auto, on a node of the cluster; from "
            "outside, send the command with `ray job submit` (docs/clusters.md)"
        )
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(f"--address {address}: no cluster answers there ({error})") from None


def cores_of(strategy: Strategy) -> list[dict[str, float]]:
    """What a trial needs, as Ray's bundles: a core for it, and one for each remote runner."""
    runners = strategy.experiment.runners.num if strategy.learns else 0
    return [{"CPU": 1.0}] * (1 + runners)
