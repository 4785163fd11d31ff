"""Tables of the operations that have a backward operation, made from their contracts (`_core.statement`).

The gradient of an argument NAME is the result `dNAME` of the backward operation. The gradient of a result NAME is its
argument `dNAME`. Data that forward saves for backward has the same name in both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from fastseq._libraries import core

__all__ = ["OPERATIONS", "SECOND_ORDER", "Described", "Operation", "output_timesteps", "result_shapes"]

# An array's shape, whose sizes may be a framework's symbols, and the name of its dtype.
Described: TypeAlias = "tuple[tuple[Any, ...], str]"

SECOND_ORDER = (
    "fastseq's operations have no second-order gradients on {framework}: use {stock} where a gradient is "
    "differentiated again"
)

OutputShapes: TypeAlias = Callable[[str, dict[str, Any]], "dict[str, Described | None]"]

_WEIGHTS = ("kernel", "recurrent_kernel", "bias")


class Operation(NamedTuple):
    """An operation and its backward operation, as their contracts state them.

    Attributes:
        name: The forward operation's name.
        backward: The backward operation's name.
        arrays: The names of all arrays, in order.
        floats: The names of the arrays of floats, which have one dtype.
        results: The names of all results, in order.
        saves: The option that says whether to save data for backward; "" if there is no such option.
        first: The first array of floats, whose device is the one that the call computes on.
        undifferentiated: Results without a gradient.
        options: The options with their defaults.
        backward_arrays: All arrays that the backward operation takes.
        backward_numbers: All numbers that the backward operation takes.
        backward_options: The backward operation's options with their defaults.
        kept: The backward operation's options that the forward operation has, too.
        saved: The backward operation's arrays other than gradients, each with its index in the list of forward's arrays
            followed by forward's results.
        doutputs: For each result, the backward operation's argument that is its gradient.
        gradients: The backward operation's results.
        dinputs: For each array, the backward operation's result that is its gradient.
    """

    name: str
    backward: str
    arrays: tuple[str, ...]
    floats: frozenset[str]
    results: tuple[str, ...]
    saves: str
    first: str
    undifferentiated: tuple[str, ...]
    options: Mapping[str, Any]
    backward_arrays: tuple[str, ...]
    backward_numbers: tuple[str, ...]
    backward_options: Mapping[str, Any]
    kept: tuple[str, ...]
    saved: tuple[tuple[str, int], ...]
    doutputs: tuple[str, ...]
    gradients: tuple[str, ...]
    dinputs: tuple[str, ...]

    def wanted(self, needed: Mapping[str, bool]) -> dict[str, bool]:
        """The options of the backward operation that say which gradients are wanted.

        Args:
            needed: For each array, whether its gradient is asked for.
        """
        if "with_dx" not in self.backward_options:
            return {}
        weights = any(needed.get(weight, False) for weight in _WEIGHTS)
        return {"with_dx": needed["x"], "with_weights": weights}

    def numbers(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Sizes of forward's arrays that the backward operation takes as numbers or options."""
        if "timesteps" in self.backward_numbers:
            return {"timesteps": arrays["x"].shape[1]}
        if "input_dim" in self.backward_options:
            return {"input_dim": arrays["embeddings"].shape[0]}
        return {}


def _stated(name: str) -> Operation:
    arrays, _, options, results = core.statement(name)
    backward = name.replace("_forward", "_backward")
    its_arrays, numbers, its_options, gradients = core.statement(backward)
    return Operation(
        name,
        backward,
        tuple(arrays),
        frozenset(array for array, (holds, _) in arrays.items() if holds == "floats"),
        tuple(results),
        next((option for option in options if option.startswith("save_")), ""),
        next(array for array, (holds, _) in arrays.items() if holds == "floats"),
        tuple(result for result in results if f"d{result}" not in its_arrays),
        options,
        tuple(its_arrays),
        tuple(numbers),
        its_options,
        tuple(option for option in its_options if option in options),
        tuple((array, [*arrays, *results].index(array)) for array in its_arrays if array in {**arrays, **results}),
        tuple(f"d{result}" for result in results),
        tuple(gradients),
        tuple(f"d{array}" for array in arrays),
    )


# Made at import, because Dynamo cannot trace calls of the core.
OPERATIONS = {name: _stated(name) for name in core.operations() if name.endswith("_forward")}


