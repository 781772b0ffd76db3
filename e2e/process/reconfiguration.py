"""The ensemble changes while it serves: servers join and leave, are promoted and demoted, move; under load, through crashes, and over restarts."""

import contextlib
import random
import socket
import threading
from collections.abc import Iterator

from kazoo.exceptions import (
    BadArgumentsError,
    BadVersionError,
    KazooException,
    NewConfigNoQuorumError,
    NoAuthError,
    ReconfigDisabledError,
    ReconfigInProcessError,
    UnimplementedError,
)
from kazoo.handlers.threading import KazooTimeoutError

from harness import load, reconfig
from harness.load import Load, close, connect
from harness.processes import Group, Processes, Server, free_ports
from harness.reconfig import SETTINGS, Configuration, check_files, reconfigure, refused
from harness.runner import case
from harness.shell import wait_for
from harness.trees import SUPER

RECOVERY_SECONDS = 60
WRITES = 50
KILLS = 12
STANDSTILL_SECONDS = 0.5
DISK = 10
ROLES = {"leading", "following", "observing"}


class Changing:
    """An ensemble whose members change."""

    def __init__(self, world: Processes, *servers: Server, **settings: str):
        self.world, self.servers, self.settings = world, list(servers), {**SETTINGS, **settings}
        self.configuration: Configuration | None = None

    def start(self) -> None:
        """Starts the servers that there are."""
        for server in self.servers:
            server.configure([other.line() for other in self.servers], **self.settings)
            server.start()
        self.settle()

    def settle(self) -> Configuration:
        """Waits until all members serve in their roles, in one configuration of just them, and returns it. Their files say the same."""
        found: Configuration | None = None

        def settled() -> bool:
            nonlocal found
            answers = [server.status() for server in self.servers]
            if not all(answer and answer["storeState"] == "synced" for answer in answers):
                return False
            configurations = {(answer["config"]["version"], *answer["config"]["servers"]) for answer in answers if answer}
            roles = [answer["role"] for answer in answers if answer]
            right = all((role == "observing") == server.observer for role, server in zip(roles, self.servers, strict=True))
            if len(configurations) != 1 or roles.count("leading") != 1 or not right or not set(roles) <= ROLES:
                return False
            version, *lines = configurations.pop()
            found = Configuration(int(version, 16), tuple(lines))
            return found.version > 0 and set(found.lines) == {server.line() for server in self.servers}

        try:
            wait_for("all members to serve in one configuration", RECOVERY_SECONDS, settled, every=0.05)
        except Exception as error:
            seen = [f"{server.myid}: {server.status()}" for server in self.servers]
            raise AssertionError(f"{error}; expected {[server.line() for server in self.servers]}; seen: {'; '.join(seen)}") from error
        assert found
        self.configuration = found
        for server in self.servers:
            wait_for(f"server {server.myid} to keep version {found.version:x}", RECOVERY_SECONDS, lambda s=server: keeps(s, found), every=0.05)
            check_files(server, found)
        return found

    def leader(self) -> Server:
        """The one that leads."""
        return Group.leader(self)  # type: ignore[arg-type]

    def follower(self) -> Server:
        """One that follows and votes."""
        leader = self.leader()
        return next(server for server in self.servers if server is not leader and not server.observer)

    def newcomer(self, myid: int, *, observer: bool = False) -> Server:
        """A server that follows the members, and is not one of them yet."""
        server = self.world.server(myid)
        server.observer = observer
        self.let_follow(server)
        return server

    def let_follow(self, server: Server) -> None:
        """Starts a server with the members' lines and its own."""
        others = [other.line() for other in self.servers if other is not server]
        server.configure([*others, server.line()], **self.settings)
        server.start()
        wait_for(f"server {server.myid} to follow", RECOVERY_SECONDS, lambda: (server.status() or {}).get("storeState") == "synced", every=0.05)

    def change(self, *, joining: tuple[Server, ...] = (), leaving: tuple[Server, ...] = (), at: Server | None = None) -> Configuration:
        """Reconfigures, and waits until it is so everywhere."""
        asked = at or self.servers[0]
        found = reconfigure(asked, joining=reconfig.lines(joining) or None, leaving=",".join(str(server.myid) for server in leaving) or None)
        for server in joining:
            assert found.line(server.myid) == server.line(), f"server {server.myid} is not among {found.lines}"
            if server not in self.servers:
                self.servers.append(server)
        self.servers = [server for server in self.servers if server not in leaving]
        return self.settle()


def keeps(server: Server, configuration: Configuration) -> bool:
    """Whether a server's zoo.cfg names this configuration, and none is pending: it is active a moment before it is kept."""
    name = f"zoo.cfg.dynamic.{configuration.version:x}"
    return name in server.config.read_text() and not server.config.with_name("zoo.cfg.dynamic.next").exists()


