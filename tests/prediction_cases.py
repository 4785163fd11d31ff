"""Models for prediction: each mixes layers in a way that those of `accelerate_cases` do not, with inputs for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from fastseq.keras import FastAttention, FastConv1D, FastConv1DMaxPooling1D, FastGRU, FastLSTM, FastMaxPooling1D

BATCH, TIMESTEPS, FEATURES, IDS = 5, 7, 3, 20


def _x(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal((BATCH, *shape)).astype("float32")


def _ids(*shape: int, seed: int = 0) -> Any:
    """Ids with zeros before, between and after others, and in the last row nothing else."""
    ids = np.random.default_rng(seed).integers(1, IDS, (BATCH, *(shape or (TIMESTEPS,)))).astype("int32")
    ids[0, ..., :3] = ids[1, ..., 2:4] = ids[2, ..., -2:] = ids[-1] = 0
    return ids


def _id_input(*shape: int | None, name: str | None = None) -> Any:
    return keras.Input(shape or (TIMESTEPS,), dtype="int32", name=name)


def _sequence_input(timesteps: int | None = TIMESTEPS) -> Any:
    return keras.Input((timesteps, FEATURES))


def _embedded(inputs: Any, width: int = 4) -> Any:
    return layers.Embedding(IDS, width, mask_zero=True)(inputs)


def masks_through_merges() -> tuple[Any, Any]:
    one, two, plain = _id_input(), _id_input(), _sequence_input()
    a, b = _embedded(one), _embedded(two)
    features = layers.Dense(4)(plain)
    merged = [
        merge()([a, b])
        for merge in (layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum)
    ]
    merged += [merge()([a, features, b]) for merge in (layers.Add, layers.Multiply, layers.Maximum, layers.Minimum)]
    inputs = [_ids(), _ids(seed=1)[::-1].copy(), _x(TIMESTEPS, FEATURES)]
    return keras.Model([one, two, plain], [layers.LSTM(3)(each) for each in merged]), inputs


def masks_through_concatenations() -> tuple[Any, Any]:
    one, two, plain = _id_input(), _id_input(), _sequence_input()
    a, b, features = _embedded(one), _embedded(two), layers.Dense(4)(plain)
    merged = [layers.Concatenate()([a, b]), layers.Concatenate()([a, features])]
    merged += [layers.Concatenate(axis=1)([a, features, b])]
    inputs = [_ids(), _ids(seed=1)[::-1].copy(), _x(TIMESTEPS, FEATURES)]
    return keras.Model([one, two, plain], [layers.GRU(3)(each) for each in merged]), inputs


def merges_of_several_ranks() -> tuple[Any, Any]:
    row, steps = keras.Input((FEATURES,)), _sequence_input()
    ids = _id_input()
    merged = [merge()([row, steps]) for merge in (layers.Add, layers.Multiply, layers.Maximum)]
    merged += [layers.Multiply()([_embedded(ids, FEATURES), row])]
    return keras.Model([row, steps, ids], layers.Concatenate()(merged)), [
        _x(FEATURES),
        _x(TIMESTEPS, FEATURES),
        _ids(),
    ]


def dots() -> tuple[Any, Any]:
    row, other, steps, more = keras.Input((4,)), keras.Input((4,)), keras.Input((6, 4)), keras.Input((4, 3))
    outputs = [
        layers.Dot(1)([row, other]),
        layers.Dot((1, 2))([row, steps]),
        layers.Dot((1, 1))([row, more]),
        layers.Dot((2, 1))([steps, row]),
        layers.Dot((2, 1))([steps, more]),
        layers.Dot((1, 2))([more, steps]),
        layers.Dot(-1)([steps, steps]),
    ]
    return keras.Model([row, other, steps, more], outputs), [_x(4), _x(4, seed=1), _x(6, 4), _x(4, 3)]


def hierarchical() -> tuple[Any, Any]:
    """Documents of sentences of words: the mask has three dimensions."""
    inputs = _id_input(3, TIMESTEPS)
    words = _embedded(inputs)
    sentences = layers.TimeDistributed(layers.Bidirectional(layers.GRU(4)))(words)
    convolved = layers.TimeDistributed(layers.Conv1D(4, 3, padding="same", activation="relu"))(words)
    pooled = layers.TimeDistributed(layers.GlobalMaxPooling1D())(convolved)
    rows = [layers.Flatten()(each) for each in (sentences, pooled)]
    return keras.Model(inputs, layers.Dense(2)(layers.Concatenate()(rows))), _ids(3, TIMESTEPS)


def time_distributed_model() -> tuple[Any, Any]:
    sentence = _id_input()
    encoder = keras.Model(sentence, layers.LSTM(4)(_embedded(sentence)), name="encoder")
    parts = [
        keras.Input((None, TIMESTEPS), dtype="int32"),
        layers.TimeDistributed(encoder),
        layers.TimeDistributed(layers.Dense(3, activation="tanh")),
        layers.TimeDistributed(layers.Reshape((3, 1))),
        layers.TimeDistributed(layers.TimeDistributed(layers.Dense(2))),
        layers.TimeDistributed(layers.Flatten()),
        layers.GRU(3),
    ]
    return keras.Sequential(parts), _ids(3, TIMESTEPS)


def masked_encoder_decoder() -> tuple[Any, Any]:
    """Keras gives a decoder with an initial state no mask, but passes the mask on to the layers after it."""
    source, target = _id_input(None), _id_input(None)
    encoded, h, c = layers.LSTM(4, return_sequences=True, return_state=True)(_embedded(source))
    decoded = layers.LSTM(4, return_sequences=True)(_embedded(target), initial_state=[h, c])
    context = layers.Dot((2, 2))([decoded, encoded])
    context = layers.Dot((2, 1))([layers.Softmax()(context), encoded])
    mixed = layers.Add()([layers.GRU(4, return_sequences=True)(decoded), context])
    inputs = [_ids(TIMESTEPS), _ids(5, seed=2)[::-1].copy()]
    return keras.Model([source, target], layers.TimeDistributed(layers.Dense(IDS, "softmax"))(mixed)), inputs


def bidirectional_encoder_decoder() -> tuple[Any, Any]:
    source, target = _sequence_input(), _sequence_input(None)
    _, *states = layers.Bidirectional(layers.LSTM(4, return_state=True))(source)
    decoded = layers.Bidirectional(layers.LSTM(4, return_sequences=True), merge_mode="mul")(
        target, initial_state=states
    )
    h = layers.Concatenate()(states[::2])
    last = layers.GRU(8, return_state=True)(layers.Dense(8)(decoded), initial_state=[h])
    return keras.Model([source, target], last), [_x(TIMESTEPS, FEATURES), _x(4, FEATURES, seed=1)]


def merge_modes() -> tuple[Any, Any]:
    inputs = _id_input()
    x = _embedded(inputs)
    for mode in ("ave", "sum", "mul", "concat"):
        x = layers.Bidirectional(layers.LSTM(4, return_sequences=True), merge_mode=mode)(x)
    forward, backward = layers.Bidirectional(layers.GRU(4, return_sequences=True), merge_mode=None)(x)
    ends = layers.Bidirectional(layers.SimpleRNN(4), merge_mode=None)(forward)
    return keras.Model(inputs, [*ends, layers.GRU(3)(backward), x]), _ids()


def shared_layers() -> tuple[Any, Any]:
    one, two = _id_input(), _id_input()
    embedding, encoder, dense = layers.Embedding(IDS, 4, mask_zero=True), layers.LSTM(4), layers.Dense(3, "tanh")
    a, b = (dense(encoder(embedding(each))) for each in (one, two))
    distance = layers.Subtract()([a, b])
    return keras.Model([one, two], layers.Concatenate()([layers.Dot(1)([a, b]), distance])), [_ids(), _ids(seed=1)]


def nested_models_with_masks() -> tuple[Any, Any]:
    """The mask of a model's output, and one that a model gets with its input."""
    ids, inner_x = _id_input(), keras.Input((TIMESTEPS, 4))
    embedder = keras.Model(ids, layers.Dropout(0.3)(_embedded(ids)), name="embedder")
    encoder = keras.Sequential([inner_x, layers.Dense(4, activation="relu"), layers.GRU(3)], name="encoder")
    outer = _id_input()
    both = keras.Sequential([_id_input(), embedder, encoder], name="both")
    return keras.Model(outer, [encoder(embedder(outer)), both(outer), layers.LSTM(2)(embedder(outer))]), _ids()


