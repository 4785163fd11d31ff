"""TensorFlow's own fused LSTM, the operations BlockLSTMV2 and BlockLSTMGradV2, time first."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from fastseq.bench.problems import Problem, Results
from fastseq.bench.sides import LocalSide, UnavailableError
from fastseq.bench.sides._tensorflow import set_threads


def tf_block(problem: Problem, *, training: bool, threads: int) -> LocalSide:
    """BlockLSTMV2 and, in training, BlockLSTMGradV2."""
    if problem.cell != "lstm":
        raise UnavailableError(f"TensorFlow has no such operation for {problem.cell}")
    set_threads(threads)
    batch, timesteps, inputs, units = problem.shape
    x = tf.constant(problem.x.swapaxes(0, 1))
    doutputs = tf.constant(problem.doutputs.swapaxes(0, 1))
    # One weight matrix for [x, h]; its gates are in Keras's order.
    weights = tf.constant(np.concatenate([problem.kernel, problem.recurrent_kernel]))
    bias = tf.constant(problem.bias)
    zeros, no_peephole = tf.zeros((batch, units)), tf.zeros(units)

    # What both operations take.
    arguments = {
        "seq_len_max": tf.constant(timesteps, tf.int64),
        "cs_prev": zeros,
        "h_prev": zeros,
        "w": weights,
        "wci": no_peephole,
        "wcf": no_peephole,
        "wco": no_peephole,
        "b": bias,
    }

    @tf.function
    def predict(x: Any) -> Any:
        return tf.raw_ops.BlockLSTMV2(x=x, **arguments).h

    @tf.function
    def train(x: Any, doutputs: Any) -> list[Any]:
        forward = tf.raw_ops.BlockLSTMV2(x=x, **arguments)
        # Not by GradientTape: it takes BlockLSTMGrad, which expects the gates in another order.
        backward = tf.raw_ops.BlockLSTMGradV2(
            x=x,
            **arguments,
            **forward._asdict(),
            cs_grad=tf.zeros_like(forward.cs),
            h_grad=doutputs,
            use_peephole=False,
        )
        return [forward.h, backward.x_grad, backward.w_grad, backward.b_grad]

    def read(raw: Any) -> Results:
        if not training:
            return {"outputs": raw.numpy().swapaxes(0, 1)}
        outputs, dx, dweights, dbias = (tensor.numpy() for tensor in raw)
        return {
            "outputs": outputs.swapaxes(0, 1),
            "dx": dx.swapaxes(0, 1),
            "dkernel": dweights[:inputs],
            "drecurrent_kernel": dweights[inputs:],
            "dbias": dbias,
        }

    return LocalSide((lambda: train(x, doutputs)) if training else (lambda: predict(x)), read)
