"""Runs thousands of calls and training steps. The memory of the process must not grow.

python tests/long/memory.py
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from rnn_cases import make_case, native_backward, native_forward

from fastseq import functional, runtime


def resident_bytes() -> int:
    """What the process holds of the machine's memory now."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGESIZE")


def functional_step() -> Callable[[], object]:
    """Forward and backward, with an error on the way."""
    case = make_case("lstm", 16, 20, 32, 48, masked=True)
    x, kernel = np.ones((8, 64, 32), np.float32), np.ones((3, 32, 32), np.float32)

    def step() -> None:
        forward = native_forward(case)
        native_backward(case, forward.workspace)
        pooled = functional.conv1d_max_pool_forward(x, kernel, None, 2)
        functional.conv1d_max_pool_backward(pooled, pooled.outputs, x, kernel, None, 2)
        try:
            native_forward(case, x=x)
        except ValueError:
            return
        raise AssertionError("an x that does not fit was taken")

    return step


def training_step() -> Callable[[], object]:
    """A step of the model of all layers."""
    import keras
    from everyday_model import adam, everyday_model

    model: Any = everyday_model(True)
    model.compile(adam(True), "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    ids, labels = keras.ops.convert_to_tensor(rng.integers(0, 12, (64, 100))), rng.integers(0, 2, 64)
    return lambda: model.train_on_batch(ids, labels)


def growth(step: Callable[[], object], steps: int) -> int:
    """By how many bytes the process is larger after `steps` steps than before, once it is warm."""
    for _ in range(250):
        step()
    before = resident_bytes()
    for _ in range(steps):
        step()
    return resident_bytes() - before


def main() -> int:
    """Returns the exit status: 1 where memory grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--limit", type=int, default=4, help="in MiB: what may come and go")
    options = parser.parse_args()
    runtime.set_num_threads(2)
    status = 0
    for name, make in (("functional", functional_step), ("training", training_step)):
        grown = growth(make(), options.steps)
        print(f"{name}: {grown / 2**20:+.1f} MiB in {options.steps} steps, {resident_bytes() / 2**20:.0f} MiB in all")
        if grown > options.limit * 2**20:
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
