"""Servers of both kinds come and go, are promoted and demoted by reconfiguration, and keep the same files of it; an ensemble of one kind becomes one of the
other, on new servers, and goes back, under load.

What a person does is in docs/operations/migrate-from-zookeeper.md; this is the same, checked.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from harness import reconfig
from harness.load import Load
from harness.matrix import cells
from harness.mixed import SETTINGS, Ensemble, Kind, Server, World, load_on
from harness.reconfig import Configuration, check_files, reconfigure
from harness.runner import case
from harness.shell import run, wait_for
from mixed.synchronisations import COMMITTED, LEADER_SAYS, LEARNER_SAYS, burst, found

PROGRAM = Path(__file__).with_name("Configurations.java")
RECOVERY_SECONDS = 90
WRITES = 100
PAUSE_SECONDS = 7
LETTER = {Kind.JAVA: "J", Kind.RUST: "R"}


@case("reconfiguration from Apache ZooKeeper to new Apache servers and back")
def java(world: World) -> str:
    """The same among Java servers, which tells what is the case's own doing."""
    return there_and_back(world, Kind.JAVA, Kind.JAVA)


@case("reconfiguration from Apache ZooKeeper to new Rust servers and back", covers=cells("leader follower joiner", "JR", "reconfig"))
def from_java(world: World) -> str:
    """Live migration on new machines."""
    return there_and_back(world, Kind.JAVA, Kind.RUST)


@case("reconfiguration from Rust servers to new Apache servers and back", covers=cells("leader follower joiner", "JR", "reconfig"))
def from_rust(world: World) -> str:
    """And the other way."""
    return there_and_back(world, Kind.RUST, Kind.JAVA)


@case("reconfiguration asked of every member of both kinds", covers=cells("leader follower observer", "JR", "reconfig"))
def every_member(world: World) -> str:
    """Under leaders of both kinds, each member is asked to promote and to demote an observer of each kind; all keep the same files."""
    ensemble = reconfigurable(world, "JRJRJ", observers=(4, 5))
    changed = 0
    with ensemble.load() as writes:
        for leader in (ensemble.servers[2], ensemble.servers[1]):
            ensemble.lead(leader)
            for number, asked in enumerate(list(ensemble.servers)):
                changing = ensemble.servers[3 + number % 2]
                for observer in (False, True):
                    changing.observer = observer
                    change(ensemble, asked, joining=changing)
                    changed += 1
                assert ensemble.settle() is leader, f"the leader changed when {changing} was promoted and demoted"
            writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
        summary = writes.finish()
    return f"{changed} reconfigurations, the same files everywhere after each; {summary}; {ensemble.equal()}"


@case("reconfigured directories under the other kind")
def directories(world: World) -> str:
    """What a reconfiguration leaves in zoo.cfg and beside it is read by the other kind, which reconfigures on."""
    ensemble = reconfigurable(world, "JRJ")
    fourth = world.one(Kind.RUST, 4)
    with load_on([*ensemble.servers, fourth]) as writes:
        join(ensemble, fourth)
        for _ in range(2):
            for server in list(ensemble.servers):
                before = reconfig.active(server)
                server.become(server.kind.other())
                ensemble.settle()
                assert reconfig.active(server) == before, f"{server} started with {reconfig.active(server)} and not with {before}"
                writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
            fourth.observer = not fourth.observer
            change(ensemble, ensemble.servers[0], joining=fourth)
        leave(ensemble, fourth)
        summary = writes.finish()
    return f"each server became the other kind and itself again, between reconfigurations; {summary}; {ensemble.equal()}"


@case("joiners of both kinds under leaders of both kinds", covers=cells("joiner", "JR", "crash, stop, pause, election, SNAP"))
def joiners(world: World) -> str:
    """Who follows and is no member yet is sent a snapshot, dies, stops, stands still, sees its leader die, and joins."""
    ensemble = reconfigurable(world, "JRJ", commitLogCount=str(COMMITTED), snapshotSizeFactor="-1")
    said = []
    with ensemble.load() as writes:
        for leader, kind in ((ensemble.servers[2], Kind.RUST), (ensemble.servers[1], Kind.JAVA)):
            ensemble.lead(leader)
            joiner = world.one(kind, 4)
            burst(leader, f"/missed-by-{joiner.kind.value}", COMMITTED + WRITES)
            before = len(leader.said())
            let_follow(ensemble, joiner, commitLogCount=str(COMMITTED), snapshotSizeFactor="-1")
            sent, received = found(LEADER_SAYS[leader.kind], leader.said()[before:]), found(LEARNER_SAYS[kind], joiner.said_now())
            assert set(sent) == set(received) == {"SNAP"}, f"{leader} sent {sent} to {joiner}, which received {received}"
            for end in (joiner.kill, joiner.stop):
                end()
                writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
                let_follow(ensemble, joiner)
            joiner.suspend()
            time.sleep(PAUSE_SECONDS)
            joiner.resume()
            follows(joiner)
            leader.kill()
            leader.start()
            ensemble.settle()
            follows(joiner)
            writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
            become_member(ensemble, joiner)
            leave(ensemble, joiner)
            said.append(f"{joiner} of {leader}")
        summary = writes.finish()
    return f"{' and '.join(said)}; {summary}; {ensemble.equal()}"


