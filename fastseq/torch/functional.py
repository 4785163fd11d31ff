"""The operations of `fastseq.functional` on PyTorch's tensors, differentiable by autograd.

They work in eager mode, under `torch.compile` without a break of the graph, and under `torch.export`. Where no gradient
is asked for (`torch.no_grad`, `torch.inference_mode`, or no argument that requires one), nothing is saved for backward.
Second-order gradients are an error that says so.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from fastseq.torch.operations import call

__all__ = [
    "LSTMOutputs",
    "RNNOutputs",
    "average_pool",
    "conv1d",
    "conv1d_max_pool",
    "embedding",
    "gru",
    "lstm",
    "max_pool",
    "simple_rnn",
]


class RNNOutputs(NamedTuple):
    """What `gru` and `simple_rnn` return.

    Attributes:
        outputs: (batch, timesteps, units) in the order the steps are taken in; None without `return_sequences`.
        last_output: (batch, units), the output of the last step taken; zero where there is none.
        h_n: (batch, units), the hidden state after the last step.
    """

    outputs: Tensor | None
    last_output: Tensor
    h_n: Tensor


class LSTMOutputs(NamedTuple):
    """What `lstm` returns.

    Attributes:
        outputs: See `RNNOutputs`.
        last_output: See there.
        h_n: See there.
        c_n: (batch, units), the cell state after the last step.
    """

    outputs: Tensor | None
    last_output: Tensor
    h_n: Tensor
    c_n: Tensor


def lstm(
    x: Tensor,
    kernel: Tensor,
    recurrent_kernel: Tensor,
    bias: Tensor | None = None,
    *,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    mask: Tensor | None = None,
    dropout_mask: Tensor | None = None,
    recurrent_dropout_mask: Tensor | None = None,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    go_backwards: bool = False,
    zero_output_for_mask: bool = False,
    h0_as_first_output: bool = False,
    return_sequences: bool = True,
) -> LSTMOutputs:
    """An LSTM over a whole sequence: `fastseq.functional.lstm_forward`, which says what the arguments are.

    Returns:
        An `LSTMOutputs`. Gradients pass through all of it.

    Raises:
        ValueError: A shape or an option does not fit, or a tensor is on another device.
        TypeError: A dtype is none that the operation takes, or differs from x's.
    """
    return LSTMOutputs(**_rnn("lstm_forward", locals()))


def gru(
    x: Tensor,
    kernel: Tensor,
    recurrent_kernel: Tensor,
    bias: Tensor | None = None,
    *,
    h0: Tensor | None = None,
    mask: Tensor | None = None,
    dropout_mask: Tensor | None = None,
    recurrent_dropout_mask: Tensor | None = None,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    reset_after: bool = True,
    go_backwards: bool = False,
    zero_output_for_mask: bool = False,
    h0_as_first_output: bool = False,
    return_sequences: bool = True,
) -> RNNOutputs:
    """A GRU over a whole sequence: `fastseq.functional.gru_forward`, which says what the arguments are.

    Returns:
        An `RNNOutputs`. Gradients pass through all of it.

    Raises:
        ValueError: See `lstm`.
        TypeError: See there.
    """
    return RNNOutputs(**_rnn("gru_forward", locals()))


def simple_rnn(
    x: Tensor,
    kernel: Tensor,
    recurrent_kernel: Tensor,
    bias: Tensor | None = None,
    *,
    h0: Tensor | None = None,
    mask: Tensor | None = None,
    dropout_mask: Tensor | None = None,
    recurrent_dropout_mask: Tensor | None = None,
    activation: str = "tanh",
    go_backwards: bool = False,
    zero_output_for_mask: bool = False,
    h0_as_first_output: bool = False,
    return_sequences: bool = True,
) -> RNNOutputs:
    """A simple RNN over a whole sequence: `fastseq.functional.simple_rnn_forward`, which says what the arguments are.

    Returns:
        An `RNNOutputs`. Gradients pass through all of it.

    Raises:
        ValueError: See `lstm`.
        TypeError: See there.
    """
    return RNNOutputs(**_rnn("simple_rnn_forward", locals()))


def _rnn(name: str, given: dict[str, Any]) -> dict[str, Any]:
    results = call(name, given)
    del results["workspace"]
    return results


def conv1d(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None = None,
    *,
    activation: str = "linear",
    strides: int = 1,
    padding: str = "valid",
    dilation_rate: int = 1,
    groups: int = 1,
) -> Tensor:
    """A convolution along time: `fastseq.functional.conv1d_forward`, which says what the arguments are.

    Returns:
        (batch, output timesteps, filters).

    Raises:
        ValueError: See `lstm`.
        TypeError: See there.
    """
    outputs: Tensor = call("conv1d_forward", locals())["outputs"]
    return outputs


def conv1d_max_pool(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    pool_size: int,
    pool_strides: int | None = None,
    pool_padding: str = "valid",
    *,
    activation: str = "linear",
    strides: int = 1,
    padding: str = "valid",
    dilation_rate: int = 1,
    groups: int = 1,
) -> Tensor:
    """`max_pool` of `conv1d` in one pass: `fastseq.functional.conv1d_max_pool_forward` says what the arguments are.

    Returns:
        (batch, pooled timesteps, filters).

    Raises:
        ValueError: See `lstm`.
        TypeError: See there.
    """
    pool_strides = pool_size if pool_strides is None else pool_strides
    outputs: Tensor = call("conv1d_forward", locals())["outputs"]
    return outputs


def max_pool(x: Tensor, pool_size: int, strides: int | None = None, padding: str = "valid") -> Tensor:
    """Max pooling along time: `fastseq.functional.max_pool_forward`, which says what the arguments are.

    Returns:
        (batch, pooled timesteps, channels).

    Raises:
        ValueError: See `lstm`.
        TypeError: See there.
    """
    strides = pool_size if strides is None else strides
    outputs: Tensor = call("max_pool_forward", locals())["outputs"]
    return outputs


def average_pool(x: Tensor, pool_size: int, strides: int | None = None, padding: str = "valid") -> Tensor:
    """Average pooling along time: `fastseq.functional.average_pool_forward`, which says what the arguments are.

    Returns:
        (batch, pooled timesteps, channels).

    Raises:
        ValueError: See `lstm`.
        TypeError: See there.
    """
    strides = pool_size if strides is None else strides
    outputs: Tensor = call("average_pool_forward", locals())["outputs"]
    return outputs


def embedding(ids: Tensor, embeddings: Tensor) -> Tensor:
    """Rows of a table: `fastseq.functional.embedding_forward`, which says what the arguments are.

    Returns:
        `(*ids.shape, output_dim)`. The gradient by `embeddings` is dense.

    Raises:
        ValueError: See `lstm`; an id is outside of the table.
        TypeError: See there.
    """
    outputs: Tensor = call("embedding_forward", locals())["outputs"]
    return outputs
