"""What a release is packed into."""

import gzip
import io
import json
import tarfile
import tempfile
import unittest
from pathlib import Path

from . import build, release
from .shell import run

WHEN = 1_700_000_000


class Packing(unittest.TestCase):
    """The same bytes whenever and wherever they are packed."""

    def test_an_image_is_what_the_dockerfile_says(self) -> None:
        """Its programs, its user, and every digest and size as said."""
        programs = {"operator": b"o" * 1000, "ensemble": b"e" * 500}
        made = release.image(programs, "zookeeper-ensemble:1", WHEN, "c" * 40)
        self.assertEqual(made, release.image(dict(reversed(programs.items())), "zookeeper-ensemble:1", WHEN, "c" * 40))
        with tarfile.open(fileobj=io.BytesIO(made)) as tar:
            files = {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]
        for name, content in files.items():
            if name.startswith("blobs/"):
                self.assertEqual(name, release.blob(content))
        (manifest,) = json.loads(files["index.json"])["manifests"]
        manifest = json.loads(files[f"blobs/{manifest['digest'].replace(':', '/')}"])
        config = json.loads(files[f"blobs/{manifest['config']['digest'].replace(':', '/')}"])
        self.assertEqual(config["config"]["User"], "65532:65532")
        (layer,) = (gzip.decompress(files[f"blobs/{layer['digest'].replace(':', '/')}"]) for layer in manifest["layers"])
        self.assertEqual(config["rootfs"]["diff_ids"], [release.digest(layer)])
        with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
            self.assertEqual([(entry.name, entry.size, entry.mode, entry.mtime, entry.uid) for entry in tar], [("ensemble", 500, 0o755, WHEN, 0), ("operator", 1000, 0o755, WHEN, 0)])

    def test_a_build_knows_its_commit(self) -> None:
        """The commit that is checked out, whether files of it were changed, and nothing where nobody knows."""
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(build.commit(Path(folder)), "")
            git = ["git", "-C", folder, "-c", "user.name=x", "-c", "user.email=x"]
            for command in (["init", "--quiet"], ["commit", "--quiet", "--allow-empty", "--message", "first"]):
                run([*git, *command])
            (Path(folder) / "file").write_text("1")
            run([*git, "add", "file"])
            head = run([*git, "rev-parse", "HEAD"]).strip()
            self.assertEqual(build.commit(Path(folder)), f"{head}-dirty")
            run([*git, "commit", "--quiet", "--message", "second"])
            self.assertEqual(build.commit(Path(folder)), run([*git, "rev-parse", "HEAD"]).strip())

    def test_the_bill_names_what_is_compiled_in(self) -> None:
        """Neither what only tests need, nor what no binary has; each crate with its licence and checksum."""
        release.SOURCE = release.places.REPOSITORY
        bill = json.loads(release.bill_of_materials("1", WHEN))
        packages = {package["name"]: package for package in bill["packages"]}
        self.assertTrue({*build.PACKAGES.values(), "kube", "tokio", "ensemble-zab"} <= packages.keys())
        self.assertFalse({"proptest", "ensemble-sim", "operator-sim"} & packages.keys())
        for name, package in packages.items():
            self.assertNotEqual(package["licenseDeclared"], "NOASSERTION", name)
        self.assertEqual(len(packages["tokio"]["checksums"][0]["checksumValue"]), 64)
        known = {package["SPDXID"] for package in bill["packages"]}
        self.assertTrue(all(relation["relatedSpdxElement"] in known for relation in bill["relationships"]))
