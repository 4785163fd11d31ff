"""The stock Keras layers on JAX."""

from __future__ import annotations

import os
from typing import Any

import jax
import keras
import numpy as np

from fastseq.bench.problems import Problem, Results
from fastseq.bench.sides import LocalSide

_LAYERS = {"lstm": "LSTM", "gru": "GRU", "simple_rnn": "SimpleRNN"}


def keras_jax(problem: Problem, *, training: bool, threads: int) -> LocalSide:
    """keras.layers.LSTM, GRU or SimpleRNN."""
    # With the first array, JAX starts as many threads as it may use CPUs. It has no other setting.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    layer = getattr(keras.layers, _LAYERS[problem.cell])(problem.shape.units, return_sequences=True)
    layer.build(problem.x.shape)
    x, doutputs, *weights = (
        jax.numpy.asarray(array)
        for array in (problem.x, problem.doutputs, problem.kernel, problem.recurrent_kernel, problem.bias)
    )

    def outputs_of(x: Any, weights: list[Any]) -> Any:
        states = [variable.value for variable in layer.non_trainable_variables]
        return layer.stateless_call(weights, states, x, training=training)[0]

    @jax.jit
    def predict(x: Any, weights: list[Any]) -> list[Any]:
        return [outputs_of(x, weights)]

    @jax.jit
    def train(x: Any, weights: list[Any], doutputs: Any) -> list[Any]:
        outputs, backward = jax.vjp(outputs_of, x, weights)
        dx, dweights = backward(doutputs)
        return [outputs, dx, *dweights]

    def run() -> Any:
        return jax.block_until_ready(train(x, weights, doutputs) if training else predict(x, weights))

    def read(arrays: list[Any]) -> Results:
        names = ("outputs", "dx", "dkernel", "drecurrent_kernel", "dbias")
        return {name: np.asarray(array) for name, array in zip(names, arrays, strict=False)}

    return LocalSide(run, read)
