"""The convolution operations."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from fastseq.keras.backend.tensorflow import formulas, library

_NO_POOLING = {"pool_size": 0, "pool_strides": 1, "pool_padding": "valid"}
_POOLING = tuple(_NO_POOLING)
_CONVOLUTION = tuple(name for name in library.options_of("conv1d_backward") if name not in _POOLING)


def conv1d(inputs: Sequence[Any], *, options: Mapping[str, Any], convolved_shape: Sequence[Any], training: bool) -> Any:
    """See `fastseq.keras.backend.Backend`."""
    x, kernel, bias = inputs
    settings = library.attributes(**{**_NO_POOLING, **options}, save_argmax=training)
    return _convolve((x, kernel, library.or_absent(bias, 1, x.dtype)), convolved_shape, **settings)


def _convolve(inputs: Iterable[Any], convolved_shape: Any, **options: Any) -> Any:
    """The operation's outputs; `convolved_shape` is (batch, timesteps, filters) before the pooling."""
    outputs, _ = library.ops.fastseq_conv1d_forward(*inputs, **options)
    pooling = [options[name] for name in _POOLING]
    # Shape inference does not see attributes, so it cannot compute the number of timesteps. (EnsureShape would not do:
    # TensorFlow's forward mode cannot trace it.)
    outputs.set_shape(library.pooled_shape(convolved_shape, *pooling) if options["pool_size"] else convolved_shape)
    return outputs


@tf.RegisterGradient("FastseqConv1dForward")  # type: ignore[untyped-decorator]
def _gradient(op: Any, doutputs: Any, _: Any) -> list[Any]:
    options = {name: op.get_attr(name) for name in (*_CONVOLUTION, *_POOLING)}
    outputs, argmax = op.outputs
    if options["pool_size"] and not op.get_attr("save_argmax"):
        only_forward = {"save_argmax": True, "pool_propagate_nan": op.get_attr("pool_propagate_nan")}
        argmax = library.ops.fastseq_conv1d_forward(*op.inputs, **options, **only_forward)[1]
    _, dx, dweights = library.backward(
        library.ops.fastseq_conv1d_backward,
        op,
        outputs,
        argmax,
        doutputs,
        after=outputs,
        states=0,
        weights=(1, 2),
        **options,
    )
    return [dx, *dweights]


@tf.RegisterGradient("FastseqConv1dBackward")  # type: ignore[untyped-decorator]
def _second_gradient(op: Any, *gradients: Any) -> list[Any]:
    inputs, doutputs, rest = op.inputs[:3], op.inputs[5], op.inputs[6:]
    options = library.attributes_of(op, *_CONVOLUTION, *_POOLING)
    *by_inputs, by_doutputs = formulas.gradients_of_gradients(
        functools.partial(formulas.conv1d, **options),
        [library.or_none(tensor) for tensor in inputs],
        [doutputs],
        [library.or_zeros(gradient, tensor) for gradient, tensor in zip(gradients[-3:], inputs, strict=True)],
    )
    return [*by_inputs, None, None, by_doutputs, *(None for _ in rest)]


_ACTIVATIONS = {"Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh"}


@dataclass(frozen=True)
class TracedConvolution:
    """A `conv1d` in the graph that is being traced.

    Attributes:
        inputs: The operation's inputs.
        shape: (batch, timesteps, filters), the shape of its outputs.
        options: The convolution's options, with the activation that is applied to it.
    """

    inputs: tuple[Any, ...]
    shape: Any
    options: dict[str, Any]

    def max_pool(self, *, pool_size: int, strides: int, padding: str, training: bool) -> Any:
        """The max pooling of the convolution's outputs.

        This adds an operation that computes both. The operation with the convolution only is pruned from the graph,
        unless something else needs its outputs.
        """
        pooling = library.attributes(
            pool_size=pool_size, pool_strides=strides, pool_padding=padding, save_argmax=training
        )
        return _convolve(self.inputs, self.shape, **pooling, **self.options)


def traced_convolution(x: Any) -> TracedConvolution | None:
    """The `conv1d` that computes a tensor, directly or followed by an activation.

    Args:
        x: (batch, timesteps, filters).

    Returns:
        None if another operation computes x, or x is not in the graph that is being traced.
    """
    if not tf.is_symbolic_tensor(x) or x.graph is not tf.compat.v1.get_default_graph():
        return None
    op, activation = x.op, None
    if op.type in _ACTIVATIONS:
        op, activation = op.inputs[0].op, _ACTIVATIONS[op.type]
    if op.type != "FastseqConv1dForward":
        return None
    options = {name: op.get_attr(name) for name in _CONVOLUTION}
    if op.get_attr("pool_size") or (activation and options["activation"] != b"linear"):
        return None
    return TracedConvolution(tuple(op.inputs), x.shape, options | ({"activation": activation} if activation else {}))
