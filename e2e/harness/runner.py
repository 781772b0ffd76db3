"""Cases and how they are run: one after the other, a line each with what it saw, and the remains of a failure kept."""

import importlib
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ERROR_CHARS = 1500


@dataclass(frozen=True)
class Case:
    """A behaviour to prove. `run` takes a world, says in one line what it saw, and raises when that is not what it should be."""

    name: str
    run: Callable[[Any], str]
    covers: frozenset[Any] = frozenset()  # cells of the level's matrix, where it has one


@dataclass
class Tally:
    """How many passed and failed."""

    passed: int = 0
    failed: int = 0
    good: list[Case] = field(default_factory=list)
    bad: list[Case] = field(default_factory=list)

    def __iadd__(self, other: "Tally") -> "Tally":
        self.passed += other.passed
        self.failed += other.failed
        return self

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed"


_registered: dict[str, list[Case]] = {}  # by package


def case(name: str, covers: Iterable[Any] = ()) -> Callable[[Callable[[Any], str]], Callable[[Any], str]]:
    """Registers a function as a case."""

    def register(function: Callable[[Any], str]) -> Callable[[Any], str]:
        _registered.setdefault(function.__module__.split(".")[0], []).append(Case(name, function, frozenset(covers)))
        return function

    return register


def find(package: str) -> list[Case]:
    """All cases of a package: its modules in order of their names, the cases of one in order of their definition."""
    for file in sorted((Path(__file__).resolve().parents[1] / package).glob("[a-z]*.py")):
        importlib.import_module(f"{package}.{file.stem}")
    return _registered.get(package, [])


def select(cases: Iterable[Case], names: list[str]) -> list[Case]:
    """The cases whose name begins with one of the names or has it as a word; all of them when there are no names."""
    wanted = [name.lower() for name in names]

    def matches(case: Case) -> bool:
        name = case.name.lower()
        return any(name.startswith(want) or want in name.split() for want in wanted)

    return [case for case in cases if not wanted or matches(case)]


def run(cases: Iterable[Case], world: Any, artifacts: Path) -> Tally:
    """Runs cases in a world that has `begin(case)` and `keep(folder)`."""
    tally = Tally()
    for case in cases:
        start = time.monotonic()
        try:
            world.begin(case)
            saw = case.run(world)
        except (Exception, SystemExit) as error:
            took = time.monotonic() - start
            kept = _keep(world, artifacts / case.name.replace(" ", "-").replace(",", ""), traceback.format_exc())
            tally.failed += 1
            tally.bad.append(case)
            print(f"FAILED {case.name} ({took:.0f} s): {str(error)[:ERROR_CHARS] or type(error).__name__}\n       kept: {kept}", flush=True)
            if isinstance(error, SystemExit):
                raise  # the run is told to end
        else:
            tally.passed += 1
            tally.good.append(case)
            print(f"ok     {case.name} ({time.monotonic() - start:.0f} s): {saw}", flush=True)
    sys.stdout.flush()
    return tally


def _keep(world: Any, folder: Path, failure: str) -> str:
    """Keeps what remained of a failure, and returns where. The other cases run all the same where there is no room for it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "failure.txt").write_text(failure)
        world.keep(folder)
    except OSError as error:
        return f"not everything: {error}\n{failure}"
    return str(folder)
