"""An observer of one kind with voters of the other."""

from harness import load
from harness.mixed import World
from harness.runner import case

RECOVERY_SECONDS = 90
WRITES = 50


@case("observer (Rust) of a Java leader")
def rust_observer(world: World) -> str:
    """Two Java voters."""
    return observer(world, "JJR")


@case("observer (Java) of a Rust leader")
def java_observer(world: World) -> str:
    """Two Rust voters."""
    return observer(world, "RRJ")


def observer(world: World, kinds: str) -> str:
    """Clients work through it; it dies and comes back, and so does its leader."""
    ensemble = world.ensemble(kinds, observers=(3,))
    observer = ensemble.servers[2]
    ensemble.start()
    with load.running(observer.address) as writes:
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
