"""What a release consists of, which shall be byte for byte the same whoever makes it: binaries, image, software bill of materials, charts, checksums.

Everything that could differ is fixed: the sources are those of the commit, in a folder of a fixed name; the toolchain is that of
`rust-toolchain.toml`; paths of the machine are written as `/src` and `/cargo`; times are that of the commit; files are in order. `--twice`
makes it again from nothing, and compares.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
import tempfile
import time
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from . import build, places
from .prerequisites import Missing
from .shell import CommandFailed, run, step

# The names of path dependencies' folders are in the code that rustc makes, so the sources are always built here.
SOURCE = Path("/tmp/zookeeper-ensemble-release")
IMAGE_PROGRAMS = tuple(build.PROGRAMS)
PROGRAMS = tuple(build.PACKAGES)
PLATFORM = "x86_64-linux"
USER = "65532:65532"
NAME = "zookeeper-ensemble"
LABELS = {"org.opencontainers.image.title": NAME, "org.opencontainers.image.licenses": "Apache-2.0"}


def main() -> int:
    """Exit code 0: made; 1: failed, or the second time was another; 2: something is missing."""
    top = argparse.ArgumentParser(prog="e2e/release", description="Makes the archives, the image, the bill of materials, the charts and the checksums of HEAD.")
    top.add_argument("--output", type=Path, default=places.CACHE / "release", help="where to (default: %(default)s)")
    top.add_argument("--twice", action="store_true", help="make it a second time from nothing, and compare every byte")
    arguments = top.parse_args()
    try:
        # The second time is of the same commit, whatever is committed meanwhile.
        commit = run(["git", "rev-parse", "HEAD"], cwd=places.REPOSITORY).strip()
        first = make(arguments.output, commit)
        if arguments.twice:
            with tempfile.TemporaryDirectory(prefix="zke-release.") as folder:
                second = make(Path(folder) / "again", commit)
            different = sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
            if different:
                print(f"e2e/release: made twice, and these differ: {', '.join(different)}", file=sys.stderr)
                return 1
            print("made twice: every byte is the same")
    except Missing as error:
        print(f"e2e/release: {error}", file=sys.stderr)
        return 2
    except (CommandFailed, AssertionError) as error:
        print(f"e2e/release: {error}", file=sys.stderr)
        return 1
    print((arguments.output / "SHA256SUMS").read_text(), end="")
    return 0


def make(output: Path, commit: str) -> dict[str, str]:
    """Makes everything of a commit in a folder, and returns the digest of each file."""
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    log = output.with_name(f"{output.name}.log")
    when = int(run(["git", "show", "-s", "--format=%ct", commit], cwd=places.REPOSITORY))
    with step(f"taking the sources of {commit[:12]}"):
        sources(commit)
    version = tomllib.loads((SOURCE / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    with step("compiling"):
        programs = compiled(commit, log)
    documents = {name: (SOURCE / name).read_bytes() for name in ("LICENSE", "README.md", "CHANGELOG.md")}
    contents = {**{f"bin/{name}": content for name, content in programs.items()}, **documents}
    root = f"{NAME}-{version}-{PLATFORM}"
    (output / f"{root}.tar.gz").write_bytes(compressed(archive({f"{root}/{name}": content for name, content in contents.items()}, when)))
    picture = image({name: programs[name] for name in IMAGE_PROGRAMS}, f"{NAME}:{version}", when, commit)
    assert len(picture) <= build.IMAGE_BYTES_MAX, f"the image has {len(picture) / 1e6:.1f} MB"
    (output / f"{NAME}-{version}-image.tar").write_bytes(picture)
    (output / f"{NAME}-{version}.spdx.json").write_text(bill_of_materials(version, when))
    for chart in sorted((SOURCE / "charts").iterdir()):
        # What links lead to is part of the chart.
        paths = [Path(folder) / name for folder, _, names in os.walk(chart, followlinks=True) for name in names]
        files = {f"{chart.name}/{path.relative_to(chart)}": path.read_bytes() for path in paths}
        number = next(line.split(":")[1].strip() for line in (chart / "Chart.yaml").read_text().splitlines() if line.startswith("version:"))
        (output / f"{chart.name}-{number}.tgz").write_bytes(compressed(archive(files, when)))
    (output / f"{NAME}-{version}-manifests.yaml").write_text("---\n".join((SOURCE / name).read_text() for name in ("crds/zookeeperensembles.yaml", "manifests/operator.yaml")))
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(output.iterdir())}
    (output / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in digests.items()))
    return digests


def sources(commit: str) -> None:
    """The files of a commit and nothing else, in the fixed place."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    SOURCE.mkdir()
    archived = SOURCE.with_suffix(".tar")
    run(["git", "archive", "--output", archived, commit], cwd=places.REPOSITORY)
    run(["tar", "-xf", archived, "-C", SOURCE])
    archived.unlink()


