"""What an ensemble meets on a bad day: no DNS, a leader that stands still, a leader that moves in the middle of a roll, two operators at once, and one whose
watches are late (E4, E13, E21, E22, E23)."""

import contextlib
import json
import time
from collections.abc import Iterator

from harness import late
from harness.cluster import Cluster
from harness.ensemble import Ensemble
from harness.operator import NAMESPACE
from harness.runner import case
from harness.shell import wait_for
from harness.world import World

from .e01_create import founded
from .rolling import STRATEGY, Roll, is_done, patch
from .scaling import DELETED, ask_for, make_lead, scale, volumes

DNS = ("deployment/coredns", "-n", "kube-system")
DNS_SECONDS = 120
STANDSTILL_SECONDS = 30
CRASHES_MAX = 3
SECOND = "zookeeper-second"
LATE_SECONDS = 15
# An operator that has read the spec a moment before an edit acts on it; then it has to know.
GUARD_SECONDS = 2


@contextlib.contextmanager
def without_dns(cluster: Cluster) -> Iterator[None]:
    """The cluster's DNS is gone, and back at the end."""
    cluster.kubectl("scale", *DNS, "--replicas=0")
    try:
        wait_for("the DNS to be gone", DNS_SECONDS, lambda: not cluster.items("pods", "-n", "kube-system", "-l", "k8s-app=kube-dns"))
        yield
    finally:
        cluster.kubectl("scale", *DNS, "--replicas=2")
        cluster.kubectl("rollout", "status", *DNS, f"--timeout={DNS_SECONDS}s", timeout=DNS_SECONDS + 10)


@case("E4 no DNS while an ensemble is founded and restarted")
def no_dns(world: World) -> str:
    """Names that do not resolve are waited for; nothing loops, and all is well when the DNS is back."""
    with contextlib.ExitStack() as stack:
        with without_dns(world.cluster):
            ensemble = stack.enter_context(world.ensemble("e4", 3))
            wait_for("three pods", DNS_SECONDS, lambda: len(ensemble.pods()) == 3)
            time.sleep(STANDSTILL_SECONDS)
        took = ensemble.wait_ready()
        identity = founded(ensemble, 3)
        with world.load(ensemble) as load:
            load.wait_for_writes(100, 60)
            with without_dns(world.cluster):
                uids = ensemble.pod_uids()
                ensemble.delete_pods(*uids)
                ensemble.wait_replaced(uids, *uids)
                time.sleep(STANDSTILL_SECONDS)
            again = ensemble.wait_ready()
            load.wait_for_writes(100, 120)
            summary = load.finish()
        agreement = ensemble.agree(3)
        restarts = ensemble.restarts()
        assert restarts <= CRASHES_MAX, f"containers restarted {restarts} times"
        return f"Ready {took:.0f} s after the DNS came back as {identity[:8]}, and {again:.0f} s after a restart without it; {restarts} restarts; {summary}; {agreement}"


@case("E13 the leader moves in the middle of a roll")
def moving_leader(world: World) -> str:
    """After the first pod was replaced somebody moves the leader: the rest is judged afresh, each pod is replaced once, one at a time."""
    with world.ensemble("e13", 3, STRATEGY) as ensemble:
        ensemble.wait_ready()
        roll = Roll(ensemble)
        roll.look()
        with world.load(ensemble) as load:
            load.wait_for_writes(100, 60)
            patch(ensemble, {"config": {"snapCount": 90001}})
            roll.until("the first pod to be replaced", lambda: roll.replaced and len(ensemble.ready_pods()) == 3)
            moved = roll.replaced[0]
            make_lead(ensemble, moved)
            roll.until("the roll to end", lambda: len(roll.replaced) >= 3 and is_done(ensemble))
            load.wait_for_writes(100, 60)
            summary = load.finish()
        agreement = ensemble.agree(3)
        assert sorted(roll.replaced) == sorted(roll.uids), f"replaced {roll.replaced}"
        return f"{', '.join(roll.replaced)}, with {moved} made the leader after the first; {summary}; {agreement}"


@contextlib.contextmanager
def standstill(ensemble: Ensemble, pod: str) -> Iterator[None]:
    """The server's process is stopped, as by a machine that swaps or a hypervisor that pauses it, and goes on at the end."""
    cluster, node = ensemble.cluster, ensemble.node_of(pod)
    ours = cluster.processes(node, ensemble.pod_uids()[pod], "ensemble")
    assert ours, f"no process of {pod} on {node}"
    cluster.on_node(node, "kill", "-STOP", *ours)
    try:
        yield
    finally:
        cluster.on_node(node, "kill", "-CONT", *ours)


