"""What a figure depends on: the machine, its kernel, the versions."""

import os
import platform
from pathlib import Path

from . import places
from .shell import CommandFailed, run


def facts(disk: Path) -> dict[str, str]:
    """Name and value of everything that a reader needs to judge the figures."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return {
        "commit": _commit(),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {_memory_gib():.0f} GiB of memory",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "disk": _first_line(["findmnt", "--noheadings", "--output", "SOURCE,FSTYPE,OPTIONS", "--target", str(disk)]),
        "Rust": _first_line(["rustc", "--version"]),
        "Java": _first_line(["java", "--version"]),
        "load average before": load,
    }


def _commit() -> str:
    commit = _first_line(["git", "-C", str(places.REPOSITORY), "describe", "--always", "--dirty", "--abbrev=12"])
    return commit.replace("-dirty", " with changes")


def _processor() -> str:
    names = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _first_line(command: list[str]) -> str:
    """The first line that a program prints, or that it cannot be asked."""
    try:
        return " ".join(run(command, cwd=places.REPOSITORY).strip().splitlines()[0].split())
    except (CommandFailed, IndexError):
        return f"unknown ({command[0]} did not say)"