def compiled(commit: str, log: Path) -> dict[str, bytes]:
    """The stripped binaries, compiled from nothing."""
    cargo_home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    flags = ["-C", "target-feature=+crt-static", f"--remap-path-prefix={SOURCE}=/src", f"--remap-path-prefix={cargo_home}=/cargo"]
    target = SOURCE / "target"
    env = {"CARGO_TARGET_DIR": str(target), "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(flags), "ENSEMBLE_COMMIT": commit, "CARGO_INCREMENTAL": "0"}
    programs = {}
    for program in PROGRAMS:
        arguments = ["build", "--release", "--locked", "--target", build.TARGET, "--package", build.PACKAGES[program], "--bin", program]
        run(["cargo", *arguments], cwd=SOURCE, env=env, log=log)
        stripped = target / program
        run(["strip", "-o", stripped, target / build.TARGET / "release" / program])
        programs[program] = stripped.read_bytes()
    shutil.rmtree(target)
    return programs


def archive(files: Mapping[str, bytes], when: int) -> bytes:
    """A tar of files, in order, of nobody, and of one time. What is in `bin/` or at the root of the image may be run."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(content), when
            entry.mode = 0o755 if "/" not in name or "/bin/" in name else 0o644
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def compressed(content: bytes) -> bytes:
    """gzip without a name and a time."""
    return gzip.compress(content, compresslevel=9, mtime=0)


def image(programs: Mapping[str, bytes], name: str, when: int, commit: str) -> bytes:
    """The image that the Dockerfile describes, as an archive that `docker load`, `kind load image-archive` and registries' tools take (OCI image layout)."""
    layer = archive(programs, when)
    packed = compressed(layer)
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))
    labels = {**LABELS, "org.opencontainers.image.revision": commit}
    config = document(
        {
            "architecture": "amd64", "os": "linux", "created": made, "config": {"User": USER, "Labels": labels},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer)]}, "history": [{"created": made, "created_by": "e2e/release"}],
        }  # fmt: skip
    )
    media = "application/vnd.oci.image"
    manifest = document(
        {
            "schemaVersion": 2, "mediaType": f"{media}.manifest.v1+json", "config": described(config, f"{media}.config.v1+json"),
            "layers": [described(packed, f"{media}.layer.v1.tar+gzip")],
        }  # fmt: skip
    )
    names = {"io.containerd.image.name": f"docker.io/library/{name}", "org.opencontainers.image.ref.name": name.split(":")[1]}
    index = document({"schemaVersion": 2, "mediaType": f"{media}.index.v1+json", "manifests": [{**described(manifest, f"{media}.manifest.v1+json"), "annotations": names}]})
    # What docker read before it knew the layout.
    classic = document([{"Config": blob(config), "RepoTags": [name], "Layers": [blob(packed)]}])
    blobs = {blob(content): content for content in (packed, config, manifest)}
    return archive({**blobs, "index.json": index, "manifest.json": classic, "oci-layout": document({"imageLayoutVersion": "1.0.0"})}, when)


