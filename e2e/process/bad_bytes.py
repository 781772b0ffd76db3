"""Bytes that no client and no server would send: that connection is closed, and nobody else notices."""

import contextlib
import socket
import struct

from harness.load import close, connect
from harness.processes import HOST, Group, Processes, Server, read_all
from harness.runner import case

# A frame's length limit is jute.maxbuffer, by default 0xfffff.
FRAME_BYTES_MAX = 0xFFFFF
CREATE, EXISTS, NO_OPCODE = 1, 3, 12345
MARSHALLING_ERROR, UNIMPLEMENTED = -5, -6
HALF_OPEN = 50

CONNECT = struct.pack(">iqiq", 0, 0, 10_000, 0) + struct.pack(">i", 16) + bytes(16) + b"\0"


def frame(body: bytes) -> bytes:
    """A body with its length before it."""
    return struct.pack(">i", len(body)) + body


# After these a client is not listened to any more; words of the message that says why.
CLIENT_BYTES = {
    "a request instead of a handshake": (frame(struct.pack(">ii", 1, 4)), "handshake"),
    "a handshake cut short": (frame(CONNECT[:11]), "handshake"),
    "a handshake with a password of 2 GiB": (frame(CONNECT[:24] + struct.pack(">i", 2**31 - 1)), "handshake"),
    "a length below zero": (struct.pack(">i", -2), "length=-2"),
    "a length over the limit": (struct.pack(">i", FRAME_BYTES_MAX + 1), f"length={FRAME_BYTES_MAX + 1}"),
    "the greatest length": (struct.pack(">i", 2**31 - 1), "length=2147483647"),
    "noise": (b"\x00\x00\x00\x40" + bytes(range(64)), "handshake"),
    "a request without a header": (frame(CONNECT) + frame(b"\x00"), "header"),
}

# These are requests of a session that cannot be read: the answer is an error, and the connection goes on being served.
BAD_REQUESTS = {
    "a request cut short": struct.pack(">ii", 1, EXISTS) + b"\x00\x00\x7f",
    "a path longer than its frame": struct.pack(">iii", 1, EXISTS, 2**30),
    "a create without an ACL": struct.pack(">iii", 1, CREATE, 2) + b"/x" + struct.pack(">i", -1),
}

QUORUM_BYTES = {
    "noise": (b"\x7f" * 512, "packet type"),
    "a length over the limit": (struct.pack(">iqi", 11, 0, 2**31 - 1), "length 2147483647"),
    "a length below zero": (struct.pack(">iqi", 11, 0, -5), "length -5"),
    "an unknown packet": (struct.pack(">iqii", 99, 0, -1, -1), "99"),
}

ELECTION_BYTES = {
    "noise": (b"\x7f" * 512, f"{0x7F7F7F7F7F7F7F7F}"),
    "an unknown protocol version": (struct.pack(">q", -70000), "-70000"),
    "an address longer than is possible": (struct.pack(">qqi", -65536, 2, 2**30), "length 1073741824"),
    "an id that is not a member's": (struct.pack(">qqi", -65536, 77, 14) + b"127.0.0.1:3888", "77"),
}


@case("bad bytes on the client port")
def client_port(world: Processes) -> str:
    """Every connection is closed; a session that was open before goes on."""
    with world.three() as group:
        server = group.servers[0]
        return everywhere(group, server, server.client_port, CLIENT_BYTES)


@case("bad bytes on the quorum port")
def quorum_port(world: Processes) -> str:
    """Learners stay with their leader."""
    with world.three() as group:
        leader = group.leader()
        return everywhere(group, leader, leader.quorum_port, QUORUM_BYTES)


@case("bad bytes on the election port")
def election_port(world: Processes) -> str:
    """No election is disturbed."""
    with world.three() as group:
        leader = group.leader()
        return everywhere(group, leader, leader.election_port, ELECTION_BYTES)


