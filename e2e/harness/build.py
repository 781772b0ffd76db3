"""The binaries and the image, from this repository."""

import os
import shutil
import tempfile
from pathlib import Path

from . import places
from .engine import Engine
from .shell import CommandFailed, run

IMAGE = "zookeeper-ensemble:dev"
BROKEN_IMAGE = "zookeeper-ensemble:broken"
TARGET = "x86_64-unknown-linux-gnu"
# What is in the image, and beside it the plugin, which runs on a person's machine: each program's package.
PROGRAMS = {"ensemble": "ensemble-server", "operator": "operator-controller", "zk": "ensemble-zk"}
PACKAGES = {**PROGRAMS, "kubectl-zke": "operator-kubectl"}
IMAGE_BYTES_MAX = 30_000_000


def cargo_env() -> dict[str, str]:
    """What every cargo of the harness is given. Servers say in `ensemble_build_info` which commit they are of. Nothing is debugged or built again after a small change:
    what that needs would take most of the disk."""
    named = {"ENSEMBLE_COMMIT": os.environ.get("ENSEMBLE_COMMIT") or commit(places.REPOSITORY)}
    return {**named, "CARGO_TARGET_DIR": str(places.TARGET), "CARGO_INCREMENTAL": "0", "CARGO_PROFILE_DEV_DEBUG": "none"}


def commit(repository: Path) -> str:
    """The commit that is checked out, with `-dirty` where a file of it was changed; nothing where there is no repository."""
    try:
        return run(["git", "-C", repository, "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]).strip()
    except CommandFailed:
        return ""


def static_env() -> dict[str, str]:
    """What a cargo that makes static binaries is given: a binary of `FROM scratch` has no libc to load."""
    return {**cargo_env(), "RUSTFLAGS": "-C target-feature=+crt-static"}


def binary(program: str, log: Path) -> Path:
    """Builds a static release binary and returns its path."""
    arguments = ["build", "--release", "--locked", "--target", TARGET, "--package", PACKAGES[program], "--bin", program]
    run(["cargo", *arguments], cwd=places.REPOSITORY, env=static_env(), log=log)
    return places.TARGET / TARGET / "release" / program


def dynamic_binary(program: str, log: Path) -> Path:
    """Builds a debug binary that loads libc, so that something can be put before it, and with every assertion on. Returns its path."""
    run(["cargo", "build", "--locked", "--package", PROGRAMS[program], "--bin", program], cwd=places.REPOSITORY, env=cargo_env(), log=log)
    return places.TARGET / "debug" / program


def plugin(log: Path) -> Path:
    """Builds `kubectl-zke` and returns its path."""
    return binary("kubectl-zke", log)


def binaries(log: Path) -> dict[str, Path]:
    """Builds all of them. One cargo run each: features of one must not leak into the other."""
    return {program: binary(program, log) for program in PROGRAMS}


def image(engine: Engine, log: Path) -> str:
    """Builds the image from the binaries that cargo just built, and returns its size in words."""
    built = binaries(log)
    with tempfile.TemporaryDirectory(prefix="zke-image.") as folder:
        for program, path in built.items():
            run(["strip", "-o", Path(folder) / program, path])
        shutil.copy(places.REPOSITORY / "Dockerfile", folder)
        run(["docker", "build", "--target", "prebuilt", "--tag", IMAGE, folder], env=engine.env, log=log)
    return check_size(engine)


def broken_image(engine: Engine, log: Path) -> str:
    """Builds the image of an operator that can be broken, `OPERATOR_MUTANT`, and returns its name."""
    programs = binaries(log)
    with tempfile.TemporaryDirectory(prefix="zke-image.") as folder:
        for program in ("ensemble", "zk"):
            run(["strip", "-o", Path(folder) / program, programs[program]])
        arguments = ["build", "--release", "--locked", "--target", TARGET, "--package", PROGRAMS["operator"], "--bin", "operator", "--features", "mutants"]
        run(["cargo", *arguments], cwd=places.REPOSITORY, env=static_env(), log=log)
        run(["strip", "-o", Path(folder) / "operator", programs["operator"]])
        shutil.copy(places.REPOSITORY / "Dockerfile", folder)
        run(["docker", "build", "--target", "prebuilt", "--tag", BROKEN_IMAGE, folder], env=engine.env, log=log)
    return BROKEN_IMAGE


def image_from_source(engine: Engine, log: Path) -> str:
    """Builds the image as a stranger would, from the Dockerfile's compiling stage, and returns its size in words."""
    run(["docker", "build", "--tag", IMAGE, "--build-arg", f"ENSEMBLE_COMMIT={commit(places.REPOSITORY)}", "."], cwd=places.REPOSITORY, env=engine.env, log=log)
    return check_size(engine)


def check_size(engine: Engine) -> str:
    """The image's size in words. Raises AssertionError when it is over the limit."""
    size = int(run(["docker", "image", "inspect", "--format", "{{.Size}}", IMAGE], env=engine.env))
    assert size <= IMAGE_BYTES_MAX, f"image {IMAGE} has {size / 1e6:.1f} MB, at most {IMAGE_BYTES_MAX / 1e6:.0f} MB are allowed"
    return f"{size / 1e6:.1f} MB"
