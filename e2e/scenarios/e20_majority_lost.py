"""E20: the volumes of a majority are gone. Nobody is elected; a recovery that names another ensemble does nothing; one that names this one lets the
history of the chosen member go on, with everything that was acknowledged, since it led."""

import time
from typing import Any

from harness.ensemble import Ensemble
from harness.runner import case
from harness.shell import wait_for
from harness.world import World

from .e18_empty_voter import answers_empty
from .repair import reasons
from .rolling import patch

LOST_SECONDS = 120
RECOVERED_SECONDS = 420
# How long nothing may happen after a request that names another ensemble.
STILL_SECONDS = 20
ANOTHER = "11111111-2222-3333-4444-555555555555"


@case("E20 a majority of volumes lost")
def majority_lost(world: World) -> str:
    """Of three, the two followers lose both their volumes at once."""
    with world.ensemble("e20", 3) as ensemble:
        ensemble.wait_ready()
        with world.load(ensemble) as load:
            load.wait_for_writes(200, 60)
            before, uids, survivor = ensemble.identities(), ensemble.pod_uids(), ensemble.leader()
            lost = [name for name in before if name != survivor]
            former = ensemble.status()["ensembleId"]
            for pod in lost:
                ensemble.delete_volumes(pod)
            ensemble.delete_pods(*lost, force=True)
            ensemble.wait_replaced(uids, *lost)
            for pod in lost:
                wait_for(f"the empty server {pod} to answer", LOST_SECONDS, lambda pod=pod: answers_empty(ensemble.servers().get(pod), before[pod][2]))
            wait_for("the majority to be called lost", LOST_SECONDS, lambda: ensemble.is_true("QuorumLost"), every=1)
            said = ensemble.condition("QuorumLost")["message"]
            assert all(pod in said for pod in lost), f"QuorumLost names not every one of {lost}: {said}"
            frozen = load.acknowledged()

            ask(ensemble, survivor, ANOTHER)
            wait_for("a refusal", 60, lambda: ensemble.condition("Recovered").get("reason") == "RecoveryRefused", every=1)
            as_it_was = things(ensemble)
            time.sleep(STILL_SECONDS)
            assert things(ensemble) == as_it_was, f"{as_it_was} became {things(ensemble)}"
            assert ensemble.status()["ensembleId"] == former and not ensemble.has_leader() and load.acknowledged() <= frozen + 1

            ask(ensemble, lost[0], former)
            wait_for("the empty member to be refused", 60, lambda: "cannot go on" in ensemble.condition("Recovered").get("message", ""), every=1)
            assert ensemble.condition("Recovered")["reason"] == "RecoveryRefused"

            started = time.monotonic()
            ask(ensemble, survivor, former)
            wait_for("the ensemble to be recovered", RECOVERED_SECONDS, lambda: ensemble.is_true("Recovered"), every=1)
            took = time.monotonic() - started
            ensemble.wait_ready(RECOVERED_SECONDS)
            load.wait_for_writes(100, 120)
            summary = load.finish()
        agreement = ensemble.agree(3)
        after, new = ensemble.identities(), ensemble.status()["ensembleId"]
        assert new not in (former, ANOTHER), f"the ensemble is still {new}"
        assert all(found[1] == new for found in after.values()), f"{new}: {after}"
        assert after[survivor][2] == before[survivor][2], f"{survivor}: {before[survivor]} became {after[survivor]}"
        assert all(after[pod][2] not in {found[2] for found in before.values()} for pod in lost), f"{before} became {after}"
        told = {"RecoveryRefused", "RecoveryBegins", "ServersStopped", "HistoryTakenOver", "ClaimsDeleted", "EnsembleRecovered"}
        assert told <= reasons(ensemble), f"events: {reasons(ensemble)}"

        # The request is still there, and asks for nothing.
        uids = ensemble.pod_uids()
        time.sleep(STILL_SECONDS)
        assert ensemble.pod_uids() == uids and ensemble.status()["ensembleId"] == new, "it is recovered again"
        return f"{survivor} went on as {new} after {took:.0f} s; {summary}; {agreement}"


def ask(ensemble: Ensemble, pod: str, confirm: str) -> None:
    """Asks for the history of a pod's server to go on, and has the operator read it."""
    patch(ensemble, {"recovery": {"fromMember": int(pod.rsplit("-", 1)[1]), "confirm": confirm}})


def things(ensemble: Ensemble) -> Any:
    """The UIDs of pods and claims."""
    claims = ensemble.cluster.items("pvc", "-n", ensemble.namespace, "-l", f"app.kubernetes.io/instance={ensemble.name}")
    return ensemble.pod_uids(), sorted((claim["metadata"]["name"], claim["metadata"]["uid"]) for claim in claims)
