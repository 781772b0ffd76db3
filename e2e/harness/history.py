"""What clients did and were told, and what must therefore be in the tree at the end.

The writer creates sequential znodes under one parent, one at a time, each with data that names the attempt. The answer to an attempt is one of three:

    acknowledged   the server named the znode: it must be there, with this attempt's data, for ever
    refused        the server said no: it must not be there
    unknown        the connection or the session was lost before the answer: it may be there, once

A server of Apache ZooKeeper may answer with the write before: it matches by session and xid, and kazoo counts xids anew on each connection. So a session
that moves while a write of it is under way can be told, of its next write with the same xid, the znode of the one before (`CommitProcessor`; 3.8.6 and
3.9.5 do it). Exactly that is counted and no violation: such an attempt is unknown. From a server of ours it is a violation.

Since nobody else creates under the parent and nothing is deleted there, ZooKeeper's counter has no gap, and later attempts have greater numbers. Readers
add two rules: what a session saw it sees ever after (monotonic reads), and a read after `sync` sees all that was acknowledged before the `sync` began.

This module only judges; it knows no client library and no clock.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

DIGITS = 10
VIOLATIONS_SHOWN = 10


@dataclass(frozen=True)
class Sent:
    """How a request was sent: in which session, under which xid, to which server."""

    session: int
    xid: int
    server: str

    def moved_from(self, before: "Sent") -> bool:
        """Whether this one has the session and the xid of one before, which went to another server."""
        return (self.session, self.xid) == (before.session, before.xid) and self.server != before.server


@dataclass
class History:
    """Everything that was observed in one run. Methods may be called from several threads."""

    acknowledged: dict[int, int] = field(default_factory=dict)  # attempt -> sequence number
    unknown: set[int] = field(default_factory=set)
    refused: dict[int, str] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    reads: int = 0
    misled: int = 0  # how many attempts `judge` found answered with the one before, by Apache ZooKeeper
    _lost: dict[int, Sent] = field(default_factory=dict)
    _by_apache: dict[int, Sent] = field(default_factory=dict)
    _attempts: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def attempt(self) -> int:
        """Begins an attempt and returns its number. Until its outcome is known it is unknown."""
        with self._lock:
            self._attempts += 1
            self.unknown.add(self._attempts)
            return self._attempts

    def acknowledge(self, attempt: int, znode: str, by_apache: Sent | None = None) -> None:
        """The server answered that it created this znode; with how the request was sent if that is a server of Apache ZooKeeper."""
        with self._lock:
            self.unknown.discard(attempt)
            self.acknowledged[attempt] = sequence_number(znode)
            if by_apache:
                self._by_apache[attempt] = by_apache

    def lose(self, attempt: int, sent: Sent | None) -> None:
        """No answer will come. How it was sent, if it was."""
        with self._lock:
            if sent:
                self._lost[attempt] = sent

    def refuse(self, attempt: int, reason: str) -> None:
        """The server answered that it did not."""
        with self._lock:
            self.unknown.discard(attempt)
            self.refused[attempt] = reason

    def acknowledged_numbers(self) -> set[int]:
        """The sequence numbers that were acknowledged up to now."""
        with self._lock:
            return set(self.acknowledged.values())

    def read(self, seen: set[int], must_have: set[int], why: str) -> None:
        """A read saw these sequence numbers, and had to see some."""
        missing = sorted(must_have - seen)
        with self._lock:
            self.reads += 1
            if missing:
                self.violations.append(f"a read missed {_short(missing)}: {why}")

    def violate(self, what: str) -> None:
        """Records a rule broken that an observer has seen itself."""
        with self._lock:
            self.violations.append(what)

    def judge(self, final: Mapping[str, bytes]) -> list[str]:
        """All rules broken, given the parent's children and their data at the end."""
        found = list(self.violations)
        at = {sequence_number(znode): int(data) for znode, data in final.items()}
        for attempt, number in sorted(self.acknowledged.items()):
            if number not in at:
                found.append(f"lost: attempt {attempt} was acknowledged as number {number}, which is not there")
            elif self._is_misled(attempt, at[number]):
                self.misled += 1
            elif at[number] != attempt:
                found.append(f"overwritten: number {number} was acknowledged to attempt {attempt} and holds attempt {at[number]}")
        places: dict[int, list[int]] = {}
        for number, attempt in at.items():
            places.setdefault(attempt, []).append(number)
        for attempt, numbers in sorted(places.items()):
            if len(numbers) > 1:
                found.append(f"twice: attempt {attempt} is at {_short(sorted(numbers))}")
            if attempt not in self.acknowledged and attempt not in self.unknown:
                found.append(f"from nowhere: number {numbers[0]} holds attempt {attempt}, which was {'refused' if attempt in self.refused else 'never made'}")
        gaps = sorted(set(range(len(at))) - set(at))
        if gaps:
            found.append(f"gap: of {len(at)} numbers {_short(gaps)} are missing")
        in_order = [attempt for _, attempt in sorted(at.items())]
        if in_order != sorted(in_order):
            found.append("order: a later attempt has a smaller number")
        return found

    def _is_misled(self, attempt: int, holds: int) -> bool:
        """Whether Apache ZooKeeper answered an attempt with an earlier one, which was lost when the session moved."""
        answered, before = self._by_apache.get(attempt), self._lost.get(holds)
        return answered is not None and before is not None and holds < attempt and answered.moved_from(before)


def sequence_number(znode: str) -> int:
    """The number that the server appended to a sequential znode's name."""
    return int(znode[-DIGITS:])


def _short(numbers: list[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:VIOLATIONS_SHOWN])
    return shown if len(numbers) <= VIOLATIONS_SHOWN else f"{shown} and {len(numbers) - VIOLATIONS_SHOWN} more"
