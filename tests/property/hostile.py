"""Calls the functions with arbitrary Python objects.

    python tests/property/hostile.py core --seed 3 --calls 500
    python tests/property/hostile.py tensorflow --seed 3 --calls 500

It takes a valid call, replaces some of its arguments, and requires a result, or an exception of an expected type with a
message. Every call is printed before it is made, so that the last line is the call in which the process crashed, hung
or ran out of memory. In a build with AddressSanitizer, an access out of bounds is a crash.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import random
import resource
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

Arguments = dict[str, Any]
Call = tuple[str, Callable[..., Any], Arguments]

SECONDS_OF_CALL = 120
MEMORY = 4 << 30  # beside what the process has when it begins; more is out of memory
RAISES: tuple[type[BaseException], ...] = (TypeError, ValueError, OverflowError, MemoryError)

_INTEGERS = [
    -(2**63) - 1,
    -(2**63),
    -(2**31) - 1,
    -7,
    -1,
    0,
    1,
    2,
    3,
    5,
    64,
    257,
    2**16 + 1,
    2**31 - 1,
    2**31,
    2**32 + 1,
]
_INTEGERS += [2**62, 2**63 - 1, 2**63, 2**64, 10**30]
_HUGE = [2**20, 2**31 - 1, 2**31, 2**40]
# Which ends the process where memory does not suffice.
_SANITIZED = "ASAN_OPTIONS" in os.environ
if _SANITIZED:
    _INTEGERS = [number for number in _INTEGERS if number < 2**20 or number >= 2**63]
    _HUGE = [2**16]
_FLOATS = [float("nan"), float("inf"), -float("inf"), -1.0, 0.0, -0.0, 0.5, 1.0, 1.5, 1e-320, 1e300]
_STRINGS = [
    "",
    "valid",
    "same",
    "causal",
    "tanh",
    "relu",
    "Tanh",
    "linear\0",
    "\ud800",
    "é" * 100,
    "x" * 10_000,
    "None",
]
_OTHERS: list[Any] = [None, True, False, b"same", [], [1, 2], (), (3, 3), {}, {"x": 1}, object(), object, len, ..., 1j]
_OTHERS += [
    np.int64(2),
    np.float32(0.5),
    np.str_("same"),
    np.bool_(True),
    range(3),
    iter(()),
    np.float64,
    memoryview(b"ab"),
]
_DTYPES = ["f2", "f4", "f8", "g", "c8", "?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", ">f4", ">f8", ">i4", "O"]
_DTYPES += ["S3", "U2", "M8[s]", "f4,i4"]


class Random(random.Random):
    """What call `number` is made of."""

    def __init__(self, seed: int, number: int, tensorflow: bool):
        super().__init__(f"{seed} {number}")
        self.dtype = self.choice(["f4", "f8"])
        # TensorFlow's own wrappers copy arrays, and fail on memoryviews, halves of surrogate pairs and large numbers.
        self.most_repeats = 1 if tensorflow else 2**33
        self.strings = [text for text in _STRINGS if not (tensorflow and "\ud800" in text)]
        self.integers = [number for number in _INTEGERS if not tensorflow or -(2**63) <= number < 2**63]
        self.view = np.asarray if tensorflow else memoryview


def junk(rng: Random) -> Any:
    return rng.choice(rng.choice([rng.integers, _FLOATS, rng.strings, _OTHERS]))


def other_shape(rng: Random, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Near the shape or, where a size is 0, of any sizes at all."""
    sizes = list(shape)
    for _ in range(rng.randint(1, 2)):
        kind = rng.choice(["one", "rank", "huge", "swap"])
        if kind == "one" and sizes:
            at = rng.randrange(len(sizes))
            sizes[at] = max(0, rng.choice([0, 1, sizes[at] - 1, sizes[at] + 1, 2 * sizes[at], 17]))
        elif kind == "rank":
            sizes = rng.choice(
                [sizes[1:], sizes[:-1], [1, *sizes], [*sizes, 1], [], [1] * 9, [0] * len(sizes), [1] * 30]
            )
        elif kind == "huge" and len(sizes) > 1:
            at = rng.sample(range(len(sizes)), 2)
            sizes[at[0]], sizes[at[1]] = 0, rng.choice(_HUGE)
        elif kind == "swap":
            rng.shuffle(sizes)
    return tuple(sizes)


