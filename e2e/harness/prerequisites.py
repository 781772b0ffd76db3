"""Programs that a level needs from the system: installed by apt as root, otherwise named."""

import os
import shutil
import threading
import time

from .shell import CommandFailed, run


class Missing(Exception):
    """Programs are missing and cannot be installed by this user. The message says what to install."""


# Program -> Debian's package.
PACKAGES = {
    "busybox": "busybox-static",
    "cc": "gcc",
    "containerd": "containerd",
    "docker": "docker.io",
    "dockerd": "docker.io",
    "gcc": "gcc",
    "ip": "iproute2",
    "iptables": "iptables",
    "java": "default-jre-headless",
    "jq": "jq",
    "ldd": "libc-bin",
    "mmdebstrap": "mmdebstrap",
    "mvn": "maven",
    "nsenter": "util-linux",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "runc": "runc",
    "setpriv": "util-linux",
    "sysctl": "procps",
    "unshare": "util-linux",
}

# Levels are prepared in threads, and apt does one thing at a time.
ONE_AT_A_TIME = threading.Lock()
# Others use apt as well, the system's own upgrades above all: they are waited for.
LOCKED = "Could not get lock"
APT_WAIT_SECONDS = 600.0
APT_PAUSE_SECONDS = 2.0

# sbin is not on every PATH, and programs installed a moment ago are looked for as well.
SEARCH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def require(*programs: str) -> None:
    """Makes sure that programs are there. Raises Missing."""
    with ONE_AT_A_TIME:
        missing = [program for program in programs if not shutil.which(program, path=SEARCH)]
        if missing:
            _install(missing)


def _install(missing: list[str]) -> None:
    packages = sorted({PACKAGES[program] for program in missing if program in PACKAGES})
    nameless = [program for program in missing if program not in PACKAGES]
    if nameless:
        raise Missing(f"not on the PATH: {', '.join(nameless)}")
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Missing(f"not on the PATH: {', '.join(missing)}; install them (Debian: sudo apt-get install {' '.join(packages)}) or run as root")
    print(f"  installing {' '.join(packages)}", flush=True)
    _apt_get("update", "-qq")
    _apt_get("install", "-y", "-qq", "--no-install-recommends", *packages)


def _apt_get(*words: str) -> None:
    """Runs apt-get, and again as long as somebody else holds a lock of apt. Raises CommandFailed."""
    deadline = time.monotonic() + APT_WAIT_SECONDS
    while True:
        try:
            run(["apt-get", *words], env={"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"})
            return
        except CommandFailed as error:
            if LOCKED not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(APT_PAUSE_SECONDS)
