"""The core's operations on PyTorch's tensors, differentiable by autograd.

The contracts state the arguments, options and results (`_core.statement`), so this file does not list them. In eager
mode an operation is an `autograd.Function` over NumPy views of the tensors. That is the cheapest way: about 15 µs for
forward. While `torch.compile` or `torch.export` trace, the operation is an operator of `torch.library`. It has a fake
implementation, which computes shapes, and an operator for its backward.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import torch

from fastseq._libraries import core
from fastseq.autodiff.operations import OPERATIONS, SECOND_ORDER, Operation, result_shapes
from fastseq.functional.devices import compute

__all__ = ["Results", "call"]

Results: TypeAlias = "dict[str, torch.Tensor | None]"

_SECOND_ORDER = SECOND_ORDER.format(framework="PyTorch", stock="the stock module (fastseq.torch.to_stock)")
_HALF = (torch.float16, torch.bfloat16)

# Below, `zip` is called without `strict` where lengths are equal by construction: `strict` costs a microsecond.


def call(name: str, given: Mapping[str, Any]) -> Results:
    """Computes an operation.

    Args:
        name: The forward operation's name, such as "lstm_forward".
        given: Arguments by the names that the contract states. All tensors are on one device; absent ones are None.
            Tensors of floats have one dtype. Tensors that are not contiguous are copied. On a CPU, float16 and bfloat16
            are computed in float32, and results have x's dtype.

    Returns:
        Results by their names; None for one that is not wanted.

    Raises:
        ValueError: A shape or an option does not fit, or a tensor is on another device.
        TypeError: An argument is not a tensor, the operation does not take its dtype, or the dtype differs from x's.
    """
    operation = OPERATIONS[name]
    first = given[operation.first]
    if not isinstance(first, torch.Tensor):
        raise TypeError(f"{operation.first} must be a torch.Tensor, got {_type_of(first)}")
    half = first.dtype in _HALF and first.device.type == "cpu"
    grad_enabled = torch.is_grad_enabled()
    differentiable = False
    tensors = []
    for array in operation.arrays:
        tensor = given.get(array)
        if tensor is not None:
            if not isinstance(tensor, torch.Tensor):
                raise TypeError(f"{array} must be a torch.Tensor, got {_type_of(tensor)}")
            if tensor.device != first.device:
                raise ValueError(
                    f"{array} must be on {first.device} as {operation.first} is, got a tensor on {tensor.device}"
                )
            if half and array in operation.floats:
                tensor = tensor.float()
            tensor = tensor.contiguous()
            differentiable = differentiable or (grad_enabled and tensor.requires_grad)
        tensors.append(tensor)
    options = {option: given[option] for option in operation.options if option in given}
    if operation.saves:
        options[operation.saves] = differentiable
    if torch.compiler.is_compiling() or first.device.type == "meta":
        results = _in_graph(operation, tensors, options)
    elif differentiable:
        results = dict(zip(operation.results, _Call.apply(operation, options, *tensors)))  # noqa: B905
    else:
        results = _compute(name, dict(zip(operation.arrays, tensors)) | options, first.device.type)  # noqa: B905
    if half:
        results = {key: None if value is None else value.to(first.dtype) for key, value in results.items()}
    return results


def _type_of(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def _compute(name: str, arguments: dict[str, Any], device: str) -> Results:
    """Computes an operation on the tensors' device; the results are on it, too. `arguments` is overwritten."""
    for key, value in arguments.items():
        if isinstance(value, torch.Tensor):
            arguments[key] = value.numpy(force=True) if device == "cpu" else value.detach()
    if device != "cpu":
        return compute(name, arguments)
    results = core.compute(name, arguments)
    for key, value in results.items():
        if value is not None:
            results[key] = torch.from_numpy(value)
    return results


