"""An observer of one kind with voters of the other."""

import shutil
import time

from harness.load import close, connect
from harness.matrix import cells
from harness.mixed import Ensemble, Server, World, load_on
from harness.processes import free_ports
from harness.runner import case
from harness.shell import wait_for
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
    with load_on([observer]) as writes:
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


@case("observers behind followers: a master of each kind with observers of both")
def masters(world: World) -> str:
    """The leader does not see them; clients work through them, sessions come and go, and the master dies."""
    ensemble = world.ensemble("JRJRJ", observers=(4, 5))
    java, rust, leader, *observers = ensemble.servers
    said = []
    for master in (rust, java):
        ensemble.configure()
        give_master(ensemble, master)
        ensemble.start()
        ensemble.lead(leader)
        said.append(behind(ensemble, master, observers))
        for server in ensemble.servers:
            server.stop()
    return "; ".join(said)


def give_master(ensemble: Ensemble, master: Server) -> None:
    """All servers are on one address, so only one of the voters can listen on the port that observers look for."""
    [port] = free_ports(1)
    for server in ensemble.servers:
        if server is master or server.observer:
            with server.config.open("a") as config:
                config.write(f"observerMasterPort={port}\n")


def behind(ensemble: Ensemble, master: Server, observers: list[Server]) -> str:
    """Two observers behind one follower, which serves before they look for it: one of ours that finds no master goes to the leader, and stays there."""
    for observer in observers:
        observer.stop()
    leader = ensemble.settle()
    for observer in observers:
        observer.start()
    ensemble.settle()
    wait_for(f"both observers behind {master}", RECOVERY_SECONDS, lambda: (master.metric("synced_observers"), leader.metric("synced_observers")) == (2, 0))
    client = connect(leader.address)
    try:
        client.ensure_path("/watched")
        for observer in observers:
            populate(observer, f"/through-{observer.myid}-behind-{master.myid}")
            for way in ((observer, leader), (leader, observer), (observer, master)):
                move_one(ensemble, client, *way)
        with ensemble.load() as writes:
            writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
            master.kill()  # an observer of Java's finds no other master then, one of ours goes to the leader
            writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
            master.start()
            ensemble.settle()
            writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
            summary = writes.finish()
    finally:
        close(client)
    return f"behind {master}: {summary}, {ensemble.equal()}"


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