@case("E21 the leader stands still")
def leader_stands_still(world: World) -> str:
    """For 30 s: another leads, the old one learns of it when it goes on, and the operator touches nothing."""
    ensemble = world.three()
    uids, restarts, leader = ensemble.pod_uids(), ensemble.restarts(), ensemble.leader()
    with world.load(ensemble) as load:
        load.wait_for_writes(100, 60)
        with standstill(ensemble, leader):
            deadline = time.monotonic() + STANDSTILL_SECONDS
            took = load.wait_for_writes(50, STANDSTILL_SECONDS + 30)
            time.sleep(max(0.0, deadline - time.monotonic()))
            other = ensemble.leader()
            assert other != leader, f"{leader} stands still and leads"
        load.wait_for_writes(100, 60)
        ensemble.wait_ready()
        summary = load.finish()
    agreement = ensemble.agree(3)
    assert ensemble.pod_uids() == uids, "pods were replaced"
    assert ensemble.restarts() == restarts, "containers were restarted"
    return f"{leader} stood still, 50 more writes after {took:.0f} s under {other}; no pod touched; {summary}; {agreement}"


@contextlib.contextmanager
def second_operator(world: World) -> Iterator[None]:
    """Another operator whose lease is elsewhere: both believe that they alone look after the ensembles, as when clocks are wrong."""
    cluster = world.cluster
    kinds = "serviceaccounts,roles,rolebindings,deployments,clusterrolebindings"
    installed = cluster.items(kinds, "-n", NAMESPACE, "-l", "app.kubernetes.io/name=zookeeper-operator")
    copies = [json.loads(json.dumps(item).replace(NAMESPACE, SECOND)) for item in installed]
    for item in copies:
        everywhere = item["kind"] == "ClusterRoleBinding"
        name = SECOND if everywhere else item["metadata"]["name"]
        item["metadata"] = {"name": name, "labels": item["metadata"]["labels"], **({} if everywhere else {"namespace": SECOND})}
        item.pop("status", None)
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SECOND}}, *copies)
    deployment = next(f"deployment/{item['metadata']['name']}" for item in copies if item["kind"] == "Deployment")
    try:
        cluster.kubectl("rollout", "status", deployment, "-n", SECOND, f"--timeout={DNS_SECONDS}s", timeout=DNS_SECONDS + 10)
        yield
        assert all(status["restartCount"] == 0 for pod in cluster.items("pods", "-n", SECOND) for status in pod["status"]["containerStatuses"]), "the second operator died"
    finally:
        cluster.kubectl("delete", "namespace", SECOND, "--wait=false")
        cluster.kubectl("delete", "clusterrolebinding", SECOND, "--ignore-not-found")


@case("E22 two operators at once")
def two_operators(world: World) -> str:
    """Both scale and both roll the same ensemble: what one did the other finds done, and a conflict stops whoever is late."""
    with second_operator(world), world.ensemble("e22", 3, STRATEGY) as ensemble:
        ensemble.wait_ready()
        identity = founded(ensemble, 3)
        with world.load(ensemble) as load:
            load.wait_for_writes(100, 60)
            up, down = scale(ensemble, 5), scale(ensemble, 3)
            roll = Roll(ensemble)
            roll.look()
            patch(ensemble, {"config": {"snapCount": 90002}})
            roll.until("the roll to end", lambda: len(roll.replaced) >= 3 and is_done(ensemble))
            load.wait_for_writes(100, 60)
            summary = load.finish()
        agreement = ensemble.agree(3)
        assert sorted(roll.replaced) == sorted(roll.uids), f"replaced {roll.replaced}"
        assert ensemble.restarts() == 0, "containers were restarted"
        return f"founded once as {identity[:8]}, 5 in {up:.0f} s, 3 in {down:.0f} s, rolled {', '.join(roll.replaced)}; {summary}; {agreement}"


def kept(ensemble: Ensemble) -> dict[str, str]:
    """The UIDs of the claims that nobody has deleted."""
    items = ensemble.cluster.items("pvc", "-n", ensemble.namespace)
    return {item["metadata"]["name"]: item["metadata"]["uid"] for item in items if "deletionTimestamp" not in item["metadata"]}


@case("E23 watches are late while a size is taken back")
def late_watches(world: World) -> str:
    """Two, one and two again, sooner and later than the operator's watches tell: it deletes claims by what is, and none once the spec asks for their server again."""
    rounds = []
    with world.ensemble("e23", 2, DELETED) as ensemble, late.watches(world.cluster, LATE_SECONDS) as relay:
        ensemble.wait_ready()
        with world.load(ensemble) as load:
            load.wait_for_writes(100, 60)
            for part in (0.5, 1.0, 1.5, 2.5):
                before = volumes(ensemble)
                ask_for(ensemble, 1)
                time.sleep(part * LATE_SECONDS)
                ask_for(ensemble, 2)
                time.sleep(GUARD_SECONDS)
                left = kept(ensemble)
                took = scale(ensemble, 2, 1)
                time.sleep(LATE_SECONDS)
                assert left.items() <= kept(ensemble).items(), f"two servers were asked for again, and claims went: {left} were there, {kept(ensemble)} are"
                made = len(volumes(ensemble).items() - before.items())
                rounds.append(f"after {part * LATE_SECONDS:.1f} s two again in {took:.0f} s, {made} claims made anew")
                load.wait_for_writes(100, 60)
            summary = load.finish()
        agreement = ensemble.agree(2)
        assert relay.late > 0, "no watch went by the relay"
        return f"{'; '.join(rounds)}; {relay.late} pieces of watches came {LATE_SECONDS} s late; {summary}; {agreement}"