class _Call(torch.autograd.Function):  # type: ignore[misc]
    """Eager calls, in as few steps as possible: each step costs a good part of a microsecond."""

    @staticmethod
    def forward(  # `setup_context` would cost 9 µs more
        ctx: Any, operation: Operation, options: dict[str, Any], *tensors: torch.Tensor | None
    ) -> tuple[torch.Tensor | None, ...]:
        named = dict(zip(operation.arrays, tensors))  # noqa: B905
        ctx.operation, ctx.options, ctx.device = operation, options, named[operation.first].device.type  # type: ignore[union-attr]
        ctx.numbers = operation.numbers(named)
        results = _compute(operation.name, named | options, ctx.device)
        values = [*tensors, *results.values()]
        ctx.save_for_backward(*[values[at] for _, at in operation.saved])
        ctx.set_materialize_grads(False)
        undifferentiated = [results[name] for name in operation.undifferentiated if results[name] is not None]
        if undifferentiated:
            ctx.mark_non_differentiable(*undifferentiated)
        return tuple(results.values())

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        operation = ctx.operation
        arguments: dict[str, Any] = {}
        for name, gradient in zip(operation.doutputs, gradients):  # noqa: B905
            if gradient is not None:
                arguments[name] = gradient.contiguous()
        if not arguments:
            return (None,) * len(ctx.needs_input_grad)
        for (name, _), tensor in zip(operation.saved, ctx.saved_tensors):  # noqa: B905
            if tensor is not None:
                arguments[name] = tensor
        for name in operation.kept:
            if name in ctx.options:
                arguments[name] = ctx.options[name]
        needed = ctx.needs_input_grad[2:]
        arguments |= operation.wanted(dict(zip(operation.arrays, needed)))  # noqa: B905
        arguments |= ctx.numbers
        depends = []
        if torch.is_grad_enabled():  # create_graph=True
            depends = [value for value in arguments.values() if isinstance(value, torch.Tensor) and value.requires_grad]
        results = _compute(operation.backward, arguments, ctx.device)
        found = [results.get(name) if need else None for name, need in zip(operation.dinputs, needed)]  # noqa: B905
        if depends:
            found = [None if gradient is None else _Once.apply(gradient, *depends) for gradient in found]
        return None, None, *found


class _Once(torch.autograd.Function):  # type: ignore[misc]
    """Returns a gradient that raises an error if it is differentiated with respect to a tensor it was computed from.

    `once_differentiable` raises only if the gradient with respect to the results requires a gradient. Without this
    class, a second-order gradient would silently be zero in the other cases.
    """

    @staticmethod
    def forward(ctx: Any, gradient: torch.Tensor, *depends: torch.Tensor) -> torch.Tensor:
        return gradient.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        raise RuntimeError(_SECOND_ORDER)


# --- operators, for graphs --------------------------------------------------------------------------------------------

_TYPES = {bool: "bool", int: "int", float: "float", str: "str"}
_library = torch.library.Library("fastseq", "DEF")


def _schema(name: str) -> str:
    arrays, numbers, options, results = core.statement(name)
    arguments = [f"Tensor{'' if required else '?'} {array}" for array, (_, required) in arrays.items()]
    arguments += [f"{'int' if number == 'timesteps' else 'float'} {number}" for number in numbers]
    arguments += [f"{_TYPES[type(default)]} {option}" for option, default in options.items()]
    return f"{name}({', '.join(arguments)}) -> ({', '.join('Tensor' for _ in results)})"


def _arguments(name: str, values: Sequence[Any]) -> dict[str, Any]:
    arrays, numbers, options, _ = core.statement(name)
    return dict(zip((*arrays, *numbers, *options), values, strict=True))


