"""E3: the operator dies right after each step of a bootstrap. It starts again, computes its plan from what it sees, and the result is that of E1."""

from harness.operator import FAILPOINT
from harness.runner import case
from harness.shell import wait_for
from harness.world import World

from .e01_create import founded

STEPS = ("after-ensemble-id", "after-volumes-recorded", "after-grant-1", "after-grants", "before-complete")
EXIT_CODE = 86
READY_SECONDS = 240


def dies(step: str) -> None:
    """Registers the scenario for a step."""

    @case(f"E3 operator dies {step}")
    def operator_dies(world: World) -> str:
        world.operator.set_failpoint(step)
        with world.ensemble(f"e3-{step}", 3) as ensemble:
            deaths = wait_for(f"the operator to die of {FAILPOINT}={step}", READY_SECONDS, world.operator.deaths)
            codes = {death["exitCode"] for death in deaths}
            assert codes == {EXIT_CODE}, f"the operator ended with {codes}"
            world.operator.set_failpoint(None)
            took = ensemble.wait_ready(READY_SECONDS)
            identity = founded(ensemble, 3)
            with world.load(ensemble) as load:
                load.wait_for_writes(100, 60)
                summary = load.finish()
            agreement = ensemble.agree(3)
            restarts = ensemble.restarts()
            assert restarts == 0, f"servers restarted {restarts} times"
        return f"died and came back, Ready {took:.0f} s later as {identity[:8]}; {summary}; {agreement}"


for name in STEPS:
    dies(name)