def result_shapes(
    name: str, arguments: Mapping[str, Any], output_shapes: OutputShapes = core.output_shapes
) -> dict[str, Described | None]:
    """Shapes and dtypes of an operation's results, where batch and timesteps of its arrays may be symbols.

    All other sizes are numbers. For recurrent operations, the core computes the shapes for one row and one timestep,
    and batch and timesteps are then put in their places.

    Args:
        name: The name of a forward or a backward operation.
        arguments: Arrays as `Described`, None for one that is absent; numbers and all options.
        output_shapes: The core's function for the device that is to compute.

    Returns:
        The results by their names; None for a result that is not wanted.
    """
    shape, dtype = next(arguments[key] for key in ("x", "doutputs", "ids") if arguments.get(key) is not None)
    is_recurrent = name.startswith(("lstm", "gru", "simple_rnn"))
    if name.endswith("_backward"):
        return _gradient_shapes(name, shape, dtype, arguments, is_recurrent)
    if name == "embedding_forward":
        (_, width), dtype = arguments["embeddings"]
        return {"outputs": ((*shape, width), dtype)}
    if is_recurrent:
        return _rnn_shapes(name, shape, dtype, arguments, output_shapes)
    timesteps, filters = shape[1:]
    pooling = {key: arguments.get(f"pool_{key}", arguments.get(key)) for key in ("strides", "padding")}
    if (kernel := arguments.get("kernel")) is not None:
        width, _, filters = kernel[0]
        timesteps = output_timesteps(
            timesteps, width, arguments["strides"], arguments["padding"], arguments["dilation_rate"]
        )
    size = arguments["pool_size"]
    if size:
        timesteps = output_timesteps(timesteps, size, **pooling)
    positions = "uint8" if size <= 256 else "uint16" if size <= 65536 else "int32"
    outputs = (shape[0], timesteps, filters)
    shapes: dict[str, Described | None] = {"outputs": (outputs, dtype)}
    if "argmax" in core.statement(name)[3]:
        shapes["argmax"] = (outputs, positions) if arguments["save_argmax"] and size else None
    return shapes


def _gradient_shapes(
    name: str, shape: tuple[Any, ...], dtype: str, arguments: Mapping[str, Any], is_recurrent: bool
) -> dict[str, Described | None]:
    if "timesteps" in arguments:
        return {"dx": ((shape[0], arguments["timesteps"], shape[2]), dtype)}
    if "input_dim" in arguments:
        return {"dembeddings": ((arguments["input_dim"], shape[-1]), dtype)}
    like = {f"d{key}": argument for key, argument in arguments.items()}
    if is_recurrent:
        state = ((shape[0], arguments["recurrent_kernel"][0][0]), dtype)
        like |= {"dh0": state, "dc0": state}
    wanted = {"dx": arguments["with_dx"], "dh0": True, "dc0": True}
    return {
        key: (like[key][0], dtype) if like[key] is not None and wanted.get(key, arguments["with_weights"]) else None
        for key in core.statement(name)[3]
    }


def _rnn_shapes(
    name: str, shape: tuple[Any, ...], dtype: str, arguments: Mapping[str, Any], output_shapes: OutputShapes
) -> dict[str, Described | None]:
    batch, timesteps, _ = shape
    least: dict[str, Any] = {key: arguments[key] for key in core.statement(name)[2]}
    least |= {key: (tuple(arguments[key][0]), dtype) for key in ("kernel", "recurrent_kernel")}
    least["x"] = ((1, 1, least["kernel"][0][0]), dtype)
    shapes: dict[str, Described | None] = {}
    for key, described in output_shapes(name, least).items():
        if described is None:
            shapes[key] = None
        else:
            sizes = (batch, timesteps) if len(described[0]) == 3 else (batch,)
            shapes[key] = ((*sizes, described[0][-1]), described[1])
    return shapes


def output_timesteps(timesteps: Any, width: int, strides: int, padding: str, dilation_rate: int = 1) -> Any:
    """The number of timesteps of a convolution's or a pooling's outputs. `timesteps` can be a symbol."""
    if padding == "valid":
        timesteps = timesteps - dilation_rate * (width - 1)
    return (timesteps + strides - 1) // strides
