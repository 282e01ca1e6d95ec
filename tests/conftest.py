"""What several tests share: the README's examples as an importable package."""

import re
from pathlib import Path

import pytest
import ray

README = (Path(__file__).parent.parent / "README.md").read_text()


@pytest.fixture
def readme_examples(tmp_path, monkeypatch):
    """A folder with the files that the README shows (`# name` is their first line)."""
    for name, text in re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", README, re.DOTALL):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def cluster():
    """One Ray for every test that builds algorithms in this process."""
    ray.init(address="local", num_cpus=3, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()
