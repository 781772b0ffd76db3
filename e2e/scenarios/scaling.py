"""Scaling under a writer: E5 to E9. The voters are an odd number in every configuration that is seen, and no acknowledged write is lost."""

import base64
import contextlib
import time

from harness import admin
from harness.admin import Status
from harness.ensemble import ADMIN_PORT, Ensemble
from harness.runner import case
from harness.shell import TimedOut, wait_for
from harness.world import World

SIZE_SECONDS = 240
FROZEN_SECONDS = 45
HAND_OVER_SECONDS = 30
# The claims of a server that was removed are deleted.
DELETED = {"storage": {"data": {"size": "1Gi"}, "txnLog": {"size": "1Gi"}, "reclaimPolicy": {"onScaleDown": "Delete"}}}


def ask_for(ensemble: Ensemble, replicas: int) -> None:
    """`kubectl scale`, and nothing is waited for."""
    ensemble.cluster.kubectl("scale", f"zke/{ensemble.name}", "-n", ensemble.namespace, f"--replicas={replicas}")


def scale(ensemble: Ensemble, replicas: int, voters: int | None = None) -> float:
    """`kubectl scale`, until the ensemble has that size and is Ready, and how long that took. Looks at every configuration on the way."""
    start, voters = time.monotonic(), voters or replicas
    ask_for(ensemble, replicas)

    def has_size() -> bool:
        for name, answer in ensemble.servers().items():
            if answer and answer["config"]["servers"]:
                count = len(voters_of(answer))
                assert count % 2 == 1, f"{name} has a configuration with {count} voters: {answer['config']}"
        if not ensemble.is_answered():
            return False
        status = ensemble.status()
        return (
            (status["voters"], status["observers"], status["replicas"]) == (voters, replicas - voters, replicas)
            and ensemble.is_true("ReplicasApplied")
            and ensemble.is_true("Ready")
            and len(ensemble.ready_pods()) == replicas
        )

    try:
        wait_for(f"{ensemble.name} to have {replicas} servers", SIZE_SECONDS, has_size, every=1)
    except TimedOut as error:
        raise AssertionError(f"{error}; {ensemble.condition('Progressing')}; {ensemble.condition('ReplicasApplied')}") from error
    return time.monotonic() - start


def voters_of(answer: Status) -> list[str]:
    """The lines of voters in a server's configuration."""
    return [line for line in answer["config"]["servers"] if ":observer" not in line]


def claims(ensemble: Ensemble) -> dict[str, str]:
    """The stamp of each claim, empty where there is none."""
    items = ensemble.cluster.items("pvc", "-n", ensemble.namespace)
    return {item["metadata"]["name"]: item["metadata"].get("annotations", {}).get("zookeeper.ensemble.rs/retired-at-config", "") for item in items}


def volumes(ensemble: Ensemble) -> dict[str, str]:
    """Each claim's UID: one that was made anew has another."""
    return {item["metadata"]["name"]: item["metadata"]["uid"] for item in ensemble.cluster.items("pvc", "-n", ensemble.namespace)}


def up_and_down(world: World, name: str, sizes: list[int], spec: dict | None = None) -> str:
    """The scenario for a series of sizes, the first of which is created."""
    with world.ensemble(name, sizes[0], spec) as ensemble:
        ensemble.wait_ready()
        kept: dict[str, str] = {}
        with world.load(ensemble) as load:
            load.wait_for_writes(100, 60)
            took = []
            for size in sizes[1:]:
                kept.update(volumes(ensemble))
                took.append(scale(ensemble, size, min(5, size - 1 + size % 2)))
                load.wait_for_writes(100, 60)
            summary = load.finish()
        agreement = ensemble.agree(sizes[-1])
        restarts = ensemble.restarts()
        assert restarts == 0, f"containers restarted {restarts} times"
        refused = [event["message"] for event in ensemble.cluster.items("events", "-n", ensemble.namespace) if event["reason"] == "ReconfigurationRefused"]
        assert not refused, f"the operator asked too early: {refused}"
        if spec:
            assert len(claims(ensemble)) == 2 * sizes[-1], f"claims of removed servers are still there: {claims(ensemble)}"
        else:
            assert volumes(ensemble) == {**volumes(ensemble), **kept}, f"claims were {kept}, and are {volumes(ensemble)}"
        times = ", ".join(f"{size} in {seconds:.0f} s" for size, seconds in zip(sizes[1:], took, strict=True))
        return f"{sizes[0]}, {times}; {summary}; {agreement}"


@case("E5 one to three with data")
def one_to_three(world: World) -> str:
    """The step that loses data elsewhere: two empty newcomers are a majority of three."""
    return up_and_down(world, "e5", [1, 3])


@case("E6 up and down, claims retained")
def retained(world: World) -> str:
    """Servers come back on the volumes that they left."""
    return up_and_down(world, "e6-retain", [3, 5, 3, 1, 3])


@case("E6 up and down, claims deleted")
def deleted(world: World) -> str:
    """Claims of servers that were removed are deleted, and new ones made."""
    return up_and_down(world, "e6-delete", [3, 5, 3], DELETED)


