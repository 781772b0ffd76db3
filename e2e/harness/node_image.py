"""kind's node image where no registry serves it: built from Go modules, Debian packages, and kind's own node files.

    Go modules ──► k8s, coredns, local-path-provisioner ─┐
    pause.c ─────► pause ────────────────────────────────┼─► ten images that kubeadm and kind expect ─┐
    mmdebstrap ──► Debian with systemd and containerd ───┴─► root file system, kind's files on top ───┴─► docker import

Binaries and the Debian root are cached by version; the finished image is kept by the engine under a tag that has a digest of everything that goes in.
"""

import contextlib
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from . import archive, places, versions
from .engine import PrivateEngine
from .prerequisites import require
from .shell import run, succeeds, wait_for

SOURCES = places.E2E / "node"
KIND_MODULE = "sigs.k8s.io/kind"
KUBERNETES_SOURCES = SOURCES / "kubernetes"
PACKAGES = (
    "bash,ca-certificates,conntrack,containerd,containernetworking-plugins,curl,dbus,ethtool,iproute2,iptables,iputils-ping,jq,kmod,libseccomp2,mount,"
    "nftables,procps,runc,systemd,systemd-sysv,util-linux"
)
LIBRARIES = "usr/lib/x86_64-linux-gnu"
LINKED_COMMANDS = "etcd kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubectl kindnetd".split()
IPTABLES_COMMANDS = "iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore iptables-nft iptables-nft-save".split()

# systemd units that make no sense in a container or reach out of it.
UNWANTED_UNITS = (
    "lib/systemd/system/multi-user.target.wants/*",
    "etc/systemd/system/*.wants/*",
    "lib/systemd/system/local-fs.target.wants/*",
    "lib/systemd/system/sockets.target.wants/*udev*",
    "lib/systemd/system/sockets.target.wants/*initctl*",
    "lib/systemd/system/basic.target.wants/*",
    "lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service",
    "usr/lib/sysctl.d/*",  # a node must not change settings of the whole machine
    "etc/sysctl.d/99-*",
)


def tag() -> str:
    """The image's name; differs whenever anything that goes in differs."""
    digest = hashlib.sha256()
    for file in sorted([*SOURCES.rglob("*"), Path(__file__), Path(archive.__file__), Path(versions.__file__)]):
        if file.is_file():
            digest.update(file.read_bytes())
    return f"kindest/node:zke-v{versions.KUBERNETES}-{digest.hexdigest()[:12]}"


def prepare(log: Path) -> None:
    """Makes everything that needs no engine: the slow part. Safe to run while something else is compiled."""
    require("mmdebstrap", "gcc")
    places.BIN.mkdir(parents=True, exist_ok=True)
    kind(log)
    _kubernetes(log)
    _coredns(log)
    _local_path_provisioner(log)
    _pause(log)
    _debian(log)


def build(engine: PrivateEngine, log: Path) -> str:
    """Makes the image in a running engine unless it is there, and returns its name."""
    name = tag()
    if succeeds(["docker", "image", "inspect", name], env=engine.env):
        return name
    require("mmdebstrap", "gcc", "jq", "containerd", "busybox", "ldd")
    prepare(log)
    work = places.CACHE / f"node-build.{os.getpid()}"
    try:
        root = work / "root"
        root.mkdir(parents=True)
        run(["tar", "-C", root, "--xattrs", "--xattrs-include=*", "-xf", _debian(log)], log=log)
        _write_images(work / "images.tar", root, log)
        _lay_out(root, log)
        _preload(root, work, log)
        _import(engine, root, name, log)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return name


def kind(log: Path) -> Path:
    """The program `kind`."""
    return go_install(KIND_MODULE, versions.KIND, log)


def kubectl(log: Path) -> Path:
    """A kubectl of exactly the cluster's version: the Kubernetes binary by another name."""
    binary = _kubernetes(log)
    link = binary.with_name(f"{binary.name}.kubectl") / "kubectl"
    link.parent.mkdir(exist_ok=True)
    if not link.exists():
        link.symlink_to(binary)
    return link


