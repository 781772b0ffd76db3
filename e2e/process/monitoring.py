"""A Prometheus sees what happens: every panel of the dashboards has data, and a pause is an alert that names its cause."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from harness import build, dashboards, lossy, pictures, prometheus, public_dashboards
from harness.load import close, connect
from harness.lossy import LossyDisk
from harness.processes import Group, Processes, Server
from harness.prometheus import Prometheus
from harness.runner import case
from kazoo.client import KazooClient

NAMESPACE, ENSEMBLE = "prod", "zk"
VARIABLES = {"namespace": NAMESPACE, "ensemble": ENSEMBLE}
LOADED_SECONDS = 25.0
PAUSE_SECONDS = 2.5
SLOW_MS = 1500
ALERT_SECONDS = 40
CGROUP = Path("/sys/fs/cgroup")
# In a second: the rest of it the server stands still, once it has used this up.
QUOTA_MS = 20
QUOTA_SECONDS = 60
REQUESTS_AT_ONCE = 200


@case("dashboards have data")
def panels_have_data(world: Processes) -> str:
    """Each panel about servers shows something of a live ensemble, asked for its leader; and what public dashboards ask is answered."""
    with watched(world) as (group, seen, _):
        work(group)
        count = sum(dashboards.check(seen, name, {**VARIABLES, "pod": pod(group.leader())}) for name in ("ensemble", "server", "sessions"))
        asked = public_dashboards.check(seen)
        if folder := os.environ.get("PICTURES"):
            for name in ("ensemble", "server", "sessions"):
                pictures.draw(seen, name, {**VARIABLES, **({"pod": pod(group.leader())} if name == "server" else {})}, LOADED_SECONDS + 10, Path(folder) / f"{name}.svg")
        quiet = seen.query('ALERTS{alertstate="firing"}')
        assert not quiet, f"nothing is wrong, and alerts fire: {quiet}"
    return f"{count} panels have data, no alert fires; {asked}"


@case("pauses are alerts with their cause")
def pauses(world: Processes) -> str:
    """SIGSTOP, a slow disk and with `--all` a CPU quota, each at a server of its own: the alerts name the right cause."""
    said = []
    with watched(world, slow_disk=True) as (group, seen, disk):
        stopped, slow, throttled = group.servers
        stopped.suspend()
        time.sleep(PAUSE_SECONDS)
        stopped.resume()
        prometheus.fires(seen, "ZooKeeperPauseTooLong", ALERT_SECONDS, pod=pod(stopped), cause="stopped")
        said.append("stopped")
        assert disk, "the second server's"
        disk.slow("sync", SLOW_MS)
        write(group, 3)
        disk.slow("sync", 0)
        prometheus.fires(seen, "ZooKeeperPauseTooLong", ALERT_SECONDS, pod=pod(slow), cause="fsync")
        prometheus.fires(seen, "ZooKeeperFsyncSlow", ALERT_SECONDS, at_once=False, pod=pod(slow))
        said.append("fsync")
        if world.thorough:
            with quota(throttled) as limited:
                if limited:
                    prometheus.fires(seen, "ZooKeeperPausesTooOften", QUOTA_SECONDS, at_once=False, pod=pod(throttled), cause="cpu_throttling")
                said.append("cpu_throttling" if limited else "no CPU quota can be set here")
        for server, cause in ((stopped, "stopped"), (slow, "fsync")):
            longest = max(seen.query(f'ensemble_pause_seconds_max{{pod="{pod(server)}"}}'), key=lambda sample: sample[1])
            assert longest[0]["cause"] == cause, f"the longest pause of {pod(server)} is told to be of {longest}"
    return ", ".join(said)


def pod(server: Server) -> str:
    """What a server is called."""
    return f"{ENSEMBLE}-{server.myid - 1}"


@contextlib.contextmanager
def watched(world: Processes, *, slow_disk: bool = False) -> Iterator[tuple[Group, Prometheus, LossyDisk | None]]:
    """Three servers and a Prometheus that scrapes them as it would pods; the second one may have a disk that can be slow."""
    group = world.group(3)
    folder = group.servers[0].folder.parent
    disk = None
    if slow_disk:
        group.servers[1].binary = build.dynamic_binary("ensemble", folder / "build.log")
        disk = LossyDisk(group.servers[1], lossy.build(folder), 1)
    for server in group.servers:
        # The disk that can be slow copies whole files, so they are small.
        server.configure([other.line() for other in group.servers], tickTime="2000", preAllocSize="64", snapCount="100")
        if disk and server is disk.server:
            disk.start()
        else:
            server.start()
    group.agree()
    targets = [(f"{server.host}:{server.metrics_port}", {"namespace": NAMESPACE, "ensemble": ENSEMBLE, "pod": pod(server)}) for server in group.servers]
    with prometheus.running(folder / "prometheus", prometheus.servers(targets), len(targets)) as seen:
        yield group, seen, disk


def work(group: Group) -> None:
    """Clients of every kind for a while: writes, reads, watches that fire, sessions that come, go and expire, znodes that last no longer than they."""
    deadline = time.monotonic() + LOADED_SECONDS
    clients = [connect(server.address) for server in group.servers]
    try:
        for client in clients:
            client.ensure_path("/app/config")
        turn = 0
        while time.monotonic() < deadline:
            for client in clients:
                client.exists("/app/new", watch=lambda event: None)
                client.get("/app/config", watch=lambda event: None)
                client.get_children("/app", watch=lambda event: None)
            clients[turn % 3].set("/app/config", b"x" * (turn % 900))
            clients[0].create("/app/new", b"n", ephemeral=True)
            clients[0].delete("/app/new")
            if turn % 20 == 0:
                close(connect(group.servers[turn // 20 % 3].address))
            turn += 1
    finally:
        for client in clients:
            close(client)


def write(group: Group, count: int) -> None:
    """Some writes."""
    client = connect(group.hosts())
    try:
        for _ in range(count):
            client.create("/written-", b"", sequence=True)
    finally:
        close(client)


@contextlib.contextmanager
def quota(server: Server) -> Iterator[bool]:
    """A server with a small part of a core, busy with what it can do; false where no control group can be made."""
    assert server.process
    folder = CGROUP / "cpu" / f"zke-{server.process.pid}"
    try:
        folder.mkdir()
        (folder / "cpu.cfs_period_us").write_text("1000000")
        (folder / "cpu.cfs_quota_us").write_text(str(QUOTA_MS * 1000))
        home = next(line.split(":")[2] for line in Path("/proc/self/cgroup").read_text().splitlines() if ":cpu:" in line or ":cpu,cpuacct:" in line)
        (folder / "cgroup.procs").write_text(str(server.process.pid))
    except (OSError, StopIteration):
        with contextlib.suppress(OSError):
            folder.rmdir()
        yield False
        return
    client, ended = connect(server.address), threading.Event()
    try:
        busy(client, ended)
        yield True
    finally:
        ended.set()
        close(client)
        (CGROUP / "cpu" / home.strip("/") / "cgroup.procs").write_text(str(server.process.pid))
        folder.rmdir()


def busy(client: KazooClient, ended: threading.Event) -> None:
    """Requests without end, whatever becomes of them, until they are to end."""

    def again(_: object) -> None:
        if not ended.is_set():
            client.get_async("/").rawlink(again)

    for _ in range(REQUESTS_AT_ONCE):
        again(None)
