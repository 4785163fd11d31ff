"""The core's operations on JAX's arrays, differentiable by `jax.grad`.

The contracts state the arguments, options and results (`_core.statement`), so this file does not list them. An
operation is a call through XLA's foreign function interface (csrc/xla). In a compiled program that costs a fraction of
a microsecond. Its gradient is a `jax.custom_vjp`. Forward saves data for backward only if a gradient is asked for, and
backward computes only the gradients that are asked for.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from fastseq._libraries import core, cuda_extension
from fastseq.autodiff.operations import OPERATIONS, SECOND_ORDER, Described, result_shapes
from fastseq.jax.sharding import WEIGHTS, batch_axis, marked_varying, partitioned, same_varying_axes, varying_axes

__all__ = ["Results", "call", "call_handler"]

Results: TypeAlias = "dict[str, Any]"
_Settings: TypeAlias = "tuple[tuple[str, Any], ...]"  # a dictionary's items, which can be hashed

_HALF = ("float16", "bfloat16")
# The names of XLA's targets contain this number, because the protocol between this file and csrc/xla may change.
_PROTOCOL = 1
_SECOND_ORDER = SECOND_ORDER.format(framework="JAX", stock="stock Keras's layers, or a formula in jax.numpy,")


def _target(name: str) -> str:
    return f"fastseq_{_PROTOCOL}_{name}"


def _register_handlers() -> None:
    """Registers the operations with XLA. It initialises no backend: `jax.distributed.initialize` can come after."""
    for platform, extension in (("cpu", core), ("CUDA", cuda_extension())):
        for name, handler in extension.xla_handlers().items() if extension else ():
            jax.ffi.register_ffi_target(_target(name), handler, platform=platform)


_register_handlers()


def _kernels() -> Any:
    """The extension module with the kernels for JAX's default backend."""
    platform = jax.default_backend()
    kernels = core if platform == "cpu" else cuda_extension() if platform == "gpu" else None
    if kernels is None:
        raise RuntimeError(f"JAX computes on {platform} here, for which this installation of fastseq has no kernels")
    return kernels


def call(name: str, given: Mapping[str, Any]) -> Results:
    """Computes an operation.

    Args:
        name: The forward operation's name, such as "lstm_forward".
        given: Arguments by the names that the contract states: arrays, or values that `jnp.asarray` takes; None for
            absent ones. Arrays of floats have one dtype. On a CPU, float16 and bfloat16 are computed in float32, and
            results have x's dtype.

    Returns:
        Results with a gradient, by their names; None for one that is not wanted.

    Raises:
        ValueError: A shape or an option does not fit.
        TypeError: The operation does not take a dtype, or a dtype differs from x's.
        RuntimeError: There are no kernels for JAX's default backend.
    """
    operation = OPERATIONS[name]
    arrays: list[Any] = [None if given.get(key) is None else jnp.asarray(given[key]) for key in operation.arrays]
    dtype = arrays[operation.arrays.index(operation.first)].dtype
    half = dtype.name in _HALF and _kernels() is core
    if half:
        for index, key in enumerate(operation.arrays):
            if key not in operation.floats or arrays[index] is None:
                continue
            if arrays[index].dtype != dtype:
                raise TypeError(f"{key} must have dtype {dtype} as {operation.first} has, got {arrays[index].dtype}")
            arrays[index] = arrays[index].astype("float32")
    arrays = same_varying_axes(arrays)
    options = {
        key: _option(key, given.get(key, default), type(default))
        for key, default in operation.options.items()
        if key != operation.saves
    }
    results = _differentiable(operation.name, tuple(options.items()))(*arrays)
    if half:
        results = {key: None if array is None else array.astype(dtype) for key, array in results.items()}
    return dict(results)


@dataclass(frozen=True)
class _Residuals:
    """The data that forward saves for backward.

    Attributes:
        saved: Arrays that the backward operation takes, by its names for them.
        needed: For each array of forward, whether its gradient is asked for.
        numbers: See `Operation.numbers`.
    """

    saved: dict[str, Any]
    needed: tuple[bool, ...]
    numbers: _Settings


jax.tree_util.register_dataclass(_Residuals, data_fields=["saved"], meta_fields=["needed", "numbers"])


