"""The scenarios have teeth: under an operator that is broken on purpose, the one that should notice fails.

An operator that counts joiners which are not synced is not among them: on a cluster a joiner is synced within the time of a pass, and the leader
itself refuses one that is not. `operator-sim` notices it, where joiners are slow (`docs/simulation.md`).
"""

from collections.abc import Callable

from harness import build
from harness.runner import case
from harness.world import World

from . import rolling, scaling

VARIABLE = "OPERATOR_MUTANT"
NOTICED_BY: dict[str, Callable[[World], str]] = {
    "ignores_leader": rolling.configuration,
    "restarts_two": rolling.configuration,
    "deletes_claims_early": scaling.retained,
}


@case("teeth: broken operators are noticed")
def broken_operators(world: World) -> str:
    """Each by the scenario that is there for it."""
    image = build.broken_image(world.cluster.engine, world.cluster.log)
    world.cluster.load(image)
    noticed = []
    try:
        for mutant, scenario in NOTICED_BY.items():
            world.operator.replace(image, **{VARIABLE: mutant})
            noticed.append(f"{mutant}: {failure(world, scenario)}")
    finally:
        world.operator.replace(build.IMAGE, **{VARIABLE: None})
    return "; ".join(noticed)


def failure(world: World, scenario: Callable[[World], str]) -> str:
    """What a scenario finds wrong."""
    try:
        saw = scenario(world)
    except AssertionError as error:
        world.clear()
        return str(error)[:200]
    raise AssertionError(f"{scenario.__name__} has no teeth: {saw}")
