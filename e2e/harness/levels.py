"""The levels of `e2e/test`: unit, sim, process, mixed, chaos, cluster. Each returns a tally of its own cases; cargo's own summaries go to the terminal."""

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import apache, build, conform, engine, helm, matrix, network, node_image, places, prometheus, runner, rust_image
from .cluster import Cluster
from .chaos import World as ChaosWorld
from .mixed import World as MixedWorld
from .operator import Operator
from .prerequisites import require
from .processes import Processes
from .runner import Tally
from .shell import run, step
from .world import World

NAMES = ("unit", "sim", "process", "mixed", "chaos", "cluster")
PACKAGES = ("process", "mixed", "chaos", "scenarios")
# Of the mixed level, what runs when nothing is named: two minutes or less. All of it takes about seventeen.
MIXED_CORE = ["JRJ", "RJR", "migration", "questions", "what zkCli.sh"]
# Of the scenarios on a cluster, what runs only when it is named, or with --all.
CLUSTER_SLOW = (
    *("E4", "E6 ten rounds", "E6 up and down, claims deleted", "E7", "E10", "E11 by swap", "E12 more memory", "E12 a node", "E13", "E14", "E15", "E16"),
    *("E20", "E21", "E22", "E23", "E24", "E30 hibernated by spec.hibernate"),
    *("E31", "E32", "E34", "E35", "accidents", "charts:", "monitoring:", "node out of service", "plugin:", "teeth:"),
)
SEEDS = 10_000_000
# A nice value.
LOWEST_PRIORITY = 19
# Of the simulators' time, what goes to operators on simulated clusters, also with --all; and of the rest, to ensembles that clients change.
OPERATED, OPERATED_ALL = 0.2, 0.5
CHANGING = 0.2
UNIT = {
    "format": ["fmt", "--all", "--check"],
    "lints": ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"],
    "unit tests": ["test", "--workspace", "--exclude", "ensemble-sim", "--locked"],
    # With the switches that break a promise, which no other build has.
    "broken servers": ["test", "--package", "ensemble-zab", "--package", "ensemble-sim", "--features", "ensemble-zab/mutants", "--locked"],
}


def unit() -> Tally:
    """Format, lints, unit tests and the repository's rules; and the judges of the load and of the benchmark are judged."""
    tally = Tally()
    require("promtool")
    judge = subprocess.run([sys.executable, "-m", "unittest", "discover", "-q", "-s", "harness", "-t", "."], cwd=places.E2E, stdin=subprocess.DEVNULL)
    _count(tally, "judges", judge.returncode == 0)
    for what, arguments in UNIT.items():
        _count(tally, what, _cargo(arguments, build.cargo_env()))
    return tally


def simulation(minutes: float, *, thorough: bool) -> Tally:
    """Fresh seeds for some minutes, chosen by commit: each commit runs others, and a commit's run can be repeated. A part of the time goes to runs in which
    clients change the ensemble, and another to those in which an operator does, on a simulated cluster."""
    first = int(run(["git", "rev-parse", "--short=8", "HEAD"], cwd=places.REPOSITORY)[:8], 16) * SEEDS
    operated = minutes * (OPERATED_ALL if thorough else OPERATED)
    changing = (minutes - operated) * CHANGING
    runs = (
        ("simulation", "ensemble-sim", minutes - operated - changing, []),
        ("simulation of ensembles that change", "ensemble-sim", changing, ["--reconfig"]),
        ("simulation of operators", "operator-sim", operated, []),
    )
    tally = Tally()
    # Both at once: what they share is compiled once, and neither is shipped.
    built = _cargo(["build", "--release", "--locked", "--target", build.TARGET, "--package", "ensemble-sim", "--package", "operator-sim"], build.static_env())
    for what, program, some, options in runs:
        words = [str(places.TARGET / build.TARGET / "release" / program), *options, "--seeds", f"{first}..{first + SEEDS}", "--minutes", f"{some:g}"]
        _count(tally, what, built and _run(words, {}))
    return tally


