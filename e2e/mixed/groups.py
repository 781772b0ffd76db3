"""Quorums of groups and weights, counted alike by servers of both kinds."""

import time

from harness.matrix import cells
from harness.mixed import SETTINGS, Kind, World
from harness.runner import case
from harness.shell import wait_for

RECOVERY_SECONDS = 60
WRITES = 50
SILENCE_SECONDS = 15
GROUPS = ["group.1=1:2:3", "group.2=4", "group.3=5", "weight.1=1"]


@case("groups of servers of both kinds", covers=cells("leader follower", "JR", "crash, election"))
def groups(world: World) -> str:
    """Of a group of three and two of one, the two are a quorum, and the three are none: a majority would say the opposite of both."""
    ensemble = world.ensemble("RJRJR")
    first, small = ensemble.servers[:3], ensemble.servers[3:]
    for server in ensemble.servers:
        server.configure([*(other.line() for other in ensemble.servers), *GROUPS], **SETTINGS)
    ensemble.start()
    leaders = set()
    with ensemble.load() as writes:
        writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
        for server in first:
            server.kill()
        leaders.add(ensemble.settle())
        stall = writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
        for server in first:
            server.start()
        leaders.add(ensemble.settle())
        writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
        for server in small:
            server.kill()
        wait_for("the three to stop serving", RECOVERY_SECONDS, lambda: not any(server.mode() for server in first), every=0.2)
        before = writes.acknowledged()
        time.sleep(SILENCE_SECONDS)
        assert not any(server.mode() for server in first) and writes.acknowledged() == before, "three servers of one group serve"
        for server in small:
            server.start()
        ensemble.settle()
        for wanted in (Kind.JAVA, Kind.RUST):
            leaders.add(ensemble.lead(next(server for server in small if server.kind is wanted)))
            writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
        summary = writes.finish()
    assert {leader.kind for leader in leaders} == set(Kind), f"only {leaders} led"
    return f"two of five served ({WRITES} writes in {stall:.1f} s), three of five did not; {summary}; {ensemble.equal()}"
