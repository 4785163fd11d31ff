"""The differences between the frameworks that Keras runs on, for fastseq's commands: see `Framework`.

Keras takes the framework that `KERAS_BACKEND` names when it is first imported. So this module imports Keras and a
framework only when a function is called.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

__all__ = ["FRAMEWORKS", "Framework", "current", "start"]

# A function from a batch of the data's inputs to the model's inputs.
Encode = Callable[[Any], Any]


def _set_threads_of_tensorflow(threads: int) -> None:
    """Sets the threads within operations and between them, so that loops of small operations have the limit, too."""
    import tensorflow as tf

    config = tf.config.threading
    if (config.get_intra_op_parallelism_threads(), config.get_inter_op_parallelism_threads()) != (threads, threads):
        config.set_intra_op_parallelism_threads(threads)
        config.set_inter_op_parallelism_threads(threads)


def _set_threads_of_torch(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _set_threads_of_jax(threads: int) -> None:
    """Limits the process to as many CPUs. JAX has no other setting: at its first array, it starts a thread per CPU."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def _encoded_by_tensorflow(x: NDArray[Any], y: NDArray[Any], encode: Encode, batch_size: int) -> Any:
    import tensorflow as tf

    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(batch_size)
    # The next batch is encoded while the model computes a batch.
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
        name: Keras's name of the framework, which is also the package's name.
        set_threads: A function that sets the number of threads. It raises RuntimeError if it is too late for that.
        no_jit: Why Keras's `jit_compile=True` is of no use with the framework; "" if it is of use.
        first_fit_draws: Whether the first `fit` of a model draws more random numbers than later ones, because it takes
            a batch to build the metrics.
        encoded: A function of samples, targets, the encoding of a batch and the batch size. It returns an argument for
            `fit`: all batches in order, each encoded when it is needed.
    """

    name: str
    set_threads: Callable[[int], None]
    no_jit: str = ""
    first_fit_draws: bool = True
    encoded: Callable[[NDArray[Any], NDArray[Any], Encode, int], Any] = _encoded_in_turn

    @property
    def version(self) -> str:
        """The version of the installed package."""
        return str(importlib.import_module(self.name).__version__)


# From Keras's name to the framework.
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
    """The framework that Keras runs on.

    Raises:
        ValueError: fastseq's commands do not support this framework.
    """
    import keras

    name = keras.backend.backend()
    if name not in FRAMEWORKS:
        raise ValueError(f"Keras runs on the {name} backend; {_CHOICE}")
    return FRAMEWORKS[name]


def start(threads: int | None = None) -> Framework:
    """Imports Keras and its framework, and makes the framework initialise. Call it within `fastseq.quiet.quiet_start`.

    Args:
        threads: The number of threads of the framework; None for the framework's default.

    Raises:
        RuntimeError: The framework has been used before, and cannot change its number of threads.
        ValueError: The framework is not installed, or fastseq's commands do not support it.
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
