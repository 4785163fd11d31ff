"""Python code in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile


def run_python(code: str, *, remove: tuple[str, ...] = (), **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs code with the variables `remove` taken out of the environment and others put in.

    Not in the current folder: Python would find the source tree there before the installed package.
    """
    kept = {name: value for name, value in os.environ.items() if name not in remove}
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=folder,
            env={**kept, **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
