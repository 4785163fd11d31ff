"""What the layers ask of the Keras backend in use: `Backend`, which one package per backend offers."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

import keras

_SUPPORTED = ("tensorflow",)


class Backend(Protocol):
    """A module with the kernels as functions of a backend's tensors, each with its gradient.

    Tensors are of one dtype, float32 or float64, and sequences are (batch, timesteps, channels), unless said otherwise:
    what else Keras has, the layers turn into that. `training` tells whether a gradient is likely to be asked for. It
    can be either way: what it needs is saved or, if this was false, computed again.

    What some backends do not have is None there, and layers ask for it.
    """

    @property
    def supports_jit(self) -> bool:
        """Whether the compiler that Keras uses with `jit_compile=True` takes the operations."""

    def unavailable_because(self) -> str | None:
        """Why the operations should not serve what is computed now, or None."""

    def activation_name(self, function: Callable[..., Any]) -> str | None:
        """The kernels' name of one of the framework's own activation functions; None of any other."""

    def rnn(
        self,
        cell: str,
        x: Any,
        initial_state: Sequence[Any],
        kernel: Any,
        recurrent_kernel: Any,
        bias: Any | None,
        mask: Any | None,
        dropout_mask: Any | None,
        recurrent_dropout_mask: Any | None,
        *,
        options: Mapping[str, Any],
        return_sequences: bool,
        training: bool,
    ) -> tuple[Any, Any, list[Any]]:
        """What Keras's `RNN.inner_loop` returns; see `fastseq.functional`.

        Args:
            cell: "lstm", "gru" or "simple_rnn".
            x: (batch, timesteps, inputs).
            initial_state: h0 and, of an LSTM, c0: each (batch, units).
            kernel: (inputs, gates * units).
            recurrent_kernel: (units, gates * units).
            bias: As the cell's weight, or None.
            mask: (batch, timesteps), bool, or None.
            dropout_mask: (1 or gates, batch, inputs), or None.
            recurrent_dropout_mask: (1 or gates, batch, units), or None.
            options: The keyword options of the cell's forward function in `fastseq.functional`, all of them:
                activations, `go_backwards`, `zero_output_for_mask`, `reset_after` of a GRU.
            return_sequences: Whether there is need of `outputs`.
            training: See the class.

        Returns:
            The last output, (batch, units); `outputs`, (batch, timesteps, units) if asked for; the states.
        """

    def conv1d(
        self,
        x: Any,
        kernel: Any,
        bias: Any | None,
        *,
        options: Mapping[str, Any],
        convolved_shape: Sequence[int | None],
        training: bool = False,
    ) -> Any:
        """See `fastseq.functional.conv1d_forward` and `conv1d_max_pool_forward`.

        Args:
            x: (batch, timesteps, channels).
            kernel: (kernel_size, channels / groups, filters).
            bias: (filters,), or None.
            options: The keyword options of the former, all of them. With a `pool_size` those of the latter.
            convolved_shape: (batch, timesteps, filters) before the pooling, as far as it is known.
            training: See the class.

        Returns:
            (batch, output timesteps, filters).
        """

    def max_pool(self, x: Any, *, pool_size: int, strides: int, padding: str, training: bool = False) -> Any:
        """The greatest value of every window of timesteps: see `fastseq.functional.max_pool_forward`.

        Args:
            x: (batch, timesteps, channels).
            pool_size: Of a window, in timesteps.
            strides: From one window to the next.
            padding: "valid" or "same".
            training: See the class.

        Returns:
            A tensor as x, with the timesteps that are left.
        """

    def average_pool(self, x: Any, *, pool_size: int, strides: int, padding: str, training: bool = False) -> Any:
        """The mean of every window: see `fastseq.functional.average_pool_forward`; arguments as `max_pool`."""

    @property
    def embedding(self) -> Embedding | None:
        """See there; so with all that follow."""

    @property
    def dropout(self) -> Dropout | None: ...  # noqa: D102

    @property
    def adam(self) -> Adam | None: ...  # noqa: D102

    @property
    def traced_convolution(self) -> Callable[[Any], TracedConvolution | None] | None:
        """From a tensor to the `conv1d` that it is traced to come from, maybe with an activation applied to it."""

    @property
    def exporting(self) -> Exporting | None: ...  # noqa: D102


class Embedding(Protocol):
    """See `Backend.embedding`."""

    def __call__(
        self, ids: Any, embeddings: Any, *, dense_gradient: bool, on_negative: Callable[[], None] | None = None
    ) -> Any:
        """The rows of a table by their numbers.

        Args:
            ids: (...), int32 or int64, each in [-input_dim, input_dim), where negative ones count from the table's end;
                an error of the framework's names one that is not.
            embeddings: (input_dim, output_dim).
            dense_gradient: Whether the gradient by `embeddings` is a tensor also where the framework has slices.
            on_negative: Called if there are negative ids, in eager calls only.

        Returns:
            (..., output_dim).
        """


class Dropout(Protocol):
    """See `Backend.dropout`."""

    def __call__(self, x: Any, rate: float, seed: Any, *, noise_shape: Sequence[int | None] | None) -> Any:
        """What `keras.random.dropout` gives for a seed that its generator has drawn.

        Args:
            x: Of any floating dtype. Half types have random bits of their own, and a scale rounded to theirs.
            rate: In [0, 1).
            seed: What `keras.random.SeedGenerator.next` gives.
            noise_shape: Sizes that broadcast to x's shape; None, whole or as a size, for x's own.
        """


class Adam(Protocol):
    """See `Backend.adam`."""

    def __call__(
        self,
        state: Sequence[Any],
        gradient: Any,
        *,
        iterations: Any,
        learning_rate: Any,
        beta_1: float,
        beta_2: float,
        epsilon: float,
    ) -> list[Any]:
        """What variables are to hold after an update.

        Args:
            state: Values of the variable, its momentum, its velocity and, for AMSGrad, the greatest velocity so far.
            gradient: A tensor that broadcasts to the variable, or slices of it where the framework has such.
            iterations: How many updates have been, an integer.
            learning_rate: A number.
            beta_1: What the running mean of gradients keeps of itself.
            beta_2: Likewise of their squares.
            epsilon: What is added to the divisor.

        Returns:
            Tensors like `state`.
        """


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


@functools.cache
def load() -> Backend:
    """The package of the backend in use; `is_supported` tells whether there is one."""
    return cast(Backend, importlib.import_module(f"{__name__}.{keras.backend.backend()}"))


def unavailable_because(operation: str | None = None) -> str | None:
    """Why the kernels cannot serve this process's Keras, or do not have one of `Backend`'s operations; else None."""
    name = keras.backend.backend()
    if not is_supported():
        return f"Keras runs on the {name} backend, and the kernels on {', '.join(_SUPPORTED)}"
    if operation and getattr(load(), operation) is None:
        return f"the kernels have no {operation} on the {name} backend"
    return load().unavailable_because()


def supports_jit() -> bool:
    """`Backend.supports_jit` of the backend in use; what stock Keras computes is compiled."""
    return not is_supported() or load().supports_jit


def exporting() -> Exporting | None:
    """`Backend.exporting` of the backend in use."""
    return load().exporting if is_supported() else None


if TYPE_CHECKING:
    from fastseq.keras.backend import tensorflow

    _checked: Backend = tensorflow
