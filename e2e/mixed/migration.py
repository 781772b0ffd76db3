"""A running ensemble changes its kind, server by server, on its own directories, and nobody who uses it is disturbed.

What a person does is in docs/operations/migrate-from-zookeeper.md; this is the same, checked.
"""

import time

from harness.load import Load
from harness.matrix import cells
from harness.mixed import Ensemble, Kind, World
from harness.runner import case

RECOVERY_SECONDS = 90
WRITES = 100


@case("migration from Apache ZooKeeper and back", covers=cells("leader follower", "JR", "stop, election"))
def migration(world: World) -> str:
    """Three Java servers become three Rust servers and go back, under load: no write and no session is lost."""
    ensemble = world.ensemble("JJJ", old_style=True)
    ensemble.configure(autopurge__purgeInterval="1")
    ensemble.start()
    with ensemble.load() as load:
        load.wait_for_writes(WRITES, RECOVERY_SECONDS)
        said = [f"all {kind.value} after {', '.join(replace_all(ensemble, load, kind))}" for kind in (Kind.RUST, Kind.JAVA)]
        summary = load.finish()
    assert summary.sessions_lost == 0, f"{summary}"
    return f"{'; '.join(said)}; {summary}; {ensemble.equal()}"


def replace_all(ensemble: Ensemble, load: Load, kind: Kind) -> list[str]:
    """Followers first, the leader last: one election, or two when the new servers hand it on. Returns what each step took."""
    leader = ensemble.settle()
    took = []
    for server in sorted(ensemble.servers, key=lambda server: (server is leader, server.myid)):
        assert server.digest_mismatches() == 0, f"{server} has seen a digest that is not its own"
        start, was = time.monotonic(), server.mode()
        server.become(kind)
        ensemble.settle()
        took.append(f"{server.myid} ({was}) {time.monotonic() - start:.1f} s")
        load.wait_for_writes(WRITES, RECOVERY_SECONDS)
    return took
