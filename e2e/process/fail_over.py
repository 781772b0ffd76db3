"""How long nothing is committed when the leader dies, with ZooKeeper's usual tick and limits."""

from harness.gap import after_deaths, summary
from harness.processes import Processes, Server
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

    def leader() -> Server:
        group.agree_on_roles()
        return group.leader()

    return summary(after_deaths(group.servers, leader, ROUNDS, settled_seconds=0.5, within_seconds=RECOVERY_SECONDS), GATE_SECONDS)
