"""The same data directory and log directory under servers of both kinds, one after the other."""

from kazoo.client import KazooClient
from kazoo.security import make_acl, make_digest_acl

from harness import processes
from harness.load import close, connect
from harness.mixed import Kind, Server, World, tree
from harness.runner import case
from harness.shell import wait_for
from mixed.raw_session import CONTAINER, CREATE_CONTAINER, RawSession
from mixed.synchronisations import LEADER_SAYS, found

START_SECONDS = 60
# So that every round writes snapshots and several logs.
SNAP_COUNT = "40"
ROUNDS = (Kind.JAVA, Kind.RUST, Kind.JAVA, Kind.RUST)
CROWD = 120


@case("directories of a single server")
def alone(world: World) -> str:
    """Java, Rust, Java, Rust on one data directory, killed each time: each shows the whole tree as the one before left it."""
    server = world.one(ROUNDS[0])
    server.configure([], clientPort=str(server.client_port), clientPortAddress=processes.HOST, snapCount=SNAP_COUNT, **{"4lw.commands.whitelist": "*"})
    left: dict[str, object] = {}
    for number, kind in enumerate(ROUNDS):
        server.kill()
        server.kind = kind
        server.start()
        wait_for(f"{server} to serve", START_SECONDS, lambda: server.mode() == "standalone", every=0.2)
        found_tree = tree(server)
        different = [path for path in {*left, *found_tree} if left and left.get(path) != found_tree.get(path)]
        assert not different, f"{server} shows another {different[0]}: {found_tree.get(different[0])} instead of {left.get(different[0])}"
        populate(server, f"/round-{number}")
        left = dict(tree(server))
    files = sorted(file.name.split(".")[0] for file in server.folder.glob("*/version-2/*.*"))
    return f"{', '.join(kind.value for kind in ROUNDS)}: {len(left)} znodes, {files.count('snapshot')} snapshots and {files.count('log')} logs"


@case("directories of a server of three")
def of_three(world: World) -> str:
    """A server of an ensemble is started as the other kind and back: it is only sent what it missed."""
    ensemble = world.ensemble("JJR")
    ensemble.configure(snapCount=SNAP_COUNT)
    ensemble.start()
    changing, _, leader = ensemble.servers
    said = []
    for number, lead in enumerate((ensemble.servers[2], ensemble.servers[1])):
        leader = ensemble.lead(lead)
        for kind in (Kind.RUST, Kind.JAVA):
            path = f"/round-{number}-{kind.value}"
            populate(leader, path, containers=leader.kind is Kind.JAVA)
            changing.stop()
            changing.kind = kind
            populate(leader, f"{path}-missed", containers=leader.kind is Kind.JAVA)
            before = len(leader.said())
            changing.start()
            assert ensemble.settle() is leader
            modes = found(LEADER_SAYS[leader.kind], leader.said()[before:])
            assert modes == ["DIFF"], f"{leader} sent {changing} {modes}"
        said.append(f"{changing.myid} became Rust and Java again under {leader}, by DIFF")
    return f"{'; '.join(said)}; {ensemble.equal()}"


def populate(server: Server, root: str, *, containers: bool = False) -> None:
    """Znodes of every sort."""
    client = connect(server.address)
    try:
        fill(client, root)
    finally:
        close(client)
    if containers:
        session = RawSession(server, 10_000)
        try:
            assert session.create(f"{root}/container", opcode=CREATE_CONTAINER, flags=CONTAINER) == 0
            assert session.create(f"{root}/container/member") == 0
        finally:
            session.leave()


def fill(client: KazooClient, root: str) -> None:
    """Data of no and of many bytes, names of many bytes, lists of rights, changes of all of them, and what is gone again."""
    client.create(root, b"")
    client.create(f"{root}/large", b"\x00\xff" * 200_000)
    client.create(f"{root}/h\u00f6he-\u6e2c\u8a66", "\u00fc\u6e2c".encode())
    client.create(f"{root}/{'deep/' * 20}end", b"deep", makepath=True)
    client.create(f"{root}/mine", b"", acl=[make_digest_acl("somebody", "password", all=True), make_acl("ip", "127.0.0.0/8", read=True)])
    client.create(f"{root}/changed", b"1")
    for number in range(5):
        client.set(f"{root}/changed", str(number).encode())
    client.set_acls(f"{root}/changed", [make_acl("world", "anyone", all=True), make_acl("ip", "127.0.0.1", all=True)])
    pending = [client.create_async(f"{root}/crowd-", b"", sequence=True) for _ in range(CROWD)]
    names = [result.get(timeout=START_SECONDS) for result in pending]
    for name in names[::3]:
        client.delete(name)
    transaction = client.transaction()
    transaction.create(f"{root}/together", b"")
    transaction.set_data(f"{root}/together", b"2")
    transaction.check(f"{root}/together", 1)
    transaction.delete(f"{root}/changed")
    assert all(not isinstance(result, Exception) for result in transaction.commit())
    refused = client.transaction()
    refused.create(f"{root}/never", b"")
    refused.check(f"{root}/together", 77)
    assert any(isinstance(result, Exception) for result in refused.commit())
