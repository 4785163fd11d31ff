"""What an implementation is given to compute, and how its results are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastseq.bench.shapes import GATES, TITLES, Shape

# "outputs" and, in training, the gradients: "dx", "dkernel", "drecurrent_kernel", "dbias" and so on. Keras's order of
# gates, batch first.
Results = dict[str, NDArray[Any]]

# Samples and targets.
Batch = tuple[NDArray[Any], NDArray[Any]]

# Of the largest difference relative to the largest magnitude. What is right differs by rounding, 1e-5 at most over
# hundreds of steps; what is wrong, gates in another order or a term left out, by far more than 1e-2.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Layer:
    """A layer in words, for implementations of any framework.

    Attributes:
        name: In `keras.layers`; or "Attention", the one that `fastseq.keras.FastAttention` is.
        settings: Keras's arguments of it; those that are not there have Keras's defaults. That of a Bidirectional's
            layer is a `Layer`.
    """

    name: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class LayerProblem:
    """A layer, or a few in a row, with weights, inputs, and the gradient that comes in at the outputs.

    Attributes:
        layers: The first takes x.
        x: (batch, timesteps, inputs) float32, or (batch, timesteps) int32 where the first is an Embedding.
        weights: By Keras's names of them, in Keras's order; float32.
        doutputs: As the outputs.
        mask: (batch, timesteps) bool, or None.
    """

    kind: ClassVar[str] = "layers"

    layers: Sequence[Layer]
    x: NDArray[Any]
    weights: Mapping[str, NDArray[np.float32]]
    doutputs: NDArray[np.float32]
    mask: NDArray[np.bool_] | None = None

    @property
    def masked(self) -> bool:
        """Whether there is a mask."""
        return self.mask is not None

    @property
    def differentiable(self) -> bool:
        """Whether there is a gradient by x."""
        return np.issubdtype(self.x.dtype, np.floating)


@dataclass(frozen=True, kw_only=True)
class RecurrentProblem(LayerProblem):
    """A recurrent layer by itself, which returns sequences.

    Attributes:
        cell: A key of `GATES`.
        shape: What the arrays' shapes follow from.
    """

    cell: str
    shape: Shape

    def flops(self, *, training: bool) -> int:
        """Floating-point operations of the matrix products, at steps that are not masked."""
        steps = None if self.mask is None else int(self.mask.sum())
        return self.shape.flops(self.cell, training=training, steps=steps)


@dataclass(frozen=True, kw_only=True)
class ModelProblem:
    """A training step of a model of `fastseq.training.models`.

    Attributes:
        name: There.
        layers: All of them.
        weights: In Keras's order, each by a name that says which it is.
        batches: What it trains on.
        loss: Keras's name of it.
        optimizer: Its name in `keras.optimizers`, and its settings.
        masked: Whether the Embedding masks the padding.
    """

    kind: ClassVar[str] = "models"

    name: str
    layers: Sequence[Layer]
    weights: Mapping[str, NDArray[np.float32]]
    batches: Sequence[Batch]
    loss: str
    optimizer: tuple[str, Mapping[str, Any]]
    masked: bool


Problem = LayerProblem | ModelProblem


def make_problem(cell: str, shape: Shape, *, seed: int = 0) -> RecurrentProblem:
    """Random arrays, the same for the same arguments; weights as large as a layer's at the start of its training.

    The kernel is (inputs, gates * units), the recurrent kernel (units, gates * units), and the bias (gates * units,),
    of a GRU (2, gates * units).
    """
    batch, timesteps, inputs, units = shape
    columns = GATES[cell] * units
    rng = np.random.default_rng(seed)

    def normal(*sizes: int, scale: float = 1.0) -> NDArray[np.float32]:
        return rng.standard_normal(sizes, dtype=np.float32) * np.float32(scale)

    return RecurrentProblem(
        cell=cell,
        shape=shape,
        layers=(Layer(TITLES[cell], {"units": units, "return_sequences": True}),),
        x=normal(batch, timesteps, inputs),
        weights={
            "kernel": normal(inputs, columns, scale=inputs**-0.5),
            "recurrent_kernel": normal(units, columns, scale=units**-0.5),
            "bias": normal(*((2, columns) if cell == "gru" else (columns,)), scale=0.1),
        },
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