def numbers(rng: Random, shape: tuple[int, ...], dtype: Any) -> Any:
    """Of any bits."""
    size = int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize
    array = np.frombuffer(rng.randbytes(size), np.uint8)
    return (array % 2 == 1 if dtype == np.bool_ else array.view(dtype)).reshape(shape).copy()


def other_array(rng: Random, array: Any) -> Any:
    kind = rng.choice(["shape", "shape", "numbers", "dtype", "layout", "class"])
    if kind == "shape":
        try:
            return np.zeros(other_shape(rng, array.shape), array.dtype)
        except (ValueError, MemoryError):  # NumPy has no such arrays
            return array
    if kind == "numbers":
        return numbers(rng, array.shape, array.dtype)
    if kind == "dtype":
        dtype = np.dtype(rng.choice(_DTYPES))
        return np.zeros(array.shape, dtype) if dtype.names or dtype.kind in "OM" else array.astype(dtype)
    if kind == "layout" and array.ndim:
        return rng.choice(
            [
                lambda: array.T,
                lambda: np.asfortranarray(array),
                lambda: array[::-1],
                lambda: array[..., ::2],
                lambda: np.repeat(array, 2, axis=-1)[..., ::2],
                lambda: np.broadcast_to(array[:1], array.shape) if len(array) else array,
                lambda: np.broadcast_to(array, (rng.most_repeats, *array.shape)),
                lambda: (
                    np.frombuffer(b"\0" + array.tobytes() + b"\0", np.uint8)[1:-1]
                    .view(array.dtype)
                    .reshape(array.shape)
                ),
                lambda: (
                    np.lib.stride_tricks.as_strided(array, array.shape, (2**40,) * array.ndim, writeable=False)
                    if max(array.shape, default=0) <= 1
                    else array
                ),
                lambda: np.require(array.copy(), requirements="C"),
            ]
        )()
    return rng.choice(
        [
            lambda: array.view(np.ma.MaskedArray),
            lambda: np.asmatrix(array) if array.ndim == 2 else array,
            lambda: array.view(np.recarray),
            lambda: rng.view(array),
            lambda: array.tolist(),
            lambda: array.flat,
            lambda: array.tobytes(),
            lambda: _read_only(array),
        ]
    )()


def _read_only(array: Any) -> Any:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def other(rng: Random, value: Any) -> Any:
    if rng.random() < 0.2:
        return junk(rng)
    if isinstance(value, np.ndarray):
        return other_array(rng, value)
    if isinstance(value, bool):
        return rng.choice([not value, junk(rng)])
    if isinstance(value, int):
        return rng.choice(rng.integers)
    if isinstance(value, float):
        return rng.choice(_FLOATS)
    if isinstance(value, str):
        return rng.choice(rng.strings)
    return junk(rng)


def shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{type(value).__name__}({value.dtype}, {value.shape}, strides {value.strides})"
    text = repr(value)
    return text if len(text) < 100 else f"{text[:100]}..."


def settle(result: Any) -> None:
    """Reads all of a result."""
    if isinstance(result, np.ndarray):
        result.tobytes()
    elif isinstance(result, (tuple, list)):
        for part in result:
            settle(part)
    elif hasattr(result, "__dataclass_fields__"):
        settle([getattr(result, name) for name in result.__dataclass_fields__])


# --- valid calls ------------------------------------------------------------------------------------------------------


def _floats(rng: Random, *shape: int) -> Any:
    return np.random.default_rng(rng.getrandbits(32)).standard_normal(shape).astype(rng.dtype)


