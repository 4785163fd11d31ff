"""lower: turns a built Keras model into a graph of operations, or says which layer there are no operations for.

It walks the model's graph of layers as Keras does when the model is called. A `Tensor` stands for each array.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras.src.models.functional import Functional
from keras.src.ops.core import Cast
from keras.src.ops.numpy import NotEqual

from fastseq.prediction import layers
from fastseq.prediction.calls import Call, NotLowered, attached_masks, check_lowered, invoke, layer_rule, refuse
from fastseq.prediction.graph import MAX_RANK, Graph, GraphBuilder, Structure
from fastseq.prediction.tensors import Operations, Refused, Tensor

__all__ = ["lower"]

_RULES = layers  # importing them registers them
_DTYPES = ("float32", "float64")


def lower(model: Any) -> Graph:
    """The graph of a model's prediction: what `model(inputs, training=False)` computes.

    Args:
        model: A built `keras.Sequential` or functional model, on any Keras backend.

    Raises:
        TypeError: `model` is not a Keras model.
        UnsupportedLayerError: There are no operations for a layer of the model, or Keras knows no graph of its layers.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"model must be a Keras model, got {type(model).__module__}.{type(model).__qualname__}")
    try:
        functional = _functional(model)
        operations = Operations(GraphBuilder(), _dtype(functional))
        input_structure = _structure(functional._inputs_struct, [one.name for one in functional.inputs])
        names = [one._keras_history.operation.name for one in functional.outputs]
        output_structure = _structure(functional._outputs_struct, names)
        inputs = [
            _input(symbolic, name, operations)
            for symbolic, name in zip(functional.inputs, input_structure.names, strict=True)
        ]
    except Refused as reason:
        raise refuse(model, str(reason)) from None
    arguments = keras.tree.pack_sequence_as(functional._inputs_struct, inputs)
    outputs = keras.tree.flatten(invoke(model, operations, [arguments], {}, label=""))
    for symbolic, tensor in zip(functional.inputs, inputs, strict=True):
        _declare(symbolic, tensor, operations)
    operations.finish_states()
    return operations.builder.graph([one.value for one in outputs], input_structure, output_structure)


def _functional(model: Any) -> Any:
    """The functional model that computes a model."""
    sequential = isinstance(model, keras.Sequential)
    functional = model._functional if sequential else model
    if not isinstance(functional, Functional):
        raise Refused(
            "it is not built; give it an Input, or call it once"
            if sequential
            else "it is neither a Sequential nor a functional model, so Keras knows no graph of its layers"
        )
    return functional


def _nodes(functional: Any) -> Iterator[Any]:
    """The calls of layers in a functional model, in the order in which Keras makes them."""
    for depth in sorted(functional._nodes_by_depth, reverse=True):
        yield from (node for node in functional._nodes_by_depth[depth] if node.operation and not node.is_input)


def _dtype(functional: Any) -> str:
    """The dtype of the first layer that computes in one that the operations have."""
    for node in _nodes(functional):
        operation = node.operation
        if isinstance(operation, keras.Model):
            return _dtype(_functional(operation))
        if getattr(operation, "compute_dtype", None) in _DTYPES:
            return str(operation.compute_dtype)
    return "float32"


def _structure(nested: Any, names: Sequence[str]) -> Structure:
    """The arrangement of a functional model's inputs or outputs."""
    if isinstance(nested, dict):
        if all(isinstance(key, str) and not keras.tree.is_nested(one) for key, one in nested.items()):
            # Keras has an order of its own.
            return Structure("dict", tuple(keras.tree.flatten({key: key for key in nested})))
    elif isinstance(nested, (list, tuple)) and not any(keras.tree.is_nested(one) for one in nested):
        # Keras unpacks a list of one tensor.
        kind = "single" if len(nested) == 1 else "tuple" if isinstance(nested, tuple) else "list"
        return Structure(kind, tuple(names))
    elif not keras.tree.is_nested(nested):
        return Structure("single", tuple(names))
    raise Refused("its inputs and its outputs must each be one tensor, or a list, tuple or dict of tensors")


