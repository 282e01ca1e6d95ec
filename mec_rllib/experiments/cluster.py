"""The Ray that an experiment runs on: one of our own on this machine, or a running cluster."""

import importlib.util
import logging
import os
import sys
from typing import NamedTuple

import ray

from mec_rllib.errors import ConfigError
from mec_rllib.experiments.strategies import Strategy


class Cluster(NamedTuple):
    """Where to run."""

    address: str | None = None  # of a running cluster; None: start one here
    dashboard: bool = False  # of the one started here


def start_ray(cluster: Cluster, cpus: float) -> None:
    """Joins the cluster, or starts one here with at least so many cores.

    Ray asks for its token by default; that is left as it is.

    Raises:
        ConfigError: the dashboard is asked for, and not installed.
    """
    # Progress, failures and places of files are ours to print, each once; reports and Ctrl-C are
    # ours to handle.
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    if ray.is_initialized():
        return
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    paths = [here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    common = {
        "runtime_env": {"env_vars": {"PYTHONPATH": os.pathsep.join(paths)}},
        "log_to_driver": False,
        "logging_level": "ERROR",
    }
    if cluster.address:
        ray.init(address=cluster.address, **common)
        return
    if cluster.dashboard and not importlib.util.find_spec("aiohttp"):
        raise ConfigError(
            f"--dashboard: is not installed; pip install 'ray[default]=={ray.__version__}'"
        )
    ray.init(
        address="local",
        # Trials that need more processes than there are cores share them, instead of waiting.
        num_cpus=max(int(cpus), os.cpu_count() or 1),
        include_dashboard=cluster.dashboard,
        dashboard_host="127.0.0.1",
        **common,
    )


def cores_of(strategy: Strategy) -> list[dict[str, float]]:
    """What a trial needs, as Ray's bundles: a core for it, and one for each remote runner."""
    runners = strategy.experiment.runners.num if strategy.gate is not None else 0
    return [{"CPU": 1.0}] * (1 + runners)