def rnn_arguments(rng: Random, cell: str) -> Arguments:
    gates = {"lstm": 4, "gru": 3, "simple_rnn": 1}[cell]
    batch, timesteps, inputs, units = (
        rng.randint(0, 4),
        rng.randint(0, 5),
        rng.randint(0, 9),
        rng.choice([1, 3, 16, 17]),
    )
    columns = gates * units
    reset_after = rng.random() < 0.5
    arguments: Arguments = {
        "x": _floats(rng, batch, timesteps, inputs),
        "kernel": _floats(rng, inputs, columns),
        "recurrent_kernel": _floats(rng, units, columns),
        "bias": _floats(rng, *((2, columns) if cell == "gru" and reset_after else (columns,))),
        "h0": _floats(rng, batch, units),
        "mask": np.array([[rng.random() < 0.5 for _ in range(timesteps)] for _ in range(batch)], bool).reshape(
            batch, timesteps
        ),
        "dropout_mask": _floats(rng, rng.choice([1, gates]), batch, inputs),
        "recurrent_dropout_mask": _floats(rng, rng.choice([1, gates]), batch, units),
        "activation": rng.choice(["tanh", "relu"]),
        "go_backwards": rng.random() < 0.5,
        "zero_output_for_mask": rng.random() < 0.5,
        "h0_as_first_output": rng.random() < 0.5,
    }
    if cell == "lstm":
        arguments["c0"] = _floats(rng, batch, units)
    if cell != "simple_rnn":
        arguments["recurrent_activation"] = "sigmoid"
    if cell == "gru":
        arguments["reset_after"] = reset_after
    for name in ("bias", "h0", "c0", "mask", "dropout_mask", "recurrent_dropout_mask"):
        if name in arguments and rng.random() < 0.3:
            arguments[name] = None
    return arguments


def rnn_gradients(rng: Random, cell: str, arguments: Arguments) -> Arguments:
    batch, timesteps, _ = arguments["x"].shape
    units = len(arguments["recurrent_kernel"])
    names = ["doutputs", "dlast_output", "dh_n", *(["dc_n"] if cell == "lstm" else [])]
    return {
        name: _floats(rng, *((batch, timesteps, units) if name == "doutputs" else (batch, units))) for name in names
    }


def conv1d_arguments(rng: Random) -> Arguments:
    groups, width = rng.choice([1, 2]), rng.randint(1, 4)
    channels, filters = rng.choice([0, 1, 3, 16]), rng.choice([1, 3, 17])
    return {
        "x": _floats(rng, rng.randint(0, 3), rng.randint(8, 20), groups * channels),
        "kernel": _floats(rng, width, channels, groups * filters),
        "bias": rng.choice([None, _floats(rng, groups * filters)]),
        "activation": rng.choice(["linear", "tanh"]),
        "strides": rng.randint(1, 3),
        "padding": rng.choice(["valid", "same", "causal"]),
        "dilation_rate": rng.randint(1, 2),
        "groups": groups,
    }


def pool_arguments(rng: Random) -> Arguments:
    return {
        "x": _floats(rng, rng.randint(0, 3), rng.randint(4, 20), rng.choice([0, 1, 3, 17])),
        "pool_size": rng.randint(1, 4),
        "strides": rng.randint(1, 5),
        "padding": rng.choice(["valid", "same"]),
    }


def embedding_arguments(rng: Random) -> Arguments:
    input_dim = rng.randint(1, 9)
    ids = np.random.default_rng(rng.getrandbits(32)).integers(0, input_dim, (rng.randint(0, 4), rng.randint(0, 5)))
    return {"ids": ids.astype(rng.choice(["i4", "i8"])), "embeddings": _floats(rng, input_dim, rng.choice([0, 1, 17]))}


