"""Container images written without an engine: layers from files, and the archive that `docker load` and `ctr images import` read."""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Layer:
    """A layer under construction. Times and owners are constant: the same files give the same digest."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._buffer, mode="w")
        self._directories: set[str] = set()

    def directory(self, path: str, mode: int = 0o755) -> None:
        """Adds a directory and those above it."""
        path = path.strip("/")
        if not path or path in self._directories:
            return
        self.directory(os.path.dirname(path))
        self._directories.add(path)
        info = tarfile.TarInfo(path)
        info.type, info.mode = tarfile.DIRTYPE, mode
        self._tar.addfile(info)

    def file(self, source: bytes | Path, path: str, mode: int = 0o755) -> None:
        """Adds a file, with the directories above it."""
        content = source if isinstance(source, bytes) else source.read_bytes()
        self.directory(os.path.dirname(path))
        info = tarfile.TarInfo(path.strip("/"))
        info.size, info.mode = len(content), mode
        self._tar.addfile(info, io.BytesIO(content))

    def link(self, target: str, path: str) -> None:
        """Adds a symbolic link."""
        self.directory(os.path.dirname(path))
        info = tarfile.TarInfo(path.strip("/"))
        info.type, info.linkname = tarfile.SYMTYPE, target
        self._tar.addfile(info)

    def finish(self) -> "FinishedLayer":
        """The layer's bytes and digest; nothing can be added after this."""
        self._tar.close()
        content = self._buffer.getvalue()
        return FinishedLayer(content, hashlib.sha256(content).hexdigest())


@dataclass(frozen=True)
class FinishedLayer:
    """A layer as it is stored."""

    content: bytes = field(repr=False)
    digest: str


@dataclass(frozen=True)
class Image:
    """An image by its names, its layers from the bottom up, and what it runs."""

    names: Sequence[str]
    layers: Sequence[FinishedLayer]
    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()

    def config(self) -> bytes:
        """The image's configuration; its digest is the image's id."""
        config: dict[str, object] = {"Env": [PATH]}
        if self.entrypoint:
            config["Entrypoint"] = list(self.entrypoint)
        if self.command:
            config["Cmd"] = list(self.command)
        layers = {"type": "layers", "diff_ids": [f"sha256:{layer.digest}" for layer in self.layers]}
        return json.dumps({"architecture": "amd64", "os": "linux", "config": config, "rootfs": layers}).encode()


def write(archive: Path, images: Sequence[Image]) -> None:
    """Writes images into one archive; a layer that several share is stored once."""
    written: set[str] = set()
    with tarfile.open(archive, "w") as tar:

        def add(name: str, content: bytes) -> None:
            if name not in written:
                written.add(name)
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))

        manifest = []
        for image in images:
            config = image.config()
            config_name = f"{hashlib.sha256(config).hexdigest()}.json"
            add(config_name, config)
            for layer in image.layers:
                add(f"{layer.digest}/layer.tar", layer.content)
            manifest.append({"Config": config_name, "RepoTags": list(image.names), "Layers": [f"{layer.digest}/layer.tar" for layer in image.layers]})
        add("manifest.json", json.dumps(manifest).encode())
