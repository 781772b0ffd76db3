"""Many writes in flight while servers come and go: snapshots are taken and sent while the tree changes, and traffic runs on during synchronisation."""

import contextlib
import random
import shutil
import threading
from collections.abc import Iterator

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.interfaces import IAsyncResult

from harness.load import close, connect
from harness.matrix import cells
from harness.mixed import Ensemble, Kind, World
from harness.runner import case
from harness.shell import wait_for

RECOVERY_SECONDS = 120
IN_FLIGHT = 200
PARENTS = 10
NAMES = 20
# Bytes that make a snapshot take its time, between znodes that change meanwhile.
BALLAST, BALLAST_BYTES = 100, 200_000
REJOINS = 3
# So that snapshots are written all the time.
SNAP_COUNT = "300"


class Flood:
    """Creates, changes and deletes few znodes very often, so that whatever is replayed meets what is already there, or gone."""

    def __init__(self, client: KazooClient):
        self.client = client
        self.done = 0
        self._stop = threading.Event()
        self._room = threading.Semaphore(IN_FLIGHT)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Starts it."""
        for parent in range(PARENTS):
            self.client.ensure_path(f"/flood/{parent}")
        for number in range(BALLAST):
            path = f"/flood/{number % PARENTS}/ballast-{number}"
            if not self.client.exists(path):
                self.client.create(path, bytes([number]) * BALLAST_BYTES)
        self._thread.start()

    def wait(self, count: int) -> None:
        """Waits for so many more answers."""
        goal = self.done + count
        wait_for(f"{count} answers", RECOVERY_SECONDS, lambda: self.done >= goal, every=0.05)

    def stop(self) -> None:
        """Stops it, and waits for the last answers."""
        self._stop.set()
        self._thread.join()
        for _ in range(IN_FLIGHT):
            assert self._room.acquire(timeout=RECOVERY_SECONDS), f"a write of the flood got no answer for {RECOVERY_SECONDS} s"

    def _run(self) -> None:
        chance = random.Random(1)
        while not self._stop.is_set():
            if self._room.acquire(timeout=1):
                try:
                    self._one(chance).rawlink(self._answered)
                except KazooException:  # not connected: what was in flight is answered as lost
                    self._room.release()

    def _one(self, chance: random.Random) -> IAsyncResult:
        path = f"/flood/{chance.randrange(PARENTS)}/{chance.randrange(NAMES)}"
        match chance.randrange(6):
            case 0:
                return self.client.delete_async(path)
            case 1:
                return self.client.set_async(path, chance.randbytes(chance.randrange(300)))
            case 2:
                return self.client.create_async(path + "-", b"", sequence=True, ephemeral=chance.random() < 0.5)
            case 3:
                both = self.client.transaction()
                both.delete(path)
                both.create(path, b"again")
                return both.commit_async()
            case _:
                return self.client.create_async(path, b"", ephemeral=chance.random() < 0.2)

    def _answered(self, _result: object) -> None:
        self.done += 1
        self._room.release()


@contextlib.contextmanager
def flooding(hosts: str) -> Iterator[Flood]:
    """A flood through one of these servers."""
    client = connect(hosts)
    flood = Flood(client)
    try:
        flood.start()
        try:
            yield flood
        finally:
            flood.stop()
    finally:
        close(client)


@case("flood while a Rust learner comes and goes", covers=cells("leader", "J", "SNAP") | cells("follower", "R", "crash, SNAP"))
def of_java(world: World) -> str:
    """A Java leader sends snapshots of a tree that changes meanwhile."""
    return comes_and_goes(world, "RJR")


@case("flood while a Java learner comes and goes", covers=cells("leader", "R", "SNAP") | cells("follower", "J", "crash, SNAP"))
def of_rust(world: World) -> str:
    """The same with a Rust leader."""
    return comes_and_goes(world, "JRJ")


def comes_and_goes(world: World, kinds: str) -> str:
    """The third is killed, comes back with what it had or with nothing, and the kinds are exchanged at the end, on directories full of such snapshots."""
    ensemble = world.ensemble(kinds)
    ensemble.configure(snapCount=SNAP_COUNT, commitLogCount="500", snapshotSizeFactor="-1")
    _, leader, learner = ensemble.servers
    ensemble.start()
    ensemble.lead(leader)
    with flooding(leader.address) as flood:
        for rejoin in range(2 * REJOINS):
            flood.wait(1000)
            learner.kill()
            if rejoin % 2:
                shutil.rmtree(learner.folder / "data" / "version-2")
                shutil.rmtree(learner.log_folder)
            flood.wait(200)
            learner.start()
            assert ensemble.settle() is leader, "the leader changed"
        done = flood.done
    return f"{leader} led, {2 * REJOINS} times {learner} came back, {done} answers; {ensemble.equal()}; {exchange(ensemble)}"


def exchange(ensemble: Ensemble) -> str:
    """kill -9 of all in a flood; all come back as the other kind."""
    with contextlib.ExitStack() as stack:
        flood = stack.enter_context(flooding(ensemble.settle().address))
        flood.wait(500)
        for server in ensemble.servers:
            server.kill()
        for server in ensemble.servers:
            server.kind = server.kind.other()
            server.start()
        ensemble.settle()
    kinds = "".join("J" if server.kind is Kind.JAVA else "R" for server in ensemble.servers)
    return f"as {kinds} on the same directories {ensemble.equal()}"
