"""Load while things break: a writer, a reader, an owner of an ephemeral znode and a watcher, on kazoo, each with a session of its own.

What they see goes into a History, which judges it at the end. The load goes on by itself when servers fail; only the judge decides what was wrong.
"""

import contextlib
import itertools
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kazoo.client import KazooClient
from kazoo.exceptions import ConnectionLoss, KazooException, NoNodeError, SessionExpiredError, SessionMovedError
from kazoo.handlers.threading import KazooTimeoutError, SequentialThreadingHandler
from kazoo.protocol.connection import ConnectionHandler
from kazoo.protocol.states import KazooState, WatchedEvent

from .history import History, Sent, sequence_number

# Session timeouts must outlive an election on a busy machine, so that ephemerals survive every single failure.
SESSION_SECONDS = 20.0
CONNECT_SECONDS = 120.0
ATTEMPT_SECONDS = 2.0
FINISH_SECONDS = 180.0
WRITE_EVERY_SECONDS = 0.01
READ_EVERY_SECONDS = 0.5
OWNER_EVERY_SECONDS = 0.5
BEAT_EVERY_WRITES = 10
# A stall of the writer that is explained, by what its clients logged meanwhile, and how many lines of that are kept for each client.
EXPLAINED_STALL_SECONDS = 5.0
LINES_KEPT = 200

PATIENT = {"max_tries": -1, "delay": 0.1, "backoff": 1, "max_delay": 1}

# After these nobody knows whether a request was carried out.
UNKNOWN = (ConnectionLoss, SessionExpiredError, SessionMovedError, KazooTimeoutError)

logging.getLogger("kazoo").setLevel(logging.CRITICAL)
_names = itertools.count()


class ImpatientHandler(SequentialThreadingHandler):
    """kazoo waits a whole session timeout for one connection. An address of a Service may lead to a pod that is gone; the next try leads elsewhere."""

    def create_connection(self, *args, **kwargs):
        """Connects as kazoo does, within less time."""
        return super().create_connection(*args, **{**kwargs, "timeout": ATTEMPT_SECONDS})


class Connection(ConnectionHandler):
    """kazoo's, which remembers what it sent last."""

    sent: Sent | None = None

    def _submit(self, request, timeout, xid=None):
        if xid and xid > 0:  # no handshake, ping or auth
            host, port = self._socket.getpeername()
            self.sent = Sent(self.client.client_id[0], xid, f"{host}:{port}")
        super()._submit(request, timeout, xid)


