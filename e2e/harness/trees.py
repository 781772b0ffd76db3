"""The whole tree as one server shows it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from .load import close, connect

ANSWER_SECONDS = 60

# Who may read everything: the credentials, and what `zoo.cfg` says of them.
SUPER = ("digest", "super:reads everything")
SUPER_DIGEST = "super:yDcs7cBHml6NYidb70ROZP1+uIU="

# Each server sets its data itself, outside the log, at the time of its start (`DataTree.setData` in `QuorumPeer`).
CONFIG = "/zookeeper/config"


@dataclass(frozen=True)
class Znode:
    """What a client sees of a znode."""

    data: bytes
    stat: tuple[int, ...]
    acl: tuple[object, ...]


Tree = dict[str, Znode]


def tree(address: str) -> Tree:
    """Every znode that this server shows after a sync."""
    client = connect(address)
    try:
        client.add_auth(*SUPER)
        client.sync("/")
        return dict(_walk(client))
    finally:
        close(client)


def difference(one: Tree, other: Tree) -> str:
    """The first znodes that differ; nothing when none does."""
    different = sorted(path for path in {*one, *other} if one.get(path) != other.get(path))
    shown = "; ".join(f"{path}: {one.get(path)} and {other.get(path)}" for path in different[:3])
    return f"{len(different)} znodes differ: {shown}" if different else ""


def _walk(client: KazooClient) -> Iterator[tuple[str, Znode]]:
    level = ["/"]
    while level:
        pending = [(path, client.get_async(path), client.get_acls_async(path)) for path in level]
        parents = []
        for path, read, acls in pending:
            with contextlib.suppress(NoNodeError):
                (data, stat), (acl, _) = read.get(timeout=ANSWER_SECONDS), acls.get(timeout=ANSWER_SECONDS)
                if path == CONFIG:
                    stat = stat._replace(mtime=0)
                yield path, Znode(data, tuple(stat), tuple(acl))
                if stat.numChildren:
                    parents.append((path, client.get_children_async(path)))
        level = [f"{path.rstrip('/')}/{child}" for path, children in parents for child in children.get(timeout=ANSWER_SECONDS)]
