"""E10, what somebody else changes is repaired or reported, and no member is lost; E35, what is applied twice is the same."""

import json
import time

from harness import places
from harness.ensemble import Ensemble
from harness.runner import case
from harness.shell import wait_for
from harness.world import World

from .storage import owners, refused, stateful_set

REPAIR_SECONDS = 120


@case("E10 the StatefulSet is scaled by hand")
def scaled(world: World) -> str:
    """`kubectl scale` is refused; an edit of the size is undone."""
    ensemble = world.three()
    where = ("-n", ensemble.namespace)
    identities = ensemble.identities()
    with world.load(ensemble) as load:
        load.wait_for_writes(100, 60)
        refused(ensemble.cluster, "this StatefulSet follows its ensemble", "scale", "statefulset", ensemble.name, "--replicas=2", *where)
        uids = ensemble.pod_uids()
        ensemble.cluster.kubectl("patch", "statefulset", ensemble.name, *where, "--type=merge", "-p", '{"spec":{"replicas":2}}')
        ensemble.wait_replaced(uids, f"{ensemble.name}-2", seconds=REPAIR_SECONDS)
        ensemble.wait_ready()
        load.wait_for_writes(100, 60)
        summary = load.finish()
    assert stateful_set(ensemble)["spec"]["replicas"] == 3
    agreement = ensemble.agree(3)
    assert ensemble.identities() == identities, f"before {identities}, after {ensemble.identities()}"
    return f"undone; {summary}; {agreement}"


@case("E10 the labels of a pod are edited")
def labels(world: World) -> str:
    """The StatefulSet lets go of the pod, and the operator does not see it any more: it says so, and takes it back when its labels are back."""
    ensemble = world.three()
    follower = ensemble.followers()[0]
    uids = ensemble.pod_uids()
    label = ("label", "pod", follower, "-n", ensemble.namespace, "--overwrite")
    with world.load(ensemble) as load:
        load.wait_for_writes(100, 60)
        ensemble.cluster.kubectl(*label, "app.kubernetes.io/instance=somebody-else")
        wait_for("the condition Degraded to name it", REPAIR_SECONDS, lambda: f"{follower} does not exist" in ensemble.condition("Degraded").get("message", ""))
        load.wait_for_writes(100, 60)
        ensemble.cluster.kubectl(*label, f"app.kubernetes.io/instance={ensemble.name}")
        ensemble.wait_ready()
        wait_for("the pod to be taken back", REPAIR_SECONDS, lambda: owners(ensemble) == {stateful_set(ensemble)["metadata"]["uid"]})
        load.wait_for_writes(100, 60)
        summary = load.finish()
    assert ensemble.pod_uids() == uids, "a pod was replaced"
    agreement = ensemble.agree(3)
    return f"reported and taken back; {summary}; {agreement}"


@case("E10 the StatefulSet is deleted with its pods orphaned")
def orphaned(world: World) -> str:
    """It is made again, has the same pods, and none of them is restarted."""
    ensemble = world.three()
    uids, former = ensemble.pod_uids(), stateful_set(ensemble)
    with world.load(ensemble) as load:
        load.wait_for_writes(100, 60)
        ensemble.cluster.kubectl("delete", "statefulset", ensemble.name, "-n", ensemble.namespace, "--cascade=orphan")

        def is_back() -> bool:
            live = stateful_set(ensemble)
            return bool(live) and live["metadata"]["uid"] != former["metadata"]["uid"] and owners(ensemble) == {live["metadata"]["uid"]}

        wait_for("another StatefulSet that has the pods", REPAIR_SECONDS, is_back)
        ensemble.wait_ready()
        load.wait_for_writes(100, 60)
        time.sleep(10)  # a restart would begin in that time
        summary = load.finish()
    assert ensemble.pod_uids() == uids, "a pod was replaced"
    assert stateful_set(ensemble)["status"]["updateRevision"] == former["status"]["updateRevision"], "the pods look outdated"
    agreement = ensemble.agree(3)
    return f"made again under the same pods; {summary}; {agreement}"


@case("E35 applied again")
def applied_again(world: World) -> str:
    """`kubectl diff` finds nothing after `kubectl apply`: not in the manifests of the operator, nor in the samples, on either side."""
    cluster = world.cluster
    cluster.kubectl("diff", "--server-side", "--force-conflicts", "-k", str(places.REPOSITORY / "manifests"))
    with world.ensemble("e35", 1) as ensemble:
        samples = sorted((places.REPOSITORY / "manifests" / "samples").glob("*.yaml"))
        assert len(samples) >= 3, samples
        for sample in samples:
            name = json.loads(cluster.kubectl("create", "--dry-run=client", "-o", "json", "-f", str(sample)))["metadata"]["name"]
            file = ("-n", ensemble.namespace, "-f", str(sample))
            cluster.kubectl("apply", *file)
            applied = Ensemble(cluster, ensemble.namespace, name)
            wait_for(f"a status of {name}", REPAIR_SECONDS, lambda applied=applied: applied.status().get("observedGeneration"))
            cluster.kubectl("diff", *file)
            cluster.kubectl("apply", "--server-side", "--force-conflicts", *file)
            cluster.kubectl("diff", "--server-side", "--force-conflicts", *file)
            cluster.kubectl("patch", "zke", name, "-n", ensemble.namespace, "--type=merge", "-p", '{"spec":{"deletionProtection":false}}')
            applied.delete()
        ensemble.wait_ready()
    return f"the manifests and {len(samples)} samples: no difference"
