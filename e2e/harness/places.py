"""Where files go. Nothing is written into the repository."""

import os
import shutil
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
E2E = REPOSITORY / "e2e"

CACHE = Path(os.environ["ZKE_CACHE"]).resolve() if "ZKE_CACHE" in os.environ else Path.home() / ".cache" / "zookeeper-ensemble"
BIN = CACHE / "bin"

# Cargo's own target folder would be lost with each fresh clone; dependencies are then compiled once a toolchain, not once a clone.
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", CACHE / "target")).resolve()

# The engine's state must lie on a file system on which overlayfs works.
ENGINE = CACHE / "engine"

ARTIFACTS_KEPT = 10

# What a whole run leaves here that began with nothing, and a case of it needs for a while.
ROOM_BYTES = 20 << 30


def artifacts() -> Path:
    """A folder for this run's logs and the remains of failed scenarios; the oldest runs' are deleted."""
    parent = CACHE / "artifacts"
    parent.mkdir(parents=True, exist_ok=True)
    for old in sorted(parent.iterdir())[:-ARTIFACTS_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    folder = parent / time.strftime("%Y%m%d-%H%M%S")
    folder.mkdir(exist_ok=True)
    return folder


def warn_of_little_room() -> None:
    """Says so when a whole run may fill the disk: what fails then seldom says why."""
    free = shutil.disk_usage(CACHE).free
    if free < ROOM_BYTES:
        print(f"warning: {free / 2**30:.1f} GiB are free at {CACHE}; a whole run that begins with nothing takes {ROOM_BYTES >> 30}")
