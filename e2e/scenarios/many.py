"""E31 and E34: another operator takes over without touching anything, and many ensembles at rest cost it little: memory, processor time and API writes."""

import contextlib
import json
import os
import time
import uuid
from dataclasses import dataclass

from harness import admin, build
from harness.cluster import Cluster
from harness.ensemble import Ensemble
from harness.operator import NAMESPACE
from harness.runner import case
from harness.shell import wait_for
from harness.world import World

ENSEMBLES = 200
UPGRADED = 6
NAMES = "case-e34"
SETTLE_SECONDS = 600
QUIET_SECONDS = 120
MEMORY_MIB_MAX = 64
PORT = 8080
# One write for each ensemble in five minutes.
WRITES_MAX = ENSEMBLES * QUIET_SECONDS / 300


@dataclass(frozen=True)
class Cost:
    """What the operator has used since it began."""

    memory_mib: float
    cpu_seconds: float
    passes: float
    writes: float

    def since(self, before: "Cost") -> str:
        """What it used since then."""
        return (
            f"{self.memory_mib:.1f} MiB, {self.cpu_seconds - before.cpu_seconds:.2f} s of processor time, {self.passes - before.passes:.0f} passes, "
            f"{self.writes - before.writes:.0f} writes in {QUIET_SECONDS} s"
        )


def cost(world: World) -> Cost:
    """Reads what the operator's node knows of its process, and its own figures."""
    (pod,) = world.operator.pods()
    node = pod["spec"]["nodeName"]
    (process,) = world.cluster.processes(node, pod["metadata"]["uid"], "operator")
    resident = next(line for line in world.cluster.on_node(node, "cat", f"/proc/{process}/status").splitlines() if line.startswith("VmRSS"))
    ticks = world.cluster.on_node(node, "cat", f"/proc/{process}/stat").rsplit(") ", 1)[1].split()
    _, text = admin.request(f"{pod['status']['podIP']}:{PORT}", "/metrics")
    figures = [line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]
    reads = ('step="wait"', 'step="report"')
    return Cost(
        int(resident.split()[1]) / 2**10,
        (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK"),
        sum(float(value) for name, value in figures if name.startswith("zookeeper_operator_reconcile_total")),
        sum(float(value) for name, value in figures if name.startswith("zookeeper_operator_steps_total") and not any(read in name for read in reads)),
    )


def hibernate(cluster: Cluster, numbers: range) -> None:
    """Ensembles that were founded, and are hibernated: all their objects are there, and no pod."""
    kind = {"apiVersion": "zookeeper.ensemble.rs/v1alpha1", "kind": "ZooKeeperEnsemble"}
    names = [f"idle-{number}" for number in numbers]
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMES}})
    cluster.apply(*({**kind, "metadata": {"name": name, "namespace": NAMES}, "spec": {"replicas": 0}} for name in names))
    for name in names:
        status = {"ensembleId": str(uuid.uuid4()), "bootstrap": {"phase": "Complete", "voters": [1, 2, 3], "volumes": {}}}
        cluster.kubectl("patch", "zke", name, "-n", NAMES, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))


def settled(cluster: Cluster, count: int) -> bool:
    """Whether each has its StatefulSet and says that it is hibernated."""
    resources = cluster.items("zke", "-n", NAMES)
    said = [c["reason"] for resource in resources for c in resource.get("status", {}).get("conditions", []) if c["type"] == "Ready"]
    return said == ["Hibernated"] * count and len(cluster.items("statefulsets", "-n", NAMES)) == count


@case("E34 two hundred ensembles at rest")
def many(world: World) -> str:
    """Measured with one ensemble and with two hundred."""
    said = []
    try:
        for first, count in ((0, 1), (1, ENSEMBLES)):
            hibernate(world.cluster, range(first, count))
            wait_for(f"{count} ensembles to be hibernated", SETTLE_SECONDS, lambda count=count: settled(world.cluster, count), every=2)
            time.sleep(QUIET_SECONDS / 4)
            before = cost(world)
            time.sleep(QUIET_SECONDS)
            after = cost(world)
            said.append(f"{count}: {after.since(before)}")
            assert after.memory_mib <= MEMORY_MIB_MAX, said
            assert after.writes - before.writes <= WRITES_MAX, said
    finally:
        world.cluster.kubectl("delete", "zke", "--all", "-n", NAMES, "--timeout=300s", timeout=310)
        world.cluster.kubectl("delete", "namespace", NAMES, "--wait=false")
    assert world.operator.pods()[0]["status"]["containerStatuses"][0]["restartCount"] == 0, "the operator died"
    return "; ".join(said)


@case("E31 the operator is upgraded")
def upgraded(world: World) -> str:
    """Another image of the operator takes over some ensembles that run: not one pod, StatefulSet or claim of theirs is touched."""
    cluster = world.cluster
    image = another_tag(cluster)
    with contextlib.ExitStack() as stack:
        ensembles = [stack.enter_context(world.ensemble(f"e31-{number}", 1)) for number in range(UPGRADED)]
        for ensemble in ensembles:
            ensemble.wait_ready()
        before = [untouched(ensemble) for ensemble in ensembles]
        try:
            cluster.kubectl("set", "image", world.operator.reference(), "-n", NAMESPACE, f"operator={image}")
            world.operator.wait_ready()
            wait_for("the old operator to be gone", SETTLE_SECONDS, lambda: len(world.operator.pods()) == 1)
            time.sleep(QUIET_SECONDS / 2)
            after = [untouched(ensemble) for ensemble in ensembles]
        finally:
            cluster.kubectl("set", "image", world.operator.reference(), "-n", NAMESPACE, f"operator={build.IMAGE}")
            world.operator.wait_ready()
        assert after == before, f"before {before}, after {after}"
        return f"{len(ensembles)} ensembles, none touched by {image}"


def untouched(ensemble: Ensemble) -> tuple[dict[str, str], int, int]:
    """What an upgrade must leave alone: pods, the StatefulSet's generation, restarts."""
    generation = ensemble.cluster.get("statefulset", ensemble.name, "-n", ensemble.namespace)["metadata"]["generation"]
    return ensemble.pod_uids(), generation, ensemble.restarts()


def another_tag(cluster: Cluster) -> str:
    """The image under another tag, on every node."""
    image = f"{build.IMAGE.split(':')[0]}:another"
    cluster.docker("tag", build.IMAGE, image)
    cluster.load(image)
    return image
