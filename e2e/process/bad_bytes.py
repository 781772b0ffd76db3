"""Bytes that no client and no server would send: that connection is closed, and nobody else notices."""

import contextlib
import os
import socket
import struct

from harness.load import close, connect
from harness.processes import HOST, Group, Processes, Server, read_all
from harness.runner import case

# A frame's length limit is jute.maxbuffer, by default 0xfffff.
FRAME_BYTES_MAX = 0xFFFFF
HALF_OPEN = 50

CONNECT = struct.pack(">iqiq", 0, 0, 10_000, 0) + struct.pack(">i", 16) + bytes(16) + b"\0"


def frame(body: bytes) -> bytes:
    """A body with its length before it."""
    return struct.pack(">i", len(body)) + body


CLIENT_BYTES = {
    "a request instead of a handshake": frame(struct.pack(">ii", 1, 4)),
    "a handshake cut short": frame(CONNECT[:11]),
    "a handshake with a password of 2 GiB": frame(CONNECT[:24] + struct.pack(">i", 2**31 - 1)),
    "a length below zero": struct.pack(">i", -2),
    "a length over the limit": struct.pack(">i", FRAME_BYTES_MAX + 1),
    "the greatest length": struct.pack(">i", 2**31 - 1),
    "noise": b"\x00\x00\x00\x40" + bytes(range(64)),
    "a request cut short": frame(CONNECT) + frame(struct.pack(">ii", 1, 4) + b"\x00\x00\x7f"),
    "a path longer than its frame": frame(CONNECT) + frame(struct.pack(">iii", 1, 4, 2**30)),
    "a request without a header": frame(CONNECT) + frame(b"\x00"),
}

QUORUM_BYTES = {
    "noise": os.urandom(512),
    "a length over the limit": struct.pack(">iq", 11, 0) + struct.pack(">i", 2**31 - 1),
    "a length below zero": struct.pack(">iq", 11, 0) + struct.pack(">i", -5),
    "an unknown packet": struct.pack(">iqii", 99, 0, -1, -1),
}

ELECTION_BYTES = {
    "noise": os.urandom(512),
    "an unknown protocol version": struct.pack(">q", -70000),
    "an address longer than is possible": struct.pack(">qqi", -65536, 2, 2**30),
    "an id that is not a member's": struct.pack(">qqi", -65536, 77, 14) + b"127.0.0.1:3888",
}


@case("bad bytes on the client port")
def client_port(world: Processes) -> str:
    """Every connection is closed; a session that was open before goes on."""
    with world.three() as group:
        return everywhere(group, group.servers[0].client_port, CLIENT_BYTES)


@case("bad bytes on the quorum port")
def quorum_port(world: Processes) -> str:
    """Learners stay with their leader."""
    with world.three() as group:
        return everywhere(group, group.leader().quorum_port, QUORUM_BYTES)


@case("bad bytes on the election port")
def election_port(world: Processes) -> str:
    """No election is disturbed."""
    with world.three() as group:
        return everywhere(group, group.leader().election_port, ELECTION_BYTES)


def everywhere(group: Group, port: int, inputs: dict[str, bytes]) -> str:
    """Sends each input on a connection of its own, while a client keeps its session."""
    before = {server.myid: server.status()["role"] for server in group.servers}
    client = connect(group.hosts())
    try:
        session = client.client_id
        for what, sent in inputs.items():
            with socket.create_connection((HOST, port), timeout=10) as connection:
                connection.sendall(sent)
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_WR)
                read_all(connection)
            client.create("/bad-", what.encode(), sequence=True)
        assert client.client_id == session, "the client lost its session"
        assert len(client.get_children("/")) == len(inputs) + 1, "a write is missing"
    finally:
        close(client)
    check_health(group.servers)
    after = {server.myid: server.status()["role"] for server in group.servers}
    assert after == before, f"roles were {before} and are {after}"
    return f"{len(inputs)} inputs, each closed; the session and the roles stayed; {group.agree()}"


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
