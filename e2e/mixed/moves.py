"""A session moves to another server while a write of it is on its way, and its client counts requests anew on each connection, as kazoo does."""

from harness.matrix import cells
from harness.mixed import World
from harness.raw_session import NO_NODE, OK, RawSession
from harness.runner import case
from harness.shell import wait_for
from mixed.synchronisations import in_log

TIMEOUT_MS = 40_000
LOG_SECONDS = 15


@case("answers after a move of the session to a Rust server of a Java leader", covers=cells("follower", "R", "session moves"))
def of_java(world: World) -> str:
    """Under a leader that orders the old write after it has let the session go."""
    return answers(world, "JRRRRJ")


@case("answers after a move of the session to a Rust server of a Rust leader", covers=cells("follower", "R", "session moves"))
def of_rust(world: World) -> str:
    """The same with both ours."""
    return answers(world, "JRRRRR")


def answers(world: World, kinds: str) -> str:
    """The first write through the new server has the number of the one that is still under way, and gets an answer of its own.

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
    moved = RawSession(new, TIMEOUT_MS, first.id, first.password)
    moved.send_delete("/missing")
    wait_for(f"{new} to have it", LOG_SECONDS, lambda: new.metric("outstanding_requests") > 0, every=0.02)
    for server in others:
        server.resume()
    answer = moved.answer()
    assert answer == NO_NODE, f"{new} answered the deletion of what is not there with {answer}: that is the answer to another write"
    assert moved.exists("/old").error == OK, "the write before the move is lost"
    moved.leave()
    ensemble.settle()
    return f"{new} under {leader} gave the write after the move its own answer; {ensemble.equal()}"
