"""Apache ZooKeeper's own shell: what it prints is what the tests of `zk` expect of ours."""

import os
import re
import subprocess
from pathlib import Path

from harness import places
from harness.mixed import JVM, World
from harness.runner import case

TRANSCRIPT = places.REPOSITORY / "ensemble" / "server" / "tests" / "loopback" / "zkcli.txt"
SECONDS_MAX = 120
# Numbers that differ from run to run.
NUMBERS = re.compile(r"^((?:cZxid|ctime|mZxid|mtime|pZxid) = ).*", re.MULTILINE)
# What happens at any time, and is not the answer to a line.
EVENTS = re.compile(r"^\n*WATCHER::\n\nWatchedEvent [^\n]*\n", re.MULTILINE)
# Where ours says less, or more, on purpose: a line, and what Apache ZooKeeper's shell prints for it (the beginning).
OTHERWISE = {
    "set /a": "set path data [-s] [-v version] [-b]\n -b         Supply data in base64 format\n",
    "setAcl /a world:anyone": "world:anyone does not have the form scheme:id:perm\nAcl is not valid : null",
    "get -q /a": "org.apache.commons.cli.UnrecognizedOptionException: Unrecognized option: -q",
    "tree -d 1 /": "ZooKeeper -server host:port -client-configuration properties-file cmd args\n",
}


@case("what zkCli.sh prints")
def zkcli(world: World) -> str:
    """Each line of the transcript, on a server of Apache ZooKeeper."""
    ensemble = world.ensemble("JRJ")
    ensemble.configure(extendedTypesEnabled="true", reconfigEnabled="false")
    ensemble.start()
    server = ensemble.servers[0]
    steps = [step.split("\n", 1) for step in TRANSCRIPT.read_text().removeprefix("> ").rstrip("\n").split("\n> ")]
    lines = [line for line, *_ in steps]
    printed = say(server.jars, server.address, lines)
    wrong = []
    for (line, *rest), found in zip(steps, printed, strict=True):
        expected = "\n".join(each.removeprefix("! ") for each in "".join(rest).split("\n"))
        is_right = found.startswith(OTHERWISE[line]) if line in OTHERWISE else in_order(line, found) == in_order(line, expected)
        if not is_right:
            wrong.append(f"> {line}\nexpected {OTHERWISE.get(line, expected)!r}\nfound    {found!r}")
    assert not wrong, "\n".join(wrong)
    return f"{len(lines) - len(OTHERWISE)} lines as the tests of zk expect them, {len(OTHERWISE)} otherwise, as known"


def in_order(line: str, answer: str) -> list[str]:
    """The lines of an answer; `whoami` tells in any order who one is."""
    return sorted(answer.split("\n")) if line == "whoami" else answer.split("\n")


def say(jars: Path, address: str, lines: list[str]) -> list[str]:
    """What the shell prints for each line. Without jline it reads its standard input, and shows no prompt; a znode that is not there shows where a line's output ends."""
    without_jline = [str(jars), *(str(jar) for jar in sorted(jars.glob("*.jar")) if not jar.name.startswith("jline"))]
    typed = "".join(f"{line}\nget /end-of-{number}\n" for number, line in enumerate(lines))
    command = [*JVM, "-cp", os.pathsep.join(without_jline), "org.apache.zookeeper.ZooKeeperMain", "-server", address]
    done = subprocess.run(command, input=typed, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS_MAX, check=False)
    rest = EVENTS.sub("", NUMBERS.sub(r"\1N", done.stdout)).partition("JLine support is disabled\n")[2]
    printed = []
    for number in range(len(lines)):
        end = f"Node does not exist: /end-of-{number}\n"
        if end not in rest:  # after `close` nothing is there to be asked
            break
        answer, _, rest = rest.partition(end)
        printed.append(answer.strip("\n"))
    closed, *answers = rest.splitlines()
    assert {closed, *answers} == {"Not connected"} and lines[len(printed)] == "close", rest
    return [*printed, "", *answers[::2]]
