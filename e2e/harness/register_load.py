"""Load on a few znodes while things break, on bare sessions that move from server to server: writers, readers with watches, and one who leaves.

What they see goes into Registers, which judges it at the end; kazoo's load (load.py) runs beside it.
"""

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from .load import close, connect
from .processes import Server
from .raw_session import BAD_VERSION, EPHEMERAL, NO_NODE, OK, RawSession, Refused, Reply
from .registers import Answer, Read, Registers, Shown, Told, Watch, Written
from .shell import TimedOut, wait_for

PATHS = 3
WRITERS = READERS = 2
TIMEOUT_MS = 6000
ANSWER_SECONDS = 3.0
WRITE_EVERY_SECONDS = 0.03
READ_EVERY_SECONDS = 0.02
BEAT_EVERY_SECONDS = 0.3
STAY_SECONDS = 4.0
SETTLE_SECONDS = 120
# A write that is answered was heard by the leader; but it hears of the session's life from the server of its client, up to half a tick and, on a busy
# machine, more, later. A server that is lost in that time takes the news with it.
EARLY_SECONDS = 2.0
CLOSE_SESSION = -11


@dataclass(frozen=True)
class Summary:
    """What a load saw."""

    overwrites: int
    unknown: int
    refused: int
    reads: int
    watch_events: int
    sessions: int
    sessions_left: int

    def __str__(self) -> str:
        return (
            f"{self.overwrites} overwrites acknowledged, {self.unknown} unknown, {self.refused} refused; {self.reads} reads and {self.watch_events} watch events "
            f"in {self.sessions} sessions, each in its place; {self.sessions_left} sessions left or closed, and their znodes gone in time"
        )


class Moving:
    """A session that goes on at another server whenever its connection fails, and is replaced by a new one when it has expired."""

    def __init__(self, servers: Sequence[Server], registers: Registers, chance: random.Random):
        self._servers, self._registers, self._chance = servers, registers, chance
        self.connection: RawSession | None = None
        self._identity = (0, bytes(16))
        self._seen = 0
        self.watched: set[str] = set()

    def do(self, ask: Callable[[RawSession], Reply]) -> Reply:
        """Asks at the present server, or after a move at another one. Raises OSError when the answer is lost, and when there is no server."""
        session = self.connection or self._move()
        try:
            reply = ask(session)
        except OSError:
            self.leave()
            raise
        self.see(reply.zxid)
        return reply

    def sync(self, path: str) -> None:
        """Makes sure that what is read next, if the connection lasts, is not older than this moment."""
        self.do(lambda session: session.sync(path))

    def see(self, zxid: int) -> None:
        """Takes note of an answer."""
        self._seen = max(self._seen, zxid)
        self._registers.see(self._identity[0], Answer(zxid))

    def watch(self, path: str, mzxid: int) -> None:
        """Takes note of a watch that a read has left."""
        self.watched.add(path)
        self._registers.see(self._identity[0], Watch(path, mzxid))

    def leave(self) -> None:
        """Ends the connection."""
        if self.connection:
            self.connection.leave()
        self.connection = None

    def _move(self) -> RawSession:
        server = self._chance.choice(self._servers)
        identity, seen = self._identity, self._seen
        try:
            session = RawSession(server, TIMEOUT_MS, *identity, seen=seen, read_seconds=ANSWER_SECONDS, told=self._told)
        except Refused:
            self._identity, self._seen, self.watched = (0, bytes(16)), 0, set()
            raise OSError("the session has expired") from None
        self.connection, self._identity = session, (session.id, session.password)
        if self.watched:
            self.do(lambda session: session.set_watches(seen, sorted(self.watched)))
        return session

    def _told(self, _kind: int, path: str) -> None:
        self.watched.discard(path)
        self._registers.see(self._identity[0], Told(path))


