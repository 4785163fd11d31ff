"""FastAttention: attention of the last step over all steps of a sequence.

The layer consists of plain `keras.ops` and runs on every backend. A native operation would not pay: forward and
backward of (40, 500, 64) take 3 to 4 ms on 2 cores, and 5 to 9 ms with the additive score (`bench/attention.py`). The
memory traffic takes 1 ms of that. A training step of the IMDB model that has this layer takes about 120 ms.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

# The score of masked steps. Next to any other score it gets no weight. Unlike -inf, it also gives finite weights where
# all steps are masked.
_NO_SCORE = -3e38


def _sum_of_steps(factors: Any, x: Any) -> Any:
    """(batch, features): the sum over t of factors[:, t] x[:, t]."""
    return ops.squeeze(ops.matmul(factors[:, None], x), axis=1)


@keras.saving.register_keras_serializable("fastseq")
class FastAttention(keras.layers.Layer):  # type: ignore[misc]
    """Many-to-one attention: the last step of a sequence attends to all of its steps.

    It replaces the layer `Attention` of the PyPI package `attention`, which does not run on Keras 3. It has the same
    arguments, the same results, and the same weights in the same order: `set_weights` takes the list that
    `get_weights` of that layer returns. In addition, it supports masks, and sequences of any length with either score.
    `keras.layers.Attention` is a different layer.

    Let x_t be the inputs at step t, and h the inputs at the last step. Each step has a score, and a softmax over the
    steps turns the scores into weights a_t. The context c is the sum of a_t x_t, and the output is tanh([c, h] W_o).
    The scores are

    - `"luong"`: (x_t W) . h, multiplicative.
    - `"bahdanau"`: tanh(h W_1 + x_t W_2) v, additive.

    With a mask, a_t is zero at masked steps, whose inputs are never read, and h is the last step that is not masked. A
    row whose steps are all masked gives zero, as a row of zeros does. The package ignores masks.

    All is computed in the layer's compute dtype, except that the softmax is never computed in a half type.

    Args:
        units: Positive integer, dimensionality of the output space.
        score: `"luong"` or `"bahdanau"`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: (batch, timesteps, features), at least one step: the outputs of a recurrent layer with
            `return_sequences=True`, say.
        mask: (batch, timesteps), bool: true where a step counts.

    Returns:
        (batch, units).

    Weights:
        With `"luong"`: luong_w (features, features), attention_vector (2 * features, units). With `"bahdanau"`:
        bahdanau_v (features, 1), bahdanau_w1 and bahdanau_w2 (features, features), attention_vector likewise.

    Raises:
        ValueError: An argument, or the shape of a call argument, is not as described above.

    References:
        Luong, Pham and Manning 2015 (arXiv 1508.04025); Bahdanau, Cho and Bengio 2014 (arXiv 1409.0473). The exact
        definition is `fastseq.reference.attention_forward`.

    >>> import keras
    >>> from fastseq.keras import FastAttention, FastLSTM
    >>> model = keras.Sequential(
    ...     [
    ...         keras.Input((None,), dtype="int32"),
    ...         keras.layers.Embedding(5000, 32, mask_zero=True),
    ...         FastLSTM(64, return_sequences=True),
    ...         FastAttention(units=16),
    ...         keras.layers.Dense(1, activation="sigmoid"),
    ...     ]
    ... )
    >>> model.layers[2].output.shape
    (None, 16)
    """

    SCORE_LUONG = "luong"
    SCORE_BAHDANAU = "bahdanau"

    def __init__(self, units: int = 128, score: str = SCORE_LUONG, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(units, int) or isinstance(units, bool) or units < 1:
            raise ValueError(f"units must be a positive integer, got {units!r}")
        if score not in (self.SCORE_LUONG, self.SCORE_BAHDANAU):
            raise ValueError(f"score must be '{self.SCORE_LUONG}' or '{self.SCORE_BAHDANAU}', got {score!r}")
        self.units = units
        self.score = score
        self.supports_masking = True
        self.input_spec = keras.layers.InputSpec(ndim=3)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the weights, in the order in which `get_weights` returns them."""
        features = input_shape[-1]
        if features is None:
            raise ValueError(f"the last dimension of inputs must be known, got shape {tuple(input_shape)}")
        if self.score == self.SCORE_LUONG:
            self.luong_w = self.add_weight(name="luong_w", shape=(features, features))
        else:
            self.bahdanau_v = self.add_weight(name="bahdanau_v", shape=(features, 1))
            self.bahdanau_w1 = self.add_weight(name="bahdanau_w1", shape=(features, features))
            self.bahdanau_w2 = self.add_weight(name="bahdanau_w2", shape=(features, features))
        self.attention_vector = self.add_weight(name="attention_vector", shape=(2 * features, self.units))
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={-1: features})

    def call(self, inputs: Any, mask: Any | None = None) -> Any:
        """See the class."""
        if inputs.shape[1] == 0:
            raise ValueError(f"inputs must have at least one step, got shape {tuple(inputs.shape)}")
        if mask is None:
            x, last = inputs, inputs[:, -1]
        else:
            mask = self._checked_mask(mask, inputs)
            x = ops.where(mask[:, :, None], inputs, ops.zeros_like(inputs))
            last = self._last_unmasked(x, mask)
        scores = ops.cast(self._scores(x, last), keras.backend.result_type(x.dtype, "float32"))
        if mask is not None:
            scores = ops.where(mask, scores, _NO_SCORE)
        # ops.softmax would warn if there is only one step.
        weights = ops.cast(ops.exp(ops.log_softmax(scores, axis=-1)), x.dtype)
        context = _sum_of_steps(weights, x)
        return ops.tanh(ops.matmul(ops.concatenate([context, last], axis=-1), self.attention_vector))

    @staticmethod
    def _checked_mask(mask: Any, inputs: Any) -> Any:
        got, expected = tuple(mask.shape), tuple(inputs.shape[:2])
        if len(got) != 2 or any(g != e for g, e in zip(got, expected, strict=True) if None not in (g, e)):
            raise ValueError(f"mask must have shape {expected}, got {got}")
        return ops.cast(mask, "bool")

    @staticmethod
    def _last_unmasked(x: Any, mask: Any) -> Any:
        """(batch, features): x at the last unmasked step of each row; any step for a row without one."""
        timesteps = ops.shape(x)[1]
        last = timesteps - 1 - ops.argmax(ops.cast(ops.flip(mask, axis=1), "int32"), axis=1)
        # A product, not a gather: with its gradient, forward and backward took a third longer on TensorFlow.
        chosen = ops.cast(ops.arange(timesteps) == last[:, None], x.dtype)
        return _sum_of_steps(chosen, x)

    def _scores(self, x: Any, last: Any) -> Any:
        """(batch, timesteps): the score of each step of x for the last step."""
        if self.score == self.SCORE_LUONG:
            # (x W) . h = x . (W h): a product for each row instead of for each step.
            scores = ops.matmul(x, ops.matmul(last, ops.transpose(self.luong_w))[:, :, None])
        else:
            hidden = ops.tanh(ops.matmul(last, self.bahdanau_w1)[:, None] + ops.matmul(x, self.bahdanau_w2))
            scores = ops.matmul(hidden, self.bahdanau_v)
        return ops.squeeze(scores, axis=-1)

    def compute_mask(self, inputs: Any, previous_mask: Any | None = None) -> None:
        """None: the output has no steps."""

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(batch, units)."""
        return input_shape[0], self.units

    def get_config(self) -> dict[str, Any]:
        """The arguments that construct an equal layer."""
        return {**super().get_config(), "units": self.units, "score": self.score}
