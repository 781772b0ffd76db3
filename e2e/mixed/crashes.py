"""Servers of both kinds die under load, and lead in turn."""

import time

from harness.matrix import cells
from harness.mixed import Kind, World
from harness.runner import case

RECOVERY_SECONDS = 90
WRITES = 50
# Longer than syncLimit ticks.
PAUSE_SECONDS = 7


@case("JRJ crashes of two Java servers and a Rust server", covers=cells("leader", "JR", "crash, election") | cells("follower", "J", "crash"))
def two_java(world: World) -> str:
    """kill -9 and restart of each in turn."""
    return crashes(world, "JRJ")


@case("RJR crashes of two Rust servers and a Java server", covers=cells("leader", "JR", "crash, election") | cells("follower", "R", "crash"))
def two_rust(world: World) -> str:
    """The same the other way round."""
    return crashes(world, "RJR")


def crashes(world: World, kinds: str) -> str:
    """Each dies once as the leader or a follower, and the leadership goes to the other kind and back."""
    ensemble = world.ensemble(kinds)
    first, second, third = ensemble.servers
    ensemble.start()
    with ensemble.load() as load:
        led = []
        for wanted in (third, second, third):  # the greatest id wins among equals: of different kinds, so each crash moves the leadership to the other
            ensemble.lead(wanted)
            led.append(str(wanted))
            load.wait_for_writes(WRITES, RECOVERY_SECONDS)
        ensemble.crash(first)
        load.wait_for_writes(WRITES, RECOVERY_SECONDS)
        summary = load.finish()
    assert {second.kind, third.kind} == set(Kind)
    return f"led by {', '.join(led)}; {summary}; {ensemble.equal()}"


@case("paused leaders and followers", covers=cells("leader", "JR", "pause, election") | cells("follower", "JR", "pause"))
def paused(world: World) -> str:
    """A leader that stands still is deposed by the others, one of them of the other kind, and joins them when it goes on; a follower is only missed."""
    ensemble = world.ensemble("JRJ")
    _, second, third = ensemble.servers
    ensemble.start()
    with ensemble.load() as load:
        said = []
        for leader in (third, second):
            ensemble.lead(leader)
            load.wait_for_writes(WRITES, RECOVERY_SECONDS)
            leader.suspend()
            successor = ensemble.settle(among=[server for server in ensemble.servers if server is not leader])
            load.wait_for_writes(WRITES, RECOVERY_SECONDS)
            leader.resume()
            ensemble.settle()
            load.wait_for_writes(WRITES, RECOVERY_SECONDS)
            follower = next(server for server in ensemble.servers if server.kind is not successor.kind)
            follower.suspend()
            time.sleep(PAUSE_SECONDS)
            stall = load.wait_for_writes(WRITES, RECOVERY_SECONDS)
            follower.resume()
            assert ensemble.settle() is successor, "the leader changed"
            said.append(f"{leader}, deposed by {successor}, which did without {follower}, {WRITES} writes in {stall:.1f} s")
            load.wait_for_writes(WRITES, RECOVERY_SECONDS)
        summary = load.finish()
    return f"{'; '.join(said)}; {summary}; {ensemble.equal()}"


@case("JRJRJ crashes in an ensemble of five", covers=cells("leader follower", "JR", "crash, election"))
def five(world: World) -> str:
    """Two at once die, the leader and a follower of the other kind, with a leader of each side; then all followers of one kind in turn."""
    ensemble = world.ensemble("JRJRJ")
    ensemble.start()
    with ensemble.load() as load:
        said = []
        for leader in (ensemble.servers[4], ensemble.servers[3]):
            ensemble.lead(leader)
            load.wait_for_writes(WRITES, RECOVERY_SECONDS)
            follower = next(server for server in ensemble.servers if server.kind is not leader.kind)
            for server in (leader, follower):
                server.kill()
            successor = ensemble.settle()
            stall = load.wait_for_writes(WRITES, RECOVERY_SECONDS)
            for server in (leader, follower):
                server.start()
            ensemble.settle()
            said.append(f"{leader} and {follower} died, {successor} led, {WRITES} writes in {stall:.1f} s")
            load.wait_for_writes(WRITES, RECOVERY_SECONDS)
        leader = ensemble.settle()
        for server in [server for server in ensemble.servers if server is not leader]:
            server.kill()
            load.wait_for_writes(WRITES, RECOVERY_SECONDS)
            server.start()
            assert ensemble.settle() is leader, "the leader changed"
        said.append(f"each follower of {leader} died and came back")
        summary = load.finish()
    return f"{'; '.join(said)}; {summary}; {ensemble.equal()}"
