"""Servers die under load and come back: nothing acknowledged is lost, and the others do not wait."""

from harness.load import SESSION_SECONDS, Load, Summary
from harness.processes import Processes
from harness.runner import case

RECOVERY_SECONDS = 60
# A server answers who comes, or sends him away. Whoever waits for longer was left alone until his client gave the server up, which kazoo does after a third of
# the session's timeout.
STALL_SECONDS_MAX = SESSION_SECONDS / 3


def finish(load: Load) -> Summary:
    """The load's end, judged; and nobody was left without an answer."""
    summary = load.finish()
    assert summary.longest_stall_seconds < STALL_SECONDS_MAX, f"a client was left alone: {summary}"
    return summary


@case("crash of the leader")
def leader(world: Processes) -> str:
    """kill -9 of the leader, twice; each returns and agrees."""
    with world.three() as group, group.load() as load:
        load.wait_for_writes(200, 60)
        stalls = []
        for _ in range(2):
            victim = group.leader()
            victim.kill()
            stalls.append(load.wait_for_writes(50, RECOVERY_SECONDS))
            victim.start()
            group.agree_on_roles()
            load.wait_for_writes(100, RECOVERY_SECONDS)
        summary = finish(load)
        return f"50 writes after {', '.join(f'{stall:.1f} s' for stall in stalls)}; {summary}; {group.agree()}"


@case("crash of a follower")
def follower(world: Processes) -> str:
    """kill -9 of a follower: the majority goes on, and it catches up."""
    with world.three() as group, group.load() as load:
        load.wait_for_writes(100, 60)
        victim = group.follower()
        victim.kill()
        load.wait_for_writes(300, RECOVERY_SECONDS)
        victim.start()
        group.agree_on_roles()
        load.wait_for_writes(100, RECOVERY_SECONDS)
        summary = finish(load)
        return f"{summary}; {group.agree()}"


@case("crash of all")
def everyone(world: Processes) -> str:
    """kill -9 of all three in the middle of writes, three times."""
    with world.three() as group, group.load() as load:
        for _ in range(3):
            load.wait_for_writes(100, RECOVERY_SECONDS)
            for server in group.servers:
                server.kill()
            for server in group.servers:
                server.start()
        load.wait_for_writes(100, RECOVERY_SECONDS)
        summary = finish(load)
        return f"{summary}; {group.agree()}"


@case("stop by SIGTERM")
def graceful(world: Processes) -> str:
    """Each server in turn is told to stop, ends with code 0 and comes back."""
    with world.three() as group, group.load() as load:
        for server in group.servers:
            load.wait_for_writes(100, RECOVERY_SECONDS)
            code = server.stop()
            assert code == 0, f"server {server.myid} ended with code {code}: {server.said()[-500:]}"
            server.start()
            group.agree_on_roles()
        load.wait_for_writes(100, RECOVERY_SECONDS)
        summary = finish(load)
        return f"{summary}; {group.agree()}"
