"""What the core and the TensorFlow operations do with any arguments, in a process of its own: see hostile.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(("functions", "calls"), [("core", 400), ("tensorflow", 100)])
def test_hostile_caller(functions: str, calls: int) -> None:
    command = [sys.executable, str(Path(__file__).parent / "hostile.py"), functions, "--calls", str(calls)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}"
