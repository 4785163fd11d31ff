"""The cells, the passes, and the named shapes that every benchmark uses."""

from __future__ import annotations

from typing import NamedTuple

# How many column blocks a cell's weights have.
GATES = {"lstm": 4, "gru": 3, "simple_rnn": 1}
# Also their names in keras.layers.
TITLES = {"lstm": "LSTM", "gru": "GRU", "simple_rnn": "SimpleRNN"}
PASSES = {"forward": "forward", "training": "forward and backward"}
# What a training step does with a layer: its optimizer meets the gradients in the form that they come in.
ADAM_PASSES = {
    "adam": "forward, backward and Adam (FastAdam with the fast layer)",
    "keras-adam": "forward, backward and Keras's Adam",
}


class Shape(NamedTuple):
    """What a recurrent layer works on."""

    batch: int
    timesteps: int
    inputs: int
    units: int

    def flops(self, cell: str, *, training: bool, steps: int | None = None) -> int:
        """Floating-point operations of the matrix products: one forward, two more of the same size backward.

        Args:
            cell: A key of `GATES`.
            training: Whether to count backward.
            steps: How many steps all rows take together; None for `batch * timesteps`.
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
# What is measured of each cell where nobody says otherwise.
DEFAULT_SHAPES = {
    "lstm": ("reuters", "imdb-cnn-lstm", "imdb-attention", "one-row"),
    "gru": ("reuters",),
    "simple_rnn": ("imdb-simple",),
}
