"""FastConv1D beside stock Keras over a grid of shapes: forward and backward, interleaved in one run.

Shapes are drawn at random from the whole grid; a seed always gives the same ones. Outputs and gradients are compared
before anything is timed. Figures are fastseq's time divided by stock Keras's, medians over rounds; the slowest shapes
come last.

    python bench/conv1d_grid.py --shapes 60
    python bench/conv1d_grid.py --shape 64,16,512,1024,7,2 --padding same
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from common import CLOCKS, add_clock, add_options, header, interleave, prepare, script_parser

from fastseq.bench.implementations import packages
from fastseq.bench.timing import ratios, time_runs
from fastseq.commands import table

_GRID = {
    "batch": (1, 2, 8, 32, 64, 128),
    "timesteps": (4, 8, 16, 50, 100, 400, 1000),
    "channels": (1, 4, 16, 64, 128, 512, 1024),
    "filters": (1, 8, 16, 64, 128, 512, 1024),
    "width": (1, 2, 3, 5, 7, 9),
    "strides": (1, 2, 3, 4),
}
_MOST_OPERATIONS = 4e10  # the largest shape: at most a second's work
_TRIES = 30


class Shape(NamedTuple):
    """A convolution and its input."""

    batch: int
    timesteps: int
    channels: int
    filters: int
    width: int
    strides: int

    def operations(self) -> float:
        """The approximate number of floating-point operations in forward and backward."""
        return 6.0 * self.batch * self.timesteps / self.strides * self.width * self.channels * self.filters


def draw(count: int, seed: int) -> list[Shape]:
    """Random shapes of the grid."""
    everything = [Shape(*sizes) for sizes in itertools.product(*_GRID.values())]
    fitting = [shape for shape in everything if shape.operations() <= _MOST_OPERATIONS]
    return random.Random(seed).sample(fitting, count)


def make_steps(shape: Shape, padding: str) -> dict[str, Callable[[], Any]]:
    """Forward and backward of both layers, with the same weights. Raises AssertionError if the results differ."""
    import keras
    import tensorflow as tf

    from fastseq.keras import FastConv1D

    rng = np.random.default_rng(0)
    x = tf.constant(rng.standard_normal(shape[:3], dtype=np.float32))
    settings = {"strides": shape.strides, "padding": padding}
    layers = {
        "fast": FastConv1D(shape.filters, shape.width, use_native=True, **settings),
        "stock": keras.layers.Conv1D(shape.filters, shape.width, **settings),
    }
    for layer in layers.values():
        layer.build(x.shape)
    layers["fast"].set_weights(layers["stock"].get_weights())
    doutputs = tf.constant(rng.standard_normal(layers["stock"].compute_output_shape(x.shape), dtype=np.float32))

    def step_of(layer: Any) -> Callable[[], Any]:
        def step(x: Any, doutputs: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(x)
                outputs = layer(x)
            return outputs, tape.gradient(outputs, [x, *layer.trainable_variables], doutputs)

        traced = tf.function(step)
        return lambda: traced(x, doutputs)

    steps = {name: step_of(layer) for name, layer in layers.items()}
    fast = tf.nest.flatten(steps["fast"]())
    # TensorFlow's gradient by x is sometimes wrong, and mostly so at (64, 16, 16) with 1,024 filters of width 9 and
    # strides 3. Two threads seem to write to the same memory.
    for _ in range(_TRIES):
        stock = tf.nest.flatten(steps["stock"]())
        if all(map(_are_close, fast, stock)):
            return steps
    raise AssertionError(f"{shape}: in {_TRIES} tries, stock Keras has never given what FastConv1D gives")


def _are_close(one: Any, other: Any) -> bool:
    one, other = np.asarray(one), np.asarray(other)
    return bool(np.allclose(one, other, rtol=0, atol=1e-5 * max(1.0, np.abs(other).max())))


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--shapes", type=int, default=40, metavar="N", help="how many to draw; default: 40")
    parser.add_argument("--seed", type=int, default=0, help="of the draw; default: 0")
    parser.add_argument(
        "--shape",
        nargs="+",
        metavar="B,T,C,F,K,S",
        help="batch, timesteps, channels, filters, width, strides: these in place of drawn ones",
    )
    parser.add_argument("--padding", choices=("valid", "same", "causal"), default="same")
    add_clock(parser)
    add_options(parser, rounds=9)
    options = parser.parse_args()
    try:
        given = [Shape(*map(int, text.split(","))) for text in options.shape or ()]
    except (TypeError, ValueError) as wrong:
        parser.error(str(wrong))
    prepare(options, parser)
    print(header(packages(["fast", "stock"])))
    rows = []
    for shape in given or draw(options.shapes, options.seed):
        steps = make_steps(shape, options.padding)
        turns = {name: partial(time_runs, step, clock=CLOCKS[options.clock]) for name, step in steps.items()}
        samples = interleave(turns, options.rounds)
        ratio = ratios(samples["fast"], samples["stock"]).median
        medians = [1e3 * one.median for one in samples.values()]
        rows.append((ratio, ",".join(map(str, shape)), *medians))
        print(f"{rows[-1][1]:28}{medians[0]:10.3f}{medians[1]:10.3f}{ratio:8.2f}", flush=True)
    rows.sort()
    print(f"\n{sum(row[0] > 1.05 for row in rows)} of {len(rows)} shapes slower than stock Keras by more than 5 %")
    print(
        table(
            ("shape", "fast, ms", "stock, ms", "fast / stock"),
            [(name, f"{fast:.3f}", f"{stock:.3f}", f"{ratio:.2f}") for ratio, name, fast, stock in rows],
        )
    )


if __name__ == "__main__":
    main()
