"""E2: one voter of three finds no node. The majority serves, a condition names what is missing, and the third joins the same ensemble later."""

import contextlib

from harness.runner import case
from harness.shell import wait_for
from harness.world import World

from .e01_create import founded

SERVES_SECONDS = 180


@case("E2 unschedulable voter")
def unschedulable_voter(world: World) -> str:
    """Servers must not share a node, and one of three workers takes no pods."""
    cordoned = sorted(node for node in world.cluster.nodes() if "control-plane" not in node)[-1]
    with contextlib.ExitStack() as stack:
        with world.cluster.cordoned(cordoned):
            ensemble = stack.enter_context(world.ensemble("e2", 3, {"scheduling": {"antiAffinity": "Required"}}))
            wait_for("a majority to serve", SERVES_SECONDS, lambda: ensemble.is_true("Available"), every=1)
            pending = [name for name, pod in ensemble.pods().items() if pod["status"]["phase"] == "Pending"]
            assert len(pending) == 1, f"expected one pending pod, found {pending}"
            degraded = wait_for("the condition to name it", 60, lambda: named(ensemble.condition("Degraded"), pending[0]), every=1)
            load = stack.enter_context(world.load(ensemble))
            load.wait_for_writes(200, 60)
            before = ensemble.status()["ensembleId"]
        ensemble.wait_ready()
        load.wait_for_writes(100, 60)
        summary = load.finish()
        assert founded(ensemble, 3) == before, "the third server belongs to another ensemble"
        return f"two of three served, Degraded said {degraded['message']!r}; joined later; {summary}; {ensemble.agree(3)}"


def named(condition: dict, pod: str) -> dict | None:
    """The condition if it is True and names the pod."""
    return condition if condition.get("status") == "True" and pod in condition.get("message", "") else None
