"""What ensembles of both kinds were put through: role × side × fault, and which case does it.

A cell is a server of a side in a role, in an ensemble with servers of the other kind, and what happens to it. Where the role is the leader's, DIFF, TRUNC and
SNAP are what it sends to a learner of the other kind; elsewhere, what it is sent by such a leader. A session moves between it and a server of the other
kind; a quota counts what is written through it; a reconfiguration is asked of it, or for a joiner is that by which it joins.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .mixed import Kind
from .runner import Case, Tally

ROLES = ("leader", "follower", "observer", "joiner")
FAULTS = ("crash", "stop", "pause", "election", "DIFF", "TRUNC", "SNAP", "session moves", "ephemerals", "quota", "reconfig")

# Cells that cannot be: nobody has to fill them.
IMPOSSIBLE = {
    ("observer", "TRUNC"): "it logs only what is committed",
    ("joiner", "TRUNC"): "it has nothing yet",
    ("joiner", "DIFF"): "it has nothing yet",
    ("joiner", "quota"): "it is a follower before clients reach it",
    ("joiner", "session moves"): "it is a follower before clients reach it",
    ("joiner", "ephemerals"): "it is a follower before clients reach it",
}


@dataclass(frozen=True)
class Cell:
    """One thing that can happen to one server."""

    role: str
    kind: Kind
    fault: str


def cells(roles: str, kinds: str, faults: str) -> frozenset[Cell]:
    """Each of the roles, of the kinds (`J`, `R`), with each of the faults, which are divided by commas."""
    found = set()
    for role in roles.split():
        assert role in ROLES, f"{role!r} is not one of {ROLES}"
        for fault in (fault.strip() for fault in faults.split(",")):
            assert fault in FAULTS, f"{fault!r} is not one of {FAULTS}"
            found |= {Cell(role, {"J": Kind.JAVA, "R": Kind.RUST}[letter], fault) for letter in kinds}
    return frozenset(found)


def table(cases: Sequence[Case]) -> str:
    """The matrix as Markdown: which cases are written for each cell, by number, and their names below."""
    numbers = {case.name: number for number, case in enumerate((case for case in cases if case.covers), 1)}

    def cell(role: str, kind: Kind, fault: str) -> str:
        found = [str(numbers[case.name]) for case in cases if Cell(role, kind, fault) in case.covers]
        return ", ".join(found) if found else "n/a" if (role, fault) in IMPOSSIBLE else "**none**"

    names = "\n".join(f"{number}. {name}" for name, number in numbers.items())
    return f"{_rows(cell)}\n\n{names}\n"


def seen(tally: Tally) -> str:
    """The matrix of a run: what was seen to hold, and to fail."""

    def cell(role: str, kind: Kind, fault: str) -> str:
        here = Cell(role, kind, fault)
        if any(here in case.covers for case in tally.bad):
            return "FAILED"
        if any(here in case.covers for case in tally.good):
            return "ok"
        return "n/a" if (role, fault) in IMPOSSIBLE else "-"

    return _rows(cell)


def empty(cases: Iterable[Case]) -> list[Cell]:
    """The cells that no case is written for."""
    covered = {cell for case in cases for cell in case.covers}
    every = (Cell(role, kind, fault) for role in ROLES for kind in Kind for fault in FAULTS if (role, fault) not in IMPOSSIBLE)
    return [cell for cell in every if cell not in covered]


def _rows(cell) -> str:
    lines = [["role", "side", *FAULTS], ["---"] * (len(FAULTS) + 2)]
    lines += [[role, kind.value, *(cell(role, kind, fault) for fault in FAULTS)] for role in ROLES for kind in Kind]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
