"""The servers that are compared, each as a process with fresh folders, and the load generator that drives them."""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import build, places, processes
from .apache import fetch, server
from .bench_rows import Run
from .shell import CommandFailed, TimedOut, run
from .versions import ZOOKEEPER

START_SECONDS = 90

# As performance measurements of ZooKeeper are made: a heap that is never short.
JAVA = ("java", "-Xms256m", "-Xmx4g")


@dataclass(frozen=True)
class Program:
    """A program that can be started as a server; `command` is followed by the path of its zoo.cfg."""

    name: str
    command: tuple[str, ...]


def ours(log: Path) -> Program:
    """Builds this repository's server, as it goes into the image."""
    arguments = ["build", "--release", "--locked", "--target", build.TARGET, "--package", "ensemble-server", "--bin", "ensemble"]
    run(["cargo", *arguments], cwd=places.REPOSITORY, env=build.static_env(), log=log)
    return Program("ours", (str(places.TARGET / build.TARGET / "release" / "ensemble"), "server", "--config"))


def apache(log: Path) -> Program:
    """Fetches Apache ZooKeeper."""
    return Program(f"Apache ZooKeeper {ZOOKEEPER}", (*JAVA, *server(fetch(log))))


def _prefix() -> list[str]:
    """Dies with this process however that ends, and goes before what else the machine does where that is allowed."""
    nice = ["nice", "-n", "-5"] if os.geteuid() == 0 else []
    return ["setpriv", "--pdeathsig", "KILL", *nice]


class Generator:
    """zkbench: loads, waits, and the floors."""

    def __init__(self, binary: Path):
        self.binary = binary

    def run(self, mode: str, **options: object) -> Run:
        """Runs a mode to its end and returns its last line of JSON. Raises CommandFailed."""
        output = run([*_prefix(), *self.words(mode, options)])
        try:
            last: Run = json.loads(output.splitlines()[-1])
        except (ValueError, IndexError) as error:
            raise CommandFailed(f"zkbench {mode} printed no result: {output[-500:]!r}") from error
        return last

    def words(self, mode: str, options: dict[str, object]) -> list[str]:
        """The command; `True` is an option without a value."""
        words = [str(self.binary), mode]
        for name, value in options.items():
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
        return words


