"""The commands in README and docs work: those that processes on loopback can carry out are taken from the documents and run, and must print what is shown there.

Every other command has a line here: the case that does the same in another way, or why nothing does. A command that has none fails the case, and so does a line
that no command needs.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness import levels, places, runner
from harness.load import close, connect
from harness.prerequisites import require
from harness.processes import Processes, Server
from harness.runner import case

COMMAND_SECONDS = 60
# The zxid that the documents have as an example.
EXAMPLE_ZXID = "1000004f2"

# By pattern of a document's commands: the beginning of the name of the case that does this, in its own words.
ELSEWHERE = {
    r"README.md: cargo run .* dev --members 3": "dev",
    r"docs/clients.md: .*": "clients",
    r"README.md: helm install .*": "charts:",
    r"README.md: kubectl zke (status|restart) .*": "plugin:",
    r"docs/operations/.*: kubectl zke (status|transfer-leader) [A-Za-z]+": "plugin:",
    r"docs/operations/quorum-lost.md: kubectl (patch|get zke NAME -o) .*": "E20",
    r"docs/operations/scale.md: kubectl scale .*": "E5",
    r"docs/operations/scale.md: kubectl patch .*hibernate.*": "E30",
    r"docs/operations/upgrade.md: helm upgrade .*": "charts:",
    r"docs/operations/upgrade.md: kubectl patch .*image.*": "E12",
    r"docs/operations/rolling-restart.md: kubectl (annotate .*restartedAt.*|rollout restart .*)": "E14",
    r"docs/operations/server-lost.md: kubectl annotate zke NAME .*rebuild.*": "E19",
    r"docs/operations/server-lost.md: kubectl (annotate pvc|delete pvc|delete pod) .*": "E18",
    r"docs/operations/storage.md: kubectl patch .*": "E24",
    r"docs/operations/README.md: echo mntr \| nc .*": "questions",
}
# What nothing carries out, and why.
NOT_RUN = {
    r".*: e2e/(up|test|bench).*": "the harness itself",
    r"README.md: cargo run .* server --config zoo.cfg": "each case of this level starts its servers so, without cargo",
    r".*: cargo install .*": "compiles what this level has compiled",
    r"README.md: (IMAGE=|docker build|kubectl kustomize) ?.*": "pushes to a registry, of which the cluster of the tests has none; they load the image, and apply the same folder by -k",
    r"README.md: kubectl apply -f manifests/samples/three.yaml": "what e2e/up does",
    r".*: kubectl (get|describe|logs|wait) .*": "kubectl's own reading: of our words in it the operator's tests make sure",
    r".*: kubectl zke status NAME --watch": "does not end",
    r"docs/operations/quorum-lost.md: kubectl zke recover .*": "E20 makes the edit that it makes; operator/kubectl's tests have what it shows before",
    r".*: kubectl (port-forward|exec) .*": "kubectl's own",
    r"docs/monitoring.md: (helm upgrade|kubectl apply -k) .*": "the case monitoring: has an API server that knows their kinds judge the same objects",
    r"docs/operations/scale.md: kubectl delete pvc .*": "of members that are gone, whose claims kubectl deletes like any",
    r"docs/operations/rolling-restart.md: kubectl annotate .*restart-leader.*": "operator/core/tests/situations plan it",
    r"docs/tools.md: ensemble (log dump|snapshot info|purge) .*": "of files that ensemble/tools/tests has, whose output is compared there",
    r"docs/operations/upgrade.md: kubectl kustomize .*": "pulls from a registry; e2e/up applies the same folder by -k",
    r"docs/operations/reconfigure.md: curl .*": "ensemble/server/tests/loopback/reconfigure.rs asks the same",
    r"docs/tools.md: ensemble config check .*": "ensemble/server/tests/loopback/tools.rs compares this output",
}


@dataclass(frozen=True)
class Command:
    """A command of a document, and what it is shown to print."""

    document: str
    text: str
    shown: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.document}: {self.text}"


@case("documents and their commands")
def documents(world: Processes) -> str:
    """A backup and its restoration, an admin port's answers, and `zk`, as the documents say; and no command is forgotten."""
    require("curl")
    commands = [command for document in found() for command in parse(document)]
    run = {*backup(world, commands), *admin_port(world, commands), *shell(world, commands)}
    covered(commands, run)
    return f"{len(run)} of {len(commands)} commands run, the others accounted for"


def found() -> list[Path]:
    """The documents for whoever uses this."""
    return [places.REPOSITORY / "README.md", *sorted((places.REPOSITORY / "docs").rglob("*.md"))]


