"""Hosts on one machine: network namespaces on a bridge, each with a real `ray start` in it.

Everything lives in namespaces of its own: nothing of the machine's network or mounts changes, and
all processes are ended by the ids that the namespaces list.
"""

import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

RAY = Path(sys.executable).parent / "ray"
PORT = 6379
# A cut cable looks like silence: with Ray's own settings it takes over a minute to be sure.
DETECTION = {"period_ms": 1000, "timeout_ms": 2000, "failure_threshold": 3}


class NoNamespacesError(Exception):
    """This machine does not let us make hosts; the message says why."""


def _ip(*arguments):
    done = subprocess.run(["ip", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise NoNamespacesError(done.stderr.strip() or f"ip {arguments}: {done.returncode}")
    return done.stdout


class Host:
    """A network namespace with an address, a host name and a /tmp/ray of its own."""

    def __init__(self, name, address, switch, folder):
        self.name, self.address = name, address
        self._switch, self._port = switch, f"p{address.rpartition('.')[2]}"
        self._ray_folder = folder / f"{name}-ray"
        self._ray_folder.mkdir()
        Path("/tmp/ray").mkdir(exist_ok=True)
        _ip("netns", "add", name)
        _ip(*("link", "add", "eth0", "netns", name, "type", "veth"),
            *("peer", "name", self._port, "netns", switch))  # fmt: skip
        _ip("-n", switch, "link", "set", self._port, "master", "br0", "up")
        _ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")
        _ip("-n", name, "link", "set", "lo", "up")

    def popen(self, *command, env, output):
        """Starts a command on the host; its output goes into a file."""
        setup = f'hostname {self.name}; mount --bind {self._ray_folder} /tmp/ray; exec "$@"'
        inside = ["unshare", "--mount", "--uts", "sh", "-c", setup, "sh", *map(str, command)]
        with output.open("ab") as file:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.name, *inside],
                env=os.environ | env,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def cut(self):
        """Takes the link away: packets vanish, processes live on."""
        _ip("-n", self._switch, "link", "set", self._port, "down")

    def pids(self):
        """Ids of all processes on the host."""
        return [int(pid) for pid in _ip("netns", "pids", self.name).split()]

    def kill(self):
        """Ends all processes at once, as a power cut would."""
        while pids := self.pids():
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.1)

    def mount(self, *arguments):
        """Mounts something that only the processes of Ray on this host see."""
        (raylet,) = [pid for pid in self.pids() if _command(pid).endswith("/raylet")]
        subprocess.run(["nsenter", "--target", str(raylet), "--mount", *arguments], check=True)

    def delete(self):
        """Ends the host."""
        self.kill()
        _ip("netns", "del", self.name)


def _command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
    except OSError:
        return ""


class Cluster:
    """Hosts with Ray on each of them, and one token that lets them in.

    Args:
        folder: for logs.
        cpus: per host; the first one is the head.

    Raises:
        NoNamespacesError: on this machine.
    """

    def __init__(self, folder, cpus):
        mark = f"mec{os.getpid()}"
        self._switch, self.hosts, self.folder = f"{mark}-switch", [], folder
        self.env = {
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",  # conftest.py keeps the others here
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "COLUMNS": "160",
        } | {f"RAY_health_check_{name}": str(value) for name, value in DETECTION.items()}
        _ip("netns", "add", self._switch)
        try:
            _ip("-n", self._switch, "link", "add", "br0", "type", "bridge")
            _ip("-n", self._switch, "link", "set", "br0", "up")
            for k in range(1, len(cpus) + 1):
                self.hosts.append(Host(f"{mark}-{k}", f"10.89.0.{k}", self._switch, folder))
            self.address = f"{self.hosts[0].address}:{PORT}"
            for host, number in zip(self.hosts, cpus, strict=True):
                self._start_ray(host, number)
                self._wait_for(host)
        except BaseException:
            self.close()
            raise

    def _start_ray(self, host, cpus):
        is_head = host is self.hosts[0]
        role = ["--head", f"--port={PORT}", "--include-dashboard=false"]
        host.popen(
            *(RAY, "start", *(role if is_head else [f"--address={self.address}"])),
            *(f"--node-ip-address={host.address}", f"--num-cpus={cpus}", "--block"),
            *("--object-store-memory=100000000", "--disable-usage-stats"),
            env=self.env,
            output=self.folder / f"{host.name}.log",
        )

    def _wait_for(self, host):
        """Until the head knows the host."""
        script = (
            "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False, "
            "logging_level='ERROR'); alive = [n['NodeManagerAddress'] for n in ray.nodes() "
            "if n['Alive']]; sys.exit(sys.argv[2] not in alive)"
        )
        log = self.folder / f"{host.name}.log"
        for _ in range(20):
            asking = self.hosts[0].popen(
                sys.executable, "-c", script, self.address, host.address, env=self.env, output=log
            )
            if asking.wait(60) == 0:
                return
            time.sleep(1)
        raise RuntimeError(f"{host.name} did not come up:\n{log.read_text()[-3000:]}")

    def close(self):
        """Ends the hosts."""
        for host in self.hosts:
            host.delete()
        _ip("netns", "del", self._switch)
