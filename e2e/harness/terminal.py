"""A program on a terminal of its own, and what a person would do there."""

import contextlib
import os
import re
import select
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from .shell import TimedOut

EXPECT_SECONDS = 20
END_SECONDS = 10
# What moves the cursor, clears, and switches modes: of no interest to who reads.
CONTROL = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
INTERRUPT, END, TAB, UP, ENTER = "\x03", "\x04", "\t", "\x1b[A", "\r"


class Terminal:
    """A program that runs on it until the end of the block; it is killed when it has not ended by then."""

    def __init__(self, command: Sequence[str | Path], environment: Mapping[str, str]):
        self._person, programs = os.openpty()
        self._seen = b""
        self._mode = termios.tcgetattr(programs)
        words = ["setsid", "--ctty", "setpriv", "--pdeathsig", "KILL", *command]
        environment = {**os.environ, "TERM": "xterm", **environment}
        self._program = subprocess.Popen(words, stdin=programs, stdout=programs, stderr=programs, env=environment)
        self._programs = programs

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._program.kill()
        self._program.wait()
        os.close(self._programs)
        os.close(self._person)

    def type(self, text: str) -> None:
        """Types."""
        os.write(self._person, text.encode())

    def expect(self, text: str, seconds: float = EXPECT_SECONDS) -> None:
        """Waits until this is shown, after what was expected before. Raises TimedOut with what was shown instead."""
        deadline = time.monotonic() + seconds
        while (at := self._seen.find(text.encode())) < 0:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._person], [], [], left)[0]:
                raise TimedOut(f"waited {seconds:.0f} s for {text!r} on the terminal, which showed {self._seen.decode(errors='replace')!r}")
            self._seen = CONTROL.sub(b"", self._seen + os.read(self._person, 65536))
        self._seen = self._seen[at + len(text.encode()) :]

    def do(self, typed: str, *shown: str) -> None:
        """Types, and waits for each of these in turn."""
        self.type(typed)
        for text in shown:
            self.expect(text)

    def end(self) -> int:
        """Waits for the end of the program and returns its exit code. The terminal is as the program found it."""
        code = self._program.wait(END_SECONDS)
        assert termios.tcgetattr(self._programs) == self._mode, "the program left the terminal in another mode"
        return code
