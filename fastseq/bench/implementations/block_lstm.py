"""TensorFlow's fused LSTM, the operations BlockLSTMV2 and BlockLSTMGradV2, with time as the first axis."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from fastseq.bench.implementations import LocalImplementation, UnavailableError
from fastseq.bench.implementations._layouts import RECURRENT, from_keras, to_keras
from fastseq.bench.problems import LayerProblem, Results
from fastseq.frameworks import FRAMEWORKS


def make_layers(implementation: str, problem: LayerProblem, pass_: str, *, threads: int) -> LocalImplementation:
    """BlockLSTMV2 and, in training, BlockLSTMGradV2."""
    if [layer.name for layer in problem.layers] != ["LSTM"]:
        raise UnavailableError("is an LSTM")
    FRAMEWORKS["tensorflow"].set_threads(threads)
    kernel, recurrent_kernel, bias = problem.weights.values()
    (batch, timesteps, inputs), units = problem.x.shape, len(recurrent_kernel)
    x = tf.constant(from_keras(problem.x, RECURRENT))
    doutputs = tf.constant(from_keras(problem.doutputs, RECURRENT))
    zeros, no_peephole = tf.zeros((batch, units)), tf.zeros(units)

    # The common arguments of both operations.
    arguments = {
        "seq_len_max": tf.constant(timesteps, tf.int64),
        "cs_prev": zeros,
        "h_prev": zeros,
        # One weight matrix for [x, h]; its gates are in Keras's order.
        "w": tf.constant(np.concatenate([kernel, recurrent_kernel])),
        "wci": no_peephole,
        "wcf": no_peephole,
        "wco": no_peephole,
        "b": tf.constant(bias),
    }

    @tf.function
    def predict(x: Any) -> list[Any]:
        return [tf.raw_ops.BlockLSTMV2(x=x, **arguments).h]

    @tf.function
    def train(x: Any, doutputs: Any) -> list[Any]:
        forward = tf.raw_ops.BlockLSTMV2(x=x, **arguments)
        # Not with GradientTape, which uses BlockLSTMGrad, and that expects the gates in another order.
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
        outputs, *gradients = (tensor.numpy() for tensor in raw)
        results = {"outputs": to_keras(outputs, RECURRENT)}
        if gradients:
            dx, dweights, dbias = gradients
            results |= {"dx": to_keras(dx, RECURRENT), "dbias": dbias}
            results |= {"dkernel": dweights[:inputs], "drecurrent_kernel": dweights[inputs:]}
        return results

    return LocalImplementation((lambda: train(x, doutputs)) if pass_ == "training" else (lambda: predict(x)), read)