def dict_inputs_and_outputs() -> tuple[Any, Any]:
    title, body = _id_input(name="title"), _id_input(None, name="body")
    tags = keras.Input((4,), name="tags")
    embedding = layers.Embedding(IDS, 4)
    x = layers.Concatenate()([layers.LSTM(3)(embedding(title)), layers.LSTM(3)(embedding(body)), tags])
    outputs = {"priority": layers.Dense(1, activation="sigmoid")(x), "department": layers.Dense(4, "softmax")(x)}
    model = keras.Model({"title": title, "body": body, "tags": tags}, outputs)
    return model, {"title": _ids(), "body": _ids(TIMESTEPS + 2, seed=1), "tags": _x(4)}


def stateful_layers() -> tuple[Any, Any]:
    inputs = keras.Input(batch_shape=(BATCH, TIMESTEPS, FEATURES))
    shared = layers.GRU(4, stateful=True, return_sequences=True)
    x = shared(layers.Dense(4)(shared(layers.Dense(4)(inputs))))
    x = layers.Bidirectional(layers.LSTM(4, stateful=True, return_sequences=True))(x)
    return keras.Model(inputs, layers.SimpleRNN(3, stateful=True)(x)), _x(TIMESTEPS, FEATURES)


def activations() -> tuple[Any, Any]:
    inputs = keras.Input((6,))
    names = "tanh sigmoid hard_sigmoid relu linear elu exponential gelu hard_silu leaky_relu log_sigmoid mish relu6"
    names += " selu silu softplus softsign softmax log_softmax tanh_shrink"
    known = [name for name in names.split() if hasattr(keras.activations, name)]
    outputs = [layers.Activation(name)(inputs) for name in known] + [layers.Dense(4, name)(inputs) for name in known]
    made = [
        layers.ReLU(),
        layers.ReLU(max_value=1.0),
        layers.ReLU(6),
        layers.ReLU(negative_slope=0.2),
        layers.ReLU(max_value=1.5, negative_slope=0.2, threshold=0.3),
        layers.LeakyReLU(0.1),
        layers.ELU(0.7),
        layers.PReLU(alpha_initializer="uniform"),
        layers.Softmax(),
    ]
    outputs += [layer(inputs) for layer in made]
    outputs += [layers.Dense(3, activation=layers.LeakyReLU(0.3))(inputs)]
    return keras.Model(inputs, outputs), _x(6)