@contextlib.contextmanager
def loaded(servers: list[Server]) -> Iterator[Load]:
    """A load on all who are or will be members."""
    with load.running(",".join(server.address for server in servers)) as writes:
        writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
        yield writes


@case("reconfiguration from one server to five and back to three")
def grow_and_shrink(world: Processes) -> str:
    """One server becomes three, five, three others; its leader is removed; every server finds its configuration again after a restart."""
    ensemble = Changing(world, world.server(1))
    ensemble.start()
    future = [world.server(myid) for myid in (2, 3, 4, 5)]
    with loaded([*ensemble.servers, *future]) as writes:
        for pair in (future[:2], future[2:]):
            for server in pair:  # one after the other: two that are to join must not name each other
                ensemble.let_follow(server)
            ensemble.change(joining=tuple(pair))
            writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
        leader = ensemble.leader()
        others = [server for server in ensemble.servers if server is not leader]
        ensemble.change(leaving=(others[0], others[1]), at=leader)
        for server in others[:2]:
            assert (server.status() or {}).get("role") == "following", f"server {server.myid} was removed and does not follow: {server.status()}"
            server.stop()
        writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
        ensemble.change(leaving=(leader,), at=leader)
        stall = writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
        code, said = restarted(leader)
        assert code == 2 and f"server.{leader.myid}" in said, f"a server that was removed started again: code {code}: {said}"
        ensemble.let_follow(leader)
        ensemble.change(joining=(leader,))
        writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
        before = ensemble.configuration
        for server in ensemble.servers:
            server.stop()
            server.start()
            assert ensemble.settle() == before, f"{ensemble.configuration} after the restart of server {server.myid}"
            writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
        summary = writes.finish()
    assert summary.sessions_lost == 0, f"{summary}"
    return f"1, 3, 5, 3, 2, 3 servers; {WRITES} writes after the leader left in {stall:.1f} s; {summary}; {Group.agree(ensemble)}"  # type: ignore[arg-type]


@case("reconfiguration of observers and of addresses")
def roles_and_addresses(world: Processes) -> str:
    """An observer joins, is promoted and demoted; a client port moves, and who is connected stays; a server moves its other ports."""
    ensemble = Changing(world, *(world.server(myid) for myid in (1, 2, 3)))
    ensemble.start()
    with loaded(ensemble.servers) as writes:
        fourth = ensemble.newcomer(4, observer=True)
        ensemble.change(joining=(fourth,))
        for observer in (False, True):
            fourth.observer = observer
            ensemble.change(joining=(fourth,), at=fourth)
            writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
        follower = ensemble.follower()
        client = connect(follower.address)
        lost: list[object] = []
        client.add_listener(lost.append)
        old = follower.client_port
        (follower.client_port,) = free_ports(1)
        ensemble.change(joining=(follower,), at=ensemble.leader())
        wait_for("the new client port", RECOVERY_SECONDS, lambda: follower.four_letters("ruok") == "imok" if listens(follower.client_port) else False)
        assert not listens(old), f"port {old} is still open"
        assert client.exists("/") and not lost, f"a connection to the old port did not stay: {lost}"
        close(client)
        assert f"clientPort={follower.client_port}" in follower.four_letters("conf").splitlines(), follower.four_letters("conf")
        writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
        for server in (follower, ensemble.leader()):
            server.quorum_port, server.election_port = free_ports(2)
            ensemble.change(joining=(server,))
            writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
        for server in ensemble.servers:
            server.stop()
        for server in ensemble.servers:
            server.start()
        ensemble.settle()
        summary = writes.finish()
    return f"observer, participant, observer; ports of clients and servers moved; {summary}; {Group.agree(ensemble)}"  # type: ignore[arg-type]


