"""Operations that only the Java client has: servers of both kinds answer them alike."""

from pathlib import Path

from harness.load import close, connect
from harness.mixed import Server, World
from harness.runner import case
from harness.shell import run, wait_for

PROGRAM = Path(__file__).with_name("Answers.java")
GONE_SECONDS = 60


@case("answers to the Java client: TTL znodes, several reads at once, whoAmI")
def answers(world: World) -> str:
    """Through each server, under a leader of each kind; znodes whose time is over go."""
    ensemble = world.ensemble("JRJ")
    ensemble.configure(extendedTypesEnabled="true")
    ensemble.start()
    told = {}
    for leader in (ensemble.servers[2], ensemble.servers[1]):
        ensemble.lead(leader)
        for server in ensemble.servers:
            root = f"/{server.myid}-under-{leader.myid}"
            told[f"{server} under {leader}"] = ask(server, root)
            wait_until_gone(server, f"{root}/short")
    first, *_ = told.values()
    different = {who: answer for who, answer in told.items() if answer != first}
    assert not different, f"{next(iter(told))} said:\n{first}\nand not the same:\n{different}"
    return f"{len(told)} times the same {len(first.splitlines())} lines; {ensemble.equal()}"


def ask(server: Server, root: str) -> str:
    """What the program prints."""
    return run(["java", "-cp", f"{server.jars}:{server.jars}/*", str(PROGRAM), server.address, root])


def wait_until_gone(server: Server, path: str) -> None:
    """A TTL znode without children is deleted by the leader."""
    client = connect(server.address)
    try:
        wait_for(f"{path} to be deleted", GONE_SECONDS, lambda: client.exists(path) is None)
    finally:
        close(client)
