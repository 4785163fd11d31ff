"""The core and the TensorFlow operations with arbitrary arguments, in a separate process: see hostile.py."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastseq import functional


@pytest.mark.parametrize(("functions", "calls"), [("core", 400), ("tensorflow", 100)])
def test_hostile_caller(functions: str, calls: int) -> None:
    command = [sys.executable, str(Path(__file__).parent / "hostile.py"), functions, "--calls", str(calls)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}"


def _none(*shape: int) -> Any:
    return np.zeros(shape, np.float32)


MANY = 2**31 - 1
SAME = {"padding": "same"}
# Arrays without elements that have a very long dimension.
NOTHING: dict[str, Callable[[], Any]] = {
    "lstm": lambda: functional.lstm_forward(_none(0, MANY, 3), _none(3, 16), _none(4, 16)),
    "gru": lambda: functional.gru_forward(_none(0, MANY, 3), _none(3, 12), _none(4, 12)),
    "simple_rnn": lambda: functional.simple_rnn_forward(_none(0, MANY, 3), _none(3, 4), _none(4, 4)),
    "conv1d": lambda: functional.conv1d_forward(_none(MANY, 0, 3), _none(2, 3, 4), **SAME),
    "conv1d_backward": lambda: functional.conv1d_backward(
        _none(MANY, 0, 4), _none(MANY, 0, 4), _none(MANY, 0, 3), _none(2, 3, 4), **SAME
    ),
    "conv1d of no channels": lambda: functional.conv1d_forward(_none(1, 5, 0), _none(MANY, 0, 1), **SAME),
    "conv1d_max_pool": lambda: functional.conv1d_max_pool_forward(
        _none(MANY, 0, 3), _none(2, 3, 4), None, 2, None, **SAME
    ),
    "max_pool": lambda: functional.max_pool_forward(_none(MANY, 0, 3), 2),
    "max_pool of no channels": lambda: functional.max_pool_forward(_none(2, MANY, 0), 2),
    "average_pool_backward": lambda: functional.average_pool_backward(_none(2, MANY, 0), MANY, 1),
    "embedding": lambda: functional.embedding_forward(np.zeros((MANY, 0), np.int32), _none(3, 4)),
    "embedding_backward": lambda: functional.embedding_backward(np.zeros(5, np.int32), _none(5, 0), MANY),
    "adam": lambda: functional.adam(functional.AdamState(*[_none(MANY, 0)] * 3), _none(MANY, 0), alpha=0.1),
    "dropout": lambda: functional.dropout(_none(MANY, 0, 3), 0.5, (1, 2)),
    "dropout of shared noise": lambda: functional.dropout(_none(MANY, 0, 3), 0.5, (1, 2), noise_shape=(None, 1, None)),
}


@pytest.mark.parametrize("call", NOTHING.values(), ids=NOTHING)
def test_nothing_takes_no_time(call: Callable[[], Any]) -> None:
    began = time.monotonic()
    call()
    assert time.monotonic() - began < 10  # seconds; where every row was looked at, it was a minute
