"""The problems that implementations compute, and the comparison of their results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastseq.bench.shapes import GATES, TITLES, Shape

# By name: "outputs" and, in training, the gradients "dx", "dkernel", "drecurrent_kernel", "dbias" and so on. Gates are
# in Keras's order, and the batch is the first dimension.
Results = dict[str, NDArray[Any]]

# Samples and targets.
Batch = tuple[NDArray[Any], NDArray[Any]]

# For the largest difference relative to the largest magnitude. Correct results differ by rounding, at most 1e-5 over
# hundreds of steps. Wrong ones, with gates in another order or without a term, differ by far more than 1e-2.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Layer:
    """The description of a layer, for implementations in any framework.

    Attributes:
        name: Its name in `keras.layers`; or "Attention", for the layer of `fastseq.keras.FastAttention`.
        settings: Its arguments in Keras. Missing ones have Keras's defaults. The argument `layer` of a Bidirectional is
            a `Layer`.
    """

    name: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class LayerProblem:
    """A layer, or a few in a row, with weights, an input, and the gradient by the outputs.

    Attributes:
        layers: The layers; the first one takes x.
        x: (batch, timesteps, inputs) float32, or (batch, timesteps) int32 if the first layer is an Embedding.
        weights: The weights by Keras's names, in Keras's order; float32.
        doutputs: The gradient by the outputs, in their shape; float32.
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
    """A single recurrent layer that returns sequences.

    Attributes:
        cell: A key of `GATES`.
        shape: The sizes of the layer and its input.
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
        name: The name of the model there.
        layers: All layers of the model.
        weights: Its weights by descriptive names, in Keras's order.
        batches: The batches that it trains on.
        loss: Keras's name of the loss.
        optimizer: The optimizer's name in `keras.optimizers`, and its settings.
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
    """A problem with random arrays, which are the same for the same arguments.

    Weights are as large as a layer's at the start of its training. The kernel is (inputs, gates * units), the recurrent
    kernel (units, gates * units), and the bias (gates * units,); for a GRU it is (2, gates * units).
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
    """The largest difference, relative to the largest magnitude in `expected`."""
    if got.shape != expected.shape:
        raise AssertionError(f"expected shape {expected.shape}, got {got.shape}")
    largest = float(np.abs(expected).max(initial=0.0))
    return float(np.abs(got.astype(np.float64) - expected).max(initial=0.0)) / (largest or 1.0)


def verify(got: Results, expected: Results, what: str) -> None:
    """Raises AssertionError, which names the result, unless all results agree within `TOLERANCE`."""
    if got.keys() != expected.keys():
        raise AssertionError(f"{what}: expected results {sorted(expected)}, got {sorted(got)}")
    for name, array in expected.items():
        difference = error(got[name], array)
        if not difference <= TOLERANCE:  # also where it is NaN
            raise AssertionError(f"{what}: {name} differs by {difference:.2g} of its largest value")
