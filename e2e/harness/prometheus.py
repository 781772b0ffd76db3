"""Debian's Prometheus, scraping servers once a second, with the alerts of this repository."""

import contextlib
import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import places
from .cluster import Cluster
from .prerequisites import require
from .processes import HOST, free_ports
from .shell import TimedOut, wait_for

MONITORING = places.REPOSITORY / "manifests" / "monitoring"
ALERTS = MONITORING / "alerts.yaml"
START_SECONDS = 30
SCRAPE_SECONDS = 1

Sample = tuple[dict[str, str], float]


@dataclass(frozen=True)
class Prometheus:
    """One that runs."""

    address: str

    def query(self, expression: str, at: float | None = None) -> list[Sample]:
        """The samples of an expression now, or at a time."""
        result = self._get("query", query=expression, **({"time": at} if at else {}))
        return [(entry["metric"], float(entry["value"][1])) for entry in result]

    def range(self, expression: str, seconds: float, step: float) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
        """The series of an expression over the last so many seconds."""
        end = time.time()
        result = self._get("query_range", query=expression, start=end - seconds, end=end, step=step)
        return [(entry["metric"], [(float(when), float(value)) for when, value in entry["values"]]) for entry in result]

    def firing(self, alert: str) -> list[dict[str, str]]:
        """The labels of an alert that fires."""
        return [labels for labels, _ in self.query(f'ALERTS{{alertname="{alert}", alertstate="firing"}}')]

    def names(self) -> set[str]:
        """Every metric's name."""
        return {labels["__name__"] for labels, _ in self.query('count by (__name__) ({__name__!=""})')}

    def _get(self, what: str, **parameters: object) -> Any:
        words = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"http://{self.address}/api/v1/{what}?{words}", timeout=20) as answer:
                return json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            if error.code == 503:
                raise ConnectionError("Prometheus is starting") from error
            raise AssertionError(f"{parameters}: {error.read().decode(errors='replace')}") from error


def prepare(_: Path) -> None:
    """Installs it where it is missing."""
    require("prometheus", "promtool")


Scrape = Mapping[str, Any]


def servers(targets: Sequence[tuple[str, Mapping[str, str]]]) -> list[Scrape]:
    """Scrapes servers at `host:port`, with labels as a pod would have them."""
    return [{"job_name": "servers", "static_configs": [{"targets": [address], "labels": dict(labels)} for address, labels in targets]}]


def pods(folder: Path) -> list[Scrape]:
    """Scrapes what `find` found. Debian's Prometheus cannot ask an API server by itself."""
    return [{"job_name": job, "honor_labels": True, "file_sd_configs": [{"files": [str(folder / f"{job}.json")], "refresh_interval": "1s"}]} for job in JOBS]


JOBS = {"servers": ("app.kubernetes.io/name=zookeeper,app.kubernetes.io/managed-by=zookeeper-ensemble-operator", 7000), "operator": ("app.kubernetes.io/name=zookeeper-operator", 8080)}


def find(cluster: Cluster, folder: Path) -> int:
    """Looks for the pods of a cluster as `manifests/monitoring/podmonitor.yaml` asks for. Returns how many there are."""
    count = 0
    folder.mkdir(parents=True, exist_ok=True)
    for job, (selector, port) in JOBS.items():
        found = []
        for pod in cluster.items("pods", "-A", "-l", selector):
            if address := pod["status"].get("podIP"):
                metadata = pod["metadata"]
                labels = {"namespace": metadata["namespace"], "pod": metadata["name"]}
                if job == "servers":
                    labels["ensemble"] = metadata["labels"]["app.kubernetes.io/instance"]
                found.append({"targets": [f"{address}:{port}"], "labels": labels})
        temporary = folder / f"{job}.tmp"
        temporary.write_text(json.dumps(found))
        temporary.rename(folder / f"{job}.json")
        count += len(found)
    return count


@contextlib.contextmanager
def running(folder: Path, scrapes: Sequence[Scrape], expected: int, *, rules: str | None = None) -> Iterator[Prometheus]:
    """Starts one that scrapes, with the alerts or other rules, and waits until it has seen as many targets as are expected."""
    require("prometheus")
    folder.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1)
    (folder / "alerts.yaml").write_text(ALERTS.read_text() if rules is None else rules)
    configuration = {
        "global": {"scrape_interval": f"{SCRAPE_SECONDS}s", "evaluation_interval": f"{SCRAPE_SECONDS}s"},
        "rule_files": ["alerts.yaml"],
        "scrape_configs": scrapes,
    }
    # JSON is YAML.
    (folder / "prometheus.yml").write_text(json.dumps(configuration))
    command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={HOST}:{port}", "--log.level=warn"]
    with (folder / "output.log").open("wb") as output:
        process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    prometheus = Prometheus(f"{HOST}:{port}")

    def scraped() -> bool:
        if process.poll() is not None:
            raise AssertionError(f"prometheus ended: {(folder / 'output.log').read_text(errors='replace')[-1000:]}")
        with contextlib.suppress(OSError):
            return len(prometheus.query("up == 1")) == expected
        return False

    try:
        wait_for("Prometheus to have scraped every target", START_SECONDS, scraped, every=0.2)
        yield prometheus
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def fires(prometheus: Prometheus, alert: str, seconds: float, *, at_once: bool = True, **labels: str) -> dict[str, str]:
    """Waits until an alert with these labels fires, or with `at_once=False` until its condition holds, and returns all labels."""
    states = "firing" if at_once else "firing|pending"

    def found() -> dict[str, str] | None:
        active = (got for got, _ in prometheus.query(f'ALERTS{{alertname="{alert}", alertstate=~"{states}"}}'))
        return next((got for got in active if labels.items() <= got.items()), None)

    try:
        return wait_for(f"{alert} to fire", seconds, found, every=0.5)
    except TimedOut as error:
        raise TimedOut(f"{error}; active: {prometheus.query('ALERTS')}; pauses: {prometheus.query('ensemble_pause_seconds_max > 0')}") from None
