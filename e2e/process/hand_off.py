"""How long nothing is committed when a leader hands its office over, on request and before it stops."""

import time

from harness import admin
from harness.gap import summary, writing
from harness.processes import Group, Processes
from harness.runner import case

ROUNDS = 20
GATE_SECONDS = 0.1
RECOVERY_SECONDS = 30
TOKEN = "secret"


def three(world: Processes) -> Group:
    """Three servers with ZooKeeper's usual tick and limits, and a token for their admin ports."""
    group = world.group(3)
    for server in group.servers:
        token = server.folder / "token"
        token.write_text(TOKEN)
        lines = [other.line() for other in group.servers]
        server.configure(lines, tickTime="2000", initLimit="10", syncLimit="5", ensemble__adminTokenFile=str(token))
    group.start()
    return group


@case("hand-off")
def hand_off(world: Processes) -> str:
    """POST /leader/transfer to each follower in turn, under writers on every server: the one asked for leads, and the gap stays below the gate."""
    group = three(world)
    gaps = []
    with writing(group.servers) as writers:
        for _ in range(ROUNDS):
            group.agree_on_roles()
            leader, successor = group.leader(), group.follower()
            time.sleep(0.5)
            asked = time.monotonic()
            code, body = admin.request(f"{leader.host}:{leader.admin_port}", f"/leader/transfer?to={successor.myid}", method="POST", headers={"Authorization": f"Bearer {TOKEN}"})
            assert code == 200, f"{code} {body}"
            gaps.append(writers.gap_after(asked, RECOVERY_SECONDS))
            assert group.leader() is successor, f"server {group.leader().myid} leads, not {successor.myid}"
        assert writers.sessions_lost == 0, f"{writers.sessions_lost} sessions were lost"
    return f"{summary(gaps, GATE_SECONDS)}; {group.agree()}"


@case("hand-off at SIGTERM")
def stop(world: Processes) -> str:
    """SIGTERM of the leader, under writers on every server: it hands over before it ends, and the gap stays below the gate."""
    group = three(world)
    gaps = []
    with writing(group.servers) as writers:
        for _ in range(ROUNDS // 2):
            group.agree_on_roles()
            leader = group.leader()
            time.sleep(0.5)
            told = time.monotonic()
            code = leader.stop()
            assert code == 0, f"server {leader.myid} ended with code {code}"
            gaps.append(writers.gap_after(told, RECOVERY_SECONDS))
            assert "handed the office over before stopping" in leader.said()
            leader.start()
    return f"{summary(gaps, GATE_SECONDS)}; {group.agree()}"
