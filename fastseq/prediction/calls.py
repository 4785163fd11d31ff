"""Calls of layers, as `keras.Layer.__call__` makes them: arguments, masks, and which rule lowers which class.

A rule is a function of a `Call` that returns the layer's outputs. `layer_rule` registers it for a stock class. It also
serves for the class's fast twin, and for subclasses that replace none of the methods that it stands in for.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from fastseq.keras.activations import describe
from fastseq.keras.replacements import FAST_LAYERS
from fastseq.keras.stock_methods import StockMethods
from fastseq.prediction.errors import UnsupportedLayerError
from fastseq.prediction.tensors import Operations, Refused, Tensor

__all__ = [
    "Call",
    "NotLowered",
    "attached_masks",
    "check_lowered",
    "first_mask",
    "invoke",
    "layer_rule",
    "number",
    "refuse",
    "the_mask",
]

# Tensors as a layer takes and gives them: one, or a nested structure.
Tensors = Any


@dataclass(frozen=True)
class Call:
    """A call of a layer.

    Attributes:
        layer: The layer.
        operations: What adds nodes, labelled with the layer.
        arguments: The arguments of the layer's `call` that are not None, without `mask` and `training`.
        first: The first argument.
        mask: The argument `mask`: given, or that of the inputs.
        previous_mask: What `compute_mask` gets.
        training: Whether the layer computes as in training.
    """

    layer: Any
    operations: Operations
    arguments: Mapping[str, Any]
    first: Tensors
    mask: Any
    previous_mask: Any
    training: bool

    @property
    def x(self) -> Tensor:
        """The only input."""
        if not isinstance(self.first, Tensor):
            raise Refused(f"its input must be one tensor, got {type(self.first).__name__}")
        return self.first

    @property
    def xs(self) -> list[Tensor]:
        """The inputs of a layer that takes a list of them."""
        if not isinstance(self.first, (list, tuple)) or not all(isinstance(one, Tensor) for one in self.first):
            raise Refused("its inputs must be a list of tensors")
        return list(self.first)


@dataclass(frozen=True)
class LayerRule:
    """How layers of a class are lowered.

    Attributes:
        lower: Returns the outputs of a call.
        compute_mask: Returns the masks of the outputs, as the layer's `compute_mask` does.
        stock_methods: The stock class's methods that the rule stands in for.
        originals: For each of these methods, the functions that it may be.
        arguments: The names of the arguments that the rule reads, apart from the first.
        random: Says of a layer whether its results differ in training.
    """

    lower: Callable[[Call], Tensors]
    compute_mask: Callable[[Call], Any]
    stock_methods: StockMethods
    originals: Mapping[str, Sequence[Any]]
    arguments: Sequence[str]
    random: Callable[[Any], bool]

    def replaced(self, layer: Any) -> str | None:
        """Says which method of a layer is not the stock one."""
        if reason := self.stock_methods.replaced(layer):
            return reason
        for name, originals in self.originals.items():
            if name in vars(layer):
                return f"{name} has been replaced"
            if getattr(type(layer), name, None) not in originals:
                return f"its class has a {name} of its own"
        return None


_RULES: dict[type, LayerRule] = {}


def layer_rule(
    *stock: Any,
    methods: Sequence[str] = (),
    arguments: Sequence[str] = (),
    compute_mask: Callable[[Call], Any] | None = None,
    random: Callable[[Any], bool] = lambda layer: False,
) -> Callable[[Callable[[Call], Tensors]], Callable[[Call], Tensors]]:
    """A decorator: registers a function as the rule of stock classes.

    Args:
        stock: The classes; None for one that this version of Keras does not have.
        methods: Methods that the rule stands in for, apart from `call` and `compute_mask`.
        arguments: As in `LayerRule`.
        compute_mask: As in `LayerRule`; by default, the mask of the inputs is that of the outputs.
        random: As in `LayerRule`; by default, results are the same in training.
    """
    names = ("__call__", "call", "compute_mask", *methods)

    def decorate(lower: Callable[[Call], Tensors]) -> Callable[[Call], Tensors]:
        for cls in stock:
            if cls is None:
                continue
            classes = [cls, *([FAST_LAYERS[cls]] if cls in FAST_LAYERS else [])]
            _RULES[cls] = LayerRule(
                lower=lower,
                compute_mask=compute_mask or (lambda call: call.previous_mask),
                stock_methods=StockMethods(cls, overridden=names),
                originals={name: [getattr(one, name) for one in classes] for name in names},
                arguments=arguments,
                random=random,
            )
        return lower

    return decorate


def _rule(layer: Any) -> LayerRule:
    for cls in type(layer).__mro__:
        if cls in _RULES:
            if reason := _RULES[cls].replaced(layer):
                raise Refused(reason)
            return _RULES[cls]
    raise Refused("Predictor has no operations for this class")


def refuse(layer: Any, reason: str, label: str = "") -> UnsupportedLayerError:
    """The error about a layer."""
    kind = (
        "model" if isinstance(layer, keras.Model) else "layer" if isinstance(layer, keras.layers.Layer) else "operation"
    )
    name = label or getattr(layer, "name", "")
    return UnsupportedLayerError(f"{kind} '{name}' ({describe(type(layer))}) is not supported: {reason}")


@dataclass(frozen=True)
class NotLowered:
    """In the place of a tensor that a function of `keras.ops` gives. It is an error to read it.

    Keras has the graphs of masks among its nodes. These need not be lowered, since tensors have their masks with them.
    """

    operation: Any


def check_lowered(tensors: Any) -> None:
    """Raises an error about an operation if there is one that has not been lowered."""
    for one in keras.tree.flatten(tensors):
        if isinstance(one, NotLowered):
            raise refuse(one.operation, "there are no operations for functions of keras.ops in the graph of a model")


def attached_masks(tensors: Any) -> Any:
    """The masks of tensors, in the same structure."""
    return keras.tree.map_structure(lambda one: one.mask if isinstance(one, Tensor) else None, tensors)


def first_mask(mask: Any) -> Tensor | None:
    """The mask, or the first of a list of masks."""
    return next(iter(mask), None) if isinstance(mask, (list, tuple)) else mask


def the_mask(call: Call) -> Tensor | None:
    """The argument `mask` of a layer that takes a mask of shape (batch, timesteps)."""
    mask = first_mask(call.mask)
    if mask is not None and (call.operations.kind(mask) != "bools" or mask.rank != 2):
        raise Refused(
            f"a mask must be bool with the shape (batch, timesteps), got {call.operations.kind(mask)} {mask.shape}"
        )
    return mask


def number(setting: Any) -> int:
    """The integer in a setting that Keras keeps as a tuple with one entry."""
    (only,) = setting
    return int(only)


def invoke(
    layer: Any,
    operations: Operations,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    training: bool = False,
    as_call: bool = False,
    label: str | None = None,
) -> Tensors:
    """Calls a layer.

    Args:
        layer: A layer.
        operations: What adds nodes, labelled with the model or layer that makes the call.
        args: Positional arguments, with a `Tensor` in the place of each tensor.
        kwargs: Keyword arguments likewise.
        training: Whether the model or layer that makes the call computes as in training.
        as_call: Whether `layer.call` is called, and not the layer: without the masks of the inputs.
        label: The label of the layer; by default its name, after the label of the caller.

    Raises:
        UnsupportedLayerError: There are no operations for the layer, one of its settings or one of the arguments.
    """
    if label is None:
        label = f"{operations.label}/{layer.name}" if operations.label else layer.name
    try:
        rule = _rule(layer)
        _check(layer, operations)
        check_lowered((args, kwargs))
        call = _call(layer, operations.labelled(label), args, kwargs, training=training, as_call=as_call)
        for name in call.arguments:
            if name not in rule.arguments:
                raise Refused(f"the argument {name} of its call is not supported")
        if call.training and rule.random(layer):
            raise Refused("it is called with training=True, which changes its results")
        outputs = rule.lower(call)
        return outputs if as_call or not layer.supports_masking else _with_masks(outputs, rule.compute_mask(call))
    except Refused as reason:
        raise refuse(layer, str(reason), label) from None


def _check(layer: Any, operations: Operations) -> None:
    """Refuses what no rule takes."""
    if isinstance(layer, keras.Model):
        return
    if not layer.built and type(layer).build is not keras.layers.Layer.build:
        raise Refused("it has no weights yet; call the model once, or give it an Input")
    if getattr(layer, "lora_enabled", False):
        raise Refused("it has LoRA weights")
    if mode := getattr(layer, "quantization_mode", None):
        raise Refused(f"its weights are quantized ({mode})")
    if {layer.compute_dtype, layer.variable_dtype} != {operations.dtype}:
        dtypes = f"{layer.compute_dtype} with weights of {layer.variable_dtype}"
        raise Refused(f"all layers must compute in one dtype, float32 or float64; it computes in {dtypes}")


def _call(
    layer: Any, operations: Operations, args: Sequence[Any], kwargs: Mapping[str, Any], *, training: bool, as_call: bool
) -> Call:
    signature = inspect.signature(layer.call)
    context = {name: value for name, value in kwargs.items() if name == "training" and name not in signature.parameters}
    bound = signature.bind(*args, **{name: value for name, value in kwargs.items() if name not in context})
    given = {name: value for name, value in {**context, **bound.arguments}.items() if value is not None}
    bound.apply_defaults()
    names = list(bound.arguments)
    first = bound.arguments[names[0]]
    mask, takes_mask = given.pop("mask", None), "mask" in names
    asked = given.pop("training", None)
    tensors = [name for name, value in bound.arguments.items() if _holds_tensors(value)]
    if mask is None and takes_mask and len(tensors) == 1 and not as_call:
        mask = attached_masks(bound.arguments[tensors[0]])
    given.pop(names[0], None)
    for name, value in given.items():
        if not _holds_tensors(value):
            raise Refused(f"the argument {name} of its call must be a tensor of the model, got {describe(type(value))}")
    return Call(
        layer=layer,
        operations=operations,
        arguments=given,
        first=first,
        mask=mask,
        previous_mask=mask if mask is not None and _given_masks_go_on() else attached_masks(first),
        training=training if asked is None else bool(asked),
    )


@functools.cache
def _given_masks_go_on() -> bool:
    """Whether the mask that a layer is given is that of its outputs, as in newer versions of Keras."""
    x, mask = keras.KerasTensor((1, 2)), keras.KerasTensor((1, 2), dtype="bool")
    outputs = keras.layers.Softmax(name="fastseq_masked")(x, mask=mask)
    return getattr(outputs, "_keras_mask", None) is not None


def _holds_tensors(value: Any) -> bool:
    flat = keras.tree.flatten(value)
    return any(isinstance(one, Tensor) for one in flat) and all(one is None or isinstance(one, Tensor) for one in flat)


def _with_masks(outputs: Tensors, masks: Any) -> Tensors:
    """The outputs, with masks where they have none, as `keras.Layer._set_mask_metadata` attaches them."""
    flat_masks = keras.tree.flatten(masks) if masks is not None else []
    flat = keras.tree.flatten(outputs)
    # zip stops at the shorter list, as in Keras.
    for position, mask in zip(range(len(flat)), flat_masks, strict=False):
        if flat[position].mask is None and mask is not None:
            flat[position] = flat[position].with_mask(mask)
    return keras.tree.pack_sequence_as(outputs, flat)