def parse(document: Path) -> list[Command]:
    """Its commands: lines of a console behind `$ `, with those that continue them, without remarks."""
    name, commands = str(document.relative_to(places.REPOSITORY)), []
    for block in re.findall(r"^```console\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL):
        for entry in re.split(r"^\$ ", block.replace("\\\n", " "), flags=re.MULTILINE)[1:]:
            first, *shown = entry.rstrip("\n").split("\n")
            commands.append(Command(name, re.sub(r"\s+#\s.*$", "", re.sub(r"\s{2,}(?!#)", " ", first)), tuple(shown)))
    return commands


def covered(commands: list[Command], run: set[Command]) -> None:
    """Each command was run, or has a line that says why not; each line has a command, and a case that there is."""
    lines = {**ELSEWHERE, **NOT_RUN}
    forgotten = [str(command) for command in commands if command not in run and not any(re.fullmatch(line, str(command)) for line in lines)]
    assert not forgotten, f"nothing runs {forgotten}"
    unused = [line for line in lines if not any(re.fullmatch(line, str(command)) for command in commands if command not in run)]
    assert not unused, f"no document has a command for {unused}"
    names = [known.name for package in levels.PACKAGES for known in runner.find(package)]
    missing = {name for name in ELSEWHERE.values() if not any(known.startswith(name) for known in names)}
    assert not missing, f"there is no case {missing}"
    asked = {name for command in commands for name in re.findall(r"^e2e/test ([A-Za-z]\w*)", command.text)} - set(levels.NAMES)
    absent = [name for name in asked if not any(levels.has_cases(package, [name]) for package in levels.PACKAGES)]
    assert not absent, f"e2e/test has no {absent}"


class Desk:
    """A folder with our programs on the PATH, where a person carries out what a document says."""

    def __init__(self, world: Processes, name: str):
        self.folder = world.server().folder / name
        (self.folder / "bin").mkdir(parents=True)
        for program in ("ensemble", "zk"):
            (self.folder / "bin" / program).symlink_to(world.binary.with_name(program))

    def carry_out(self, command: Command, meant: Mapping[str, str]) -> Command:
        """Runs it, with what is meant by the document's examples in their place; it must print what is shown."""
        text, shown = command.text, "\n".join(command.shown)
        typed = "".join(f"{line}\n" for line in re.findall(r"^\[zk: .*\] (.*)$", shown, re.MULTILINE))
        for pattern, replacement in meant.items():
            text = re.sub(pattern, replacement, text)
            shown = re.sub(pattern, replacement, shown)
        environment = {**os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}
        done = subprocess.run(["sh", "-c", text], input=typed, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=COMMAND_SECONDS)
        printed = f"{done.stdout}{done.stderr}".replace("\r", "")
        assert done.returncode == 0, f"{command}\nas {text}\nended with {done.returncode}: {printed[-2000:]}"
        expected = "\n".join(line for line in shown.split("\n") if not line.startswith("[zk: "))
        assert not expected or printed.strip() == expected.strip(), f"{command}\nas {text}\nprinted\n{printed}\nand should have printed\n{expected}"
        return command


def started(world: Processes, path: str = "/app/a", data: bytes = b"hello") -> Server:
    """A server that serves alone, with a znode and its parents."""
    server = world.server()
    server.configure([], clientPort=str(server.client_port))
    server.start()
    client = connect(server.address)
    try:
        client.ensure_path(path.rpartition("/")[0])
        client.create(path, data)
    finally:
        close(client)
    return server


def of(commands: list[Command], document: str, *beginnings: str) -> list[Command]:
    """The commands of a document that begin so."""
    return [command for command in commands if command.document == document and command.text.startswith(beginnings)]


def backup(world: Processes, commands: list[Command]) -> list[Command]:
    """docs/backup.md and docs/operations/restore.md: what is saved of a server is what another one has that was started on it."""
    server, desk = started(world), Desk(world, "backup")
    restored = desk.folder / "restored"
    meant = {"(HOST|SERVER):2181": server.address, "(HOST|SERVER):8080": f"{server.host}:{server.admin_port}", "/tmp/try": str(restored), r"(log\.1\w+ )+log\.1\w+|log\.1\w+": "log.*"}
    done: list[Command] = []
    for command in [*of(commands, "docs/backup.md", ""), *of(commands, "docs/operations/restore.md", "")]:
        if command.document == "docs/operations/restore.md" and command.text.startswith("curl"):
            server.stop()  # one snapshot in five minutes is given: the limit begins anew
            server.start()
            connect_once(server)
        if command.text.startswith("ensemble snapshot info version-2"):
            for folder in ("data", "txnlog"):
                shutil.copytree(server.folder / folder / "version-2", desk.folder / "version-2", dirs_exist_ok=True)
        if command.text.startswith("ensemble restore"):
            for log in (desk.folder / "version-2").glob("log.*"):
                shutil.copy(log, desk.folder)
        zxid = re.search(r"^last_zxid: 0x(\w+)", (desk.folder / "headers").read_text(), re.MULTILINE) if (desk.folder / "headers").exists() else None
        done.append(desk.carry_out(command, {**meant, EXAMPLE_ZXID: zxid[1] if zxid else EXAMPLE_ZXID}))
    again = world.server()
    again.configure([], clientPort=str(again.client_port), dataDir=str(restored / "data"), dataLogDir=str(restored / "log"))
    again.start()
    client = connect(again.address)
    try:
        assert client.get("/app/a")[0] == b"hello", "it is not what was saved"
    finally:
        close(client)
    return done


def connect_once(server: Server) -> None:
    """Waits until a server serves."""
    close(connect(server.address))


def admin_port(world: Processes, commands: list[Command]) -> list[Command]:
    """What README and docs/operations/README.md ask the admin and metrics ports."""
    server, desk = started(world), Desk(world, "ports")
    meant = {"localhost:8080": f"{server.host}:{server.admin_port}", "localhost:7000": f"{server.host}:{server.metrics_port}"}
    asked = [*of(commands, "README.md", "curl"), *of(commands, "docs/operations/README.md", "curl")]
    return [desk.carry_out(command, {**meant, "^curl": "curl -f"}) for command in asked]


def shell(world: Processes, commands: list[Command]) -> list[Command]:
    """What docs/tools.md shows of `zk`."""
    empty, whole, other, desk = started(world, "/app"), started(world, "/a"), started(world, "/copy", b""), Desk(world, "zk")
    meant = {"zk-0:2181(,zk-1:2181)?": empty.address, "other:2181": other.address, "^zk (?!-server)": f"zk -server {whole.address} "}
    return [desk.carry_out(command, meant) for command in of(commands, "docs/tools.md", "zk ")]