def process(names: list[str], artifacts: Path, *, thorough: bool) -> Tally:
    """Servers as processes on loopback, with a foreign client."""
    cases = runner.select(runner.find("process"), names)
    log = artifacts / "build.log"
    with step("building the binaries"):
        binaries = build.binaries(log)
    with tempfile.TemporaryDirectory(prefix="zke-process.") as folder, Processes(binaries["ensemble"], Path(folder), thorough=thorough) as world:
        return runner.run(cases, world, artifacts / "process")


def mixed(names: list[str], artifacts: Path, version: str) -> Tally:
    """Servers of Apache ZooKeeper of a version and ours in one ensemble on loopback."""
    cases = runner.select(runner.find("mixed"), names)
    log = artifacts / "build.log"
    require("java", "mvn", "setpriv")
    with step(f"fetching Apache ZooKeeper {version}"):
        jars = apache.fetch(log, version)
    with step("building the server"):
        server = build.binary("ensemble", log)
    with tempfile.TemporaryDirectory(prefix="zke-mixed.") as folder, MixedWorld(server, jars, Path(folder)) as world:
        tally = runner.run(cases, world, artifacts / "mixed")
    seen = f"Apache ZooKeeper {version}:\n{matrix.seen(tally)}"
    (artifacts / "mixed-matrix.md").write_text(f"{seen}\n")
    print(seen)
    return tally


def chaos(names: list[str], artifacts: Path, minutes: float) -> Tally:
    """Servers on a network of their own, which is made, with all that runs on it, in a network namespace of its own."""
    require("ip", "unshare", "nsenter", "setpriv", "sysctl", "cc")
    with step("building the server"):
        server = build.dynamic_binary("ensemble", artifacts / "build.log")
    return _again([*network.enter()], "chaos", [*names, "--minutes", f"{minutes:g}", "--binary", str(server)], artifacts, os.environ)


def chaos_inside(names: list[str], artifacts: Path, result: Path, binary: Path, minutes: float) -> Tally:
    """The inner half of `chaos`."""
    cases = runner.select(runner.find("chaos"), names)
    with tempfile.TemporaryDirectory(prefix="zke-chaos.") as folder, ChaosWorld(binary, Path(folder), minutes * 60 / len(cases)) as world:
        tally = runner.run(cases, world, artifacts / "chaos")
    result.write_text(f"{tally.passed} {tally.failed}")
    return tally


def has_cases(package: str, names: list[str]) -> bool:
    """Whether any of the names selects a case of the package."""
    return bool(names and runner.select(runner.find(package), names))


def case_names() -> list[str]:
    """The first words of all cases, each once."""
    return list(dict.fromkeys(case.name.split()[0] for package in PACKAGES for case in runner.find(package)))


class NodePreparation(threading.Thread):
    """Makes the slow parts of the node image in the time that other levels leave: they are compiled, and measure, as if it were not there."""

    def __init__(self, chosen: engine.Engine, log: Path):
        super().__init__(name="node image", daemon=True)
        self.engine, self.log, self.error = chosen, log, None

    def run(self) -> None:
        """Does it, and keeps the error for whoever waits."""
        try:
            # Of this thread alone, and of what it starts.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)
            if self.engine.makes_node_image:
                node_image.prepare(self.log)
        except Exception as error:
            self.error = error

    def wait(self) -> None:
        """Waits for the end. Raises what went wrong."""
        self.join()
        if self.error:
            raise self.error


def cluster(names: list[str], artifacts: Path, chosen: engine.Engine, *, from_source: bool, keep: bool) -> Tally:
    """Scenarios on a kind cluster made for this run."""
    log = artifacts / "cluster.log"
    cluster = start_engine(chosen, "zke-test", log)
    try:
        bring_up(cluster, log, from_source=from_source)
        _make_tools(names, log)
        return _inside(cluster, names, artifacts)
    finally:
        if not keep:
            with step("removing the cluster"):
                tear_down(cluster)


