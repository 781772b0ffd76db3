"""How long nothing is committed when the leader dies, with ZooKeeper's usual tick and limits."""

import time

from harness.gap import summary, writing
from harness.processes import Processes
from harness.runner import case

ROUNDS = 20
GATE_SECONDS = 0.6
RECOVERY_SECONDS = 30


@case("fail-over")
def fail_over(world: Processes) -> str:
    """kill -9 of the leader again and again: the median gap of committed writes stays below the gate (E5)."""
    group = world.group(3)
    for server in group.servers:
        server.configure([other.line() for other in group.servers], tickTime="2000", initLimit="10", syncLimit="5")
    group.start()
    gaps = []
    with writing(group.servers) as writers:
        for _ in range(ROUNDS):
            group.agree_on_roles()
            victim = group.leader()
            time.sleep(0.5)
            died = time.monotonic()
            victim.kill()
            gaps.append(writers.gap_after(died, RECOVERY_SECONDS))
            victim.start()
    return summary(gaps, GATE_SECONDS)
