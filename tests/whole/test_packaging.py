"""The package as it is installed: a wheel, a folder in PYTHONPATH, a user's own modules beside."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GATE = "mec_rllib.callbacks.training_gate"
WHERE = f"import mec_rllib, {GATE} as gate; print(mec_rllib.__file__, gate.__file__, sep='\\n')"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A folder with what a wheel installs."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("mec_rllib", "callbacks", "tune_configs"):
        no_caches = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=no_caches)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    command = [sys.executable, "-c", build, str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    zipfile.ZipFile(built).extractall(folder / "site")
    return folder / "site"


def imported(path, cwd, code=WHERE):
    """What a fresh process prints that finds the package in `path` first."""
    command = [sys.executable, "-c", f"import sys; sys.path.insert(1, {str(path)!r}); {code}"]
    environment = os.environ | {"PYTHONPATH": str(path)}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [Path(line) for line in done.stdout.splitlines()]


def test_the_wheel_has_one_package_with_real_files(wheel):
    tops = {path.name for path in wheel.iterdir() if not path.name.endswith(".dist-info")}
    assert tops == {"mec_rllib"}
    gate = wheel / "mec_rllib" / "callbacks" / "training_gate.py"
    assert gate.read_text() == (ROOT / "callbacks" / "training_gate.py").read_text()
    assert not gate.is_symlink()


def test_the_wheel_has_every_module(wheel):
    def modules(top):
        walk = os.walk(top, followlinks=True)
        return {str(Path(place, f).relative_to(top)) for place, _, files in walk for f in files}

    sources = {
        name for name in modules(ROOT / "mec_rllib") if name.endswith((".py", ".j2", ".yaml"))
    }
    assert modules(wheel / "mec_rllib") >= sources


def test_the_wheel_has_the_shipped_configs_as_files_and_finds_them_by_name(wheel, tmp_path):
    shipped = wheel / "mec_rllib" / "tune_configs"
    assert not shipped.is_symlink()
    assert sorted(p.name for p in shipped.iterdir()) == sorted(
        p.name for p in (ROOT / "tune_configs").glob("*.yaml")
    )
    code = "from mec_rllib.config.shipped import config_file; print(config_file('demo'))"
    assert imported(wheel, tmp_path, code) == [shipped / "demo.yaml"]


@pytest.mark.parametrize("user", ["callbacks.py", "callbacks/__init__.py"])
def test_a_users_own_callbacks_do_not_get_in_the_way(wheel, tmp_path, user):
    (tmp_path / user).parent.mkdir(exist_ok=True)
    (tmp_path / user).write_text("raise RuntimeError('the user has callbacks, too')\n")
    for path in imported(wheel, tmp_path):
        assert path.is_relative_to(wheel)


def test_the_wheel_works_from_the_repositorys_root(wheel):
    package, gate = imported(wheel, ROOT)
    assert package.parent == gate.parent.parent  # one of the two, not a mixture


def test_a_clone_works_that_is_only_in_pythonpath(tmp_path):
    package, gate = imported(ROOT, tmp_path)
    assert package == ROOT / "mec_rllib" / "__init__.py"
    assert gate == ROOT / "mec_rllib" / "callbacks" / "training_gate.py"


def test_a_clone_and_a_wheel_have_the_same_digest(wheel, tmp_path):
    code = (
        "from mec_rllib.launch.cluster_check import _versions; print(_versions()['mec-rllib code'])"
    )
    digests = [imported(path, tmp_path, code) for path in (wheel, ROOT)]
    assert digests[0] == digests[1]
