"""What is looked at before an experiment starts on a cluster; `test_cluster.py` has real hosts."""

import pytest
import ray

from mec_rllib.config.load import build
from mec_rllib.config.strategies import resolve
from mec_rllib.errors import ConfigError
from mec_rllib.launch import cluster_check as nodes


def study(**values):
    return resolve(build({"strategies": ["sjf"], "slots": 100} | values, "test"))


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
class TestCheck:
    def test_a_good_cluster_is_described_and_nothing_is_left_behind(self, tmp_path):
        out = tmp_path / "a" / "b"
        found = nodes.check_cluster(study(), out)
        assert list(tmp_path.iterdir()) == []
        (node,), cores = found, int(ray.cluster_resources()["CPU"])
        assert nodes.describe(found, out) == (
            f"cluster: 1 nodes, {cores} cores: {node.address} ({cores}); all share {out}"
        )

    def test_a_folder_that_is_there_stays(self, tmp_path):
        (tmp_path / "config.yaml").write_text("")
        nodes.check_cluster(study(), tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]

    def test_another_version_is_named_with_its_node(self, tmp_path, monkeypatch):
        here = nodes._versions() | {"torch": "1.0"}
        monkeypatch.setattr(nodes, "_versions", lambda: here)
        with pytest.raises(ConfigError, match=r"^node [\d.]+: torch [\d.+cpu]+ there, 1.0 here;"):
            nodes.check_cluster(study(), tmp_path / "out")
        assert list(tmp_path.iterdir()) == []

    def test_a_trace_that_a_node_cannot_read_is_named(self, tmp_path, monkeypatch):
        trace = tmp_path / "gone.csv"
        monkeypatch.setattr(nodes, "_inputs", lambda _: [trace])
        with pytest.raises(ConfigError, match=rf"^node [\d.]+: cannot read {trace}; it must be on"):
            nodes.check_cluster(study(), tmp_path / "out")


def test_the_users_own_code_is_sent_and_what_is_installed_is_not(readme_examples):
    mine = study(
        strategies=["my_package.schedulers:Heaviest", {"gate": "my_package.gates:EveryMonday"}],
        env={"workload": "my_package.workloads:Heartbeat"},
    )
    assert nodes.modules_to_send(mine) == [str(readme_examples / "my_package")]
    assert nodes.modules_to_send(study(strategies=["ats", "sjf"])) == []
