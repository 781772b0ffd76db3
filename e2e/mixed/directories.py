"""The same data directory and log directory under servers of both kinds, one after the other."""

from collections import Counter

from harness.matrix import cells
from harness.mixed import SETTINGS, Kind, Server, World
from harness.runner import case
from harness.shell import wait_for
from harness.trees import Tree, difference, tree
from mixed.operations import ask, populate
from harness.raw_session import CONTAINER, CREATE_CONTAINER
from mixed.synchronisations import LEADER_SAYS, found

START_SECONDS = 60
PORT = 14
# In the payload of a log's first record.
DAMAGED_BYTE = 60
# So that every round writes snapshots and several logs.
SNAP_COUNT = "40"
# Kinds and how they compress snapshots; ours reads every form, and writes the plain one.
ROUNDS = ((Kind.JAVA, "gz"), (Kind.RUST, None), (Kind.JAVA, "snappy"), (Kind.RUST, None), (Kind.JAVA, None))


@case("directories of a single server")
def alone(world: World) -> str:
    """Java, Rust, Java, Rust, Java on one data directory, killed each time: each shows the whole tree as the one before left it."""
    server = world.one(Kind.JAVA)
    keys = {**SETTINGS, "clientPort": str(server.client_port), "clientPortAddress": server.host, "snapCount": SNAP_COUNT}
    left: Tree = {}
    for number, (kind, compression) in enumerate(ROUNDS):
        server.kill()
        server.kind = kind
        server.configure([], **keys, snapshot__compression__method=compression)
        server.start()
        wait_for(f"{server} to serve", START_SECONDS, lambda: server.mode() == "standalone", every=0.2)
        different = difference(left, tree(server.address)) if left else ""
        assert not different, f"before and at {server}: {different}"
        populate(server, f"/round-{number}")
        left = tree(server.address)
    files = Counter(".".join([*file.name.split(".")[:1], *file.name.split(".")[2:]]) for file in server.folder.glob("*/version-2/*.*"))
    missing = {"log", "snapshot", "snapshot.gz", "snapshot.snappy"} - set(files)
    assert not missing, f"no {' and '.join(missing)} was written: the case shows nothing"
    return f"{', '.join(kind.value for kind, _ in ROUNDS)}: {len(left)} znodes in {', '.join(f'{count} {name}' for name, count in sorted(files.items()))}"


@case("directories of a server of three", covers=cells("leader", "JR", "DIFF") | cells("follower", "JR", "stop, DIFF"))
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
            populate(leader, path)
            assert ask(leader, f"{path}/container", CREATE_CONTAINER, CONTAINER) == 0
            changing.stop()
            changing.kind = kind
            populate(leader, f"{path}-missed")
            before = len(leader.said())
            changing.start()
            assert ensemble.settle() is leader
            modes = found(LEADER_SAYS[leader.kind], leader.said()[before:])
            assert modes == ["DIFF"], f"{leader} sent {changing} {modes}"
        said.append(f"{changing.myid} became Rust and Java again under {leader}, by DIFF")
    return f"{'; '.join(said)}; {ensemble.equal()}"


@case("directories that were set aside")
def set_aside(world: World) -> str:
    """A damaged store of ours that is set aside, and not filled yet, is refused by a Java server, which would vote without what was acknowledged here; filled, it is like any other."""
    ensemble = world.ensemble("JJR")
    ensemble.start()
    damaged = ensemble.servers[2]
    populate(ensemble.settle(), "/before")
    for server in ensemble.servers:
        server.stop()
    log = min(damaged.folder.glob("*/version-2/log.*"))
    content = bytearray(log.read_bytes())
    content[DAMAGED_BYTE] ^= 1
    log.write_bytes(content)
    damaged.start()
    wait_for("the store to be set aside", START_SECONDS, lambda: list(damaged.folder.glob("*/version-2/aside-1.currentEpoch")), every=0.1)
    damaged.become(Kind.JAVA)
    wait_for("the Java server to end", START_SECONDS, lambda: not damaged.alive(), every=0.1)
    assert "this store does not vote" in damaged.said_now(), damaged.said_now()[-2000:]
    damaged.kind = Kind.RUST
    ensemble.start()
    damaged.become(Kind.JAVA)
    ensemble.settle()
    return f"refused by Java until it was filled; then {ensemble.equal()}"


@case("directories of a running Java server")
def running(world: World) -> str:
    """A Rust server that is started on them by mistake finds the ports taken, and leaves every file as it is: Java servers lock nothing."""
    server = world.one(Kind.JAVA)
    server.configure([], **SETTINGS, clientPort=str(server.client_port), clientPortAddress=server.host)
    server.start()
    wait_for(f"{server} to serve", START_SECONDS, lambda: server.mode() == "standalone", every=0.2)
    unfinished = server.folder / "data" / "version-2" / "currentEpoch.tmp"
    unfinished.write_bytes(b"")  # what a crash leaves, and what a server that runs is about to rename
    before = files(server)
    done = world.run("server", "--config", str(server.config))
    assert done.returncode == PORT, f"code {done.returncode}: {done.stderr}"
    assert files(server) == before, "a file of the running server was changed"
    return f"ended with code {PORT}, {len(before)} files untouched"


def files(server: Server) -> dict[str, tuple[int, int]]:
    """The size and the time of the last change of every file of the store."""
    return {str(file): (file.stat().st_size, file.stat().st_mtime_ns) for file in server.folder.glob("*/version-2/*")}
