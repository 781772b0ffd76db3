"""Rolling restarts under a writer: E11, E12, E14 and E32. One server at a time, the leader last, each exactly once; a bad template stops after one."""

import json
import time
from dataclasses import dataclass, field
from typing import Any

from harness.ensemble import Ensemble
from harness.runner import case
from harness.world import World

from .many import another_tag

ROLL_SECONDS = 240
QUIET_SECONDS = 20
STALL_SECONDS_MAX = 2.0
STRATEGY = {"updateStrategy": {"minReadySeconds": 3, "progressDeadlineSeconds": 30}}


@dataclass
class Roll:
    """Which pods were replaced, in order, while somebody looked."""

    ensemble: Ensemble
    uids: dict[str, str] = field(default_factory=dict)
    replaced: list[str] = field(default_factory=list)

    def look(self) -> None:
        """Looks again."""
        now = self.ensemble.pod_uids()
        down = [name for name in self.uids if name not in self.ensemble.ready_pods()]
        assert len(down) <= 1, f"{down} are down at once"
        for name, uid in now.items():
            if self.uids.get(name, uid) != uid:
                self.replaced.append(name)
            self.uids[name] = uid

    def until(self, what: str, done: Any, seconds: float = ROLL_SECONDS) -> None:
        """Looks until something is so."""
        deadline = time.monotonic() + seconds
        while True:
            self.look()
            if done():
                return
            said = [self.ensemble.condition(kind) for kind in ("ConfigApplied", "Progressing")]
            assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}; replaced {self.replaced}; {said}"
            time.sleep(0.3)


def patch(ensemble: Ensemble, spec: dict[str, Any], annotations: dict[str, str] | None = None) -> None:
    """Edits the resource."""
    body = json.dumps({"metadata": {"annotations": annotations or {}}, "spec": spec})
    ensemble.cluster.kubectl("patch", "zke", ensemble.name, "-n", ensemble.namespace, "--type=merge", "-p", body)


def is_done(ensemble: Ensemble, size: int = 3) -> bool:
    """Whether the operator has answered the last edit and nothing is left to do."""
    settled = ensemble.is_answered() and ensemble.condition("Progressing").get("status") == "False"
    return settled and ensemble.is_true("ConfigApplied") and ensemble.is_true("Ready") and len(ensemble.ready_pods()) == size


def rolled_once(ensemble: Ensemble, edit: Any) -> str:
    """Rolls an ensemble of three by an edit, and asserts the order and that it was one roll."""
    roll = Roll(ensemble)
    roll.look()
    leader = ensemble.leader()
    epoch = max(answer["epoch"] for answer in ensemble.servers().values() if answer)
    edit()
    roll.until("each pod to be replaced", lambda: len(roll.replaced) >= 3 and is_done(ensemble))
    quiet = time.monotonic() + QUIET_SECONDS
    while time.monotonic() < quiet:
        roll.look()
        time.sleep(0.5)
    assert sorted(roll.replaced) == sorted(roll.uids), f"replaced {roll.replaced}"
    assert roll.replaced[-1] == leader, f"{leader} led, and the order was {roll.replaced}"
    elections = max(answer["epoch"] for answer in ensemble.servers().values() if answer) - epoch
    assert elections <= 1, f"{elections} leader changes"
    return f"{', '.join(roll.replaced)}; {elections} leader change"


@case("E11 rolling configuration change")
def configuration(world: World) -> str:
    """A key of zoo.cfg changes: followers first, a hand-off, the leader last; no write waits long."""
    with world.ensemble("e11", 3, STRATEGY) as ensemble:
        ensemble.wait_ready()
        with world.load(ensemble) as load:
            load.wait_for_writes(100, 60)
            seen = rolled_once(ensemble, lambda: patch(ensemble, {"config": {"snapCount": 90000}}))
            load.wait_for_writes(100, 60)
            summary = load.finish()
        agreement = ensemble.agree(3)
        assert summary.longest_stall_seconds < STALL_SECONDS_MAX, f"a write stalled: {summary}"
        return f"{seen}; {summary}; {agreement}"


@case("E11 by swap")
def by_swap(world: World) -> str:
    """An observer takes the place of each voter before its restart: three vote whenever somebody looks, and nobody who votes is restarted."""
    strategy = {"updateStrategy": {**STRATEGY["updateStrategy"], "mode": "Swap"}}
    with world.ensemble("e11-swap", 4, strategy) as ensemble:
        ensemble.wait_ready()
        before = ensemble.pod_uids()
        with world.load(ensemble) as load:
            load.wait_for_writes(100, 60)
            patch(ensemble, {"config": {"snapCount": 90000}})
            traded = swapped(ensemble, before)
            load.wait_for_writes(100, 60)
            summary = load.finish()
        members = {member["ordinal"]: member["member"] for member in ensemble.resource()["status"]["members"]}
        assert members == {0: "voter", 1: "voter", 2: "voter", 3: "observer"}, f"in the end {members}"
        agreement = ensemble.agree(4)
        return f"{traded} configurations; {summary}; {agreement}"


