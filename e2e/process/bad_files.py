"""Files that are not what they should be: a server says precisely what is wrong and ends, or loses nothing by going on."""

from pathlib import Path

from harness.processes import Group, Processes, Server
from harness.runner import case
from harness.shell import wait_for

USAGE, IDENTITY, UNTRUSTED = 2, 4, 5
A, B = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"

# What changes in a good zoo.cfg -> what the message must name.
WRONG = {
    "a key that is not supported yet": ({"sslQuorum": "true"}, ["sslQuorum"]),
    "no dataDir": ({"dataDir": None}, ["dataDir"]),
    "a tickTime that is no number": ({"tickTime": "soon"}, ["tickTime", "soon"]),
    "a tickTime below zero": ({"tickTime": "-1"}, ["tickTime", "-1"]),
    "no initLimit": ({"initLimit": None}, ["initLimit"]),
    "a port out of range": ({"admin__serverPort": "70000"}, ["admin.serverPort", "70000"]),
    "an ensemble.id without its token": ({"ensemble__id": A}, ["ensemble.adminTokenFile"]),
    "session limits crossed": ({"minSessionTimeout": "9000", "maxSessionTimeout": "5000"}, ["minSessionTimeout", "maxSessionTimeout"]),
}


@case("wrong zoo.cfg")
def wrong_configuration(world: Processes) -> str:
    """Exit code 2 and a message that names the key, and the value where there is one."""
    for what, (changes, words) in WRONG.items():
        group = world.group(3)
        server = group.servers[0]
        server.configure([other.line() for other in group.servers], **changes)
        check_refused(server, USAGE, words, what)
    group = world.group(3)
    server = group.servers[0]
    server.configure(["server.1=nonsense", *(other.line() for other in group.servers[1:])])
    check_refused(server, USAGE, ["server.1", "nonsense"], "a server line that is none")
    return f"{len(WRONG) + 1} files refused, each by name"


@case("missing zoo.cfg, unknown key, wrong myid")
def other_configuration(world: Processes) -> str:
    """A missing file is named; an unknown key only warned about; a myid that is no server's is refused."""
    done = world.run("server", "--config", "/nowhere/zoo.cfg")
    assert done.returncode == USAGE and "/nowhere/zoo.cfg" in done.stderr, f"code {done.returncode}: {done.stderr}"
    group = world.group(3)
    group.servers[0].configure([server.line() for server in group.servers], noSuchKey="1")
    group.start()
    assert "noSuchKey" in group.servers[0].said(), "an unknown key was not warned about"
    stranger = world.server(9)
    stranger.configure([server.line() for server in group.servers])
    check_refused(stranger, USAGE, ["9"], "a myid that is no server's")
    return "a missing file and a myid of nobody refused by name, an unknown key warned about"


@case("second server with the same id")
def same_id(world: Processes) -> str:
    """It finds the addresses taken, says which, and ends; the first one goes on."""
    with world.three() as group:
        second = world.server(1)
        second.configure([server.line() for server in group.servers])
        first = group.servers[0]
        code, said = second.run_to_end()
        ports = [first.client_port, first.quorum_port, first.election_port, first.admin_port]
        assert code != 0 and "in use" in said.lower(), f"code {code}: {said}"
        assert any(str(port) in said for port in ports), f"the message does not name the address: {said}"
        return f"ended with code {code}: {last_line(said)}; {group.agree()}"


@case("data directory of another ensemble")
def another_ensemble(world: Processes) -> str:
    """With `ensemble.id` set, a store knows whose it is."""
    server = world.server(1)
    token = server.folder / "token"
    token.write_text("secret")
    mine = {"ensemble__adminTokenFile": str(token), "standaloneEnabled": "false"}
    server.configure([server.line()], ensemble__id=A, **mine)
    server.start()
    wait_for("the identity", 30, lambda: (server.folder / "data" / "ensemble-identity.json").exists())
    server.stop()
    server.configure([server.line()], ensemble__id=B, **mine)
    said = check_refused(server, IDENTITY, [A, B], "another ensemble's id")
    return f"refused: {said}"


@case("log cut short")
def torn_log(world: Processes) -> str:
    """The end of a log that was being written is torn off: the server starts and fetches what it lacks."""
    with world.three() as group:
        victim = written_and_stopped(group)
        log = newest_log(victim)
        content = log.read_bytes()
        mark = content.rindex(b"SYNC") - 4  # stands where a group ended that was synced
        log.write_bytes(content[:mark].rstrip(b"\0")[:-7])
        victim.start()
        return f"cut 7 bytes off {log.name}; {group.agree()}"


@case("log corrupt in the middle")
def corrupt_log(world: Processes) -> str:
    """A record that fails its checksum is no torn tail: the server names file and place, sets its files aside, and gets everything from its leader."""
    with world.three() as group:
        victim = written_and_stopped(group)
        log = newest_log(victim)
        damaged = damage(log)
        with group.load() as load:
            load.wait_for_writes(50, 60)
            victim.start()
            load.wait_for_writes(100, 60)
            summary = load.finish()
        said = victim.said()
        assert "set aside" in said and log.name in said and "at offset" in said, f"the log does not say what is damaged: {said[-1000:]}"
        aside = log.with_name(f"aside-1.{log.name}")
        assert aside.read_bytes() == damaged, f"{aside} is not what was set aside"
        return f"set aside {aside.name}, filled by the leader; {summary}; {group.agree()}"


@case("log corrupt, one server of two")
def corrupt_log_of_two(world: Processes) -> str:
    """The other one is no quorum: the server names file and place, and does not start."""
    group = world.group(2)
    group.start()
    victim = written_and_stopped(group)
    log = newest_log(victim)
    damaged = damage(log)
    said = check_refused(victim, UNTRUSTED, [log.name, "at offset"], "a corrupt log")
    assert log.read_bytes() == damaged, "the file was changed"
    return f"refused: {said}"


def damage(log: Path) -> bytes:
    """Flips a byte in the middle of the records; returns what the file then holds."""
    content = bytearray(log.read_bytes())
    content[len(content.rstrip(b"\0")) // 2] ^= 0xFF
    log.write_bytes(content)
    return bytes(content)


def written_and_stopped(group: Group) -> Server:
    """Writes something and stops a follower."""
    with group.load() as load:
        load.wait_for_writes(100, 60)
        load.finish()
    victim = group.follower()
    victim.stop()
    return victim


def newest_log(server: Server) -> Path:
    """The transaction log that was written last."""
    logs = list(server.log_folder.glob("log.*"))
    assert logs, f"no log in {server.log_folder}"
    return max(logs, key=lambda path: int(path.name.split(".")[1], 16))


def check_refused(server: Server, code: int, words: list[str], what: str) -> str:
    """The server ends by itself, with this code and a message with these words, and does not panic. Returns the message."""
    ended, said = server.run_to_end()
    assert "panicked" not in said, f"{what}: {said}"
    assert ended == code, f"{what}: ended with code {ended} instead of {code}: {said}"
    missing = [word for word in words if word not in said]
    assert not missing, f"{what}: the message does not name {', '.join(missing)}: {said}"
    return last_line(said)


def last_line(text: str) -> str:
    """The last line that is not empty."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
