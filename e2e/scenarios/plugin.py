"""`kubectl zke` as a person uses it: found by kubectl on the PATH, against real servers and the operator's answers."""

import os
from pathlib import Path

from harness import build
from harness.cluster import Cluster
from harness.ensemble import Ensemble
from harness.runner import case
from harness.shell import run, wait_for
from harness.world import World

from .repair import is_rebuilt
from .rolling import STRATEGY, Roll, is_done, patch

SECONDS = 240


class Plugin:
    """The plugin of this repository, run by kubectl."""

    def __init__(self, cluster: Cluster):
        self.cluster = cluster
        self.folder = build.plugin(cluster.log).parent

    def run(self, *words: str) -> str:
        """`kubectl zke` with these words; what it printed."""
        env = {**self.cluster.env, "PATH": f"{self.folder}:{os.environ['PATH']}", "NO_COLOR": "1"}
        return run([*self.cluster.engine.enter, self.cluster.kubectl_program, "zke", *words], env=env, timeout=60)

    def says(self, what: str, ensemble: Ensemble, *expected: str) -> str:
        """Waits until the status screen has all of these words, and returns it."""
        screen = ""

        def has_all() -> bool:
            nonlocal screen
            screen = self.run("status", ensemble.name, "-n", ensemble.namespace)
            return all(word in screen for word in expected)

        try:
            wait_for(what, SECONDS, has_all, every=2)
        except Exception as error:
            error.add_note(f"expected {expected} on the screen:\n{screen}")
            raise
        return screen


@case("plugin: kubectl zke in a day's work")
def plugin(world: World) -> str:
    """Each command, tried without effect first; then a roll that is stuck, as it looks at 3 a.m."""
    zke = Plugin(world.cluster)
    with world.ensemble("zke", 3, STRATEGY) as ensemble:
        ensemble.wait_ready()
        place = (ensemble.name, "-n", ensemble.namespace)
        zke.says("a screen of an ensemble that is well", ensemble, "zke in namespace case-zke serves", "Nothing: all is as it should be.", "zke-0", "zke-2")
        assert ensemble.name in zke.run("status", "-A"), "it is not on the list"
        transfer(zke, ensemble)
        before, roll = ensemble.resource()["spec"], Roll(ensemble)
        roll.look()
        for command in (("restart", *place), ("hibernate", *place), ("rebuild", ensemble.name, "1", "-n", ensemble.namespace)):
            zke.run(*command, "--dry-run")
        assert (ensemble.resource()["spec"], ensemble.resource()["metadata"].get("annotations", {}).get("zookeeper.ensemble.rs/rebuild")) == (before, None)
        with world.load(ensemble) as load:
            load.wait_for_writes(50, 60)
            former = ensemble.status().get("rebuild")
            zke.run("rebuild", ensemble.name, "1", "-n", ensemble.namespace)
            wait_for("a server to be rebuilt", SECONDS, lambda: is_rebuilt(ensemble, "1", former), every=1)
            roll.look()
            zke.run("restart", *place)
            roll.until("a restart of each", lambda: len(roll.replaced) >= 4 and is_done(ensemble))
            patch(ensemble, {"image": {"repository": "localhost/nowhere", "tag": "none"}})
            roll.until("the roll to be stalled", lambda: ensemble.condition("Progressing").get("reason") == "RolloutStalled")
            stuck = roll.replaced[-1]
            screen = zke.says("the screen of a roll that is stuck", ensemble, "serves, and is not whole", "RolloutStalled", stuck, "localhost/nowhere:none")
            keep(world, "stalled-roll-status.txt", screen)
            keep(world, "stalled-roll-describe.txt", world.cluster.kubectl("describe", "zke", *place))
            patch(ensemble, {"image": None})
            roll.until("the ensemble to heal", lambda: is_done(ensemble))
            load.wait_for_writes(50, 60)
            summary = load.finish()
        zke.run("hibernate", *place)
        zke.says("a screen of an ensemble at rest", ensemble, "is hibernated")
        wait_for("all pods to be gone", SECONDS, lambda: not ensemble.pods(), every=1)
        zke.run("resume", *place)
        ensemble.wait_ready()
        return f"status, restart, transfer-leader, rebuild, hibernate, resume; {summary}; {ensemble.agree(3)}"


def transfer(zke: Plugin, ensemble: Ensemble) -> None:
    """The office goes where a person wants it, and nowhere before."""
    leader, heir = ensemble.leader(), ensemble.followers()[0]
    words = ("transfer-leader", ensemble.name, "-n", ensemble.namespace, "--to", heir)
    zke.run(*words, "--dry-run")
    assert ensemble.leader() == leader, "--dry-run moved the office"
    zke.run(*words)
    wait_for(f"{heir} to lead", SECONDS, lambda: ensemble.leader() == heir)


def keep(world: World, name: str, text: str) -> None:
    """Keeps a text among the run's artifacts: it is for people to judge."""
    (Path(world.cluster.log).parent / name).write_text(text)
