"""The servers' admin port, as anybody sees it, and what a healthy ensemble looks like there."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .shell import wait_for

REQUEST_SECONDS = 3.0
AGREE_SECONDS = 120.0

Status = Mapping[str, Any]


def status(address: str) -> Status | None:
    """GET /status of a server; None when it does not answer."""
    try:
        with urllib.request.urlopen(f"http://{address}/status", timeout=REQUEST_SECONDS) as answer:
            return json.load(answer)
    except (OSError, ValueError):
        return None


def request(address: str, path: str, *, method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Any request to an admin port: the HTTP status and the body. Raises OSError when there is no answer."""
    request = urllib.request.Request(f"http://{address}{path}", method=method, data=body, headers=dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=REQUEST_SECONDS) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


@dataclass(frozen=True)
class Agreement:
    """All servers at one state."""

    servers: int
    leader: int
    zxid: str
    digest: str

    def __str__(self) -> str:
        return f"{self.servers} server{'s' if self.servers > 1 else ''} at digest {self.digest} and zxid {self.zxid}"


def agree(look: Callable[[], list[Status | None]], servers: int, seconds: float = AGREE_SECONDS) -> Agreement:
    """Waits until that many servers have one leader, one zxid and one digest. Raises TimedOut with what they had instead."""
    last: list[Status | None] = []

    def agreed() -> Agreement | None:
        nonlocal last
        last = look()
        answers = [answer for answer in last if answer]
        leaders = [answer["myid"] for answer in answers if answer["role"] in ("leading", "standalone")]
        states = {(answer["zxid"], answer["digest"]) for answer in answers}
        others = {answer["role"] for answer in answers} - {"leading", "standalone", "following", "observing"}
        if len(answers) != servers or len(leaders) != 1 or len(states) != 1 or others:
            return None
        zxid, digest = states.pop()
        return Agreement(servers, leaders[0], zxid, digest)

    try:
        return wait_for(f"{servers} servers to agree", seconds, agreed)
    except Exception as error:
        seen = [f"{a['myid']}: {a['role']} at {a['zxid']} digest {a['digest']}" if a else "no answer" for a in last]
        raise AssertionError(f"{error}; seen: {'; '.join(seen)}") from error
