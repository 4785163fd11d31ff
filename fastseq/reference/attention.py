"""The definition of attention, with the last step of a sequence as the query and all its steps as keys and values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastseq.reference.activations import Float64


@dataclass(frozen=True)
class _Run:
    """The values of forward that backward needs."""

    x: Float64  # zero where masked
    on: NDArray[np.bool_]  # (batch, timesteps), whether a step is not masked
    last: NDArray[np.intp]  # (batch,), the step of h
    c: Float64  # (batch, features)
    h: Float64  # (batch, features)
    hidden: Float64 | None  # (batch, timesteps, features), the additive score before v
    score_weights: tuple[Float64, ...]
    output_weights: Float64


@dataclass(frozen=True)
class AttentionForward:
    """The result of `attention_forward`.

    Attributes:
        outputs: (batch, units).
        attention: (batch, timesteps), the weight of each step; the weights of unmasked steps sum to 1.
        run: The values that backward needs.
    """

    outputs: Float64
    attention: Float64
    run: _Run


@dataclass(frozen=True)
class AttentionGradients:
    """The result of `attention_backward`: the loss's gradient by each input, in the input's shape."""

    dx: Float64
    dweights: tuple[Float64, ...]


def attention_forward(
    x: ArrayLike, weights: Sequence[ArrayLike], *, score: str = "luong", mask: ArrayLike | None = None
) -> AttentionForward:
    """Attention of the last step over all steps, as the PyPI package `attention` computes it.

    Let h be the last step of a row. The scores are (x_t W) . h or tanh(h W_1 + x_t W_2) v. Their softmax over the steps
    gives the weights, the weighted sum of the steps is the context c, and the output is tanh([c, h] W_o).

    Args:
        x: (batch, timesteps, features), at least one step.
        weights: For `"luong"` W and W_o, for `"bahdanau"` v, W_1, W_2 and W_o; W, W_1, W_2 are (features, features),
            v (features, 1), W_o (2 * features, units).
        score: `"luong"` or `"bahdanau"`.
        mask: (batch, timesteps), bool. Steps where it is false are left out of the softmax and are never read; h is the
            last step where it is true. In a row without such steps, c and h are zero.

    Returns:
        An `AttentionForward`, all float64.

    References:
        Luong, Pham and Manning 2015 (arXiv 1508.04025), the score "general"; Bahdanau, Cho and Bengio 2014
        (arXiv 1409.0473); philipperemy/keras-attention-mechanism 5.0.0.

    >>> import numpy as np
    >>> from fastseq.reference import attention_forward
    >>> attention_forward(np.ones((2, 5, 3)), [np.ones((3, 3)), np.ones((6, 4))]).outputs.shape
    (2, 4)
    """
    x = np.asarray(x, dtype=np.float64)
    batch, timesteps, _ = x.shape
    *score_weights, output_weights = (np.asarray(w, dtype=np.float64) for w in weights)
    on = np.ones((batch, timesteps), bool) if mask is None else np.asarray(mask, dtype=bool)
    x = np.where(on[:, :, None], x, 0.0)
    last = timesteps - 1 - np.argmax(on[:, ::-1], axis=1)
    h = x[np.arange(batch), last]
    hidden = None
    if score == "luong":
        (w,) = score_weights
        scores = ((x @ w) @ h[:, :, None])[:, :, 0]
    elif score == "bahdanau":
        v, w1, w2 = score_weights
        hidden = np.tanh((h @ w1)[:, None] + x @ w2)
        scores = (hidden @ v)[:, :, 0]
    else:
        raise ValueError(f"score must be 'luong' or 'bahdanau', got {score!r}")
    highest = np.max(scores, axis=1, keepdims=True, initial=-np.inf, where=on)
    exponentials = np.exp(np.where(on, scores - highest, -np.inf))
    # The sum is at least 1 in a row with an unmasked step.
    attention = exponentials / np.maximum(exponentials.sum(axis=1, keepdims=True), 1.0)
    c = np.einsum("bt,btd->bd", attention, x)
    outputs = np.tanh(np.concatenate([c, h], axis=1) @ output_weights)
    return AttentionForward(outputs, attention, _Run(x, on, last, c, h, hidden, tuple(score_weights), output_weights))


def attention_backward(forward: AttentionForward, doutputs: ArrayLike) -> AttentionGradients:
    """Gradients of a scalar loss by every input of `attention_forward`.

    Args:
        forward: The result of `attention_forward`.
        doutputs: (batch, units), the loss's gradient by `outputs`.

    Returns:
        An `AttentionGradients`, all float64.
    """
    run, attention = forward.run, forward.attention
    x, h = run.x, run.h
    dproduct = np.asarray(doutputs, dtype=np.float64) * (1 - forward.outputs**2)
    doutput_weights = np.concatenate([run.c, h], axis=1).T @ dproduct
    dc, dh = np.split(dproduct @ run.output_weights.T, 2, axis=1)
    dattention = np.einsum("btd,bd->bt", x, dc)
    dx = attention[:, :, None] * dc[:, None]
    dscores = attention * (dattention - (attention * dattention).sum(axis=1, keepdims=True))
    if run.hidden is None:
        (w,) = run.score_weights
        by_wh = np.einsum("bt,btd->bd", dscores, x)
        dx += dscores[:, :, None] * (h @ w.T)[:, None]
        dh = dh + by_wh @ w
        dscore_weights: tuple[Float64, ...] = (by_wh.T @ h,)
    else:
        v, w1, w2 = run.score_weights
        dv = np.einsum("btd,bt->d", run.hidden, dscores)[:, None]
        dsum = dscores[:, :, None] * v[:, 0] * (1 - run.hidden**2)
        dx += dsum @ w2.T
        dh = dh + dsum.sum(axis=1) @ w1.T
        dscore_weights = (dv, h.T @ dsum.sum(axis=1), np.einsum("btd,bte->de", x, dsum))
    dx[np.arange(len(x)), run.last] += dh
    return AttentionGradients(np.where(run.on[:, :, None], dx, 0.0), (*dscore_weights, doutput_weights))
