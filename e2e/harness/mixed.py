"""Ensembles of Apache ZooKeeper's servers and ours: a server is of one kind now and may be started as the other, on its own zoo.cfg and directories.

Everything is asked through what both kinds have: the client port and four-letter words.
"""

import contextlib
import re
import socket
from collections.abc import Sequence
from enum import Enum
from pathlib import Path

from . import apache, load, processes
from .load import close, connect
from .processes import read_all
from .shell import TimedOut, wait_for
from .trees import SUPER_DIGEST, difference, tree

SETTLE_SECONDS = 90
DIGEST_SECONDS = 60
WORD_SECONDS = 3
METRIC_SECONDS = 30
LEADER_MOVES_MAX = 8
COMPARISONS_MAX = 3

# Apache ZooKeeper says this when its log gets what it has already.
REPEATS = "FileTxnLog Current zxid"

# Apache ZooKeeper logs the digest of its tree at every zxid that is a multiple of this.
DIGEST_EVERY = 128

# Ensembles on a busy machine: a JVM that starts beside others must not count as dead.
SETTINGS: dict[str, str | None] = {
    "maxSessionTimeout": "60000",
    "4lw.commands.whitelist": "*",
    "DigestAuthenticationProvider.superDigest": SUPER_DIGEST,
}

# A small, quickly started JVM; the port of Jetty is asked by nobody; empty containers are deleted soon.
JVM = ("java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xms64m", "-Xmx256m")
PROPERTIES = ("-Dzookeeper.admin.enableServer=false", "-Dznode.container.checkIntervalMs=1000")
OUR_PROPERTIES = ("-D", "znode.container.checkIntervalMs=1000")
LOGBACK = """<configuration><appender name="OUT" class="ch.qos.logback.core.ConsoleAppender"><encoder><pattern>%d %-5p %c %m%n</pattern></encoder></appender>
<logger name="org.apache.zookeeper.server.quorum" level="INFO"/><logger name="org.apache.zookeeper.server.quorum.LearnerHandler" level="DEBUG"/>
<root level="WARN"><appender-ref ref="OUT"/></root></configuration>
"""


class Kind(Enum):
    """Whose server it is."""

    JAVA = "Java"
    RUST = "Rust"

    def other(self) -> "Kind":
        """The one that it is not."""
        return Kind.RUST if self is Kind.JAVA else Kind.JAVA


