"""Members that are given new volumes, and nodes that do not come back: E15, E16, E19 and a node out of service."""

import time
from typing import Any

from harness.ensemble import Ensemble
from harness.runner import case
from harness.shell import wait_for
from harness.world import World

from .rolling import patch

REBUILD_SECONDS = 240
NODE_SECONDS = 420
STALL_SECONDS_MAX = 10.0
REBUILD = "zookeeper.ensemble.rs/rebuild"
# Where kind's provisioner keeps volumes, on the node.
VOLUMES = "/var/local-path-provisioner"
TAINT = "node.kubernetes.io/out-of-service"


def annotate(ensemble: Ensemble, words: str) -> None:
    """Sets the annotation `words` of the resource, or takes it away with a `-` at the end."""
    ensemble.cluster.kubectl("annotate", "zke", ensemble.name, "-n", ensemble.namespace, words, "--overwrite")


def rebuilt(ensemble: Ensemble, pod: str) -> None:
    """Asks for the rebuild of a pod's server, and waits until it is in sync on new volumes."""
    before, former, ordinal = ensemble.identities(), ensemble.status().get("rebuild"), pod.rsplit("-", 1)[1]
    annotate(ensemble, f"{REBUILD}={ordinal}")
    wait_for(f"{pod} to be rebuilt", REBUILD_SECONDS, lambda: is_rebuilt(ensemble, ordinal, former), every=1)
    ensemble.wait_ready()
    after = ensemble.identities()
    assert after[pod][:2] == before[pod][:2] and after[pod][2] != before[pod][2], f"{pod}: {before[pod]} became {after[pod]}"
    others = [name for name in before if name != pod]
    assert all(before[name] == after[name] for name in others), f"before {before}, after {after}"


def is_rebuilt(ensemble: Ensemble, ordinal: str, former: dict[str, Any] | None) -> bool:
    """Whether a rebuild has ended that is not the former one, whose condition stands until the operator has read the annotation."""
    record = ensemble.status().get("rebuild", {})
    return record != former and str(record.get("ordinal")) == ordinal and "finishedAt" in record and ensemble.is_true("Rebuilt")


def reasons(ensemble: Ensemble) -> set[str]:
    """The reasons of the resource's events."""
    events = ensemble.cluster.items("events", "-n", ensemble.namespace, "--field-selector", f"involvedObject.name={ensemble.name}")
    return {event["reason"] for event in events}


@case("E19 a damaged store is resynced, and members are rebuilt on request")
def damaged(world: World) -> str:
    """A log is damaged on the disk of a follower; then a follower, and the leader, are rebuilt, each exactly once."""
    ensemble = world.three()
    with world.load(ensemble) as load:
        load.wait_for_writes(200, 60)
        victim = ensemble.followers()[0]
        node, uid = ensemble.node_of(victim), ensemble.pod_uids()[victim]
        logs = f"{VOLUMES}/*_{ensemble.namespace}_txnlog-{victim}/version-2/log.*"
        damage = f"for log in {logs}; do printf X | dd of=$log bs=1 seek=90 conv=notrunc; done"
        ensemble.cluster.on_node(node, "sh", "-c", damage)
        ensemble.delete_pods(victim)
        ensemble.wait_replaced({victim: uid}, victim)
        ensemble.wait_ready()
        rebuilt(ensemble, victim)
        uids = ensemble.pod_uids()
        time.sleep(20)
        assert ensemble.pod_uids() == uids, "a pod was replaced again for one request"
        leader = ensemble.leader()
        rebuilt(ensemble, leader)
        annotate(ensemble, f"{REBUILD}-")
        wait_for("the record to go", 60, lambda: "rebuild" not in ensemble.status())
        annotate(ensemble, f"{REBUILD}=7")
        wait_for("a refusal", 60, lambda: ensemble.condition("Rebuilt").get("reason") == "RebuildRefused")
        annotate(ensemble, f"{REBUILD}-")
        load.wait_for_writes(100, 60)
        summary = load.finish()
    told = {"RebuildBegins", "MemberRebuilt", "MemberResynced", "LeaderHandOff"}
    assert told <= reasons(ensemble), f"events: {reasons(ensemble)}"
    agreement = ensemble.agree(3)
    return f"{victim} resynced and rebuilt, then the leader {leader}; {summary}; {agreement}"


