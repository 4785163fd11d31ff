"""The shape inference of the TensorFlow operations, for shapes known in part; test_behind_activations.py has models."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fastseq.keras.backend.tensorflow.library import ops

B, T, C, U = 3, 7, 5, 4


def _zeros(*shape: int, dtype: Any = np.float32) -> Any:
    return np.zeros(shape, dtype)


# --- each operation ---------------------------------------------------------------------------------------------------


def _recurrent(gates: int, states: int, **options: Any) -> dict[str, Any]:
    """The arguments of a recurrent operation."""
    names = ["h0", "c0"][:states]
    return {
        "x": _zeros(B, T, C),
        "kernel": _zeros(C, gates * U),
        "recurrent_kernel": _zeros(U, gates * U),
        "bias": _zeros(gates * U),
        **{name: _zeros(B, U) for name in names},
        "mask": np.ones((B, T), bool),
        "dropout_mask": _zeros(0, 0, 0),
        "recurrent_dropout_mask": _zeros(0, 0, 0),
        "activation": "tanh",
        "go_backwards": False,
        "zero_output_for_mask": False,
        "h0_as_first_output": False,
        **options,
    }


_CELLS: dict[str, dict[str, Any]] = {
    "lstm": _recurrent(4, 2, recurrent_activation="sigmoid"),
    "gru": _recurrent(3, 1, recurrent_activation="sigmoid", reset_after=False),
    "simple_rnn": _recurrent(1, 1),
}
_SAVED = {"lstm": 6, "gru": 4, "simple_rnn": 1}
_CONV1D = {
    "x": _zeros(B, T, C),
    "kernel": _zeros(3, C, U),
    "bias": _zeros(U),
    "activation": "linear",
    "padding": "valid",
    "strides": 2,
    "dilation_rate": 1,
    "groups": 1,
}
_POOLED = {"pool_size": 2, "pool_strides": 2, "pool_padding": "valid"}
_WINDOW = {"pool_size": 2, "strides": 2, "padding": "valid"}


def _calls() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """A name, an operation and its arguments, of every operation and all its kinds of outputs."""
    for cell, arguments in _CELLS.items():
        for sequences, saved in itertools.product((True, False), repeat=2):
            options = {"return_sequences": sequences, "save_workspace": saved}
            yield f"{options}", f"{cell}_forward", {**arguments, **options}
        states = ["dh_n", "dc_n"][: 2 if cell == "lstm" else 1]
        gradients = {
            "workspace": _zeros(B, T, 4 * _SAVED[cell] * U, dtype=np.uint8),
            "doutputs": _zeros(B, T, U),
            "dlast_output": _zeros(B, U),
            **{state: _zeros(B, U) for state in states},
            "return_sequences": True,
        }
        for tokens, dx, weights in itertools.product((0, 2), (True, False), (True, False)):
            options = {"token": [_zeros(1, dtype=np.uint8)] * tokens, "with_dx": dx, "with_weights": weights}
            name = f"{tokens} tokens, with_dx={dx}, with_weights={weights}"
            yield name, f"{cell}_backward", {**arguments, **gradients, **options}
    for pooling, argmax in (({}, False), (_POOLED, False), (_POOLED, True)):
        steps = 1 if pooling else 3
        yield f"{pooling}, {argmax}", "conv1d_forward", {**_CONV1D, **pooling, "save_argmax": argmax}
        for dx, weights in itertools.product((True, False), repeat=2):
            more = {
                "outputs": _zeros(B, steps, U),
                "argmax": _zeros(B, steps, U, dtype=np.uint8) if pooling else _zeros(0, 0, 0, dtype=np.uint8),
                "doutputs": _zeros(B, steps, U),
                "token": [],
                "with_dx": dx,
                "with_weights": weights,
            }
            yield f"{pooling}, with_dx={dx}, with_weights={weights}", "conv1d_backward", {**_CONV1D, **pooling, **more}
    for argmax in (True, False):
        yield f"{argmax}", "max_pool_forward", {"x": _zeros(B, T, C), "save_argmax": argmax, **_WINDOW}
    doutputs, timesteps = _zeros(B, 3, C), np.array(T)
    argmax_of = _zeros(B, 3, C, dtype=np.uint8)
    yield "", "max_pool_backward", {"doutputs": doutputs, "timesteps": timesteps, "argmax": argmax_of, **_WINDOW}
    yield "", "average_pool_forward", {"x": _zeros(B, T, C), **_WINDOW}
    yield "", "average_pool_backward", {"doutputs": doutputs, "timesteps": timesteps, **_WINDOW}
    ids, table = _zeros(B, T, dtype=np.int32), _zeros(9, U)
    yield "", "embedding_forward", {"ids": ids, "embeddings": table, "dense_gradient": False}
    flat = {"ids": ids.reshape(-1), "doutputs": _zeros(B * T, U)}
    yield "", "embedding_backward", {**flat, "input_dim": 9, "squared": False}
    rate, seed = np.array(0.5), np.array([1, 2])
    for noise, mask in (([], True), ([], False), ([-1, 1, -1], False)):
        more = {"rate": rate, "seed": seed, "cast_from": "none", "noise_shape": noise, "save_mask": mask}
        yield f"{noise}, {mask}", "dropout", {"x": _zeros(B, T, C), **more}
    mask = _zeros((B * T * C + 7) // 8, dtype=np.uint8)
    yield "", "dropout_gradient", {"dy": _zeros(B, T, C), "mask": mask, "rate": rate, "cast_from": "none"}
    for hats, slices, variables in ((0, 0, 1), (1, 0, 1), (0, 1, 1), (1, 1, 1), (0, 0, 2), (2, 0, 2)):
        more: dict[str, Any] = {name: np.array(0.5) for name in ("alpha", "beta_1", "beta_2", "epsilon")}
        more |= {name: [_zeros(9, U) for _ in range(variables)] for name in ("variable", "momentum", "velocity")}
        more |= {"velocity_hat": [_zeros(9, U) for _ in range(hats)]}
        more |= {"gradient": [_zeros(2, U) if slices else _zeros(9, U) for _ in range(variables)]}
        yield f"{hats}, {slices}, {variables}", "adam", {"indices": [np.array([1, 2], np.int32)] * slices, **more}
    yield "", "tokens", {"after": _zeros(B, T), "count": 2}
    values = [_zeros(B, T, C), _zeros(C, U)]
    ones = np.ones(1, np.uint8)
    yield "", "live", {"token": ones, "computed": ones, "values": values}


CALLS = list(_calls())
_IDS = [f"{name}-{case}" if case else name for case, name, _ in CALLS]


def _split(arguments: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays, lists of them included, and everything else."""
    arrays = {name: value for name, value in arguments.items() if _holds_arrays(value)}
    return arrays, {name: value for name, value in arguments.items() if name not in arrays}


