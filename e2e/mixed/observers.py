"""An observer of one kind with voters of the other."""

import shutil
import time

from harness import load
from harness.load import close, connect
from harness.matrix import cells
from harness.mixed import Ensemble, Server, World
from harness.runner import case
from mixed.operations import populate
from mixed.sessions import move_one
from mixed.synchronisations import COMMITTED, burst, rejoin

RECOVERY_SECONDS = 90
WRITES = 50
PAUSE_SECONDS = 7


@case("observer (Rust) of a Java leader", covers=cells("observer", "R", "crash, election, ephemerals") | cells("leader", "J", "crash, election"))
def rust_observer(world: World) -> str:
    """Two Java voters."""
    return observer(world, "JJR")


@case("observer (Java) of a Rust leader", covers=cells("observer", "J", "crash, election, ephemerals") | cells("leader", "R", "crash, election"))
def java_observer(world: World) -> str:
    """Two Rust voters."""
    return observer(world, "RRJ")


def observer(world: World, kinds: str) -> str:
    """Clients work through it; it dies and comes back, and so does its leader."""
    ensemble = world.ensemble(kinds, observers=(3,))
    observer = ensemble.servers[2]
    ensemble.start()
    with load.running(observer.address) as writes:
        writes.wait_for_writes(2 * WRITES, RECOVERY_SECONDS)
        through = writes.finish()
    with ensemble.load() as writes:
        writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
        observer.kill()
        stall = writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
        observer.start()
        leader = ensemble.settle()
        leader.kill()
        leader.start()
        ensemble.settle()
        writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
        summary = writes.finish()
    return f"through it: {through}; {WRITES} writes in {stall:.1f} s without it; {summary}; {ensemble.equal()}"


@case("observers of both kinds under leaders of both kinds", covers=cells("observer", "JR", "stop, pause, election, DIFF, SNAP, session moves, ephemerals, quota"))
def both(world: World) -> str:
    """What an observer goes through, under a leader of the other kind, after its leader was of its own."""
    ensemble = world.ensemble("JRJJR", observers=(4, 5))
    ensemble.configure(commitLogCount=str(COMMITTED), snapshotSizeFactor="-1")
    _, rust, java, java_observer, rust_observer = ensemble.servers
    ensemble.start()
    client = connect(ensemble.hosts())
    try:
        client.create("/watched", b"")
        said = [each(ensemble, client, leader, observer) for leader, observer in ((java, rust_observer), (rust, java_observer))]
    finally:
        close(client)
    return f"{'; '.join(said)}; {ensemble.equal()}"


def each(ensemble: Ensemble, client, leader: Server, observer: Server) -> str:
    """One observer under one leader."""
    ensemble.lead(leader)
    populate(observer, f"/through-{observer.myid}")
    expired = [move_one(ensemble, client, *way) for way in ((observer, leader), (leader, observer))]
    with ensemble.load() as writes:
        observer.suspend()
        time.sleep(PAUSE_SECONDS)
        observer.resume()
        assert ensemble.settle() is leader, "the leader changed"
        writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
        seen = []
        for mode, missed in (("DIFF", WRITES), ("SNAP", COMMITTED + WRITES)):
            observer.stop()
            burst(leader, f"/missed-by-{observer.myid}-{mode}", missed)
            seen.append(rejoin(ensemble, leader, observer, mode))
        observer.kill()
        for folder in ("data", "txnlog"):
            shutil.rmtree(observer.folder / folder / "version-2")
        seen.append(f"with empty directories {rejoin(ensemble, leader, observer, 'SNAP')}")
        summary = writes.finish()
    return f"{leader} to {observer}: {', '.join(seen)}, sessions expired after {' and '.join(f'{seconds:.1f} s' for seconds in expired)}; {summary}"
