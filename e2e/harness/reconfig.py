"""Reconfigurations as a client asks for them, and the files in which servers keep what became of them."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kazoo.client import KazooClient
from kazoo.protocol.states import ZnodeStat

from .load import UNKNOWN, close, connect
from .processes import Server
from .trees import CONFIG, SUPER, SUPER_DIGEST

# What an ensemble that may change needs in every zoo.cfg.
SETTINGS: dict[str, str | None] = {"reconfigEnabled": "true", "standaloneEnabled": "false", "DigestAuthenticationProvider.superDigest": SUPER_DIGEST}


@dataclass(frozen=True)
class Configuration:
    """A configuration as servers write it."""

    version: int
    lines: tuple[str, ...]  # of servers, groups and weights, in ZooKeeper's order

    @staticmethod
    def parse(text: str) -> "Configuration":
        """Reads the data of /zookeeper/config."""
        *lines, version = text.splitlines()
        assert version.startswith("version="), f"the last line of a configuration is its version: {text!r}"
        return Configuration(int(version.removeprefix("version="), 16), tuple(lines))

    def line(self, myid: int) -> str | None:
        """A server's line."""
        return next((line for line in self.lines if line.startswith(f"server.{myid}=")), None)

    def ids(self) -> list[int]:
        """Its servers."""
        return [int(line.partition("=")[0].removeprefix("server.")) for line in self.lines if line.startswith("server.")]

    def file(self) -> str:
        """The text of its file."""
        return "\n".join(sorted(self.lines))


def reconfigure(
    server: Server, *, joining: str | None = None, leaving: str | None = None, members: str | None = None, version: int = -1, is_super: bool = True
) -> Configuration:
    """Asks a server for another configuration, and returns the one that there is then. Raises what kazoo raises.

    A server that takes another part with the new configuration, as its leader's designated successor does, may end the connection before it has answered, of
    either kind: then what has become of it is looked up.
    """
    client = connect(server.address)
    try:
        if is_super:
            client.add_auth(*SUPER)
        before = Configuration.parse(client.get(CONFIG)[0].decode())
        while True:
            try:
                return ask(client, joining=joining, leaving=leaving, members=members, version=version)
            except UNKNOWN:
                after = _look(client)
                if after != before:
                    return after
    finally:
        close(client)


def _look(client: KazooClient) -> Configuration:
    """The configuration after everything that was committed up to now."""
    while True:
        with contextlib.suppress(*UNKNOWN):
            client.retry(client.sync, CONFIG)
            return Configuration.parse(client.retry(client.get, CONFIG)[0].decode())


def ask(client: KazooClient, *, joining: str | None = None, leaving: str | None = None, members: str | None = None, version: int = -1) -> Configuration:
    """The same by a client that is connected; checks the answer's stat, too."""
    data, stat = client.reconfig(joining=joining, leaving=leaving, new_members=members, from_config=version)
    found = Configuration.parse(data.decode())
    check_stat(found, stat)
    return found


def active(server: Server) -> Configuration:
    """What a server shows in /zookeeper/config."""
    client = connect(server.address)
    try:
        data, _ = client.get(CONFIG)
        return Configuration.parse(data.decode())
    finally:
        close(client)


def check_stat(found: Configuration, stat: ZnodeStat) -> None:
    """The znode is changed by the transaction whose zxid is the version; its own version never moves."""
    assert (stat.mzxid, stat.version) == (found.version, -1), f"the stat of version {found.version:x} is {stat}"


def check_files(server: Server, expected: Configuration) -> None:
    """What a server of either kind keeps beside its zoo.cfg: the active configuration, named by zoo.cfg, and none that is pending."""
    static = server.config.read_text()
    name = f"zoo.cfg.dynamic.{expected.version:x}"
    pointer = f"dynamicConfigFile={server.config.with_name(name)}"
    assert pointer in static.splitlines(), f"{server}: no {pointer!r} in zoo.cfg:\n{static}"
    own = [line for line in static.splitlines() if line.startswith(("server.", "group.", "weight.", "peerType", "clientPort="))]
    assert not own, f"{server}: {own} are still in zoo.cfg"
    text = server.config.with_name(name).read_text()
    assert text == expected.file(), f"{server}: {name} is\n{text}\nand should be\n{expected.file()}"
    pending = server.config.with_name("zoo.cfg.dynamic.next")
    assert not pending.exists(), f"{server}: {pending.name} is still there: {pending.read_text()}"


def files(server: Server) -> dict[str, bytes]:
    """Every dynamic file, by name."""
    return {path.name: path.read_bytes() for path in server.folder.glob("zoo.cfg.dynamic*")}


def refused(error: type[Exception], act: Callable[[], Configuration]) -> str:
    """Checks that a reconfiguration is refused in a certain way; returns its name."""
    try:
        found = act()
    except error:
        return error.__name__.removesuffix("Error")
    raise AssertionError(f"expected {error.__name__}, and the configuration is {found}")


def lines(servers: Sequence[Server]) -> str:
    """The servers' lines as a reconfiguration names them."""
    return ",".join(server.line() for server in servers)
