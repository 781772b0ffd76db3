"""E17: one, two and all pods are deleted, gracefully and by force. They come back as the same servers, with nothing lost and nothing reconfigured."""

from harness.ensemble import Ensemble
from harness.runner import case
from harness.world import World

RECOVERY_SECONDS = 120


def victims(ensemble: Ensemble, count: int) -> list[str]:
    """The leader and as many others as it takes."""
    return [ensemble.leader(), *ensemble.followers()][:count]


def deleted(count: int, *, force: bool) -> None:
    """Registers the scenario for a number of pods and a way."""
    how = "forced" if force else "graceful"
    number = {1: "one pod", 2: "two pods", 3: "all pods"}[count]

    @case(f"E17 {number}, {how}")
    def delete_pods(world: World) -> str:
        ensemble = world.three()
        identities, uids = ensemble.identities(), ensemble.pod_uids()
        config = {name: answer["config"] for name, answer in ensemble.servers().items() if answer}
        with world.load(ensemble) as load:
            load.wait_for_writes(100, 60)
            chosen = victims(ensemble, count)
            ensemble.delete_pods(*chosen, force=force)
            ensemble.wait_replaced(uids, *chosen)
            ensemble.wait_ready()
            load.wait_for_writes(100, RECOVERY_SECONDS)
            summary = load.finish()
        agreement = ensemble.agree(3)
        assert ensemble.identities() == identities, f"before {identities}, after {ensemble.identities()}"
        after = {name: answer["config"] for name, answer in ensemble.servers().items() if answer}
        assert after == config, f"reconfigured: before {config}, after {after}"
        return f"deleted {', '.join(chosen)}; {summary}; {agreement}"


for number_of_pods in (1, 2, 3):
    deleted(number_of_pods, force=False)
    deleted(number_of_pods, force=True)
