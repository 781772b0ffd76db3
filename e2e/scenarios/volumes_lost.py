"""A follower loses its pod and both its volumes while the majority is well: it comes back empty and takes the leader's history."""

from harness.runner import case
from harness.world import World


@case("PVC of a follower deleted")
def volumes_of_a_follower(world: World) -> str:
    """Its volume id is new, its id is not, and it ends with the others' digest."""
    ensemble = world.three()
    before, uids = ensemble.identities(), ensemble.pod_uids()
    victim = ensemble.followers()[0]
    with world.load(ensemble) as load:
        load.wait_for_writes(200, 60)
        ensemble.delete_volumes(victim)
        ensemble.delete_pods(victim)
        ensemble.wait_replaced(uids, victim)
        ensemble.wait_ready()
        load.wait_for_writes(100, 60)
        summary = load.finish()
    agreement = ensemble.agree(3)
    after = ensemble.identities()
    assert after[victim][:2] == before[victim][:2], f"{victim} was {before[victim]} and is {after[victim]}"
    assert after[victim][2] != before[victim][2], f"{victim} still has the volume {before[victim][2]}"
    others = [name for name in before if name != victim]
    assert all(before[name] == after[name] for name in others), f"before {before}, after {after}"
    return f"{victim} resynchronised on a new volume; {summary}; {agreement}"