@case("reconfiguration refused")
def refusals(world: Processes) -> str:
    """Each reason not to, by its error; nothing has changed afterwards."""
    ensemble = Changing(world, *(world.server(myid) for myid in (1, 2, 3)))
    ensemble.start()
    before = ensemble.configuration
    assert before
    one = ensemble.servers[0]
    absent = [world.server(myid) for myid in (4, 5, 6, 7)]
    twins = "server.4=nowhere:1:2;3,server.5=nowhere:4:1;5"  # loopback is everybody's, and says nothing
    seen = [
        refused(BadVersionError, lambda: reconfigure(one, leaving="3", version=before.version + 1)),
        refused(NewConfigNoQuorumError, lambda: reconfigure(one, joining=reconfig.lines(absent))),
        refused(NoAuthError, lambda: reconfigure(one, leaving="3", is_super=False)),
    ]
    for wrong in ("server.4=nonsense", "server.4=h:1:2:king;3", "server.4=h:1:2", twins):
        seen.append(refused(BadArgumentsError, lambda wrong=wrong: reconfigure(one, joining=wrong)))
    seen.append(refused(BadArgumentsError, lambda: reconfigure(one, leaving="1,2,3")))
    seen.append(refused(BadArgumentsError, lambda: reconfigure(one, members="server.1=nonsense")))
    assert ensemble.settle() == before, "a reconfiguration that was refused changed something"
    seen.append(in_progress(ensemble))
    alone = world.server(1)
    alone.configure([alone.line()], **{**SETTINGS, "standaloneEnabled": "true"})
    off = world.server(1)
    off.configure([off.line()], **{**SETTINGS, "reconfigEnabled": "false"})
    for server, error in ((alone, UnimplementedError), (off, ReconfigDisabledError)):
        server.start()
        wait_for("the server to serve", RECOVERY_SECONDS, lambda s=server: (s.status() or {}).get("storeState") == "synced")
        seen.append(refused(error, lambda s=server: reconfigure(s, joining=absent[0].line())))
    return f"{', '.join(dict.fromkeys(seen))}; {Group.agree(ensemble)}"  # type: ignore[arg-type]


def in_progress(ensemble: Changing) -> str:
    """While the followers stand still, the leader proposes one and refuses another; both are answered when they go on, for a refusal has its place in the order, too."""
    leader = ensemble.leader()
    followers = [server for server in ensemble.servers if server is not leader]
    clients = [connect(leader.address) for _ in followers]
    answers: list[Configuration] = []
    names: list[str] = []

    def first() -> None:
        answers.append(reconfig.ask(clients[0], leaving=str(followers[0].myid)))

    def second() -> None:
        names.append(refused(ReconfigInProcessError, lambda: reconfig.ask(clients[1], leaving=str(followers[1].myid))))

    asking = [threading.Thread(target=ask, daemon=True) for ask in (first, second)]
    pending = leader.config.with_name("zoo.cfg.dynamic.next")
    try:
        for client in clients:
            client.add_auth(*SUPER)
        for server in followers:
            server.suspend()
        asking[0].start()
        wait_for("the reconfiguration to be pending", RECOVERY_SECONDS, pending.exists, every=0.01)
        asking[1].start()
        threading.Event().wait(STANDSTILL_SECONDS)
        assert pending.exists() and not answers and not names, f"answered without a quorum: {answers}, {names}"
        told = (leader.status() or {})["config"]
        assert int(told["pending"], 16) > int(told["version"], 16), f"/status says {told}"
    finally:
        for server in followers:
            server.resume()
    for thread in asking:
        thread.join(RECOVERY_SECONDS)
    for client in clients:
        close(client)
    assert answers and answers[0].ids() == sorted({leader.myid, followers[1].myid}), f"the first one was answered by {answers}"
    assert names, "the second one was not refused because of the first"
    ensemble.servers.remove(followers[0])
    followers[0].stop()
    ensemble.settle()
    assert "pending" not in (leader.status() or {})["config"], f"/status says {leader.status()}"
    return names[0]


@case("reconfiguration and kill -9")
def crashes(world: Processes) -> str:
    """A server joins and leaves for ever; a random server is killed at a random moment of it, and comes back: the reconfiguration has happened everywhere, or nowhere."""
    random_number = random.Random(16)
    ensemble = Changing(world, *(world.server(myid) for myid in (1, 2, 3)))
    ensemble.start()
    fourth = ensemble.newcomer(4)
    done = 0
    with loaded([*ensemble.servers, fourth]) as writes:
        for _ in range(KILLS):
            leaves = fourth in ensemble.servers
            asking = threading.Thread(target=lambda leaves=leaves: ask_once(ensemble.servers[0], fourth, leaves=leaves), daemon=True)
            asking.start()
            victim = random_number.choice(ensemble.servers if leaves else [*ensemble.servers, fourth])
            threading.Event().wait(random_number.uniform(0, 0.06))
            victim.kill()
            if not (victim is fourth and refuses(fourth)):
                victim.start()
            asking.join(RECOVERY_SECONDS)
            assert not asking.is_alive(), "a client that asked for a reconfiguration got no answer and no end of its connection"
            found = wait_for("one configuration", RECOVERY_SECONDS, lambda: unanimous(ensemble.servers[:3]), every=0.05)
            done += (4 in found.ids()) != leaves
            ensemble.servers = [*ensemble.servers[:3], *([fourth] if 4 in found.ids() else [])]
            if not fourth.alive():  # it was removed, added again, and died before it knew
                ensemble.let_follow(fourth)
            ensemble.settle()
            writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
        summary = writes.finish()
    return f"{KILLS} kills, {done} of as many reconfigurations happened; {summary}; {Group.agree(ensemble)}"  # type: ignore[arg-type]