class Diary(logging.Handler):
    """The last lines that a client logged, each attempt to connect and what became of it among them."""

    def __init__(self):
        super().__init__(logging.INFO)
        self._lines: deque[tuple[float, str]] = deque(maxlen=LINES_KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps the first line."""
        self._lines.append((time.monotonic(), record.getMessage().partition("\n")[0]))

    def between(self, start: float, end: float) -> list[str]:
        """What was logged in that time, each line with the seconds since the start."""
        return [f"+{moment - start:.1f} s {line}" for moment, line in list(self._lines) if start <= moment <= end]


class Client(KazooClient):
    """kazoo's, on such a connection, with a diary."""

    def __init__(self, **options):
        self.diary = Diary()
        logger = logging.getLogger(f"load.{next(_names)}")
        logger.propagate = False
        logger.setLevel(logging.INFO)
        logger.addHandler(self.diary)
        super().__init__(**options, logger=logger)
        self._connection = Connection(self, self._conn_retry.copy(), logger=self.logger)

    @contextlib.contextmanager
    def sending(self) -> Iterator[Callable[[], Sent | None]]:
        """What the one request of the block, which nobody else makes meanwhile, was sent as; none while it was not."""
        self._connection.sent = None
        yield lambda: self._connection.sent


class LoadFailed(AssertionError):
    """A rule was broken. The message lists what."""


@dataclass(frozen=True)
class Summary:
    """What a load saw."""

    acknowledged: int
    unknown: int
    reads: int
    watch_events: int
    sessions_lost: int
    longest_stall_seconds: float
    misled: int = 0
    explanation: str = ""

    def __str__(self) -> str:
        lost = f", {self.sessions_lost} sessions lost" if self.sessions_lost else ""
        lost += f", {self.misled} answered by Apache ZooKeeper with another write before a move" if self.misled else ""
        return (
            f"{self.acknowledged} writes acknowledged and present, {self.unknown} unknown, no gap; {self.reads} reads, "
            f"{self.watch_events} watch events{lost}; longest stall {self.longest_stall_seconds:.1f} s{self.explanation}"
        )


class Load:
    """A running load on `hosts` (a connect string). Use `running`, or `start` and `finish`. Of an address, `is_apache` says whether the server that answers
    there now is Apache ZooKeeper's."""

    def __init__(self, hosts: str, is_apache: Callable[[str], bool] = lambda address: False):
        self.hosts, self._is_apache = hosts, is_apache
        self.root = f"/e2e-{uuid.uuid4().hex[:8]}"
        self.history = History()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._clients: list[Client] = []
        self._last_acknowledged = time.monotonic()
        self._longest_stall = 0.0
        self._explanation = ""
        self._watch_events = 0
        self._watched = ""
        self._sessions_lost = 0

    def start(self) -> None:
        """Connects, makes the parents, and starts the four."""
        judge = connect(self.hosts)
        try:
            for path in (self.root, f"{self.root}/log"):
                judge.create(path)
            judge.create(f"{self.root}/beat", b"0")
        finally:
            close(judge)
        for work in (self._write, self._read, self._own, self._watch):
            client = connect(self.hosts)
            client.add_listener(self._count_lost)
            self._clients.append(client)
            thread = threading.Thread(target=self._guard, args=(work, client), name=work.__name__.strip("_"), daemon=True)
            self._threads.append(thread)
        self._clients.append(connect(self.hosts))  # of the beat
        self._last_acknowledged = time.monotonic()
        for thread in self._threads:
            thread.start()

    def acknowledged(self) -> int:
        """How many writes were acknowledged up to now."""
        return len(self.history.acknowledged)

    def wait_for_writes(self, count: int, seconds: float) -> float:
        """Waits until so many more writes are acknowledged, and returns how long that took. Raises LoadFailed."""
        start, goal = time.monotonic(), self.acknowledged() + count
        while self.acknowledged() < goal:
            if time.monotonic() - start > seconds:
                raise LoadFailed(f"only {self.acknowledged() - goal + count} of {count} writes were acknowledged in {seconds:.0f} s")
            time.sleep(0.05)
        return time.monotonic() - start

    def finish(self) -> Summary:
        """Stops the load and judges it. Raises LoadFailed with every rule broken."""
        try:
            self._stop.set()
            deadline = time.monotonic() + FINISH_SECONDS
            writer, reader, owner, watcher = self._threads
            for thread in (writer, reader, owner):
                thread.join(max(0.0, deadline - time.monotonic()))
                if thread.is_alive():
                    self.history.violate(f"the {thread.name} thread got no answer for {FINISH_SECONDS:.0f} s")
            self._check_watch(deadline)
            final = self._final_state(deadline)
        finally:
            self.abandon()
        violations = self.history.judge(final)
        if violations:
            raise LoadFailed("; ".join(violations[:5]) + (f"; and {len(violations) - 5} more" if len(violations) > 5 else ""))
        return Summary(
            acknowledged=len(self.history.acknowledged),
            misled=self.history.misled,
            unknown=len(self.history.unknown),
            reads=self.history.reads,
            watch_events=self._watch_events,
            sessions_lost=self._sessions_lost,
            longest_stall_seconds=self._longest_stall,
            explanation=self._explanation,
        )

    def abandon(self) -> None:
        """Stops the load without judging it."""
        self._stop.set()
        for client in self._clients:
            close(client)
        self._clients.clear()

    # The four

    def _guard(self, work, client: KazooClient) -> None:
        try:
            work(client)
        except Exception as error:  # a thread that dies must not look like a load that saw nothing
            if not self._stop.is_set():
                self.history.violate(f"the {work.__name__.strip('_')} thread died: {error!r}")

    def _write(self, client: Client) -> None:
        while not self._stop.is_set():
            attempt = self.history.attempt()
            with client.sending() as sent:
                try:
                    znode = client.create(f"{self.root}/log/n-", str(attempt).encode(), sequence=True)
                except UNKNOWN:
                    self.history.lose(attempt, sent())
                    self._pause()
                    continue
                except KazooException as error:
                    self.history.refuse(attempt, repr(error))
                    self.history.violate(f"a create was refused: {error!r}")
                    continue
                self.history.acknowledge(attempt, znode, self._by_apache(sent()))
            now = time.monotonic()
            self._note_stall(now)
            self._last_acknowledged = now
            if attempt % BEAT_EVERY_WRITES == 0:
                self._beat(attempt)
            self._stop.wait(WRITE_EVERY_SECONDS)

    def _note_stall(self, now: float) -> None:
        """Keeps the longest, and what the clients that write did in it: the writer's own, and that of the beat, for which it waits."""
        if now - self._last_acknowledged <= self._longest_stall:
            return
        self._longest_stall = now - self._last_acknowledged
        if self._longest_stall >= EXPLAINED_STALL_SECONDS:
            lines = {"writer": self._clients[0], "beat": self._clients[-1]}
            told = [f"\n           {name} {line}" for name, client in lines.items() for line in client.diary.between(self._last_acknowledged, now)]
            self._explanation = ":" + "".join(told or ["\n           the clients logged nothing"])

    def _beat(self, attempt: int) -> None:
        """Changes what the watcher watches, in a session of its own: the writer's has creations only."""
        with contextlib.suppress(*UNKNOWN):
            self._clients[-1].set(f"{self.root}/beat", str(attempt).encode())

    def _by_apache(self, sent: Sent | None) -> Sent | None:
        """How a request was sent, if a server of Apache ZooKeeper answered it."""
        return sent if sent and self._is_apache(sent.server) else None

    def _read(self, client: KazooClient) -> None:
        parent, session, seen = f"{self.root}/log", None, set[int]()
        while not self._stop.is_set():
            try:
                if client.client_id and client.client_id[0] != session:
                    session, seen = client.client_id[0], set()  # the promise is one session's
                before = client.client_id
                now_seen = numbers(client, parent)
                if client.client_id == before:
                    self.history.read(now_seen, seen, "this session had seen it before")
                acknowledged = self.history.acknowledged_numbers()
                client.sync(parent)
                fresh = numbers(client, parent)
                self.history.read(fresh, acknowledged, "it was acknowledged before the sync that preceded the read")
                if client.client_id == before:
                    seen = fresh
            except UNKNOWN:
                self._pause()
            self._stop.wait(READ_EVERY_SECONDS)

    def _own(self, client: KazooClient) -> None:
        path, owner = f"{self.root}/owner", None
        while not self._stop.is_set():
            try:
                session = client.client_id[0] if client.client_id else None
                if owner != session:
                    client.create(path, ephemeral=True)
                    owner = session if client.client_id and client.client_id[0] == session else None
                stat = client.exists(path)
                still = client.client_id[0] if client.client_id else None
                if owner is not None and owner == still and (stat is None or stat.ephemeralOwner != owner):
                    self.history.violate(f"the session {owner:#x} lives and its ephemeral znode is {'gone' if stat is None else 'of another session'}")
            except UNKNOWN:
                self._pause()
            except KazooException:
                self._pause()  # the znode of an expired session of ours is still there, or was created by an attempt of unknown outcome
                with contextlib.suppress(KazooException, KazooTimeoutError):
                    stat = client.exists(path)
                    if stat and client.client_id and stat.ephemeralOwner == client.client_id[0]:
                        owner = client.client_id[0]
            self._stop.wait(OWNER_EVERY_SECONDS)

    def _watch(self, client: KazooClient) -> None:
        """Reads only when told to: by a watch event, or by a new connection (kazoo does not carry watches over)."""
        told = threading.Event()

        def on_event(event: WatchedEvent) -> None:
            if event.type == "CHANGED":
                self._watch_events += 1
            told.set()

        def on_state(state: KazooState) -> None:
            if state == KazooState.CONNECTED:
                told.set()

        client.add_listener(on_state)
        told.set()
        while client in self._clients:
            if not told.wait(0.5):
                continue
            told.clear()
            try:
                self._watched = client.get(f"{self.root}/beat", watch=on_event)[0].decode()
            except UNKNOWN:
                self._pause()
                told.set()

    def _count_lost(self, state: KazooState) -> None:
        if state == KazooState.LOST and not self._stop.is_set():
            self._sessions_lost += 1

    def _pause(self) -> None:
        time.sleep(0.1)

    # The end

    def _check_watch(self, deadline: float) -> None:
        """The last change must reach the watcher, which reads only when a watch fires."""
        last = f"last {uuid.uuid4().hex[:8]}"
        client = connect(self.hosts)
        try:
            client.retry(client.set, f"{self.root}/beat", last.encode())
        finally:
            close(client)
        while self._watched != last:
            if time.monotonic() > deadline:
                self.history.violate(f"a watch was lost: the watcher last read {self._watched!r}, the znode holds {last!r}")
                return
            time.sleep(0.1)

    def _final_state(self, deadline: float) -> dict[str, bytes]:
        """Closes the owner's session, checks that its znode goes with it, and reads the log of writes."""
        owner = self._clients[2]
        close(owner)
        client = connect(self.hosts)
        try:
            client.retry(client.sync, self.root)
            while client.retry(client.exists, f"{self.root}/owner"):
                if time.monotonic() > deadline:
                    self.history.violate("the ephemeral znode of a closed session is still there")
                    break
                time.sleep(0.2)
            return client.retry(contents, client, f"{self.root}/log")
        finally:
            close(client)


@contextlib.contextmanager
def running(hosts: str, is_apache: Callable[[str], bool] = lambda address: False) -> Iterator[Load]:
    """A load for the time of a `with` block; judged by calling `finish` in it, stopped in any case."""
    load = Load(hosts, is_apache)
    try:
        load.start()
        yield load
    finally:
        load.abandon()


def connect(hosts: str) -> Client:
    """A connected client; whoever calls closes it."""
    client = Client(hosts=hosts, timeout=SESSION_SECONDS, handler=ImpatientHandler(), connection_retry=PATIENT, command_retry=PATIENT)
    try:
        client.start(timeout=CONNECT_SECONDS)
    except Exception:
        close(client)
        raise
    return client


def close(client: KazooClient) -> None:
    """Closes a client and its session, whatever state it is in."""
    with contextlib.suppress(Exception):
        client.stop()
    with contextlib.suppress(Exception):
        client.close()


def numbers(client: KazooClient, parent: str) -> set[int]:
    """The sequence numbers of the children."""
    return {sequence_number(child) for child in client.get_children(parent)}


def contents(client: KazooClient, parent: str) -> dict[str, bytes]:
    """The children and their data."""
    pending = {child: client.get_async(f"{parent}/{child}") for child in client.get_children(parent)}
    found = {}
    for child, result in pending.items():
        with contextlib.suppress(NoNodeError):
            found[child] = result.get(timeout=FINISH_SECONDS)[0]
    return found
