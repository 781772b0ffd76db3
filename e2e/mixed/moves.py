"""A session moves to another server while a write of it is on its way, and its client counts requests anew on each connection, as kazoo does."""

import itertools
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from harness.matrix import cells
from harness.mixed import Ensemble, Kind, World
from harness.raw_session import NO_NODE, OK, SEQUENTIAL, RawSession
from harness.runner import case
from harness.shell import wait_for
from mixed.synchronisations import in_log

TIMEOUT_MS = 40_000
LOG_SECONDS = 15
WAITING_SECONDS = 1.0
MOVING_SECONDS = 8.0
DAWDLE_SECONDS = 0.004
PARENT = "/moving"


@case("answers after a move of the session to a Rust server of a Java leader", covers=cells("follower", "R", "session moves"))
def of_java(world: World) -> str:
    """Under a leader that orders the old write after it has let the session go."""
    return answers(world, "JRRRRJ")


@case("answers after a move of the session to a Rust server of a Rust leader", covers=cells("follower", "R", "session moves"))
def of_rust(world: World) -> str:
    """The same with both ours."""
    return answers(world, "JRRRRR")


def answers(world: World, kinds: str) -> str:
    """The session is served by the new server only when the write that is still under way is done, and the first write there, which has the same number, gets
    an answer of its own.

    The old write cannot be committed before: three of six stand still.
    """
    ensemble = world.ensemble(kinds)
    old, new, *others, leader = ensemble.servers
    ensemble.configure(syncLimit="60")  # nobody is given up meanwhile
    ensemble.start()
    ensemble.lead(leader)
    first = RawSession(old, TIMEOUT_MS)
    for server in others:
        server.suspend()
    first.send_create("/old")
    wait_for("the write in the leader's log", LOG_SECONDS, lambda: in_log(leader, "/old"), every=0.02)
    first.leave()
    with ThreadPoolExecutor(1) as pool:
        moving = pool.submit(RawSession, new, TIMEOUT_MS, first.id, first.password)
        time.sleep(WAITING_SECONDS)
        waits = not moving.done()
        for server in others:
            server.resume()
        moved = moving.result()
    assert waits, f"{new} took the session up while a write of it was on its way"
    moved.send_delete("/missing")
    answer = moved.answer()
    assert answer == NO_NODE, f"{new} answered the deletion of what is not there with {answer}: that is the answer to another write"
    assert moved.exists("/old").error == OK, "the write before the move is lost"
    moved.leave()
    ensemble.settle()
    return f"{new} under {leader} gave the write after the move its own answer; {ensemble.equal()}"


@case("answers after many moves of a session", covers=cells("follower", "R", "session moves"))
def many(world: World) -> str:
    """A write is sent and the session moves at once, hundreds of times under a leader of each kind: a Rust server never takes the one for the other.

    A leader of Apache ZooKeeper lets a session go on one thread while another has checked a write of it and not yet proposed it. Its own servers do give
    wrong answers after a move, under leaders of both kinds; that is only counted.
    """
    ensemble = world.ensemble("JRJ")
    ensemble.start()
    session = RawSession(ensemble.servers[0], TIMEOUT_MS)
    assert session.create(PARENT) == OK
    session.leave()
    said = []
    for leader in (ensemble.servers[2], ensemble.servers[1]):
        ensemble.lead(leader)
        answered, wrong = move_about(ensemble, session, random.Random(leader.myid))
        assert answered[Kind.RUST], f"no answer of a Rust server after a move under {leader}"
        assert not wrong[Kind.RUST], f"under {leader}, {wrong[Kind.RUST]} of {answered[Kind.RUST]} answers of Rust servers were those to another write"
        said.append(f"under {leader} {answered[Kind.RUST]} of Rust servers, {answered[Kind.JAVA]} of Java servers, of which {wrong[Kind.JAVA]} wrong")
    return f"answers after a move: {'; '.join(said)}; {ensemble.equal()}"


def move_about(ensemble: Ensemble, session: RawSession, chance: random.Random) -> tuple[Counter[Kind], Counter[Kind]]:
    """By the kind of the server that a session moved to: how many writes were answered, and how many of these with another write's znode."""
    answered, wrong, numbers = Counter[Kind](), Counter[Kind](), itertools.count()
    until = time.monotonic() + MOVING_SECONDS
    while time.monotonic() < until:
        old, new = chance.sample(ensemble.servers, 2)
        left = RawSession(old, TIMEOUT_MS, session.id, session.password)
        left.send_create(f"{PARENT}/n-", data=str(next(numbers)).encode(), flags=SEQUENTIAL)
        time.sleep(chance.choice([0, chance.random() * DAWDLE_SECONDS]))
        left.leave()
        moved = RawSession(new, TIMEOUT_MS, session.id, session.password)
        data = str(next(numbers)).encode()
        try:
            znode = moved.create_sequential(f"{PARENT}/n-", data)
        except ConnectionError:  # its xid came back with the word that the session had moved
            continue
        answered[new.kind] += 1
        wrong[new.kind] += moved.get(znode).data != data
        moved.leave()
    return answered, wrong
