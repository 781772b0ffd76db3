"""`spec.monitoring` on a cluster without and with the kinds of the Prometheus operator, and a Prometheus that scrapes its pods."""

import json
import os
import subprocess
from pathlib import Path

from harness import conform, dashboards, helm, pictures, prometheus
from harness.cluster import Cluster
from harness.ensemble import Ensemble
from harness.helm import Helm
from harness.runner import case
from harness.shell import wait_for
from harness.world import World

GROUP = "monitoring.coreos.com"
WANTED = {"podMonitor": True, "rules": True, "dashboard": True, "labels": {"release": "prometheus"}}
SECONDS = 120
ALERT_SECONDS = 240
SEEN_SECONDS = 120.0


@case("monitoring: what Prometheus and Grafana are given")
def monitoring(world: World) -> str:
    """The condition tells of what the cluster lacks; the objects come with it, and go when they are not asked for; the alerts made for this ensemble fire."""
    cluster = world.cluster
    with world.ensemble("watched", 3, {"monitoring": WANTED, "config": {"snapCount": 100}}) as ensemble:
        ensemble.wait_ready()
        wait_for("the condition to say what is missing", SECONDS, lambda: ensemble.condition("MonitoringApplied").get("reason") == "KindUnusable", every=1)
        told = ensemble.condition("MonitoringApplied")["message"]
        assert f"this cluster has no PodMonitor ({GROUP}/v1)" in told, told
        try:
            cluster.apply(*conform.monitoring_definitions())
            wait_for("what is asked for to be there", SECONDS, lambda: ensemble.is_true("MonitoringApplied"), every=1)
            rules = rules_of(cluster, ensemble)
            for_all(cluster)
            alerts = watched(world, ensemble, rules)
            cluster.kubectl("patch", "zke", ensemble.name, "-n", ensemble.namespace, "--type=merge", "-p", '{"spec":{"monitoring":null}}')
            wait_for("all of it to be gone", SECONDS, lambda: not left(cluster, ensemble) and not ensemble.condition("MonitoringApplied"), every=1)
        finally:
            cluster.kubectl("delete", "crd", *(f"{plural}.{GROUP}" for plural in conform.MONITORING_KINDS), "--ignore-not-found")
    return f"told what is missing, made, and removed; {alerts}"


def rules_of(cluster: Cluster, ensemble: Ensemble) -> str:
    """The rules that the operator made, which promtool takes."""
    rule = cluster.get("prometheusrule", ensemble.name, "-n", ensemble.namespace)
    monitor = cluster.get("podmonitor", ensemble.name, "-n", ensemble.namespace)
    assert {made["metadata"]["labels"]["release"] for made in (rule, monitor)} == {"prometheus"}
    text = json.dumps(rule["spec"])
    done = subprocess.run(["promtool", "check", "rules", "/dev/stdin"], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for file in cluster.get("configmap", f"{ensemble.name}-dashboards", "-n", ensemble.namespace)["data"].values():
        assert json.loads(file)["panels"]
    return text


def for_all(cluster: Cluster) -> None:
    """What the chart and the folder offer for all ensembles is taken, too."""
    made = Helm(cluster).template("operator", helm.OPERATOR, "-n", "default", settings=helm.MONITORED)
    dry = ("apply", "--dry-run=server", "--validate=strict", "--server-side", "--force-conflicts")
    cluster.kubectl(*dry, "-f", "-", stdin=made.encode())
    cluster.kubectl(*dry, "-n", "default", "-k", str(prometheus.MONITORING))


def watched(world: World, ensemble: Ensemble, rules: str) -> str:
    """A Prometheus with these rules: every panel has data, nothing fires; then two of three servers are gone."""
    cluster = world.cluster
    variables = {"namespace": ensemble.namespace, "ensemble": ensemble.name, "pod": ensemble.leader()}
    folder = Path(cluster.log).parent / "prometheus"
    with prometheus.running(folder, prometheus.pods(folder), prometheus.find(cluster, folder), rules=rules) as seen:
        with world.load(ensemble) as load:
            load.wait_for_writes(600, SECONDS)
            wait_for("figures of a while", SECONDS, lambda: len(seen.range('up{ensemble="watched"}', SEEN_SECONDS, 1)[0][1]) > 40, every=2)
            count = sum(dashboards.check(seen, name, variables) for name in dashboards.NAMES)
            if pictured := os.environ.get("PICTURES"):
                for name in dashboards.NAMES:
                    pictures.draw(seen, name, variables, 60, Path(pictured) / f"{name}.svg")
            firing = seen.query('ALERTS{alertstate="firing"}')
            assert not firing, f"nothing is wrong, and alerts fire: {firing}"
            load.finish()
        with cluster.cordoned(*(ensemble.node_of(pod) for pod in ensemble.pods())):
            ensemble.delete_pods(*ensemble.followers())
            for alert in ("ZooKeeperNoLeader", "ZooKeeperQuorumLost"):
                prometheus.fires(seen, alert, ALERT_SECONDS, ensemble=ensemble.name, severity="critical")
        ensemble.wait_ready()
        prometheus.find(cluster, folder)
        wait_for("the alerts to end", SECONDS, lambda: not seen.firing("ZooKeeperQuorumLost") and not seen.firing("ZooKeeperNoLeader"), every=1)
    return f"{count} panels have data, and no alert fired; without a majority ZooKeeperNoLeader and ZooKeeperQuorumLost did"


def left(cluster: Cluster, ensemble: Ensemble) -> list[str]:
    """What is left of it."""
    objects = (("podmonitor", ensemble.name), ("prometheusrule", ensemble.name), ("configmap", f"{ensemble.name}-dashboards"))
    return [kind for kind, name in objects if cluster.kubectl("get", kind, name, "-n", ensemble.namespace, "--ignore-not-found", "-o", "name").strip()]