@case("reconfiguration that a server cannot keep")
def not_kept(world: Processes) -> str:
    """Whoever cannot write the proposed configuration does not acknowledge it: its process ends. When the file can be written it comes back."""
    ensemble = Changing(world, *(world.server(myid) for myid in (1, 2, 3)))
    ensemble.start()
    codes = []
    with loaded(ensemble.servers) as writes:
        follower, leader = ensemble.follower(), ensemble.leader()
        other = next(server for server in ensemble.servers if server not in (follower, leader))
        for victim, asked in ((follower, leader), (leader, follower)):
            in_the_way = victim.config.with_name("zoo.cfg.dynamic.next.tmp")
            in_the_way.mkdir()
            (other.client_port,) = free_ports(1)
            found = reconfigure(asked, joining=other.line())
            assert found.line(other.myid) == other.line(), f"the others did not go on without {victim.myid}: {found}"
            assert victim.process
            codes.append(victim.process.wait(RECOVERY_SECONDS))
            victim.process = None
            assert "zoo.cfg.dynamic.next.tmp" in victim.said()[-2000:], victim.said()[-2000:]
            in_the_way.rmdir()
            victim.start()
            ensemble.settle()
            writes.wait_for_writes(WRITES, RECOVERY_SECONDS)
        summary = writes.finish()
    assert codes == [DISK, DISK], f"exit codes {codes}"
    return f"a follower and a leader ended with code {DISK} and came back; {summary}; {Group.agree(ensemble)}"  # type: ignore[arg-type]


@case("reconfiguration beside a zoo.cfg that nobody may write")
def apart(world: Processes) -> str:
    """With `ensemble.dynamicConfigDir` the files stand elsewhere, zoo.cfg stays as it is, and the newest file counts after a restart."""
    servers = [world.server(myid) for myid in (1, 2, 3, 4)]
    static = {}
    for server in servers:
        members = servers[:3] if server is not servers[3] else servers
        server.configure([other.line() for other in members], **SETTINGS, ensemble__dynamicConfigDir=str(server.folder / "data"))
        static[server.myid] = server.config.read_bytes()
        server.start()
    wait_for("a leader", RECOVERY_SECONDS, lambda: unanimous(servers[:3]), every=0.05)
    wait_for("server 4 to follow", RECOVERY_SECONDS, lambda: follows(servers[3]), every=0.05)
    found = reconfigure(servers[0], joining=servers[3].line())
    found = reconfigure(servers[0], leaving="1", version=found.version)
    for server in servers:
        server.stop()
    for server in servers:
        server.start()
    members = servers[1:]
    after = wait_for("one configuration after the restart", RECOVERY_SECONDS, lambda: unanimous(members), every=0.05)
    assert after == found, f"{after} after the restart, and {found} before"
    wait_for("the removed server to follow", RECOVERY_SECONDS, lambda: follows(servers[0]), every=0.05)
    for server in servers:
        assert server.config.read_bytes() == static[server.myid], f"zoo.cfg of server {server.myid} was written"
        assert (server.folder / "data" / f"zoo.cfg.dynamic.{found.version:x}").read_text() == found.file()
    return f"version {found.version:x} after the restart of all, zoo.cfg untouched; the removed server follows without a vote"


def ask_once(server: Server, fourth: Server, *, leaves: bool) -> None:
    """Asks for a change by a client that gives up with its connection: whether it happened is seen afterwards."""
    with contextlib.suppress(KazooException, KazooTimeoutError, AssertionError):
        reconfigure(server, leaving="4") if leaves else reconfigure(server, joining=fourth.line())


def unanimous(servers: list[Server]) -> Configuration | None:
    """The configuration in which all of these serve, one of which leads."""
    answers = [server.status() for server in servers]
    if not all(answer and answer["storeState"] == "synced" for answer in answers):
        return None
    found = {(answer["config"]["version"], *answer["config"]["servers"]) for answer in answers if answer}
    if len(found) != 1:
        return None
    version, *lines = found.pop()
    return Configuration(int(version, 16), tuple(lines)) if int(version, 16) else None


def follows(server: Server) -> bool:
    """Whether it follows, member or not."""
    answer = server.status() if server.alive() else None
    return bool(answer and answer["role"] == "following" and answer["storeState"] == "synced")


def refuses(server: Server) -> bool:
    """Whether a server that was killed would not start, because what it kept does not have it."""
    pointer = next((line for line in server.config.read_text().splitlines() if line.startswith("dynamicConfigFile=")), None)
    return pointer is not None and f"server.{server.myid}=" not in server.config.with_name(pointer.rpartition("/")[2]).read_text()


def restarted(server: Server) -> tuple[int, str]:
    """Stops a server and starts it when it should end by itself."""
    server.stop()
    return server.run_to_end()


def listens(port: int) -> bool:
    """Whether somebody accepts connections."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2):
        return True
    return False