@case("pending configurations in notifications, as Apache ZooKeeper reads them")
def pending(world: World) -> str:
    """What our notifications carry of a reconfiguration that is not committed stands in comments: a Java server reads the active configuration alone."""
    jars = world.one(Kind.JAVA).jars
    first, *others = [f"server.{myid}=127.0.0.1:2{myid}:3{myid}:participant;127.0.0.1:4{myid}" for myid in range(1, 5)]
    active, proposed = [first, *others[:2], "version=100000000"], [first, *others, "version=200000003"]
    alone = read_by_java(jars, active)
    assert alone == read_by_java(jars, [*active, *(f"#pending {line}" for line in proposed)])
    assert alone != read_by_java(jars, [*active, *proposed]), "what is no comment is read"
    return f"with and without what is pending: {', '.join(alone.split())}"


def read_by_java(jars: Path, lines: Sequence[str]) -> str:
    """The configuration of this text as a server of Apache ZooKeeper understands it."""
    return run(["java", "-cp", f"{jars}:{jars}/*", str(PROGRAM), "\n".join(lines)])


def reconfigurable(world: World, kinds: str, *, observers: tuple[int, ...] = (), **settings: str) -> Ensemble:
    """An ensemble that serves and may change."""
    ensemble = world.ensemble(kinds, observers=observers)
    ensemble.configure(**{**reconfig.SETTINGS, **settings})
    ensemble.start()
    return ensemble


def there_and_back(world: World, kind: Kind, other: Kind) -> str:
    """Three servers are replaced by three new ones of another kind, which are then replaced by new ones again: no write and no session is lost."""
    ensemble = reconfigurable(world, 3 * LETTER[kind])
    newcomers = [[world.one(to, first + number) for number in range(3)] for to, first in ((other, 4), (kind, 7))]
    said = []
    with load_on([*ensemble.servers, *newcomers[0], *newcomers[1]]) as writes:
        writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
        for servers in newcomers:
            said.append(f"{', '.join(str(server) for server in servers)} after {', '.join(replace_all(ensemble, writes, servers))}")
        summary = writes.finish()
    assert summary.sessions_lost == 0, f"{summary}"
    return f"{'; '.join(said)}; {summary}; {ensemble.equal()}"


def replace_all(ensemble: Ensemble, writes: Load, newcomers: Sequence[Server]) -> list[str]:
    """One joins, one leaves, three times; the leader leaves last. Returns what each step took."""
    leaving = list(ensemble.servers)
    took = []
    for newcomer in newcomers:
        start = time.monotonic()
        join(ensemble, newcomer)
        writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
        leader = ensemble.settle()
        goes = next((server for server in leaving if server is not leader), leaving[0])
        leaving.remove(goes)
        leave(ensemble, goes)
        writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
        took.append(f"{newcomer.myid} for {goes.myid}{' (leader)' if goes is leader else ''} {time.monotonic() - start:.1f} s")
    return took


def join(ensemble: Ensemble, newcomer: Server) -> None:
    """A new server follows, and becomes a member when it has caught up."""
    let_follow(ensemble, newcomer)
    become_member(ensemble, newcomer)


def let_follow(ensemble: Ensemble, newcomer: Server, **settings: str) -> None:
    """Starts a new server with the members' lines and its own."""
    newcomer.configure([server.line() for server in [*ensemble.servers, newcomer]], **{**SETTINGS, **reconfig.SETTINGS, **settings})
    newcomer.start()
    follows(newcomer)


def follows(newcomer: Server) -> None:
    """Waits until a server serves behind a leader."""
    wait_for(f"{newcomer} to follow", RECOVERY_SECONDS, lambda: newcomer.mode() in ("follower", "observer"), every=0.2)


def become_member(ensemble: Ensemble, newcomer: Server) -> None:
    """A server that follows joins."""
    asked = ensemble.settle()
    ensemble.servers.append(newcomer)
    change(ensemble, asked, joining=newcomer)


def leave(ensemble: Ensemble, server: Server) -> None:
    """A member is removed, and then stopped."""
    asked = ensemble.settle()
    ensemble.servers.remove(server)
    change(ensemble, asked, leaving=server)
    server.stop()
    ensemble.settle()


def change(ensemble: Ensemble, asked: Server, *, joining: Server | None = None, leaving: Server | None = None) -> Configuration:
    """Reconfigures, and checks that all members serve in it and keep the same files."""
    after = reconfigure(asked, joining=joining and joining.line(), leaving=leaving and str(leaving.myid))
    expected = {server.line() for server in ensemble.servers}
    assert set(after.lines) == expected, f"{asked} answered {after.lines} instead of {expected}"
    ensemble.settle()
    for server in ensemble.servers:
        wait_for(f"{server} to keep {after.version:x}", RECOVERY_SECONDS, lambda s=server: is_kept(s, after), every=0.1)
        check_files(server, after)
    return after


def is_kept(server: Server, configuration: Configuration) -> bool:
    """Whether its zoo.cfg names this configuration and none is pending."""
    return f".dynamic.{configuration.version:x}" in server.config.read_text() and "zoo.cfg.dynamic.next" not in reconfig.files(server)
