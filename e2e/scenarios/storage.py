"""Volumes: E24, more room; E30, hibernation by its own field; what nobody deletes or scales by accident."""

import json

from harness.cluster import Cluster
from harness.ensemble import Ensemble
from harness.runner import case
from harness.shell import CommandFailed, wait_for
from harness.world import World

from . import scaling
from .rolling import patch

STORAGE_SECONDS = 120
CLASS = "expandable"


def refused(cluster: Cluster, why: str, *arguments: str) -> None:
    """Asserts that the API server refuses a command, for this reason."""
    try:
        said = cluster.kubectl(*arguments)
    except CommandFailed as error:
        assert why in str(error), f"kubectl {' '.join(arguments)} was refused for another reason: {error}"
    else:
        raise AssertionError(f"kubectl {' '.join(arguments)} was not refused: {said}")


def sizes(ensemble: Ensemble) -> dict[str, str]:
    """What each claim asks for."""
    items = ensemble.cluster.items("pvc", "-n", ensemble.namespace)
    return {item["metadata"]["name"]: item["spec"]["resources"]["requests"]["storage"] for item in items}


def stateful_set(ensemble: Ensemble) -> dict:
    """The StatefulSet as it is."""
    return ensemble.cluster.get("statefulset", ensemble.name, "-n", ensemble.namespace)


def owners(ensemble: Ensemble) -> set[str]:
    """The UIDs of what controls the pods."""
    return {owner["uid"] for pod in ensemble.pods().values() for owner in pod["metadata"].get("ownerReferences", [])}


@case("E24 a class that does not expand")
def unsupported(world: World) -> str:
    """kind's class does not: the condition says so, no claim is touched, and the ensemble is scaled all the same."""
    with world.ensemble("e24-no", 3) as ensemble:
        ensemble.wait_ready()
        before = sizes(ensemble)
        patch(ensemble, {"storage": {"data": {"size": "2Gi"}}})
        wait_for("StorageHealthy to say so", STORAGE_SECONDS, lambda: ensemble.condition("StorageHealthy").get("reason") == "ExpansionUnsupported")
        said = ensemble.condition("StorageHealthy")["message"]
        scaling.scale(ensemble, 4, voters=3)
        assert {name: size for name, size in sizes(ensemble).items() if name in before} == before, sizes(ensemble)
        refused(ensemble.cluster, "volumes cannot shrink", "patch", "zke", ensemble.name, "-n", ensemble.namespace, "--type=merge", "-p", '{"spec":{"storage":{"data":{"size":"1Gi"}}}}')
        agreement = ensemble.agree(4)
        return f"{said}; scaled to 4; {agreement}"


@case("E24 volumes that grow while they are mounted")
def online(world: World) -> str:
    """kind has no driver that resizes: a class allows it, and this scenario writes what the driver would into each claim's status."""
    driver = world.cluster.get("storageclass", "standard")["provisioner"]
    world.cluster.apply(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": CLASS},
            "provisioner": driver,
            "allowVolumeExpansion": True,
            "volumeBindingMode": "WaitForFirstConsumer",
        }
    )
    volume = {"size": "1Gi", "storageClassName": CLASS}
    with world.ensemble("e24", 3, {"storage": {"data": volume, "txnLog": volume}}) as ensemble:
        ensemble.wait_ready()
        pods, former = ensemble.pod_uids(), stateful_set(ensemble)
        with world.load(ensemble) as load:
            load.wait_for_writes(100, 60)
            patch(ensemble, {"storage": {"data": {"size": "2Gi"}}})
            data = [f"data-{ensemble.name}-{ordinal}" for ordinal in range(3)]
            wait_for("the claims to ask for more", STORAGE_SECONDS, lambda: [sizes(ensemble)[name] for name in data] == ["2Gi"] * 3)
            wait_for("StorageHealthy to say so", STORAGE_SECONDS, lambda: ensemble.condition("StorageHealthy").get("reason") == "Resizing")
            assert stateful_set(ensemble)["metadata"]["uid"] == former["metadata"]["uid"], "the StatefulSet was made anew before the volumes had their size"
            for name in data:
                done = json.dumps({"status": {"capacity": {"storage": "2Gi"}, "allocatedResourceStatuses": None, "conditions": []}})
                ensemble.cluster.kubectl("patch", "pvc", name, "-n", ensemble.namespace, "--subresource=status", "--type=merge", "-p", done)

            def is_made_anew() -> bool:
                live = stateful_set(ensemble)
                return bool(live) and live["metadata"]["uid"] != former["metadata"]["uid"] and owners(ensemble) == {live["metadata"]["uid"]}

            wait_for("another StatefulSet that has the pods", STORAGE_SECONDS, is_made_anew)
            ensemble.wait_ready()
            load.wait_for_writes(100, 60)
            summary = load.finish()
        assert ensemble.pod_uids() == pods, f"pods were replaced: before {pods}, after {ensemble.pod_uids()}"
        live = stateful_set(ensemble)
        templates = [template["spec"]["resources"]["requests"]["storage"] for template in live["spec"]["volumeClaimTemplates"]]
        assert templates == ["2Gi", "1Gi"], templates
        assert live["spec"]["template"] == former["spec"]["template"], "the pod template is another one"
        wait_for("StorageHealthy", STORAGE_SECONDS, lambda: ensemble.is_true("StorageHealthy"))
        scaling.scale(ensemble, 5)
        assert sizes(ensemble)[f"data-{ensemble.name}-4"] == "2Gi", sizes(ensemble)
        agreement = ensemble.agree(5)
        return f"made anew under the same pods; {summary}; {agreement}"