class Server(processes.Server):
    """A server of either kind."""

    def __init__(self, binary: Path, jars: Path, kind: Kind, folder: Path, myid: int):
        super().__init__(binary, folder, myid)
        self.jars, self.kind = jars, kind
        self.has_client_in_line = True
        self.properties: tuple[str, ...] = ()  # more of a JVM's
        self._started_at = 0
        (folder / "logback.xml").write_text(LOGBACK)

    def __str__(self) -> str:
        return f"{self.kind.value} {self.myid}"

    def line(self) -> str:
        """Its line in everybody's zoo.cfg."""
        line = super().line()
        return line if self.has_client_in_line else line.partition(":participant;")[0]

    def start(self) -> None:
        """Starts the process as a server of its kind; does not wait until it serves."""
        self._started_at = self.output.stat().st_size if self.output.exists() else 0
        super().start()

    def command(self) -> list[str | Path]:
        """That of its kind."""
        java = [*JVM, *PROPERTIES, *self.properties, f"-Dlogback.configurationFile={self.folder}/logback.xml", *apache.server(self.jars), self.config]
        return java if self.kind is Kind.JAVA else [*super().command(), *OUR_PROPERTIES]

    def become(self, kind: Kind) -> None:
        """Stops as people do, and starts as a server of a kind, on the same zoo.cfg and directories."""
        self.stop()
        self.kind = kind
        self.start()

    def mode(self) -> str | None:
        """`leader`, `follower`, `observer` or `standalone` once clients are served."""
        found = re.search(r"^Mode: (\w+)$", self.word("srvr"), re.MULTILINE)
        return found[1] if found else None

    def word(self, word: str) -> str:
        """The answer to a four-letter word; nothing when there is none. One that comes while Apache ZooKeeper starts may never get one."""
        try:
            with socket.create_connection((self.host, self.client_port), timeout=WORD_SECONDS) as connection:
                connection.sendall(word.encode())
                return read_all(connection, WORD_SECONDS).decode(errors="replace")
        except (OSError, TimedOut):
            return ""

    def metric(self, name: str) -> int:
        """A number of `mntr`, which a busy machine may not answer at once."""
        pattern = re.compile(rf"^zk_{name}\t(\d+)", re.MULTILINE)
        found = wait_for(f"zk_{name} in mntr of {self}", METRIC_SECONDS, lambda: pattern.search(self.word("mntr")), every=0.05)
        return int(found[1])

    def digest_mismatches(self) -> int:
        """How many transactions brought a digest that was not its tree's.

        After a snapshot over the network Apache ZooKeeper compares at once (such a snapshot has no digest section, which would make `DataTree.compareDigest`
        wait), while the tree is ahead of its zxid if its leader, of either kind, was writing meanwhile: what it counts then says nothing. Three of its own
        servers show it too. So does a server of 3.8 after it failed to follow a leader of its own kind under load (ZOOKEEPER-4394): its log repeats what it was
        sent before, and its next start applies it twice. Trees and digests are compared in the end.
        """
        if self.kind is Kind.JAVA and ("Getting a snapshot" in self.said_now() or REPEATS in self.said()):
            return 0
        return self.metric("digest_mismatches_count")

    def digest(self, zxid: int) -> str | None:
        """The digest of the tree at this zxid, if it is told."""
        if self.kind is Kind.JAVA:
            found = re.search(rf"^{zxid:x}: (-?\d+)$", self.word("hash"), re.MULTILINE)
            return f"{int(found[1]) & (2**64 - 1):x}" if found else None
        status = self.status()
        return str(status["digest"]) if status and int(status["zxid"], 16) == zxid else None

    def said_now(self) -> str:
        """What it printed since the last start."""
        return self.said(self._started_at)