@case("E6 ten rounds")
def rounds(world: World) -> str:
    """Up to seven and back to one, ten times."""
    return up_and_down(world, "e6-rounds", [3, *([5, 7, 5, 3, 1, 3] * 10)])


@case("E7 even sizes observe")
def even(world: World) -> str:
    """Four is three voters and an observer, which votes when there are five; two is one and one."""
    return up_and_down(world, "e7", [3, 4, 5, 4, 2])


@case("E8 the leader leaves, and a leaver that does not answer")
def leavers(world: World) -> str:
    """From five to three: the server with the highest ordinal leads, and the one below it is down."""
    with world.ensemble("e8", 5) as ensemble:
        ensemble.wait_ready()
        leader, leaver = f"{ensemble.name}-4", f"{ensemble.name}-3"
        with world.load(ensemble) as load:
            load.wait_for_writes(100, 60)
            make_lead(ensemble, leader)
            node, uids = ensemble.node_of(leaver), ensemble.pod_uids()
            with ensemble.cluster.cordoned(node):
                ensemble.delete_pods(leaver, force=True)
                ensemble.wait_replaced(uids, leaver)
                scale(ensemble, 3)
            load.wait_for_writes(100, 60)
            summary = load.finish()
        agreement = ensemble.agree(3)
        events = [event["reason"] for event in ensemble.cluster.items("events", "-n", ensemble.namespace)]
        assert "LeaderHandOff" in events, f"no hand-off was planned: {sorted(set(events))}"
        return f"{leader} led and {leaver} was killed; {summary}; {agreement}; claims {claims(ensemble)}"


def make_lead(ensemble: Ensemble, pod: str) -> None:
    """Lets the leader hand its office over to a pod's server. Asked again when an election came of it, as when a disk stood still meanwhile."""
    secret = ensemble.cluster.get("secret", f"{ensemble.name}-superuser", "-n", ensemble.namespace)
    token = base64.b64decode(secret["data"]["token"]).decode()
    deadline = time.monotonic() + HAND_OVER_SECONDS
    while ensemble.leader() != pod:
        assert time.monotonic() < deadline, f"{ensemble.leader()} leads, and not {pod}"
        leader = ensemble.leader()
        path = f"/leader/transfer?to={ensemble.servers()[pod]['myid']}"
        answer = admin.request(f"{ensemble.pods()[leader]['status']['podIP']}:{ADMIN_PORT}", path, method="POST", headers={"Authorization": f"Bearer {token}"})
        assert answer[0] == 200, f"{leader} does not hand over to {pod}: {answer}"
        with contextlib.suppress(TimedOut):
            wait_for(f"{pod} to lead", HAND_OVER_SECONDS / 3, lambda: ensemble.leader() == pod)


@case("E9 without a quorum nothing is removed")
def frozen(world: World) -> str:
    """Two of three are kept from their nodes; a smaller size is asked for; nothing goes until they are back."""
    with world.ensemble("e9", 3) as ensemble:
        ensemble.wait_ready()
        before, volumes = ensemble.pod_uids(), claims(ensemble)
        with world.load(ensemble) as load:
            load.wait_for_writes(100, 60)
            lost = ensemble.followers()
            nodes = {ensemble.node_of(pod) for pod in lost}
            with ensemble.cluster.cordoned(*nodes):
                ensemble.delete_pods(*lost)
                ensemble.wait_replaced(before, *lost)
                ask_for(ensemble, 1)
                deadline = time.monotonic() + FROZEN_SECONDS
                while time.monotonic() < deadline:
                    replicas = ensemble.cluster.get("statefulset", ensemble.name, "-n", ensemble.namespace)["spec"]["replicas"]
                    assert replicas == 3, f"the StatefulSet was scaled to {replicas} without a quorum"
                    assert claims(ensemble) == volumes, f"claims changed without a quorum: {claims(ensemble)}"
                    time.sleep(3)
                said = ensemble.condition("Progressing")
            took = scale(ensemble, 1)
            load.wait_for_writes(100, 60)
            summary = load.finish()
        agreement = ensemble.agree(1)
        return f"frozen for {FROZEN_SECONDS} s ({said.get('reason')}: {said.get('message')}), then 1 in {took:.0f} s; {summary}; {agreement}"


@case("E30 hibernated and woken up")
def hibernated(world: World) -> str:
    """replicas: 0 stops all servers and keeps everything; 3 brings them back as the same servers."""
    with world.ensemble("e30", 3) as ensemble:
        ensemble.wait_ready()
        before, volumes = ensemble.identities(), claims(ensemble)
        with world.load(ensemble) as load:
            load.wait_for_writes(100, 60)
            ask_for(ensemble, 0)
            wait_for("all pods to be gone", SIZE_SECONDS, lambda: not ensemble.pods(), every=1)
            wait_for("the status to say so", 60, lambda: ensemble.condition("Ready").get("reason") == "Hibernated")
            assert claims(ensemble) == volumes, f"before {volumes}, hibernated {claims(ensemble)}"
            took = scale(ensemble, 3)
            load.wait_for_writes(100, 60)
            summary = load.finish()
        agreement = ensemble.agree(3)
        assert ensemble.identities() == before, f"before {before}, after {ensemble.identities()}"
        return f"woken up in {took:.0f} s; {summary}; {agreement}"
