"""What differs between the frameworks that Keras runs on, as far as fastseq's commands are concerned: see `Framework`.

Keras takes the framework that `KERAS_BACKEND` names when it is first imported. So nothing here imports Keras or a
framework before a function is called.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

__all__ = ["FRAMEWORKS", "Framework", "current", "start"]

# From a batch of inputs to what the model takes.
Encode = Callable[[Any], Any]


def _set_threads_of_tensorflow(threads: int) -> None:
    """For operations and, so that a loop of small ones keeps to them as well, between them."""
    import tensorflow as tf

    config = tf.config.threading
    if (config.get_intra_op_parallelism_threads(), config.get_inter_op_parallelism_threads()) != (threads, threads):
        config.set_intra_op_parallelism_threads(threads)
        config.set_inter_op_parallelism_threads(threads)


def _set_threads_of_torch(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _set_threads_of_jax(threads: int) -> None:
    """Leaves the process so many CPUs. JAX has no other setting: with its first array, it starts a thread for each."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def _encoded_by_tensorflow(x: NDArray[Any], y: NDArray[Any], encode: Encode, batch_size: int) -> Any:
    import tensorflow as tf

    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(batch_size)
    # Encoded while the model computes the batch before.
    return batches.map(lambda x, y: (encode(x), y)).prefetch(1)


def _encoded_in_turn(x: NDArray[Any], y: NDArray[Any], encode: Encode, batch_size: int) -> Any:
    import keras

    class Batches(keras.utils.PyDataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return -(-len(x) // batch_size)

        def __getitem__(self, index: int) -> tuple[Any, Any]:
            part = slice(index * batch_size, (index + 1) * batch_size)
            return encode(x[part]), y[part]

    return Batches()


@dataclass(frozen=True)
class Framework:
    """A framework that Keras runs on.

    Attributes:
        name: Keras's, which is also its package's.
        set_threads: Has it compute with so many threads. Raises RuntimeError where it is too late for that.
        no_jit: Why Keras's `jit_compile=True` is of no use with it, in words; "" where it is.
        first_fit_draws: Whether the first `fit` of a model draws random numbers that later ones do not: it takes a
            batch to build the metrics by.
        encoded: From samples, targets, the encoding of a batch and the batch size to what `fit` takes: all batches in
            order, each encoded when its turn comes.
    """

    name: str
    set_threads: Callable[[int], None]
    no_jit: str = ""
    first_fit_draws: bool = True
    encoded: Callable[[NDArray[Any], NDArray[Any], Encode, int], Any] = _encoded_in_turn

    @property
    def version(self) -> str:
        """Of the package installed."""
        return str(importlib.import_module(self.name).__version__)


# By Keras's name.
FRAMEWORKS = {
    framework.name: framework
    for framework in (
        Framework("tensorflow", _set_threads_of_tensorflow, first_fit_draws=False, encoded=_encoded_by_tensorflow),
        Framework("torch", _set_threads_of_torch, no_jit="XLA does not compile for PyTorch"),
        Framework("jax", _set_threads_of_jax, no_jit="on JAX, Keras has XLA compile all models anyway"),
    )
}
_CHOICE = f"the variable KERAS_BACKEND chooses from {', '.join(FRAMEWORKS)}"


def current() -> Framework:
    """The one that Keras runs on.

    Raises:
        ValueError: It is none that trains a model here.
    """
    import keras

    name = keras.backend.backend()
    if name not in FRAMEWORKS:
        raise ValueError(f"Keras runs on the {name} backend; {_CHOICE}")
    return FRAMEWORKS[name]


def start(threads: int | None = None) -> Framework:
    """Imports Keras and its framework, and has the framework set itself up: within `fastseq.quiet.quiet_start`.

    Args:
        threads: For the framework; None for as many as it takes by itself.

    Raises:
        RuntimeError: The framework has been used before, and keeps to its number of threads.
        ValueError: It is not installed, or is none that trains a model.
    """
    try:
        import keras
    except ModuleNotFoundError as missing:
        package = (missing.name or "").partition(".")[0]
        raise ValueError(f"Keras cannot be imported: {package} is not installed; {_CHOICE}") from missing
    framework = current()
    if threads is not None:
        framework.set_threads(threads)
    keras.ops.convert_to_tensor(0)
    return framework
