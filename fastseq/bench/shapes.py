"""The cells, passes and named shapes of all benchmarks."""

from __future__ import annotations

from typing import NamedTuple

# The number of gates of each cell.
GATES = {"lstm": 4, "gru": 3, "simple_rnn": 1}
# The title of each cell, which is also its name in keras.layers.
TITLES = {"lstm": "LSTM", "gru": "GRU", "simple_rnn": "SimpleRNN"}
PASSES = {"forward": "forward", "training": "forward and backward"}
# Passes of a training step with an optimizer, which takes the gradients in the form in which the layer returns them.
ADAM_PASSES = {
    "adam": "forward, backward and Adam (FastAdam with the fast layer)",
    "keras-adam": "forward, backward and Keras's Adam",
}


class Shape(NamedTuple):
    """The sizes of a recurrent layer and its input."""

    batch: int
    timesteps: int
    inputs: int
    units: int

    def flops(self, cell: str, *, training: bool, steps: int | None = None) -> int:
        """Floating-point operations of the matrix products: one in forward, two more of the same size in backward.

        Args:
            cell: A key of `GATES`.
            training: Whether to count backward.
            steps: The number of steps of all rows together; None for `batch * timesteps`.
        """
        steps = self.batch * self.timesteps if steps is None else steps
        return 2 * steps * GATES[cell] * self.units * (self.inputs + self.units) * (3 if training else 1)

    def __str__(self) -> str:
        return ",".join(str(size) for size in self)


SHAPES = {
    "reuters": Shape(20, 100, 100, 100),
    "imdb-cnn-lstm": Shape(40, 124, 64, 55),
    "imdb-attention": Shape(40, 500, 500, 64),
    "imdb-simple": Shape(64, 100, 300, 8),
    "one-row": Shape(1, 100, 100, 100),
}
# The shapes that are measured for each cell by default.
DEFAULT_SHAPES = {
    "lstm": ("reuters", "imdb-cnn-lstm", "imdb-attention", "one-row"),
    "gru": ("reuters",),
    "simple_rnn": ("imdb-simple",),
}
