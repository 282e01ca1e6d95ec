"""What others on the network can reach of a Ray that was started here: nothing."""

import importlib.util
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from commands import command, mec_rllib
from processes import descendants

LISTEN = "0A"
LOOPBACK = ("0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000")


def listening(pids):
    """Addresses (hexadecimal, as in /proc/net/tcp) that these processes listen on."""
    sockets = set()
    for pid in pids:
        for file in Path(f"/proc/{pid}/fd").glob("*"):
            target = os.readlink(file) if os.path.lexists(file) else ""
            if target.startswith("socket:"):
                sockets.add(target[len("socket:[") : -1])
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    return [row[1].partition(":")[0] for row in rows if row[3] == LISTEN and row[9] in sockets]


@pytest.mark.ray
@pytest.mark.skipif(not Path("/proc/net/tcp6").exists(), reason="reads Linux's list of sockets")
def test_the_local_ray_listens_on_this_machine_only(tmp_path):
    (tmp_path / "c.yaml").write_text("strategies: [sjf]\nslots: 30000000\n")
    run = command("train", "c.yaml", "--out", "out")
    env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}  # as users have it
    process = subprocess.Popen(run, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("out/*/result.json")) and time.monotonic() < deadline:
            time.sleep(0.1)
        addresses = listening(descendants(process.pid))
        assert len(addresses) >= 4  # GCS, raylet, object manager, driver, trial
        assert set(addresses) <= set(LOOPBACK)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


@pytest.mark.skipif(
    importlib.util.find_spec("aiohttp") is not None, reason="the dashboard is installed"
)
def test_a_dashboard_that_is_not_installed_is_one_line(tmp_path):
    (tmp_path / "c.yaml").write_text("strategies: [sjf]\nslots: 100\n")
    done = mec_rllib("tune", "c.yaml", "--out", "out", "--dashboard", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("mec-rllib: --dashboard: is not installed; pip install 'ray[")
    assert len(done.stderr.splitlines()) == 1
    assert os.listdir(tmp_path) == ["c.yaml"]