class RegisterLoad:
    """A running load on some servers. Use `loading`, or `start` and `finish`."""

    def __init__(self, servers: Sequence[Server], root: str):
        self.servers, self.root = list(servers), root
        self.registers = Registers()
        self.left = 0
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Makes the znodes and starts everybody."""
        client = connect(",".join(server.address for server in self.servers))
        try:
            for path in (self.root, *self._paths()):
                client.create(path, b"")
        finally:
            close(client)
        for number in range(WRITERS):
            self._run(f"writer {number}", self._write, number)
        for number in range(READERS):
            self._run(f"reader {number}", self._read, number)
        self._run("leaver", self._leave, 0)

    def finish(self) -> Summary:
        """Stops the load, when all servers serve again, and judges it. Raises AssertionError with every rule broken."""
        self._stop.set()
        for thread in self._threads:
            thread.join(SETTLE_SECONDS)
            if thread.is_alive():
                self.registers.violate(f"X: the {thread.name} has not ended after {SETTLE_SECONDS} s")
        self._last_writes()
        broken = self.registers.judge()
        assert not broken, "; ".join(broken[:5]) + (f"; and {len(broken) - 5} more" if len(broken) > 5 else "")
        registers = self.registers
        return Summary(
            overwrites=len(registers.writes),
            unknown=len(registers.unknown),
            refused=len(registers.refused),
            reads=len(registers.reads),
            watch_events=sum(isinstance(seen, Told) for session in registers.sessions.values() for seen in session),
            sessions=len(registers.sessions),
            sessions_left=self.left,
        )

    def abandon(self) -> None:
        """Stops the load without judging it."""
        self._stop.set()

    def _paths(self) -> list[str]:
        return [f"{self.root}/register-{number}" for number in range(PATHS)]

    def _run(self, name: str, work: Callable[[random.Random, str], None], number: int) -> None:
        def guarded() -> None:
            try:
                work(random.Random(f"{self.root} {name}"), name)
            except Exception as error:  # a thread that dies must not look like a load that saw nothing
                self.registers.violate(f"X: the {name} died: {error!r}")

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _session(self, chance: random.Random) -> Moving:
        return Moving(self.servers, self.registers, chance)

    def _write(self, chance: random.Random, name: str) -> None:
        moving, versions, count = self._session(chance), dict.fromkeys(self._paths(), -1), 0
        while not self._stop.is_set():
            path, count = chance.choice(self._paths()), count + 1
            value, expected = f"{name} {count}", versions[path] if chance.random() < 0.3 else -1
            began = time.monotonic()
            try:
                reply = moving.do(lambda session: session.set(path, value.encode(), expected))
            except OSError:
                self.registers.lose(value)
                self._stop.wait(0.1)
                continue
            if reply.error == OK:
                versions[path] = reply.version
                self.registers.write(Written(Shown(path, value, reply.version, reply.mzxid), began, time.monotonic()))
            elif reply.error == BAD_VERSION:
                versions[path] = -1
                self.registers.refuse(value)
            else:
                self.registers.violate(f"X: a write was answered with error {reply.error}")
            self._stop.wait(WRITE_EVERY_SECONDS)
        moving.leave()

    def _read(self, chance: random.Random, _name: str) -> None:
        moving = self._session(chance)
        while not self._stop.is_set():
            path, synced = chance.choice(self._paths()), None
            try:
                if chance.random() < 0.3:
                    synced = time.monotonic()
                    moving.sync(path)
                watch = path not in moving.watched and chance.random() < 0.3
                reply = moving.do(lambda session: session.get(path, watch=watch))
            except OSError:
                self._stop.wait(0.1)
                continue
            assert reply.error == OK, f"a read was answered with error {reply.error}"
            self.registers.read(Read(reply.zxid, Shown(path, reply.data.decode(), reply.version, reply.mzxid), synced))
            if watch:
                moving.watch(path, reply.mzxid)
            self._stop.wait(READ_EVERY_SECONDS)
        moving.leave()

    def _leave(self, chance: random.Random, _name: str) -> None:
        """Sessions with an ephemeral znode, which are left, and must then expire in time, or are closed, and the znode gone at once."""
        observer, count = self._session(chance), 0
        while not self._stop.is_set():
            count += 1
            path = f"{self.root}/ephemeral-{count}"
            try:
                session = RawSession(chance.choice(self.servers), TIMEOUT_MS, read_seconds=ANSWER_SECONDS)
            except (OSError, Refused):
                self._stop.wait(0.1)
                continue
            heard = self._stay(session, path, time.monotonic() + chance.uniform(0, STAY_SECONDS))
            close_it, closed = chance.random() < 0.5, False
            if close_it:
                with contextlib.suppress(OSError):
                    closed = session.ask(CLOSE_SESSION, b"").error == OK
            session.leave()
            if heard is None:
                continue
            self.left += 1
            there, gone = self._wait_until_gone(observer, path)
            if closed and there:
                self.registers.violate(f"X: {path} was there after the end of its session was answered")
            if not close_it and gone - heard < TIMEOUT_MS / 1000 - EARLY_SECONDS:
                self.registers.violate(f"X: {path} was gone {gone - heard:.1f} s after a write of its session, whose time-out is {TIMEOUT_MS} ms")
        observer.leave()

    def _stay(self, session: RawSession, path: str, until: float) -> float | None:
        """Keeps a session with an ephemeral znode alive; returns when its last answered write began, or None when the znode was not created for certain."""
        heard, began = None, time.monotonic()
        with contextlib.suppress(OSError):
            if session.create(path, flags=EPHEMERAL) != OK:
                return None
            heard = began
            while time.monotonic() < until:
                began = time.monotonic()
                reply = session.set(path, b"here")
                if reply.error == NO_NODE:
                    self.registers.violate(f"X: {path} is gone while its session lives")
                if reply.error != OK:
                    break
                heard = began
                self._stop.wait(BEAT_EVERY_SECONDS)
        return heard

    def _wait_until_gone(self, observer: Moving, path: str) -> tuple[bool, float]:
        """Whether a znode was still there at the first look, and when it was seen to be gone."""
        looks: list[bool] = []

        def gone() -> bool:
            observer.sync(path)
            looks.append(observer.do(lambda session: session.exists(path)).error != NO_NODE)
            return not looks[-1]

        try:
            wait_for(f"{path} to go", SETTLE_SECONDS, gone, every=0.1)
        except TimedOut as error:
            self.registers.violate(f"X: {error}")
        return looks[:1] == [True], time.monotonic()

    def _last_writes(self) -> None:
        """A write to each path that everybody can see to be the last: what was written before, with the answer lost, has a later one then."""
        client = connect(",".join(server.address for server in self.servers))
        try:
            for path in self._paths():
                began, stat = time.monotonic(), client.set(path, b"the end")
                self.registers.write(Written(Shown(path, "the end", stat.version, stat.mzxid), began, time.monotonic()))
        finally:
            close(client)


@contextlib.contextmanager
def loading(servers: Sequence[Server], root: str) -> Iterator[RegisterLoad]:
    """A load for the time of a `with` block; judged by calling `finish` in it, stopped in any case."""
    load = RegisterLoad(servers, root)
    try:
        load.start()
        yield load
    finally:
        load.abandon()
