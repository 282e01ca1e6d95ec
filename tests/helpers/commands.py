"""mec-rllib's command line, in a process of its own or in this one."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import ray

from mec_rllib.cli import main


def command(*arguments):
    """What starts mec-rllib in a process of its own: for signals, and for what a start brings."""
    return [sys.executable, "-m", "mec_rllib", *map(str, arguments)]


@contextlib.contextmanager
def one_process():
    """Trials follow each other in one process: to start a second one takes longer than they do."""
    if not ray.is_initialized():
        yield
        return
    from ray.tune import Tuner

    fit = Tuner.fit

    def fit_in_one_core(tuner):
        others = ray.util.placement_group([{"CPU": ray.cluster_resources()["CPU"] - 1}])
        assert others.wait(30), "other tests left processes behind"
        try:
            return fit(tuner)
        finally:
            ray.util.remove_placement_group(others)

    with mock.patch.object(Tuner, "fit", fit_in_one_core):
        yield


def mec_rllib(*arguments, cwd=None):
    """Runs the command here, with the Ray that is there: no process, no imports to wait for.

    Returns:
        A CompletedProcess, as if it had been one.
    """
    argv = ["mec-rllib", *map(str, arguments)]
    with (
        mock.patch.object(sys, "argv", argv),
        mock.patch.object(sys, "path", list(sys.path)),
        mock.patch.dict(os.environ),
        contextlib.chdir(cwd or Path.cwd()),
        one_process(),
        contextlib.redirect_stdout(io.StringIO()) as stdout,
        contextlib.redirect_stderr(io.StringIO()) as stderr,
    ):
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
    return subprocess.CompletedProcess(argv, code, stdout.getvalue(), stderr.getvalue())