def activations_of_sequences() -> tuple[Any, Any]:
    x = inputs = _sequence_input(None)
    x = layers.Softmax(axis=1)(x)
    x = layers.PReLU(shared_axes=[1], alpha_initializer="uniform")(x)
    return keras.Model(inputs, layers.Conv1D(4, 2, activation="swish")(x)), _x(TIMESTEPS, FEATURES)


def masked_softmax() -> tuple[Any, Any]:
    inputs = _id_input()
    scores = layers.Reshape((TIMESTEPS,))(layers.Dense(1)(layers.LSTM(4, return_sequences=True)(_embedded(inputs))))
    mask = layers.Embedding(IDS, 1, mask_zero=True).compute_mask(inputs)
    return keras.Model(inputs, layers.Softmax()(scores, mask=mask)), _ids()


def _with_statistics(layer: Any) -> Any:
    rng = np.random.default_rng(3)
    layer.set_weights([rng.uniform(0.5, 1.5, weight.shape).astype("float32") for weight in layer.get_weights()])
    return layer


def normalizations() -> tuple[Any, Any]:
    inputs = _sequence_input()
    made = [
        layers.BatchNormalization(),
        layers.BatchNormalization(scale=False, axis=1),
        layers.BatchNormalization(center=False, axis=2, epsilon=0.1),
        layers.LayerNormalization(),
        layers.LayerNormalization(axis=[1, 2]),
        layers.LayerNormalization(center=False, epsilon=0.1),
        layers.LayerNormalization(scale=False),
        layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 0.5, 0.0]),
        layers.Normalization(axis=None, mean=1.0, variance=2.0, invert=True),
        layers.Rescaling(2.0),
        layers.Rescaling(2.0, offset=-0.5),
    ]
    if hasattr(layers, "RMSNormalization"):
        made += [layers.RMSNormalization()]
    outputs = [layer(inputs) for layer in made]
    adapted = layers.Normalization()
    adapted.adapt(_x(TIMESTEPS, FEATURES, seed=4))
    outputs += [adapted(inputs)]
    for layer in made:
        if layer.weights:
            _with_statistics(layer)
    return keras.Model(inputs, outputs), _x(TIMESTEPS, FEATURES)


