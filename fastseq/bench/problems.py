"""What a side is given to compute, and how its results are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq.bench.shapes import GATES, Shape

# "outputs" and, in training, "dx", "dkernel", "drecurrent_kernel" and "dbias": Keras's order of gates, batch first.
Results = dict[str, NDArray[Any]]

# Of the largest difference relative to the largest magnitude. What is right differs by rounding, 1e-5 at most over
# hundreds of steps; what is wrong, gates in another order or a term left out, by far more than 1e-2.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Problem:
    """A layer's weights in Keras's order, its input, and the gradient that comes in at its outputs.

    Attributes:
        cell: A key of `GATES`.
        shape: What the arrays' shapes follow from.
        x: (batch, timesteps, inputs) float32, as all but the mask.
        kernel: (inputs, gates * units).
        recurrent_kernel: (units, gates * units).
        bias: (gates * units,), of a GRU (2, gates * units).
        doutputs: (batch, timesteps, units).
        mask: (batch, timesteps) bool, or None.
    """

    cell: str
    shape: Shape
    x: NDArray[np.float32]
    kernel: NDArray[np.float32]
    recurrent_kernel: NDArray[np.float32]
    bias: NDArray[np.float32]
    doutputs: NDArray[np.float32]
    mask: NDArray[np.bool_] | None = None

    def flops(self, *, training: bool) -> int:
        """Floating-point operations of the matrix products, at steps that are not masked."""
        steps = None if self.mask is None else int(self.mask.sum())
        return self.shape.flops(self.cell, training=training, steps=steps)


def make_problem(cell: str, shape: Shape, *, seed: int = 0) -> Problem:
    """Random arrays, the same for the same arguments; weights as large as a layer's at the start of its training."""
    batch, timesteps, inputs, units = shape
    columns = GATES[cell] * units
    rng = np.random.default_rng(seed)

    def normal(*sizes: int, scale: float = 1.0) -> NDArray[np.float32]:
        return rng.standard_normal(sizes, dtype=np.float32) * np.float32(scale)

    return Problem(
        cell,
        shape,
        x=normal(batch, timesteps, inputs),
        kernel=normal(inputs, columns, scale=inputs**-0.5),
        recurrent_kernel=normal(units, columns, scale=units**-0.5),
        bias=normal(*((2, columns) if cell == "gru" else (columns,)), scale=0.1),
        doutputs=normal(batch, timesteps, units),
    )


def error(got: NDArray[Any], expected: NDArray[Any]) -> float:
    """The largest difference, relative to the largest magnitude of what is expected."""
    if got.shape != expected.shape:
        raise AssertionError(f"expected shape {expected.shape}, got {got.shape}")
    largest = float(np.abs(expected).max(initial=0.0))
    return float(np.abs(got.astype(np.float64) - expected).max(initial=0.0)) / (largest or 1.0)


def verify(got: Results, expected: Results, what: str) -> None:
    """Raises AssertionError, naming the result, unless both hold the same within `TOLERANCE`."""
    if got.keys() != expected.keys():
        raise AssertionError(f"{what}: expected results {sorted(expected)}, got {sorted(got)}")
    for name, array in expected.items():
        difference = error(got[name], array)
        if not difference <= TOLERANCE:  # also where it is NaN
            raise AssertionError(f"{what}: {name} differs by {difference:.2g} of its largest value")