@case("node out of service")
def out_of_service(world: World) -> str:
    """The node of a follower is off: its pod stays until a person taints the node, and not a second longer than that takes."""
    ensemble = world.three()
    victim = next(pod for pod in ensemble.followers() if ensemble.node_of(pod) not in world.operator.nodes())
    node, uids = ensemble.node_of(victim), ensemble.pod_uids()
    with world.load(ensemble) as load:
        load.wait_for_writes(200, 60)
        world.cluster.kill_node(node)
        try:
            ensemble.delete_pods(victim)
            wait_for("the resource to name the taint", NODE_SECONDS, lambda: ensemble.condition("Degraded").get("reason") == "NodeLost", every=2)
            said = ensemble.condition("Degraded")["message"]
            assert TAINT in said and node in said, said
            assert ensemble.pod_uids()[victim] == uids[victim], "its pod was deleted by force on NotReady alone"
            world.cluster.kubectl("taint", "node", node, f"{TAINT}=nodeshutdown:NoExecute")
            ensemble.wait_replaced(uids, victim, seconds=NODE_SECONDS)
        finally:
            world.cluster.start_node(node)
            world.cluster.kubectl("taint", "node", node, f"{TAINT}-")
        ensemble.wait_ready()
        load.wait_for_writes(100, 60)
        summary = load.finish()
    return f"{victim} on {node}: {said}; {summary}; {ensemble.agree(3)}"


def drain(ensemble: Ensemble, node: str, seconds: int) -> bool:
    """Drains a node of the ensemble's pods; whether that came to its end in time."""
    selector = f"app.kubernetes.io/instance={ensemble.name}"
    try:
        ensemble.cluster.kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", f"--pod-selector={selector}", f"--timeout={seconds}s", timeout=seconds + 20)
    except Exception:
        return False
    return True


@case("E15 a node is drained during a roll, and two nodes at once")
def drained(world: World) -> str:
    """The budget lets one go at a time: never fewer than a majority."""
    strategy = {"updateStrategy": {"minReadySeconds": 3}}
    with world.ensemble("e15", 3, strategy) as ensemble:
        ensemble.wait_ready()
        nodes = [ensemble.node_of(pod) for pod in ensemble.followers()]
        with world.load(ensemble) as load:
            load.wait_for_writes(100, 60)
            patch(ensemble, {"config": {"snapCount": 90000}})
            ended = []
            for node in nodes:
                try:
                    ended.append(drain(ensemble, node, 60))
                finally:
                    world.cluster.kubectl("uncordon", node)
                load.wait_for_writes(20, 60)
            wait_for("the roll to end", REBUILD_SECONDS, lambda: ensemble.is_true("ConfigApplied") and ensemble.is_true("Ready"), every=1)
            load.wait_for_writes(100, 60)
            summary = load.finish()
        assert summary.longest_stall_seconds < STALL_SECONDS_MAX, f"a write stalled: {summary}"
        return f"drained {nodes}: {ended}; {summary}; {ensemble.agree(3)}"


@case("E16 a drain with a member that does not start")
def drained_with_a_broken_member(world: World) -> str:
    """A member that is not ready may be evicted: the drain of its node is not blocked."""
    strategy = {"updateStrategy": {"minReadySeconds": 3, "progressDeadlineSeconds": 30}}
    with world.ensemble("e16", 3, strategy) as ensemble:
        ensemble.wait_ready()
        with world.load(ensemble) as load:
            load.wait_for_writes(100, 60)
            patch(ensemble, {"image": {"repository": "localhost/nowhere", "tag": "none"}})
            wait_for("a pod to be broken", 120, lambda: ensemble.condition("Progressing").get("reason") == "RolloutStalled", every=1)
            broken = next(name for name in ensemble.pods() if name not in ensemble.ready_pods())
            node, uid = ensemble.node_of(broken), ensemble.pod_uids()[broken]
            try:
                assert drain(ensemble, node, 60), f"the drain of {node} was blocked by {broken}"
            finally:
                world.cluster.kubectl("uncordon", node)
            assert ensemble.pod_uids().get(broken) != uid, f"{broken} was not evicted"
            load.wait_for_writes(50, 60)
            patch(ensemble, {"image": None})
            ensemble.wait_ready()
            load.wait_for_writes(50, 60)
            summary = load.finish()
        return f"{broken} evicted from {node}; {summary}; {ensemble.agree(3)}"
