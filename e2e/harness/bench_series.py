"""The series of runs: who is started, loaded and measured in which order.

In every round each workload runs against F, A, C, A, C, F, so that a machine that changes its pace changes it for all.
"""

import contextlib
import os
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from .bench_rows import OTHER_CORES_MAX, WORKLOADS, Round, Run, Workload
from .bench_servers import Echo, Program, Servers, Stage
from .shell import CommandFailed

ZNODES, FANOUT = 10_000, 100
LARGE_ZNODES, LARGE_FANOUT = 1_000_000, 1000
LARGE: dict[str, object] = {"keys": LARGE_ZNODES, "fanout": LARGE_FANOUT, "size": 100, "root": "/bench"}
LAST_ZNODE = f"/bench/g{(LARGE_ZNODES - 1) // LARGE_FANOUT:05}/n{LARGE_ZNODES - 1:08}"
JIT_SECONDS = 8
IDLE_SECONDS = 3
QUIET_LOOKS, LOOK_SECONDS = 10, 0.4
RESTARTS = 3
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")

# Half of what the slower of two cores can write, in operations a second; a snapshot falls due every 50,000 to 100,000 writes.
STALL_RATE, STALL_SECONDS, STALL_TRIES = 10_000, 15, 10
# Too short for a second snapshot after one.
CALM_SECONDS = 4
# More transactions than the series writes.
NO_SNAPSHOT = 100_000_000

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """How much is measured."""

    rounds: int
    seconds: float  # a run's, after a warm-up of a second


