"""A disk that loses at a power cut what was not synced: `process/lossy_disk.c` in a server's process, and what its SIGKILL leaves."""

import random
import shutil
from collections.abc import Mapping
from pathlib import Path

from . import places
from .prerequisites import require
from .processes import Server
from .shell import run

SOURCE = places.E2E / "process" / "lossy_disk.c"
SECTOR = 512


def build(folder: Path) -> Path:
    """Compiles the library, and returns its path."""
    require("gcc")
    library = folder / "lossy_disk.so"
    run(["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl", "-pthread"])
    return library


class LossyDisk:
    """The disk of one server. What it keeps is chosen by a seed."""

    def __init__(self, server: Server, library: Path, seed: int, *, forgets_syncs: bool = False):
        self.server, self.random = server, random.Random(seed)
        self.durable = server.folder.with_name(f"{server.folder.name}.durable")
        self.watched = [(server.folder / "data").resolve(), (server.folder / "txnlog").resolve()]
        server.environment = {
            "LD_PRELOAD": str(library),
            "LOSSY_ROOT": str(server.folder),
            "LOSSY_DURABLE": str(self.durable),
            "LOSSY_SYNC": "forget" if forgets_syncs else "keep",
        }

    def start(self) -> None:
        """Starts the server on what there is, all of it durable."""
        shutil.rmtree(self.durable, ignore_errors=True)
        self.durable.mkdir()
        self.server.start()

    def fail(self, kinds: str, error: int, *, once: bool = False) -> None:
        """Lets calls fail from now on, or the next one: a comma between `write`, `sync`, `open` (to write), `truncate`, `rename`, `unlink`."""
        self._disturb(f"{kinds} {error} {'once' if once else ''}")

    def slow(self, kinds: str, milliseconds: int) -> None:
        """Lets calls take so much longer from now on; 0 ends that."""
        self._disturb(f"{kinds} {milliseconds} slow")

    def _disturb(self, text: str) -> None:
        temporary = self.durable / "fails.tmp"
        temporary.write_text(text)
        temporary.rename(self.durable / "fails")

    def cut_power(self, keeps: float | None = None) -> int:
        """kill -9, and what was not synced is lost, by file, by sector and by folder, but for about this part. Returns how many files differ for it."""
        self.server.kill()
        ids = self._ids()
        if keeps is None:
            keeps = self.random.choice([0.0, 0.0, 0.3, 0.9])
        records = self._records()
        folders = [folder for watched in self.watched for folder in (watched, *watched.rglob("*")) if folder.is_dir()]
        lost = 0
        for folder in folders:
            names = self._names(folder, records.get(folder, []), ids, keeps)
            contents = {name: self._content(folder, file, ids, keeps) for name, file in names.items()}
            found = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
            lost += sum(found.get(name) != contents.get(name) for name in found.keys() | contents.keys())
            for name in found:
                (folder / name).unlink()
            for name, content in contents.items():
                (folder / name).write_bytes(content)
        return lost

    def _ids(self) -> dict[int, int]:
        """The id of each file that is there, by its inode; the last one counts."""
        lines = (self.durable / "ids").read_text().splitlines()
        return {int(inode): int(number) for inode, number in (line.split() for line in lines)}

    def _records(self) -> dict[Path, list[str]]:
        """Each folder's names at its last sync, an id before each."""
        records = [path.read_text().splitlines() for path in self.durable.glob("d*") if path.suffix != ".tmp"]
        return {Path(folder): names for folder, *names in records}

    def _names(self, folder: Path, record: list[str], ids: Mapping[int, int], keeps: float) -> dict[str, int]:
        """A folder's files by name: as they were at its last sync, or as they are."""
        if self.random.random() < keeps:
            files = [file for file in folder.iterdir() if file.is_file()]
            return {file.name: ids[file.stat().st_ino] for file in files if file.stat().st_ino in ids}
        return {name: int(number) for number, name in (line.split(" ", 1) for line in record)}

    def _content(self, folder: Path, number: int, ids: Mapping[int, int], keeps: float) -> bytes:
        """A file's content: durable, with some of the sectors and perhaps the length that were written since."""
        kept = self.durable / f"f{number}"
        durable = kept.read_bytes() if kept.exists() else b""
        current = next((file for file in folder.iterdir() if file.is_file() and ids.get(file.stat().st_ino) == number), None)
        if current is None or not keeps:
            return durable
        cached = current.read_bytes()
        length = len(cached) if self.random.random() < keeps else len(durable)
        content = bytearray(durable.ljust(length, b"\0")[:length])
        for start in range(0, length, SECTOR):
            sector = cached[start : min(start + SECTOR, length)]
            if content[start : start + len(sector)] != sector and self.random.random() < keeps:
                content[start : start + len(sector)] = sector
        return bytes(content)