def swapped(ensemble: Ensemble, before: dict[str, str]) -> int:
    """Looks until every pod was replaced and nothing is left to do, and returns how many configurations were seen. Three vote in each, and nobody who votes goes."""
    seen: set[str] = set()
    deadline = time.monotonic() + 2 * ROLL_SECONDS
    while True:
        pods = ensemble.pods()
        going = [name for name, pod in pods.items() if pod["metadata"].get("deletionTimestamp")]
        # Read after the pods: whoever goes had no vote then, and gets none before it is back.
        configurations = [answer["config"] for answer in ensemble.servers().values() if answer]
        for configuration in configurations:
            assert sum(":participant" in line for line in configuration["servers"]) == 3, f"not three vote: {configuration}"
        newest = max(configurations, key=lambda configuration: int(configuration["version"], 16))
        seen.add(newest["version"])
        voting = [name for name in going if any(f"={name}." in line and ":participant" in line for line in newest["servers"])]
        assert not voting, f"{voting} vote and go: {newest}"
        anew = [name for name, pod in pods.items() if before.get(name) != pod["metadata"]["uid"]]
        if len(anew) == len(before) and is_done(ensemble, len(before)):
            return len(seen)
        said = [ensemble.condition(kind) for kind in ("ConfigApplied", "ReplicasApplied", "Progressing")]
        assert time.monotonic() < deadline, f"made anew {anew}; {said}"
        time.sleep(0.3)


@case("E12 a bad image stops after one pod and heals")
def bad_image(world: World) -> str:
    """An image that does not exist: one pod is lost to it, the others serve; the revert brings it back."""
    return stalls_and_heals(world, "e12", {"image": {"repository": "localhost/nowhere", "tag": "none"}}, {"image": None})


@case("E12 more memory than any node has stops after one pod and heals")
def impossible_memory(world: World) -> str:
    """The same for a pod that no node can take."""
    much, enough = ({"resources": {"requests": {"memory": asked}, "limits": {"memory": most}}} for asked, most in (("900Gi", "900Gi"), ("128Mi", "512Mi")))
    return stalls_and_heals(world, "e12-memory", much, enough)


@case("E12 a node that does not exist stops after one pod and heals")
def impossible_node(world: World) -> str:
    """And for one that no node is for."""
    nowhere = {"scheduling": {"nodeSelector": {"kubernetes.io/hostname": "nowhere"}}}
    return stalls_and_heals(world, "e12-node", nowhere, {"scheduling": {"nodeSelector": None}})


def stalls_and_heals(world: World, name: str, edit: dict[str, Any], back: dict[str, Any]) -> str:
    """An edit with which no pod starts takes one pod of three, and the way back mends it."""
    with world.ensemble(name, 3, STRATEGY) as ensemble:
        ensemble.wait_ready()
        roll = Roll(ensemble)
        roll.look()
        with world.load(ensemble) as load:
            load.wait_for_writes(100, 60)
            patch(ensemble, edit)
            roll.until("the roll to be stalled", lambda: ensemble.condition("Progressing").get("reason") == "RolloutStalled")
            said = ensemble.condition("Progressing")["message"]
            assert len(roll.replaced) == 1, f"{edit} took {roll.replaced}"
            load.wait_for_writes(100, 60)
            patch(ensemble, back)
            roll.until("the ensemble to heal", lambda: is_done(ensemble))
            assert set(roll.replaced) == {roll.replaced[0]}, f"replaced {roll.replaced}"
            load.wait_for_writes(100, 60)
            summary = load.finish()
        agreement = ensemble.agree(3)
        return f"{roll.replaced[0]} alone: {said}; {summary}; {agreement}"


@case("E14 restarts on request are one roll each")
def requested(world: World) -> str:
    """The annotation restartedAt, and `kubectl rollout restart` of the StatefulSet."""
    with world.ensemble("e14", 3, STRATEGY) as ensemble:
        ensemble.wait_ready()
        by_annotation = rolled_once(ensemble, lambda: patch(ensemble, {}, {"zookeeper.ensemble.rs/restartedAt": "2030-01-01T00:00:00Z"}))
        restart = ("rollout", "restart", f"statefulset/{ensemble.name}", "-n", ensemble.namespace)
        by_kubectl = rolled_once(ensemble, lambda: ensemble.cluster.kubectl(*restart))
        return f"annotation: {by_annotation}; kubectl: {by_kubectl}"


@case("E32 another image of the servers")
def another_image(world: World) -> str:
    """The same bits under another tag, as an upgrade rolls them out, and back."""
    image = another_tag(world.cluster)
    repository, tag = image.split(":")
    with world.ensemble("e32", 3, STRATEGY) as ensemble:
        ensemble.wait_ready()
        with world.load(ensemble) as load:
            load.wait_for_writes(100, 60)
            there = rolled_once(ensemble, lambda: patch(ensemble, {"image": {"repository": repository, "tag": tag}}))
            images = {pod["spec"]["containers"][0]["image"] for pod in ensemble.pods().values()}
            assert images == {image}, f"{images} run"
            back = rolled_once(ensemble, lambda: patch(ensemble, {"image": None}))
            load.wait_for_writes(100, 60)
            summary = load.finish()
        agreement = ensemble.agree(3)
        assert summary.longest_stall_seconds < STALL_SECONDS_MAX, f"a write stalled: {summary}"
        return f"there: {there}; back: {back}; {summary}; {agreement}"