def adam_arguments(rng: Random) -> Arguments:
    rows, columns, positions = rng.randint(1, 5), rng.choice([0, 1, 17]), rng.randint(0, 6)
    arrays = {name: _floats(rng, rows, columns) for name in ("variable", "momentum", "velocity", "velocity_hat")}
    if rng.random() < 0.5:
        arrays["velocity_hat"] = None
    sparse = rng.random() < 0.5
    indices = np.random.default_rng(rng.getrandbits(32)).integers(0, rows, positions)
    return {
        **arrays,
        "gradient": _floats(rng, positions if sparse else rows, columns),
        "indices": indices.astype(rng.choice(["i4", "i8"])) if sparse else None,
        **{"alpha": 0.1, "beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-7},
    }


def core_calls(rng: Random) -> Call:
    """One of `fastseq.functional`, or of the core beneath it."""
    from fastseq import functional
    from fastseq._libraries import core

    def direct(operation: str) -> Any:
        return lambda **arguments: core.compute(operation, arguments)

    def adam(variable: Any, momentum: Any, velocity: Any, velocity_hat: Any = None, **arguments: Any) -> Any:
        return functional.adam(functional.AdamState(variable, momentum, velocity, velocity_hat), **arguments)

    kind = rng.choice(["rnn", "rnn", "conv1d", "pool", "embedding", "adam", "dropout", "settings"])
    raw = rng.random() < 0.5
    if kind == "rnn":
        cell = rng.choice(["lstm", "gru", "simple_rnn"])
        arguments = rnn_arguments(rng, cell)
        backward = rng.random() < 0.6
        more: Arguments = {"return_sequences": rng.random() < 0.5, "save_workspace": rng.random() < 0.5}
        if backward:
            workspace = getattr(functional, f"{cell}_forward")(**arguments).workspace
            more = {"workspace": workspace.values if raw else workspace, **rnn_gradients(rng, cell, arguments)}
        name = f"{cell}_{'backward' if backward else 'forward'}"
        return name, direct(name) if raw else getattr(functional, name), {**arguments, **more}
    if kind == "conv1d":
        arguments = conv1d_arguments(rng)
        pooled = rng.random() < 0.5
        window = {"pool_size": rng.randint(1, 4), "pool_strides": rng.randint(1, 5), "pool_padding": "same"}
        backward = rng.random() < 0.5
        if not pooled:
            outputs, argmax, window = functional.conv1d_forward(**arguments), None, {}
        else:
            result = functional.conv1d_max_pool_forward(**arguments, **window)
            outputs, argmax = result.outputs, result.argmax
        more = {"outputs": outputs, "argmax": argmax, "doutputs": np.ones_like(outputs)} if backward else {}
        name = f"conv1d_{'backward' if backward else 'forward'}"
        if raw:
            forward = {"pool_propagate_nan": rng.random() < 0.5, "save_argmax": True}
            return name, direct(name), {**arguments, **window, **(more or forward)}
        if not pooled:
            more.pop("argmax", None)
            return name, getattr(functional, name), {**arguments, **more}
        name = name.replace("conv1d", "conv1d_max_pool")

        def max_pool_backward(outputs: Any, argmax: Any, **given: Any) -> Any:
            return functional.conv1d_max_pool_backward(functional.MaxPoolResult(outputs, argmax), **given)

        return name, max_pool_backward if backward else getattr(functional, name), {**arguments, **window, **more}
    if kind == "pool":
        arguments = pool_arguments(rng)
        of_max = rng.random() < 0.5
        name = "max_pool_forward" if of_max else "average_pool_forward"
        if rng.random() < 0.5:
            more = {"propagate_nan": rng.random() < 0.5, "save_argmax": True} if of_max else {}
        else:
            name = name.replace("forward", "backward")
            x = arguments.pop("x")
            result = functional.max_pool_forward(x, **arguments)
            more = {"doutputs": np.ones_like(result.outputs), "timesteps": x.shape[1]}
            if of_max:
                more["argmax"] = result.argmax
        return name, direct(name) if raw else getattr(functional, name), {**arguments, **more}
    if kind == "embedding":
        arguments = embedding_arguments(rng)
        if rng.random() < 0.5:
            name = "embedding_forward"
            return name, direct(name) if raw else functional.embedding_forward, arguments
        table = arguments.pop("embeddings")
        doutputs = _floats(rng, *arguments["ids"].shape, table.shape[1])
        more = {"doutputs": doutputs, "input_dim": len(table), "squared": rng.random() < 0.5}
        name = "embedding_backward"
        return name, direct(name) if raw else functional.embedding_backward, {**arguments, **more}
    if kind == "adam":
        return "adam", direct("adam") if raw else adam, adam_arguments(rng)
    if kind == "dropout":
        x = _floats(rng, rng.randint(0, 3), 5, 3)
        if raw:
            noise: Any = rng.choice([[], [-1, 1, -1], [1, 1], [5, 1], [1] * 9, [-5, 0, 3], [2**62, 2, 2**62]])
            return "dropout", direct("dropout"), {"x": x, "rate": 0.5, "seed": (1, 2), "noise_shape": noise}
        noise = rng.choice([None, (None, 1, None), (), (1,), (5, 1), [0, -1], "ab", (2**70,), (None,) * 40])
        seed = rng.choice([(1, 2), [2**63 - 1, -(2**63)], (2**63, 0), (1,), (1, 2, 3), "12", (1.0, 2)])
        return "dropout", functional.dropout, {"x": x, "rate": 0.5, "seed": seed, "noise_shape": noise}
    name, arguments = rng.choice(
        [
            ("pooled_timesteps", {"timesteps": 5, "pool_size": 2, "strides": 1, "padding": "same"}),
            ("set_isa", {"name": "scalar"}),
            ("set_num_threads", {"threads": 2}),
            ("poison_fresh_memory", {"on": False}),
            ("available_isas", {}),
        ]
    )  # and fma_peak, which takes as long as it is told
    return f"core.{name}", getattr(core, name), arguments


# --- the TensorFlow operations ----------------------------------------------------------------------------------------


def _wanted(rng: Random) -> Arguments:
    """What a backward operation is told of the gradients that are wanted."""
    tokens = [np.zeros(1, np.uint8) for _ in range(rng.choice([0, 0, 2, 2, 1, 3]))]
    return {"token": tokens, "with_dx": rng.random() < 0.5, "with_weights": rng.random() < 0.5}


def tensorflow_calls(rng: Random) -> Call:
    """One operation, with its inputs as NumPy arrays, eager or in a graph that knows no shapes."""
    import tensorflow as tf

    from fastseq.keras.backend.tensorflow.library import ops

    kind = rng.choice(["rnn", "rnn", "conv1d", "pool", "embedding", "adam", "dropout"])
    if kind == "rnn":
        cell = rng.choice(["lstm", "gru", "simple_rnn"])
        given = rnn_arguments(rng, cell)
        ranks = {"bias": 1, "h0": 2, "c0": 2, "mask": 2, "dropout_mask": 3, "recurrent_dropout_mask": 3}
        for name, rank in ranks.items():
            if name in given and given[name] is None:
                given[name] = np.zeros((0,) * rank, bool if name == "mask" else given["x"].dtype)
        forward = getattr(ops, f"fastseq_{cell}_forward")
        given["return_sequences"] = rng.random() < 0.5
        if rng.random() < 0.5:
            name, arguments = f"{cell}_forward", {**given, "save_workspace": rng.random() < 0.5}
        else:
            workspace = forward(**given, save_workspace=True).workspace.numpy()
            gradients = rnn_gradients(rng, cell, given)
            more = {"workspace": workspace, **gradients, **_wanted(rng)}
            name, arguments = f"{cell}_backward", {**given, **more}
    elif kind == "conv1d":
        given = conv1d_arguments(rng)
        if given["bias"] is None:
            given["bias"] = np.zeros(0, given["x"].dtype)
        if rng.random() < 0.5:
            given.update(pool_size=rng.randint(1, 4), pool_strides=rng.randint(1, 5), pool_padding="same")
        outputs, argmax = ops.fastseq_conv1d_forward(**given, save_argmax=True)
        name, arguments = "conv1d_forward", {**given, "save_argmax": True}
        if rng.random() < 0.5:
            more = {"outputs": outputs.numpy(), "argmax": argmax.numpy(), "doutputs": np.ones_like(outputs.numpy())}
            name, arguments = "conv1d_backward", {**given, **more, **_wanted(rng)}
    elif kind == "pool":
        arguments = pool_arguments(rng)
        name = rng.choice(["max_pool_forward", "average_pool_forward", "max_pool_backward", "average_pool_backward"])
        outputs, argmax = ops.fastseq_max_pool_forward(**arguments, save_argmax=True)
        if name.endswith("backward"):
            x = arguments.pop("x")
            arguments.update(doutputs=np.ones_like(outputs.numpy()), timesteps=np.array(x.shape[1]))
        if name == "max_pool_forward":
            arguments.update(propagate_nan=rng.random() < 0.5, save_argmax=rng.random() < 0.5)
        elif name == "max_pool_backward":
            arguments["argmax"] = argmax.numpy()
    elif kind == "embedding":
        given = embedding_arguments(rng)
        name, arguments = "embedding_forward", {**given, "dense_gradient": False}
        if rng.random() < 0.5:
            table, ids = given["embeddings"], given["ids"].reshape(-1)
            doutputs = _floats(rng, len(ids), table.shape[1])
            arguments = {"ids": ids, "doutputs": doutputs, "input_dim": len(table), "squared": rng.random() < 0.5}
            name = "embedding_backward"
    elif kind == "adam":
        given = adam_arguments(rng)
        states = [given.pop(name) for name in ("variable", "momentum", "velocity", "velocity_hat")]
        at = rng.randrange(3)
        states[at] = other_array(rng, states[at]) if rng.random() < 0.5 else states[at]
        count = rng.choice([4, 3, 3, 2, 1, 0])
        indices = given.pop("indices")
        more = {"state": [s for s in states if s is not None][:count], "indices": [] if indices is None else [indices]}
        options = {name: np.float64(given.pop(name)) for name in ("alpha", "beta_1", "beta_2", "epsilon")}
        name, arguments = "adam", {**given, **more, **{key: np.asarray(value) for key, value in options.items()}}
    else:
        x = _floats(rng, rng.randint(0, 3), 5, 3)
        rate, half = np.asarray(0.5), rng.choice(["none", "none", "float16", "bfloat16", "float32"])
        if rng.random() < 0.5:
            noise = rng.choice([[], [-1, 1, -1], [1, 1], [1] * 9, [-5, 0, 3], [2**62, 2, 2**62]])
            more = {"seed": np.array([1, 2]), "noise_shape": noise, "save_mask": rng.random() < 0.5}
            name, arguments = "dropout", {"x": x, "rate": rate, "cast_from": half, **more}
        else:
            mask = numbers(rng, ((x.size + 7) // 8,), np.uint8)
            name, arguments = "dropout_gradient", {"dy": x, "mask": mask, "rate": rate, "cast_from": half}
    operation = getattr(ops, f"fastseq_{name}")
    if rng.random() < 0.5:
        return name, lambda **given: _arrays(operation(**given)), arguments

    def in_graph(**given: Any) -> Any:
        tensors = {key: value for key, value in given.items() if isinstance(value, (np.ndarray, tf.Tensor))}
        constants = {key: value for key, value in given.items() if key not in tensors}
        tensors = {key: tf.convert_to_tensor(value) for key, value in tensors.items()}
        specs = {key: tf.TensorSpec(None, value.dtype) for key, value in tensors.items()}

        @tf.function(autograph=False, input_signature=[specs])
        def compute(inputs: Any) -> Any:
            return operation(**inputs, **constants)

        return _arrays(compute(tensors))

    return f"{name} in a graph", in_graph, arguments


def _arrays(result: Any) -> Any:
    return [_arrays(part) for part in result] if isinstance(result, (tuple, list)) else np.asarray(result)


# --- the calls --------------------------------------------------------------------------------------------------------


def limit_memory() -> None:
    if _SANITIZED:  # which reserves terabytes of addresses
        return
    with open("/proc/self/statm") as statm:
        now = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("functions", choices=("core", "tensorflow"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--only", type=int, metavar="NUMBER", help="of the one call to make")
    arguments = parser.parse_args()

    calls, raises = core_calls, RAISES
    if arguments.functions == "tensorflow":
        import tensorflow as tf

        import fastseq.keras  # noqa: F401

        calls, raises = tensorflow_calls, (*RAISES, tf.errors.InvalidArgumentError, tf.errors.ResourceExhaustedError)
    np.seterr(all="ignore")
    faulthandler.enable()
    limit_memory()
    returned = 0
    for number in range(arguments.calls) if arguments.only is None else [arguments.only]:
        rng = Random(arguments.seed, number, arguments.functions == "tensorflow")
        name, function, given = calls(rng)
        for key in rng.sample(sorted(given), min(len(given), rng.choice([0, 1, 1, 1, 2, 3]))):
            given[key] = other(rng, given[key])
        for key in [key for key in given if rng.random() < 0.01]:
            del given[key]
        print(f"{number}: {name}({', '.join(f'{key}={shown(value)}' for key, value in given.items())})", flush=True)
        faulthandler.dump_traceback_later(SECONDS_OF_CALL, exit=True)
        try:
            settle(function(**given))
            returned += 1
        except raises as error:
            # TensorFlow's conversion of what is no tensor says nothing of some classes.
            if not str(error) and not (arguments.functions == "tensorflow" and isinstance(error, TypeError)):
                raise AssertionError(f"no message: {error!r}") from error
        faulthandler.cancel_dump_traceback_later()
    print(f"{arguments.calls} calls, {returned} of which returned a result")
    return 0


if __name__ == "__main__":
    sys.exit(main())
