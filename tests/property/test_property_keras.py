"""Every layer beside the same stock layer, with random options, shapes and masks: outputs and gradients must be equal.

Cases that stock Keras refuses, or cannot compute on a CPU, are left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from attention_cases import MASKS, SCORES
from attention_cases import make_case as make_attention
from conv1d_cases import ACTIVATIONS
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from layer_cases import run
from rnn_cases import CELLS, GATES
from strategies import booleans, seeds
from tolerances import REFERENCE, STOCK, assert_close

from fastseq import keras as fast_keras
from fastseq import reference

# Each builds two layers: the profiles' numbers are of operations.
few_cases = settings(max_examples=20 if settings.get_current_profile_name() == "long" else 4)
dtypes = st.sampled_from(("float32", "float32", "float64"))
small = st.integers(1, 5)
around_vectors = st.one_of(small, st.sampled_from((8, 15, 16, 17)))
in_graph = st.sampled_from((False, False, True))


@dataclass(frozen=True, kw_only=True)
class LayerCase:
    """`shape` is the input's; the first of `arguments` are the layer's positional ones."""

    shape: tuple[int, ...]
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    call: dict[str, Any] = field(default_factory=dict)
    graph: bool = False
    seed: int = 0


def cases(
    shape: st.SearchStrategy[Any],
    options: dict[str, st.SearchStrategy[Any]],
    arguments: st.SearchStrategy[Any],
    call: dict[str, st.SearchStrategy[Any]] | None = None,
) -> st.SearchStrategy[LayerCase]:
    """Each option is given in some cases, and left to its default in others."""
    return st.builds(
        LayerCase,
        shape=shape,
        arguments=arguments,
        options=st.fixed_dictionaries({"dtype": dtypes}, optional=options),
        call=st.fixed_dictionaries({}, optional=call or {}),
        graph=in_graph,
        seed=seeds,
    )


def _numbers(case: LayerCase, shape: tuple[int, ...], stream: int = 0) -> Any:
    """Half of them integers, so that there are zeros and equal ones."""
    rng = np.random.default_rng([case.seed, stream])
    numbers = rng.standard_normal(shape)
    return np.where(rng.random(shape) < 0.5, np.round(numbers), numbers).astype(case.options["dtype"])


def _wrap(case: LayerCase) -> Callable[[Any], Any]:
    return tf.function if case.graph else lambda function: function


def _results(case: LayerCase, layer: Any, x: Any, **call: Any) -> list[Any]:
    """What it computes in its second call: a stateful layer has a state then."""
    layer.build(case.shape)
    _set_weights(case, layer)
    layer(x, **call)
    return run(layer, x, _wrap(case), **call)


def _stock_results(case: LayerCase, make: Callable[[], Any], x: Any, **call: Any) -> list[Any]:
    """What the layer computes, where stock Keras can."""
    try:
        return _results(case, make(), x, **call)
    except (ValueError, NotImplementedError, tf.errors.OpError):
        assume(False)
        raise


def _set_weights(case: LayerCase, layer: Any) -> None:
    # Seeds are among the weights of a layer with random numbers; they stay.
    for number, weight in enumerate(layer.trainable_weights):
        width = max(int(np.prod(weight.shape[:-1])), 1)
        weight.assign(_numbers(case, weight.shape, 1 + number) / width**0.5)


def _assert_same(case: LayerCase, stock: Callable[[], Any], fast: Callable[[], Any], **call: Any) -> None:
    x = tf.constant(_numbers(case, case.shape))
    call = {**case.call, **call}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        expected = _stock_results(case, stock, x, **call)
    for one, two in zip(expected, _results(case, fast(), x, **call), strict=True):
        assert (one is None) == (two is None)
        if one is not None:
            assert_close(two, one, STOCK[case.options["dtype"]])


def _mask(case: LayerCase, kind: str) -> Any:
    batch, timesteps = case.shape[:2]
    rng = np.random.default_rng([case.seed, 99])
    lengths = rng.integers(0, timesteps + 1, (batch, 1))
    steps = np.arange(timesteps)
    masks = {
        "before": steps >= timesteps - lengths,
        "after": steps < lengths,
        "inside": rng.random((batch, timesteps)) < 0.6,
        "nothing": np.zeros((batch, timesteps), bool),
    }
    return tf.constant(masks[kind]) if kind in masks else None


rnn_cases = cases(
    st.tuples(small, st.integers(1, 7), around_vectors),
    {
        "activation": st.sampled_from(ACTIVATIONS),
        "recurrent_activation": st.sampled_from(ACTIVATIONS),
        "reset_after": booleans,
        "use_bias": booleans,
        "unit_forget_bias": booleans,
        "return_sequences": booleans,
        "return_state": booleans,
        "go_backwards": booleans,
        "stateful": booleans,
        "unroll": booleans,
        "zero_output_for_mask": booleans,
        "dropout": st.sampled_from((0.0, 0.3)),
        "recurrent_dropout": st.sampled_from((0.0, 0.4)),
        "seed": st.just(7),
    },
    arguments=st.tuples(around_vectors),
    call={"training": booleans},
)
_OF_GATES = {"lstm": {"reset_after"}, "gru": {"unit_forget_bias"}, "simple_rnn": {"reset_after", "unit_forget_bias"}}
STOCK_RNN = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "simple_rnn": keras.layers.SimpleRNN}
FAST_RNN = {"lstm": fast_keras.FastLSTM, "gru": fast_keras.FastGRU, "simple_rnn": fast_keras.FastSimpleRNN}


@few_cases
@given(
    st.sampled_from(CELLS),
    rnn_cases,
    st.sampled_from(("none", "before", "after", "inside", "nothing")),
    booleans,
    booleans,
)
def test_recurrent(cell: str, case: LayerCase, mask: str, both: bool, with_state: bool) -> None:
    left_out = _OF_GATES[cell] | ({"recurrent_activation"} if GATES[cell] == 1 else set())
    options = {name: value for name, value in case.options.items() if name not in left_out}
    if both:
        options.pop("stateful", None)
    without_cudnn = {} if cell == "simple_rnn" else {"use_cudnn": False}
    call: dict[str, Any] = {} if mask == "none" else {"mask": _mask(case, mask)}
    if with_state and not both:
        states = [tf.constant(_numbers(case, (case.shape[0], case.arguments[0]), 50 + i)) for i in range(2)]
        call["initial_state"] = states if cell == "lstm" else states[:1]

    def make(kind: Any, **more: Any) -> Any:
        layer = kind(*case.arguments, **options, **more)
        return keras.layers.Bidirectional(layer) if both else layer

    _assert_same(
        case,
        lambda: make(STOCK_RNN[cell], **without_cudnn),
        lambda: make(FAST_RNN[cell], use_native=True),
        **call,
    )


_convolution = {
    "strides": st.integers(1, 3),
    "padding": st.sampled_from(("valid", "same", "causal")),
    "dilation_rate": st.integers(1, 3),
    "groups": st.sampled_from((1, 2)),
    "activation": st.sampled_from(ACTIVATIONS),
    "use_bias": booleans,
}
_conv_shape = st.tuples(small, st.integers(1, 24), st.sampled_from((2, 4, 16, 34)))
_conv_arguments = st.tuples(st.sampled_from((2, 4, 16, 34)), st.integers(1, 6))


@few_cases
@given(cases(_conv_shape, _convolution, _conv_arguments))
def test_conv1d(case: LayerCase) -> None:
    _assert_same(
        case,
        lambda: keras.layers.Conv1D(*case.arguments, **case.options),
        lambda: fast_keras.FastConv1D(*case.arguments, use_native=True, **case.options),
    )


_pooling = {"strides": st.integers(1, 6), "padding": st.sampled_from(("valid", "same"))}


@few_cases
@given(
    cases(_conv_shape, _convolution, _conv_arguments),
    st.integers(1, 5),
    st.fixed_dictionaries({}, optional=_pooling),
    booleans,
)
def test_conv1d_max_pool(case: LayerCase, pool_size: int, pooling: dict[str, Any], training: bool) -> None:
    def two() -> Any:
        conv = keras.layers.Conv1D(*case.arguments, **case.options)
        pool = keras.layers.MaxPooling1D(pool_size, **pooling, dtype=case.options["dtype"])
        return keras.Sequential([conv, pool])

    window = {"pool_size": pool_size, **{f"pool_{name}": value for name, value in pooling.items()}}

    def one() -> Any:
        return fast_keras.FastConv1DMaxPooling1D(*case.arguments, use_native=True, **case.options, **window)

    _assert_same(case, two, one, training=training)


@few_cases
@given(
    st.sampled_from(("Max", "Average")),
    cases(
        st.tuples(small, st.integers(1, 24), around_vectors),
        {**_pooling, "data_format": st.sampled_from(("channels_last", "channels_first"))},
        st.tuples(st.integers(1, 6)),
    ),
)
def test_pooling(kind: str, case: LayerCase) -> None:
    _assert_same(
        case,
        lambda: getattr(keras.layers, f"{kind}Pooling1D")(*case.arguments, **case.options),
        lambda: getattr(fast_keras, f"Fast{kind}Pooling1D")(*case.arguments, use_native=True, **case.options),
    )


@few_cases
@given(
    st.sampled_from(("Dropout", "SpatialDropout1D")),
    cases(
        st.tuples(small, small, around_vectors),
        {"noise_shape": st.sampled_from((None, (None, 1, None), (1, None, 1)))},
        st.tuples(st.sampled_from((0.0, 0.1, 0.5, 0.9))),
        call={"training": booleans},
    ),
)
def test_dropout(kind: str, case: LayerCase) -> None:
    options = {**case.options, "seed": case.seed % 2**31}
    if kind == "SpatialDropout1D":
        options.pop("noise_shape", None)
    _assert_same(
        case,
        lambda: getattr(keras.layers, kind)(*case.arguments, **options),
        lambda: getattr(fast_keras, f"Fast{kind}")(*case.arguments, use_native=True, **options),
    )


@few_cases
@given(
    cases(
        st.one_of(st.tuples(small, st.integers(0, 9)), st.tuples(small), st.tuples(small, small, small)),
        {"mask_zero": booleans},
        st.tuples(around_vectors, around_vectors),
    ),
    st.sampled_from(("int32", "int64", "uint8", "float32")),
    booleans,
)
def test_embedding(case: LayerCase, ids_dtype: str, dense_gradient: bool) -> None:
    input_dim = case.arguments[0]
    ids = tf.constant(np.random.default_rng(case.seed).integers(0, input_dim, case.shape).astype(ids_dtype))

    def results(layer: Any) -> list[Any]:
        layer.build(None)
        _set_weights(case, layer)

        def compute(ids: Any) -> Any:
            with tf.GradientTape() as tape:
                outputs = layer(ids)
                loss = tf.reduce_sum(tf.sin(outputs))
            return outputs, tf.convert_to_tensor(tape.gradient(loss, layer.embeddings.value))

        mask = layer.compute_mask(ids)
        return [*_wrap(case)(compute)(ids), *([] if mask is None else [tf.cast(mask, tf.int32)])]

    expected = results(keras.layers.Embedding(*case.arguments, **case.options))
    fast = fast_keras.FastEmbedding(*case.arguments, use_native=True, dense_gradient=dense_gradient, **case.options)
    for one, two in zip(expected, results(fast), strict=True):
        assert_close(two, one, STOCK[case.options["dtype"]])


@few_cases
@given(st.sampled_from(SCORES), st.sampled_from(MASKS), st.tuples(small, st.integers(1, 9), small, small), in_graph)
def test_attention(score: str, mask: str, sizes: tuple[int, int, int, int], graph: bool) -> None:
    """There is no stock twin: beside its definition."""
    case = make_attention(score, mask, *sizes)
    layer = fast_keras.FastAttention(case.units, score, dtype="float64")
    layer.build(case.x.shape)
    layer.set_weights(case.weights)
    call = {} if case.mask is None else {"mask": tf.constant(case.mask)}
    got = run(layer, case.x, tf.function if graph else lambda function: function, **call)
    forward = reference.attention_forward(case.x, case.weights, score=score, mask=case.mask)
    gradients = reference.attention_backward(forward, np.cos(forward.outputs))
    for mine, expected in zip(got, [forward.outputs, gradients.dx, *gradients.dweights], strict=True):
        assert_close(mine, expected, REFERENCE["float64"])


@few_cases
@given(
    cases(
        st.one_of(st.tuples(around_vectors), st.tuples(around_vectors, around_vectors)),
        {
            "beta_1": st.sampled_from((0.0, 0.5, 0.9)),
            "beta_2": st.sampled_from((0.0, 0.5, 0.999)),
            "epsilon": st.sampled_from((1e-7, 1e-3)),
            "amsgrad": booleans,
            "weight_decay": st.sampled_from((None, 0.1)),
            "clipnorm": st.just(0.5),
            "use_ema": booleans,
            "gradient_accumulation_steps": st.just(2),
        },
        st.tuples(st.sampled_from((0.1, 1e-3))),
    ),
    st.sampled_from((None, "int32", "int64")),
)
def test_adam(case: LayerCase, slices: str | None) -> None:
    options = {name: value for name, value in case.options.items() if name != "dtype"}

    def gradient(number: int) -> Any:
        if slices is None:
            return tf.constant(_numbers(case, case.shape, number))
        indices = tf.constant(np.random.default_rng(number).integers(0, case.shape[0], 9), slices)
        return tf.IndexedSlices(
            tf.constant(_numbers(case, (9, *case.shape[1:]), number)), indices, tf.constant(case.shape)
        )

    def train(kind: Any, **more: Any) -> list[Any]:
        optimizer = kind(*case.arguments, **options, **more)
        variable = keras.Variable(np.ones(case.shape), dtype=case.options["dtype"], name="table")
        optimizer.build([variable])

        def step(gradient: Any) -> None:
            optimizer.apply([gradient], [variable])

        compute = _wrap(case)(step)
        for number in range(3):
            compute(gradient(number))
        return [variable, *optimizer.variables]

    for one, two in zip(train(keras.optimizers.Adam), train(fast_keras.FastAdam, use_native=True), strict=True):
        assert_close(tf.cast(two.value, tf.float64), tf.cast(one.value, tf.float64), STOCK[case.options["dtype"]])
