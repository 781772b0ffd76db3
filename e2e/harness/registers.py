"""What single znodes may show while they are overwritten: the judge of writes, reads and watches that know the zxid of each answer.

The answer to a write has the zxid that the write became, the answer to a read the zxid of the state it was made from. So, of writes to few paths with
values that never repeat, by sessions that move between servers:

    W  acknowledged writes have zxids of their own, versions without a gap between them that later ones contradict, and one that began after another
       was answered has the greater zxid (linearizable)
    N  a value whose write was refused is never seen
    V  the same version of a path has one value and one zxid, whoever reads it
    S  a session's zxids never decrease, whatever server it is at; so it sees its own writes
    R  a read from state Z shows the last write up to Z
    F  after a sync a read shows every write that was acknowledged before the sync began
    E  a watch that was left at a read is told before any answer from a state that has a later write, and never without one

This module only judges; it knows no sockets and no clock. Times are any numbers that grow.
"""

import bisect
import itertools
import threading
from collections import defaultdict
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Shown:
    """A value of a path: its version and the zxid of the write that made it."""

    path: str
    value: str
    version: int
    mzxid: int


@dataclass(frozen=True)
class Written:
    """An acknowledged write, and when it began and was answered."""

    shown: Shown
    began: float
    answered: float


@dataclass(frozen=True)
class Read:
    """A read: the zxid of the state, what it showed, and when the sync before it began, if there was one."""

    zxid: int
    shown: Shown
    synced: float | None = None


@dataclass(frozen=True)
class Watch:
    """A watch was left on a path whose value had this mzxid."""

    path: str
    mzxid: int


@dataclass(frozen=True)
class Told:
    """The watch on a path fired."""

    path: str


@dataclass(frozen=True)
class Answer:
    """Any answer: the zxid of its state."""

    zxid: int


Seen = Watch | Told | Answer


@dataclass
class Registers:
    """Everything that was observed of some paths in one run. Methods may be called from several threads."""

    writes: list[Written] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    sessions: dict[int, list[Seen]] = field(default_factory=lambda: defaultdict(list))
    violations: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, write: Written) -> None:
        """A write was acknowledged."""
        with self._lock:
            self.writes.append(write)

    def refuse(self, value: str) -> None:
        """A write was refused."""
        with self._lock:
            self.refused.add(value)

    def lose(self, value: str) -> None:
        """The answer to a write was lost."""
        with self._lock:
            self.unknown.add(value)

    def read(self, read: Read) -> None:
        """A read was answered."""
        with self._lock:
            self.reads.append(read)

    def see(self, session: int, seen: Seen) -> None:
        """A session received something; in the order of its connections, and on each in the order of the bytes."""
        with self._lock:
            self.sessions[session].append(seen)

    def violate(self, what: str) -> None:
        """Records a rule broken that an observer has seen itself."""
        with self._lock:
            self.violations.append(what)

    def judge(self) -> list[str]:
        """All rules broken."""
        with self._lock:
            found = list(self.violations)
            found += self._writes()
            found += self._values()
            at = {path: sorted(zxids) for path, zxids in self._zxids().items()}
            found += self._reads(at)
            for session, seen in self.sessions.items():
                found += (f"{broken} in session {session:#x}" for broken in _session(seen, at))
            return found

    def _writes(self) -> list[str]:
        found = []
        by_zxid = sorted(self.writes, key=lambda write: write.shown.mzxid)
        for one, other in itertools.pairwise(by_zxid):
            if one.shown.mzxid == other.shown.mzxid:
                found.append(f"W: {one.shown} and {other.shown} have one zxid")
        # From the last: the latest that began, of those with a greater zxid, must not have been answered before this one began.
        earliest, who = float("inf"), None
        for write in reversed(by_zxid):
            if earliest < write.began:
                found.append(f"W: {write.shown} began {write.began - earliest:.3f} s after {who} was answered, and has the smaller zxid")
            if write.answered < earliest:
                earliest, who = write.answered, write.shown
        versions: dict[str, Shown] = {}
        for write in by_zxid:
            before = versions.get(write.shown.path)
            if before and before.version >= write.shown.version:
                found.append(f"W: {write.shown} follows {before}")
            versions[write.shown.path] = write.shown
        return found

    def _values(self) -> list[str]:
        found = []
        known: dict[tuple[str, int], Shown] = {}
        for shown in self._shown():
            first = known.setdefault((shown.path, shown.version), shown)
            if first != shown:
                found.append(f"V: {first} and {shown}")
            if shown.value in self.refused:
                found.append(f"N: {shown}, whose write was refused")
        return found

    def _shown(self) -> set[Shown]:
        return {write.shown for write in self.writes} | {read.shown for read in self.reads}

    def _zxids(self) -> dict[str, set[int]]:
        zxids: dict[str, set[int]] = defaultdict(set)
        for shown in self._shown():
            zxids[shown.path].add(shown.mzxid)
        return zxids

    def _reads(self, at: dict[str, list[int]]) -> list[str]:
        found = []
        answered: dict[str, list[tuple[float, int]]] = defaultdict(list)  # per path, when a zxid was known to be the last so far
        for write in sorted(self.writes, key=lambda write: write.answered):
            last = answered[write.shown.path]
            last.append((write.answered, max(write.shown.mzxid, last[-1][1] if last else 0)))
        for read in self.reads:
            shown = read.shown
            if shown.mzxid > read.zxid:
                found.append(f"R: {shown} was read from state {read.zxid:#x}")
            missed = _between(at[shown.path], shown.mzxid, read.zxid)
            if missed:
                found.append(f"R: {shown} was read from state {read.zxid:#x}, which has a write at {missed:#x}")
            if read.synced is not None:
                before = bisect.bisect_left(answered[shown.path], (read.synced, 0))
                if before and answered[shown.path][before - 1][1] > shown.mzxid:
                    found.append(f"F: {shown} was read after a sync that began after {answered[shown.path][before - 1][1]:#x} was acknowledged")
        return found


def _session(seen: list[Seen], at: dict[str, list[int]]) -> list[str]:
    """Rules S and E, in what one session received."""
    found, last, watches = [], 0, dict[str, int]()
    for step in seen:
        match step:
            case Watch(path, mzxid):
                watches[path] = mzxid
            case Told(path):
                mzxid = watches.pop(path, None)
                if mzxid is None:
                    found.append(f"E: a watch on {path} fired that was not left")
                elif not _between(at.get(path, []), mzxid, 1 << 63):
                    found.append(f"E: a watch left on {path} at {mzxid:#x} fired without a later write")
            case Answer(zxid):
                if zxid < last:
                    found.append(f"S: an answer from state {zxid:#x} after one from {last:#x}")
                last = max(last, zxid)
                for path, mzxid in watches.items():
                    missed = _between(at.get(path, []), mzxid, zxid)
                    if missed:
                        found.append(f"E: a watch left on {path} at {mzxid:#x} had not fired when the state {zxid:#x}, with a write at {missed:#x}, was shown")
    return found


def _between(zxids: list[int], after: int, until: int) -> int | None:
    """The first of the ascending numbers that is greater than the one and not greater than the other."""
    place = bisect.bisect_right(zxids, after)
    return zxids[place] if place < len(zxids) and zxids[place] <= until else None
