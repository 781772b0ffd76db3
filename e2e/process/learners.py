"""Several learners of a large tree at once, while the leader writes a snapshot of its own: SYN-04."""

import contextlib
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from harness import admin
from harness.gap import until
from harness.load import close, connect
from harness.processes import Processes, Server
from harness.raw_session import OK, RawSession
from harness.runner import case
from harness.shell import wait_for

VOTERS, OBSERVERS = 3, 5
AT_ONCE = 2
ZNODE_BYTES = 100_000
# How large the tree is, and after how many transactions a server writes a snapshot: by default, and with --all, which needs 15 GiB of disk.
SIZES = {False: (100 << 20, 500), True: (1 << 30, 8_000)}
CREATES_AT_ONCE = 50
QUIET_SECONDS = 5
SYNC_SECONDS = 300
STALL_SECONDS_MAX = 2.0
# What a leader may need beside its tree, however many learners there are: their queues, and the slices of the snapshots on their way.
EXTRA_BYTES_MAX = 128 << 20


class Writer:
    """One session on a server that writes without a pause, how long each write took, and the most memory that the server's process had meanwhile."""

    def __init__(self, server: Server):
        self.server, self.seconds, self.rss_max, self._stop = server, list[float](), 0, threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._write, self._look)]

    def _write(self) -> None:
        session = RawSession(self.server, 30_000, read_seconds=30)
        while not self._stop.is_set():
            start = time.monotonic()
            assert session.set("/written", b"x").error == OK
            self.seconds.append(time.monotonic() - start)
        session.leave()

    def _look(self) -> None:
        while not self._stop.wait(0.05):
            self.rss_max = max(self.rss_max, rss(self.server))

    @contextlib.contextmanager
    def running(self) -> Iterator["Writer"]:
        """Writes as long as the block lasts."""
        with until(self._stop, self._threads):
            yield self

    def p99(self) -> float:
        """In seconds."""
        return statistics.quantiles(self.seconds, n=100)[98]


def rss(server: Server) -> int:
    """The resident memory of a server's process, in bytes."""
    assert server.process
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) << 10


@case("five learners of a large tree at once")
def learners(world: Processes) -> str:
    """No more of them are sent a snapshot at once than may be, the leader goes on writing, and its memory does not grow with their number."""
    servers = [world.server(myid) for myid in range(1, VOTERS + OBSERVERS + 1)]
    for server in servers[VOTERS:]:
        server.observer = True
    size, snap_count = SIZES[world.thorough]
    keys = {"leader__maxConcurrentSnapSyncs": str(AT_ONCE), "snapshotSizeFactor": "-1", "commitLogCount": "100", "snapCount": str(snap_count)}
    for server in servers:
        server.configure([other.line() for other in servers], **keys)
    voters, observers = servers[:VOTERS], servers[VOTERS:]
    for server in voters:
        server.start()
    admin.agree(lambda: [server.status() for server in voters], VOTERS)
    leader = next(server for server in voters if (server.status() or {})["role"] == "leading")
    fill(leader, size)
    with Writer(leader).running() as before:
        time.sleep(QUIET_SECONDS)
    start = time.monotonic()
    with Writer(leader).running() as during:
        for server in observers:
            server.start()
        for server in observers:
            wait_for(f"server {server.myid} to be in sync", SYNC_SECONDS, lambda s=server: (s.status() or {}).get("storeState") == "synced", every=0.2)
    took = time.monotonic() - start
    agreement = admin.agree(lambda: [server.status() for server in servers], len(servers))
    at_once = most_at_once(observers)
    assert at_once == AT_ONCE, f"{at_once} were sent a snapshot at once, and {AT_ONCE} may be"
    stall = max(during.seconds)
    assert stall < STALL_SECONDS_MAX, f"a write took {stall:.1f} s"
    extra = during.rss_max - before.rss_max
    assert extra < EXTRA_BYTES_MAX, f"{extra >> 20} MiB beside the tree"
    return (
        f"{OBSERVERS} learners of {size >> 20} MiB in {took:.0f} s, {AT_ONCE} at once; a write's p99 {1000 * before.p99():.1f} ms before, "
        f"{1000 * during.p99():.1f} ms meanwhile, {1000 * stall:.0f} ms at most; the leader's memory {before.rss_max >> 20} and {during.rss_max >> 20} MiB; {agreement}"
    )


def most_at_once(observers: list[Server]) -> int:
    """How many of them were being sent a snapshot at one time, by their logs."""
    moments = []
    for server in observers:
        lines = server.said().splitlines()
        begun = [line.split()[0] for line in lines if "synchronising with the leader" in line and "plan=Snap" in line]
        ended = [line.split()[0] for line in lines if "observing server=" in line]
        assert len(begun) == len(ended) == 1, f"server {server.myid} was not sent one snapshot: {begun}, {ended}"
        moments += [(begun[0], 1), (ended[0], -1)]
    count = most = 0
    for _, change in sorted(moments):
        count += change
        most = max(most, count)
    return most


def fill(leader: Server, size: int) -> None:
    """A tree of so many bytes."""
    client = connect(leader.address)
    try:
        client.create("/written")
        for first in range(0, size // ZNODE_BYTES, CREATES_AT_ONCE):
            made = [client.create_async(f"/large-{number}", bytes(ZNODE_BYTES)) for number in range(first, first + CREATES_AT_ONCE)]
            for one in made:
                one.get(timeout=60)
    finally:
        close(client)
