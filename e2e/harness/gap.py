"""How long no write is committed: a session on each server writes without a pause, and comes back at once when its server sends it away."""

import contextlib
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from .processes import Server
from .raw_session import OK, RawSession, Refused
from .shell import wait_for

SESSION_TIMEOUT_MS = 30_000
ANSWER_SECONDS = 5
PAUSE_SECONDS = 0.002  # between two attempts of one writer: what the measurement may be wrong by
SETTLED_WRITES = 50
PATH = "/gap"


class Writers:
    """Writers, one a server, and when each of their writes was acknowledged."""

    def __init__(self, servers: Sequence[Server]):
        self._acknowledged: list[float] = []
        self.sessions_lost = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(server,), daemon=True) for server in servers]

    def gap_after(self, event: float, within_seconds: float) -> float:
        """The longest time without an acknowledged write around `event`, once writes flow again."""
        wait_for("writes after the event", within_seconds, lambda: self._count_since(event) >= SETTLED_WRITES, every=0.02)
        with self._lock:
            around = sorted(at for at in self._acknowledged if at > event - 1)
            self._acknowledged = around
        return max(after - before for before, after in zip(around, around[1:], strict=False))

    def _count_since(self, event: float) -> int:
        """Acknowledged at least a moment later: answers may have been on their way."""
        with self._lock:
            return sum(at > event + 0.01 for at in self._acknowledged)

    def _write(self, server: Server) -> None:
        connection, session, password = None, 0, bytes(16)
        while not self._stop.is_set():
            try:
                if connection is None:
                    connection = RawSession(server, SESSION_TIMEOUT_MS, session, password, read_seconds=ANSWER_SECONDS)
                    session, password = connection.id, connection.password
                if connection.set(PATH, b"x").error == OK:
                    with self._lock:
                        self._acknowledged.append(time.monotonic())
            except Refused:
                session, password, connection = 0, bytes(16), None
                self.sessions_lost += 1
            except OSError:
                connection = None
                time.sleep(PAUSE_SECONDS)
        if connection:
            connection.leave()

    @contextlib.contextmanager
    def running(self) -> Iterator["Writers"]:
        """Writes as long as the block lasts."""
        with until(self._stop, self._threads):
            yield self


@contextlib.contextmanager
def until(stop: threading.Event, threads: Sequence[threading.Thread]) -> Iterator[None]:
    """Threads that run as long as the block lasts, and then until they see that they are to stop."""
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@contextlib.contextmanager
def writing(servers: Sequence[Server]) -> Iterator[Writers]:
    """Writers on these servers, which agree on a leader, as long as the block lasts."""
    first = wait_for("a first session", ANSWER_SECONDS, lambda: _session(servers[0]), every=0.02)
    assert first.create(PATH) == OK
    first.leave()
    with Writers(servers).running() as writers:
        yield writers


def _session(server: Server) -> RawSession | None:
    """A session; none from a server that follows its leader and serves nobody yet, which takes it some milliseconds."""
    try:
        return RawSession(server, SESSION_TIMEOUT_MS)
    except OSError:
        return None


def after_deaths(servers: Sequence[Server], leader: Callable[[], Server], rounds: int, *, settled_seconds: float, within_seconds: float) -> list[float]:
    """kill -9 of whoever leads, again and again: the longest time without an acknowledged write around each death, in seconds. `leader` waits until one leads them all."""
    gaps = []
    with writing(servers) as writers:
        for _ in range(rounds):
            victim = leader()
            time.sleep(settled_seconds)
            died = time.monotonic()
            victim.kill()
            gaps.append(writers.gap_after(died, within_seconds))
            victim.start()
        leader()
    return gaps


def summary(gaps: Sequence[float], gate_seconds: float) -> str:
    """The gaps in words; fails when the median is above the gate."""
    milliseconds = sorted(round(gap * 1000) for gap in gaps)
    median = statistics.median(milliseconds)
    assert median <= gate_seconds * 1000, f"median gap {median:.0f} ms, the gate is {gate_seconds * 1000:.0f} ms; all: {milliseconds}"
    return f"{len(gaps)} rounds: no committed write for {median:.0f} ms (median; {milliseconds[0]} to {milliseconds[-1]} ms)"
