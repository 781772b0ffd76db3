"""A session on bare frames: replies and watch events are seen in the order in which the server sent them, each with its zxid; the session can be
left without closing it, taken up at another server, and told what its watches missed. kazoo does none of these."""

import contextlib
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

from .load import ATTEMPT_SECONDS
from .processes import Server
from .shell import TimedOut

READ_SECONDS = 20
CREATE, DELETE, EXISTS, GET_DATA, SET_DATA, SYNC, CREATE_CONTAINER, SET_WATCHES = 1, 2, 3, 4, 5, 9, 19, 101
EPHEMERAL, SEQUENTIAL, CONTAINER = 1, 2, 4
SET_WATCHES_XID, EVENT_XID = -8, -1
ALL_PERMISSIONS = 31
OK, NO_NODE, BAD_VERSION = 0, -101, -103
STAT = struct.Struct(">qqqqiiiqiiq")


class Refused(Exception):
    """The server did not take the session up: it has expired, or the password is wrong."""


@dataclass(frozen=True)
class Reply:
    """An answer: `zxid` is that of the state it was made from, or that the request itself became."""

    zxid: int
    error: int
    body: bytes

    @property
    def data(self) -> bytes:
        """Of getData."""
        return self.body[4 : 4 + max(0, struct.unpack(">i", self.body[:4])[0])]

    @property
    def stat(self) -> tuple[int, ...]:
        """The stat at the end of the body, in the order of its fields: czxid, mzxid, ctime, mtime, version, ..."""
        return STAT.unpack(self.body[-STAT.size :])

    @property
    def mzxid(self) -> int:
        """When the data was last replaced."""
        return self.stat[1]

    @property
    def version(self) -> int:
        """How often it was."""
        return self.stat[4]


class RawSession:
    """A connection with a session. `session` and `password` take up one that another connection began, and `seen` is the last zxid that it saw.

    `told` is called for each watch event, with its type and path, before the reply that follows it is returned.
    """

    def __init__(
        self,
        server: Server,
        timeout_ms: int,
        session: int = 0,
        password: bytes = bytes(16),
        *,
        seen: int = 0,
        read_seconds: float = READ_SECONDS,
        told: Callable[[int, str], None] | None = None,
    ):
        self._connection = socket.create_connection((server.host, server.client_port), timeout=ATTEMPT_SECONDS)
        self._connection.settimeout(read_seconds)
        self._read_seconds = read_seconds
        self._events: list[tuple[int, str]] = []
        self._told = told or (lambda kind, path: self._events.append((kind, path)))
        self._xid = 0
        self.zxid = 0
        try:
            self._send(struct.pack(">iqiq", 0, seen, timeout_ms, session) + _buffer(password) + b"\0")
            answer = self._receive()
        except BaseException:
            self.leave()
            raise
        _, self.timeout_ms, self.id = struct.unpack(">iiq", answer[:16])
        self.password = answer[20:36]
        if self.id == 0:
            self.leave()
            raise Refused

    def create(self, path: str, *, flags: int = 0, opcode: int = CREATE) -> int:
        """Creates a znode that everybody may use, and returns the error code."""
        return self.ask(opcode, _create(path, flags)).error

    def set(self, path: str, data: bytes, version: int = -1) -> Reply:
        """Replaces the data, if it is of this version."""
        return self.ask(SET_DATA, _buffer(path.encode()) + _buffer(data) + struct.pack(">i", version))

    def get(self, path: str, *, watch: bool = False) -> Reply:
        """Reads the data."""
        return self.ask(GET_DATA, _buffer(path.encode()) + (b"\1" if watch else b"\0"))

    def exists(self, path: str) -> Reply:
        """Reads the stat."""
        return self.ask(EXISTS, _buffer(path.encode()) + b"\0")

    def sync(self, path: str) -> Reply:
        """Waits until the server has caught up."""
        return self.ask(SYNC, _buffer(path.encode()))

    def create_sequential(self, path: str, data: bytes) -> str:
        """Creates a znode whose name the server completes, and returns the name."""
        answer = self.ask(CREATE, _create(path, SEQUENTIAL, data))
        assert answer.error == OK, f"{path} was not created: {answer.error}"
        return answer.body[4:].decode()

    def send_create(self, path: str, *, data: bytes = b"raw", flags: int = 0) -> None:
        """Asks for a creation, and does not wait for the answer."""
        self._request(CREATE, _create(path, flags, data))

    def send_delete(self, path: str) -> None:
        """Asks for a deletion, and does not wait for the answer."""
        self._request(DELETE, _buffer(path.encode()) + struct.pack(">i", -1))

    def answer(self) -> int:
        """The error code of the last request, once it is answered."""
        return self._answer(self._xid).error

    def ask_nothing(self) -> None:
        """Tells the server that the client lives."""
        self.exists("/")

    def set_watches(self, since: int, paths: list[str]) -> Reply:
        """Registers data watches of a session that had seen everything up to `since`, and waits for the answer."""
        vector = struct.pack(">i", len(paths)) + b"".join(_buffer(path.encode()) for path in paths)
        nothing = struct.pack(">i", 0)
        self._send(struct.pack(">iiq", SET_WATCHES_XID, SET_WATCHES, since) + vector + nothing + nothing)
        return self._answer(SET_WATCHES_XID)

    def event(self) -> tuple[int, str]:
        """The next event: its type and path. Raises TimedOut."""
        while not self._events:
            try:
                self._take(self._receive())
            except TimeoutError:
                raise TimedOut(f"no watch event within {self._read_seconds} s") from None
        return self._events.pop(0)

    def leave(self) -> None:
        """Ends the connection; the session goes on."""
        with contextlib.suppress(OSError):
            self._connection.close()

    def ask(self, opcode: int, body: bytes) -> Reply:
        """Sends a request and waits for its answer. Raises OSError when none comes, ever after: nobody knows then whether it was carried out."""
        try:
            self._request(opcode, body)
            return self._answer(self._xid)
        except OSError:
            self.leave()
            raise

    def _request(self, opcode: int, body: bytes) -> None:
        self._xid += 1
        self._send(struct.pack(">ii", self._xid, opcode) + body)

    def _answer(self, xid: int) -> Reply:
        while True:
            frame = self._receive()
            if struct.unpack(">i", frame[:4])[0] == xid:
                zxid, error = struct.unpack(">qi", frame[4:16])
                self.zxid = max(self.zxid, zxid)
                return Reply(zxid, error, frame[16:])
            self._take(frame)

    def _take(self, frame: bytes) -> None:
        xid, kind = struct.unpack(">i", frame[:4])[0], struct.unpack(">i", frame[16:20])[0]
        assert xid == EVENT_XID, f"a frame with xid {xid} that nobody asked for"
        self._told(kind, frame[28:].decode())

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


def _create(path: str, flags: int = 0, data: bytes = b"raw") -> bytes:
    everybody = struct.pack(">ii", 1, ALL_PERMISSIONS) + _buffer(b"world") + _buffer(b"anyone")
    return _buffer(path.encode()) + _buffer(data) + everybody + struct.pack(">i", flags)
