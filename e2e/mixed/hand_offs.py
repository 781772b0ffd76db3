"""How long nothing is committed when a Rust leader hands its office over with Java servers in the quorum."""

import time
from collections.abc import Callable

from harness import admin
from harness.gap import summary, writing
from harness.mixed import Ensemble, Server, World
from harness.runner import case

ROUNDS = 4
# A Java server that has a quorum's votes for somebody waits 200 ms (FastLeaderElection.finalizeWait) before it follows, or leads.
GATE_SECONDS = 1.0
RECOVERY_SECONDS = 60
SETTLED_SECONDS = 1.5
LONGEST_SECONDS = 3.0
TOKEN = "secret"


@case("hand-off in a mixed ensemble to a Rust server")
def to_rust(world: World) -> str:
    """The third server is a Java server."""
    ensemble = handing_over(world, "RRJ")
    one, other, _ = ensemble.servers
    return rounds(ensemble, lambda number: (one, other)[:: 1 if number % 2 else -1], ask)


@case("hand-off in a mixed ensemble to a Java server")
def to_java(world: World) -> str:
    """A Rust leader names a Java server; then it is made the leader again."""
    ensemble = handing_over(world, "JRR")
    java, _, rust = ensemble.servers
    return rounds(ensemble, lambda number: (rust, java), ask)


@case("hand-off in a mixed ensemble at SIGTERM")
def stop(world: World) -> str:
    """The leader hands over before it ends, and the two others are a quorum: one of them is a Java server."""
    ensemble = handing_over(world, "JRR")
    _, one, other = ensemble.servers
    return rounds(ensemble, lambda number: (one, other)[:: 1 if number % 2 else -1], end)


def handing_over(world: World, kinds: str) -> Ensemble:
    """An ensemble with ZooKeeper's usual tick and limits, and a token for the admin ports of ours."""
    ensemble = world.ensemble(kinds)
    token = ensemble.servers[0].folder / "token"
    token.write_text(TOKEN)
    ensemble.configure(tickTime="2000", initLimit="10", syncLimit="5", ensemble__adminTokenFile=str(token))
    ensemble.start()
    return ensemble


def rounds(ensemble: Ensemble, who: Callable[[int], tuple[Server, Server]], change: Callable[[Server, Server], None]) -> str:
    """The leader hands over some times, under writers on every server; `who` says for each round which one leads and which one then shall."""
    gaps = []
    with writing(ensemble.servers) as writers:
        for number in range(ROUNDS):
            leader, successor = who(number)
            ensemble.lead(leader)
            time.sleep(SETTLED_SECONDS)
            asked = time.monotonic()
            change(leader, successor)
            gaps.append(writers.gap_after(asked, RECOVERY_SECONDS))
            assert gaps[-1] < LONGEST_SECONDS, f"round {number}: {leader} handed over, and nothing was committed for {gaps[-1]:.1f} s"
            now = ensemble.settle()
            assert now is successor or not leader.alive(), f"{now} leads, not {successor}"
            if not leader.alive():
                leader.start()
        assert writers.sessions_lost == 0, f"{writers.sessions_lost} sessions were lost"
    return f"{summary(gaps, GATE_SECONDS)}; {ensemble.equal()}"


def ask(leader: Server, successor: Server) -> None:
    """POST /leader/transfer."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    code, body = admin.request(f"{leader.host}:{leader.admin_port}", f"/leader/transfer?to={successor.myid}", method="POST", headers=headers)
    assert code == 200, f"{code} {body}"


def end(leader: Server, _: Server) -> None:
    """SIGTERM."""
    assert leader.stop() == 0, f"{leader} did not end as it should"
    assert "handed the office over before stopping" in leader.said_now()
