"""What several tests share: the README's examples as an importable package."""

import os
import re
import sys
from pathlib import Path

import pytest

# As Ray sets it for a trial, and before torch looks: two threads that spin for each other on small
# networks, beside another busy process, made an update 50 times as slow.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# As the command line does it, and before Ray looks: nodes of either are called 127.0.0.1.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

HERE = Path(__file__).parent
ROOMS = sorted(HERE.glob("*/"))
README = (HERE.parent / "README.md").read_text()


@pytest.fixture
def readme_examples(tmp_path, monkeypatch):
    """A folder with the files that the README shows (`# name` is their first line)."""
    for name, text in re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", README, re.DOTALL):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
        del sys.modules[name]


@pytest.fixture
def fresh_modules(monkeypatch):
    """Modules that tests call my_... are imported anew, and forgotten afterwards."""

    def named():
        return [name for name in sys.modules if name.startswith("my_")]

    for name in named():
        monkeypatch.delitem(sys.modules, name)
    yield
    for name in named():
        del sys.modules[name]


@pytest.fixture(scope="session")
def modules(tmp_path_factory):
    """A folder that this process and those of `cluster` import from: for what users bring along.

    Names must be new: a module stays imported.
    """
    folder = tmp_path_factory.mktemp("modules")
    sys.path.append(str(folder))
    return folder


@pytest.fixture(scope="session")
def new_ray(modules):
    """Starts a Ray, unless there is one: room for three processes, which find tests' classes."""
    import ray

    places = os.pathsep.join(map(str, [HERE.parent, modules, *ROOMS]))  # this code, no other copy

    def start():
        if ray.is_initialized():
            return
        ray.init(
            address="local",
            num_cpus=3,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            runtime_env={"env_vars": {"PYTHONPATH": places}},
            _system_config={"prestart_worker_first_driver": False},  # of another environment
        )

    yield start
    ray.shutdown()


@pytest.fixture(scope="session")
def cluster(new_ray):
    """One Ray for all tests that build algorithms or play trials in this process."""
    new_ray()


def pytest_collection_modifyitems(items):
    """What takes longest begins: two workers are then done at about the same time."""
    items.sort(key=lambda item: item.path.parent.name not in ("launch", "whole"))


def pytest_addoption(parser):
    """`make chaos`."""
    parser.addoption("--long", action="store_true", help="the long set of faults (test_chaos.py)")


class Chaos:
    """How much to inject, and what was survived: a row of the table after the tests."""

    def __init__(self, request):
        self.is_long = request.config.getoption("--long")
        self._node = request.node

    def times(self, short, long):
        return long if self.is_long else short

    def row(self, fault, injected, survived, lost):
        self._node.user_properties.append(("fault", (fault, injected, survived, lost)))


@pytest.fixture
def chaos(request):
    """For tests that inject faults."""
    return Chaos(request)


def pytest_terminal_summary(terminalreporter):
    """The table of faults; a test's report brings its rows here from whatever process ran it."""
    reports = [r for key in ("passed", "failed") for r in terminalreporter.stats.get(key, [])]
    rows = [
        row
        for report in reports
        if report.when == "call"
        for name, row in report.user_properties
        if name == "fault"
    ]
    if rows:
        header = ("fault", "injected", "survived", "lost")
        width = max(len(row[0]) for row in rows)
        terminalreporter.section("faults")
        for fault, injected, survived, lost in [header, *rows]:
            terminalreporter.line(f"{fault:{width}}  {injected!s:>8}  {survived!s:>8}  {lost}")