def _holds_arrays(value: Any) -> bool:
    return isinstance(value, np.ndarray) or (isinstance(value, list) and any(isinstance(v, np.ndarray) for v in value))


def _outputs(name: str, arguments: dict[str, Any]) -> list[Any]:
    return [tensor for tensor in tf.nest.flatten(getattr(ops, f"fastseq_{name}")(**arguments)) if tf.is_tensor(tensor)]


def _knowing(arrays: dict[str, Any], keeps: Callable[[int], bool]) -> dict[str, Any]:
    """The signature of a function of these arrays, of which some sizes are known: `keeps` says of which index."""

    def spec(array: Any) -> tf.TensorSpec:
        return tf.TensorSpec([n if keeps(i) else None for i, n in enumerate(array.shape)], array.dtype)

    return tf.nest.map_structure(spec, arrays)


@pytest.mark.parametrize(("case", "name", "arguments"), CALLS, ids=_IDS)
def test_inferred_shapes_are_those_that_come(case: str, name: str, arguments: dict[str, Any]) -> None:
    arrays, options = _split(arguments)
    tensors = tf.nest.map_structure(tf.convert_to_tensor, arrays)
    expected = [tuple(output.shape) for output in _outputs(name, {**tensors, **options})]

    def check(keeps: Callable[[int], bool]) -> None:
        inferred: list[Any] = []

        @tf.function(input_signature=[_knowing(arrays, keeps)], autograph=False)
        def compute(inputs: Any) -> Any:
            outputs = _outputs(name, {**inputs, **options})
            inferred.extend(output.shape for output in outputs)
            return [tf.shape(output) for output in outputs]

        for shape, static, came in zip(compute(tensors), inferred, expected, strict=True):
            assert tuple(shape.numpy()) == came
            assert static.is_compatible_with(came), f"{case}: inferred {static}, came {came}"

    for keeps in (lambda _: True, lambda _: False, lambda i: i == 0, lambda i: i == 1, lambda i: i != 1):
        check(keeps)


@pytest.mark.parametrize(("case", "name", "arguments"), CALLS, ids=_IDS)
def test_sizes_that_are_said_to_be_equal_are(case: str, name: str, arguments: dict[str, Any]) -> None:
    """TensorFlow puts in one size for another where shape inference gave both the same unknown dimension.

    It learns a size where a tensor meets another whose sizes it knows, as in ReluGrad. So every output meets one of its
    own shape of which all sizes but one are known, and then TensorFlow says what the sizes of all outputs are.
    """
    arrays, options = _split(arguments)
    tensors = tf.nest.map_structure(tf.convert_to_tensor, arrays)
    expected = [tuple(output.shape) for output in _outputs(name, {**tensors, **options})]

    def meet(index: int, known: tuple[bool, ...]) -> None:
        shape = expected[index]
        dtype = _outputs(name, {**tensors, **options})[index].dtype
        spec = tf.TensorSpec([n if is_known else None for n, is_known in zip(shape, known, strict=True)], dtype)

        @tf.function(input_signature=[_knowing(arrays, lambda _: False), spec], autograph=False)
        def compute(inputs: Any, other: Any) -> Any:
            outputs = _outputs(name, {**inputs, **options})
            met = tf.raw_ops.ReluGrad(gradients=outputs[index], features=other)
            return [tf.shape(output) for output in (*outputs, met)]

        shapes = compute(tensors, tf.zeros(shape, dtype))
        for got, came in zip(shapes, [*expected, shape], strict=True):
            assert tuple(got.numpy()) == came, f"{case}: output {index}, of which {known} is known"

    for index, shape in enumerate(expected):
        for unknown in range(len(shape)):
            meet(index, tuple(i != unknown for i in range(len(shape))))
        meet(index, (True,) * len(shape))