def _kubernetes(log: Path) -> Path:
    files = sorted(file for file in KUBERNETES_SOURCES.iterdir() if file.suffix in {".go", ".mod", ".sum"})
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
    version = versions.KUBERNETES
    major, minor, _ = version.split(".")
    # kubelet and kubeadm refuse to work together when they do not know their version
    stamps = {
        "k8s.io/component-base/version.gitVersion": f"v{version}",
        "k8s.io/component-base/version.gitMajor": major,
        "k8s.io/component-base/version.gitMinor": minor,
        "k8s.io/client-go/pkg/version.gitVersion": f"v{version}",
    }
    flags = " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in stamps.items())])

    def make(out: Path) -> None:
        run(["go", "build", "-trimpath", f"-ldflags={flags}", "-o", out, "."], cwd=KUBERNETES_SOURCES, env={"CGO_ENABLED": "0"}, log=log)

    return cached(f"k8s-{version}-{digest}", make)


def _coredns(log: Path) -> Path:
    return go_install("github.com/coredns/coredns", versions.COREDNS, log)


def _local_path_provisioner(log: Path) -> Path:
    return go_install("github.com/rancher/local-path-provisioner", versions.LOCAL_PATH_PROVISIONER, log)


def go_install(module: str, version: str, log: Path) -> Path:
    """A program that go installs from its module, once."""
    name = module.rsplit("/", 1)[-1]

    def make(out: Path) -> None:
        folder = out.with_suffix(".install")
        run(["go", "install", "-trimpath", "-ldflags=-s", f"{module}@v{version}"], env={"CGO_ENABLED": "0", "GOBIN": str(folder)}, log=log)
        (folder / name).rename(out)
        folder.rmdir()

    return cached(f"{name}-{version}", make)


@functools.cache
def sources(module: str, version: str) -> Path:
    """The folder of a Go module's sources, fetched where it is missing."""
    return Path(json.loads(run(["go", "mod", "download", "-json", f"{module}@v{version}"], cwd=places.CACHE))["Dir"])


def _pause(log: Path) -> Path:
    source = SOURCES / "pause.c"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    return cached(f"pause-{digest}", lambda out: run(["gcc", "-Os", "-static", "-o", out, source], log=log))


def _debian(log: Path) -> Path:
    digest = hashlib.sha256(PACKAGES.encode()).hexdigest()[:12]

    def make(out: Path) -> None:
        excluded = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("man", "locale", "doc")]
        packages = ["--variant=minbase", "--aptopt=APT::Install-Recommends \"false\"", f"--include={PACKAGES}"]
        run(["mmdebstrap", "--quiet", "--mode=root", "--format=tar", *packages, *excluded, versions.DEBIAN, out], log=log)

    return cached(f"{versions.DEBIAN}-{digest}.tar", make)


def cached(name: str, make) -> Path:
    """A file of the cache, made under another name first so that an interrupted run leaves no half."""
    path = places.BIN / name
    if not path.exists():
        places.BIN.mkdir(parents=True, exist_ok=True)
        part = places.BIN / f".{name}.{os.getpid()}"
        make(part)
        part.rename(path)
    return path


def _write_images(out: Path, debian: Path, log: Path) -> None:
    base, kubernetes, tools = _base_layer(), _kubernetes_layer(log), _busybox_layer()
    core, version = "registry.k8s.io", f"v{versions.KUBERNETES}"

    def program(path: Path, at: str) -> archive.FinishedLayer:
        layer = archive.Layer()
        layer.file(path, at)
        return layer.finish()

    images = [
        archive.Image([f"{core}/pause:3.10.1", f"{core}/pause:3.10"], [program(_pause(log), "pause")], entrypoint=["/pause"]),
        archive.Image([f"{core}/etcd:3.6.5-0"], [base, kubernetes], command=["etcd"]),
        archive.Image([f"{core}/kube-proxy:{version}"], [base, kubernetes, tools, _iptables_layer(debian)], command=["kube-proxy"]),
        archive.Image([f"{core}/coredns/coredns:v1.12.1"], [base, program(_coredns(log), "coredns")], entrypoint=["/coredns"]),
        archive.Image(["docker.io/kindest/kindnetd:v20250512-df8de77b"], [base, kubernetes], entrypoint=["/usr/local/bin/kindnetd"]),
        archive.Image(
            ["docker.io/kindest/local-path-provisioner:v20250214-acbabc1a"],
            [base, program(_local_path_provisioner(log), "usr/local/bin/local-path-provisioner")],
            entrypoint=["local-path-provisioner"],
        ),
        archive.Image(["docker.io/kindest/local-path-helper:v20241212-8ac705d0"], [base, tools], command=["sh"]),
    ]
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler"):
        images.append(archive.Image([f"{core}/{name}:{version}"], [base, kubernetes], command=[name]))
    archive.write(out, images)


