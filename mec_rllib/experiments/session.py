"""The connection to Ray: a cluster that runs already, or one that is started here."""

import logging
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray

from mec_rllib.errors import ConfigError
from mec_rllib.experiments.cluster import check_cluster, describe, modules_to_send
from mec_rllib.experiments.config import Experiment

CONNECT_S = 10.0


def join_cluster(address: str, experiment: Experiment, out: Path) -> str:
    """Connects to a cluster that can play the experiment; returns a line about it.

    Raises:
        ConfigError: there is no cluster, or one of its nodes is not ready (`check_cluster`).
    """
    start_ray(address, 0, modules_to_send(experiment))
    return describe(check_cluster(experiment, out), out)


def start_ray(address: str | None, cpus: float, modules: Sequence[str] = ()) -> None:
    """Joins the cluster at an address, or starts one here with at least so many cores.

    Args:
        address: host:port or auto; none: here.
        cpus: that one trial needs.
        modules: files and folders with code of the user's that travel to the nodes.

    Raises:
        ConfigError: there is no cluster at the address, or it does not let us in.
    """
    # Progress, failures and places of files are ours to print, each once.
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    if ray.is_initialized():
        return
    if address is not None:
        _check_address(address)
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    paths = [here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment: dict[str, Any] = {"env_vars": {"PYTHONPATH": os.pathsep.join(paths)}}
    if modules:  # an empty list is no list for Ray
        environment["py_modules"] = list(modules)
    try:
        ray.init(
            address=address or "local",
            # Trials that need more processes than there are cores share them, instead of waiting.
            num_cpus=None if address else max(int(cpus), os.cpu_count() or 1),
            include_dashboard=None if address else False,
            runtime_env=environment,
            log_to_driver=False,
            logging_level="ERROR",
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        if address is None:
            raise
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
