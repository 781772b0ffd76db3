"""The node of the leader loses its power and returns later: the others go on, and the server comes back with its volumes."""

from harness.runner import case
from harness.shell import wait_for
from harness.world import World

NEW_LEADER_SECONDS = 120
NODE_SECONDS = 180


@case("node of the leader lost")
def node_of_the_leader(world: World) -> str:
    """Nothing says goodbye: connections to the node just stay silent."""
    ensemble = world.three()
    identities = ensemble.identities()
    leader = ensemble.leader()
    node = ensemble.node_of(leader)
    with world.load(ensemble) as load:
        load.wait_for_writes(200, 60)
        with_operator = node in world.operator.nodes()
        world.cluster.kill_node(node)
        took = load.wait_for_writes(50, NEW_LEADER_SECONDS)
        if not with_operator:  # its pod moves to another node only after Kubernetes' own tolerance of minutes
            wait_for("the resource to notice", NODE_SECONDS, lambda: ensemble.is_true("Degraded"), every=1)
        load.wait_for_writes(50, 60)
        world.cluster.start_node(node)
        ensemble.wait_ready()
        load.wait_for_writes(100, 60)
        summary = load.finish()
    agreement = ensemble.agree(3)
    assert ensemble.identities() == identities, f"before {identities}, after {ensemble.identities()}"
    also = " and the operator" if with_operator else ""
    return f"{leader}{also} lost with {node}: 50 more writes after {took:.0f} s; back with the node; {summary}; {agreement}"
