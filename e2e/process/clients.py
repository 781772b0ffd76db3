"""docs/clients.md is true: its programs are taken out of it and run as it says, against three servers."""

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import kazoo
from kazoo.client import KazooClient

from harness import places
from harness.load import close, connect
from harness.processes import Processes
from harness.runner import case
from harness.shell import CommandFailed, run

DOCUMENT = places.REPOSITORY / "docs" / "clients.md"
SAID = ["read red", "changed to blue", "closed"]
# What every run tries: the level has kazoo, and the mixed level needs Java and Maven anyhow. The others fetch what nothing else needs.
ALWAYS = ("Python", "Java")
SECTIONS = ("Python", "Java", "Curator", "Go", "C", "Node.js")
FETCH_SECONDS = 300
RUN_SECONDS = 300  # a cold compiler on a busy machine included


@dataclass(frozen=True)
class Example:
    """A section: its files by name, and its commands. The first one fetches what the program depends on, the last one runs it."""

    name: str
    files: dict[str, str]
    commands: list[str]

    def write(self, folder: Path) -> None:
        """Puts the files into a new folder."""
        folder.mkdir()
        for name, text in self.files.items():
            (folder / name).write_text(text)


def examples(document: str) -> list[Example]:
    """The sections that have a program."""
    found = []
    for section in re.split(r"^## ", document, flags=re.MULTILINE)[1:]:
        blocks = re.findall(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
        files = {name: text for _, name, text in blocks if name}
        if files:
            commands = [line.removeprefix("$ ") for kind, _, text in blocks if kind == "console" for line in text.splitlines()]
            found.append(Example(section.splitlines()[0], files, commands))
    return found


@case("clients of docs/clients.md")
def clients(world: Processes) -> str:
    """Each program prints what the document says, and leaves what it says: its znode, and nothing of its session."""
    found = examples(DOCUMENT.read_text())
    assert tuple(example.name for example in found) == SECTIONS, f"the document has {[example.name for example in found]}"
    python, *_ = found
    assert f"kazoo=={kazoo.__version__}" in python.commands[0], f"the harness has kazoo {kazoo.__version__}, and would install another over it: {python.commands[0]}"
    chosen = [example for example in found if world.thorough or example.name in ALWAYS]
    done, skipped = [], [f"{example.name} (only with --all)" for example in found if example not in chosen]
    with world.three() as group:
        client = connect(group.hosts())
        try:
            for number, example in enumerate(chosen):
                folder = world.folder / f"client-{number}"
                example.write(folder)
                try:
                    shell(example.commands[0], folder, FETCH_SECONDS)
                except CommandFailed as error:
                    skipped.append(f"{example.name} ({str(error).splitlines()[-1]})")
                    continue
                check(client, example, folder, f"{group.hosts()}/client-{number}")
                done.append(example.name)
        finally:
            close(client)
    assert "Python" in done, f"kazoo is a requirement of the harness, and was skipped: {skipped}"
    return f"{', '.join(done)}; skipped: {', '.join(skipped) or 'none'}"


def check(client: KazooClient, example: Example, folder: Path, hosts: str) -> None:
    """Builds and runs one program below a chroot of its own, and looks at what it printed and left there."""
    root = hosts[hosts.index("/") :]
    client.create(root)
    for command in example.commands[1:-1]:
        shell(command, folder, RUN_SECONDS)
    output = shell(example.commands[-1], folder, RUN_SECONDS, ZOOKEEPER=hosts)
    said = [line for line in output.splitlines() if line in SAID]  # among what a logger writes
    assert said == SAID, f"{example.name} printed:\n{output[-2000:]}"
    client.sync(root)
    children, stat = client.get_children(root, include_data=True)
    assert children == ["settings"], f"{example.name} left {children}"
    # Two znodes were created, and one was deleted, without the program: it was ephemeral, and the session was closed.
    assert stat.cversion == 3, f"{example.name}: {stat.cversion} changes of children, 3 were expected"
    data, stat = client.get(f"{root}/settings")
    assert (data, stat.version) == (b"blue", 1), f"{example.name} left {data} in version {stat.version}"


def shell(command: str, folder: Path, seconds: float, **environment: str) -> str:
    """Runs a command of the document; `pip` and `python` are the harness's own. Raises CommandFailed."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return run(["sh", "-c", command], cwd=folder, timeout=seconds, env={"PATH": path, "GOFLAGS": "-mod=mod", **environment})
