"""Servers as processes of this machine, on free ports of loopback, each with a zoo.cfg of ZooKeeper's own form."""

import contextlib
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from . import admin, load
from .runner import Case
from .shell import TimedOut, wait_for

KEPT_FILE_BYTES_MAX = 32 << 20
START_SECONDS = 60
STOP_SECONDS = 30
HOST = "127.0.0.1"


class Server:
    """One server: its folders, its ports, and its process while it runs."""

    host = HOST  # where it listens
    enter: Sequence[str] = ()  # the command that runs another one where it lives
    environment: Mapping[str, str] = {}  # beside the harness's own
    observer = False

    def __init__(self, binary: Path, folder: Path, myid: int):
        self.binary, self.folder, self.myid = binary, folder, myid
        self.config = folder / "zoo.cfg"
        self.output = folder / "output.log"
        self.client_port, self.quorum_port, self.election_port, self.admin_port, self.metrics_port = free_ports(5)
        self.process: subprocess.Popen[bytes] | None = None
        (folder / "data").mkdir(parents=True)
        (folder / "txnlog").mkdir()
        (folder / "data" / "myid").write_text(f"{myid}\n")

    @property
    def address(self) -> str:
        """Where clients connect."""
        return f"{self.host}:{self.client_port}"

    @property
    def log_folder(self) -> Path:
        """Where its transaction logs are."""
        return self.folder / "txnlog" / "version-2"

    def line(self) -> str:
        """Its line in everybody's zoo.cfg."""
        role = "observer" if self.observer else "participant"
        return f"server.{self.myid}={self.host}:{self.quorum_port}:{self.election_port}:{role};{self.address}"

    def configure(self, lines: list[str], **changes: str | None) -> None:
        """Writes zoo.cfg; `changes` replace a key, or with None leave it out (`__` stands for a dot)."""
        keys: dict[str, str | None] = {
            "tickTime": "500",
            "initLimit": "20",
            "syncLimit": "10",
            "dataDir": str(self.folder / "data"),
            "dataLogDir": str(self.folder / "txnlog"),
            "admin.serverPort": str(self.admin_port),
            "admin.serverAddress": self.host,
            "metricsProvider.httpPort": str(self.metrics_port),
            "4lw.commands.whitelist": "srvr,ruok,mntr,isro,conf,stat",
        }
        keys.update({key.replace("__", "."): value for key, value in changes.items()})
        text = [f"{key}={value}" for key, value in keys.items() if value is not None]
        self.config.write_text("\n".join([*text, *lines, ""]))

    def start(self) -> None:
        """Starts the process; does not wait until it serves."""
        with self.output.open("ab") as out:
            command = [*self.enter, "setpriv", "--pdeathsig", "KILL", *self.command()]
            environment = {**os.environ, "NO_COLOR": "1", **self.environment}
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment)

    def command(self) -> list[str | Path]:
        """What is run."""
        return [self.binary, "server", "--config", self.config]

    def stop(self, how: int = signal.SIGTERM) -> int:
        """Ends the process by a signal and returns its exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(how)
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise TimedOut(f"server {self.myid} did not end within {STOP_SECONDS} s of signal {how}") from None
        self.process = None
        return code

    def kill(self) -> None:
        """kill -9."""
        self.stop(signal.SIGKILL)

    def suspend(self) -> None:
        """SIGSTOP."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self.process, f"server {self.myid} runs"
        self.process.send_signal(number)

    def run_to_end(self, seconds: float = START_SECONDS) -> tuple[int, str]:
        """Starts the process when it should end by itself, and returns its exit code and what it printed."""
        before = self.output.stat().st_size if self.output.exists() else 0
        self.start()
        assert self.process
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TimedOut(f"server {self.myid} still ran after {seconds:.0f} s; its output: {self.said(before)[-1000:]}") from None
        self.process = None
        return code, self.said(before)

    def said(self, offset: int = 0) -> str:
        """What it printed."""
        return self.output.read_bytes()[offset:].decode(errors="replace") if self.output.exists() else ""

    def status(self) -> admin.Status | None:
        """Its /status."""
        return admin.status(f"{self.host}:{self.admin_port}")

    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def four_letters(self, word: str) -> str:
        """The answer to a four letter word."""
        with socket.create_connection((self.host, self.client_port), timeout=5) as connection:
            connection.sendall(word.encode())
            return read_all(connection).decode(errors="replace")


