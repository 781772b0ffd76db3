"""Servers of both kinds die under load, and lead in turn."""

from harness.mixed import Kind, World
from harness.runner import case

RECOVERY_SECONDS = 90
WRITES = 50


@case("JRJ crashes of two Java servers and a Rust server")
def two_java(world: World) -> str:
    """kill -9 and restart of each in turn."""
    return crashes(world, "JRJ")


@case("RJR crashes of two Rust servers and a Java server")
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


@case("paused leaders")
def paused(world: World) -> str:
    """A leader that stands still is deposed by the others, one of them of the other kind, and joins them when it goes on."""
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
            said.append(f"{leader}, deposed by {successor}")
            load.wait_for_writes(WRITES, RECOVERY_SECONDS)
        summary = load.finish()
    return f"{'; '.join(said)}; {summary}; {ensemble.equal()}"
