"""A ZooKeeperEnsemble on the cluster: the resource, its pods, and its servers as their admin ports show them."""

import time
from collections.abc import Mapping
from typing import Any

from . import admin
from .cluster import Cluster
from .shell import wait_for

CLIENT_PORT, ADMIN_PORT = 2181, 8080
READY_SECONDS = 240
GONE_SECONDS = 180
ANSWER_SECONDS = 60


class Ensemble:
    """One ensemble by namespace and name."""

    def __init__(self, cluster: Cluster, namespace: str, name: str):
        self.cluster, self.namespace, self.name = cluster, namespace, name

    # The resource

    def create(self, replicas: int, spec: Mapping[str, Any] | None = None) -> None:
        """Creates the resource."""
        small = {"resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}}
        volumes = {"storage": {"data": {"size": "1Gi"}, "txnLog": {"size": "1Gi"}}}
        metadata = {"name": self.name, "namespace": self.namespace}
        body = {"replicas": replicas, **small, **volumes, **(spec or {})}
        self.cluster.apply({"apiVersion": "zookeeper.ensemble.rs/v1alpha1", "kind": "ZooKeeperEnsemble", "metadata": metadata, "spec": body})

    def resource(self) -> dict[str, Any]:
        """The resource as it is."""
        return self.cluster.get("zke", self.name, "-n", self.namespace)

    def status(self) -> dict[str, Any]:
        """The resource's status."""
        return self.resource().get("status", {})

    def condition(self, kind: str) -> dict[str, Any]:
        """A condition by type; an empty one when the operator has not reported it."""
        return next((c for c in self.status().get("conditions", []) if c["type"] == kind), {})

    def is_true(self, kind: str) -> bool:
        """Whether a condition is True."""
        return self.condition(kind).get("status") == "True"

    def is_answered(self) -> bool:
        """Whether the status is the operator's answer to the last edit."""
        resource = self.resource()
        return resource.get("status", {}).get("observedGeneration") == resource["metadata"]["generation"]

    def wait_ready(self, seconds: float = READY_SECONDS) -> float:
        """Waits until the operator has answered the last edit, the resource is Ready and every pod is, and returns how long that took."""
        start = time.monotonic()
        replicas = self.resource()["spec"]["replicas"]

        def ready() -> bool:
            return self.is_answered() and self.is_true("Ready") and len(self.ready_pods()) == replicas

        try:
            wait_for(f"{self.name} to be Ready", seconds, ready, every=1)
        except Exception as error:
            states = [f"{c['type']}={c['status']} ({c.get('reason')}: {c.get('message')})" for c in self.status().get("conditions", [])]
            raise AssertionError(f"{error}; conditions: {'; '.join(states) or 'none'}; ready pods: {', '.join(self.ready_pods()) or 'none'}") from error
        return time.monotonic() - start

    def delete(self) -> None:
        """Deletes the resource with its pods and volumes, and waits until they are gone."""
        self.cluster.kubectl("delete", "zke", self.name, "-n", self.namespace, "--ignore-not-found", "--timeout=120s", timeout=130)
        wait_for(f"the pods of {self.name} to be gone", GONE_SECONDS, lambda: not self.pods())
        self.cluster.kubectl("delete", "pvc", "-n", self.namespace, "-l", self._selector(), "--timeout=120s", timeout=130)

    # Pods and volumes

    def pods(self) -> dict[str, dict[str, Any]]:
        """The pods by name."""
        return {pod["metadata"]["name"]: pod for pod in self.cluster.items("pods", "-n", self.namespace, "-l", self._selector())}

    def ready_pods(self) -> list[str]:
        """Names of the pods that are ready and not being deleted."""
        return [name for name, pod in self.pods().items() if pod_ready(pod)]

    def pod_uids(self) -> dict[str, str]:
        """Each pod's UID: a pod that was replaced has another."""
        return {name: pod["metadata"]["uid"] for name, pod in self.pods().items()}

    def restarts(self) -> int:
        """Container restarts of all pods."""
        return sum(status["restartCount"] for pod in self.pods().values() for status in pod["status"].get("containerStatuses", []))

    def delete_pods(self, *pods: str, force: bool = False) -> None:
        """Deletes pods: gracefully (SIGTERM and its grace period), or at once."""
        how = ["--force", "--grace-period=0"] if force else []
        self.cluster.kubectl("delete", "pod", *pods, "-n", self.namespace, "--wait=false", *how)

    def delete_volumes(self, pod: str) -> None:
        """Marks a pod's claims for deletion; they go when the pod does."""
        claims = [v["persistentVolumeClaim"]["claimName"] for v in self.pods()[pod]["spec"]["volumes"] if "persistentVolumeClaim" in v]
        self.cluster.kubectl("annotate", "pvc", *claims, "-n", self.namespace, "zookeeper.ensemble.rs/allow-deletion=true", "--overwrite")
        self.cluster.kubectl("delete", "pvc", *claims, "-n", self.namespace, "--wait=false")

    def node_of(self, pod: str) -> str:
        """The node that a pod runs on."""
        return self.pods()[pod]["spec"]["nodeName"]

    def wait_replaced(self, before: Mapping[str, str], *pods: str, seconds: float = READY_SECONDS) -> None:
        """Waits until pods have other UIDs than before."""

        def replaced() -> bool:
            now = self.pod_uids()
            return all(pod in now and now[pod] != before[pod] for pod in pods)

        wait_for(f"{', '.join(pods)} to be replaced", seconds, replaced)

    # Servers

    def hosts(self) -> str:
        """What a client connects to: the ensemble's client Service."""
        service = self.cluster.get("service", f"{self.name}-client", "-n", self.namespace)
        return f"{service['spec']['clusterIP']}:{CLIENT_PORT}"

    def servers(self) -> dict[str, admin.Status | None]:
        """Each pod's answer on its admin port; None where there is none."""
        addresses = {name: pod["status"].get("podIP") for name, pod in self.pods().items()}
        return {name: admin.status(f"{address}:{ADMIN_PORT}") if address else None for name, address in addresses.items()}

    def leader(self, seconds: float = READY_SECONDS) -> str:
        """The pod of the leader."""

        def leading() -> str | None:
            return next((name for name, answer in self.servers().items() if answer and answer["role"] in ("leading", "standalone")), None)

        return wait_for(f"a leader of {self.name}", seconds, leading)

    def followers(self) -> list[str]:
        """The pods of the others, in order."""
        leader = self.leader()
        return sorted(name for name in self.pods() if name != leader)

    def has_leader(self) -> bool:
        """Whether a server leads now."""
        return any(answer and answer["role"] in ("leading", "standalone") for answer in self.servers().values())

    def agree(self, servers: int) -> admin.Agreement:
        """Waits until that many servers have one leader, one zxid and one digest."""
        return admin.agree(lambda: list(self.servers().values()), servers)

    def identities(self) -> dict[str, tuple[Any, Any, Any]]:
        """Each server's myid, ensemble and volume, once all of them answer."""

        def answers() -> dict[str, Any]:
            servers = self.servers()
            return servers if all(servers.values()) else {}

        servers = wait_for(f"each server of {self.name} to answer", ANSWER_SECONDS, answers)
        return {name: (answer["myid"], answer["ensembleId"], answer["volumeId"]) for name, answer in servers.items()}

    def _selector(self) -> str:
        return f"app.kubernetes.io/instance={self.name}"


def pod_ready(pod: Mapping[str, Any]) -> bool:
    """Whether a pod is ready and not being deleted."""
    conditions = pod["status"].get("conditions", [])
    return "deletionTimestamp" not in pod["metadata"] and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

