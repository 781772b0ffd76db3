"""The alerts, their tests, their pages and the dashboards of `manifests/monitoring`."""

import re
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from . import places
from .prometheus import ALERTS, MONITORING

TESTS = MONITORING / "alerts.test.yaml"
PAGE = places.REPOSITORY / "docs" / "operations" / "alerts.md"
GUIDE = places.REPOSITORY / "docs" / "monitoring.md"
OPERATOR = places.REPOSITORY / "manifests" / "operator.yaml"
PARTS = ("**Means**", "**Look**", "**Do**", "**Do not**")


def alerts() -> list[str]:
    """The names of all alerts."""
    return re.findall(r"^      - alert: (\S+)$", ALERTS.read_text(), re.MULTILINE)


def promtool(rules: str) -> subprocess.CompletedProcess[str]:
    """Runs the tests on these rules."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / ALERTS.name).write_text(rules)
        (folder / TESTS.name).write_text(TESTS.read_text())
        return subprocess.run(["promtool", "test", "rules", TESTS.name], cwd=folder, capture_output=True, text=True)


class OwnPrometheus(unittest.TestCase):
    """The configuration that `docs/monitoring.md` gives for a Prometheus that asks the API server by itself."""

    def test_it_is_one_and_finds_servers_and_operators(self) -> None:
        """promtool takes it, and of a server's and an operator's ports it keeps the one with the figures, with the labels that the alerts need."""
        block = re.search(r"^```yaml\n(rule_files.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
        assert block
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / ALERTS.name).write_text(ALERTS.read_text())
            # Debian's Prometheus is made without what asks an API server.
            (Path(name) / "prometheus.yml").write_text(block[1].replace("kubernetes_sd_configs: [{ role: pod }]", "static_configs: []"))
            done = subprocess.run(["promtool", "check", "config", "prometheus.yml"], cwd=name, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        jobs = {job["job_name"]: job for job in yaml.safe_load(block[1])["scrape_configs"]}
        server = {"app.kubernetes.io/managed-by": "zookeeper-ensemble-operator", "app.kubernetes.io/name": "zookeeper", "app.kubernetes.io/instance": "zk"}
        found = targets(jobs["zookeeper"], server, ["client", "admin", "metrics"])
        self.assertEqual(found, [("metrics", {"namespace": "n", "pod": "p", "ensemble": "zk"})])
        deployment = next(made for made in yaml.safe_load_all(OPERATOR.read_text()) if made["kind"] == "Deployment")["spec"]["template"]
        ports = [port["name"] for port in deployment["spec"]["containers"][0]["ports"]]
        found = targets(jobs["zookeeper-operator"], deployment["metadata"]["labels"], ports)
        self.assertEqual(found, [("http", {"namespace": "n", "pod": "p"})])
        self.assertEqual(targets(jobs["zookeeper"], deployment["metadata"]["labels"], ports), [])
        self.assertTrue(jobs["zookeeper-operator"]["honor_labels"])


def targets(job: Any, labels: Mapping[str, str], ports: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    """The ports of a pod `p` in `n` that a job scrapes, with the labels of each: `keep` and `replace`, as Prometheus has them."""
    kept = []
    for port in ports:
        known = {f"__meta_kubernetes_pod_label_{re.sub(r'[^a-zA-Z0-9_]', '_', name)}": value for name, value in labels.items()}
        known |= {"__meta_kubernetes_pod_container_port_name": port, "__meta_kubernetes_namespace": "n", "__meta_kubernetes_pod_name": "p"}
        given: dict[str, str] = {}
        for rule in job["relabel_configs"]:
            value = ";".join(known.get(name, "") for name in rule["source_labels"])
            if rule.get("action") == "keep":
                if not re.fullmatch(rule["regex"], value):
                    break
            else:
                given[rule["target_label"]] = value
        else:
            kept.append((port, given))
    return kept


class Alerts(unittest.TestCase):
    """Each alert fires where it must, and only there."""

    def test_each_fires_where_it_must_and_only_there(self) -> None:
        """Of the tests of each alert at least one wants it to fire, and one wants it not to."""
        done = promtool(ALERTS.read_text())
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        wanted = re.findall(r'alertname="(\w+)", alertstate="firing"\}\n +eval_time: \S+\n +exp_samples:( \[\])?', TESTS.read_text())
        for name in alerts():
            kinds = {bool(none) for alert, none in wanted if alert == name}
            self.assertEqual(kinds, {True, False}, f"{name} has no test in which it fires, or none in which it does not")

    def test_the_tests_notice_an_alert_that_never_fires_or_always(self) -> None:
        """With all conditions turned to what is never, or always, true, every alert's tests fail."""
        for expression in ("vector(1) == 0", 'label_replace(vector(1), "ensemble", "zk", "", "")'):
            rules = re.sub(r"^        expr: (\|\n(          .*\n)+|.*\n)", f"        expr: {expression}\n", ALERTS.read_text(), flags=re.MULTILINE)
            done = promtool(rules)
            failed = set(re.findall(r'alertname="(\w+)"', done.stdout + done.stderr))
            self.assertEqual(set(alerts()) - failed, set(), f"with {expression}")

    def test_each_has_its_page(self) -> None:
        """Each links to a section that says what it means, how to look, what to do and what not to do."""
        sections = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]
        written = {section.splitlines()[0]: section for section in sections}
        self.assertEqual(list(written), alerts(), "the page's sections are the alerts, in order")
        linked = re.findall(r"runbook_url: \S+/docs/operations/alerts\.md#(\S+)", ALERTS.read_text())
        self.assertEqual(linked, [name.lower() for name in alerts()])
        for name, section in written.items():
            for part in PARTS:
                self.assertIn(part, section, name)


class Dashboards(unittest.TestCase):
    """The files are what the script writes."""

    def test_they_are_fresh(self) -> None:
        """`dashboards.py` was run after its last change."""
        done = subprocess.run([sys.executable, MONITORING / "dashboards.py", "--check"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout)
