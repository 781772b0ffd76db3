"""What people and scripts ask a server, by four-letter words and admin commands: Apache ZooKeeper and ours answer alike.

An ensemble of each kind, of one shape, is given the same data and one session, and every server is asked everything, also while nobody is served; so is a
standalone server. Answers are compared whole, after two sorts of things were replaced: what is one server's own by what it stands for (`Names`), and the values
that cannot be the same by their form (`VALUES`, `TYPES`, `MEASURED`). What differs on purpose is listed here and said in docs/compatibility.md and
docs/metrics.md. Any other difference fails the case, and so does an entry of these lists that no answer needs.
"""

import difflib
import functools
import http.client
import json
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness import places
from harness.mixed import SETTINGS, Kind, Server, World
from harness.raw_session import EPHEMERAL, GET_DATA, OK, RawSession
from harness.runner import case
from harness.shell import wait_for
from harness.versions import ZOOKEEPER

SESSION_MS = 30_000
LISTEN_SECONDS = 60
GET_CHILDREN, ADD_WATCH, RECURSIVE = 8, 106, 1
MAY_ALL = {"Authorization": "digest somebody:password"}  # whom the root's ACL lets do everything: anybody

WORDS = "mntr stat srvr cons conf envi wchs wchc wchp dump dirs ruok isro gtmk hash nope".split()
# Each command of Apache ZooKeeper's index, which is compared too, and those that answer in another way by how they are asked.
COMMANDS = """configuration connections dirs dump environment get_trace_mask hash initial_configuration is_read_only last_snapshot leader monitor observers ruok
server_stats stats system_properties voting_view watch_summary watches watches_by_path zabstate snapshot restore set_trace_mask set_trace_mask?traceMask=x
mntr nope""".split()
# What changes something, and what is asked again after it.
WORDS_AFTERWARDS = ["stmk\0\0\0\0\0\0\0\7", "gtmk", "crst", "cons", "srst", "stat"]
COMMANDS_AFTERWARDS = "set_trace_mask?traceMask=5 get_trace_mask connection_stat_reset connections stat_reset server_stats observer_connection_stat_reset".split()

# (words, what is replaced, by what): values of a moment, of a machine, and of a kind of server.
VALUES = [
    # Whose build it is.
    (r"stat|srvr|mntr|envi", r"3\.9\.5-[-.0-9a-z]+, built on \d{4}-\d\d-\d\d \d\d:\d\d UTC", "<version>"),
    # Milliseconds.
    (r"stat|srvr", r"(?<=Latency min/avg/max: )\d+/\d+\.\d{1,4}/\d+", "<least/mean/most>"),
    (r"cons", r"(?<=est=)\d{13}\b", "<since 1970>"),
    (r"cons", r"(?<=lresp=)\d+", "<since a start>"),
    (r"cons", r"(?<=,)(llat|minlat|avglat|maxlat)=\d+", r"\1=<ms>"),
    # How often the harness looked whether all serve. Differs: the answer to a word is no packet that is sent.
    (r"stat|srvr", r"(?<=^Received: )\d+|(?<=^Sent: )\d+", "<packets>"),
    # Files are preallocated by other amounts (preAllocSize).
    (r"conf", r"(?<=Size=)\d+", "<bytes>"),
    (r"dirs", r"(?<=dir_size: )\d+", "<bytes>"),
    # Differs: the configuration key's default.
    (r"conf", r"(?<=clientPortListenBacklog=)-?\d+", "<number>"),
    # When sessions and connections expire. Differs: moments at which nothing expires any more are not listed.
    (r"dump", r"^0 expire at .*\n|(?<= Sets \()\d+(?=\)/)", ""),
    (r"dump", r"(?<= expire at )\w{3} \w{3} \d\d \d\d:\d\d:\d\d \w+ \d{4}(?=:)", "<date>"),
    # Differs: there is no Java.
    (r"envi", r"^(java|os\.memory)\..*\n", ""),
    (r"envi", r"(?<=^host\.name=)\S+", "<name>"),
]

