"""The charts: linted, checked by a real API server and kubeconform, installed over manifests/, upgraded, and removed."""

import tempfile
import time
from pathlib import Path

from harness import conform, helm
from harness.cluster import Cluster
from harness.ensemble import Ensemble
from harness.helm import Helm
from harness.runner import case
from harness.world import World

NAMESPACE, SYSTEM = "case-charts", "case-charts-system"
IMAGE = ("image.tag=dev",)
SMALL = (
    *("spec.resources.requests.cpu=50m", "spec.resources.requests.memory=128Mi", "spec.resources.limits.memory=512Mi"),
    *("spec.storage.data.size=1Gi", "spec.storage.txnLog.size=1Gi"),
)
# Values of the operator's chart that change what is made.
OTHERS = "policies.operators={team-b:zookeeper-operator,team-c:zookeeper-operator}"
VARIANTS = ((OTHERS,), ("watchNamespace=default", "replicas=1"), ("policies.enabled=false", "crds.keep=false", "podDisruptionBudget.enabled=false"))
REFUSED = (
    (helm.OPERATOR, "replicas=9", "replicas"),
    (helm.OPERATOR, "log.format=xml", "format"),
    (helm.OPERATOR, "replica=2", "replica"),
    (helm.OPERATOR, "policies.operators={zookeeper-operator}", "operators"),
    (helm.ENSEMBLE, "spec.replicas=three", "replicas"),
    (helm.ENSEMBLE, "spec.storage.txnlog.size=8Gi", "txnlog"),
    (helm.ENSEMBLE, "name=Not_A_Name", "name"),
)


@case("charts: installed, upgraded, removed")
def charts(world: World) -> str:
    """The operator's chart takes over from manifests/, and gives back; ensembles stay. No hook, no other image."""
    cluster, program = world.cluster, Helm(world.cluster)
    checked = check(cluster, program)
    world.operator.scale(0)
    try:
        namespaces(cluster)
        start = time.monotonic()
        release = ("zookeeper-operator", helm.OPERATOR, "-n", SYSTEM, "--wait", f"--timeout={helm.WAIT_SECONDS}s")
        program.run("install", *release, "--take-ownership", settings=IMAGE)
        program.run("install", "zk", helm.ENSEMBLE, "-n", NAMESPACE, settings=["spec.replicas=3", *SMALL])
        ensemble = Ensemble(cluster, NAMESPACE, "zk")
        ensemble.wait_ready()
        ready = time.monotonic() - start
        with world.load(ensemble) as load:
            load.wait_for_writes(50, 60)
            program.run("upgrade", *release, settings=[*IMAGE, "replicas=1", "log.level=debug"])
            program.run("upgrade", "zk", helm.ENSEMBLE, "-n", NAMESPACE, settings=["spec.replicas=5", *SMALL])
            grown = ensemble.wait_ready()
            program.run("uninstall", "zk", "-n", NAMESPACE)
            assert ensemble.resource(), "helm uninstall took the ensemble, and chart's keep is true"
            program.run("uninstall", "zookeeper-operator", "-n", SYSTEM, "--wait")
            load.wait_for_writes(50, 60)
            summary = load.finish()
        assert cluster.get("crd", "zookeeperensembles.zookeeper.ensemble.rs"), "helm uninstall took the CustomResourceDefinition"
        left = cluster.kubectl("get", "clusterroles,clusterrolebindings", "-l", "app.kubernetes.io/managed-by=Helm", "-o", "name")
        assert not left.strip(), f"left behind: {left}"
    finally:
        world.operator.install()
    agreement = ensemble.agree(5)
    ensemble.delete()
    cluster.kubectl("delete", "namespace", NAMESPACE, SYSTEM, "--wait=false")
    return f"{checked}; operator and three servers ready {ready:.0f} s after helm install, five {grown:.0f} s after the upgrade; {summary}; {agreement}"


def check(cluster: Cluster, program: Helm) -> str:
    """Lints both charts, has the API server and kubeconform check what they make, strictly, and sees wrong values refused. Returns how much was checked."""
    for chart in (helm.OPERATOR, helm.ENSEMBLE):
        program.run("lint", "--strict", chart)
    operators = [program.template("operator", helm.OPERATOR, "-n", "default", settings=settings) for settings in VARIANTS]
    for made in operators:
        cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "--server-side", "--force-conflicts", "-f", "-", stdin=made.encode())
    for other in ("team-b", "team-c"):
        assert operators[0].count(f"'system:serviceaccount:{other}:zookeeper-operator'") == 2, f"policies do not let the operator of {other} work"
    monitored = program.template("operator", helm.OPERATOR, settings=helm.MONITORED)
    for what in ("kind: PodMonitor", "kind: PrometheusRule", "alert: ZooKeeperQuorumLost", "sessions.json: |"):
        assert what in monitored, f"{what} is not made"
    ensemble = program.template("zk", helm.ENSEMBLE)
    cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=ensemble.encode())
    for chart, setting, word in REFUSED:
        said = program.refuses(chart, setting)
        assert word in said, f"{setting} is refused without naming {word}: {said}"
    with tempfile.TemporaryDirectory(prefix="zke-conform.") as folder:
        conforming = conform.check(Path(folder), [*operators, monitored, ensemble], cluster.log)
    count = sum(made.count("\nkind: ") for made in operators)
    return f"{count + 1} objects taken by the API server, {conforming} by kubeconform"


def namespaces(cluster: Cluster) -> None:
    """Both namespaces, which take restricted pods only."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply(*({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}} for name in (NAMESPACE, SYSTEM)))