def shapes() -> tuple[Any, Any]:
    inputs, row = _sequence_input(), keras.Input((6,))
    x = layers.ZeroPadding1D((1, 2))(inputs)
    x = layers.Cropping1D((0, 2))(layers.UpSampling1D(3)(x))
    x = layers.Cropping1D((3, 0))(x)
    x = layers.Permute((2, 1))(x)
    y = layers.Reshape((-1, 2))(layers.RepeatVector(3)(layers.Reshape((6,))(row)))
    z = layers.Permute((3, 1, 2))(layers.Reshape((2, -1, 1))(row))
    return keras.Model([inputs, row], [x, y, z, layers.Flatten()(z)]), [_x(TIMESTEPS, FEATURES), _x(6)]


def poolings() -> tuple[Any, Any]:
    inputs, ids = _sequence_input(), _id_input(None)
    outputs = [
        layers.MaxPooling1D(3, 2, padding="same")(inputs),
        layers.MaxPooling1D(2, 3)(inputs),
        layers.AveragePooling1D(3, 2)(inputs),
        layers.AveragePooling1D(3, 2, padding="same")(inputs),  # as much padding at both ends
        layers.GlobalMaxPooling1D()(inputs),
        layers.GlobalMaxPooling1D(keepdims=True)(inputs),
        layers.GlobalAveragePooling1D(keepdims=True)(inputs),
        layers.GlobalMaxPooling1D()(_embedded(ids)),
    ]
    some = layers.Embedding(IDS, 4, mask_zero=True)(ids)
    outputs += [layers.GlobalAveragePooling1D()(some), layers.GlobalAveragePooling1D(keepdims=True)(some)]
    given = _ids(TIMESTEPS)
    given[-1] = 1  # the mean of nothing is NaN
    return keras.Model([inputs, ids], outputs), [_x(TIMESTEPS, FEATURES), given]


def convolutions() -> tuple[Any, Any]:
    inputs = keras.Input((None, 4))
    made = [
        layers.Conv1D(6, 3, padding="causal", dilation_rate=2, activation="tanh"),
        layers.Conv1D(6, 3, strides=2, padding="same", use_bias=False, activation="hard_sigmoid"),
        layers.Conv1D(6, 3, groups=2, activation="gelu"),
        FastConv1D(6, 2, activation="sigmoid"),
        FastConv1DMaxPooling1D(6, 3, pool_size=3, pool_strides=2, pool_padding="same", activation="relu"),
        FastConv1DMaxPooling1D(6, 2, activation="softplus"),
    ]
    return keras.Model(inputs, [layer(inputs) for layer in made]), _x(11, 4)


def residual_convolutions() -> tuple[Any, Any]:
    """Activations and poolings that can be computed along with a convolution, and some that cannot."""
    inputs = keras.Input((12, 4))
    plain = layers.Conv1D(4, 3, padding="same")(inputs)
    x = layers.ReLU()(layers.Add()([layers.Conv1D(4, 3, padding="same")(layers.Activation("relu")(plain)), inputs]))
    x = layers.MaxPooling1D(2)(layers.Activation("tanh")(layers.BatchNormalization()(layers.Conv1D(4, 2)(x))))
    x = layers.MaxPooling1D(2)(layers.ReLU()(layers.Conv1D(4, 2)(x)))
    y = layers.Activation("sigmoid")(plain)  # the second reader of the convolution
    return keras.Model(inputs, [layers.Activation("relu")(layers.Dense(3)(x)), y]), _x(12, 4)


def attentions() -> tuple[Any, Any]:
    inputs, ids = _sequence_input(None), _id_input(None)
    x = FastLSTM(4, return_sequences=True)(_embedded(ids))
    outputs = [
        FastAttention(5, score=score)(each) for score in ("luong", "bahdanau") for each in (inputs, x, _embedded(ids))
    ]
    return keras.Model([inputs, ids], outputs), [_x(TIMESTEPS, FEATURES), _ids(TIMESTEPS)]


