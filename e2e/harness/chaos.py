"""Faults of real processes: links cut, processes stopped and killed, disks made slow, clocks set wrong, in an order that a seed decides.

Each fault is a context: what it breaks at the beginning it mends at the end. They are held for some seconds, one or two at a time.
"""

import contextlib
import itertools
import mmap
import random
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import admin, network, processes, register_load
from .load import Load, Summary, running
from .network import HARNESS, Network
from .processes import Group, Server
from .runner import Case
from .shell import run

HOLD_SECONDS = (1.0, 9.0)
CALM_SECONDS = (0.5, 3.0)
TWO_AT_ONCE = 0.3
# One load: the children of its parent are listed all the time, and their number grows.
ROUND_SECONDS = 100.0
# With every fault mended, by then a write is answered. An election on a machine that is busy with other things is among it.
RECOVERY_SECONDS = 60.0
RECOVERY_WRITES = 20
SLOW_SYNC_MS = (20, 200, 1500)
CLOCK_JUMPS_MS = (-3_600_000, -30_000, 30_000, 3_600_000)
FLAPS, FLAP_SECONDS = 4, 2.0

Fault = Callable[["Chaos", random.Random], contextlib.AbstractContextManager[None]]


class Shim:
    """What a server's clock and disk are told (`e2e/chaos/shim.c`)."""

    FORM = struct.Struct("=qq")

    def __init__(self, library: Path, control: Path):
        control.write_bytes(self.FORM.pack(0, 0))
        self.environment = {"LD_PRELOAD": str(library), "CHAOS_CONTROL": str(control)}
        with control.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), self.FORM.size)

    def set(self, clock_ms: int = 0, sync_ms: int = 0) -> None:
        """The wall clock's error, and how much longer a sync takes."""
        self._map[:] = self.FORM.pack(clock_ms, sync_ms)


