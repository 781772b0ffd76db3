"""A session on bare frames: it can be left without closing it, taken up at another server, and told what its watches missed. kazoo does none of these."""

import contextlib
import socket
import struct

from harness.load import ATTEMPT_SECONDS
from harness.mixed import Server
from harness.processes import HOST
from harness.shell import TimedOut

READ_SECONDS = 20
CREATE, EXISTS, CREATE_CONTAINER, SET_WATCHES = 1, 3, 19, 101
EPHEMERAL, CONTAINER = 1, 4
SET_WATCHES_XID, EVENT_XID = -8, -1
ALL_PERMISSIONS = 31


class Refused(Exception):
    """The server did not take the session up: it has expired, or the password is wrong."""


class RawSession:
    """A connection with a session. `session` and `password` take up one that another connection began."""

    def __init__(self, server: Server, timeout_ms: int, session: int = 0, password: bytes = bytes(16)):
        self._connection = socket.create_connection((HOST, server.client_port), timeout=ATTEMPT_SECONDS)
        self._connection.settimeout(READ_SECONDS)
        self._events: list[tuple[int, str]] = []
        self._xid = 0
        self.zxid = 0
        self._send(struct.pack(">iqiq", 0, 0, timeout_ms, session) + _buffer(password) + b"\0")
        answer = self._receive()
        _, self.timeout_ms, self.id = struct.unpack(">iiq", answer[:16])
        self.password = answer[20:36]
        if self.id == 0:
            self.leave()
            raise Refused

    def create(self, path: str, *, flags: int = 0, opcode: int = CREATE) -> int:
        """Creates a znode that everybody may use, and returns the error code."""
        acl = struct.pack(">ii", 1, ALL_PERMISSIONS) + _buffer(b"world") + _buffer(b"anyone")
        return self._ask(opcode, _buffer(path.encode()) + _buffer(b"raw") + acl + struct.pack(">i", flags))

    def ask_nothing(self) -> None:
        """Tells the server that the client lives."""
        self._ask(EXISTS, _buffer(b"/") + b"\0")

    def set_watches(self, since: int, paths: list[str]) -> None:
        """Registers data watches of a session that had seen everything up to `since`, and waits for the answer."""
        vector = struct.pack(">i", len(paths)) + b"".join(_buffer(path.encode()) for path in paths)
        nothing = struct.pack(">i", 0)
        self._send(struct.pack(">iiq", SET_WATCHES_XID, SET_WATCHES, since) + vector + nothing + nothing)
        self._answer(SET_WATCHES_XID)

    def event(self) -> tuple[int, str]:
        """The next event: its type and path. Raises TimedOut."""
        while not self._events:
            try:
                self._take(self._receive())
            except TimeoutError:
                raise TimedOut(f"no watch event within {READ_SECONDS} s") from None
        return self._events.pop(0)

    def leave(self) -> None:
        """Ends the connection; the session goes on."""
        with contextlib.suppress(OSError):
            self._connection.close()

    def _ask(self, opcode: int, body: bytes) -> int:
        self._xid += 1
        self._send(struct.pack(">ii", self._xid, opcode) + body)
        return self._answer(self._xid)

    def _answer(self, xid: int) -> int:
        while True:
            frame = self._receive()
            if struct.unpack(">i", frame[:4])[0] == xid:
                zxid, error = struct.unpack(">qi", frame[4:16])
                self.zxid = max(self.zxid, zxid)
                return int(error)
            self._take(frame)

    def _take(self, frame: bytes) -> None:
        xid, kind = struct.unpack(">i", frame[:4])[0], struct.unpack(">i", frame[16:20])[0]
        assert xid == EVENT_XID, f"a frame with xid {xid} that nobody asked for"
        self._events.append((kind, frame[28:].decode()))

    def _send(self, body: bytes) -> None:
        self._connection.sendall(_buffer(body))

    def _receive(self) -> bytes:
        (length,) = struct.unpack(">i", self._exactly(4))
        return self._exactly(length)

    def _exactly(self, length: int) -> bytes:
        received = b""
        while len(received) < length:
            chunk = self._connection.recv(length - len(received))
            if not chunk:
                raise ConnectionError("the server closed the connection")
            received += chunk
        return received


def _buffer(content: bytes) -> bytes:
    return struct.pack(">i", len(content)) + content
