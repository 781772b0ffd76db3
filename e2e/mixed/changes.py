"""Servers die, stand still and change their kind under a flood of writes, in an order that a seed decides. The result names it."""

import os
import random
import time

from harness.mixed import Ensemble, Kind, Server, World
from harness.runner import case
from mixed.floods import flooding

RECOVERY_SECONDS = 120
ROUNDS = 10
WRITES = 30
PAUSE_SECONDS = 7
# Repeats a run: ZKE_SEED=17 e2e/test changes
SEED = "ZKE_SEED"


@case("changes of kind at random")
def changes(world: World) -> str:
    """Whatever happens to one server, or to all at once, what was acknowledged is there."""
    seed = int(os.environ.get(SEED, random.randrange(1_000_000)))
    ensemble, chance, history = world.ensemble("JRJ"), random.Random(seed), []
    ensemble.configure(snapCount="300")
    ensemble.start()
    with ensemble.load() as load:
        try:
            with flooding(ensemble.hosts()) as flood:
                for _ in range(ROUNDS):
                    trouble = chance.choice((crash, crash_all, replace, stand_still))
                    history.append(trouble(ensemble, chance))
                    ensemble.settle()
                    load.wait_for_writes(WRITES, RECOVERY_SECONDS)
            summary = load.finish()
        except Exception as error:
            raise AssertionError(f"{SEED}={seed}: {error}; after {', '.join(history)}") from error
    return f"{SEED}={seed}: {', '.join(history)}; {summary}; {flood.done} answers beside it; {ensemble.equal()}"


def crash(ensemble: Ensemble, chance: random.Random) -> str:
    """kill -9 of one; it comes back as any kind."""
    server = chance.choice(ensemble.servers)
    server.kill()
    return f"crash of {server} ({come_back(server, chance)})"


def crash_all(ensemble: Ensemble, chance: random.Random) -> str:
    """kill -9 of all in the middle of writes; each comes back as any kind."""
    for server in ensemble.servers:
        server.kill()
    return f"crash of all ({', '.join(come_back(server, chance) for server in ensemble.servers)})"


def replace(ensemble: Ensemble, chance: random.Random) -> str:
    """One stops in order and comes back as the other kind."""
    server = chance.choice(ensemble.servers)
    server.become(server.kind.other())
    return f"change of {server.myid} to {server.kind.value}"


def stand_still(ensemble: Ensemble, chance: random.Random) -> str:
    """One stands still for longer than it may."""
    server = chance.choice(ensemble.servers)
    server.suspend()
    time.sleep(PAUSE_SECONDS)
    server.resume()
    return f"pause of {server}"


def come_back(server: Server, chance: random.Random) -> str:
    """Starts it as a kind, and says which."""
    server.kind = chance.choice(list(Kind))
    server.start()
    return server.kind.value