# Fields of JSON of which only the type is compared, by command: values of a moment, of a machine, and of a kind of server, as above.
TYPES = {
    "configuration": "client_port_listen_backlog",
    "connections": "established last_response_time last_latency min_latency avg_latency max_latency",
    "dirs": "datadir_size logdir_size",
    "environment": "zookeeper.version host.name",
    "last_snapshot": "timestamp zxid",
    "server_stats": "version packets_sent packets_received data_dir_size log_dir_size min_latency avg_latency max_latency uptime",
    "stats": "version packets_sent packets_received data_dir_size log_dir_size min_latency avg_latency max_latency uptime",
    "zabstate": "zab_epoch",
}
# Fields that only one kind has, or tells otherwise on purpose, by command.
LEFT_OUT = {
    # There is no Java.
    "environment": r"java\..*|os\.memory\..*",
    # Apache ZooKeeper has none once the servers stand in a file of their own.
    "initial_configuration": r"initial_configuration",
    # What the leader does not count of an observer, and the zxid: of the last acknowledgement here, of the last ping there.
    "observers": r"remote_socket_address|established|queued_packets|queued_packets_size|packets_received|packets_sent|requests|last_zxid",
    # There is no TLS for clients yet.
    "server_stats": r"non_mtls(remote|local)_conn_count",
    "stats": r"non_mtls(remote|local)_conn_count",
    # The JVM's own; one that counts without the prefix, and is given it there in vain; the servers, which are no properties here; secrets, which are not shown here.
    "system_properties": r"(?!zookeeper\.).*|zookeeper\.readonlymode\.enabled|zookeeper\.server\..*|zookeeper\.DigestAuthenticationProvider\.superDigest",
}
# Objects that Apache ZooKeeper writes in the order in which the JVM finds their getters, and in that of a hash table, as the lists in these.
BEANS = {"server_stats", "client_response_stats", "client_response", "proposal_stats", "quorum_address", "election_address"}
HASHED = {"session_id_to_watched_paths", "path_to_session_ids"}
# An entry of `wchc` or `wchp`, and the empty line at their end.
WATCHES = re.compile(r"^(\S.*\n|\n)((?:\t.*\n)*)", re.MULTILINE)

# Lines of `mntr` of which only the form is compared: whole or with decimals.
MEASURED = [
    r"(avg|min|max|cnt|sum|p50|p95|p99|p999)_.*",  # samples of times and queues, which are not taken at the same places
    r"(min|avg|max)_latency|uptime|leader_uptime",
    r"packets_(received|sent)|bytes_received_count|connection_(request|drop)_count",  # how often the harness looked
    r"response_bytes",  # Differs: with the answer to the handshake
    r"(open|max)_file_descriptor_count",
    r"looking_count|(diff|snap|commit)_count|prep_processor_request_queued",  # of what came before everybody served
]
# Lines that only one kind has, beside "This server's own" of docs/metrics.md.
EXTRA = [
    r".*\d_ack_latency",  # of every proposal: Apache ZooKeeper logs that of every thousandth (leader.ackLoggingFrequency)
    r"fsync_threshold_exceed_count",  # among its server_stats there
    r".*zookeeper_write_per_namespace",  # of /zookeeper/config, which Apache ZooKeeper writes at the start as if a client had
]
UNSERVED, READ_ONLY = "before anybody is served", "read-only"
MONITOR = ("monitor", "mntr")
# Commands that are not asked, by whom. Differs: Apache ZooKeeper fails with 500; and it tells nothing of the ensemble while it serves only readers.
LEFT_ALONE = {UNSERVED: MONITOR, READ_ONLY: ("leader", "voting_view", *MONITOR)}
# What a server of ours that serves only readers says more, for the same reason, and of local sessions, which it has.
READ_ONLY_VALUES = [
    (r"mntr", r"^zk_(peer_state|quorum_size)\t.*\n", ""),
    (r"conf", r"^membership: \n(server\..*\n)*version=0", ""),
    (r"dump", r"^Local Session Sets \(\)/\(0\):\n", ""),
]
DISTRIBUTION = re.compile(r"(avg|min|max|cnt|sum|p50|p95|p99|p999)_")


