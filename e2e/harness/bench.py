"""The command line behind e2e/bench."""

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from . import bench_machine, bench_report, bench_rows, places
from .bench_series import Bench, Settings
from .bench_servers import Generator, Stage, apache, ours
from .prerequisites import Missing, require
from .shell import CommandFailed, TimedOut, run, step

# The generator is a measuring tool and no part of this repository.
ZKBENCH = places.REPOSITORY.parent / "shared" / "tools" / "zkbench"
MEMORY_FILE_SYSTEMS = {"tmpfs", "ramfs"}


def main() -> int:
    """Parses, builds, measures, reports. Exit code 0: measured; 1: something failed; 2: something is missing."""
    arguments = parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that cleaning up runs
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell started this in the background
    sys.stdout.reconfigure(line_buffering=True)
    unknown = [name for name in arguments.rows if name not in ids()]
    if unknown:
        print(f"e2e/bench: no row is named {', '.join(unknown)}; there are {', '.join(ids())}", file=sys.stderr)
        return 2
    try:
        measure(arguments, bench_rows.select(arguments.rows))
        return 0
    except Missing as error:
        print(f"e2e/bench: {error}", file=sys.stderr)
        return 2
    except (CommandFailed, TimedOut) as error:
        print(f"e2e/bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def ids() -> list[str]:
    """Each row's id once."""
    return list(dict.fromkeys(row.id for row in bench_rows.ROWS))


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    top = argparse.ArgumentParser(prog="e2e/bench", description="Measures this server beside Apache ZooKeeper and the machine's floor, interleaved, on loopback.")
    top.add_argument("rows", nargs="*", metavar="ROW", help=f"{', '.join(ids())} (default: {' '.join(bench_rows.DEFAULT)}); docs/benchmarks.md says what each is")
    top.add_argument("--rounds", type=int, default=5, help="how often each is measured (default: %(default)s)")
    top.add_argument("--seconds", type=float, default=3, help="how long a run lasts after its warm-up (default: %(default)s)")
    top.add_argument("--disk", type=Path, default=Path("/var/tmp"), help="where the servers keep their files; must not be memory (default: %(default)s)")
    top.add_argument("--zkbench", type=Path, default=ZKBENCH, help="the sources of the load generator (default: ../shared/tools/zkbench beside the repository)")
    top.add_argument("--output", type=Path, help="folder for table.md and results.json (default: a new one in the cache)")
    return top


def measure(arguments: argparse.Namespace, rows: Sequence[bench_rows.Row]) -> None:
    """Does all of it."""
    require("java", "mvn", "setpriv")
    if run(["stat", "--file-system", "--format=%T", arguments.disk]).strip() in MEMORY_FILE_SYSTEMS:
        raise Missing(f"{arguments.disk} is memory: name a folder on a disk with --disk")
    if not (arguments.zkbench / "Cargo.toml").is_file():
        raise Missing(f"the load generator zkbench is not here: there is no {arguments.zkbench / 'Cargo.toml'}; name the folder of its sources with --zkbench")
    start, output = time.monotonic(), arguments.output or places.CACHE / "benchmarks" / time.strftime("%Y%m%d-%H%M%S")
    output.mkdir(parents=True, exist_ok=True)
    log = output / "build.log"
    with step("building the server"):
        candidate = ours(log)
    with step("building zkbench"):
        generator = zkbench(arguments.zkbench, log)
    with step("fetching Apache ZooKeeper"):
        reference = apache(log)
    facts = {"A": reference.name, **bench_machine.facts(arguments.disk)}
    facts["runs"] = f"{arguments.rounds} rounds of {arguments.seconds:g} s"
    bench = Bench(Stage(generator, arguments.disk), reference, candidate, Settings(arguments.rounds, arguments.seconds), lambda what: print(f"  {what}"))
    bench.measure({row.source for row in rows})
    lines = [bench_report.line(row, bench.rounds[row.source]) for row in rows]
    facts["took"] = f"{(time.monotonic() - start) / 60:.1f} min"
    table = bench_report.markdown(lines, facts)
    (output / "table.md").write_text(table)
    raw = {name: [measured.runs for measured in rounds] for name, rounds in bench.rounds.items()}
    (output / "results.json").write_text(json.dumps({"facts": facts, "rows": [each.json() for each in lines], "rounds": raw}, indent=1))
    print(f"\n{table}\n{output}/table.md, {output}/results.json")


def zkbench(sources: Path, log: Path) -> Generator:
    """Builds the generator; its sources may be read-only."""
    target = places.TARGET / "zkbench"
    run(["cargo", "build", "--release", "--locked", "--manifest-path", sources / "Cargo.toml"], cwd=places.REPOSITORY, env={"CARGO_TARGET_DIR": str(target)}, log=log)
    return Generator(target / "release" / "zkbench")


if __name__ == "__main__":
    sys.exit(main())
