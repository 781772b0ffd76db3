"""What is measured: workloads, the rows of the table that are read from them, and the limit of each row.

A row's value is in the unit that it names. A is Apache ZooKeeper, F the floor: a server that answers without work, or what the disk allows.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

# A run in which other processes used more of the machine than this, in cores, is left out where the round has a quiet one.
OTHER_CORES_MAX = 0.45

Run = dict[str, Any]
Metric = Callable[[Run], float]


@dataclass
class Round:
    """The runs of one workload in one round, by who served: A, C (the candidate: this server), F, S (the disk's sync)."""

    runs: dict[str, list[Run]] = field(default_factory=dict)

    def add(self, who: str, run: Run) -> None:
        """Adds a run."""
        self.runs.setdefault(who, []).append(run)

    def mean(self, who: str, metric: Metric) -> float | None:
        """The mean over the quiet runs, or over all where none was quiet; None without a run."""
        runs = self.runs.get(who, [])
        values = [metric(run) for run in [run for run in runs if is_quiet(run)] or runs]
        return statistics.fmean(values) if values else None


def is_quiet(run: Run) -> bool:
    """Whether the rest of the machine was idle enough."""
    return bool(run.get("other_cores", 0.0) <= OTHER_CORES_MAX)


def figure(*path: str) -> Metric:
    """A figure of a run by its place in zkbench's JSON."""

    def read(run: Run) -> float:
        value: Any = run
        for name in path:
            value = value[name]
        return float(value)

    return read


CPU, OPS = figure("server_cpu_us_op"), figure("ops_s")


@dataclass(frozen=True)
class Workload:
    """A load on running servers: `connections` x `outstanding` requests of `size` bytes on 10,000 znodes."""

    name: str
    op: str
    connections: int
    outstanding: int
    size: int = 100
    servers: int = 1
    floor: bool = True  # whether F is measured
    sync: bool = False  # whether S is measured


WORKLOADS = {
    w.name: w
    for w in [
        Workload("get", "get", 16, 16),
        Workload("exists", "exists", 16, 16),
        Workload("get-64x1", "get", 64, 1),
        Workload("get-1k", "get", 16, 16, size=1024),
        Workload("get-1x1", "get", 1, 1),
        Workload("children", "children", 16, 16, floor=False),
        Workload("set", "set", 16, 16, sync=True),
        Workload("set-64x1", "set", 64, 1),
        Workload("set-1x1", "set", 1, 1, sync=True),
        Workload("mixed", "get:90,set:10", 16, 16, floor=False),
        Workload("set-1k", "set", 16, 16, size=1024),
        Workload("set-3", "set", 16, 16, servers=3, floor=False),
        Workload("get-3", "get", 16, 16, servers=3, floor=False),
        Workload("mixed-3", "get:90,set:10", 16, 16, servers=3, floor=False),
    ]
}


@dataclass(frozen=True)
class Limit:
    """A bound relative to A, relative to F, absolute in the row's unit, or several of these, which must all hold."""

    a: float | None = None
    f: float | None = None
    absolute: float | None = None

    def value(self, a: float | None, f: float | None, lower: bool) -> float | None:
        """The strictest of its parts; None when A or F was not measured."""
        parts = [(self.a, a), (self.f, f), (self.absolute, 1.0)]
        if any(factor is not None and base is None for factor, base in parts):
            return None
        values = [factor * base for factor, base in parts if factor is not None and base is not None]
        return (min if lower else max)(values)

    def __str__(self) -> str:
        words = [_factor(self.a, "A"), _factor(self.f, "F"), f"{self.absolute:g}" if self.absolute is not None else ""]
        return " and ".join(word for word in words if word)


def _factor(factor: float | None, base: str) -> str:
    if factor is None:
        return ""
    return f"{base}/{round(1 / factor, 2):g}" if factor < 1 and base == "A" else f"{factor:g} {base}"


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    id: str
    what: str
    source: str  # the workload, or the series that measures it
    metric: Metric
    unit: str
    limits: tuple[Limit | None, Limit | None, Limit | None]  # gate, target, stretch
    lower: bool = True  # whether less is better
    floor: Callable[[Round], float | None] | None = None

    def floor_of(self, measured: Round) -> float | None:
        """F in a round."""
        return self.floor(measured) if self.floor else None


def echo(metric: Metric) -> Callable[[Round], float | None]:
    """F: the same figure of the server that answers without work."""
    return lambda measured: measured.mean("F", metric)


def sync_us(measured: Round) -> float | None:
    """S in microseconds."""
    return measured.mean("S", figure("p50_us"))


def group_bound(measured: Round) -> float | None:
    """Operations a second if each sync took all 256 requests that are under way."""
    sync = sync_us(measured)
    return 256e6 / sync if sync else None


def one_write_bound(measured: Round) -> float | None:
    """A round trip and a sync, in microseconds."""
    sync, trip = sync_us(measured), measured.mean("F", figure("set", "p50_us"))
    return sync + trip if sync and trip else None


def _limits(gate: Limit | None = None, target: Limit | None = None, stretch: Limit | None = None) -> tuple[Limit | None, Limit | None, Limit | None]:
    return gate, target, stretch


def _request(id: str, what: str, source: str, gate: Limit | None, target: Limit | None, stretch: Limit | None, *, ops: bool = False, **more: Any) -> Row:
    """A row of CPU per operation, or of operations a second, whose floor is the echo's same figure unless told otherwise."""
    metric = OPS if ops else CPU
    floor = more.pop("floor", echo(metric) if WORKLOADS[source].floor else None)
    return Row(id, what, source, metric, "ops/s" if ops else "CPU us/op", _limits(gate, target, stretch), lower=not ops, floor=floor)


def _a(factor: float) -> Limit:
    return Limit(a=factor)


def _f(factor: float) -> Limit:
    return Limit(f=factor)


def _absolute(value: float) -> Limit:
    return Limit(absolute=value)


ROWS: Sequence[Row] = [
    _request("R1", "get 100 B, 16x16", "get", _a(1 / 4), Limit(a=1 / 10, f=5), _f(3)),
    _request("R1", "exists, 16x16", "exists", _a(1 / 4), Limit(a=1 / 10, f=5), _f(3)),
    _request("R2", "get 100 B, 16x16", "get", _a(4), _f(0.35), _f(0.5), ops=True),
    _request("R2", "exists, 16x16", "exists", _a(4), _f(0.35), _f(0.5), ops=True),
    _request("R3", "get 100 B, 64x1", "get-64x1", _f(2), _f(1.5), _f(1.2)),
    _request("R4", "get 100 B, 64x1", "get-64x1", _a(1.8), _f(0.7), _f(0.85), ops=True),
    _request("R5", "get 1 KB, 16x16", "get-1k", _a(1 / 4), _f(5), _f(3)),
    Row("R7", "get 100 B, 1x1: p50", "get-1x1", figure("get", "p50_us"), "us", _limits(Limit(a=0.75, f=1.6), _f(1.3), _f(1.15)), floor=echo(figure("get", "p50_us"))),
    _request("R8", "getChildren, 100 names, 16x16", "children", _a(1 / 4), _a(1 / 10), _absolute(2.5)),
    _request("W1", "set 100 B, 16x16", "set", _a(1 / 3), _a(1 / 6.5), _a(1 / 10)),
    _request("W2", "set 100 B, 16x16; F = 256/S", "set", _a(2), _a(4), _a(6), ops=True, floor=group_bound),
    _request("W3", "set 100 B, 64x1", "set-64x1", _a(1 / 2), _a(1 / 3.5), _absolute(9)),
    _request("W3", "set 100 B, 64x1", "set-64x1", _a(1.7), _a(2.6), None, ops=True),
    Row("W4", "set 100 B, 1x1: p50; F = S + echo", "set-1x1", figure("set", "p50_us"), "us", _limits(_f(1.5), _f(1.25), _f(1.1)), floor=one_write_bound),
    _request("W7", "90 % get, 10 % set, 16x16", "mixed", _a(1 / 4), _a(1 / 8), _a(1 / 14)),
    _request("W8", "set 1 KB, 16x16", "set-1k", _a(1 / 3), _a(1 / 6), _a(1 / 9)),
    _request("E1", "3 servers, set 100 B, 16x16: all servers", "set-3", _a(1 / 3), _a(1 / 7), _a(1 / 10)),
    _request("E2", "3 servers, set 100 B, 16x16", "set-3", _a(3), _a(6), _a(10), ops=True),
    _request("E3", "3 servers, get 100 B, 16x16: all servers", "get-3", _a(1 / 5), None, None),
    _request("E4", "3 servers, 90 % get, 10 % set: all servers", "mixed-3", _a(1 / 3), _a(1 / 8), None),
    Row("M1", "RSS a znode, 1 M of 100 B", "large", figure("rss_b_znode"), "B", _limits(_absolute(320), _absolute(230), _absolute(180))),
    Row("M3", "1 M znodes: most RSS while filled and written / RSS then", "large", figure("peak_ratio"), "x", _limits(_absolute(1.4), _absolute(1.15), _absolute(1.05))),
    Row("M6", "RSS of an empty server", "empty", figure("rss_mb"), "MB", _limits(_absolute(30), _absolute(12), _absolute(6))),
    Row("T1", "1 M znodes, kill -9: restart to first session", "large", figure("restart_s"), "s", _limits(_absolute(2), _absolute(0.8), _absolute(0.4))),
    Row("T2", "empty: start to first session", "empty", figure("first_session_ms"), "ms", _limits(_absolute(150), _absolute(40), _absolute(15))),
    Row("T2", "3 empty servers: start to first session", "empty-3", figure("first_session_ms"), "ms", _limits()),
    Row("T3", "1 M creates in the log, kill -9: transactions replayed from start to first session", "replay", figure("replayed_s"), "txn/s", _limits(_absolute(300_000), _absolute(1_000_000)), lower=False),
    Row("T4", "1 M znodes: p99.9 of paced sets, with a snapshot / without", "large", figure("tail_ratio"), "x", _limits(_absolute(5), _absolute(2), _absolute(1.3))),
    Row("T5", "1 M znodes: longest stall with a snapshot", "large", figure("stall_ms"), "ms", _limits(_absolute(50), _absolute(10), _absolute(3))),
    Row("T6", "1 M znodes: bytes written per 100 B set", "large", figure("write_b_op"), "B", _limits(_absolute(1000), _absolute(500), _absolute(350))),
]

DEFAULT = ("R1", "R2", "R3", "R4", "W1", "W2", "W4", "E1", "E2", "M1", "M3", "M6", "T1", "T2", "T3", "T4", "T5", "T6")


def select(ids: Sequence[str]) -> list[Row]:
    """The rows of these ids, or the usual ones."""
    return [row for row in ROWS if row.id in (ids or DEFAULT)]
