"""The statements of the operations, and the front ends that are generated from them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from fastseq import functional
from fastseq._libraries import core
from fastseq.autodiff.functions import Functions

B, T, C, U = 3, 7, 5, 4
Arguments = dict[str, Any]


def _zeros(*shape: int, dtype: Any = np.float32) -> Any:
    return np.zeros(shape, dtype)


def _recurrent(gates: int, **more: Any) -> Arguments:
    kernels = {"kernel": _zeros(C, gates * U), "recurrent_kernel": _zeros(U, gates * U)}
    return {"x": _zeros(B, T, C), **kernels, **more}


def _calls() -> Iterator[tuple[str, Arguments]]:
    """Of every operation, with and without what may be left out."""
    cells = {
        "lstm": _recurrent(4, bias=_zeros(4 * U), c0=_zeros(B, U)),
        "gru": _recurrent(3, bias=_zeros(2, 3 * U)),
        "simple_rnn": _recurrent(1, mask=_zeros(B, T, dtype=bool)),
    }
    for cell, arguments in cells.items():
        yield f"{cell}_forward", arguments
        yield f"{cell}_forward", {**arguments, "return_sequences": False, "save_workspace": False}
        workspace = core.compute(f"{cell}_forward", arguments)["workspace"]
        for wanted in (True, False):
            yield f"{cell}_backward", {**arguments, "workspace": workspace, "with_dx": wanted, "with_weights": wanted}
    convolution = {"x": _zeros(B, T, C), "kernel": _zeros(3, C, U), "strides": 2}
    for more in ({}, {"pool_size": 2}, {"pool_size": 300, "pool_padding": "same", "bias": _zeros(U)}):
        forward = {**convolution, **more}
        yield "conv1d_forward", forward
        results = core.compute("conv1d_forward", forward)
        yield "conv1d_backward", {**forward, **results, "doutputs": results["outputs"]}
    for pooling in ("max_pool", "average_pool"):
        yield f"{pooling}_forward", {"x": _zeros(B, T, C), "pool_size": 3}
    backward = {"doutputs": _zeros(B, 3, C), "timesteps": T}
    yield "max_pool_backward", {**backward, "argmax": _zeros(B, 3, C, dtype=np.uint8)}
    yield "average_pool_backward", backward
    ids = _zeros(B, T, dtype=np.int64)
    yield "embedding_forward", {"ids": ids, "embeddings": _zeros(9, U, dtype=np.float64)}
    yield "embedding_backward", {"ids": ids, "doutputs": _zeros(B, T, U), "input_dim": 9}
    state = {name: _zeros(9, U) for name in ("variable", "momentum", "velocity")}
    yield "adam", {**state, "gradient": _zeros(9, U)}
    slices = {"gradient": _zeros(2, U), "indices": np.array([0, 8], np.int32), "velocity_hat": _zeros(9, U)}
    yield "adam", {**state, **slices}
    yield "bernoulli", {"key": _zeros(2, dtype=np.int32), "count": 5, "probability": 0.5}
    yield "dropout", {"x": _zeros(B, T, C), "rate": 0.5, "seed": (1, 2)}


CALLS = list(_calls())


def _described(array: Any) -> tuple[tuple[int, ...], str]:
    return array.shape, str(array.dtype)


@pytest.mark.parametrize(("operation", "arguments"), CALLS, ids=[name for name, _ in CALLS])
def test_output_shapes_are_those_of_the_results(operation: str, arguments: Arguments) -> None:
    described = {name: _described(v) if isinstance(v, np.ndarray) else v for name, v in arguments.items()}
    expected = core.compute(operation, arguments)
    assert core.output_shapes(operation, described) == {
        name: None if array is None else _described(array) for name, array in expected.items()
    }


def test_every_operation_is_called_above() -> None:
    assert {name for name, _ in CALLS} == set(core.operations())


def test_shapes_alone_are_checked_as_arrays_are() -> None:
    arguments: Arguments = {"x": ((B, T, C), "float32"), "kernel": ((3, C, U), "float32")}
    with pytest.raises(ValueError, match=r"kernel must have shape \(3, 5, 4\), got \(3, 6, 4\)"):
        core.output_shapes("conv1d_forward", {**arguments, "kernel": ((3, 6, U), "float32")})
    with pytest.raises(TypeError, match="kernel must have dtype float32, got float64"):
        core.output_shapes("conv1d_forward", {**arguments, "kernel": ((3, C, U), "float64")})
    with pytest.raises(TypeError, match="x must have dtype float32 or float64, got float16"):
        core.output_shapes("conv1d_forward", {**arguments, "x": ((B, T, C), "float16")})
    with pytest.raises(TypeError, match="x must be a pair of a shape and the name of a dtype, got ndarray"):
        core.output_shapes("conv1d_forward", {**arguments, "x": _zeros(B, T, C)})
    # More than any memory holds.
    outputs = core.output_shapes("conv1d_forward", {**arguments, "x": ((2**38, T, C), "float32")})["outputs"]
    assert outputs == ((2**38, 5, U), "float32")


@pytest.mark.parametrize("compute", [core.compute, core.output_shapes])
def test_arguments_that_are_not_stated(compute: Any) -> None:
    with pytest.raises(ValueError, match="there is no operation 'gelu'"):
        compute("gelu", {})
    with pytest.raises(TypeError, match="gru_forward takes no argument 'c0'"):
        compute("gru_forward", {"c0": None})
    with pytest.raises(ValueError, match="x is required, got None"):
        compute("gru_forward", {})


@pytest.mark.parametrize(
    ("operation", "option", "error", "words"),
    [
        ("gru_forward", {"activation": 3}, TypeError, "activation must be a str, got int"),
        ("gru_forward", {"activation": "gelu"}, ValueError, "activation must be one of tanh, .*, got 'gelu'"),
        ("gru_forward", {"go_backwards": "yes"}, TypeError, "go_backwards must be a bool, got str"),
        ("conv1d_forward", {"strides": 1.0}, TypeError, "strides must be an int, got float"),
        ("conv1d_forward", {"strides": 2**63}, ValueError, "strides must be an int of 64 bits"),
        ("adam", {"alpha": "fast"}, TypeError, "alpha must be a number, got str"),
        ("dropout", {"seed": 1}, TypeError, "seed must be two integers of 64 bits, got int"),
        ("dropout", {"noise_shape": 1}, TypeError, "noise_shape must be integers of 64 bits, got int"),
    ],
)
def test_options_of_wrong_types(operation: str, option: Arguments, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        core.compute(operation, option)


def test_public_functions_take_what_is_stated() -> None:
    """Every option, with the same default, and every array, one that may be left out with None."""
    for operation in core.operations():
        # Adam's arrays are in a tuple; dropout's options are checked first; random booleans are for JAX alone.
        if operation in ("adam", "dropout", "bernoulli"):
            continue
        arrays, numbers, options, _ = core.statement(operation)
        parameters = inspect.signature(getattr(functional, operation)).parameters
        # The function without pooling; what a front end with a graph knows of gradients that nobody wants.
        others = {"with_dx", "with_weights", "save_argmax", "argmax"}
        others |= {f"pool_{name}" for name in ("size", "strides", "padding", "propagate_nan")}
        left_out = others if operation.startswith("conv1d") else {"with_dx", "with_weights"}
        if operation.endswith("backward"):
            left_out = left_out | {"return_sequences"}
        assert {*arrays, *numbers, *options} - left_out == {*parameters} - left_out, operation
        for name, parameter in parameters.items():
            if "pool" in operation or parameter.default is inspect.Parameter.empty:
                continue
            assert parameter.default == options.get(name), f"{operation}: {name}"


# Options that the functions of PyTorch's and JAX's arrays do not have, because they give them one value.
ALWAYS = ("propagate_nan", "pool_propagate_nan")


def test_differentiable_functions_pass_on_all_arguments() -> None:
    """Under the names that the statement has."""
    given: Arguments = {}

    def call(name: str, arguments: Mapping[str, Any]) -> Any:
        arrays, _, options, results = core.statement(name)
        assert {*arguments} <= {*arrays, *options}
        given.update(arguments)
        return dict.fromkeys(results)

    functions: Functions[Any] = Functions(call)
    for name, function in inspect.getmembers(functions, inspect.ismethod):
        if not name.startswith("_"):
            arguments = {parameter: object() for parameter in inspect.signature(function).parameters}
            given.clear()
            function(**arguments)
            assert {key: value for key, value in given.items() if key not in ALWAYS} == arguments
