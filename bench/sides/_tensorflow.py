"""What TensorFlow's sides share."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from problems import Results

# Every side has functions of its own; TensorFlow takes them for one that is traced again and again, and warns.
tf.get_logger().setLevel("ERROR")

_RESULTS = ("outputs", "dx", "dkernel", "drecurrent_kernel", "dbias")


def set_threads(threads: int) -> None:
    """For operations and, so that a loop of small ones keeps to them as well, between them."""
    config = tf.config.threading
    if (config.get_intra_op_parallelism_threads(), config.get_inter_op_parallelism_threads()) != (threads, threads):
        config.set_intra_op_parallelism_threads(threads)
        config.set_inter_op_parallelism_threads(threads)


def read(tensors: list[Any]) -> Results:
    """Tensors in the order of `_RESULTS`."""
    return {name: tensor.numpy() for name, tensor in zip(_RESULTS, tensors, strict=False)}
