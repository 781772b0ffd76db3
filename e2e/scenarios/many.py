"""E34: many ensembles at rest cost the operator little: memory, processor time and API writes, which it counts."""

import json
import time
import uuid
from dataclasses import dataclass

from harness import admin
from harness.cluster import Cluster
from harness.ensemble import Ensemble
from harness.operator import NAMESPACE
from harness.runner import case
from harness.shell import wait_for
from harness.world import World

ENSEMBLES = 200
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
    """Reads the operator's cgroup on its node, and its own figures."""
    (pod,) = world.operator.pods()
    uid = pod["metadata"]["uid"]
    folder = world.cluster.on_node(pod["spec"]["nodeName"], "sh", "-c", f"find /sys/fs/cgroup -type d -name '*{uid.replace('-', '_')}*' -o -type d -name '*{uid}*'").split()[0]
    read = lambda file: world.cluster.on_node(pod["spec"]["nodeName"], "cat", f"{folder}/{file}")  # noqa: E731
    statistics = dict(line.split() for line in read("memory.stat").splitlines())
    cpu = dict(line.split() for line in read("cpu.stat").splitlines())
    _, text = admin.request(f"{pod['status']['podIP']}:{PORT}", "/metrics")
    figures = [line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]
    reads = ('step="wait"', 'step="report"')
    return Cost(
        int(statistics["anon"]) / 2**20,
        int(cpu["usage_usec"]) / 1e6,
        sum(float(value) for name, value in figures if name.startswith("zookeeper_operator_reconcile_total")),
        sum(float(value) for name, value in figures if name.startswith("zookeeper_operator_steps_total") and not any(read in name for read in reads)),
    )


def hibernate(cluster: Cluster, count: int) -> None:
    """Ensembles that were founded, and are hibernated: all their objects are there, and no pod."""
    kind = {"apiVersion": "zookeeper.ensemble.rs/v1alpha1", "kind": "ZooKeeperEnsemble"}
    names = [f"idle-{number}" for number in range(count)]
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
        for count in (1, ENSEMBLES):
            hibernate(world.cluster, count)
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
