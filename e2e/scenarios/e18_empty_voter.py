"""E18: a voter loses its volumes while another voter is down. The empty store must not vote: no leader, no write, until the other one returns."""

import time

from harness.runner import case
from harness.shell import wait_for
from harness.world import World

WITHOUT_LEADER_SECONDS = 30


@case("E18 empty voter while another is down")
def empty_voter(world: World) -> str:
    """Of three: one is kept from its node, one comes back empty, one is whole."""
    ensemble = world.three()
    before, uids = ensemble.identities(), ensemble.pod_uids()
    emptied, down = ensemble.followers()
    node = ensemble.node_of(down)
    with world.load(ensemble) as load:
        load.wait_for_writes(200, 60)
        with world.cluster.cordoned(node):
            ensemble.delete_pods(down)
            ensemble.wait_replaced(uids, down)
            load.wait_for_writes(100, 60)
            ensemble.delete_volumes(emptied)
            ensemble.delete_pods(emptied)
            ensemble.wait_replaced(uids, emptied)
            wait_for("the empty server to answer", 120, lambda: answers_empty(ensemble.servers().get(emptied), before[emptied][2]))
            silent = time.monotonic()
            frozen = load.acknowledged()
            while time.monotonic() - silent < WITHOUT_LEADER_SECONDS:
                assert not ensemble.has_leader(), f"a leader was elected with the empty store of {emptied}"
                time.sleep(1)
            assert load.acknowledged() <= frozen + 1, "writes were acknowledged without a majority of stores"
        ensemble.wait_ready()
        load.wait_for_writes(100, 120)
        summary = load.finish()
    agreement = ensemble.agree(3)
    after = ensemble.identities()
    assert after[emptied][:2] == before[emptied][:2] and after[emptied][2] != before[emptied][2], f"{emptied}: {before[emptied]} became {after[emptied]}"
    return f"{emptied} empty, {down} down: no leader for {WITHOUT_LEADER_SECONDS} s; healed when it returned; {summary}; {agreement}"


def answers_empty(answer: dict | None, old_volume: str) -> bool:
    """Whether a server runs on a new volume."""
    return bool(answer and answer["volumeId"] not in (None, old_volume))
