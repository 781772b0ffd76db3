"""How long nothing is committed when the leader dies: three of ours beside three of Apache's, in one run and by one clock."""

import statistics

from harness.gap import after_deaths, summary
from harness.mixed import World
from harness.runner import case

ROUNDS = 5
GATE_SECONDS = 0.6
# Of Apache's median.
GATE_RATIO = 0.5
RECOVERY_SECONDS = 60


@case("fail-over beside Apache ZooKeeper")
def fail_over(world: World) -> str:
    """kill -9 of the leader, again and again, with the usual tick and limits: ours is half as long at most, and below the gate (E5)."""
    apache, ours = measured(world, "JJJ"), measured(world, "RRR")
    said = summary(ours, GATE_SECONDS)
    theirs = statistics.median(apache)
    ratio = statistics.median(ours) / theirs
    assert ratio <= GATE_RATIO, f"{said}; Apache's servers: {theirs * 1000:.0f} ms"
    return f"{said}; Apache's servers: {theirs * 1000:.0f} ms ({min(apache) * 1000:.0f} to {max(apache) * 1000:.0f} ms), ratio {ratio:.2f}"


def measured(world: World, kinds: str) -> list[float]:
    """The longest time without a committed write around each death of a leader, in seconds."""
    ensemble = world.ensemble(kinds)
    ensemble.configure(tickTime="2000", initLimit="10", syncLimit="5")
    ensemble.start()
    gaps = after_deaths(ensemble.servers, ensemble.settle, ROUNDS, settled_seconds=1, within_seconds=RECOVERY_SECONDS)
    for server in ensemble.servers:
        server.stop()
    return gaps
