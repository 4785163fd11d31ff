"""Defines `Backend`, the interface between the layers and the kernels, and loads the module that implements it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

import keras

_SUPPORTED = ("tensorflow", "torch", "jax")
_loaded: list[Backend] = []


class Backend(Protocol):
    """A module with the kernels as functions of a backend's tensors, each with its gradient.

    Tensors are of one dtype, float32 or float64, and sequences are (batch, timesteps, channels), unless said otherwise:
    the layers convert other dtypes and layouts. `training` tells whether a gradient is likely to be asked for. The
    gradient is right in any case: with `training`, the data that it needs is saved, and otherwise computed again.

    An operation that a backend does not have is None; layers check for that.
    """

    @property
    def h0_as_first_output(self) -> bool:
        """Whether stock Keras outputs h0, not zero, at masked steps before the first unmasked one."""

    @property
    def supports_jit(self) -> bool:
        """Whether the compiler that Keras uses with `jit_compile=True` supports the operations."""

    def unavailable_because(self) -> str | None:
        """Why the operations cannot be used in the present context, or None if they can."""

    def activation_name(self, function: Callable[..., Any]) -> str | None:
        """The kernels' name of an activation function of the framework; None for any other function."""

    def rnn(
        self, cell: str, inputs: Sequence[Any], *, options: Mapping[str, Any], training: bool
    ) -> tuple[Any, Any, list[Any]]:
        """Computes a recurrent layer over whole sequences, as Keras's `RNN.inner_loop` does.

        Args:
            cell: "lstm", "gru" or "simple_rnn".
            inputs: x, kernel, recurrent_kernel, bias, h0, with an LSTM c0, mask, dropout_mask and
                recurrent_dropout_mask, as in the cell's forward function in `fastseq.functional`. The bias and the
                masks can be None.
            options: All other keyword arguments of that function: activations, `go_backwards`,
                `zero_output_for_mask`, `h0_as_first_output`, `return_sequences`, and for a GRU `reset_after`.
            training: See the class.

        Returns:
            The last output, (batch, units); with `return_sequences`, `outputs`, (batch, timesteps, units); the states.
        """

    def conv1d(
        self, inputs: Sequence[Any], *, options: Mapping[str, Any], convolved_shape: Sequence[Any], training: bool
    ) -> Any:
        """Computes a convolution, and optionally a max pooling of it: (batch, output timesteps, filters).

        Args:
            inputs: x, kernel and bias, as in `fastseq.functional`; None for no bias.
            options: All keyword options of `fastseq.functional.conv1d_forward` or, with a pooling, of
                `conv1d_max_pool_forward`.
            convolved_shape: (batch, timesteps, filters) before the pooling; unknown sizes are None.
            training: See the class.
        """

    def max_pool(self, x: Any, *, pool_size: int, strides: int, padding: str, training: bool = False) -> Any:
        """The greatest value of every window of timesteps: see `fastseq.functional.max_pool_forward`.

        Windows with NaN and of -inf give what stock Keras gives on the backend (`propagate_nan`); so in `conv1d`.
        """

    def average_pool(self, x: Any, *, pool_size: int, strides: int, padding: str, training: bool = False) -> Any:
        """The mean of every window of timesteps: see `fastseq.functional.average_pool_forward`."""

    @property
    def embedding(self) -> Callable[[Any, Any, bool, Callable[[], None] | None], Any] | None:
        """A function of ids, embeddings, dense_gradient and on_negative: returns rows of a table, (..., output_dim).

        The ids are (...), int32 or int64; the framework raises an error that names an id which is out of range. The
        embeddings are (input_dim, output_dim). With `dense_gradient`, their gradient is a dense tensor, also if the
        framework has gradients of slices. Eager calls with negative ids call `on_negative`.
        """

    @property
    def dropout(self) -> Callable[[Any, float, Any, Sequence[int | None] | None], Any] | None:
        """A function of x, rate, seed and noise_shape that computes `keras.random.dropout` for an integer seed.

        x has any floating dtype. For a half type, the random bits are those that Keras draws for this type, and the
        scale is rounded to it. The rate is in [0, 1). `noise_shape` broadcasts to x's shape; None, for the whole
        argument or for one size, stands for x's own.
        """

    @property
    def adam(
        self,
    ) -> Callable[[Sequence[Sequence[Any]], Sequence[Any], Any, Any, float, float, float], list[list[Any]]] | None:
        """A function of states, gradients, iterations, learning_rate, beta_1, beta_2 and epsilon: returns new states.

        There is a state for each variable: a list of its values, its momentum, its velocity and, for AMSGrad, the
        greatest velocity so far. All variables have one dtype. A gradient is a tensor that broadcasts to its variable
        or, if the framework has gradients of slices, slices of it.
        """

    def is_distributed(self, optimizer: Any) -> bool:
        """Whether the framework distributes an optimizer's updates of variables among replicas."""

    @property
    def traced_convolution(self) -> Callable[[Any], TracedConvolution | None] | None:
        """A function of a tensor: finds the traced `conv1d` that computes it, directly or followed by an activation."""

    @property
    def exporting(self) -> Exporting | None:
        """Finds out whether a model is traced for an export."""


class TracedConvolution(Protocol):
    """See `Backend.traced_convolution`."""

    def max_pool(self, *, pool_size: int, strides: int, padding: str, training: bool) -> Any:
        """Computes `Backend.max_pool` of the tensor in one pass with the convolution."""


class Exporting(Protocol):
    """See `Backend.exporting`."""

    def export_format(self) -> str | None:
        """The format that the current tracing exports a model to; None for no export, or within `export_native`."""

    def keep_in_export(self) -> None:
        """Notes in the function that is traced now that its operations are to be exported as they are."""


def is_supported() -> bool:
    """Whether there is a `Backend` module for the Keras backend in use."""
    return keras.backend.backend() in _SUPPORTED


def load() -> Backend:
    """The `Backend` module for the Keras backend in use; `is_supported` tells whether there is one."""
    if not _loaded:  # a list and not `functools.cache`, because torch.compile can trace it
        _loaded.append(cast(Backend, importlib.import_module(f"{__name__}.{keras.backend.backend()}")))
    return _loaded[0]


def lacks(operation: str) -> bool:
    """Whether the backend in use has kernels, but not this one of `Backend`'s operations."""
    return is_supported() and getattr(load(), operation) is None


def unavailable_because(operation: str | None = None) -> str | None:
    """Why the kernels, or one operation of `Backend`, cannot be used with the Keras backend in use, or None."""
    name = keras.backend.backend()
    if not is_supported():
        return f"Keras runs on the {name} backend, and the kernels on {', '.join(_SUPPORTED)}"
    if operation and lacks(operation):
        return f"the kernels have no {operation} on the {name} backend"
    return load().unavailable_because()


if TYPE_CHECKING:
    from fastseq.keras.backend import jax, tensorflow, torch

    _checked: tuple[Backend, ...] = (jax, tensorflow, torch)
