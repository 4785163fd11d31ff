"""Tensors of a model that is lowered, and the operations that make them: each adds a node to the graph."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from fastseq.prediction.graph import MAX_RANK, GraphBuilder, Option

__all__ = ["LayerStates", "Operations", "Refused", "Shape", "Tensor"]

Shape = tuple[int | None, ...]


class Refused(Exception):  # noqa: N818, since it never leaves the package
    """Why a layer cannot be lowered; `calls.invoke` adds which layer it is."""


@dataclass(frozen=True)
class Tensor:
    """A value of the graph.

    Attributes:
        value: Its number in the `GraphBuilder`.
        shape: Its shape; unknown sizes are None.
        kind: "floats", "integers" or "bools"; None where `source` tells.
        source: The number of the model's input that this is, perhaps in another shape. What dtype the input should have
            turns out when a layer reads it.
        mask: The mask that Keras would attach to it.
    """

    value: int
    shape: Shape
    kind: str | None = "floats"
    source: int | None = None
    mask: Tensor | None = None

    @property
    def rank(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    def with_mask(self, mask: Tensor | None) -> Tensor:
        """The same value with a mask."""
        return replace(self, mask=mask)


@dataclass
class LayerStates:
    """The states of a stateful layer.

    Attributes:
        inputs: The inputs of the graph that are the states before the call; none if nothing reads them.
        now: The states after the calls of the layer so far.
    """

    inputs: Sequence[Tensor]
    now: Sequence[Tensor]


def _product(sizes: Sequence[int | None]) -> int | None:
    return None if None in sizes else math.prod(size for size in sizes if size is not None)


def _broadcast(a: Shape, b: Shape) -> Shape:
    rank = max(len(a), len(b))
    padded = [(1,) * (rank - len(one)) + one for one in (a, b)]
    return tuple(two if one == 1 else one if two in (1, None) else two for one, two in zip(*padded, strict=True))


class Operations:
    """Adds nodes to a graph under the label of a layer.

    Attributes:
        builder: The graph.
        dtype: The dtype of all floats, "float32" or "float64".
        label: The label of new nodes.
        states: The states of each stateful layer in the graph, by the layer's `id`.
    """

    def __init__(self, builder: GraphBuilder, dtype: str) -> None:
        self.builder = builder
        self.dtype = dtype
        self.label = ""
        self.states: dict[int, LayerStates] = {}
        self._kinds: dict[int, str] = {}
        self._weights: dict[tuple[int, str], tuple[Any, Tensor]] = {}

    def labelled(self, label: str) -> Operations:
        """The same graph, with another label."""
        one = copy.copy(self)  # the dicts are shared
        one.label = label
        return one

    # Values ------------------------------------------------------------------

    def weight(self, weight: Any, *, transposed: bool = False) -> Tensor:
        """A variable of a layer, once for all of its uses."""
        key = (id(weight), "transposed" if transposed else "")
        if key not in self._weights:
            array = np.asarray(keras.ops.convert_to_numpy(weight))
            self._weights[key] = weight, self.constant(array.T if transposed else array)
        return self._weights[key][1]

    def constant(self, array: Any) -> Tensor:
        """A constant of the model's dtype."""
        # A copy: on PyTorch, NumPy arrays of variables share their memory.
        own: NDArray[Any] = np.array(array, dtype=self.dtype, order="C", copy=True)
        return Tensor(self.builder.constant(own), own.shape)

    def kind(self, tensor: Tensor) -> str | None:
        """What a tensor holds; None for an input that nothing has read."""
        return tensor.kind if tensor.source is None else self._kinds.get(tensor.source)

    def decide(self, source: int, kind: str) -> None:
        """Says what an input holds."""
        self._kinds[source] = kind

    def read(self, tensor: Tensor, *kinds: str) -> int:
        """The value of a tensor that must hold one of these kinds; an input takes the first if it has none."""
        kind = self.kind(tensor)
        if kind is None and tensor.source is not None:
            self.decide(tensor.source, kinds[0])
        elif kind not in kinds:
            raise Refused(f"its inputs must be {' or '.join(kinds)}, got {kind}, and there is no operation that casts")
        return tensor.value

    def floats(self, tensor: Tensor) -> int:
        """The value of a tensor of floats."""
        return self.read(tensor, "floats")

    def _node(self, operation: str, inputs: dict[str, int | None], options: dict[str, Option] | None = None) -> int:
        return self.builder.node(operation, self.label, inputs, options)["outputs"]

    def _moved(self, operation: str, x: Tensor, shape: Shape, options: dict[str, Option], **inputs: int) -> Tensor:
        """The result of an operation that only moves elements."""
        if len(shape) > MAX_RANK:
            raise Refused(f"tensors must have at most {MAX_RANK} dimensions, got {len(shape)}")
        return Tensor(self._node(operation, {"x": x.value, **inputs}, options), shape, x.kind, x.source)

    # States -------------------------------------------------------------------

    def begin_states(self, layer: Any, shapes: Sequence[tuple[int, ...]]) -> None:
        """Makes inputs of the graph for the states of a layer."""
        names = [f"{self.label}.state{number}" for number in range(len(shapes))]
        values = [
            Tensor(self.builder.input(name, len(shape), self.dtype), shape)
            for name, shape in zip(names, shapes, strict=True)
        ]
        self.states[id(layer)] = LayerStates(values, values)

    def set_states(self, layer: Any, states: Sequence[Tensor]) -> None:
        """Says what the states of a layer are after a call of it."""
        before = self.states.get(id(layer))
        self.states[id(layer)] = LayerStates(before.inputs if before else [], states)

    def finish_states(self) -> None:
        """Has the states after a call be inputs of the next."""
        for states in self.states.values():
            for before, after in zip(states.inputs, states.now, strict=False):
                assert all(size is not None for size in before.shape)
                self.builder.state(before.value, after.value, tuple(size or 0 for size in before.shape))

    # Layers -------------------------------------------------------------------

    def dense(self, x: Tensor, kernel: Tensor, bias: Tensor | None = None, activation: str = "linear") -> Tensor:
        """activation(x kernel + bias)."""
        inputs = {"x": self.floats(x), "kernel": kernel.value, "bias": bias.value if bias else None}
        return Tensor(self._node("dense", inputs, {"activation": activation}), (*x.shape[:-1], kernel.shape[1]))

    def layer(
        self, operation: str, shape: Shape, inputs: dict[str, int | None], options: dict[str, Option] | None = None
    ) -> Tensor:
        """The result of an operation that has a single one, floats of a given shape."""
        return Tensor(self._node(operation, inputs, options), shape)

    # Elements -----------------------------------------------------------------

    def activate(self, x: Tensor, function: str, **parameters: float) -> Tensor:
        """A function of each element."""
        options: dict[str, Option] = {"function": function, **{k: float(v) for k, v in parameters.items()}}
        return Tensor(self._node("activate", {"x": self.floats(x)}, options), x.shape)

    def softmax(self, x: Tensor, mask: Tensor | None = None, *, log: bool = False) -> Tensor:
        """Over the last axis."""
        inputs = {"x": self.floats(x), "mask": mask.value if mask else None}
        return Tensor(self._node("softmax", inputs, {"log": log}), x.shape)

    def combine(self, how: str, a: Tensor, b: Tensor) -> Tensor:
        """An arithmetic operation of two tensors that broadcast."""
        inputs: dict[str, int | None] = {"a": self.floats(a), "b": self.floats(b)}
        return Tensor(self._node("combine", inputs, {"how": how}), _broadcast(a.shape, b.shape))

    def either(self, a: Tensor, b: Tensor) -> Tensor:
        """Where either of two masks is true; they have the same shape."""
        if a.rank != b.rank or any(m != n for m, n in zip(a.shape, b.shape, strict=True) if None not in (m, n)):
            raise Refused(f"masks must have the same shape, got {a.shape} and {b.shape}")
        inputs: dict[str, int | None] = {"a": a.value, "b": b.value}
        return Tensor(self._node("combine_masks", inputs, {"how": "or"}), a.shape, "bools")

    def unequal(self, x: Tensor, value: float, *, any_last: bool = False) -> Tensor:
        """Where x, or any element of its last axis, is not the value."""
        read = x.value if self.kind(x) is None else self.read(x, "floats", "integers")
        node = self._node("unequal", {"x": read}, {"value": float(value), "any_last": any_last})
        return Tensor(node, x.shape[:-1] if any_last else x.shape, "bools")

    def keep(self, x: Tensor, mask: Tensor, *, masked: bool = False) -> Tensor:
        """The elements of x at steps whose mask is true, or with `masked` at the others; zero elsewhere."""
        if mask.rank != 2 or x.rank < 2:
            raise Refused(f"masks must have the shape (batch, timesteps), got {mask.shape} for inputs {x.shape}")
        options: dict[str, Option] = {"masked": True} if masked else {}
        return Tensor(self._node("keep", {"x": self.floats(x), "mask": mask.value}, options), x.shape)

    def chosen(self, mask: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """The elements of a where the mask is true and those of b elsewhere."""
        if _broadcast(a.shape, b.shape) != b.shape:
            raise Refused(f"with masks, its inputs must have the same shape, got {a.shape} and {b.shape}")
        return self.combine("add", self.keep(a, mask), self.keep(b, mask, masked=True))

    # Rows ----------------------------------------------------------------------

    def reduce(self, x: Tensor, how: str, axis: int, mask: Tensor | None = None) -> Tensor:
        """The maximum, mean or sum along an axis, without the axis."""
        inputs = {"x": self.floats(x), "mask": mask.value if mask else None}
        node = self._node("reduce", inputs, {"axis": axis, "how": how})
        return Tensor(node, (*x.shape[:axis], *x.shape[axis + 1 :]))

    def last_step(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The last step of x, or the last whose mask is true."""
        inputs = {"x": self.floats(x), "mask": mask.value if mask else None}
        return Tensor(self._node("last_step", inputs), (x.shape[0], x.shape[2]))

    def batch_product(self, a: Tensor, b: Tensor, *, transpose_b: bool = False) -> Tensor:
        """The product of two matrices for each batch item."""
        inputs: dict[str, int | None] = {"a": self.floats(a), "b": self.floats(b)}
        node = self._node("batch_product", inputs, {"transpose_b": transpose_b})
        return Tensor(node, (a.shape[0], a.shape[1], b.shape[1 if transpose_b else 2]))

    # Shapes --------------------------------------------------------------------

    def reshape(
        self, x: Tensor, *, keep: int, shape: Sequence[int] = (), tail: int = 0, like: Tensor | None = None
    ) -> Tensor:
        """The first sizes are those of `like` or x, then come `shape`, where one may be -1, and x's last sizes."""
        kept, end = (like or x).shape[:keep], x.shape[x.rank - tail :]
        sizes: list[int | None] = list(shape)
        if -1 in shape:
            total = None if like else _product(x.shape[keep:])
            others = _product([*(size for size in shape if size != -1), *end])
            sizes[list(shape).index(-1)] = total // others if total is not None and others else None
        options: dict[str, Option] = {"keep": keep, "shape": list(shape), "tail": tail}
        return self._moved("reshape", x, (*kept, *sizes, *end), options, **({"like": like.value} if like else {}))

    def transpose(self, x: Tensor, permutation: Sequence[int]) -> Tensor:
        """The axes in another order."""
        return self._moved(
            "transpose", x, tuple(x.shape[axis] for axis in permutation), {"permutation": list(permutation)}
        )

    def repeat(self, x: Tensor, axis: int, count: int) -> Tensor:
        """Every element `count` times in succession."""
        return self._moved("repeat", x, _resized(x, axis, lambda size: size * count), {"axis": axis, "count": count})

    def cropped(self, x: Tensor, axis: int, before: int, after: int) -> Tensor:
        """Without the first and the last elements along an axis."""
        options: dict[str, Option] = {"axis": axis, "begin": before}
        if after:
            options["end"] = -after
        return self._moved("slice", x, _resized(x, axis, lambda size: max(0, size - before - after)), options)

    def flipped(self, x: Tensor, axis: int) -> Tensor:
        """In reverse order along an axis."""
        return self._moved("slice", x, x.shape, {"axis": axis, "flip": True})

    def pad(self, x: Tensor, axis: int, before: int, after: int) -> Tensor:
        """With zeros before and after, along an axis."""
        shape = _resized(x, axis, lambda size: size + before + after)
        return self._moved("pad", x, shape, {"axis": axis, "before": before, "after": after})

    def concatenate(self, a: Tensor, b: Tensor, axis: int) -> Tensor:
        """a, then b."""
        kind = "bools" if a.kind == b.kind == "bools" else "floats"
        inputs: dict[str, int | None] = {"a": self.read(a, kind), "b": self.read(b, kind)}
        more = b.shape[axis]
        shape = _resized(a, axis, lambda size: None if more is None else size + more)
        return Tensor(self._node("concatenate", inputs, {"axis": axis}), shape, kind)


def _resized(x: Tensor, axis: int, resize: Any) -> Shape:
    size = x.shape[axis]
    return (*x.shape[:axis], None if size is None else resize(size), *x.shape[axis + 1 :])
