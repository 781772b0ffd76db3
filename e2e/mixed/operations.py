"""Every operation through servers of both kinds, under leaders of both kinds."""

from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError
from kazoo.security import make_acl, make_digest_acl

from harness.load import close, connect
from harness.matrix import cells
from harness.mixed import Ensemble, Server, World
from harness.runner import case
from harness.shell import wait_for
from harness.raw_session import CONTAINER, CREATE_CONTAINER, RawSession

ANSWER_SECONDS = 60
CROWD = 120
# The limit of a frame, jute.maxbuffer, is a little more.
LARGE = 1_000_000


@case("operations through every server", covers=cells("leader follower", "JR", "quota"))
def operations(world: World) -> str:
    """Each server takes every kind of write under a leader of each kind."""
    ensemble = world.ensemble("JRJ")
    ensemble.start()
    for leader in (ensemble.servers[2], ensemble.servers[1]):
        ensemble.lead(leader)
        for server in ensemble.servers:
            root = f"/{server.myid}-under-{leader.myid}"
            populate(server, root)
            reap(ensemble, server, f"{root}/container")
            assert ensemble.settle() is leader, f"the leader changed after operations at {server}"
    return f"six containers went when they were empty; {ensemble.equal()}"


def reap(ensemble: Ensemble, server: Server, path: str) -> None:
    """Containers that a server makes: one that loses its only member is deleted by the leader, one that is new stays."""
    for name in (path, f"{path}-new"):
        assert ask(server, name, CREATE_CONTAINER, CONTAINER) == 0, f"createContainer at {server}"
    client = connect(ensemble.hosts())
    try:
        client.create(f"{path}/member", b"")
        client.delete(f"{path}/member")
        wait_for(f"{path} to be deleted", ANSWER_SECONDS, lambda: client.exists(path) is None)
        assert client.exists(f"{path}-new"), "a container was deleted that never had a member"
    finally:
        close(client)


def ask(server: Server, path: str, opcode: int, flags: int) -> int:
    """Creates a znode by an operation that kazoo does not have, and returns the error code."""
    session = RawSession(server, 10_000)
    try:
        return session.create(path, opcode=opcode, flags=flags)
    finally:
        session.leave()


def populate(server: Server, root: str) -> None:
    """Znodes of every sort, through this server."""
    client = connect(server.address)
    try:
        fill(client, root)
    finally:
        close(client)


def fill(client: KazooClient, root: str) -> None:
    """Data of no and of many bytes, names of many bytes, lists of rights, a quota, changes of all of them, and what is gone again."""
    client.create(root, b"")
    client.create(f"/zookeeper/quota{root}/zookeeper_limits", b"count=1000,bytes=-1", makepath=True)
    client.create(f"/zookeeper/quota{root}/zookeeper_stats", b"count=0,bytes=0")
    client.create(f"{root}/large", b"\x00\xff" * (LARGE // 2))
    client.create(f"{root}/h\u00f6he-\u6e2c\u8a66", "\u00fc\u6e2c".encode())
    client.create(f"{root}/{'deep/' * 20}end", b"deep", makepath=True)
    client.create(f"{root}/mine", b"", acl=[make_digest_acl("somebody", "password", all=True), make_acl("ip", "127.0.0.0/8", read=True)])
    client.add_auth("digest", "me:password")
    client.create(f"{root}/of-the-creator", b"", acl=[make_acl("auth", "", all=True)])
    client.create(f"{root}/of-another", b"", acl=[make_digest_acl("another", "password", all=True)])
    client.create(f"{root}/changed", b"1")
    for number in range(5):
        client.set(f"{root}/changed", str(number).encode())
    client.set_acls(f"{root}/changed", [make_acl("world", "anyone", all=True), make_acl("ip", "127.0.0.1", all=True)])
    pending = [client.create_async(f"{root}/crowd-", b"", sequence=True) for _ in range(CROWD)]
    names = [result.get(timeout=ANSWER_SECONDS) for result in pending]
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
    try:
        client.get(f"{root}/of-another")
        raise AssertionError("a znode of somebody else can be read")
    except NoAuthError:
        pass