def document(value: Any) -> bytes:
    """JSON, always the same."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def digest(content: bytes) -> str:
    """As a registry names it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def blob(content: bytes) -> str:
    """Where the layout keeps it."""
    return f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"


def described(content: bytes, media_type: str) -> dict[str, Any]:
    """How one document refers to another."""
    return {"mediaType": media_type, "digest": digest(content), "size": len(content)}


def bill_of_materials(version: str, when: int) -> str:
    """Every crate that is compiled into a binary: name, version, licence, checksum, where from, and which depends on which (SPDX 2.3)."""
    metadata = json.loads(run(["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", build.TARGET], cwd=SOURCE))
    checksums = {(package["name"], package["version"]): package.get("checksum") for package in tomllib.loads((SOURCE / "Cargo.lock").read_text())["package"]}
    packages = {package["id"]: package for package in metadata["packages"]}
    roots = [identity for identity, package in packages.items() if package["name"] in build.PACKAGES.values()]
    edges = {node["id"]: sorted({dependency["pkg"] for dependency in node["deps"] if is_compiled_in(dependency)}) for node in metadata["resolve"]["nodes"]}
    reached = reachable(roots, edges)
    listed = [described_package(packages[identity], checksums) for identity in sorted(reached, key=lambda identity: named(packages[identity]))]
    relations = [
        {"spdxElementId": named(packages[identity]), "relationshipType": "DEPENDS_ON", "relatedSpdxElement": named(packages[other])}
        for identity in sorted(reached, key=lambda identity: named(packages[identity]))
        for other in edges[identity]
    ]
    relations += [{"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": named(packages[identity])} for identity in sorted(roots, key=lambda identity: named(packages[identity]))]
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))
    space = f"https://github.com/zookeeper-ensemble/zookeeper-ensemble/spdx/{version}/{when}"
    bill = {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": f"{NAME}-{version}", "documentNamespace": space,
        "creationInfo": {"created": made, "creators": ["Tool: e2e/release"]}, "packages": listed, "relationships": relations,
    }  # fmt: skip
    return json.dumps(bill, indent=1) + "\n"


def is_compiled_in(dependency: Mapping[str, Any]) -> bool:
    """Neither a test's nor a build script's."""
    return any(kind["kind"] is None for kind in dependency["dep_kinds"])


def reachable(roots: Iterable[str], edges: Mapping[str, list[str]]) -> set[str]:
    """What the roots need, and they themselves."""
    found, waiting = set(roots), list(roots)
    while waiting:
        more = [other for other in edges[waiting.pop()] if other not in found]
        found.update(more)
        waiting += more
    return found


def named(package: Mapping[str, Any]) -> str:
    """A package's id in the bill."""
    return f"SPDXRef-{package['name'].replace('_', '-')}-{package['version'].replace('+', '-')}"


def described_package(package: Mapping[str, Any], checksums: Mapping[tuple[str, str], str | None]) -> dict[str, Any]:
    """A package of the bill."""
    name, version = package["name"], package["version"]
    entry: dict[str, Any] = {
        "SPDXID": named(package), "name": name, "versionInfo": version, "licenseDeclared": (package["license"] or "NOASSERTION").replace("/", " OR "),
        "licenseConcluded": "NOASSERTION", "copyrightText": "NOASSERTION", "filesAnalyzed": False, "downloadLocation": "NOASSERTION",
    }  # fmt: skip
    if checksum := checksums.get((name, version)):
        entry["downloadLocation"] = f"https://crates.io/api/v1/crates/{name}/{version}/download"
        entry["checksums"] = [{"algorithm": "SHA256", "checksumValue": checksum}]
        entry["externalRefs"] = [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": f"pkg:cargo/{name}@{version}"}]
    return entry


if __name__ == "__main__":
    sys.exit(main())
