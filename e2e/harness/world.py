"""What a scenario is given: the cluster, the operator, an ensemble of three that is well, and namespaces of its own."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from . import load
from .cluster import Cluster
from .ensemble import Ensemble
from .operator import NAMESPACE, Operator
from .runner import Case

SHARED = "shared"


class World:
    """The world of the cluster's scenarios."""

    def __init__(self, cluster: Cluster):
        self.cluster = cluster
        self.operator = Operator(cluster)
        self._shared: Ensemble | None = None
        self._namespaces: list[str] = []
        self._failed = False

    def begin(self, case: Case) -> None:
        """Called before each scenario; after a failed one nothing of it is trusted."""
        if self._failed:
            self._repair()
        self._failed = False
        self._namespaces = []

    def keep(self, folder: Path) -> None:
        """Called after a failed scenario: keeps what there is to see."""
        self._failed = True
        self.cluster.collect(folder, [NAMESPACE, *self._namespaces])

    def three(self) -> Ensemble:
        """An ensemble of three servers, all well, shared by scenarios that leave it so."""
        self._remember(SHARED)
        if self._shared is None:
            self._namespace(SHARED)
            self._shared = Ensemble(self.cluster, SHARED, "three")
            self._shared.create(3)
        self._shared.wait_ready()
        return self._shared

    @contextlib.contextmanager
    def ensemble(self, name: str, replicas: int, spec: Mapping[str, Any] | None = None) -> Iterator[Ensemble]:
        """An ensemble in a namespace of its own, created now and deleted at the end."""
        namespace = re.sub(r"[^a-z0-9]+", "-", f"case-{name}".lower())
        self._remember(namespace)
        self._namespace(namespace)
        ensemble = Ensemble(self.cluster, namespace, name)
        ensemble.create(replicas, spec)
        yield ensemble
        ensemble.delete()
        self.cluster.kubectl("delete", "namespace", namespace, "--wait=false", "--ignore-not-found")

    def load(self, ensemble: Ensemble) -> contextlib.AbstractContextManager[load.Load]:
        """A load on an ensemble, through its client Service."""
        return load.running(ensemble.hosts())

    def _namespace(self, name: str) -> None:
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})

    def _remember(self, namespace: str) -> None:
        if namespace not in self._namespaces:
            self._namespaces.append(namespace)

    def _repair(self) -> None:
        """Nodes up and schedulable, the operator whole, and the ensembles of the failed scenario gone."""
        for node in self.cluster.nodes():
            if self.cluster.docker("inspect", "--format", "{{.State.Running}}", node).strip() != "true":
                self.cluster.start_node(node)
        self.cluster.kubectl("uncordon", "-l", "kubernetes.io/os=linux")
        self.operator.set_failpoint(None)
        self.clear()

    def clear(self) -> None:
        """The ensembles of the scenario are gone, and their volumes."""
        for namespace in self._namespaces:
            for resource in self.cluster.items("zke", "-n", namespace):
                Ensemble(self.cluster, namespace, resource["metadata"]["name"]).delete()
        if SHARED in self._namespaces:
            self._shared = None
