"""Keras layers on TensorFlow: fastseq's, and the stock ones with and without XLA."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

import fastseq.keras
from fastseq.bench.problems import Problem
from fastseq.bench.sides import LocalSide
from fastseq.bench.sides._tensorflow import forward, forward_backward, read, set_threads

_LAYERS = {"lstm": "LSTM", "gru": "GRU", "simple_rnn": "SimpleRNN"}


def fast(problem: Problem, *, training: bool, threads: int) -> LocalSide:
    """FastLSTM, FastGRU or FastSimpleRNN."""
    return _side(
        getattr(fastseq.keras, f"Fast{_LAYERS[problem.cell]}"), {"use_native": True}, problem, training, threads
    )


def stock(problem: Problem, *, training: bool, threads: int) -> LocalSide:
    """keras.layers.LSTM, GRU or SimpleRNN."""
    return _side(getattr(keras.layers, _LAYERS[problem.cell]), {}, problem, training, threads)


def stock_jit(problem: Problem, *, training: bool, threads: int) -> LocalSide:
    """The same with jit_compile=True."""
    return _side(getattr(keras.layers, _LAYERS[problem.cell]), {}, problem, training, threads, jit_compile=True)


def _side(
    layer_class: Any,
    arguments: dict[str, Any],
    problem: Problem,
    training: bool,
    threads: int,
    *,
    jit_compile: bool = False,
) -> LocalSide:
    set_threads(threads)  # before a layer makes TensorFlow's context
    layer = layer_class(problem.shape.units, return_sequences=True, **arguments)
    layer.build(problem.x.shape)
    layer.set_weights([problem.kernel, problem.recurrent_kernel, problem.bias])
    x, doutputs = tf.constant(problem.x), tf.constant(problem.doutputs)
    mask = None if problem.mask is None else tf.constant(problem.mask)
    if training:
        return LocalSide(forward_backward(layer, x, mask, doutputs, jit_compile=jit_compile), read)
    return LocalSide(forward(layer, x, mask, jit_compile=jit_compile), read)
