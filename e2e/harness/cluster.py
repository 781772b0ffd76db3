"""A kind cluster: one control plane and three workers in three zones; kubectl; faults of nodes; the way to its pods."""

import contextlib
import ipaddress
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from . import node_image, places, prerequisites, versions
from .engine import Engine
from .shell import CommandFailed, run, wait_for

ZONES = ("a", "b", "c")
READY_SECONDS = 300
KUBECTL_SECONDS = 120

# A node that does not report is given up by the control plane after this: sooner than by default, later than a busy machine is late.
NODE_GRACE_SECONDS = 24

# Each cluster has networks of its own, so that one can be reached by routes while another is.
PREFIXES = {"zke": 244, "zke-test": 245}


class Cluster:
    """One kind cluster on an engine, by name."""

    def __init__(self, engine: Engine, name: str, log: Path):
        self.engine, self.name, self.log = engine, name, log
        self.kubeconfig = places.CACHE / f"kubeconfig-{name}"
        prefix = PREFIXES[name]
        self.pod_network, self.service_network = f"10.{prefix}.0.0/16", f"10.{prefix - 100}.0.0/16"
        self.kind = node_image.kind(log)
        self.env = {**engine.env, "KUBECONFIG": str(self.kubeconfig)}
        self.kubectl_program = "kubectl"

    # Life

    def create(self) -> None:
        """Creates the cluster anew, waits until its nodes are ready, and opens the way to its pods."""
        self.delete()
        image = versions.NODE_IMAGE
        if self.engine.makes_node_image:
            image = node_image.build(self.engine, self.log)
        config = json.dumps(self._config()).encode()  # JSON is YAML
        command = [*self.engine.enter, self.kind, "create", "cluster", "--name", self.name, "--image", image, "--config", "-"]
        run([*command, "--kubeconfig", self.kubeconfig, "--wait", f"{READY_SECONDS}s"], env=self.engine.env, stdin=config, log=self.log)
        self.adopt()
        self.kubectl("wait", "--for=condition=Ready", "nodes", "--all", f"--timeout={READY_SECONDS}s", timeout=READY_SECONDS + 10)
        wait_for("the default service account", READY_SECONDS, lambda: self.kubectl("get", "serviceaccount", "default"))
        self.route()

    def adopt(self) -> None:
        """Readies this object for a cluster that was created by another process."""
        if self.engine.makes_node_image:
            self.kubectl_program = str(node_image.kubectl(self.log))
        else:
            prerequisites.require("kubectl")

    def exists(self) -> bool:
        """Whether the engine has this cluster's nodes."""
        return bool(self.nodes())

    def delete(self) -> None:
        """Deletes the cluster, or what an interrupted run left of it."""
        self._unroute()
        run([*self.engine.enter, self.kind, "delete", "cluster", "--name", self.name, "--kubeconfig", self.kubeconfig], env=self.engine.env, log=self.log)
        self.kubeconfig.unlink(missing_ok=True)

    def load(self, image: str) -> None:
        """Gives an image of the engine to every node."""
        run([*self.engine.enter, self.kind, "load", "docker-image", image, "--name", self.name], env=self.engine.env, log=self.log)

    def _config(self) -> dict[str, Any]:
        grace = f"kind: ClusterConfiguration\ncontrollerManager:\n  extraArgs:\n    node-monitor-grace-period: {NODE_GRACE_SECONDS}s\n"
        return {
            "kind": "Cluster",
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "networking": {"podSubnet": self.pod_network, "serviceSubnet": self.service_network},
            "nodes": [
                {"role": "control-plane", "kubeadmConfigPatches": [grace]},
                *({"role": "worker", "labels": {"topology.kubernetes.io/zone": f"zone-{zone}"}} for zone in ZONES),
            ],
        }

    # Kubernetes

    def kubectl(self, *arguments: str, stdin: bytes | None = None, timeout: float = KUBECTL_SECONDS) -> str:
        """Runs kubectl and returns what it printed. Raises CommandFailed."""
        return run([*self.engine.enter, self.kubectl_program, *arguments], env=self.env, stdin=stdin, timeout=timeout)

    def get(self, *arguments: str) -> Any:
        """Objects as the API server has them; an empty dictionary for one that is not there."""
        text = self.kubectl("get", *arguments, "--ignore-not-found", "-o", "json")
        return json.loads(text) if text.strip() else {}

    def items(self, *arguments: str) -> list[Any]:
        """The objects of a list."""
        return self.get(*arguments).get("items", [])

    def apply(self, *objects: dict[str, Any]) -> None:
        """Applies objects."""
        self.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}).encode())

    # Nodes

    def docker(self, *arguments: str) -> str:
        """Runs docker against the engine."""
        return run(["docker", *arguments], env=self.engine.env)

    def nodes(self) -> list[str]:
        """The names of the cluster's nodes, running or not."""
        return self.docker("ps", "-a", "--filter", f"label=io.x-k8s.kind.cluster={self.name}", "--format", "{{.Names}}").split()

    def on_node(self, node: str, *command: str) -> str:
        """Runs a program in a node."""
        return self.docker("exec", node, *command)

    def processes(self, node: str, pod_uid: str, program: str) -> list[str]:
        """The ids, in the node, of a pod's processes that run a program. A cgroup carries the pod's UID, with either sign between its parts."""
        find = f"grep -l -e {pod_uid} -e {pod_uid.replace('-', '_')} /proc/[0-9]*/cgroup; true"
        ids = [file.split("/")[2] for file in self.on_node(node, "sh", "-c", find).split()]
        return [number for number in ids if self.on_node(node, "cat", f"/proc/{number}/comm").strip() == program]

    @contextlib.contextmanager
    def cordoned(self, *nodes: str) -> Iterator[None]:
        """Nodes take no new pods meanwhile: one whose volume is there waits."""
        self.kubectl("cordon", *nodes)
        try:
            yield
        finally:
            with contextlib.suppress(CommandFailed):  # what the scenario found is said, not this
                self.kubectl("uncordon", *nodes)

    def kill_node(self, node: str) -> None:
        """The node loses its power."""
        self.docker("kill", node)

    def start_node(self, node: str) -> None:
        """The node comes back and is ready."""
        self.docker("start", node)
        self.kubectl("wait", "--for=condition=Ready", f"node/{node}", f"--timeout={READY_SECONDS}s", timeout=READY_SECONDS + 10)
        self.route()

    # The way to the pods

    def route(self) -> None:
        """Routes to each node's pods through it, and to Services through the control plane. Again after a node came back: its address may be new."""
        if not self.engine.enter and os.geteuid() != 0:
            raise prerequisites.Missing("pods are reached by routes through the nodes: run the cluster level as root")
        for destination, via in self._routes().items():
            run([*self.engine.enter, "ip", "route", "replace", destination, "via", via])

    def _routes(self) -> dict[str, str]:
        routes = {}
        for node in self.items("nodes"):
            addresses = [address["address"] for address in node["status"]["addresses"] if address["type"] == "InternalIP"]
            via = next(address for address in addresses if ipaddress.ip_address(address).version == 4)
            routes[node["spec"]["podCIDR"]] = via
            if "node-role.kubernetes.io/control-plane" in node["metadata"].get("labels", {}):
                routes[self.service_network] = via
        return routes

    def _unroute(self) -> None:
        with contextlib.suppress(CommandFailed):
            for network in (self.pod_network, self.service_network):
                run([*self.engine.enter, "ip", "route", "flush", "root", network])

    # What remains of a failure

    def collect(self, folder: Path, namespaces: Sequence[str]) -> None:
        """Keeps objects, events and logs of some namespaces, the nodes' state and their journals. Never raises: it is called when things are broken."""
        folder.mkdir(parents=True, exist_ok=True)

        def keep(file: str, *arguments: str) -> None:
            with contextlib.suppress(Exception):
                (folder / file).write_text(self.kubectl(*arguments))

        keep("nodes.txt", "describe", "nodes")
        for namespace in namespaces:
            keep(f"{namespace}-objects.yaml", "get", "zke,sts,pods,pvc,svc,cm,pdb,leases", "-n", namespace, "-o", "yaml")
            keep(f"{namespace}-events.txt", "get", "events", "-n", namespace, "--sort-by=.lastTimestamp")
            keep(f"{namespace}-pods.txt", "describe", "pods", "-n", namespace)
            with contextlib.suppress(Exception):
                for pod in self.items("pods", "-n", namespace):
                    name = pod["metadata"]["name"]
                    keep(f"{namespace}-{name}.log", "logs", "-n", namespace, name, "--timestamps")
                    keep(f"{namespace}-{name}-previous.log", "logs", "-n", namespace, name, "--timestamps", "--previous")
        for node in self.nodes():
            with contextlib.suppress(Exception):
                (folder / f"{node}-journal.txt").write_text(self.on_node(node, "journalctl", "--no-pager", "-n", "2000"))