class Names:
    """What is one server's or one ensemble's own, and what it is called in the comparison."""

    def __init__(self, servers: Sequence[Server]):
        self.session: int | None = None  # the id of the one that there is, once there is one
        self._folders = {str(server.folder): f"<folder {server.myid}>" for server in servers}
        self._ports = {str(getattr(server, f"{what}_port")): f"<{what} {server.myid}>" for server in servers for what in ("client", "quorum", "election", "admin")}

    def port(self, number: str) -> str:
        """A port's name; one of a client has none of its own."""
        return self._ports.get(number, "<port>")

    def replaced(self, text: str) -> str:
        """A text with names."""
        for folder, name in self._folders.items():
            text = text.replace(folder, name)
        if self.session is not None:
            text = re.sub(rf"\b{self.session}\b|0x{self.session:x}\b", "<session>", text)
        text = re.sub(r"(:|Port=)(\d{4,5})\b", lambda found: found[1] + self.port(found[2]), text)
        return re.sub(r"0x([0-9a-f]+)([0-9a-f]{8})\b", r"0x<epoch>\2", text)


# Which of the lists' entries were needed.
USED: set[str] = set()


@case("questions: four-letter words and admin commands")
def questions(world: World) -> str:
    """A follower, a leader and an observer, before they serve and afterwards; a standalone server; one that has no quorum and serves readers."""
    if world.jars.parent.name != f"apache-zookeeper-{ZOOKEEPER}":
        return f"nothing was asked: only the answers of Apache ZooKeeper {ZOOKEEPER} are ours"
    told = {kind: dict(answers(world, kind)) for kind in Kind}
    java, rust = told[Kind.JAVA], told[Kind.RUST]
    different = [text for where in java if (text := difference(where, java[where], rust[where]))]
    assert not different, f"{len(different)} of {len(java)} answers differ:\n{''.join(different)}"
    needed = {pattern for _, pattern, _ in VALUES + READ_ONLY_VALUES} | {f"{command} {name}" for command, fields in TYPES.items() for name in fields.split()}
    unused = (needed | {f"{command} left out" for command in LEFT_OUT}) - USED
    assert not unused, f"no answer has any more what {unused} replace"
    return f"{len(java)} answers alike, {sum(answer.count(chr(10)) + 1 for answer in java.values())} lines"


def difference(where: str, java: str, rust: str) -> str:
    """Nothing, or the lines that differ: `-` are Java's."""
    lines = difflib.unified_diff(java.splitlines(), rust.splitlines(), n=0, lineterm="")
    changed = [line for line in lines if not line.startswith(("---", "+++", "@@"))]
    changed = changed or (["the ends of the lines differ"] if java != rust else [])
    return f"{where}:\n" + "".join(f"  {line}\n" for line in changed) if changed else ""


def answers(world: World, kind: Kind) -> Iterator[tuple[str, str]]:
    """Everything that is asked of servers of a kind: what and where, and the answer."""
    letter = kind.name[0]
    ensemble = world.ensemble(letter * 3, observers=(3,))
    ensemble.configure(**{"admin.enableServer": "true"})
    first, leader, observer = ensemble.servers
    names = Names(ensemble.servers)
    first.start()
    wait_for(f"{first} to listen", LISTEN_SECONDS, lambda: first.word("ruok") and ask(first, "ruok").status, every=0.1)
    yield from asked(UNSERVED, first, names)
    leader.start()
    observer.start()
    assert ensemble.settle() is leader, "of two that vote the one with the greater id leads"
    session = begin(first)
    try:
        names.session = session.id
        for role, server in (("follower", first), ("leader", leader), ("observer", observer)):
            yield from asked(role, server, names)
    finally:
        session.leave()
    alone = world.one(kind)
    alone.configure([], **{**SETTINGS, "clientPort": str(alone.client_port), "admin.enableServer": "true"})
    alone.start()
    wait_for(f"{alone} to serve", LISTEN_SECONDS, lambda: alone.mode() == "standalone", every=0.1)
    yield from asked("standalone", alone, Names([alone]))
    lonely = world.ensemble(letter * 3, observers=(3,))
    lonely.configure(**{"admin.enableServer": "true", "readonlymode.enabled": "true"})
    server = lonely.servers[0]
    server.properties = ("-Dreadonlymode.enabled=true",)
    server.start()
    wait_for(f"{server} to serve readers", LISTEN_SECONDS, lambda: "\nMode: read-only\n" in server.word("srvr"), every=0.1)
    yield from asked(READ_ONLY, server, Names(lonely.servers))


