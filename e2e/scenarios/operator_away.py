"""The ensemble does not need the operator: it is restarted, and it is absent while a pod restarts."""

from harness.runner import case
from harness.world import World


@case("operator restarted")
def operator_restarted(world: World) -> str:
    """No pod of the ensemble is touched, no container restarts."""
    ensemble = world.three()
    uids, restarts = ensemble.pod_uids(), ensemble.restarts()
    with world.load(ensemble) as load:
        load.wait_for_writes(100, 60)
        world.operator.restart()
        load.wait_for_writes(200, 60)
        summary = load.finish()
    ensemble.wait_ready()
    agreement = ensemble.agree(3)
    assert ensemble.pod_uids() == uids, "pods were replaced"
    assert ensemble.restarts() == restarts, "containers were restarted"
    return f"no pod touched; {summary}; {agreement}"


@case("operator absent while a pod restarts")
def operator_absent(world: World) -> str:
    """The pod comes back by the StatefulSet and joins by itself; the operator finds all well afterwards."""
    ensemble = world.three()
    identities, uids = ensemble.identities(), ensemble.pod_uids()
    victim = ensemble.leader()
    world.operator.scale(0)
    try:
        with world.load(ensemble) as load:
            load.wait_for_writes(100, 60)
            ensemble.delete_pods(victim, force=True)
            ensemble.wait_replaced(uids, victim)
            load.wait_for_writes(100, 120)
            summary = load.finish()
        without = ensemble.agree(3)
    finally:
        world.operator.scale(1)
    ensemble.wait_ready()
    assert ensemble.identities() == identities, f"before {identities}, after {ensemble.identities()}"
    return f"{victim} came back without the operator; {summary}; {without}"