def _input(symbolic: Any, name: str, operations: Operations) -> Tensor:
    """The tensor for an input of the model."""
    if symbolic.sparse or getattr(symbolic, "ragged", False):
        raise Refused(f"its input '{name}' must be dense")
    if getattr(symbolic._keras_history.operation, "optional", False):
        raise Refused(f"its input '{name}' must not be optional")
    shape = tuple(symbolic.shape)
    if not 1 <= len(shape) <= MAX_RANK:
        raise Refused(f"its input '{name}' must have 1 to {MAX_RANK} dimensions, got {len(shape)}")
    _check_dtype(symbolic)
    value = operations.builder.input(name, len(shape), operations.dtype, shape)
    if symbolic.dtype == "bool":
        return Tensor(value, shape, "bools")
    if "int" in symbolic.dtype:  # only ids: Keras computes with integers in integers
        operations.decide(value, "integers")
    return Tensor(value, shape, None, source=value)


def _check_dtype(symbolic: Any) -> None:
    """Refuses an input to whose dtype Keras rounds."""
    if "float" in symbolic.dtype and symbolic.dtype not in _DTYPES:
        raise Refused(f"its input '{symbolic.name}' must have dtype float32 or float64, got {symbolic.dtype}")


def _declare(symbolic: Any, tensor: Tensor, operations: Operations) -> None:
    """Gives an input of the graph the dtype that its layers read."""
    kind = operations.kind(tensor) or ("integers" if "int" in symbolic.dtype else "floats")
    operations.builder.declare(tensor.value, {"bools": "bool", "floats": operations.dtype}.get(kind, kind))


@layer_rule(Functional, keras.Sequential)
def _model(call: Call) -> Any:
    functional = _functional(call.layer)
    for name in ("__call__", "call", "compute_mask", "_run_through_graph"):
        if name in vars(functional):
            raise Refused(f"{name} has been replaced")
    values = {id(symbolic): tensor for symbolic, tensor in zip(functional.inputs, _arguments(call), strict=True)}
    for node in _nodes(functional):
        if any(id(symbolic) not in values for symbolic in node.input_tensors):
            continue  # it belongs to another model
        outputs = _run(call, node, *node.arguments.fill_in(values))
        values.update((id(one), tensor) for one, tensor in zip(node.outputs, keras.tree.flatten(outputs), strict=True))
    outputs = keras.tree.map_structure(lambda one: values[id(one)], functional._outputs_struct)
    check_lowered(outputs)
    return outputs[0] if isinstance(outputs, (list, tuple)) and len(outputs) == 1 else outputs


def _run(call: Call, node: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    operation, operations = node.operation, call.operations
    if not isinstance(operation, keras.layers.Layer):
        x, value = (*args, *kwargs.values(), None, None)[:2]
        if isinstance(operation, NotEqual) and isinstance(x, Tensor) and isinstance(value, (int, float)):
            return operations.unequal(x, value)  # a mask from `compute_mask` of an Embedding
        # In older versions of Keras, inputs of other dtypes are cast so.
        cast = isinstance(operation, Cast) and operation.dtype == operations.dtype
        if cast and isinstance(x, Tensor) and operations.kind(x) in (None, "floats"):
            return x
        return [NotLowered(operation) for _ in node.outputs]
    # Keras notes the masks of the inputs like an argument.
    masks = keras.tree.flatten(node.arguments.kwargs.get("mask"))
    if args and any(mask is not None for mask in masks):
        attached = [getattr(one, "_keras_mask", None) for one in keras.tree.flatten(node.arguments.args[0])]
        if len(masks) == len(attached) and all(one is other for one, other in zip(masks, attached, strict=True)):
            kwargs["mask"] = attached_masks(args[0])
    if call.training:  # overrides what the layer has been called with
        kwargs.pop("training", None)
    return invoke(operation, operations, args, kwargs, training=call.training)


def _arguments(call: Call) -> list[Tensor]:
    """The inputs of a model, in the order of its own, with their masks."""
    functional = _functional(call.layer)
    given = call.first
    if isinstance(given, dict) and not isinstance(functional._inputs_struct, dict):
        given = [given[symbolic.name] for symbolic in functional.inputs]
    tensors = keras.tree.flatten(given)
    masks = [None] * len(tensors) if call.mask is None else keras.tree.flatten(call.mask)
    if len(tensors) != len(functional.inputs):
        raise Refused(f"it has {len(functional.inputs)} inputs, and is called with {len(tensors)}")
    for symbolic, tensor in zip(functional.inputs, tensors, strict=True):
        if not isinstance(tensor, Tensor) or tensor.rank != len(symbolic.shape):
            raise Refused(f"its input '{symbolic.name}' must be a tensor of the shape {symbolic.shape}")
        _check_dtype(symbolic)
        if "int" in symbolic.dtype:
            call.operations.read(tensor, "integers")
    return [tensor if mask is None else tensor.with_mask(mask) for tensor, mask in zip(tensors, masks, strict=True)]
