"""What the layers ask of the Keras backend in use: `Backend`, which one package per backend offers."""

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
    whatever else Keras has, the layers turn into that. `training` tells whether a gradient is likely to be asked for.
    It can be either way: what it needs is saved or, if this was false, computed again.

    What some backends do not have is None there, and layers ask for it.
    """

    @property
    def h0_as_first_output(self) -> bool:
        """Whether stock Keras outputs h0, not zero, at masked steps before the first unmasked one."""

    @property
    def supports_jit(self) -> bool:
        """Whether the compiler that Keras uses with `jit_compile=True` takes the operations."""

    def unavailable_because(self) -> str | None:
        """Why the operations should not serve what is computed now, or None."""

    def activation_name(self, function: Callable[..., Any]) -> str | None:
        """The kernels' name of one of the framework's own activation functions; None of any other."""

    def rnn(
        self, cell: str, inputs: Sequence[Any], *, options: Mapping[str, Any], training: bool
    ) -> tuple[Any, Any, list[Any]]:
        """What Keras's `RNN.inner_loop` returns; see the cell's forward function in `fastseq.functional`.

        Args:
            cell: "lstm", "gru" or "simple_rnn".
            inputs: x, kernel, recurrent_kernel, bias, h0, with an LSTM c0, mask, dropout_mask and
                recurrent_dropout_mask, as there; of the bias and the masks, None for those that are not there.
            options: The other keyword arguments of that function, all of them: activations, `go_backwards`,
                `zero_output_for_mask`, `h0_as_first_output`, `return_sequences`, `reset_after` of a GRU.
            training: See the class.

        Returns:
            The last output, (batch, units); with `return_sequences`, `outputs`, (batch, timesteps, units); the states.
        """

    def conv1d(
        self, inputs: Sequence[Any], *, options: Mapping[str, Any], convolved_shape: Sequence[Any], training: bool
    ) -> Any:
        """(batch, output timesteps, filters): see `fastseq.functional`.

        Args:
            inputs: x, kernel and bias, as there; None for no bias.
            options: All keyword options of `conv1d_forward` there or, to pool as well, of `conv1d_max_pool_forward`.
            convolved_shape: (batch, timesteps, filters) before the pooling, with None for what is not known.
            training: See the class.
        """

    def max_pool(self, x: Any, *, pool_size: int, strides: int, padding: str, training: bool = False) -> Any:
        """The greatest value of every window of timesteps: see `fastseq.functional.max_pool_forward`."""

    def average_pool(self, x: Any, *, pool_size: int, strides: int, padding: str, training: bool = False) -> Any:
        """The mean of every window of timesteps: see `fastseq.functional.average_pool_forward`."""

    @property
    def embedding(self) -> Callable[[Any, Any, bool, Callable[[], None] | None], Any] | None:
        """From ids, embeddings, dense_gradient and on_negative to (..., output_dim), the rows of a table.

        The ids are (...), int32 or int64; the framework raises an error that names one which is out of range. The
        embeddings are (input_dim, output_dim). With `dense_gradient`, their gradient is a tensor also where the
        framework has slices. `on_negative` is called if there are negative ids, in eager calls only.
        """

    @property
    def dropout(self) -> Callable[[Any, float, Any, Sequence[int | None] | None], Any] | None:
        """From x, rate, seed and noise_shape to what `keras.random.dropout` gives for a seed that has been drawn.

        x has any floating dtype: half types have random bits of their own, and a scale rounded to theirs. The rate is
        in [0, 1). The noise's sizes broadcast to x's shape; None, whole or as a size, stands for x's own.
        """

    @property
    def adam(self) -> Callable[[Sequence[Any], Any, Any, Any, float, float, float], list[Any]] | None:
        """From state, gradient, iterations, learning_rate, beta_1, beta_2 and epsilon to tensors like the state.

        The state has the values of a variable, its momentum, its velocity and, for AMSGrad, the greatest velocity so
        far. The gradient is a tensor that broadcasts to the variable, or slices of it where the framework has such.
        """

    @property
    def traced_convolution(self) -> Callable[[Any], TracedConvolution | None] | None:
        """From a tensor to the `conv1d` that it is traced to come from, maybe with an activation applied to it."""

    @property
    def exporting(self) -> Exporting | None:
        """What is traced to leave this process."""


class TracedConvolution(Protocol):
    """See `Backend.traced_convolution`."""

    def max_pool(self, *, pool_size: int, strides: int, padding: str, training: bool) -> Any:
        """What `Backend.max_pool` gives for the tensor, in one pass with the convolution."""


class Exporting(Protocol):
    """See `Backend.exporting`."""

    def export_format(self) -> str | None:
        """The format that the model is exported to that is traced now; None for none, or within `export_native`."""

    def keep_in_export(self) -> None:
        """Notes in the function that is traced now that its operations are to be exported as they are."""


def is_supported() -> bool:
    """Whether there is a package for the backend in use."""
    return keras.backend.backend() in _SUPPORTED


def load() -> Backend:
    """The package of the backend in use; `is_supported` tells whether there is one."""
    if not _loaded:  # a list, which torch.compile can look into
        _loaded.append(cast(Backend, importlib.import_module(f"{__name__}.{keras.backend.backend()}")))
    return _loaded[0]


def lacks(operation: str) -> bool:
    """Whether the backend in use has kernels, but not this one of `Backend`'s operations."""
    return is_supported() and getattr(load(), operation) is None


def unavailable_because(operation: str | None = None) -> str | None:
    """Why the kernels cannot serve this process's Keras, or do not have one of `Backend`'s operations; else None."""
    name = keras.backend.backend()
    if not is_supported():
        return f"Keras runs on the {name} backend, and the kernels on {', '.join(_SUPPORTED)}"
    if operation and lacks(operation):
        return f"the kernels have no {operation} on the {name} backend"
    return load().unavailable_because()


if TYPE_CHECKING:
    from fastseq.keras.backend import jax, tensorflow, torch

    _checked: tuple[Backend, ...] = (jax, tensorflow, torch)