def begin(server: Server) -> RawSession:
    """A session with an ephemeral znode, and with watches of every sort."""
    session = RawSession(server, SESSION_MS)
    for path in ("/app", "/app/child"):
        assert session.create(path) == OK, path
    assert session.create("/ephemeral", flags=EPHEMERAL) == OK
    for opcode, path, rest in ((GET_DATA, "/app", b"\1"), (GET_CHILDREN, "/app", b"\1"), (ADD_WATCH, "/app/child", struct.pack(">i", RECURSIVE))):
        assert session.ask(opcode, struct.pack(">i", len(path)) + path.encode() + rest).error == OK, path
    return session


def asked(where: str, server: Server, names: Names) -> Iterator[tuple[str, str]]:
    """All words and commands of one server."""
    commands = [command for command in COMMANDS if command not in LEFT_ALONE.get(where, ())]
    rules = VALUES + (READ_ONLY_VALUES if where == READ_ONLY else [])
    yield f"{where}, the index", ask(server, "").body
    options = ask(server, "ruok", method="OPTIONS")
    yield f"{where}, the methods", f"{options.status} {options.headers.get('allow')} {options.body}"
    yield f"{where}, no such command", told("ruok/nope", ask(server, "ruok/nope"), names)
    for words, commands in ((WORDS, commands), (WORDS_AFTERWARDS, COMMANDS_AFTERWARDS)):
        for word in words:
            yield f"{where}, word {word[:4]}, {'afterwards' if words is WORDS_AFTERWARDS else 'first'}", plain(word[:4], server.word(word), names, rules)
        for command in commands:
            answer = ask(server, command, method="POST" if command == "restore" else "GET")
            yield f"{where}, command {command}, {'afterwards' if words is WORDS_AFTERWARDS else 'first'}", told(command, answer, names)
    if where != UNSERVED:
        yield f"{where}, a snapshot", snapshot(ask(server, "snapshot", MAY_ALL), names)


@dataclass(frozen=True)
class Answer:
    """What the admin port says."""

    status: int
    headers: dict[str, str]
    body: str


def ask(server: Server, command: str, headers: dict[str, str] | None = None, *, method: str = "GET") -> Answer:
    """One command."""
    connection = http.client.HTTPConnection(server.host, server.admin_port, timeout=LISTEN_SECONDS)
    try:
        connection.request(method, f"/commands/{command}", headers=headers or {})
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode(errors="replace"))
    finally:
        connection.close()


def plain(word: str, answer: str, names: Names, rules: Sequence[tuple[str, str, str]] = VALUES) -> str:
    """The answer to a word, of which values are replaced by rules."""
    answer = names.replaced(answer)
    for words, pattern, to in rules:
        if re.fullmatch(words, word):
            answer, count = re.subn(pattern, to, answer, flags=re.MULTILINE)
            USED.update({pattern} if count else {})
    lines = answer.splitlines(keepends=True)
    if word == "mntr" and len(lines) > 1:
        return "\n".join(metrics((line.rstrip("\n").split("\t", 1) for line in lines), "zk_"))
    if word in ("stat", "cons"):
        connections = sorted(line for line in lines if line.startswith(" /"))
        return "".join(connections.pop(0) if line.startswith(" /") else line for line in lines)
    if word in ("wchc", "wchp"):
        return "".join(sorted("".join([head, *sorted(entries.splitlines(keepends=True))]) for head, entries in WATCHES.findall(answer)))
    return answer


def metrics(lines: Iterable[Sequence[Any]], prefix: str = "") -> list[str]:
    """What `mntr` or `monitor` tell, a line each, without the names that only one kind has for a reason, in the order of the names: that of Apache ZooKeeper is a
    hash table's. The version and the states come first, in this order."""
    shown = []
    for name, value in lines:
        short = name.removeprefix(prefix)
        metric = DISTRIBUTION.sub("", short)
        if f"_{metric}".endswith(one_kind()) or any(re.fullmatch(pattern, short) for pattern in EXTRA):
            continue
        shown.append(f"{name}\t{form(value) if any(re.fullmatch(pattern, short) for pattern in MEASURED) else value}")
    is_state = [line.removeprefix(prefix).startswith(("version", "server_state", "peer_state")) for line in shown]
    first = is_state.index(False)
    return [*shown[:first], *sorted(shown[first:])]


