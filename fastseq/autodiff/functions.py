"""The operations as differentiable functions of a framework's arrays. All frameworks share the signatures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

__all__ = ["Functions", "LSTMOutputs", "RNNOutputs"]

Array = TypeVar("Array")


class RNNOutputs(NamedTuple):
    """The results of `gru` and `simple_rnn`.

    Attributes:
        outputs: (batch, timesteps, units) in the order in which the steps are computed; None without
            `return_sequences`.
        last_output: (batch, units), the output of the last step computed; zero if there is none.
        h_n: (batch, units), the hidden state after the last step.
    """

    outputs: Any
    last_output: Any
    h_n: Any


class LSTMOutputs(NamedTuple):
    """The results of `lstm`.

    Attributes:
        outputs: See `RNNOutputs`.
        last_output: See `RNNOutputs`.
        h_n: See `RNNOutputs`.
        c_n: (batch, units), the cell state after the last step.
    """

    outputs: Any
    last_output: Any
    h_n: Any
    c_n: Any


class Functions(Generic[Array]):
    """The functions of one framework.

    Args:
        call: A function of a forward operation's name and its arguments by name, which returns the results by name.
    """

    def __init__(self, call: Callable[[str, Mapping[str, Any]], Mapping[str, Any]]) -> None:
        self._call = call

    def lstm(
        self,
        x: Array,
        kernel: Array,
        recurrent_kernel: Array,
        bias: Array | None = None,
        *,
        h0: Array | None = None,
        c0: Array | None = None,
        mask: Array | None = None,
        dropout_mask: Array | None = None,
        recurrent_dropout_mask: Array | None = None,
        activation: str = "tanh",
        recurrent_activation: str = "sigmoid",
        go_backwards: bool = False,
        zero_output_for_mask: bool = False,
        h0_as_first_output: bool = False,
        return_sequences: bool = True,
    ) -> LSTMOutputs:
        """An LSTM over a whole sequence: see `fastseq.functional.lstm_forward` for the arguments.

        Returns:
            An `LSTMOutputs`. Gradients pass through all of it.

        Raises:
            ValueError: A shape or an option does not fit, or an array is on another device.
            TypeError: The operation does not take a dtype, or a dtype differs from x's.
        """
        results = self._rnn(
            "lstm_forward",
            x=x,
            kernel=kernel,
            recurrent_kernel=recurrent_kernel,
            bias=bias,
            h0=h0,
            c0=c0,
            mask=mask,
            dropout_mask=dropout_mask,
            recurrent_dropout_mask=recurrent_dropout_mask,
            activation=activation,
            recurrent_activation=recurrent_activation,
            go_backwards=go_backwards,
            zero_output_for_mask=zero_output_for_mask,
            h0_as_first_output=h0_as_first_output,
            return_sequences=return_sequences,
        )
        return LSTMOutputs(**results)

    def gru(
        self,
        x: Array,
        kernel: Array,
        recurrent_kernel: Array,
        bias: Array | None = None,
        *,
        h0: Array | None = None,
        mask: Array | None = None,
        dropout_mask: Array | None = None,
        recurrent_dropout_mask: Array | None = None,
        activation: str = "tanh",
        recurrent_activation: str = "sigmoid",
        reset_after: bool = True,
        go_backwards: bool = False,
        zero_output_for_mask: bool = False,
        h0_as_first_output: bool = False,
        return_sequences: bool = True,
    ) -> RNNOutputs:
        """A GRU over a whole sequence: see `fastseq.functional.gru_forward` for the arguments.

        Returns:
            An `RNNOutputs`. Gradients pass through all of it.

        Raises:
            ValueError: See `lstm`.
            TypeError: See `lstm`.
        """
        results = self._rnn(
            "gru_forward",
            x=x,
            kernel=kernel,
            recurrent_kernel=recurrent_kernel,
            bias=bias,
            h0=h0,
            mask=mask,
            dropout_mask=dropout_mask,
            recurrent_dropout_mask=recurrent_dropout_mask,
            activation=activation,
            recurrent_activation=recurrent_activation,
            reset_after=reset_after,
            go_backwards=go_backwards,
            zero_output_for_mask=zero_output_for_mask,
            h0_as_first_output=h0_as_first_output,
            return_sequences=return_sequences,
        )
        return RNNOutputs(**results)

    def simple_rnn(
        self,
        x: Array,
        kernel: Array,
        recurrent_kernel: Array,
        bias: Array | None = None,
        *,
        h0: Array | None = None,
        mask: Array | None = None,
        dropout_mask: Array | None = None,
        recurrent_dropout_mask: Array | None = None,
        activation: str = "tanh",
        go_backwards: bool = False,
        zero_output_for_mask: bool = False,
        h0_as_first_output: bool = False,
        return_sequences: bool = True,
    ) -> RNNOutputs:
        """A simple RNN over a whole sequence: see `fastseq.functional.simple_rnn_forward` for the arguments.

        Returns:
            An `RNNOutputs`. Gradients pass through all of it.

        Raises:
            ValueError: See `lstm`.
            TypeError: See `lstm`.
        """
        results = self._rnn(
            "simple_rnn_forward",
            x=x,
            kernel=kernel,
            recurrent_kernel=recurrent_kernel,
            bias=bias,
            h0=h0,
            mask=mask,
            dropout_mask=dropout_mask,
            recurrent_dropout_mask=recurrent_dropout_mask,
            activation=activation,
            go_backwards=go_backwards,
            zero_output_for_mask=zero_output_for_mask,
            h0_as_first_output=h0_as_first_output,
            return_sequences=return_sequences,
        )
        return RNNOutputs(**results)

    def conv1d(
        self,
        x: Array,
        kernel: Array,
        bias: Array | None = None,
        *,
        activation: str = "linear",
        strides: int = 1,
        padding: str = "valid",
        dilation_rate: int = 1,
        groups: int = 1,
    ) -> Array:
        """A convolution along time: see `fastseq.functional.conv1d_forward` for the arguments.

        Returns:
            (batch, output timesteps, filters).

        Raises:
            ValueError: See `lstm`.
            TypeError: See `lstm`.
        """
        return self._outputs(
            "conv1d_forward",
            x=x,
            kernel=kernel,
            bias=bias,
            activation=activation,
            strides=strides,
            padding=padding,
            dilation_rate=dilation_rate,
            groups=groups,
        )

    def conv1d_max_pool(
        self,
        x: Array,
        kernel: Array,
        bias: Array | None,
        pool_size: int,
        pool_strides: int | None = None,
        pool_padding: str = "valid",
        *,
        activation: str = "linear",
        strides: int = 1,
        padding: str = "valid",
        dilation_rate: int = 1,
        groups: int = 1,
    ) -> Array:
        """`max_pool` of `conv1d` in one pass: see `fastseq.functional.conv1d_max_pool_forward` for the arguments.

        `pool_propagate_nan` is true.

        Returns:
            (batch, pooled timesteps, filters).

        Raises:
            ValueError: See `lstm`.
            TypeError: See `lstm`.
        """
        return self._outputs(
            "conv1d_forward",
            x=x,
            kernel=kernel,
            bias=bias,
            pool_size=pool_size,
            pool_strides=pool_size if pool_strides is None else pool_strides,
            pool_padding=pool_padding,
            pool_propagate_nan=True,
            activation=activation,
            strides=strides,
            padding=padding,
            dilation_rate=dilation_rate,
            groups=groups,
        )

    def max_pool(self, x: Array, pool_size: int, strides: int | None = None, padding: str = "valid") -> Array:
        """Max pooling along time: see `fastseq.functional.max_pool_forward` for the arguments.

        `propagate_nan` is true: a window with NaN gives NaN, as in PyTorch and JAX. The gradient goes to the last NaN,
        as in PyTorch.

        Returns:
            (batch, pooled timesteps, channels).

        Raises:
            ValueError: See `lstm`.
            TypeError: See `lstm`.
        """
        return self._outputs(
            "max_pool_forward",
            x=x,
            pool_size=pool_size,
            strides=pool_size if strides is None else strides,
            padding=padding,
            propagate_nan=True,
        )

    def average_pool(self, x: Array, pool_size: int, strides: int | None = None, padding: str = "valid") -> Array:
        """Average pooling along time: see `fastseq.functional.average_pool_forward` for the arguments.

        Returns:
            (batch, pooled timesteps, channels).

        Raises:
            ValueError: See `lstm`.
            TypeError: See `lstm`.
        """
        return self._outputs(
            "average_pool_forward",
            x=x,
            pool_size=pool_size,
            strides=pool_size if strides is None else strides,
            padding=padding,
        )

    def embedding(self, ids: Array, embeddings: Array) -> Array:
        """Rows of a table: see `fastseq.functional.embedding_forward` for the arguments.

        Returns:
            `(*ids.shape, output_dim)`. The gradient with respect to `embeddings` is dense.

        Raises:
            ValueError: See `lstm`; also if an id is outside of the table. A compiled program of JAX raises a
                `jax.errors.JaxRuntimeError` for that.
            TypeError: See `lstm`.
        """
        return self._outputs("embedding_forward", ids=ids, embeddings=embeddings)

    # The methods above name every argument, because Dynamo does not trace `locals` in PyTorch 2.9 and older.

    def _rnn(self, name: str, **given: Any) -> dict[str, Any]:
        results = dict(self._call(name, given))
        results.pop("workspace", None)
        return results

    def _outputs(self, name: str, **given: Any) -> Array:
        outputs: Array = self._call(name, given)["outputs"]
        return outputs
