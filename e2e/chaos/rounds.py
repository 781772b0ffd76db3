"""Rounds of misfortunes. The result names the seed: `ZKE_SEED=17 e2e/test chaos` does the same faults again, at other moments of the servers' lives."""

import os
import random
import time

from harness.chaos import ROUND_SECONDS, Chaos, World
from harness.runner import case

SEED = "ZKE_SEED"


@case("three servers under chaos")
def three(world: World) -> str:
    """Links, processes, disks and clocks of three."""
    return chaos(world, 3)


@case("five servers under chaos")
def five(world: World) -> str:
    """The same with five, where two at once may be missing."""
    return chaos(world, 5)


def chaos(world: World, size: int) -> str:
    """Round after round on the same servers until the time is over."""
    seed = int(os.environ.get(SEED, random.randrange(1_000_000)))
    chaos = world.chaos(size, random.Random(seed))
    end, seen = time.monotonic() + world.seconds, []
    try:
        while not seen or time.monotonic() < end:
            seen.append(chaos.round(min(ROUND_SECONDS, world.seconds)))
    except Exception as error:
        raise AssertionError(f"{SEED}={seed}: round {len(seen) + 1}: {error}; faults: {told(chaos)}") from error
    loads, registers = zip(*seen, strict=True)
    recovery, fault = chaos.longest_recovery
    return (
        f"{SEED}={seed}: {len(seen)} rounds, {chaos.faults.total()} faults ({told(chaos)}); "
        f"{sum(load.acknowledged for load in loads) + sum(each.overwrites for each in registers)} writes acknowledged, each where it must be; "
        f"{sum(load.unknown for load in loads) + sum(each.unknown for each in registers)} unknown; "
        f"{sum(load.reads for load in loads) + sum(each.reads for each in registers)} reads and "
        f"{sum(load.watch_events for load in loads) + sum(each.watch_events for each in registers)} watch events in their place; "
        f"{sum(each.sessions_left for each in registers)} sessions left or closed and their znodes gone in time; no violation; "
        f"longest stall {max(load.longest_stall_seconds for load in loads):.1f} s; longest recovery {recovery:.1f} s, from {fault}"
    )


def told(chaos: Chaos) -> str:
    """How often each fault was injected."""
    return ", ".join(f"{name} {count}" for name, count in chaos.faults.most_common())