class Group:
    """Servers that know each other."""

    def __init__(self, servers: list[Server]):
        self.servers = servers  # configured alike; a case may configure one anew before the start
        for server in servers:
            server.configure([other.line() for other in servers])

    def start(self) -> None:
        """Starts all and waits until they agree."""
        for server in self.servers:
            server.start()
        self.agree()

    def agree(self) -> admin.Agreement:
        """Waits until all that run have one leader, one zxid and one digest."""
        running = [server for server in self.servers if server.alive()]
        return admin.agree(lambda: [server.status() for server in running], len(running))

    def agree_on_roles(self) -> None:
        """Waits until all run, one leads and the others follow; their states may differ while there is load."""

        def settled() -> bool:
            roles = sorted(str((server.status() or {}).get("role")) for server in self.servers)
            return roles == ["following"] * (len(roles) - 1) + ["leading"]

        wait_for("one leader and its followers", START_SECONDS, settled)

    def leader(self) -> Server:
        """The one that leads."""

        def leading() -> Server | None:
            return next((server for server in self.servers if (server.status() or {}).get("role") == "leading"), None)

        return wait_for("a leader", START_SECONDS, leading)

    def follower(self) -> Server:
        """One that follows."""
        leader = self.leader()
        return next(server for server in self.servers if server is not leader)

    def hosts(self) -> str:
        """What a client connects to."""
        return ",".join(server.address for server in self.servers)

    def load(self) -> contextlib.AbstractContextManager[load.Load]:
        """A load on all of them."""
        return load.running(self.hosts())


class Processes:
    """The world of the process level: makes servers, and ends all of them after each case."""

    def __init__(self, binary: Path, folder: Path, *, thorough: bool = False):
        self.binary, self.folder, self.thorough = binary, folder, thorough
        self._servers: list[Server] = []
        self._case = folder

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *_: object) -> None:
        self._end_all()

    def begin(self, case: Case) -> None:
        """Called before each case: nothing of the one before remains."""
        self._end_all()
        shutil.rmtree(self._case, ignore_errors=True)
        self._case = self.folder / case.name.replace(" ", "-")
        self._case.mkdir(parents=True)

    def keep(self, folder: Path) -> None:
        """Called after a failed case: keeps zoo.cfg, output and files of each server, those of a large tree apart."""
        for server in self._servers:
            with contextlib.suppress(OSError, shutil.Error):
                shutil.copytree(server.folder, folder / server.folder.name, ignore=_large, dirs_exist_ok=True)

    def server(self, myid: int = 1) -> Server:
        """A server of its own, not configured and not started."""
        server = Server(self.binary, self._case / f"server-{len(self._servers) + 1}", myid)
        self._servers.append(server)
        return server

    def group(self, size: int = 3) -> Group:
        """Servers 1 to `size`, configured and not started."""
        return Group([self.server(myid) for myid in range(1, size + 1)])

    @contextlib.contextmanager
    def three(self) -> Iterator[Group]:
        """Three servers that agree."""
        group = self.group(3)
        group.start()
        yield group

    def run(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Runs the binary to its end."""
        return subprocess.run([self.binary, *arguments], capture_output=True, text=True, timeout=START_SECONDS, env={**os.environ, **(env or {})})

    def _end_all(self) -> None:
        for server in self._servers:
            with contextlib.suppress(Exception):
                server.kill()
        self._servers = []


def _large(folder: str, names: list[str]) -> list[str]:
    """Those of a folder's files that would fill a disk."""
    files = [Path(folder) / name for name in names]
    return [file.name for file in files if file.is_file() and file.stat().st_size > KEPT_FILE_BYTES_MAX]


# Below the range that the kernel gives to outgoing connections, which could take a port between its choice and its use.
LISTENING_PORTS = range(10_000, 32_000)
_candidates = itertools.cycle(random.sample(LISTENING_PORTS, len(LISTENING_PORTS)))


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now, each given once before any is given again."""
    ports: list[int] = []
    while len(ports) < count:
        port = next(_candidates)
        with contextlib.suppress(OSError), socket.socket() as free:
            free.bind((HOST, port))
            ports.append(port)
    return ports


def free_row(count: int) -> int:
    """The first of so many consecutive ports that nothing listens on now."""
    while True:
        (first,) = free_ports(1)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError, OverflowError):
            for port in range(first, first + count):
                stack.enter_context(socket.socket()).bind((HOST, port))
            return first


def read_all(connection: socket.socket, seconds: float = 10) -> bytes:
    """Everything until the other side closes. Raises TimedOut when it does not."""
    connection.settimeout(seconds)
    received = b""
    start = time.monotonic()
    try:
        while chunk := connection.recv(65536):
            received += chunk
            if time.monotonic() - start > seconds:
                raise TimeoutError
    except TimeoutError:
        raise TimedOut(f"the connection was still open after {seconds:.0f} s") from None
    except ConnectionResetError:
        pass
    return received