@functools.cache
def _differentiable(name: str, options: _Settings) -> Any:
    """The operation as a differentiable function of its arrays, in order; absent ones are None."""
    operation = OPERATIONS[name]
    given = dict(options)

    def settings_of(*, save: bool) -> dict[str, Any]:
        return given | ({operation.saves: save} if operation.saves else {})

    def outputs_of(results: Results) -> Results:
        return {key: array for key, array in results.items() if key not in operation.undifferentiated}

    @jax.custom_vjp  # type: ignore[untyped-decorator]
    def compute(*arrays: Any) -> Results:
        named = dict(zip(operation.arrays, arrays, strict=True))
        return outputs_of(_compute(name, named, settings_of(save=False)))

    def forward(*primals: Any) -> tuple[Results, _Residuals]:
        arrays = [None if primal is None else primal.value for primal in primals]
        named = dict(zip(operation.arrays, arrays, strict=True))
        results = _once_differentiable(name, tuple(settings_of(save=True).items()))(named)
        everything = [*arrays, *(results[key] for key in operation.results)]
        return outputs_of(results), _Residuals(
            {key: everything[index] for key, index in operation.saved},
            tuple(primal is not None and primal.perturbed for primal in primals),
            tuple(operation.numbers(named).items()),
        )

    def backward(residuals: _Residuals, cotangents: Results) -> tuple[Any, ...]:
        doutputs = {
            f"d{key}": gradient
            for key, gradient in cotangents.items()
            if gradient is not None and not isinstance(gradient, SymbolicZero)
        }
        if not doutputs:
            return (None,) * len(residuals.needed)
        needed = dict(zip(operation.arrays, residuals.needed, strict=True))
        settings = {key: given[key] for key in operation.kept} | operation.wanted(needed) | dict(residuals.numbers)
        gradients = _once_differentiable(operation.backward, tuple(settings.items()))(residuals.saved | doutputs)
        return tuple(gradients.get(f"d{key}") if need else None for key, need in needed.items())

    compute.defvjp(forward, backward, symbolic_zeros=True)
    return compute


@functools.cache
def _once_differentiable(name: str, settings: _Settings) -> Any:
    """An operation inside a gradient computation, which raises an error if it is differentiated again."""

    @jax.custom_vjp  # type: ignore[untyped-decorator]
    def compute(arrays: Results) -> Results:
        return _compute(name, arrays, dict(settings))

    def refuse(*_: Any) -> Any:
        raise NotImplementedError(_SECOND_ORDER)

    compute.defvjp(refuse, refuse)
    return compute


def _compute(name: str, arrays: Results, settings: Mapping[str, Any]) -> Results:
    """Calls an operation once.

    Args:
        name: The name of a forward or a backward operation.
        arrays: The arrays by their names; None for absent ones.
        settings: Numbers, and options that are not their defaults.

    Returns:
        Results by their names; None for those that are not wanted.
    """
    stated, numbers, options, results = core.statement(name)
    every_setting = tuple((key, settings[key] if key in settings else options[key]) for key in (*numbers, *options))
    present = tuple(key for key in stated if arrays.get(key) is not None)
    wanted = _batchable(name, present, every_setting)(*(arrays[key] for key in present))
    return {key: wanted.get(key) for key in results}


@functools.cache
def _batchable(name: str, present: tuple[str, ...], settings: _Settings) -> Any:
    """An operation as a function of the arrays that are present; it returns the results that are wanted."""

    @jax.custom_batching.custom_vmap  # type: ignore[untyped-decorator]
    def compute(*arrays: Any) -> Results:
        return _call_xla(name, dict(zip(present, arrays, strict=True)), dict(settings))

    @compute.def_vmap  # type: ignore[untyped-decorator]
    def batched(axis_size: int, is_batched: Sequence[bool], *arrays: Any) -> tuple[Results, Any]:
        """The rule for `vmap`: some arrays have an additional first axis."""
        named = dict(zip(present, arrays, strict=True))
        has_axis = dict(zip(present, is_batched, strict=True))
        one = {key: array[0] if has_axis[key] else array for key, array in named.items()}
        wanted = _result_types(name, one, dict(settings))
        if any(has_axis.get(key) for key in WEIGHTS) or any(batch_axis(key) is None for key in wanted):
            # Each element of the axis has other weights, or needs separate gradients of the weights.
            mapped = {key: array for key, array in named.items() if has_axis[key]}
            results = jax.lax.map(lambda some: compute(*(some.get(key, named[key]) for key in present)), mapped)
        else:
            results = compute(*(_folded(key, named[key], axis_size, has_axis[key]) for key in present))
            results = {key: array.reshape(axis_size, *wanted[key].shape) for key, array in results.items()}
        return results, dict.fromkeys(results, True)

    return compute


