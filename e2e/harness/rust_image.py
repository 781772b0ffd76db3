"""The Dockerfile's compiling stage where no registry answers: an image by the name that it asks for, made of Debian's linker and this machine's toolchain.

The network namespace of a private engine leads nowhere, so the image also has the sources of every crate that Cargo.lock names, and cargo is told to
stay offline.
"""

import os
import re
import subprocess
import tarfile
from pathlib import Path

from . import places, versions
from .build import cargo_env
from .engine import PrivateEngine
from .node_image import cached
from .prerequisites import require
from .shell import run, succeeds

PACKAGES = "binutils,ca-certificates,gcc,libc6-dev"
TOOLCHAIN_AT, CARGO_HOME_AT = "usr/local/rust", "usr/local/cargo"

# Parts of a toolchain that compile nothing.
LEFT_OUT = ("share/doc", "share/man", "lib/rustlib/src")


def offer(engine: PrivateEngine, log: Path) -> None:
    """Makes the image unless the engine has it."""
    name = _wanted()
    if succeeds(["docker", "image", "inspect", name], env=engine.env):
        return
    require("mmdebstrap")
    run(["cargo", "fetch", "--locked"], cwd=places.REPOSITORY, env=cargo_env(), log=log)
    toolchain = Path(run(["rustc", "--print", "sysroot"], cwd=places.REPOSITORY).strip())
    cargo_home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    environment = {"PATH": f"/{TOOLCHAIN_AT}/bin:/usr/bin:/bin", "CARGO_HOME": f"/{CARGO_HOME_AT}", "CARGO_NET_OFFLINE": "true"}
    changes = [word for key, value in environment.items() for word in ("-c", f"ENV {key}={value}")]
    importing = subprocess.Popen(["docker", "import", *changes, "-", name], stdin=subprocess.PIPE, env={**os.environ, **engine.env}, stdout=subprocess.DEVNULL)
    assert importing.stdin
    with tarfile.open(fileobj=importing.stdin, mode="w|") as image:
        with tarfile.open(_debian(log)) as debian:
            for member in debian:
                image.addfile(member, debian.extractfile(member) if member.isreg() else None)
        image.add(toolchain, TOOLCHAIN_AT, filter=_without_documents)
        for part in ("registry/cache", "registry/index"):
            image.add(cargo_home / part, f"{CARGO_HOME_AT}/{part}")
    importing.stdin.close()
    if importing.wait() != 0:
        raise RuntimeError(f"docker import {name} failed")


def _wanted() -> str:
    """The compiling stage's base image."""
    stage = re.search(r"^FROM (rust:\S+) AS build$", (places.REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)
    assert stage, "the Dockerfile has no stage `FROM rust:… AS build`"
    return stage.group(1)


def _debian(log: Path) -> Path:
    def make(out: Path) -> None:
        run(["mmdebstrap", "--quiet", "--mode=root", "--format=tar", "--variant=minbase", f"--include={PACKAGES}", versions.DEBIAN, out], log=log)

    return cached(f"{versions.DEBIAN}-compiler.tar", make)


def _without_documents(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    inside = member.name.removeprefix(TOOLCHAIN_AT).lstrip("/")
    return None if inside.startswith(LEFT_OUT) else member