class Server(processes.Server):
    """A server of any program, on ports and in folders of its own."""

    def __init__(self, program: Program, folder: Path, myid: int):
        super().__init__(Path(program.command[0]), folder, myid)
        self.program = program

    def start(self) -> None:
        """Starts the process; does not wait until it serves."""
        with self.output.open("ab") as out:
            command = [*_prefix(), *self.program.command, str(self.config)]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env={**os.environ, "NO_COLOR": "1"})

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self.process is not None, "the server was started"
        return self.process.pid

    def rss_bytes(self) -> int:
        """Resident memory now."""
        return self._memory("VmRSS")

    def peak_rss_bytes(self) -> int:
        """The most resident memory since the process started."""
        return self._memory("VmHWM")

    def _memory(self, what: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{what}:"):
                return int(line.split()[1]) * 1024
        raise CommandFailed(f"{self.program.name} has ended: {self.said()[-1000:]}")

    def snapshots(self) -> set[str]:
        """The names of its snapshots."""
        return {file.name for file in (self.folder / "data" / "version-2").glob("snapshot.*")}


class Servers:
    """One server, or an ensemble, of a program."""

    def __init__(self, generator: Generator, members: Sequence[Server], more: Mapping[str, str]):
        self.generator, self.members = generator, members
        self.configure(more)

    def configure(self, more: Mapping[str, str]) -> None:
        """The same zoo.cfg for every program: what is not named here, or by a series, is as shipped."""
        changes: dict[str, str | None] = {"tickTime": "2000", "initLimit": "30", "syncLimit": "10", "maxClientCnxns": "0", **more}
        for member in self.members:
            if len(self.members) == 1:
                member.configure([], **changes, clientPort=str(member.client_port), clientPortAddress=processes.HOST)
            else:
                member.configure([other.line() for other in self.members], **changes)

    @property
    def hosts(self) -> str:
        """Where clients connect."""
        return ",".join(member.address for member in self.members)

    @property
    def pids(self) -> str:
        """Of all members."""
        return ",".join(str(member.pid) for member in self.members)

    def start(self) -> float:
        """Starts all, waits until each grants a session, and returns the seconds from the start to the first member's first session."""
        begin = time.monotonic()
        for member in self.members:
            member.start()
        first = self._first_session(begin)
        for member in self.members[1:]:
            self.wait(member)
        return first

    def _first_session(self, begin: float, **options: object) -> float:
        """Until zkbench says that the first member granted a session; closing that session is not part of it."""
        member = self.members[0]
        words = self.generator.words("wait", {"hosts": member.address, "limit": START_SECONDS, **options})
        with subprocess.Popen(words, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as waiting:
            assert waiting.stdout is not None
            line = waiting.stdout.readline()
            seconds = time.monotonic() - begin
        if not line:
            raise TimedOut(f"{member.program.name} gave no session within {START_SECONDS} s; its output: {member.said()[-2000:]}")
        return seconds

    def restart(self, path: str) -> float:
        """kill -9 and start of the one server; returns the seconds until a session sees the path."""
        (member,) = self.members
        member.kill()
        begin = time.monotonic()
        member.start()
        return self._first_session(begin, path=path)

    def wait(self, member: Server) -> None:
        """Waits until a member grants sessions."""
        self.generator.run("wait", hosts=member.address, limit=START_SECONDS)

    def load(self, **options: object) -> Run:
        """A load on all members, with the CPU of all."""
        return self._told("load", options)

    def fill(self, **options: object) -> Run:
        """Creates znodes."""
        return self._told("fill", options)

    def _told(self, mode: str, options: dict[str, object]) -> Run:
        try:
            return self.generator.run(mode, hosts=self.hosts, pid=self.pids, **options)
        except CommandFailed as error:
            said = "\n".join(f"{member.program.name} {member.myid}: {member.said()[-1000:]}" for member in self.members)
            raise CommandFailed(f"{error}\n{said}") from error

    def kill(self) -> None:
        """Ends all processes."""
        for member in self.members:
            with contextlib.suppress(ProcessLookupError):
                member.kill()


class Stage:
    """Starts servers and echoes below one folder, and ends and removes all of them."""

    def __init__(self, generator: Generator, disk: Path):
        self.generator, self.disk = generator, disk

    @contextlib.contextmanager
    def servers(self, program: Program, size: int = 1, **more: str) -> Iterator[Servers]:
        """One server or an ensemble in fresh folders, not started."""
        folder = Path(tempfile.mkdtemp(prefix="zke-bench.", dir=self.disk))
        members = [Server(program, folder / str(myid), myid) for myid in range(1, size + 1)]
        servers = Servers(self.generator, members, more)
        try:
            yield servers
        finally:
            servers.kill()
            shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def echo(self, size: int) -> Iterator["Echo"]:
        """F: a server that answers every request at once with as many bytes as a real one."""
        (port,) = processes.free_ports(1)
        address = f"{processes.HOST}:{port}"
        words = [*_prefix(), *self.generator.words("echo", {"hosts": address, "size": size, "threads": 1})]
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
        try:
            self.generator.run("wait", hosts=address, limit=START_SECONDS)
            yield Echo(self.generator, address, process.pid)
        finally:
            process.kill()
            process.wait()

    def sync(self) -> Run:
        """S: fdatasync after an append of 4 KiB to a zero-filled file, on the disk of the servers."""
        return self.generator.run("fsync", dir=self.disk, groups=4096, prealloc="yes", duration=1)


@dataclass(frozen=True)
class Echo:
    """A running echo."""

    generator: Generator
    address: str
    pid: int

    def load(self, **options: object) -> Run:
        """A load on it."""
        return self.generator.run("load", hosts=self.address, pid=self.pid, **options)
