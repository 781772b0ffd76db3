"""Running other programs: their output to a file or to the terminal, their failure with its last lines."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

TAIL_LINES = 30

T = TypeVar("T")


class CommandFailed(Exception):
    """A program ended with another code than 0. The message has the command and the end of its output."""


class TimedOut(Exception):
    """What was waited for did not come in time. The message says what was there instead."""


def run(
    command: Sequence[str | Path],
    *,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes | None = None,
    timeout: float | None = None,
) -> str:
    """Runs a program to its end and returns its standard output; with `log`, both outputs are appended there instead.

    Raises CommandFailed.
    """
    words = [str(word) for word in command]
    environment = {**os.environ, **(env or {})}
    source = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
    try:
        if log is None:
            done = subprocess.run(words, env=environment, cwd=cwd, capture_output=True, timeout=timeout, **source)
            output = done.stdout.decode(errors="replace")
            said = output + done.stderr.decode(errors="replace")
        else:
            with log.open("ab") as out:
                out.write(f"$ {' '.join(words)}\n".encode())
                out.flush()
                done = subprocess.run(words, env=environment, cwd=cwd, stdout=out, stderr=out, timeout=timeout, **source)
            output, said = "", ""
    except FileNotFoundError as error:
        raise CommandFailed(f"{words[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"{' '.join(words)}: still running after {timeout:.0f} s") from error
    if done.returncode != 0:
        said = said or (log.read_text(errors="replace") if log else "")
        tail = "\n".join(said.rstrip().splitlines()[-TAIL_LINES:])
        raise CommandFailed(f"{' '.join(words)}: exit code {done.returncode}\n{tail}")
    return output


def succeeds(command: Sequence[str | Path], *, env: Mapping[str, str] | None = None, timeout: float = 60) -> bool:
    """Whether a program exists and ends with code 0."""
    try:
        run(command, env=env, timeout=timeout)
    except CommandFailed:
        return False
    return True


def wait_for(what: str, seconds: float, look: Callable[[], T], every: float = 0.5) -> T:
    """Calls `look` until it returns something true, and returns that.

    `look` may raise CommandFailed or OSError (not there yet). Raises TimedOut with the last thing seen.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            seen = look()
            if seen:
                return seen
            last = ""
        except (CommandFailed, OSError) as error:
            last = f": {error}"
        if time.monotonic() > deadline:
            raise TimedOut(f"waited {seconds:.0f} s for {what}{last}")
        time.sleep(every)


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """A line of progress: what is done, and how long it took."""
    interactive = sys.stdout.isatty()
    print(f"  {what} ...", end="" if interactive else "\n", flush=True)
    start = time.monotonic()
    yield
    took = f"{time.monotonic() - start:.0f} s"
    print(f" {took}" if interactive else f"  {what}: {took}", flush=True)
