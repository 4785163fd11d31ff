"""Formulas of the operations in TensorFlow's own operations, for gradients of gradients.

TensorFlow differentiates a formula twice to compute the gradient of one of our backward operations. That runs at the
speed of stock Keras, and only if it is asked for. A formula takes a forward operation's inputs; absent ones are None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

# Loops of at most this many steps are unrolled: TensorFlow's jacobians cannot vectorize the gradients of a loop.
_UNROLLED = 64

_ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "tanh": tf.tanh,
    "sigmoid": tf.sigmoid,
    "hard_sigmoid": keras.activations.hard_sigmoid,
    "relu": tf.nn.relu,
    "linear": tf.identity,
}


def gradients_of_gradients(
    formula: Callable[..., Sequence[Any]], inputs: Sequence[Any], doutputs: Sequence[Any], cotangents: Sequence[Any]
) -> list[Any]:
    """Differentiates the gradients with respect to the inputs once more, with respect to inputs and `doutputs`.

    Args:
        formula: A function that returns a tensor for each of `doutputs`.
        inputs: The formula's inputs; None for absent ones.
        doutputs: The gradients with respect to the outputs.
        cotangents: For each input, the gradient with respect to the input's gradient, or None.

    Returns:
        One gradient for each of `inputs`, then for each of `doutputs`; None if there is no gradient.
    """
    present = [index for index, tensor in enumerate(inputs) if tensor is not None]
    sources = [inputs[index] for index in present]
    with tf.GradientTape() as second:
        second.watch([*sources, *doutputs])
        with tf.GradientTape() as first:
            first.watch(sources)
            outputs = formula(*inputs)
        gradients = first.gradient(outputs, sources, output_gradients=list(doutputs))
    pairs = [
        (gradient, cotangents[index])
        for gradient, index in zip(gradients, present, strict=True)
        if gradient is not None and cotangents[index] is not None
    ]
    if not pairs:
        return [None] * (len(inputs) + len(doutputs))
    targets, weights = zip(*pairs, strict=True)
    found = second.gradient(list(targets), [*sources, *doutputs], output_gradients=list(weights))
    by_inputs: list[Any] = [None] * len(inputs)
    for index, gradient in zip(present, found, strict=False):
        by_inputs[index] = gradient
    return [*by_inputs, *found[len(sources) :]]


def conv1d(
    x: Any,
    kernel: Any,
    bias: Any | None,
    *,
    activation: str,
    strides: int,
    padding: str,
    dilation_rate: int,
    groups: int,
    pool_size: int = 0,
    pool_strides: int = 1,
    pool_padding: str = "valid",
) -> list[Any]:
    """See `fastseq.functional.conv1d_forward` or, with a `pool_size`, `conv1d_max_pool_forward`."""
    if padding == "causal":
        x = tf.pad(x, [[0, 0], [dilation_rate * (kernel.shape[0] - 1), 0], [0, 0]])
        padding = "valid"
    # TensorFlow has no gradients of grouped convolutions on a CPU.
    pairs = zip(tf.split(x, groups, axis=2), tf.split(kernel, groups, axis=2), strict=True)
    convolved = [
        tf.nn.convolution(one, weights, strides=strides, padding=padding.upper(), dilations=dilation_rate)
        for one, weights in pairs
    ]
    z = tf.concat(convolved, axis=2)
    outputs = _ACTIVATIONS[activation](z if bias is None else z + bias)
    return [tf.nn.max_pool1d(outputs, pool_size, pool_strides, pool_padding.upper()) if pool_size else outputs]


def of_maxima(values: Any, argmax: Any, *, timesteps: Any, pool_size: int, strides: int, padding: str) -> Any:
    """Gathers values at the positions of the maxima: (batch, pooled timesteps, channels).

    Args:
        values: (batch, timesteps, channels).
        argmax: A result of the forward operation: positions within windows, in bytes.
        timesteps: A scalar, int64.
        pool_size: As in the forward operation.
        strides: As in the forward operation.
        padding: As in the forward operation.
    """
    shape = tf.shape(argmax)
    channels = tf.shape(values)[2]
    width = 1 if pool_size <= 2**8 else 2 if pool_size <= 2**16 else 4
    if width > 1:
        parts = tf.reshape(argmax, [shape[0], shape[1], channels, width])
        argmax = tf.bitcast(parts, tf.uint16 if width == 2 else tf.int32)
    pooled = tf.cast(shape[1], tf.int64)
    before = (
        tf.maximum((pooled - 1) * strides + pool_size - timesteps, 0) // 2
        if padding == "same"
        else tf.zeros_like(pooled)
    )
    steps = (tf.range(pooled) * strides - before)[:, tf.newaxis] + tf.cast(argmax, tf.int64)
    by_channel = tf.gather(tf.transpose(values, (0, 2, 1)), tf.transpose(steps, (0, 2, 1)), batch_dims=2)
    return tf.transpose(by_channel, (0, 2, 1))


def rnn(
    x: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any | None,
    *more: Any | None,
    cell: str,
    activation: str,
    recurrent_activation: str = "sigmoid",
    reset_after: bool = True,
    go_backwards: bool,
    zero_output_for_mask: bool,
    h0_as_first_output: bool,
    return_sequences: bool,
) -> list[Any]:
    """See `fastseq.functional`.

    Args:
        x: (batch, timesteps, inputs).
        kernel: (inputs, gates * units).
        recurrent_kernel: (units, gates * units).
        bias: As in the cell's forward function.
        *more: The initial states, mask, dropout_mask and recurrent_dropout_mask.
        cell: "lstm", "gru" or "simple_rnn".
        activation: As in the cell's forward function.
        recurrent_activation: As in the cell's forward function.
        reset_after: As in the cell's forward function.
        go_backwards: As in the cell's forward function.
        zero_output_for_mask: As in the cell's forward function.
        h0_as_first_output: As in the cell's forward function.
        return_sequences: If false, the first result has no timesteps.

    Returns:
        The outputs, the last of them, and the states.
    """
    *initial, mask, dropout_mask, recurrent_dropout_mask = more
    gates = {"lstm": 4, "gru": 3, "simple_rnn": 1}[cell]
    batch, timesteps, units = tf.shape(x)[0], tf.shape(x)[1], tf.shape(recurrent_kernel)[0]
    zeros = tf.zeros([batch, units], x.dtype)
    states = [zeros if state is None else state for state in initial]
    if mask is not None:
        x = tf.where(mask[:, :, tf.newaxis], x, tf.zeros_like(x))  # masked steps may hold anything
    if go_backwards:
        x = tf.reverse(x, [1])
        mask = None if mask is None else tf.reverse(mask, [1])
    input_bias, recurrent_bias = (bias, None) if bias is None or bias.shape.rank == 1 else tf.unstack(bias)

    def products(v: Any, weights: Any, factors: Any | None) -> list[Any]:
        """For every gate, the product of the gate's weights and of v times the gate's dropout factors."""
        by_gate = tf.split(weights, gates, axis=1)
        if factors is None:
            return [v @ one for one in by_gate]
        factors = factors if v.shape.rank == 2 else factors[:, :, tf.newaxis, :]
        of_all = factors.shape[0] == 1
        return [(v * factors[0 if of_all else gate]) @ one for gate, one in enumerate(by_gate)]

    def recurrent(h: Any, bias: Any | None = None) -> list[Any]:
        found = products(h, recurrent_kernel, recurrent_dropout_mask)
        return found if bias is None else [z + b for z, b in zip(found, tf.split(bias, gates), strict=True)]

    f, s = _ACTIVATIONS[activation], _ACTIVATIONS[recurrent_activation]

    def lstm(z: list[Any], h: Any, c: Any) -> list[Any]:
        i, forget, candidate, o = (one + other for one, other in zip(z, recurrent(h), strict=True))
        c = s(forget) * c + s(i) * f(candidate)
        return [s(o) * f(c), c]

    def gru(z: list[Any], h: Any) -> list[Any]:
        of_h = recurrent(h, recurrent_bias)
        update, reset = s(z[0] + of_h[0]), s(z[1] + of_h[1])
        kept = reset * of_h[2] if reset_after else recurrent(reset * h)[2]
        return [update * h + (1 - update) * f(z[2] + kept)]

    def simple_rnn(z: list[Any], h: Any) -> list[Any]:
        return [f(z[0] + recurrent(h)[0])]

    cells: dict[str, Callable[..., list[Any]]] = {"lstm": lstm, "gru": gru, "simple_rnn": simple_rnn}
    take = cells[cell]
    inputs = products(x, kernel, dropout_mask)
    if input_bias is not None:
        inputs = [z + b for z, b in zip(inputs, tf.split(input_bias, gates), strict=True)]

    def step(t: Any, output: Any, *before: Any) -> tuple[Any, ...]:
        """The output after a step, and the states."""
        after = take([z[:, t] for z in inputs], *before)
        if mask is None:
            return (after[0], *after)
        on = mask[:, t, tf.newaxis]
        new = tf.where(on, after[0], zeros if zero_output_for_mask else output)
        return (new, *(tf.where(on, one, other) for one, other in zip(after, before, strict=True)))

    first = states[0] if h0_as_first_output and not zero_output_for_mask else zeros
    by_step, last, *states = _loop(step, timesteps, x.shape[1], first, *states)
    outputs = tf.transpose(by_step, (1, 0, 2)) if return_sequences else zeros[:, tf.newaxis][:, :0]
    return [outputs, last, *states]


def _loop(step: Callable[..., tuple[Any, ...]], count: Any, known: int | None, *first: Any) -> tuple[Any, ...]:
    """Runs a loop of `count` steps.

    Args:
        step: A function of an index and the results of the step before, which returns the results of this step.
        count: A scalar tensor.
        known: The value of `count` if it is known, else None.
        first: The arguments of the first step, in the place of results.

    Returns:
        The first result of every step, stacked, and all results of the last step.
    """
    if known is not None and 0 < known <= _UNROLLED:
        kept, now = [], first
        for t in range(known):
            now = step(t, *now)
            kept.append(now[0])
        return (tf.stack(kept), *now)
    array = tf.TensorArray(first[0].dtype, count, element_shape=first[0].shape)

    def body(t: Any, array: Any, *before: Any) -> tuple[Any, ...]:
        now = step(t, *before)
        return (t + 1, array.write(t, now[0]), *now)

    _, array, *now = tf.while_loop(lambda t, *_: t < count, body, (tf.constant(0), array, *first))
    return (array.stack(), *now)
