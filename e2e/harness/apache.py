"""Apache ZooKeeper itself: fetched from Maven Central once, and kept in the cache."""

import os
import tempfile
from pathlib import Path

from . import places
from .shell import run
from .versions import MAVEN_DEPENDENCY_PLUGIN, ZOOKEEPER

MAIN = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
LOGBACK = """<configuration><appender name="OUT" class="ch.qos.logback.core.ConsoleAppender"><encoder><pattern>%d %-5p %c %m%n</pattern></encoder></appender>
<root level="WARN"><appender-ref ref="OUT"/></root></configuration>
"""


def fetch(log: Path, version: str = ZOOKEEPER) -> Path:
    """The folder of its jars, with the dependencies that its own pom names and a logback.xml that logs warnings to the standard output."""
    folder = places.CACHE / f"apache-zookeeper-{version}"
    if not folder.exists():
        places.CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="apache-", dir=places.CACHE, ignore_cleanup_errors=True) as making:
            lib, goal = Path(making) / "lib", f"org.apache.maven.plugins:maven-dependency-plugin:{MAVEN_DEPENDENCY_PLUGIN}"
            for kind in ("jar", "pom"):
                _maven(log, f"{goal}:copy", f"-Dartifact=org.apache.zookeeper:zookeeper:{version}:{kind}", f"-DoutputDirectory={lib}")
            for scope in ("compile", "runtime"):  # neither has all: compile has what is provided, runtime has the logger
                _maven(log, "-f", str(lib / f"zookeeper-{version}.pom"), f"{goal}:copy-dependencies", f"-DincludeScope={scope}", f"-DoutputDirectory={lib}")
            (lib / "logback.xml").write_text(LOGBACK)
            os.rename(making, folder)
    return folder / "lib"


def server(lib: Path) -> tuple[str, ...]:
    """The words that follow `java` and its options, and precede the path of a zoo.cfg."""
    return ("-cp", f"{lib}:{lib}/*", MAIN)


def _maven(log: Path, *arguments: str) -> None:
    run(["mvn", "--batch-mode", "--no-transfer-progress", *arguments], log=log)