def masked_floats() -> tuple[Any, Any]:
    x = _x(TIMESTEPS, FEATURES)
    x[0, :3] = x[1, 2:4] = x[2, -2:] = x[-1] = -1.0
    x[3, 1, 0] = -1.0  # not the whole step
    inputs = _sequence_input()
    masked = layers.Masking(-1.0)(inputs)
    outputs = [
        masked,
        layers.LSTM(3, return_sequences=True)(layers.GaussianNoise(0.1)(masked)),
        layers.GRU(3, go_backwards=True, return_sequences=True)(layers.SpatialDropout1D(0.2)(masked)),
        layers.SimpleRNN(3, go_backwards=True)(layers.ActivityRegularization(0.1)(masked)),
        layers.LSTM(3)(layers.TimeDistributed(layers.Dense(2))(layers.LayerNormalization()(masked))),
        layers.LSTM(3)(layers.Conv1D(3, 2)(masked)),
        *layers.RNN(layers.LSTMCell(3), zero_output_for_mask=True, return_sequences=True, return_state=True)(masked),
    ]
    return keras.Model(inputs, outputs), x


def options_of_recurrent_layers() -> tuple[Any, Any]:
    inputs = _id_input()
    x = _embedded(inputs)
    made = [
        layers.LSTM(3, activation="relu", recurrent_activation="hard_sigmoid", use_bias=False, unroll=True),
        layers.GRU(3, reset_after=False, return_sequences=True),
        layers.GRU(3, use_bias=False, dropout=0.2, recurrent_dropout=0.2),
        layers.SimpleRNN(3, activation="sigmoid", return_sequences=True, unroll=True),
        layers.SimpleRNN(3, use_bias=False, activation=None),
        layers.RNN(layers.GRUCell(3, reset_after=False), zero_output_for_mask=True, return_sequences=True),
        layers.RNN(layers.SimpleRNNCell(3), go_backwards=True, return_sequences=True),
        FastGRU(3, zero_output_for_mask=True, return_sequences=True),
    ]
    return keras.Model(inputs, [layer(x) for layer in made]), _ids()


def masks_given() -> tuple[Any, Any]:
    """Masks that the user gives: an input, and what a layer's compute_mask returns."""
    ids, steps, mask = _id_input(), _sequence_input(), keras.Input((TIMESTEPS,), dtype="bool")
    embedding = layers.Embedding(IDS, 4)
    other = layers.Embedding(IDS, 4, mask_zero=True)
    given = layers.LSTM(3, return_sequences=True)(steps, mask=mask)
    outputs = [layers.GRU(3)(given), layers.LSTM(3)(embedding(ids), mask=other.compute_mask(ids))]
    return keras.Model([ids, steps, mask], outputs), [_ids(), _x(TIMESTEPS, FEATURES), _ids(seed=3) != 0]


def ids_as_floats() -> tuple[Any, Any]:
    """keras.Input is float32 where nothing else is said, also for ids."""
    ids, counts = keras.Input((TIMESTEPS,)), keras.Input((4,))
    x = layers.GRU(3)(_embedded(layers.Dropout(0.1)(ids)))
    outputs = layers.Dense(2)(layers.Concatenate()([x, layers.Rescaling(0.1)(counts)]))
    return keras.Model([ids, counts], outputs), [_ids().astype("float32"), _ids(4).astype("float32")]


def fused_while_traced() -> tuple[Any, Any]:
    parts = [
        keras.Input((16, 3)),
        FastConv1D(5, 3),
        layers.Activation("relu"),
        FastMaxPooling1D(2, padding="same"),
        layers.GaussianDropout(0.1),
        layers.AlphaDropout(0.1),
        layers.Bidirectional(FastLSTM(3)),
    ]
    return keras.Sequential(parts), _x(16, 3)


CASES: dict[str, Callable[[], tuple[Any, Any]]] = {
    build.__name__: build
    for build in (
        masks_through_merges,
        masks_through_concatenations,
        merges_of_several_ranks,
        dots,
        hierarchical,
        time_distributed_model,
        masked_encoder_decoder,
        bidirectional_encoder_decoder,
        merge_modes,
        shared_layers,
        nested_models_with_masks,
        dict_inputs_and_outputs,
        stateful_layers,
        activations,
        activations_of_sequences,
        masked_softmax,
        normalizations,
        shapes,
        poolings,
        convolutions,
        residual_convolutions,
        attentions,
        masked_floats,
        options_of_recurrent_layers,
        masks_given,
        ids_as_floats,
        fused_while_traced,
    )
}
