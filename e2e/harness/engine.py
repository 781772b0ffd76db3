"""The container engine that kind runs on.

Where a Docker engine answers and the registry serves kind's node image, both are used as they are (`HostEngine`). Elsewhere the harness runs Debian's
dockerd itself (`PrivateEngine`), in a network namespace of its own, with its state in the cache and its containers below one cgroup:

    network namespace `zke`          10.211.0.0/24  the engine's bridge
      dockerd ── containerd          10.212.0.0/16  kind's network, the nodes
        ├─ zke-control-plane         10.244.0.0/16  pods, by routes through the nodes
        └─ zke-worker ...            127.0.0.1      the API server

All its traffic stays in there; what talks to pods or to the API server enters the namespace by `Engine.enter`. Everything it leaves behind can be found
without having remembered it (by namespace, cgroup, state folder), so `stop` also cleans up after a run that was killed.
"""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from . import places, versions
from .prerequisites import require
from .shell import CommandFailed, run, succeeds, wait_for

NAMESPACE = "zke"
BRIDGE = "10.211.0.1/24"
NETWORKS = "base=10.212.0.0/16,size=24"
START_SECONDS = 60
STOP_SECONDS = 60
PULL_SECONDS = 300
CGROUPS = Path("/sys/fs/cgroup")
CAP_SYS_RESOURCE = 24


class HostEngine:
    """The machine's own engine and registry. Nothing here starts or stops it."""

    makes_node_image = False
    enter: list[str] = []
    env: dict[str, str] = {}

    def start(self) -> None:
        """It runs already."""

    def stop(self) -> None:
        """It was there before and stays."""


class PrivateEngine:
    """An engine made by the harness; needs root."""

    makes_node_image = True
    enter = ["nsenter", f"--net=/var/run/netns/{NAMESPACE}"]

    def __init__(self, state: Path = places.ENGINE):
        self.state = state
        self.pidfile = state / "dockerd.pid"
        self.exec_root = state / "exec"
        self.log = state / "dockerd.log"
        self.env = {"DOCKER_HOST": f"unix://{state / 'docker.sock'}", "DOCKER_BUILDKIT": "0"}

    def start(self) -> None:
        """Starts the engine, after cleaning up what an interrupted run left. Returns at once when it runs."""
        if self.answers():
            return
        require("dockerd", "docker", "containerd", "runc", "ip", "iptables", "nsenter", "sysctl")
        self.stop()
        (self.state / "docker").mkdir(parents=True, exist_ok=True)
        run(["ip", "netns", "add", NAMESPACE])
        run([*self.enter, "ip", "link", "set", "lo", "up"])
        run([*self.enter, "sysctl", "-qw", "net.ipv4.ip_forward=1"])
        with self.log.open("wb") as log:
            subprocess.Popen([*self.enter, *self._dockerd()], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_for("dockerd", START_SECONDS, self.answers)
        except Exception:
            print(self.log.read_text(errors="replace")[-3000:])
            raise

    def _dockerd(self) -> list[str]:
        command = ["dockerd", f"--data-root={self.state}/docker", f"--exec-root={self.exec_root}", f"--host={self.env['DOCKER_HOST']}"]
        command += [f"--pidfile={self.pidfile}", "--oom-score-adjust=0", f"--cgroup-parent=/{NAMESPACE}", "--exec-opt=native.cgroupdriver=cgroupfs"]
        command += ["--storage-driver=overlay2", f"--bip={BRIDGE}", f"--default-address-pool={NETWORKS}"]
        if not has_capability(CAP_SYS_RESOURCE):
            wrapper = places.E2E / "node" / "runc-without-sys-resource"
            command += [f"--add-runtime=reduced={wrapper}", "--default-runtime=reduced"]
        return command

    def answers(self) -> bool:
        """Whether the engine runs."""
        return self.pidfile.exists() and succeeds(["docker", "info"], env=self.env, timeout=10)

    def stop(self) -> None:
        """Stops the engine and removes everything of it but its images: containers, processes, mounts, namespace, cgroups."""
        if self.answers():
            containers = run(["docker", "ps", "-aq"], env=self.env).split()
            if containers:
                run(["docker", "rm", "-fv", *containers], env=self.env)
            with contextlib.suppress(CommandFailed):
                run(["docker", "network", "prune", "-f"], env=self.env)
        if self.pidfile.exists():
            _terminate(int(self.pidfile.read_text() or 0))
            self.pidfile.unlink(missing_ok=True)
        for pid in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(Exception):
            wait_for("the engine's processes to end", STOP_SECONDS, lambda: not self._processes())
        for mount in sorted(_mounts_below(self.state), reverse=True):
            with contextlib.suppress(CommandFailed):
                run(["umount", "-l", mount])
        if Path(f"/var/run/netns/{NAMESPACE}").exists():
            run(["ip", "netns", "del", NAMESPACE])
        for controller in [CGROUPS, *CGROUPS.glob("*/")]:
            _remove_cgroup(controller / NAMESPACE)

    def _processes(self) -> list[int]:
        """Processes of this engine: in its cgroup, or (containerd and its shims) started with a path of its run-time state."""
        found = set()
        for procs in CGROUPS.glob(f"*/{NAMESPACE}/**/cgroup.procs"):
            with contextlib.suppress(OSError):
                found.update(int(pid) for pid in procs.read_text().split())
        for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                program, _, arguments = cmdline.read_bytes().partition(b"\0")
                mine = str(self.exec_root).encode() in arguments or str(self.exec_root).encode() in program
                if mine and Path(os.fsdecode(program)).name.startswith(("dockerd", "containerd", "runc", "docker-proxy")):
                    found.add(int(cmdline.parent.name))
        return sorted(found - {0})


Engine = HostEngine | PrivateEngine


def choose() -> Engine:
    """The machine's engine if it answers and kind's node image can be had there; otherwise a private one."""
    return HostEngine() if host_engine_answers() and _has_node_image() else PrivateEngine()


def current() -> Engine:
    """The engine that a parent process chose and handed on in the environment."""
    private = PrivateEngine()
    return private if os.environ.get("DOCKER_HOST") == private.env["DOCKER_HOST"] else HostEngine()


def host_engine_answers() -> bool:
    """Whether the machine has an engine that this user may use."""
    return succeeds(["docker", "info"], timeout=10)


def _has_node_image() -> bool:
    image = versions.NODE_IMAGE
    return succeeds(["docker", "image", "inspect", image]) or succeeds(["docker", "pull", "-q", image], timeout=PULL_SECONDS)


def has_capability(number: int) -> bool:
    """Whether this process may pass a capability on to its children."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def _terminate(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    deadline = time.monotonic() + STOP_SECONDS
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.2)


def _runs(pid: int) -> bool:
    """Whether a process exists and is more than a zombie: dockerd stays one while the process that started it lives."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _mounts_below(folder: Path) -> list[str]:
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in points if point.startswith(f"{folder}/")]


def _remove_cgroup(group: Path) -> None:
    if not group.is_dir():
        return
    for child in group.iterdir():
        if child.is_dir():
            _remove_cgroup(child)
    with contextlib.suppress(OSError):
        group.rmdir()
