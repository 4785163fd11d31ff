"""The common part of the implementations with TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

# Every problem has a tf.function of its own. TensorFlow takes them for one that is retraced again and again, and warns.
tf.get_logger().setLevel("ERROR")


def forward(layer: Any, x: Any, mask: Any = None, *, jit_compile: bool = False) -> Callable[[], list[Any]]:
    """A function that computes a layer's outputs in inference, and returns them as the only element of a list.

    Args:
        layer: The layer, built.
        x: Its inputs.
        mask: Their mask, or None.
        jit_compile: Whether XLA compiles it.
    """
    masks = {} if mask is None else {"mask": mask}

    @tf.function(jit_compile=jit_compile)
    def compute(x: Any, masks: Any) -> list[Any]:
        return [layer(x, **masks, training=False)]

    return lambda: compute(x, masks)


def forward_backward(
    layer: Any, x: Any, mask: Any, doutputs: Any, *, by_x: bool = True, jit_compile: bool = False
) -> Callable[[], list[Any]]:
    """A function that computes a layer's outputs in training, and the gradients by x and by every weight.

    Args:
        layer: The layer, built.
        x: Its inputs.
        mask: Their mask, or None.
        doutputs: The gradient by the outputs.
        by_x: Whether to compute the gradient by x; integers have none.
        jit_compile: Whether XLA compiles it.
    """
    masks = {} if mask is None else {"mask": mask}
    weights = [variable.value for variable in layer.trainable_variables]

    @tf.function(jit_compile=jit_compile)
    def compute(x: Any, masks: Any, doutputs: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            if by_x:
                tape.watch(x)
            outputs = layer(x, **masks, training=True)
        sources = [x, *weights] if by_x else weights
        return [outputs, *tape.gradient(outputs, sources, output_gradients=doutputs)]

    return lambda: compute(x, masks, doutputs)