def build_shim(folder: Path) -> Path:
    """Compiles it."""
    library = folder / "shim.so"
    run(["cc", "-O2", "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, Path(__file__).parents[1] / "chaos" / "shim.c", "-ldl"])
    return library


class Chaos:
    """An ensemble on a network of its own, and its misfortunes."""

    def __init__(self, group: Group, wires: Network, shims: Mapping[int, Shim], chance: random.Random):
        self.group, self.network, self.shims, self.chance = group, wires, shims, chance
        self.faults: Counter[str] = Counter()
        self.longest_recovery = 0.0, "nothing"

    @property
    def servers(self) -> list[Server]:
        """All of them."""
        return self.group.servers

    def answering(self) -> dict[Server, admin.Status]:
        """What those say of themselves that can be asked."""
        with ThreadPoolExecutor() as pool:
            statuses = dict(zip(self.servers, pool.map(lambda server: server.status(), self.servers), strict=True))
        return {server: status for server, status in statuses.items() if status}

    def leader(self) -> Server:
        """The one that leads, or, when none says so, any."""
        leading = [server for server, status in self.answering().items() if status["role"] == "leading"]
        return leading[0] if leading else self.chance.choice(self.servers)

    def kill(self, server: Server) -> None:
        """kill -9, unless it is dead by our hand already."""
        assert server.process is None or server.alive(), f"server {server.myid} has ended by itself: {server.said()[-1500:]}"
        server.kill()

    def revive(self, server: Server) -> None:
        """Starts it, unless another fault that has ended did."""
        if not server.alive():
            server.start()

    def round(self, seconds: float) -> tuple[Summary, register_load.Summary]:
        """Faults under load for so long; then all is mended, and judged. Returns what the loads saw."""
        end = time.monotonic() + seconds
        with running(self.group.hosts()) as load, register_load.loading(self.servers, f"{load.root}/registers") as registers:
            while time.monotonic() < end:
                self._misfortune(load)
            self._everybody_lives()
            summaries = load.finish(), registers.finish()
        self.group.agree()
        return summaries

    def _misfortune(self, load: Load) -> None:
        chosen = self.chance.sample(list(FAULTS), k=2 if self.chance.random() < TWO_AT_ONCE else 1)
        with contextlib.ExitStack() as stack:
            for name in chosen:
                self.faults[name] += 1
                stack.enter_context(FAULTS[name](self, self.chance))
                time.sleep(self.chance.uniform(*HOLD_SECONDS) / len(chosen))
        self._everybody_lives()
        recovery = load.wait_for_writes(RECOVERY_WRITES, RECOVERY_SECONDS)
        self.longest_recovery = max(self.longest_recovery, (recovery, " with ".join(chosen)))
        time.sleep(self.chance.uniform(*CALM_SECONDS))

    def _everybody_lives(self) -> None:
        for server in self.servers:
            assert server.alive(), f"server {server.myid} has ended by itself: {server.said()[-1500:]}"
            assert "panicked" not in server.said(), f"server {server.myid} panicked: {server.said()[-1500:]}"


# Links


@contextlib.contextmanager
def cut(chaos: Chaos, pairs: set[tuple[int, int]]) -> Iterator[None]:
    """Directions that carry nothing for a while."""
    for pair in sorted(pairs):
        chaos.network.cut(*pair)
    try:
        yield
    finally:
        for pair in sorted(pairs):
            chaos.network.heal(*pair)


def between(one: list[int], other: list[int]) -> set[tuple[int, int]]:
    """Both directions of each link between the two sides."""
    return {pair for a, b in itertools.product(one, other) if a != b for pair in ((a, b), (b, a))}


def ids(chaos: Chaos, chance: random.Random) -> list[int]:
    """The servers' ids, in any order."""
    shuffled = [server.myid for server in chaos.servers]
    chance.shuffle(shuffled)
    return shuffled


def isolate(chaos: Chaos, chance: random.Random) -> contextlib.AbstractContextManager[None]:
    """One hears no other server; clients still reach it, or not."""
    alone, *others = ids(chaos, chance)
    return cut(chaos, between([alone], [*others, *([HARNESS] if chance.random() < 0.5 else [])]))


def isolate_leader(chaos: Chaos, chance: random.Random) -> contextlib.AbstractContextManager[None]:
    """The same with the leader."""
    alone = chaos.leader().myid
    return cut(chaos, between([alone], [*ids(chaos, chance), *([HARNESS] if chance.random() < 0.5 else [])]))


def deaf(chaos: Chaos, chance: random.Random) -> contextlib.AbstractContextManager[None]:
    """One, or the leader, is heard and hears nobody."""
    alone = chaos.leader().myid if chance.random() < 0.5 else ids(chaos, chance)[0]
    return cut(chaos, {(other, alone) for other in ids(chaos, chance) if other != alone})


def dumb(chaos: Chaos, chance: random.Random) -> contextlib.AbstractContextManager[None]:
    """One, or the leader, hears and is heard by nobody."""
    alone = chaos.leader().myid if chance.random() < 0.5 else ids(chaos, chance)[0]
    return cut(chaos, {(alone, other) for other in ids(chaos, chance) if other != alone})


def halves(chaos: Chaos, chance: random.Random) -> contextlib.AbstractContextManager[None]:
    """A minority and a majority."""
    shuffled = ids(chaos, chance)
    middle = len(shuffled) // 2
    return cut(chaos, between(shuffled[:middle], shuffled[middle:]))


def all_apart(chaos: Chaos, chance: random.Random) -> contextlib.AbstractContextManager[None]:
    """No server hears another."""
    return cut(chaos, between(ids(chaos, chance), ids(chaos, chance)))


def bridge(chaos: Chaos, chance: random.Random) -> contextlib.AbstractContextManager[None]:
    """Two sides that hear only one server in common."""
    _middle, *others = ids(chaos, chance)
    half = len(others) // 2
    return cut(chaos, between(others[:half], others[half:]))


def one_way(chaos: Chaos, chance: random.Random) -> contextlib.AbstractContextManager[None]:
    """Single directions between servers, some of them."""
    directions = list(itertools.permutations(ids(chaos, chance), 2))
    return cut(chaos, set(chance.sample(directions, k=chance.randint(1, len(directions) // 2))))


def no_clients(chaos: Chaos, chance: random.Random) -> contextlib.AbstractContextManager[None]:
    """Clients reach some servers no more, or only in one direction."""
    unreachable = ids(chaos, chance)[: chance.randint(1, len(chaos.servers) - 1)]
    pairs = between(unreachable, [HARNESS])
    return cut(chaos, pairs if chance.random() < 0.5 else {(a, b) for a, b in pairs if b == HARNESS})


@contextlib.contextmanager
def flapping(chaos: Chaos, chance: random.Random) -> Iterator[None]:
    """Each leader is cut off soon after it was elected."""
    for _ in range(FLAPS):
        with isolate_leader(chaos, chance):
            time.sleep(FLAP_SECONDS)
        time.sleep(chance.uniform(0, FLAP_SECONDS))
    yield


# Processes


@contextlib.contextmanager
def pause(chaos: Chaos, chance: random.Random) -> Iterator[None]:
    """Some stand still, often the leader."""
    still = {chaos.leader()} if chance.random() < 0.5 else set(chance.sample(chaos.servers, k=chance.randint(1, len(chaos.servers))))
    still = {server for server in still if server.alive()}
    for server in still:
        server.suspend()
    try:
        yield
    finally:
        for server in still:
            if server.alive():
                server.resume()


@contextlib.contextmanager
def crash(chaos: Chaos, chance: random.Random) -> Iterator[None]:
    """kill -9 of some, from one to all."""
    dead = chance.sample(chaos.servers, k=chance.randint(1, len(chaos.servers)))
    for server in dead:
        chaos.kill(server)
    try:
        yield
    finally:
        for server in dead:
            chaos.revive(server)


@contextlib.contextmanager
def crash_leader(chaos: Chaos, _chance: random.Random) -> Iterator[None]:
    """kill -9 of the leader."""
    leader = chaos.leader()
    chaos.kill(leader)
    try:
        yield
    finally:
        chaos.revive(leader)


@contextlib.contextmanager
def restarts(chaos: Chaos, chance: random.Random) -> Iterator[None]:
    """kill -9 of one after the other, each back at once."""
    for server in chance.sample(chaos.servers, k=len(chaos.servers)):
        chaos.kill(server)
        chaos.revive(server)
        time.sleep(chance.uniform(0, 1))
    yield


@contextlib.contextmanager
def stop(chaos: Chaos, chance: random.Random) -> Iterator[None]:
    """One, or the leader, is told to end, and does: one that answers, so that it does not stand still."""
    answering = chaos.answering()
    leading = [server for server, status in answering.items() if status["role"] == "leading"]
    for server in (leading if chance.random() < 0.5 else list(answering))[:1]:
        code = server.stop()
        assert code == 0, f"server {server.myid} ended with code {code}: {server.said()[-1500:]}"
    try:
        yield
    finally:
        for server in chaos.servers:
            chaos.revive(server)


# Disks and clocks


@contextlib.contextmanager
def slow_disk(chaos: Chaos, chance: random.Random) -> Iterator[None]:
    """Syncs of one, or of all, take long."""
    slow = chaos.servers if chance.random() < 0.3 else [chaos.leader() if chance.random() < 0.5 else chance.choice(chaos.servers)]
    with _shims(chaos, [(server, {"sync_ms": chance.choice(SLOW_SYNC_MS)}) for server in slow]):
        yield


@contextlib.contextmanager
def wrong_clock(chaos: Chaos, chance: random.Random) -> Iterator[None]:
    """Wall clocks of one, or of all, jump, and jump back."""
    wrong = chaos.servers if chance.random() < 0.3 else [chance.choice(chaos.servers)]
    with _shims(chaos, [(server, {"clock_ms": chance.choice(CLOCK_JUMPS_MS)}) for server in wrong]):
        yield


@contextlib.contextmanager
def _shims(chaos: Chaos, settings: list[tuple[Server, dict[str, int]]]) -> Iterator[None]:
    for server, values in settings:
        chaos.shims[server.myid].set(**values)
    try:
        yield
    finally:
        for server, _ in settings:
            chaos.shims[server.myid].set()


FAULTS: dict[str, Fault] = {
    "one isolated": isolate,
    "leader isolated": isolate_leader,
    "one deaf": deaf,
    "one dumb": dumb,
    "halves": halves,
    "all apart": all_apart,
    "bridge": bridge,
    "directions cut": one_way,
    "clients cut off": no_clients,
    "leaders flap": flapping,
    "paused": pause,
    "killed": crash,
    "leader killed": crash_leader,
    "restarted": restarts,
    "stopped": stop,
    "slow disk": slow_disk,
    "wrong clock": wrong_clock,
}


class World(processes.Processes):
    """The world of the chaos level."""

    def __init__(self, binary: Path, folder: Path, seconds: float):
        super().__init__(binary, folder)
        self.seconds = seconds
        self._network = Network()
        self._library = build_shim(folder)

    def chaos(self, size: int, chance: random.Random) -> Chaos:
        """An ensemble that serves, each server on a host of its own."""
        servers, shims = [], {}
        for myid in range(1, size + 1):
            server = self.server(myid)
            server.enter, server.host = self._network.add(myid), network.address(myid)
            shims[myid] = Shim(self._library, server.folder / "shim")
            server.environment = shims[myid].environment
            servers.append(server)
        group = Group(servers)
        group.start()
        return Chaos(group, self._network, shims, chance)

    def __exit__(self, *arguments: object) -> None:
        super().__exit__(*arguments)
        self._network.close()

    def begin(self, case: Case) -> None:
        """As ever, and with every link whole."""
        super().begin(case)
        self._network.heal_all()