@case("bad requests of a session")
def requests(world: Processes) -> str:
    """Each is answered as ZooKeeper answers it; an opcode that is none is answered too, and then, as ZooKeeper does, the connection is closed."""
    with world.three() as group:
        server, answers = group.servers[0], {}
        for what, body in BAD_REQUESTS.items():
            with socket.create_connection((HOST, server.client_port), timeout=10) as connection:
                connection.sendall(frame(CONNECT) + frame(body))
                receive_frame(connection)  # the answer to the handshake
                xid, _zxid, error = struct.unpack(">iqi", receive_frame(connection)[:16])
                assert (xid, error) == (1, MARSHALLING_ERROR), f"{what}: xid {xid}, error {error}"
                connection.sendall(frame(struct.pack(">ii", 2, EXISTS) + struct.pack(">i", 1) + b"/\0"))
                xid, _zxid, again = struct.unpack(">iqi", receive_frame(connection)[:16])
                assert (xid, again) == (2, 0), f"{what}: the next request got xid {xid}, error {again}"
                answers[what] = error
        with socket.create_connection((HOST, server.client_port), timeout=10) as connection:
            connection.sendall(frame(CONNECT) + frame(struct.pack(">ii", 1, NO_OPCODE)))
            receive_frame(connection)
            xid, _zxid, error = struct.unpack(">iqi", receive_frame(connection)[:16])
            assert (xid, error) == (1, UNIMPLEMENTED), f"an opcode that is none: xid {xid}, error {error}"
            read_all(connection)
            answers["an opcode that is none"] = error
        check_health(group.servers)
        return f"answered {answers}; {group.agree()}"


def everywhere(group: Group, server: Server, port: int, inputs: dict[str, tuple[bytes, str]]) -> str:
    """Sends each input on a connection of its own, while a client keeps its session."""
    before = {each.myid: each.status()["role"] for each in group.servers}
    client = connect(group.hosts())
    silent = []
    try:
        session = client.client_id
        for what, (sent, word) in inputs.items():
            offset = server.output.stat().st_size
            with socket.create_connection((HOST, port), timeout=10) as connection:
                connection.sendall(sent)
                read_all(connection)
            client.create("/bad-", what.encode(), sequence=True)  # also gives the message time to be written
            if word not in server.said(offset):
                silent.append(f"{what} ({word!r} expected in {server.said(offset)!r})")
        assert client.client_id == session, "the client lost its session"
        assert len(client.get_children("/")) == len(inputs) + 1, "a write is missing"
    finally:
        close(client)
    check_health(group.servers)
    after = {each.myid: each.status()["role"] for each in group.servers}
    assert after == before, f"roles were {before} and are {after}"
    assert not silent, f"closed without a message that names the fault: {'; '.join(silent)}"
    return f"{len(inputs)} inputs, each closed and named in the log; the session and the roles stayed; {group.agree()}"


def receive_frame(connection: socket.socket) -> bytes:
    """One frame's body."""
    (length,) = struct.unpack(">i", receive(connection, 4))
    return receive(connection, length)


def receive(connection: socket.socket, count: int) -> bytes:
    """Exactly so many bytes. Raises AssertionError when the other side closes before."""
    received = b""
    while len(received) < count:
        chunk = connection.recv(count - len(received))
        assert chunk, f"closed after {len(received)} of {count} bytes"
        received += chunk
    return received


@case("half-open connections")
def half_open(world: Processes) -> str:
    """Connections that say nothing, or half of something, hold up nobody and are closed in the end or refused."""
    with world.three() as group, contextlib.ExitStack() as stack:
        server = group.servers[0]
        for port in (server.client_port, server.quorum_port, server.election_port):
            for number in range(HALF_OPEN):
                connection = stack.enter_context(socket.create_connection((HOST, port), timeout=10))
                connection.sendall(b"\x00" * (number % 4))
        client = connect(f"{HOST}:{server.client_port}")
        try:
            client.create("/through")
        finally:
            close(client)
        with group.load() as load:
            load.wait_for_writes(100, 60)
            summary = load.finish()
        check_health(group.servers)
        return f"{3 * HALF_OPEN} connections open and silent; {summary}; {group.agree()}"


def check_health(servers: list[Server]) -> None:
    """No process ended, no thread panicked."""
    for server in servers:
        assert server.alive(), f"server {server.myid} ended: {server.said()[-1000:]}"
        assert "panicked" not in server.said(), f"server {server.myid} panicked: {server.said()[-1000:]}"