def _base_layer() -> archive.FinishedLayer:
    layer = archive.Layer()
    layer.directory("tmp", 0o1777)
    for directory in ("etc", "var", "run", "root"):
        layer.directory(directory)
    layer.file(b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n", "etc/passwd", 0o644)
    layer.file(b"root:x:0:\nnogroup:x:65534:\n", "etc/group", 0o644)
    return layer.finish()


def _kubernetes_layer(log: Path) -> archive.FinishedLayer:
    layer = archive.Layer()
    layer.file(_kubernetes(log), "usr/local/bin/k8s")
    for name in LINKED_COMMANDS:
        layer.link("k8s", f"usr/local/bin/{name}")
    return layer.finish()


def _busybox_layer() -> archive.FinishedLayer:
    binary = Path(shutil.which("busybox") or "/bin/busybox")
    layer = archive.Layer()
    layer.file(binary, "bin/busybox")
    for applet in run([binary, "--list"]).split():
        if applet != "busybox":
            layer.link("busybox", f"bin/{applet}")
    return layer.finish()


def _iptables_layer(debian: Path) -> archive.FinishedLayer:
    """iptables, nft and conntrack with their libraries; the plugins are asked for theirs as well (libxt_statistic needs libm)."""
    programs = [debian / "usr/sbin" / name for name in ("xtables-nft-multi", "nft", "conntrack")]
    plugins = sorted((debian / LIBRARIES / "xtables").glob("*.so"))
    needed: set[str] = set()
    for file in [*programs, *plugins]:
        needed.update(re.findall(r"(/lib\S+)", subprocess.run(["ldd", file], capture_output=True, text=True).stdout))
    layer = archive.Layer()
    for directory in ("lib", "lib64"):
        layer.directory(f"usr/{directory}")
        layer.link(f"usr/{directory}", directory)
    layer.directory(LIBRARIES)
    for file in programs:
        layer.file(file, f"usr/sbin/{file.name}")
    for library in sorted(needed):
        layer.file((debian / f"usr{library}").resolve(), f"usr{library}")
    for file in plugins:
        layer.file(file.resolve(), str(file.relative_to(debian)), 0o644)
    for name in IPTABLES_COMMANDS:
        layer.link("xtables-nft-multi", f"usr/sbin/{name}")
    return layer.finish()


def _lay_out(root: Path, log: Path) -> None:
    """Turns a Debian root into a node: what kind's own Dockerfile does."""
    files = sources(KIND_MODULE, versions.KIND) / "images/base/files"
    for pattern in UNWANTED_UNITS:
        for file in root.glob(pattern):
            file.unlink()
    for file in sorted(path for part in ("etc", "kind/bin", "usr") for path in (files / part).rglob("*") if path.is_file()):
        place = root / file.relative_to(files)
        executable = "bin" in file.relative_to(files).parts
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
        place.chmod(0o755 if executable else 0o644)
    for directory in ("kind/manifests", "opt/cni", "etc/cni/net.d", "etc/kubernetes/manifests", "var/lib/containerd"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    with (root / "etc/systemd/journald.conf").open("a") as config:
        config.write("ReadKMsg=no\n")
    for name in ("containerd", "containerd-shim-runc-v2", "ctr"):
        (root / "usr/local/bin" / name).symlink_to(f"/usr/bin/{name}")
    (root / "opt/cni/bin").symlink_to("/usr/lib/cni")
    shutil.copy(_kubernetes(log), root / "usr/bin/k8s")
    for name in ("kubeadm", "kubelet", "kubectl"):
        (root / "usr/bin" / name).symlink_to("k8s")
    (root / "kind/version").write_text(f"v{versions.KUBERNETES}")
    run(["chroot", root, "systemctl", "-q", "enable", "kubelet.service", "containerd.service", "undo-mount-hacks.service"], log=log)
    run(["chroot", root, "systemctl", "-q", "mask", "systemd-binfmt.service"], log=log)
    _configure_containerd(root)
    _write_manifests(root)


def _configure_containerd(root: Path) -> None:
    spec = json.loads(run(["chroot", root, "ctr", "oci", "spec"]))
    spec.setdefault("hooks", {}).setdefault("createContainer", []).append({"path": "/kind/bin/mount-product-files.sh"})
    spec["process"].pop("rlimits", None)  # raising a limit needs CAP_SYS_RESOURCE, which a machine may lack; so does lowering oom_score_adj
    (root / "etc/containerd/cri-base.json").write_text(json.dumps(spec))
    config = root / "etc/containerd/config.toml"
    config.write_text(config.read_text().replace("restrict_oom_score_adj = false", "restrict_oom_score_adj = true"))


def _write_manifests(root: Path) -> None:
    """kind's manifests for pod network and storage are constants in its Go source, in pieces joined by `+`."""
    folder = sources(KIND_MODULE, versions.KIND) / "pkg/build/nodeimage"
    for source, name, file in (
        ("const_cni.go", "defaultCNIManifest", "default-cni.yaml"),
        ("const_storage.go", "defaultStorageManifest", "default-storage.yaml"),
    ):
        text = (folder / source).read_text()
        constants = dict(re.findall(r'const (\w+) = "([^"]+)"', text))
        manifest = text.split(f"const {name} = `", 1)[1].rstrip().rstrip("`")
        manifest = re.sub(r"` \+ (\w+) \+ `", lambda match: constants[match.group(1)], manifest)
        (root / "kind/manifests" / file).write_text(manifest)


def _preload(root: Path, work: Path, log: Path) -> None:
    """Fills the node's containerd with the images, by a containerd of our own whose root becomes the node's."""
    with _containerd(root / "var/lib/containerd", work, log) as ctr:
        archive_file = work / "images.tar"
        pinned = "--label=io.cri-containerd.pinned=pinned"
        run([*ctr, "images", "import", pinned, "--all-platforms", "--digests", archive_file], log=log)
        for line in run([*ctr, "content", "ls"]).splitlines():
            if "containerd.io/uncompressed" in line:  # the layers are unpacked: the packed ones would be dead weight
                run([*ctr, "content", "rm", line.split()[0]], log=log)
    for socket in (root / "var/lib/containerd").rglob("*.sock"):
        socket.unlink()


@contextlib.contextmanager
def _containerd(store: Path, work: Path, log: Path) -> Iterator[list[str]]:
    socket, config = work / "containerd.sock", work / "containerd.toml"
    config.write_text(
        f'version = 2\nroot = "{store}"\nstate = "{work / "containerd"}"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
        f'[grpc]\n  address = "{socket}"\n'
    )
    with log.open("ab") as out:
        process = subprocess.Popen(["containerd", "-c", config], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        ctr = ["ctr", "-a", str(socket), "-n", "k8s.io"]
        wait_for("containerd", 30, lambda: succeeds([*ctr, "version"]))
        yield ctr
    finally:
        process.terminate()
        process.wait()


def _import(engine: PrivateEngine, root: Path, name: str, log: Path) -> None:
    changes = ['ENTRYPOINT ["/usr/local/bin/entrypoint","/sbin/init"]', "ENV container=docker"]
    command = ["docker", "import", *(word for change in changes for word in ("-c", change)), "-", name]
    with log.open("ab") as out:
        tar = subprocess.Popen(["tar", "-C", root, "--xattrs", "--xattrs-include=*", "-c", "."], stdout=subprocess.PIPE, stderr=out)
        done = subprocess.run(command, stdin=tar.stdout, stdout=out, stderr=out, env={**os.environ, **engine.env})
    if tar.wait() != 0 or done.returncode != 0:
        raise RuntimeError(f"docker import {name} failed: see {log}")
