"""From rounds to a table: medians, ratios within a round, and which limit is reached."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .bench_rows import Limit, Round, Row, is_quiet

LEVELS = ("gate", "target", "stretch")

HEADER = (
    "| # | what | unit | A | F | ours (range) | ours / A (range) | ours / F | gate | target | stretch | reached | quiet runs |",
    "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
)


@dataclass(frozen=True)
class Spread:
    """A median with the smallest and the largest value."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return short(self.median) if self.low == self.high else f"{short(self.median)} ({short(self.low)}-{short(self.high)})"


@dataclass(frozen=True)
class Line:
    """A row with what was measured; ratios are taken within a round, then their median."""

    row: Row
    a: Spread | None
    f: Spread | None
    ours: Spread | None
    ours_to_a: Spread | None
    ours_to_f: Spread | None
    quiet: int
    runs: int

    def limit(self, limit: Limit | None) -> float | None:
        """A limit's value in the row's unit, by the medians of A and F."""
        return limit.value(self.a.median if self.a else None, self.f.median if self.f else None, self.row.lower) if limit else None

    @property
    def reached(self) -> str:
        """The highest level that holds together with all below it; `below the gate` where there is a gate and it does not."""
        levels = [(name, limit) for name, limit in zip(LEVELS, self.row.limits, strict=True) if limit]
        if not levels or not self.ours:
            return ""
        reached = "below the gate"
        for name, limit in levels:
            value = self.limit(limit)
            if value is None:
                return ""
            if self.ours.median > value if self.row.lower else self.ours.median < value:
                break
            reached = name
        return reached

    def markdown(self) -> str:
        """A line of the table."""
        a, f, ours_to_f = (spread and short(spread.median) for spread in (self.a, self.f, self.ours_to_f))
        cells = [self.row.id, self.row.what, self.row.unit, a, f, self.ours, self.ours_to_a, ours_to_f]
        cells += [*map(self._bound, self.row.limits), self.reached, f"{self.quiet}/{self.runs}"]
        return "| " + " | ".join(str(cell) if cell else "" for cell in cells) + " |"

    def _bound(self, limit: Limit | None) -> str:
        """A limit as it is defined, and what that is in this run."""
        value = self.limit(limit)
        if limit is None or value is None:
            return ""
        known = limit.a is None and limit.f is None
        return f"{'<=' if self.row.lower else '>='} {limit}" + ("" if known else f" ({short(value)})")

    def json(self) -> dict[str, Any]:
        """The same for programs."""
        spreads = {name: asdict(value) if (value := getattr(self, name)) else None for name in ("a", "f", "ours", "ours_to_a", "ours_to_f")}
        limits = {name: self.limit(limit) for name, limit in zip(LEVELS, self.row.limits, strict=True)}
        return {"id": self.row.id, "what": self.row.what, "unit": self.row.unit, **spreads, **limits, "reached": self.reached, "quiet": self.quiet, "runs": self.runs}


def line(row: Row, rounds: Sequence[Round]) -> Line:
    """What the rounds say about a row."""
    a, ours = ([measured.mean(who, row.metric) for measured in rounds] for who in "AC")
    f = [row.floor_of(measured) for measured in rounds]
    runs = [run for measured in rounds for who, runs in measured.runs.items() if who != "S" for run in runs]
    return Line(row, spread(a), spread(f), spread(ours), spread(ratios(ours, a)), spread(ratios(ours, f)), sum(map(is_quiet, runs)), len(runs))


def ratios(values: Sequence[float | None], bases: Sequence[float | None]) -> list[float]:
    """Quotients of those that were both measured."""
    return [value / base for value, base in zip(values, bases, strict=True) if value is not None and base]


def spread(values: Sequence[float | None]) -> Spread | None:
    """Median and range of what was measured; None when nothing was."""
    known = [value for value in values if value is not None]
    return Spread(statistics.median(known), min(known), max(known)) if known else None


def short(value: float) -> str:
    """Three significant digits, without an exponent."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def markdown(lines: Sequence[Line], facts: Mapping[str, str]) -> str:
    """The whole report."""
    facts_table = [f"- {name}: {value}" for name, value in facts.items()]
    legend = [
        "A: Apache ZooKeeper; F: a server that answers without work, or the bound that the row names; S: one fdatasync. Ratios are taken within a round; the",
        "figure is the median over the rounds. A run is quiet when other processes used less than half a core: figures from a busy machine prove nothing.",
    ]
    return "\n".join([*facts_table, "", *HEADER, *(each.markdown() for each in lines), "", *legend, ""])
