"""DIFF, TRUNC and SNAP between a leader of one kind and a learner of the other; the logs of both say which it was."""

import re
import shutil

from harness.load import Load, close, connect
from harness.matrix import cells
from harness.mixed import Ensemble, Kind, Server, World, load_on
from harness.runner import case
from harness.shell import wait_for

RECOVERY_SECONDS = 90
WRITES = 50
TAIL = 5
# Apache ZooKeeper keeps at least so many transactions in memory; below, and with no transactions from disk, it sends a snapshot.
COMMITTED = 500

LEADER_SAYS = {Kind.JAVA: r"Sending (DIFF|TRUNC|snapshot)", Kind.RUST: r"synchronising a learner .*plan=(Diff|Trunc|Snap)"}
LEARNER_SAYS = {Kind.JAVA: r"(Getting a diff|Truncating log|Getting a snapshot)", Kind.RUST: r"synchronising with the leader .*plan=(Diff|Trunc|Snap)"}
MODES = {
    **{"Getting a diff": "DIFF", "Truncating log": "TRUNC", "Getting a snapshot": "SNAP"},
    **{"DIFF": "DIFF", "TRUNC": "TRUNC", "snapshot": "SNAP", "Diff": "DIFF", "Trunc": "TRUNC", "Snap": "SNAP"},
}


@case("synchronisation of a Java learner by a Rust leader", covers=cells("leader", "R", "DIFF, TRUNC, SNAP") | cells("follower", "J", "crash, DIFF, TRUNC, SNAP"))
def from_rust(world: World) -> str:
    """A Java server is brought up to date by a Rust leader."""
    return every_mode(world, "JRJ")


@case("synchronisation of a Rust learner by a Java leader", covers=cells("leader", "J", "DIFF, TRUNC, SNAP") | cells("follower", "R", "crash, DIFF, TRUNC, SNAP"))
def from_java(world: World) -> str:
    """A Rust server is brought up to date by a Java leader."""
    return every_mode(world, "RJR")


def every_mode(world: World, kinds: str) -> str:
    """The third server leads alone for a moment, which leaves a tail; the second leads from then on."""
    ensemble = world.ensemble(kinds)
    ensemble.configure(commitLogCount=str(COMMITTED), snapshotSizeFactor="-1")
    _, leader, learner = ensemble.servers
    ensemble.start()
    ensemble.lead(learner)
    with load_on([learner]) as writes:
        leave_tail(ensemble, writes)
        assert ensemble.settle() is leader, "the server with the longer log was not elected"
        if leader.kind is Kind.RUST:  # Apache ZooKeeper sends a snapshot when transactions of a later epoch follow
            burst(leader, "/later", WRITES)
        seen = [rejoin(ensemble, leader, learner, "TRUNC")]
        writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
        first = writes.finish()
    check_tail_is_gone(ensemble)
    with ensemble.load() as writes:
        for mode, missed in (("DIFF", WRITES), ("SNAP", COMMITTED + WRITES)):
            learner.kill()
            burst(leader, f"/missed-by-{mode}", missed)
            writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
            seen.append(rejoin(ensemble, leader, learner, mode))
            writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
        learner.kill()
        for folder in ("data", "txnlog"):
            shutil.rmtree(learner.folder / folder / "version-2")
        seen.append(f"with empty directories {rejoin(ensemble, leader, learner, 'SNAP')}")
        writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
        second = writes.finish()
    return f"{leader} to {learner}: {', '.join(seen)}; {first}; {second}; {ensemble.equal()}"


def leave_tail(ensemble: Ensemble, writes: Load) -> None:
    """The third server, which leads, logs what nobody else has; then all are killed, and the first two come back."""
    first, second, third = ensemble.servers
    client = connect(third.address)
    try:
        writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
        first.suspend()
        writes.wait_for_writes(WRITES, RECOVERY_SECONDS)  # so the second has a longer log than the first
        second.suspend()
        for number in range(TAIL):
            client.create_async(f"/tail-{number}", b"never acknowledged")
        wait_for("the tail in the leader's log", RECOVERY_SECONDS, lambda: in_log(third, f"/tail-{TAIL - 1}"), every=0.05)
        for server in ensemble.servers:
            server.kill()
    finally:
        close(client)
    first.start()
    second.start()


def rejoin(ensemble: Ensemble, leader: Server, learner: Server, expected: str) -> str:
    """Starts the learner and returns how it was synchronised."""
    before = len(leader.said())
    learner.start()
    assert ensemble.settle() is leader, "the leader changed"
    modes = found(LEADER_SAYS[leader.kind], leader.said()[before:])
    assert modes == [expected], f"{leader} sent {' and '.join(modes) or 'nothing'} instead of {expected}"
    received = found(LEARNER_SAYS[learner.kind], learner.said_now())
    assert received == [expected], f"{learner} received {' and '.join(received) or 'nothing'} instead of {expected}"
    return expected


def found(pattern: str, text: str) -> list[str]:
    """The modes that a log names."""
    return [MODES[mode] for mode in re.findall(pattern, text)]


def burst(server: Server, parent: str, count: int) -> None:
    """Creates so many znodes as fast as the server takes them."""
    client = connect(server.address)
    try:
        client.create(parent)
        pending = [client.create_async(f"{parent}/n-", b"x" * 100, sequence=True) for _ in range(count)]
        for result in pending:
            result.get(timeout=RECOVERY_SECONDS)
    finally:
        close(client)


def check_tail_is_gone(ensemble: Ensemble) -> None:
    """No server shows what was never acknowledged and truncated."""
    for server in ensemble.servers:
        client = connect(server.address)
        try:
            client.sync("/")
            there = [child for child in client.get_children("/") if child.startswith("tail-")]
        finally:
            close(client)
        assert not there, f"{server} shows {', '.join(there)}, which was truncated"


def in_log(server: Server, text: str) -> bool:
    """Whether a transaction log of the server holds these bytes."""
    return any(text.encode() in file.read_bytes() for file in server.log_folder.glob("log.*"))


