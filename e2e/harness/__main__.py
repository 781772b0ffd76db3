"""The command line behind e2e/up, e2e/test and e2e/down."""

import argparse
import fcntl
import signal
import sys
import time
from pathlib import Path

from . import engine, levels, places, report
from .cluster import Cluster
from .ensemble import Ensemble
from .prerequisites import Missing
from .runner import Tally
from .shell import CommandFailed, TimedOut, step
from .versions import ZOOKEEPER

SAMPLE = places.REPOSITORY / "manifests" / "samples" / "three.yaml"
SAMPLE_NAMESPACE, SAMPLE_NAME = "default", "three"
SIMULATION_MINUTES, CHAOS_MINUTES = 5.0, 2.0


def main() -> int:
    """Parses, locks, runs. Exit code 0: good; 1: something failed; 2: something is missing."""
    arguments = parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that cleaning up runs
    sys.stdout.reconfigure(line_buffering=True)
    try:
        if arguments.command == "scenarios":
            return 1 if levels.scenarios(arguments.names, arguments.artifacts, arguments.result).failed else 0
        if arguments.command == "chaos":
            tally = levels.chaos_inside(arguments.names, arguments.artifacts, arguments.result, arguments.binary, arguments.minutes)
            return 1 if tally.failed else 0
        with lock():
            return {"up": up, "down": down, "test": test}[arguments.command](arguments)
    except (Missing, Busy) as error:
        print(f"e2e/{arguments.command}: {error}", file=sys.stderr)
        return 2
    except (CommandFailed, TimedOut, AssertionError) as error:
        print(f"e2e/{arguments.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """The arguments of the three commands; `scenarios` and `chaos` are how the harness calls itself."""
    top = argparse.ArgumentParser(prog="e2e")
    commands = top.add_subparsers(dest="command", required=True)
    commands.add_parser("up", prog="e2e/up", description="Starts a local kind cluster with the operator and an ensemble of three.")
    commands.add_parser("down", prog="e2e/down", description="Removes what e2e/up made.")
    tests = commands.add_parser("test", prog="e2e/test", description="Runs everything, or the levels and cases that are named.")
    tests.add_argument("names", nargs="*", metavar="NAME", help=f"a level ({', '.join(levels.NAMES)}) or a case, such as E17")
    tests.add_argument("--all", action="store_true", help="also run every case of the mixed level and the slow scenarios of the cluster, give half of the simulation to operators, cut the power more often, try clients of more languages, and build the image by its compiling stage")
    tests.add_argument("--apache", default=ZOOKEEPER, metavar="VERSION", help="the Apache ZooKeeper of the mixed level (default: %(default)s)")
    tests.add_argument("--minutes", type=float, help=f"minutes of simulation (default: {SIMULATION_MINUTES:g}) and of chaos ({CHAOS_MINUTES:g})")
    tests.add_argument("--keep", action="store_true", help="keep the cluster afterwards (e2e/down removes it)")
    for name in ("scenarios", "chaos"):
        inner = commands.add_parser(name)
        inner.add_argument("names", nargs="*")
        inner.add_argument("--artifacts", type=Path, required=True)
        inner.add_argument("--result", type=Path, required=True)
    inner.add_argument("--binary", type=Path, required=True)
    inner.add_argument("--minutes", type=float, required=True)
    return top


def up(_arguments: argparse.Namespace) -> int:
    """The first command of README."""
    start, log = time.monotonic(), places.artifacts() / "up.log"
    print(f"starting a cluster (log: {log})")
    chosen = engine.choose()
    preparation = levels.NodePreparation(chosen, log)
    with step("fetching and building Kubernetes (minutes the first time)"):
        preparation.start()
        preparation.wait()
    cluster = levels.start_engine(chosen, "zke", log)
    levels.bring_up(cluster, log)
    with step(f"creating the ensemble of {SAMPLE.relative_to(places.REPOSITORY)}"):
        cluster.kubectl("apply", "-f", str(SAMPLE))
        cluster.kubectl("wait", "--for=condition=Ready", f"zke/{SAMPLE_NAME}", "-n", SAMPLE_NAMESPACE, "--timeout=300s", timeout=310)
    print(report.after_up(cluster, Ensemble(cluster, SAMPLE_NAMESPACE, SAMPLE_NAME), time.monotonic() - start))
    return 0


def down(_arguments: argparse.Namespace) -> int:
    """Removes clusters of both names, and the engine if it is ours."""
    private = engine.PrivateEngine()
    if private.state.exists():
        with step("stopping the engine and its clusters"):
            private.stop()
    if engine.host_engine_answers():
        log = places.artifacts() / "down.log"
        for name in ("zke", "zke-test"):
            with step(f"removing the cluster {name}"):
                Cluster(engine.HostEngine(), name, log).delete()
    for file in places.CACHE.glob("kubeconfig-*"):
        file.unlink()
    return 0


def test(arguments: argparse.Namespace) -> int:
    """The second command of README."""
    unknown = [name for name in arguments.names if name not in levels.NAMES and not any(levels.has_cases(package, [name]) for package in levels.PACKAGES)]
    if unknown:
        print(f"e2e/test: no level or case is named {', '.join(unknown)}; there are {', '.join(levels.NAMES)} and {', '.join(levels.case_names())}", file=sys.stderr)
        return 2
    start, artifacts = time.monotonic(), places.artifacts()
    places.warn_of_little_room()
    chosen_levels = [name for name in arguments.names if name in levels.NAMES]
    cases = [name for name in arguments.names if name not in levels.NAMES]
    if not arguments.names:
        chosen_levels = list(levels.NAMES)
    tally = run_levels(chosen_levels, cases, arguments, artifacts)
    print(f"logs and what remained of failures: {artifacts}")
    print(f"took {(time.monotonic() - start) / 60:.1f} min")
    print(tally)
    return 0 if tally.failed == 0 and tally.passed > 0 else 1


def run_levels(chosen_levels: list[str], cases: list[str], arguments: argparse.Namespace, artifacts: Path) -> Tally:
    """Runs whole levels, and single cases wherever they are."""
    tally = Tally()
    with_cluster = "cluster" in chosen_levels or levels.has_cases("scenarios", cases)
    if with_cluster:
        chosen = engine.choose()
        preparation = levels.NodePreparation(chosen, artifacts / "node-image.log")
        preparation.start()
    if "unit" in chosen_levels:
        tally += levels.unit()
    if "process" in chosen_levels or levels.has_cases("process", cases):
        tally += levels.process([] if "process" in chosen_levels else cases, artifacts, thorough=arguments.all)
    if "mixed" in chosen_levels or levels.has_cases("mixed", cases):
        core = levels.MIXED_CORE if not arguments.names and not arguments.all else []
        tally += levels.mixed(core if "mixed" in chosen_levels else cases, artifacts, arguments.apache)
    if "chaos" in chosen_levels or levels.has_cases("chaos", cases):
        tally += levels.chaos([] if "chaos" in chosen_levels else cases, artifacts, arguments.minutes or CHAOS_MINUTES)
    if with_cluster:
        with step("waiting for the node image's parts"):
            preparation.wait()
        core = levels.cluster_core() if not arguments.names and not arguments.all else []
        names = core if "cluster" in chosen_levels else cases
        tally += levels.cluster(names, artifacts, chosen, from_source=arguments.all, keep=arguments.keep)
    # Last: it takes both cores, and what prepares the cluster gets only what others leave.
    if "sim" in chosen_levels:
        tally += levels.simulation(arguments.minutes or SIMULATION_MINUTES, thorough=arguments.all)
    return tally


class Busy(Exception):
    """Another run holds the lock."""


def lock():
    """One run at a time: clusters and engine have fixed names. The lock goes with the process, however it ends."""
    places.CACHE.mkdir(parents=True, exist_ok=True)
    file = (places.CACHE / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Busy("another e2e run is under way on this machine; wait for it or end it") from error
    return file


sys.exit(main())
