"""Power cuts (STO-21): servers are killed on disks that then lose what was not synced, and nothing acknowledged is lost with it.

These disks also interrupt writes and take half of them (STO-07), and fail on request (STO-06, STO-08, STO-15).
"""

import errno
import os
import random
from pathlib import Path

from harness import build, lossy
from harness.load import close, connect, numbers
from harness.lossy import LossyDisk
from harness.processes import Group, Processes
from harness.runner import case
from harness.shell import wait_for

POWER_CUTS, POWER_CUTS_ALL = 10, 50
RECOVERY_SECONDS = 60
EXIT_DISK = 10
# What fails, how, and whether only once: a server that tried again would find that all is well.
FAILURES = (("sync", errno.EIO, True), ("write", errno.EIO, True), ("open,write,sync,truncate,rename,unlink", errno.EROFS, False))
# Small files, so that logs, snapshots and epochs are begun all the time.
SMALL = {"preAllocSize": "64", "snapCount": "60", "autopurge__purgeInterval": "1", "txnLogSizeLimitInKb": "24", "tickTime": "300"}


@case("power cuts under load")
def power_cuts(world: Processes) -> str:
    """kill -9 of one server, of the leader, mostly of all, on disks that lose what was not synced: every acknowledged write is there in the end."""
    seed = random.SystemRandom().randrange(1 << 32)
    count = POWER_CUTS_ALL if world.thorough else POWER_CUTS
    group, disks = lossy_group(world, seed)
    chance = random.Random(seed)
    try:
        lost = kills = 0
        with group.load() as load:
            for _ in range(count):
                load.wait_for_writes(chance.randrange(20, 80), RECOVERY_SECONDS)
                victims = chance.choice([disks, disks, [chance.choice(disks)], [disk_of_leader(group, disks)]])
                lost += sum(disk.cut_power() for disk in victims)
                kills += len(victims)
                for disk in victims:
                    disk.start()
            load.wait_for_writes(100, RECOVERY_SECONDS)
            summary = load.finish()
        assert lost, "no disk lost anything: the power cuts prove nothing"
        return f"{count} power cuts, {kills} servers killed, {lost} files set back; {summary}; {group.agree()}; seed {seed}"
    except Exception as error:
        error.add_note(f"seed {seed}")
        raise


@case("power cuts on disks that ignore syncs")
def ignored_syncs(world: Processes) -> str:
    """The judge's own test: where a sync makes nothing durable, acknowledged writes are lost, and that is noticed."""
    group, disks = lossy_group(world, 1, forgets_syncs=True)
    with group.load() as load:
        load.wait_for_writes(100, RECOVERY_SECONDS)
        for disk in disks:
            disk.cut_power(keeps=0.0)
        acknowledged, parent = load.history.acknowledged_numbers(), f"{load.root}/log"
    for disk in disks:
        disk.start()
    group.agree()
    client = connect(group.hosts())
    try:
        missing = acknowledged - (numbers(client, parent) if client.exists(parent) else set())
    finally:
        close(client)
    assert missing, "no sync made anything durable, and nothing is missing after the power cut"
    return f"{len(missing)} of {len(acknowledged)} acknowledged writes are gone, as they should be"


@case("disks that fail under load")
def failures(world: Processes) -> str:
    """A sync or a write fails once, or the disk is read-only all at once, of a follower and of the leader: the server ends at once, and its power is cut."""
    seed = random.SystemRandom().randrange(1 << 32)
    group, disks = lossy_group(world, seed)
    said = []
    with group.load() as load:
        for kinds, error, once in FAILURES:
            for leads in (False, True):
                load.wait_for_writes(30, RECOVERY_SECONDS)
                group.agree_on_roles()
                leader = disk_of_leader(group, disks)
                disk = leader if leads else next(disk for disk in disks if disk is not leader)
                offset = len(disk.server.said())
                disk.fail(kinds, error, once=once)
                wait_for(f"server {disk.server.myid} to end", RECOVERY_SECONDS, lambda disk=disk: not disk.server.alive(), every=0.05)
                assert disk.server.process
                code = disk.server.process.returncode
                disk.cut_power()
                told = next((line for line in disk.server.said(offset).splitlines() if "the store failed" in line), "")
                assert code == EXIT_DISK, f"it ended with {code}; seed {seed}"
                assert os.strerror(error) in told, f"it did not say why: {told!r}; seed {seed}"
                said.append(f"{errno.errorcode[error]} of {kinds.split(',')[0]} {'leading' if leads else 'following'}")
                load.wait_for_writes(30, RECOVERY_SECONDS)
                disk.start()
        load.wait_for_writes(100, RECOVERY_SECONDS)
        summary = load.finish()
    return f"{', '.join(said)}: ended with {EXIT_DISK}; {summary}; {group.agree()}; seed {seed}"


def lossy_group(world: Processes, seed: int, *, forgets_syncs: bool = False) -> tuple[Group, list[LossyDisk]]:
    """Three servers on lossy disks, started."""
    folder = Path(world.folder)
    library, binary = lossy.build(folder), build.dynamic_binary("ensemble", folder / "build.log")
    group = world.group(3)
    for server in group.servers:
        server.binary = binary
        server.configure([other.line() for other in group.servers], **SMALL)
    disks = [LossyDisk(server, library, seed + server.myid, forgets_syncs=forgets_syncs) for server in group.servers]
    for disk in disks:
        disk.start()
    group.agree()
    return group, disks


def disk_of_leader(group: Group, disks: list[LossyDisk]) -> LossyDisk:
    """The disk of the server that leads."""
    leader = group.leader()
    return next(disk for disk in disks if disk.server is leader)