def form(value: Any) -> str:
    """Whether a number is whole or has decimals."""
    return "<decimal>" if re.fullmatch(r"-?\d+\.\d+(E-?\d+)?", str(value)) else "<whole>" if re.fullmatch(r"-?\d+", str(value)) else f"<{value}>"


@functools.cache
def one_kind() -> tuple[str, ...]:
    """The metrics that only one kind has, by docs/metrics.md: those that are not exported, and our own; with what may follow labels."""
    text = (places.REPOSITORY / "docs" / "metrics.md").read_text()
    sections = [section for section in text.split("\n## ") if section.startswith(("Names of ZooKeeper's that are not exported", "This server's own"))]
    assert len(sections) == 2, "docs/metrics.md has other headings"
    return tuple(f"_{name}" for section in sections for name in re.findall(r"^\| `(\w+)", section, re.MULTILINE))


class Decimal(float):
    """A number as it was written: 1.0E-4 is not what Python would write."""

    def __new__(cls, written: str) -> "Decimal":
        """Keeps the text."""
        number = super().__new__(cls, written)
        number.written = written
        return number

    def __str__(self) -> str:
        return self.written


def told(command: str, answer: Answer, names: Names) -> str:
    """The answer to a command: status, type and layout, and the fields, of which TYPES are replaced."""
    kind = f"{answer.status} {answer.headers.get('content-type')}"
    if not answer.body.startswith("{"):
        return kind
    parsed = json.loads(answer.body, parse_float=Decimal)
    assert layout(parsed) == answer.body, f"{command} is not laid out as Jackson does:\n{answer.body}"
    if command in MONITOR:
        fields = ((name, f'"{value}"' if isinstance(value, str) and name != "version" else value) for name, value in parsed.items())
        return "\n".join([kind, *(plain("mntr", line, names) for line in metrics(fields))])
    return f"{kind}\n{layout(shown(command.partition('?')[0], '', parsed, names))}"


def shown(command: str, name: str, value: Any, names: Names) -> Any:
    """A value of JSON without what cannot be the same. `name` is that of the field that it is the value of, or an element of."""
    if name in TYPES.get(command, "").split():
        USED.add(f"{command} {name}")
        return f"<{type(value).__name__}>"
    if isinstance(value, dict):
        order = sorted(value) if name in BEANS | HASHED else value
        left = {key: shown(command, key, sorted(value[key]) if name in HASHED else value[key], names) for key in order if not is_left_out(command, key)}
        return {names.replaced(key) if command != "dump" or name != "expiry_time_to_session_ids" else "<moment>": found for key, found in left.items()}
    if isinstance(value, list):
        return [shown(command, name, element, names) for element in value]
    if name in ("client_port", "all_ports", "zookeeper.admin.serverPort"):
        return names.port(str(value))
    if isinstance(value, str):
        return names.replaced(value)
    if name in ("last_zxid", "last_processed_zxid"):
        return names.replaced(f"{value:#x}")
    return "<session>" if names.session is not None and value == names.session else value


def is_left_out(command: str, name: str) -> bool:
    """Whether a field differs on purpose."""
    pattern = LEFT_OUT.get(command)
    found = pattern is not None and re.fullmatch(pattern, name) is not None
    USED.update({f"{command} left out"} if found else {})
    return found


def snapshot(answer: Answer, names: Names) -> str:
    """The answer to who may do everything."""
    told = " ".join(f"{name}={names.replaced(answer.headers.get(name, 'none'))}" for name in ("content-type", "last_zxid"))
    assert answer.status == 200, f"who may do everything gets no snapshot: {answer}"
    size = "its size" if answer.headers.get("snapshot_size", "").isdigit() else "no size"
    return f"{answer.status} {told} {size} {answer.body[:4]}"


def layout(value: Any, depth: int = 0) -> str:
    """JSON as Jackson's pretty printer writes it: objects over lines, lists on one."""
    inner = "  " * (depth + 1)
    match value:
        case dict() if value:
            fields = ",\n".join(f"{inner}{json.dumps(name)} : {layout(field, depth + 1)}" for name, field in value.items())
            return f"{{\n{fields}\n{'  ' * depth}}}"
        case list() if value:
            return f"[ {', '.join(layout(element, depth) for element in value)} ]"
        case dict() | list():
            return "{ }" if isinstance(value, dict) else "[ ]"
        case Decimal():
            return str(value)
    return json.dumps(value, ensure_ascii=False)
