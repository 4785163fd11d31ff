"""FastAttention as products and a softmax."""

from __future__ import annotations

from fastseq.keras import FastAttention
from fastseq.prediction.calls import Call, layer_rule, the_mask
from fastseq.prediction.tensors import Operations, Tensor


@layer_rule(FastAttention, methods=["_scores", "_last_unmasked", "_checked_mask"], compute_mask=lambda call: None)
def _attention(call: Call) -> Tensor:
    operations, mask = call.operations, the_mask(call)
    x = call.x if mask is None else operations.keep(call.x, mask)
    last = operations.last_step(x, mask)
    weights = operations.softmax(_scores(call, x, last), mask)
    context = operations.reshape(operations.batch_product(_row(operations, weights), x), keep=1, tail=1)
    both = operations.concatenate(context, last, 1)
    return operations.dense(both, operations.weight(call.layer.attention_vector), activation="tanh")


def _row(operations: Operations, x: Tensor) -> Tensor:
    """(batch, features) as (batch, 1, features)."""
    return operations.reshape(x, keep=1, shape=[1], tail=1)


def _scores(call: Call, x: Tensor, last: Tensor) -> Tensor:
    """(batch, timesteps): the score of each step of x for the last step."""
    layer, operations = call.layer, call.operations
    if layer.score == layer.SCORE_LUONG:
        query = operations.dense(last, operations.weight(layer.luong_w, transposed=True))
        scores = operations.batch_product(x, _row(operations, query), transpose_b=True)
    else:
        query = _row(operations, operations.dense(last, operations.weight(layer.bahdanau_w1)))
        keys = operations.dense(x, operations.weight(layer.bahdanau_w2))
        hidden = operations.activate(operations.combine("add", query, keys), "tanh")
        scores = operations.dense(hidden, operations.weight(layer.bahdanau_v))
    return operations.reshape(scores, keep=2)
