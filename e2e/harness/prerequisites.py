"""Programs that a level needs from the system: installed by apt as root, otherwise named."""

import os
import shutil

from .shell import run


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

# sbin is not on every PATH, and programs installed a moment ago are looked for as well.
SEARCH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def require(*programs: str) -> None:
    """Makes sure that programs are there. Raises Missing."""
    missing = [program for program in programs if not shutil.which(program, path=SEARCH)]
    if not missing:
        return
    packages = sorted({PACKAGES[program] for program in missing if program in PACKAGES})
    nameless = [program for program in missing if program not in PACKAGES]
    if nameless:
        raise Missing(f"not on the PATH: {', '.join(nameless)}")
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Missing(f"not on the PATH: {', '.join(missing)}; install them (Debian: sudo apt-get install {' '.join(packages)}) or run as root")
    print(f"  installing {' '.join(packages)}", flush=True)
    run(["apt-get", "update", "-qq"])
    run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], env={"DEBIAN_FRONTEND": "noninteractive"})
