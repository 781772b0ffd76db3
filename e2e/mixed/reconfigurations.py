"""Servers come and go by reconfiguration, under load: an ensemble of one kind becomes one of the other, on new servers, and goes back.

What a person does is in docs/operations/migrate-from-zookeeper.md; this is the same, checked.
"""

import time
from collections.abc import Sequence

from harness import load
from harness.load import Load, close, connect
from harness.mixed import SETTINGS, Ensemble, Kind, Server, World
from harness.runner import case
from harness.shell import wait_for
from harness.trees import SUPER

RECOVERY_SECONDS = 90
WRITES = 100
RECONFIGURABLE = {"reconfigEnabled": "true", "standaloneEnabled": "false"}


@case("reconfiguration from Apache ZooKeeper to new Apache servers and back")
def java(world: World) -> str:
    """The same among Java servers, which tells what is the case's own doing."""
    return there_and_back(world, Kind.JAVA, Kind.JAVA)


def there_and_back(world: World, kind: Kind, other: Kind) -> str:
    """Three servers are replaced by three new ones of another kind, which are then replaced by new ones again: no write and no session is lost."""
    letter = {Kind.JAVA: "J", Kind.RUST: "R"}[kind]
    ensemble = world.ensemble(3 * letter)
    ensemble.configure(**RECONFIGURABLE)
    newcomers = [[world.one(to, first + number) for number in range(3)] for to, first in ((other, 4), (kind, 7))]
    ensemble.start()
    said = []
    with load.running(",".join(server.address for server in [*ensemble.servers, *newcomers[0], *newcomers[1]])) as writes:
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


def join(ensemble: Ensemble, newcomer: Server, at: Server | None = None) -> None:
    """A new server is started with the others' lines and its own, and becomes a member when it has caught up."""
    newcomer.configure([server.line() for server in [*ensemble.servers, newcomer]], **SETTINGS, **RECONFIGURABLE)
    newcomer.start()
    wait_for(f"{newcomer} to follow", RECOVERY_SECONDS, lambda: newcomer.mode() in ("follower", "observer"), every=0.2)
    members = reconfigure(at or ensemble.settle(), joining=newcomer.line())
    assert newcomer.line() in members, f"{newcomer} is not among {members}"
    ensemble.servers.append(newcomer)
    ensemble.settle()


def leave(ensemble: Ensemble, server: Server, at: Server | None = None) -> None:
    """A member is removed, and then stopped."""
    members = reconfigure(at or ensemble.settle(), leaving=str(server.myid))
    assert not [line for line in members if line.startswith(f"server.{server.myid}=")], f"{server} is still among {members}"
    ensemble.servers.remove(server)
    server.stop()
    ensemble.settle()


def reconfigure(server: Server, *, joining: str | None = None, leaving: str | None = None) -> list[str]:
    """Asks a server for another membership, and returns the lines of the one that there is then."""
    client = connect(server.address)
    try:
        client.add_auth(*SUPER)
        data, _ = client.reconfig(joining=joining, leaving=leaving, new_members=None)
        return [line for line in data.decode().splitlines() if line.startswith("server.")]
    finally:
        close(client)