def _folded(key: str, array: Any, size: int, has_axis: bool) -> Any:
    """Merges an array's first axis into the batch axis. An array without the additional axis is repeated along it."""
    axis = batch_axis(key)
    if axis is None:
        return array
    if not has_axis:
        array = jnp.broadcast_to(array, (size, *array.shape))
    array = jnp.moveaxis(array, 0, axis)
    if array.ndim == axis + 1:  # scalar ids: there is no batch axis to merge with
        return array
    return array.reshape(*array.shape[:axis], size * array.shape[axis + 1], *array.shape[axis + 2 :])


def _described(array: Any) -> Described:
    return tuple(array.shape), array.dtype.name


def _shapes(name: str, arrays: Mapping[str, Described], settings: Mapping[str, Any]) -> dict[str, Described | None]:
    """Shapes and dtypes of an operation's results. If all sizes are numbers, the core raises errors for wrong ones."""
    is_known = all(isinstance(size, int) for shape, _ in arrays.values() for size in shape)
    if is_known and not name.endswith("_backward"):
        return dict(_kernels().output_shapes(name, {**arrays, **settings}))
    stated = core.statement(name)[0]
    return result_shapes(name, {**dict.fromkeys(stated), **arrays, **settings}, _kernels().output_shapes)


def _call_xla(name: str, arrays: Results, settings: Mapping[str, Any]) -> Results:
    """Computes the wanted results, by their names. Data that forward saves for backward is raw bytes."""
    if jax.device_count() == 1 or varying_axes(tuple(arrays.values())):
        return call_handler(name, arrays, settings)
    types = _result_types(name, arrays, settings)
    ranks = [{key: len(array.shape) for key, array in of.items()} for of in (arrays, types)]

    def compute(*part_of_batch: Any) -> tuple[Any, ...]:
        return tuple(call_handler(name, dict(zip(arrays, part_of_batch, strict=True)), settings).values())

    return dict(zip(types, partitioned(compute, *ranks)(*arrays.values()), strict=True))


def call_handler(name: str, arrays: Results, settings: Mapping[str, Any]) -> Results:
    """Computes an operation's wanted results on one device, by their names, without a gradient.

    Args:
        name: The name of any operation that XLA has a handler for.
        arrays: The arrays by their names, without absent ones.
        settings: Its numbers and options.
    """
    types = _result_types(name, arrays, settings)
    present = sum(1 << index for index, key in enumerate(core.statement(name)[0]) if key in arrays)
    attributes = {key: _attribute(key, value) for key, value in {**settings, "present": present}.items()}
    results = jax.ffi.ffi_call(_target(name), tuple(types.values()))(*arrays.values(), **attributes)
    axes = varying_axes(tuple(arrays.values()))
    return {key: marked_varying(result, axes) for key, result in zip(types, results, strict=True)}


def _result_types(name: str, arrays: Results, settings: Mapping[str, Any]) -> dict[str, jax.ShapeDtypeStruct]:
    shapes = _shapes(name, {key: _described(array) for key, array in arrays.items()}, settings)
    saved = OPERATIONS[name].undifferentiated if name in OPERATIONS else ()
    types = {}
    for key, described in shapes.items():
        if described is None:
            continue
        shape, dtype = described
        if key in saved:
            shape, dtype = (*shape[:-1], shape[-1] * jnp.dtype(dtype).itemsize), "uint8"
        types[key] = jax.ShapeDtypeStruct(shape, jnp.dtype(dtype))
    return types


def _option(name: str, value: Any, kind: type) -> Any:
    """Converts an option to its exact type: caches treat equal values of other types alike, but XLA does not."""
    if kind is int and not isinstance(value, (bool, np.bool_)) and hasattr(value, "__index__"):
        return operator.index(value)
    if kind is bool and isinstance(value, np.bool_):
        return bool(value)
    if type(value) is not kind:
        raise TypeError(f"{name} must be of type {kind.__name__}, got {type(value).__name__}")
    return value


def _attribute(name: str, value: Any) -> Any:
    """Converts an option or a number to an attribute of an XLA call."""
    if isinstance(value, str):
        return value
    for kind, converted in ((bool, np.bool_), (int, np.int64), (float, np.float64)):
        if isinstance(value, kind):
            return converted(value)
    raise TypeError(f"{name} must be a number in a program that JAX compiles, got {value}")