class Ensemble:
    """Servers that know each other."""

    def __init__(self, servers: Sequence[Server]):
        self.servers = list(servers)
        self.configure()

    def configure(self, **changes: str | None) -> None:
        """Writes everybody's zoo.cfg, which is the same for both kinds."""
        for server in self.servers:
            port = {} if server.has_client_in_line else {"clientPort": str(server.client_port)}
            server.configure([other.line() for other in self.servers], **{**SETTINGS, **port, **changes})

    def start(self) -> None:
        """Starts all and waits until all serve."""
        for server in self.servers:
            server.start()
        self.settle()

    def running(self) -> list[Server]:
        """Those whose process runs."""
        return [server for server in self.servers if server.alive()]

    def settle(self, among: Sequence[Server] | None = None) -> Server:
        """Waits until all that run, or those, serve, one of them as the leader, and returns that one."""

        def settled() -> Server | None:
            modes = {server: server.mode() for server in among or self.running()}
            leaders = [server for server, mode in modes.items() if mode == "leader"]
            right = all(mode in (("observer",) if server.observer else ("leader", "follower")) for server, mode in modes.items())
            return leaders[0] if right and len(leaders) == 1 else None

        try:
            return wait_for("all servers to serve under one leader", SETTLE_SECONDS, settled, every=0.2)
        except Exception as error:
            seen = "; ".join(f"{server}: {server.mode() if server.alive() else 'not running'}" for server in self.servers)
            raise AssertionError(f"{error}; seen: {seen}") from error

    def crash(self, server: Server) -> None:
        """kill -9 of one, the others settle, and it comes back."""
        server.kill()
        self.settle()
        server.start()
        self.settle()

    def lead(self, wanted: Server) -> Server:
        """Crashes leaders until this one leads, which takes one crash when it has the greatest id among the rest."""
        for _ in range(LEADER_MOVES_MAX):
            leader = self.settle()
            if leader is wanted:
                return wanted
            self._write(leader)  # who joined an idle leader late stands at the start of its epoch, before those who elected it
            self.crash(leader)
        raise AssertionError(f"{wanted} was not elected in {LEADER_MOVES_MAX} elections")

    def _write(self, server: Server) -> None:
        client = connect(server.address)
        try:
            client.set("/", b"")
        finally:
            close(client)

    def hosts(self) -> str:
        """What a client connects to."""
        return ",".join(server.address for server in self.servers)

    def load(self) -> contextlib.AbstractContextManager[load.Load]:
        """A load on all of them."""
        return load_on(self.servers)

    # The end

    def equal(self) -> str:
        """Checks that every server shows the same tree, field by field, and has the same digest. Nobody else may write meanwhile."""
        for _ in range(COMPARISONS_MAX - 1):
            with contextlib.suppress(*load.UNKNOWN):  # a machine that stands still for seconds ends connections, and with them a comparison
                return self._compare()
        return self._compare()

    def _compare(self) -> str:
        running = self.running()
        self.settle()
        digest = self._same_digest(running)
        first, *others = [tree(server.address) for server in running]
        for server, other in zip(running[1:], others, strict=True):
            different = difference(first, other)
            assert not different, f"{running[0]} and {server}: {different}"
        mismatches = {str(server): server.digest_mismatches() for server in running}
        assert not any(mismatches.values()), f"digest mismatches: {mismatches}"
        return f"{len(running)} equal trees of {len(first)} znodes, {digest}"

    def _same_digest(self, running: list[Server]) -> str:
        """Writes until the zxid is one whose digest Apache ZooKeeper logs, and compares."""
        client = connect(",".join(server.address for server in running))
        try:
            zxid = client.set("/", b"").mzxid
            while zxid % DIGEST_EVERY:  # in the best case once; a session that begins or ends meanwhile takes a zxid too
                pending = [client.set_async("/", b"") for _ in range(-zxid % DIGEST_EVERY)]
                zxid = max(result.get(timeout=DIGEST_SECONDS).mzxid for result in pending)
            digests = wait_for(f"all digests at {zxid:#x}", DIGEST_SECONDS, lambda: _all({str(s): s.digest(zxid) for s in running}), every=0.2)
        finally:
            close(client)
        assert len(set(digests.values())) == 1, f"digests at {zxid:#x} differ: {digests}"
        return f"digest {next(iter(digests.values()))} at zxid {zxid:#x}"


def load_on(servers: Sequence[Server]) -> contextlib.AbstractContextManager[load.Load]:
    """A load on servers that may change their kind meanwhile."""
    at = {server.address: server for server in servers}
    return load.running(",".join(at), lambda address: at[address].kind is Kind.JAVA)


def _all(found: dict[str, str | None]) -> dict[str, str]:
    """The values, if none is missing."""
    known = {key: value for key, value in found.items() if value is not None}
    return known if len(known) == len(found) else {}


class World(processes.Processes):
    """The world of the mixed level."""

    def __init__(self, binary: Path, jars: Path, folder: Path):
        super().__init__(binary, folder)
        self.jars = jars

    def one(self, kind: Kind, myid: int = 1) -> Server:
        """A server, not configured and not started."""
        server = Server(self.binary, self.jars, kind, self._case / f"server-{len(self._servers) + 1}", myid)
        self._servers.append(server)
        return server

    def ensemble(self, kinds: str, *, observers: tuple[int, ...] = (), old_style: bool = False) -> Ensemble:
        """Servers 1 to n, configured and not started: `JRJ` is a Java, a Rust and a Java server.

        The old style is that of before 3.5: `clientPort` has a line of its own.
        """
        servers = [self.one({"J": Kind.JAVA, "R": Kind.RUST}[letter], myid) for myid, letter in enumerate(kinds, 1)]
        for server in servers:
            server.observer, server.has_client_in_line = server.myid in observers, not old_style
        return Ensemble(servers)