def _make_tools(names: list[str], log: Path) -> None:
    """Makes what scenarios run beside the cluster. They are run where only the cluster can be reached, and no registry."""
    selected = runner.select(runner.find("scenarios"), names)
    needed = {"charts:": (helm.program, conform.prepare), "monitoring:": (prometheus.prepare, conform.prepare_definitions), "plugin:": (build.plugin,)}
    for prefix, tools in needed.items():
        if any(case.name.startswith(prefix) for case in selected):
            with step(f"building what {prefix} needs"):
                for make in tools:
                    make(log)


def start_engine(chosen: engine.Engine, name: str, log: Path) -> Cluster:
    """Starts the engine, and returns the cluster of that name, existing or not."""
    with step("starting the engine"):
        chosen.start()
    return Cluster(chosen, name, log)


def bring_up(cluster: Cluster, log: Path, *, from_source: bool = False) -> None:
    """Creates the cluster with the image and the operator of this repository."""
    with step("building the image"):
        if from_source and cluster.engine.makes_node_image:
            rust_image.offer(cluster.engine, log)
        size = build.image_from_source(cluster.engine, log) if from_source else build.image(cluster.engine, log)
    with step(f"creating the cluster {cluster.name}: a control plane and three workers in three zones"):
        cluster.create()
    with step(f"loading the image ({size}) and installing the operator"):
        cluster.load(build.IMAGE)
        Operator(cluster).install()


def tear_down(cluster: Cluster) -> None:
    """Removes the cluster, and the engine with the last one."""
    cluster.delete()
    if not run(["docker", "ps", "-aq", "--filter", "label=io.x-k8s.kind.cluster"], env=cluster.engine.env).split():
        cluster.engine.stop()


def _inside(cluster: Cluster, names: list[str], artifacts: Path) -> Tally:
    """Runs the scenarios in the engine's network namespace, where pods can be reached."""
    return _again(cluster.engine.enter, "scenarios", names, artifacts, {**os.environ, **cluster.engine.env})


def _again(enter: Sequence[str], command: str, arguments: list[str], artifacts: Path, env: Mapping[str, str]) -> Tally:
    """Runs the harness in a process of its own somewhere else."""
    result = artifacts / f"{command}.txt"
    words = [*enter, sys.executable, "-m", "harness", command, "--artifacts", str(artifacts), "--result", str(result), *arguments]
    subprocess.run(words, stdin=subprocess.DEVNULL, env=env)
    if not result.exists():
        print(f"FAILED {command}: ended before a result")
        return Tally(0, 1)
    passed, failed = result.read_text().split()
    return Tally(int(passed), int(failed))


def cluster_core() -> list[str]:
    """The scenarios that run when nothing is named."""
    return [case.name for case in runner.find("scenarios") if not f"{case.name} ".startswith(tuple(f"{slow} " for slow in CLUSTER_SLOW))]


def scenarios(names: list[str], artifacts: Path, result: Path) -> Tally:
    """The inner half of `cluster`."""
    existing = Cluster(engine.current(), "zke-test", artifacts / "cluster.log")
    existing.adopt()
    tally = runner.run(runner.select(runner.find("scenarios"), names), World(existing), artifacts)
    result.write_text(f"{tally.passed} {tally.failed}")
    return tally


def _cargo(arguments: list[str], env: dict[str, str]) -> bool:
    return _run(["cargo", *arguments], env)


def _run(words: list[str], env: dict[str, str]) -> bool:
    print(f"$ {' '.join(words)}", flush=True)
    return subprocess.run(words, cwd=places.REPOSITORY, env={**os.environ, **env}, stdin=subprocess.DEVNULL).returncode == 0


def _count(tally: Tally, what: str, good: bool) -> None:
    tally += Tally(int(good), int(not good))
    print(f"{'ok    ' if good else 'FAILED'} {what}", flush=True)


