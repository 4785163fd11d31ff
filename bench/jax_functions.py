"""fastseq.jax inside `jax.jit` beside fastseq.functional and beside stock Keras on JAX, interleaved in one run.

Results are compared before anything is timed. Figures are medians of milliseconds; the last two columns are
fastseq.functional's and stock Keras's time over fastseq.jax's, medians over rounds. The last line is the time of one
call of a kernel inside a compiled program that has nothing to compute.

    KERAS_BACKEND=jax python bench/jax_functions.py
    KERAS_BACKEND=jax python bench/jax_functions.py --case lstm,20,100,100,100 conv1d,40,500,100,64,5 --keep-memory
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from common import add_options, header, interleave, prepare, script_parser

from fastseq.bench.timing import ratios, time_runs
from fastseq.commands import table

_CELLS = {"lstm": ("LSTM", 4), "gru": ("GRU", 3), "simple_rnn": ("SimpleRNN", 1)}
_CASES = (
    "lstm,20,100,100,100",
    "lstm,40,124,64,55",
    "lstm,40,500,500,64",
    "gru,20,100,100,100",
    "simple_rnn,64,100,300,8",
    "conv1d,40,500,100,64,5",
)
_CALLS = 1000  # in one program

Runs = dict[tuple[str, str], Callable[[], Any]]


def parse(text: str) -> tuple[str, tuple[int, ...]]:
    """The name and the sizes of a case. Raises ValueError."""
    name, *sizes = text.split(",")
    if name not in (*_CELLS, "conv1d") or len(sizes) != (5 if name == "conv1d" else 4):
        raise ValueError(f"a case is {'|'.join(_CELLS)},B,T,D,U or conv1d,B,T,C,F,K, got {text}")
    return name, tuple(map(int, sizes))


def make_runs(name: str, sizes: tuple[int, ...]) -> Runs:
    """The runs of all implementations and passes, with the same weights. Raises AssertionError if results differ."""
    import jax
    import keras

    import fastseq.jax
    from fastseq import functional

    rng = np.random.default_rng(0)
    batch, timesteps, inputs, units, *width = sizes
    x = rng.standard_normal((batch, timesteps, inputs), dtype=np.float32)
    if name == "conv1d":
        layer = keras.layers.Conv1D(units, *width)
    else:
        layer = getattr(keras.layers, _CELLS[name][0])(units, return_sequences=True)
    layer.build(x.shape)
    weights = [np.asarray(weight.value) for weight in layer.trainable_variables]
    on_device = [jax.device_put(array) for array in (x, *weights)]
    call = getattr(fastseq.jax, name)

    def fast(*arrays: Any) -> Any:
        return call(*arrays) if name == "conv1d" else call(*arrays).outputs

    def stock(x: Any, *values: Any) -> Any:
        return layer.stateless_call(values, [one.value for one in layer.non_trainable_variables], x)[0]

    seed = rng.standard_normal(np.shape(fast(*on_device)), dtype=np.float32)

    def forward(function: Callable[..., Any]) -> Callable[[], Any]:
        compiled = jax.jit(function)
        return lambda: jax.block_until_ready(compiled(*on_device))

    def both(function: Callable[..., Any]) -> Callable[[], Any]:
        def pull(*arrays: Any) -> Any:
            outputs, backward = jax.vjp(function, *arrays)
            return outputs, *backward(seed)

        compiled = jax.jit(pull)
        return lambda: jax.block_until_ready(compiled(*on_device))

    def functional_forward() -> Any:
        if name == "conv1d":
            return functional.conv1d_forward(x, *weights)
        return getattr(functional, f"{name}_forward")(x, *weights, save_workspace=False).outputs

    def functional_both() -> Any:
        if name == "conv1d":
            outputs = functional.conv1d_forward(x, *weights)
            kernel, bias = weights
            gradients = functional.conv1d_backward(outputs, seed, x, kernel, bias)
            return outputs, gradients.dx, gradients.dkernel, gradients.dbias
        result = getattr(functional, f"{name}_forward")(x, *weights)
        backward = getattr(functional, f"{name}_backward")
        gradients = backward(result.workspace, x, *weights, doutputs=seed)
        return (
            result.outputs,
            gradients.dx,
            gradients.dkernel,
            gradients.drecurrent_kernel,
            gradients.dbias,
        )

    runs: Runs = {
        ("fastseq.jax", "forward"): forward(fast),
        ("functional", "forward"): functional_forward,
        ("stock", "forward"): forward(stock),
        ("fastseq.jax", "forward and backward"): both(fast),
        ("functional", "forward and backward"): functional_both,
        ("stock", "forward and backward"): both(stock),
    }
    expected = runs["stock", "forward and backward"]()
    for other in ("fastseq.jax", "functional"):
        for one, two in zip(expected, runs[other, "forward and backward"](), strict=True):
            error = float(np.abs(one - two).max()) / max(1.0, float(np.abs(one).max()))
            assert error < 1e-4, f"{name} {sizes}: {other} differs by {error}"
    return runs


def time_of_a_call() -> float:
    """Seconds that a call inside a program takes beside what it computes."""
    import jax

    import fastseq.jax

    x = np.zeros((1, 1, 1), np.float32)
    program = jax.jit(lambda x: jax.lax.fori_loop(0, _CALLS, lambda _, x: fastseq.jax.average_pool(x, 1), x))
    jax.block_until_ready(program(x))
    return statistics.median(time_runs(lambda: jax.block_until_ready(program(x)), 20)) / _CALLS


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument(
        "--case", nargs="+", metavar="CASE", default=list(_CASES), help="NAME,B,T,D,U or conv1d,B,T,C,F,K"
    )
    parser.add_argument("--keep-memory", action="store_true", help="fastseq.runtime.keep_freed_memory()")
    add_options(parser, rounds=9)
    options = parser.parse_args()
    try:
        cases = [parse(text) for text in options.case]
    except ValueError as wrong:
        parser.error(str(wrong))
    prepare(options, parser)
    from fastseq import runtime

    if options.keep_memory:
        runtime.keep_freed_memory()
    import keras

    if keras.backend.backend() != "jax":
        parser.error("stock Keras must run on JAX: set KERAS_BACKEND=jax")
    print(header(["fastseq", "jax", "keras"]))
    rows = []
    for name, sizes in cases:
        runs = make_runs(name, sizes)
        samples = interleave({key: partial(time_runs, run) for key, run in runs.items()}, options.rounds)
        for kind in ("forward", "forward and backward"):
            fast, functional, stock = (samples[one, kind] for one in ("fastseq.jax", "functional", "stock"))
            rows.append(
                (
                    ",".join(map(str, (name, *sizes))),
                    kind,
                    *(f"{1e3 * one.median:.2f}" for one in (fast, functional, stock)),
                    *(f"{ratios(other, fast).median:.2f}" for other in (functional, stock)),
                )
            )
            print(*rows[-1], flush=True)
    columns = ("case", "pass", "fastseq.jax", "functional", "stock", "functional/jax", "stock/jax")
    print(table(columns, rows))
    print(f"a call takes {1e6 * time_of_a_call():.2f} microseconds")


if __name__ == "__main__":
    main()
