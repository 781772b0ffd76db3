"""Sessions, ephemeral znodes and watches that begin at a server of one kind and go on at one of the other."""

import contextlib
import time

from kazoo.client import KazooClient

from harness.load import close, connect
from harness.matrix import cells
from harness.mixed import Ensemble, Kind, Server, World
from harness.runner import case
from harness.shell import wait_for
from harness.raw_session import EPHEMERAL, RawSession, Refused

TIMEOUT_MS = 4000
DATA_CHANGED = 3
# A leader that has just been elected starts every session afresh; a busy machine is late.
GRACE_SECONDS = 15


@case("sessions move and expire", covers=cells("leader follower", "JR", "session moves, ephemerals, election"))
def move(world: World) -> str:
    """From Java to Rust and back, with a leader of each kind; those that are left expire, in time, at a leader of either kind."""
    ensemble = world.ensemble("JRJ")
    first, second, third = ensemble.servers
    ensemble.start()
    client = connect(ensemble.hosts())
    said = []
    try:
        client.create("/watched", b"")
        for leader in (third, second):
            ensemble.lead(leader)
            expired = [move_one(ensemble, client, *way) for way in ((first, second), (second, first))]
            said.append(f"{leader} leads: moved both ways, expired after {' and '.join(f'{seconds:.1f} s' for seconds in expired)}")
    finally:
        close(client)
    assert {leader.kind for leader in (third, second)} == set(Kind)
    return f"{'; '.join(said)}; {ensemble.equal()}"


def move_one(ensemble: Ensemble, client: KazooClient, begin: Server, end: Server) -> float:
    """A session with an ephemeral znode and a watch goes from one server to another; returns the seconds in which it then expired."""
    path = f"/ephemeral-{time.monotonic_ns()}"
    session = RawSession(begin, TIMEOUT_MS)
    assert session.timeout_ms == TIMEOUT_MS, f"{begin} granted {session.timeout_ms} ms"
    assert session.create(path, flags=EPHEMERAL) == 0
    session.set_watches(session.zxid, ["/watched"])
    seen = session.zxid
    session.leave()
    client.set("/watched", b"while nobody looked")
    with contextlib.suppress(Refused):
        RawSession(end, TIMEOUT_MS, session.id, b"wrong".ljust(16)).leave()
        raise AssertionError(f"{end} takes a session of {begin} up with a wrong password")
    moved = RawSession(end, TIMEOUT_MS, session.id, session.password)
    assert moved.id == session.id
    moved.set_watches(seen, ["/watched"])
    assert moved.event() == (DATA_CHANGED, "/watched"), f"{end} did not tell what was missed"
    moved.set_watches(moved.zxid, ["/watched"])
    client.set("/watched", b"while somebody looks")
    assert moved.event() == (DATA_CHANGED, "/watched"), f"{end} lost the watch"
    owners = {str(server): owner(server, path) for server in ensemble.servers}
    assert set(owners.values()) == {session.id}, f"the ephemeral znode's owner is {owners}, it should be {session.id}"
    last = time.monotonic()
    moved.ask_nothing()
    moved.leave()
    wait_for("the session to expire", TIMEOUT_MS / 1000 + GRACE_SECONDS, lambda: client.exists(path) is None, every=0.1)
    seconds = time.monotonic() - last
    assert seconds >= TIMEOUT_MS / 1000, f"expired after {seconds:.1f} s, its time-out is {TIMEOUT_MS} ms"
    assert {owner(server, path) for server in ensemble.servers} == {None}, "an ephemeral znode outlived its session somewhere"
    with contextlib.suppress(Refused):
        RawSession(begin, TIMEOUT_MS, session.id, session.password).leave()
        raise AssertionError(f"{begin} takes an expired session up")
    return seconds


def owner(server: Server, path: str) -> int | None:
    """The session to which a znode belongs at this server, after a sync."""
    client = connect(server.address)
    try:
        client.retry(client.sync, "/")
        stat = client.retry(client.exists, path)
        return stat.ephemeralOwner if stat else None
    finally:
        close(client)
