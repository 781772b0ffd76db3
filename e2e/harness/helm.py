"""helm, and the charts of this repository."""

from collections.abc import Sequence
from pathlib import Path

from . import places, versions
from .cluster import Cluster
from .node_image import go_install
from .shell import CommandFailed, run

CHARTS = places.REPOSITORY / "charts"
OPERATOR, ENSEMBLE = CHARTS / "zookeeper-operator", CHARTS / "zookeeper-ensemble"
# Values with which the operator's chart makes everything for Prometheus and Grafana.
MONITORED = tuple(f"monitoring.{what}.enabled=true" for what in ("podMonitor", "rules", "dashboards"))
WAIT_SECONDS = 240


def program(log: Path) -> Path:
    """Builds helm, once."""
    return go_install("helm.sh/helm/v3/cmd/helm", versions.HELM, log)


class Helm:
    """helm on a cluster."""

    def __init__(self, cluster: Cluster):
        self.cluster, self.program = cluster, program(cluster.log)

    def run(self, *words: str | Path, settings: Sequence[str] = ()) -> str:
        """Runs helm with values set, and returns what it printed. Raises CommandFailed."""
        options = [word for setting in settings for word in ("--set", setting)]
        return run([*self.cluster.engine.enter, self.program, *map(str, words), *options], env=self.cluster.env, timeout=WAIT_SECONDS + 30)

    def template(self, name: str, chart: Path, *words: str, settings: Sequence[str] = ()) -> str:
        """What a chart makes. A helm that go has installed does not know for which Kubernetes it was made."""
        return self.run("template", name, chart, "--kube-version", versions.KUBERNETES, *words, settings=settings)

    def refuses(self, chart: Path, setting: str) -> str:
        """Checks that a chart does not take a value; returns why."""
        try:
            self.template("refused", chart, settings=[setting])
        except CommandFailed as error:
            return str(error)
        raise AssertionError(f"{chart.name} takes {setting}")