class Bench:
    """Measures workloads and series; the rounds are kept by name."""

    def __init__(self, stage: Stage, apache: Program, ours: Program, settings: Settings, progress: Progress):
        self.stage, self.settings, self.progress = stage, settings, progress
        self.programs = {"A": apache, "C": ours}
        self.rounds: dict[str, list[Round]] = {}

    def measure(self, sources: Collection[str]) -> None:
        """Measures each source that rows are read from."""
        for servers in (1, 3):
            chosen = [w for name, w in WORKLOADS.items() if name in sources and w.servers == servers]
            if chosen:
                self._workloads(chosen, servers)
        for name, servers in (("empty", 1), ("empty-3", 3)):
            if name in sources:
                self._empty(name, servers)
        if "large" in sources:
            self._large()
        if "replay" in sources:
            self._replay()

    def _keep(self, name: str, number: int, who: str, run: Run) -> None:
        rounds = self.rounds.setdefault(name, [])
        while len(rounds) < number:
            rounds.append(Round())
        rounds[number - 1].add(who, run)

    # Workloads

    def _workloads(self, chosen: Sequence[Workload], size: int) -> None:
        """All of them against the same running servers: a fresh tree of 10,000 znodes, warmed up once."""
        with contextlib.ExitStack() as stack:
            measured = {who: stack.enter_context(self.stage.servers(program, size)) for who, program in self.programs.items()}
            sizes = sorted({workload.size for workload in chosen})
            for who, servers in measured.items():
                self.progress(f"starting {self.programs[who].name}, {size} server{'s' if size > 1 else ''}")
                servers.start()
                for bytes in sizes:
                    servers.load(setup=True, op="get", conns=1, outstanding=1, warmup=0, duration=0.1, **_space(bytes))
            self.progress(f"warming up the JVM{'s' if size > 1 else ''}")
            measured["A"].load(op="get:50,set:20,createdel:20", conns=16, outstanding=16, warmup=0, duration=JIT_SECONDS, **_space(sizes[0]))
            echoes = {bytes: stack.enter_context(self.stage.echo(bytes)) for bytes in sizes}
            for number in range(1, self.settings.rounds + 1):
                for workload in chosen:
                    self._round(number, workload, measured, echoes[workload.size])

    def _round(self, number: int, workload: Workload, measured: dict[str, Servers], echo: Echo) -> None:
        self.progress(f"round {number} of {self.settings.rounds}: {workload.name}")
        order = "FACACF" if workload.floor else "ACAC"
        for who in f"S{order}S" if workload.sync else order:
            wait_until_quiet()
            if who == "S":
                self._keep(workload.name, number, who, self.stage.sync())
                continue
            target = echo if who == "F" else measured[who]
            run = target.load(op=workload.op, conns=workload.connections, outstanding=workload.outstanding, warmup=1, duration=self.settings.seconds, **_space(workload.size))
            if run["errors"]:
                raise CommandFailed(f"{workload.name}: {run['errors']} requests failed: {run.get('zk_errors')}")
            self._keep(workload.name, number, who, run)

    # Starts

    def _empty(self, name: str, size: int) -> None:
        """Fresh folders each time: until the first session, then what an idle server holds."""
        for number in range(1, self.settings.rounds + 1):
            self.progress(f"round {number} of {self.settings.rounds}: {name}")
            for who in "ACAC":
                with self.stage.servers(self.programs[who], size) as servers:
                    others = wait_until_quiet()
                    first = servers.start()
                    time.sleep(IDLE_SECONDS)
                    rss = sum(member.rss_bytes() for member in servers.members) / size
                    self._keep(name, number, who, {"first_session_ms": first * 1e3, "rss_mb": rss / 1e6, "other_cores": others})

    # A million znodes

    def _large(self) -> None:
        """One round: filling takes long."""
        for who in "AC":
            with self.stage.servers(self.programs[who]) as servers:
                self._keep("large", 1, who, self._large_run(servers, self.programs[who].name))

    def _large_run(self, servers: Servers, name: str) -> Run:
        servers.start()
        self.progress(f"{name}: creating {LARGE_ZNODES:,} znodes")
        filled = servers.fill(conns=16, outstanding=16, **LARGE)
        grown = (filled["server_rss_mb_after"] - filled["server_rss_mb_before"]) * 2**20
        self.progress(f"{name}: sets, and the bytes that they cost")
        written = servers.load(op="set", conns=16, outstanding=16, warmup=1, duration=4 * self.settings.seconds, **LARGE)
        self.progress(f"{name}: the longest stall while a snapshot is written")
        stalled = self._paced(servers, STALL_SECONDS, snapshot=True)
        calm = self._paced(servers, CALM_SECONDS, snapshot=False)
        (member,) = servers.members
        steady, peak = member.rss_bytes(), member.peak_rss_bytes()
        self.progress(f"{name}: {RESTARTS} restarts")
        restarts = sorted(servers.restart(LAST_ZNODE) for _ in range(RESTARTS))
        return {
            "rss_b_znode": grown / LARGE_ZNODES,
            "write_b_op": written["write_b_op"],
            "stall_ms": max(stalled[op]["max_us"] for op in ("get", "set")) / 1e3,
            "tail_ratio": stalled["set"]["p999_us"] / calm["set"]["p999_us"],
            "peak_ratio": peak / steady,
            "restart_s": restarts[len(restarts) // 2],
            "other_cores": max(run["other_cores"] for run in (written, stalled, calm)),
            "runs": {"fill": filled, "written": written, "stalled": stalled, "calm": calm, "rss": [steady, peak], "restarts_s": restarts},
        }

    def _paced(self, servers: Servers, seconds: float, *, snapshot: bool) -> Run:
        """A paced load during which at least one snapshot was finished, or none."""
        (member,) = servers.members
        for _ in range(STALL_TRIES):
            before = member.snapshots()
            run = servers.load(op="set:75,get:25", conns=16, outstanding=64, rate=STALL_RATE, warmup=1, duration=seconds, **LARGE)
            if bool(member.snapshots() - before) == snapshot:
                return run
        raise CommandFailed(f"{member.program.name} wrote {'no' if snapshot else 'a'} snapshot in each of {STALL_TRIES} loads of {seconds} s")

    def _replay(self) -> None:
        """A log of a million creates and no snapshot."""
        for who in "AC":
            with self.stage.servers(self.programs[who], snapCount=str(NO_SNAPSHOT)) as servers:
                name = self.programs[who].name
                servers.start()
                self.progress(f"{name}: a log of {LARGE_ZNODES:,} creates")
                servers.fill(conns=16, outstanding=16, **LARGE)
                others = wait_until_quiet()
                self.progress(f"{name}: {RESTARTS} restarts")
                restarts = sorted(servers.restart(LAST_ZNODE) for _ in range(RESTARTS))
                rate = LARGE_ZNODES / restarts[len(restarts) // 2]
                self._keep("replay", 1, who, {"replayed_s": rate, "other_cores": others, "restarts_s": restarts})


def _space(size: int) -> dict[str, object]:
    """The znodes that a workload of this size reads and writes."""
    return {"root": f"/b{size}", "size": size, "keys": ZNODES, "fanout": FANOUT}


def wait_until_quiet() -> float:
    """Waits until the rest of the machine is idle enough, or for some looks, and returns the cores that it used in the last one."""
    for _ in range(QUIET_LOOKS):
        before, start = busy_seconds(), time.monotonic()
        time.sleep(LOOK_SECONDS)
        cores = (busy_seconds() - before) / (time.monotonic() - start)
        if cores < OTHER_CORES_MAX:
            break
    return cores


def busy_seconds() -> float:
    """CPU time used by the whole machine since it started."""
    user, nice, system, _idle, _wait, interrupts, soft, *_ = (int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + interrupts + soft) / CLOCK_TICKS
