"""E1: an ensemble is created, is Ready within its time, has one id, and its grant is closed. E3 holds the same after the operator died on the way."""

from harness.ensemble import Ensemble
from harness.runner import case
from harness.world import World

READY_SECONDS = 120
WRITES = 200


def founded(ensemble: Ensemble, replicas: int) -> str:
    """Asserts that an ensemble was founded once and closed, and returns its id."""
    status = ensemble.status()
    bootstrap = status["bootstrap"]
    servers = ensemble.servers()
    ids = {answer["ensembleId"] for answer in servers.values() if answer}
    assert len(servers) == replicas and None not in servers.values(), f"not every server answers: {servers}"
    assert ids == {status["ensembleId"]}, f"the servers have the ensemble ids {ids}, the resource {status['ensembleId']}"
    assert bootstrap["phase"] == "Complete", f"bootstrap is {bootstrap['phase']}"
    volumes = {str(answer["myid"] - 1): answer["volumeId"] for answer in servers.values()}
    for ordinal, volume in bootstrap["volumes"].items():
        assert volumes[ordinal] == volume, f"server {ordinal} was founded on volume {volume} and has {volumes[ordinal]}"
    states = {name: answer["bootstrap"] for name, answer in servers.items()}
    assert "awaiting-grant" not in states.values(), f"a grant is still awaited: {states}"
    return status["ensembleId"]


def created(world: World, replicas: int) -> str:
    """The scenario for a number of servers."""
    with world.ensemble(f"e1-{replicas}", replicas) as ensemble:
        took = ensemble.wait_ready(READY_SECONDS)
        identity = founded(ensemble, replicas)
        with world.load(ensemble) as load:
            load.wait_for_writes(WRITES, 60)
            summary = load.finish()
        agreement = ensemble.agree(replicas)
        restarts = ensemble.restarts()
        assert restarts == 0, f"containers restarted {restarts} times"
        return f"Ready in {took:.0f} s as {identity[:8]}; {summary}; {agreement}"


@case("E1 one member")
def one(world: World) -> str:
    """A single server, in distributed mode."""
    return created(world, 1)


@case("E1 three members")
def three(world: World) -> str:
    """Three servers."""
    return created(world, 3)