@case("E30 hibernated by spec.hibernate")
def hibernated(world: World) -> str:
    """The highest server leads, hands its office over and is stopped; the number of servers stays in the spec."""
    with world.ensemble("e30-field", 3) as ensemble:
        ensemble.wait_ready()
        before, volumes = ensemble.identities(), scaling.claims(ensemble)
        scaling.make_lead(ensemble, f"{ensemble.name}-2")
        with world.load(ensemble) as load:
            load.wait_for_writes(100, 60)
            patch(ensemble, {"hibernate": True})
            wait_for("all pods to be gone", scaling.SIZE_SECONDS, lambda: not ensemble.pods(), every=1)
            wait_for("the status to say so", 60, lambda: ensemble.condition("Ready").get("reason") == "Hibernated")
            assert scaling.claims(ensemble) == volumes, f"before {volumes}, hibernated {scaling.claims(ensemble)}"
            patch(ensemble, {"hibernate": False})
            took = ensemble.wait_ready()
            load.wait_for_writes(100, 60)
            summary = load.finish()
        agreement = ensemble.agree(3)
        assert ensemble.identities() == before, f"before {before}, after {ensemble.identities()}"
        events = [event["reason"] for event in ensemble.cluster.items("events", "-n", ensemble.namespace)]
        assert "LeaderHandOff" in events, f"no hand-off: {sorted(set(events))}"
        return f"woken up in {took:.0f} s; {summary}; {agreement}"


@case("accidents are refused")
def accidents(world: World) -> str:
    """A protected ensemble is not deleted, nor a claim in use, nor the StatefulSet scaled; the namespace goes all the same, and onDelete takes the claims along."""
    with world.ensemble("accidents", 1, {"deletionProtection": True}) as ensemble:
        ensemble.wait_ready()
        cluster, where = ensemble.cluster, ("-n", ensemble.namespace)
        refused(cluster, "spec.deletionProtection is true", "delete", "zke", ensemble.name, *where)
        refused(cluster, "a server of this ensemble uses the claim", "delete", "pvc", f"data-{ensemble.name}-0", *where)
        refused(cluster, "this StatefulSet follows its ensemble", "scale", "statefulset", ensemble.name, "--replicas=3", *where)
        cluster.kubectl("delete", "namespace", ensemble.namespace, "--timeout=120s", timeout=130)
    with world.ensemble("accidents-after", 1, {"storage": {"data": {"size": "1Gi"}, "txnLog": {"size": "1Gi"}, "reclaimPolicy": {"onDelete": "Delete"}}}) as ensemble:
        ensemble.wait_ready()

        def owned() -> bool:
            items = ensemble.cluster.items("pvc", "-n", ensemble.namespace)
            return len(items) == 2 and all(item["metadata"].get("ownerReferences") for item in items)

        wait_for("the claims to be owned", STORAGE_SECONDS, owned)
        ensemble.cluster.kubectl("delete", "zke", ensemble.name, "-n", ensemble.namespace)
        wait_for("the claims to be gone", STORAGE_SECONDS, lambda: not ensemble.cluster.items("pvc", "-n", ensemble.namespace))
    return "three refusals; the namespace went; the claims went with their ensemble"
