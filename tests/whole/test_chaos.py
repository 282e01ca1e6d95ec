"""Faults injected on purpose. A short set runs with the tests, the long one is `make chaos`.

Every test says what it injected and what was lost; the table is printed at the end.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import ray
import yaml
from commands import command, mec_rllib
from ray.cluster_utils import Cluster

from mec_rllib.gates import PTS
from mec_rllib.launch import stages
from mec_rllib.results.folder import TrialFolder
from mec_rllib.rl import remote_runners
from mec_rllib.rl.dqn.algorithm import GatedDQNConfig
from mec_rllib.schedulers import SJF, run
from mec_rllib.sim.jobs import REFERENCE_CLASSES
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.totals import Totals
from mec_rllib.sim.workloads import BernoulliWorkload
from mec_rllib.trials.checkpoints import check_checkpoint, write_checkpoint

pytestmark = pytest.mark.chaos


class FaultyWorkload(BernoulliWorkload):
    """The reference workload, but asking it fails at random."""

    def __init__(self, p=0.01, seed=0):
        super().__init__(REFERENCE_CLASSES)
        self._p, self._faults = p, random.Random(seed)

    def arrivals(self, rng, start, stop):
        """Jobs, if all goes well."""
        jobs = super().arrivals(rng, start, stop)  # the generator has moved when it fails
        if self._faults.random() < self._p:
            raise ConnectionError("the recorder does not answer")
        return jobs


class StallingWorkload(FaultyWorkload):
    """Now and then it does not come back; a process that was restarted has forgotten that."""

    def arrivals(self, rng, start, stop):
        """Jobs, if all goes well."""
        if start and self._faults.random() < self._p:
            time.sleep(3600)
        return super(FaultyWorkload, self).arrivals(rng, start, stop)


class FaultyGate(PTS):
    """PTS that raises at random."""

    def wants(self, view):
        """As PTS, if all goes well."""
        if random.random() < 0.002:
            raise ValueError("no fuel")
        return super().wants(view)


def gated_dqn(runners, gate=PTS, timeout_s=60.0, env=None, slots=2000):
    return (
        GatedDQNConfig()
        .environment(env_config=env or {})
        .gating(gate=gate, gate_args={"period": 20}, updates_per_job=1)
        .env_runners(num_env_runners=runners, sample_timeout_s=timeout_s)
        .acting(slots_per_iteration=slots)
        .build_algo()
    )


def lost_slots(algorithm):
    """Asserts that nothing is lost or counted twice; returns the slots that runners played more."""
    totals = algorithm.totals
    arrived, started, expired, dropped = totals.jobs.sum(axis=0)
    assert arrived == started + expired + dropped + totals.waiting.sum()
    assert algorithm.credits == totals.training_jobs > 0
    assert algorithm.learner_updates == algorithm.credits * algorithm.config.updates_per_job
    assert totals.slots == algorithm.slots
    assert len(algorithm.replay) == min(algorithm.slots, algorithm.replay.capacity)
    clocks = algorithm.env_runner_group.foreach_env_runner(
        lambda runner: int(runner.env.servers.slot), local_env_runner=False
    )
    if len(clocks) < algorithm.config.num_env_runners:
        return 0  # what the missing one has played is in its last answer only
    lost = sum(clocks) - algorithm.slots
    assert lost == 0  # each goes on where its last answer left it
    return lost


def pids(algorithm):
    return algorithm.env_runner_group.foreach_env_runner(
        lambda _: os.getpid(), local_env_runner=False
    )


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_killed_env_runners_cost_time_only(chaos):
    times = chaos.times(short=2, long=20)
    algorithm = gated_dqn(runners=2)
    algorithm.train()
    for k in range(times):
        victim = random.choice(pids(algorithm))
        os.kill(victim, signal.SIGKILL)
        if k % 2:  # the weights notice it first
            while Path(f"/proc/{victim}/cmdline").exists():
                time.sleep(0.05)
            algorithm._send_weights()
        lost = algorithm.faults["runners_lost"]
        while algorithm.faults["runners_lost"] == lost or len(pids(algorithm)) < 2:
            result = algorithm.train()
    assert result["faults"]["runners_lost"] == result["faults"]["runners_restored"] == times
    chaos.row("env runner killed (SIGKILL)", times, times, f"{lost_slots(algorithm)} slots")
    algorithm.stop()


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_a_stalled_runner_is_replaced(chaos):
    times = chaos.times(short=1, long=5)
    env = {"workload": "test_chaos:StallingWorkload", "workload_args": {"p": 0.4}}
    algorithm = gated_dqn(runners=1, timeout_s=6.0, env=env)
    while algorithm.faults["runners_restored"] < times:
        algorithm.train()
    row = ("workload that stalls (runner replaced)", times, times)
    chaos.row(*row, f"{lost_slots(algorithm)} slots")
    algorithm.stop()


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_errors_in_a_runner_are_played_again(chaos):
    times = chaos.times(short=10, long=200)
    algorithm = gated_dqn(runners=1, gate=FaultyGate)
    while algorithm.faults["runner_errors"] < times:
        algorithm.train()
    errors = algorithm.faults["runner_errors"]
    assert algorithm.faults["runners_lost"] == 0
    chaos.row(
        "gate that raises (p = 0.002 per slot)", errors, errors, f"{lost_slots(algorithm)} slots"
    )
    algorithm.stop()


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_a_runner_that_always_fails_is_given_up():
    class Broken(PTS):
        def wants(self, view):
            raise ValueError("no fuel")

    algorithm = gated_dqn(runners=1, gate=Broken)
    with pytest.raises(RuntimeError, match="runner 1 failed 6 times in a row: ValueError: no fuel"):
        algorithm.train()
    algorithm.stop()


def test_a_workload_that_raises_costs_no_job(chaos):
    p = 0.01 if chaos.is_long else 0.2
    faulty = ServerBatch(FaultyWorkload(p), 64)
    sound = ServerBatch(BernoulliWorkload(REFERENCE_CLASSES), 64)
    for batch in (faulty, sound):
        while faulty.workload_faults < 200 if batch is faulty else batch.slot < faulty.slot:
            run(batch, SJF(), 1024)
    assert not any(
        np.any(value) for value in (Totals.of(faulty) - Totals.of(sound)).to_json().values()
    )
    faults = faulty.workload_faults
    chaos.row(f"workload that raises (p = {p})", faults, faults, "0 jobs: as without faults")


def test_a_workload_that_always_raises_is_given_up():
    with pytest.raises(RuntimeError, match="failed 10 times in a row at slot 0: ConnectionError"):
        ServerBatch(FaultyWorkload(1.0))


@pytest.fixture
def two_nodes(chaos, new_ray):
    """A head with room for one runner, and a function that adds a node for the other."""
    if not chaos.is_long:
        pytest.skip("long set only: a cluster of its own")
    ray.shutdown()
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    ray.init(address=nodes.address, log_to_driver=False)
    yield nodes
    ray.shutdown()
    nodes.shutdown()
    new_ray()  # for the tests that come after


def iterations(algorithm, n):
    """Median seconds per iteration."""
    seconds = []
    for _ in range(n):
        started = time.perf_counter()
        algorithm.train()
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


@pytest.mark.ray
def test_nodes_come_and_go(chaos, two_nodes, monkeypatch):
    node = two_nodes.add_node(num_cpus=1)
    algorithm = gated_dqn(runners=2, slots=4000)
    algorithm.train()
    for _ in range(5):
        lost = algorithm.faults["runners_lost"]
        two_nodes.remove_node(node, allow_graceful=False)
        while algorithm.faults["runners_lost"] == lost:
            algorithm.train()
        node = two_nodes.add_node(num_cpus=1)
        while len(pids(algorithm)) < 2:
            algorithm.train()
    chaos.row("node lost and back", 5, 5, f"{lost_slots(algorithm)} slots")

    lost = algorithm.faults["runners_lost"]
    two_nodes.remove_node(node, allow_graceful=False)
    while algorithm.faults["runners_lost"] == lost:
        algorithm.train()
    with_attempts = iterations(algorithm, 15)
    monkeypatch.setattr(remote_runners, "PROBE_EVERY_S", 1e9)
    without = iterations(algorithm, 15)
    slower = with_attempts / without
    assert slower < 2
    lost_slots(algorithm)
    chaos.row("node lost for good", 1, 1, f"an iteration takes {slower:.2f} x as long")
    algorithm.stop()


@pytest.mark.ray
def test_a_driver_killed_at_random_moments_ends_like_one_that_was_not(chaos, tmp_path):
    if not chaos.is_long:
        pytest.skip("long set only; tests/launch/test_resume.py kills one")
    times, rng = chaos.times(short=1, long=20), random.Random(0)
    config = tmp_path / "config.yaml"
    seeds = list(range(10))
    config.write_text(
        yaml.safe_dump({"strategies": ["ats"], "seeds": seeds, "slots": chaos.times(4000, 30000)})
    )
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(command("tune", config, "--out", straight), check=True, **quiet)
    done = while_writing = 0
    killed_run = command("tune", config, "--out", killed, "--resume")
    while done < times:
        process = subprocess.Popen(killed_run, **quiet)
        wait_for_writing, until = done % 2, time.monotonic() + 120
        before = set(killed.glob("*/checkpoint_*"))
        while process.poll() is None and time.monotonic() < until:
            if set(killed.glob("*/checkpoint_*")) - before:  # it is at work
                if not wait_for_writing:
                    time.sleep(rng.uniform(0, 1.5))
                    break
                if list(killed.glob("*/.checkpoint_*.tmp")):
                    while_writing += 1
                    break
            time.sleep(0.002)
        if process.poll() is not None:
            break  # it came to its end first
        process.kill()
        process.wait()
        done += 1
    final = subprocess.run(killed_run, capture_output=True, text=True)
    assert final.returncode == 0, final.stderr
    rows = [json.loads((out / "summary.json").read_text())["rows"] for out in (straight, killed)]
    for row in rows[0] + rows[1]:
        del row["wall_s"]
    assert rows[0] == rows[1]
    same = [
        path.read_bytes() == (killed / path.relative_to(straight)).read_bytes()
        for path in straight.glob("*/checkpoint_*/policy.safetensors")
    ]
    assert same == [True] * len(seeds)
    for path in straight.glob("*/result.json"):
        slots = [
            [json.loads(line)["timesteps_total"] for line in file.read_text().splitlines()]
            for file in (path, killed / path.relative_to(straight))
        ]
        assert slots[0] == slots[1]
    what = f"driver killed ({while_writing} x while a checkpoint was written)"
    chaos.row(what, done, done, f"0 slots: {len(seeds)} of {len(seeds)} seeds end bit for bit")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_leaves_the_last_good_checkpoint(chaos, small_disk):
    of = {"strategy": "ats"}
    write_checkpoint(
        TrialFolder(small_disk), 1, lambda folder: (folder / "a").write_bytes(bytes(400_000)), of
    )
    for k in range(5):

        def too_much(folder, k=k):
            for part in range(20):  # the disk is full after a different file each time
                (folder / f"{part}").write_bytes(bytes(100_000 + 150_000 * k))

        with pytest.raises(OSError, match="No space left"):
            write_checkpoint(TrialFolder(small_disk), 2 + k, too_much, of)
        assert [path.name for path in TrialFolder(small_disk).checkpoints] == ["checkpoint_000001"]
        check_checkpoint(small_disk / "checkpoint_000001")
        assert os.listdir(small_disk) == ["checkpoint_000001"]
    chaos.row("disk full while a checkpoint is written", 5, 5, "0 checkpoints")


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_an_experiment_on_a_full_disk_says_so_and_goes_on_later(
    chaos, small_disk, tmp_path, monkeypatch
):
    config = tmp_path / "config.yaml"
    text = {"strategies": ["pts"], "slots": 4000, "evaluation": {"slots": 500}}
    config.write_text(yaml.safe_dump(text))
    (small_disk / "ballast").write_bytes(bytes(900_000))
    monkeypatch.setattr(stages, "RESTARTS", chaos.times(short=0, long=3))  # each is a process
    done = mec_rllib("tune", config, "--out", small_disk / "out")
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    out = tmp_path / "out"
    shutil.copytree(small_disk / "out", out)
    again = mec_rllib("resume", out)
    assert again.returncode == 0, again.stderr
    chaos.row("disk full under an experiment", 1, 1, "0 slots")


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_soak(chaos, tmp_path):
    minutes = float(os.environ.get("SOAK_MINUTES", "30")) if chaos.is_long else 0.1
    config = GatedDQNConfig()
    config = config.gating(gate=PTS).env_runners(num_envs_per_env_runner=8)
    config = config.replay(capacity=20_000).acting(slots_per_iteration=4000)
    algorithm = config.build_algo()
    save = lambda folder: algorithm.save_to_path(folder.absolute())  # noqa: E731
    started, points, iteration = time.monotonic(), [], 0
    while time.monotonic() - started < 60 * minutes or iteration < 12:
        algorithm.train()
        iteration += 1
        if iteration % 10 == 0:
            write_checkpoint(TrialFolder(tmp_path), iteration, save, {})
            files = sum(path.is_file() for path in tmp_path.rglob("*"))
            points.append((time.monotonic() - started, resident_mb(), files))
    algorithm.stop()
    late = np.array(points[len(points) // 3 :])  # the replay is full by then
    assert len(TrialFolder(tmp_path).checkpoints) <= 2
    lost = f"{late[-1, 2]:.0f} files"
    if chaos.is_long:
        slope = np.polyfit(late[:, 0] / 60, late[:, 1], 1)[0]
        assert abs(slope) < 2.0  # MB per minute
        assert late[:, 2].max() == late[:, 2].min()
        lost = f"memory {slope:+.2f} MB/min, {lost}"
    chaos.row(f"soak: {algorithm.slots:,} slots in {minutes:g} min", 1, 1, lost)


def resident_mb():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
