"""The operator on the cluster: installing it, stopping it, making it die on purpose."""

from typing import Any

from . import places
from .cluster import Cluster
from .shell import wait_for

NAMESPACE = "zookeeper-system"
READY_SECONDS = 180
FAILPOINT = "OPERATOR_FAILPOINT"


class Operator:
    """The Deployment of manifests/."""

    def __init__(self, cluster: Cluster):
        self.cluster = cluster

    def install(self) -> None:
        """Applies manifests/, whoever else has set what they say, and waits until the operator is ready."""
        self.cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", str(places.REPOSITORY / "manifests"))
        self.wait_ready()

    def wait_ready(self) -> None:
        """Waits until the Deployment has what it wants."""
        self.cluster.kubectl("rollout", "status", self.reference(), "-n", NAMESPACE, f"--timeout={READY_SECONDS}s", timeout=READY_SECONDS + 10)

    def reference(self) -> str:
        """The Deployment as kubectl names it."""
        deployments = self.cluster.items("deployments", "-n", NAMESPACE)
        assert len(deployments) == 1, f"expected one Deployment in {NAMESPACE}, found {len(deployments)}"
        return f"deployment/{deployments[0]['metadata']['name']}"

    def pods(self) -> list[dict[str, Any]]:
        """Its pods."""
        return self.cluster.items("pods", "-n", NAMESPACE)

    def nodes(self) -> set[str]:
        """Where its pods run."""
        return {pod["spec"].get("nodeName", "") for pod in self.pods()}

    def scale(self, replicas: int) -> None:
        """Stops it (0) or starts it (1), and waits until that is so."""
        self.cluster.kubectl("scale", self.reference(), "-n", NAMESPACE, f"--replicas={replicas}")
        if replicas == 0:
            wait_for("the operator to be gone", READY_SECONDS, lambda: not self.pods())
        else:
            self.wait_ready()

    def restart(self) -> None:
        """Its pod dies at once and another takes over."""
        before = {pod["metadata"]["uid"] for pod in self.pods()}
        names = [pod["metadata"]["name"] for pod in self.pods()]
        self.cluster.kubectl("delete", "pod", *names, "-n", NAMESPACE, "--force", "--grace-period=0")
        wait_for("another operator pod", READY_SECONDS, lambda: {pod["metadata"]["uid"] for pod in self.pods()} - before)
        self.wait_ready()

    def set_failpoint(self, name: str | None) -> None:
        """Makes it exit at a step, or never; takes effect with a new pod, which this waits for."""
        setting = f"{FAILPOINT}={name}" if name else f"{FAILPOINT}-"
        self.scale(0)
        self.cluster.kubectl("set", "env", self.reference(), "-n", NAMESPACE, setting)
        self.scale(1)

    def replace(self, image: str, **settings: str | None) -> None:
        """Another image takes over, with variables of the environment set, or unset where they are None."""
        self.scale(0)
        self.cluster.kubectl("set", "image", self.reference(), "-n", NAMESPACE, f"operator={image}")
        words = [f"{name}={value}" if value is not None else f"{name}-" for name, value in settings.items()]
        if words:
            self.cluster.kubectl("set", "env", self.reference(), "-n", NAMESPACE, *words)
        self.scale(1)

    def deaths(self) -> list[dict[str, Any]]:
        """How its containers ended, those that were restarted."""
        states = [status for pod in self.pods() for status in pod["status"].get("containerStatuses", [])]
        ends = [status.get("lastState", {}).get("terminated") or status.get("state", {}).get("terminated") for status in states]
        return [end for end in ends if end]
