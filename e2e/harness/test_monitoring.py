"""The alerts, their tests, their pages and the dashboards of `manifests/monitoring`."""

import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from . import places
from .prometheus import ALERTS, MONITORING

TESTS = MONITORING / "alerts.test.yaml"
PAGE = places.REPOSITORY / "docs" / "operations" / "alerts.md"
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
