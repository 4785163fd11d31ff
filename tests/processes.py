"""Runs Python code in separate processes, and functions in threads."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path


def in_threads(call: Callable[[int], None], count: int) -> None:
    """Calls a function with 0, 1 and so on, in as many threads at the same time. An exception in a thread is raised."""
    raised: list[BaseException] = []

    def run_one(number: int) -> None:
        try:
            call(number)
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run_one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


def run_python(code: str, *, remove: tuple[str, ...] = (), **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs code with the variables `remove` taken out of the environment and others put in."""
    kept = {name: value for name, value in os.environ.items() if name not in remove}
    return run("-c", code, environment={**kept, **environment})


def run_long(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a script of tests/long, in short: as many cases as the arguments say."""
    return run(str(Path(__file__).parent / "long" / script), *arguments)


def run(
    *arguments: str, folder: Path | None = None, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs Python with arguments in a folder, by default an empty one.

    Not in the current folder: Python would find the source tree there before the installed package.
    """
    with tempfile.TemporaryDirectory() as empty:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=folder or empty,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
