"""The dashboards of `manifests/monitoring`: their queries, made for an ensemble."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .prometheus import MONITORING, Prometheus

NAMES = ("ensemble", "server", "sessions", "operator")
# What only some ensembles have, or have only while something is done or wrong.
SOMETIMES = {"Quotas used", "Operations: age", "Conditions that are not as they should be", "Errors of the API server"}

# What only some servers have: a limit that the cgroup sets.
SOMETIMES_METRICS = ("ensemble_memory_limit_bytes",)


@dataclass(frozen=True)
class Panel:
    """A panel as a dashboard's file has it."""

    title: str
    kind: str  # stat, timeseries or row
    unit: str
    place: Mapping[str, int]
    queries: tuple[tuple[str, str], ...]  # expressions, and what a series is called
    stacked: bool
    words: Mapping[str, str]  # what a value is shown as


def title(name: str) -> str:
    """Of a dashboard."""
    return str(json.loads((MONITORING / "dashboards" / f"{name}.json").read_text())["title"])


def panels(name: str, variables: Mapping[str, str]) -> Iterator[Panel]:
    """The panels of a dashboard, whose variables have these values."""
    for panel in json.loads((MONITORING / "dashboards" / f"{name}.json").read_text())["panels"]:
        defaults = panel.get("fieldConfig", {}).get("defaults", {})
        queries = tuple((substituted(target["expr"], variables), target["legendFormat"]) for target in panel.get("targets", []))
        mappings = defaults.get("mappings") or [{"options": {}}]
        words = {value: option["text"] for value, option in mappings[0]["options"].items()}
        yield Panel(panel["title"], panel["type"], defaults.get("unit", "none"), panel["gridPos"], queries, "stacking" in defaults.get("custom", {}), words)


def substituted(expression: str, variables: Mapping[str, str]) -> str:
    """An expression with the values of variables."""
    for name, value in variables.items():
        expression = expression.replace(f"${name}", value)
    return expression


def check(prometheus: Prometheus, name: str, variables: Mapping[str, str]) -> int:
    """Asks every query of a dashboard. Raises AssertionError for one that has no answer; returns how many panels there are."""
    count, missing = 0, []
    for panel in panels(name, {**variables, "__rate_interval": "10s"}):
        if panel.kind == "row":
            continue
        asked = [expression for expression, _ in panel.queries if panel.title not in SOMETIMES and not any(metric in expression for metric in SOMETIMES_METRICS)]
        missing += [f"{panel.title}: {expression}" for expression in asked if not prometheus.query(expression)]
        count += 1
    assert not missing, f"{name}: nothing for {missing}"
    return count