def _define(name: str) -> None:
    """Defines an operator that computes the core's operation. A result that is not wanted is an empty tensor."""
    results = tuple(core.statement(name)[3])

    def run(*values: Any) -> Any:
        arguments = _arguments(name, values)
        first = next(value for value in values if isinstance(value, torch.Tensor) and value.is_floating_point())
        # The graph may pass tensors that are not contiguous.
        given = {
            key: value.contiguous() if isinstance(value, torch.Tensor) else value for key, value in arguments.items()
        }
        if (argmax := given.get("argmax")) is not None and argmax.dtype is torch.int16:
            given["argmax"] = argmax.view(torch.uint16)
        computed = _compute(name, given, first.device.type)
        return _single(first.new_empty(0) if computed[key] is None else computed[key] for key in results)

    def fake(*values: Any) -> Any:
        arguments = _arguments(name, values)
        first = next(value for value in values if isinstance(value, torch.Tensor) and value.is_floating_point())
        described = {
            key: (tuple(value.shape), str(value.dtype).removeprefix("torch."))
            for key, value in arguments.items()
            if isinstance(value, torch.Tensor)
        }
        shapes = result_shapes(name, arguments | described)
        return _single(
            first.new_empty(0) if shape is None else first.new_empty(shape[0], dtype=getattr(torch, shape[1]))
            for shape in (shapes[key] for key in results)
        )

    def _single(tensors: Any) -> Any:
        # PyTorch 2.4 cannot print graphs with uint16, so they hold these bits as int16.
        tensors = tuple(tensor.view(torch.int16) if tensor.dtype is torch.uint16 else tensor for tensor in tensors)
        return tensors[0] if len(tensors) == 1 else tensors

    _library.define(_schema(name))
    for key in ("CPU", "CUDA"):
        _library.impl(name, run, key)
    torch.library.register_fake(f"fastseq::{name}", fake, lib=_library)


def _in_graph(operation: Operation, tensors: Sequence[torch.Tensor | None], options: Mapping[str, Any]) -> Results:
    values = [*tensors, *(options.get(name, default) for name, default in operation.options.items())]
    results = getattr(torch.ops.fastseq, operation.name)(*values)
    named = dict(zip(operation.results, results if isinstance(results, tuple) else (results,), strict=True))
    absent = {"outputs": options.get("return_sequences", True), "argmax": False, "workspace": False}
    return {name: tensor if absent.get(name, True) else None for name, tensor in named.items()}


def _make_differentiable(operation: Operation) -> None:
    names = (*operation.arrays, *operation.options)

    def setup_context(ctx: Any, inputs: Sequence[Any], output: Any) -> None:
        named = dict(zip(names, inputs, strict=True))
        results = dict(zip(operation.results, output if isinstance(output, tuple) else (output,), strict=True))
        ctx.options = {name: named[name] for name in operation.options}
        ctx.numbers = operation.numbers(named)
        ctx.save_for_backward(*(named.get(name, results.get(name)) for name in operation.backward_arrays))
        ctx.set_materialize_grads(False)

    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[Any, ...]:
        if all(gradient is None for gradient in gradients):
            return (None,) * len(names)
        arguments = dict(zip(operation.backward_arrays, ctx.saved_tensors, strict=True))
        for name, gradient in zip(operation.results, gradients, strict=True):
            if f"d{name}" in arguments:
                arguments[f"d{name}"] = gradient
        needed = dict(zip(names, ctx.needs_input_grad, strict=True))
        its = {**operation.backward_options, **{key: ctx.options[key] for key in operation.kept if key in ctx.options}}
        its |= operation.wanted(needed) | ctx.numbers
        order = (*operation.backward_arrays, *operation.backward_numbers, *operation.backward_options)
        results = getattr(torch.ops.fastseq, operation.backward)(*((arguments | its)[name] for name in order))
        found = dict(zip(operation.gradients, results if isinstance(results, tuple) else (results,), strict=True))
        return tuple(found.get(f"d{name}") if needed[name] else None for name in names)

    torch.library.register_autograd(f"fastseq::{operation.name}", backward, setup_context=setup_context, lib=_library)
    torch.library.register_autograd(f"fastseq::{operation.backward}", _refuse, lib=_library)


def _refuse(*_: Any) -> Any:
    raise RuntimeError(_SECOND_ORDER)


def _define_all() -> None:
    for operation in OPERATIONS.values():
        _define(operation.name)
        _define(operation.backward)
        _make_differentiable(operation)


_define_all()
