"""The cost of fastseq for other libraries in the same process, for different orders of import.

PyTorch, fastseq and others share one OpenMP runtime. How its idle threads wait is set when it is loaded, so the library
that loads it first decides. Every row is a separate process; the processes take turns. Figures are medians in
milliseconds, of forward and backward: torch.nn.LSTM and GRU of (20, 100, 100, 100), fastseq.functional's LSTM of the
same shape, and a training step of a Keras model on TensorFlow, stock and fast.

    python bench/import_order.py
    GOMP_SPINCOUNT=0 python bench/import_order.py --rounds 3
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from common import add_options, script_parser

from fastseq.bench.machine import cpu_name
from fastseq.bench.timing import time_runs
from fastseq.commands import table

# The libraries to import, in this order, and those to measure then.
_ROWS = {
    "torch alone": (["torch"], ["torch-lstm", "torch-gru"]),
    "torch, fastseq": (["torch", "fastseq.functional"], ["torch-lstm", "torch-gru", "functional-lstm"]),
    "fastseq, torch": (["fastseq.functional", "torch"], ["torch-lstm", "torch-gru", "functional-lstm"]),
    "fastseq alone": (["fastseq.functional"], ["functional-lstm"]),
    "tensorflow alone": (["tensorflow"], ["keras-stock"]),
    "tensorflow, fastseq": (["tensorflow", "fastseq.keras"], ["keras-stock", "keras-fast"]),
    "fastseq, tensorflow": (["fastseq.functional", "tensorflow"], ["keras-stock", "keras-fast"]),
    "torch, fastseq, tensorflow": (["torch", "fastseq.functional", "tensorflow"], ["keras-stock", "keras-fast"]),
}


def _torch_layer(name: str) -> Callable[[], Any]:
    import torch

    layer = getattr(torch.nn, name)(100, 100, batch_first=True)
    x = torch.randn(20, 100, 100, requires_grad=True)
    return lambda: layer(x)[0].sum().backward()


def _functional_lstm() -> Callable[[], Any]:
    import numpy as np

    from fastseq import functional

    rng = np.random.default_rng(0)
    x, kernel, recurrent, doutputs = (
        rng.standard_normal(shape, dtype=np.float32) * 0.1
        for shape in ((20, 100, 100), (100, 400), (100, 400), (20, 100, 100))
    )

    def run() -> Any:
        result = functional.lstm_forward(x, kernel, recurrent)
        return functional.lstm_backward(result.workspace, x, kernel, recurrent, doutputs=doutputs)

    return run


def _keras_step(fast: bool) -> Callable[[], Any]:
    import contextlib

    import keras
    import numpy as np
    import tensorflow as tf

    context: Any = contextlib.nullcontext()
    if fast:
        import fastseq.keras

        context = fastseq.keras.patch()
    with context:
        layers = keras.layers
        model = keras.Sequential(
            [
                keras.Input((300,)),
                layers.Embedding(5000, 100),
                layers.Dropout(0.5),
                layers.Conv1D(64, 5, activation="relu"),
                layers.MaxPooling1D(4),
                layers.LSTM(55),
                layers.Dense(1, activation="sigmoid"),
            ]
        )
        model.compile("adam", "binary_crossentropy")
    rng = np.random.default_rng(0)
    x, y = tf.constant(rng.integers(0, 5000, (40, 300))), tf.constant(rng.integers(0, 2, (40, 1)))
    return lambda: model.train_on_batch(x, y)


_MEASURED: dict[str, Callable[[], Callable[[], Any]]] = {
    "torch-lstm": lambda: _torch_layer("LSTM"),
    "torch-gru": lambda: _torch_layer("GRU"),
    "functional-lstm": _functional_lstm,
    "keras-stock": lambda: _keras_step(False),
    "keras-fast": lambda: _keras_step(True),
}


def measure(row: str) -> dict[str, float]:
    """Runs in a separate process: imports the libraries, and measures each; returns median milliseconds."""
    imports, measured = _ROWS[row]
    for name in imports:
        importlib.import_module(name)
    found = {}
    for name in measured:
        found[name] = 1e3 * statistics.median(time_runs(_MEASURED[name](), 30))
    return found


def main() -> None:
    parser = script_parser(__doc__)
    add_options(parser, rounds=5)
    parser.add_argument("--measure", choices=_ROWS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    chosen = {"OMP_NUM_THREADS": options.threads, "FASTSEQ_ISA": options.isa}
    environment = {**os.environ, **{name: str(value) for name, value in chosen.items() if value}}
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    samples: dict[str, list[dict[str, float]]] = {row: [] for row in _ROWS}
    for _ in range(options.rounds):
        for row, found in samples.items():
            command = [sys.executable, __file__, "--measure", row]
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            if done.returncode != 0:
                sys.exit(done.stderr)
            found.append(json.loads(done.stdout.splitlines()[-1]))
    columns = list(_MEASURED)
    rows = []
    for row, found in samples.items():
        medians = {name: statistics.median(one[name] for one in found) for name in found[0]}
        rows.append((row, *(f"{medians[name]:.2f}" if name in medians else "" for name in columns)))
    print(f"{cpu_name()}, medians of {options.rounds} processes, ms")
    print(table(("imported", *columns), rows))


if __name__ == "__main__":
    main()
