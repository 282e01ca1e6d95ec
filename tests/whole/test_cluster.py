"""A cluster of three hosts: what is refused before the start, and an experiment that loses two.

Not part of `make test`: `make cluster-test` runs it (about seven minutes on 2 cores).
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hosts import Cluster, NoNamespacesError

import mec_rllib

pytestmark = [pytest.mark.ray, pytest.mark.hosts]

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "tune_configs/demo.yaml"
TUNE = [sys.executable, "-m", "mec_rllib", "tune"]
SMALL = ["slots=40000", "seeds=[0, 1, 2]", "strategies=[ats, pts, idle, reservation]"]
SMALL_SETS = [part for value in [*SMALL, "evaluation.slots=4000"] for part in ("--set", value)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster")
    try:
        cluster = Cluster(folder, cpus=[1, 2, 2])
    except (NoNamespacesError, FileNotFoundError) as error:
        pytest.skip(f"no network namespaces here (iproute2 and root are needed): {error}")
    yield cluster
    cluster.close()


def start_tune(cluster, out, *arguments, address=None, env=None):
    log = cluster.folder / f"{out.name}.log"
    command = [*TUNE, DEMO, "--address", address or cluster.address, "--out", out, *arguments]
    return cluster.hosts[0].popen(*command, env=env or cluster.env, output=log), log


def refused(cluster, out, **more):
    run, log = start_tune(cluster, out, **more)
    assert run.wait(120) == 2
    assert not out.exists()
    (line,) = log.read_text().splitlines()
    return line


def test_a_folder_that_a_node_does_not_share_is_refused(cluster):
    shared = cluster.folder / "hidden"
    shared.mkdir()
    host = cluster.hosts[2]
    host.mount("mount", "-t", "tmpfs", "tmpfs", shared)
    line = refused(cluster, shared / "out")
    assert f"node {host.address}: does not see {shared / 'out'}" in line
    assert list(shared.iterdir()) == []


def test_other_code_on_a_node_is_refused(cluster, tmp_path):
    host = cluster.hosts[1]
    target = Path(mec_rllib.__file__).parent / "errors.py"
    other = tmp_path / "errors.py"
    other.write_text(target.read_text() + "# edited\n")
    host.mount("mount", "--bind", other, target)
    try:
        line = refused(cluster, cluster.folder / "edited")
    finally:
        host.mount("umount", target)
    assert f"node {host.address}: mec-rllib code" in line


def test_a_wrong_token_is_refused(cluster):
    env = cluster.env | {"RAY_AUTH_TOKEN": "0" * 64}
    run, log = start_tune(cluster, cluster.folder / "token", env=env)
    assert run.wait(120) == 2
    assert "--address" in log.read_text()
    assert not (cluster.folder / "token").exists()


def test_the_users_own_gate_travels_to_the_nodes(cluster, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from mec_rllib.gates import Gate\n"
        "class Monday(Gate):\n"
        "    def wants(self, view):\n"
        "        return (view.slot % 700 == 0) & view.can_ask\n"
    )
    out, host = cluster.folder / "mine", cluster.hosts[2]
    monkeypatch.chdir(tmp_path)
    host.mount("mount", "-t", "tmpfs", "tmpfs", tmp_path)  # it cannot be read there
    sets = ["--set", "strategies=['mine:Monday']", "--set", "slots=2000"]
    run, log = start_tune(cluster, out, *sets)
    assert run.wait(180) == 0, log.read_text()
    rows = json.loads((out / "summary.json").read_text())["rows"]
    assert [row["training_jobs"] for row in rows] == [2, 2, 2]
    assert host.address in {row["node"] for row in rows}


def test_an_experiment_outlives_two_of_its_three_hosts(cluster):
    out, local = cluster.folder / "demo", cluster.folder / "local"
    run, log = start_tune(cluster, out, *SMALL_SETS)
    _, cut_off, killed = cluster.hosts

    lost_first = wait_for_progress(out, cut_off.address, run, log)
    cut_off.cut()
    print(f"\n{cut_off.address} cut off while it ran {lost_first}")
    wait_for(lambda: f"(it was on {cut_off.address})" in log.read_text(), run, log)
    lost_second = wait_for_progress(out, killed.address, run, log)
    killed.kill()
    print(f"{killed.address} killed while it ran {lost_second}")

    assert run.wait(500) == 0, log.read_text()
    print(log.read_text())
    rows = json.loads((out / "summary.json").read_text())["rows"]
    assert len(rows) == 12
    trials = {f"{row['strategy']}_seed{row['seed']}": row for row in rows}
    visited = {name: nodes_of(out / name) for name in trials}
    for name, nodes in visited.items():
        print(f"{name:<18} ran on {' -> '.join(nodes)}")
    assert {node for nodes in visited.values() for node in nodes} == {
        host.address for host in cluster.hosts
    }
    for name, host in ((lost_first, cut_off), (lost_second, killed)):
        assert host.address in visited[name]
        assert trials[name]["node"] != host.address
        assert goes_on_from_a_checkpoint(out / name, host.address)

    # What was lost and played again is what an undisturbed run plays, to the last bit.
    undisturbed = subprocess.run(
        [*TUNE, DEMO, "--out", local, *SMALL_SETS], capture_output=True, text=True
    )
    assert undisturbed.returncode == 0, undisturbed.stderr
    expected = json.loads((local / "summary.json").read_text())["rows"]
    for row in rows + expected:
        del row["wall_s"], row["node"]
    assert rows == expected


def reports_of(trial):
    path = trial / "result.json"
    lines = path.read_text().splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def nodes_of(trial):
    """Nodes in the order in which the trial visited them."""
    nodes = [report["node"] for report in reports_of(trial)]
    return [node for k, node in enumerate(nodes) if k == 0 or nodes[k - 1] != node]


def goes_on_from_a_checkpoint(trial, node):
    """Whether the first report after a node was left continues what a checkpoint holds."""
    reports = reports_of(trial)
    last = max(k for k, report in enumerate(reports) if report["node"] == node)
    # 100 reports, a checkpoint after every tenth: not from the start, and at most ten back.
    first, following = reports[last]["timesteps_total"], reports[last + 1]["timesteps_total"]
    return following > 4000 and first - 4000 <= following <= first + 4000


def wait_for_progress(out, node, run, log):
    """Name of a trial that runs on the node and has left a checkpoint."""

    def find():
        for trial in sorted(out.glob("*_seed*")):
            reports = reports_of(trial)
            running = reports and "row" not in reports[-1] and reports[-1]["node"] == node
            if running and list(trial.glob("checkpoint_*")):
                return trial.name
        return None

    return wait_for(find, run, log)


def wait_for(condition, run, log):
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        if found := condition():
            return found
        assert run.poll() is None, log.read_text()
        time.sleep(0.5)
    raise AssertionError(f"nothing in 240 s:\n{log.read_text()}")
