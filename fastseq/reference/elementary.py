"""The definition of the elementary operations, of which programs consist beside the layers.

`ELEMENTARY` has them by the names of the operations. The arguments are those of the contracts (csrc/include/fastseq:
elementwise.h, rowwise.h, layout.h, batch_product.h). Floats are computed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq.reference.activations import ACTIVATIONS, sigmoid

Float64 = NDArray[np.float64]
Bools = NDArray[np.bool_]

_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
_erf = np.vectorize(math.erf, otypes=[np.float64])


def _softplus(x: Float64) -> Float64:
    return np.logaddexp(x, 0)


def _rectifier(x: Float64, slope: float, most: float, threshold: float) -> Float64:
    above = np.where(x > threshold, x, 0.0)
    if most < np.inf:
        above = np.clip(above, 0.0, most)
    return above - slope * np.maximum(threshold - x, 0.0) if slope else above


# Each with x, alpha, beta and gamma.
POINTWISE: dict[str, Callable[[Float64, float, float, float], Float64]] = {
    **{name: lambda x, a, b, c, f=known.function: f(x) for name, known in ACTIVATIONS.items()},  # type: ignore[misc]
    "elu": lambda x, a, b, c: np.where(x > 0, x, a * np.expm1(x)),
    "selu": lambda x, a, b, c: _SELU_SCALE * np.where(x > 0, x, _SELU_ALPHA * np.expm1(x)),
    "softplus": lambda x, a, b, c: _softplus(x),
    "softsign": lambda x, a, b, c: x / (np.abs(x) + 1),
    "silu": lambda x, a, b, c: x * sigmoid(x),
    "hard_silu": lambda x, a, b, c: x * np.clip(x + 3, 0, 6) / 6,
    "gelu": lambda x, a, b, c: x * (1 + _erf(x / np.sqrt(2))) / 2,
    "gelu_tanh": lambda x, a, b, c: x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2,
    "exponential": lambda x, a, b, c: np.exp(x),
    "leaky_relu": lambda x, a, b, c: np.where(x > 0, x, a * x),
    "relu6": lambda x, a, b, c: np.clip(x, 0, 6),
    "mish": lambda x, a, b, c: x * np.tanh(_softplus(x)),
    "log_sigmoid": lambda x, a, b, c: -_softplus(-x),
    "tanh_shrink": lambda x, a, b, c: x - np.tanh(x),
    "rectifier": _rectifier,
}


def activate(
    x: Float64, function: str = "linear", alpha: float = 0.0, beta: float = np.inf, gamma: float = 0.0
) -> Float64:
    """An elementwise function of x, one of `POINTWISE`."""
    with np.errstate(over="ignore"):
        return np.asarray(POINTWISE[function](x.astype(np.float64), alpha, beta, gamma))


def combine(a: Float64, b: Float64, how: str = "add") -> Float64:
    """Arithmetic of two arrays that broadcast; `how` is the name of a function of NumPy."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(getattr(np, how)(a.astype(np.float64), b.astype(np.float64)))


def combine_masks(a: Bools, b: Bools, how: str = "and") -> Bools:
    """Where both masks are true, or one of them is."""
    return a & b if how == "and" else a | b


def unequal(x: NDArray[Any], value: float = 0.0, any_last: bool = False) -> Bools:
    """Where x is not the value, rounded to x's dtype if that is a float type; or whether an element of a row is not."""
    different = np.asarray(x != (x.dtype.type(value) if x.dtype.kind == "f" else value))
    return np.asarray(different.any(axis=-1)) if any_last else different


def keep(x: Float64, mask: Bools, masked: bool = False) -> Float64:
    """The elements of x (B, T, ...) where the mask (B, T) is true, or with `masked` where it is false, else zeros."""
    kept = mask != masked
    return np.asarray(np.where(kept.reshape(mask.shape + (1,) * (x.ndim - 2)), x, 0.0))


def softmax(x: Float64, mask: Bools | None = None, log: bool = False) -> Float64:
    """The softmax over the last axis, or its logarithm; elements whose mask is false have a weight of zero."""
    x = x.astype(np.float64)
    if mask is None:
        mask = np.ones(x.shape, bool)
    shifted = x - x.max(axis=-1, keepdims=True, initial=-np.inf, where=mask)
    total = np.exp(shifted).sum(axis=-1, keepdims=True, where=mask)
    with np.errstate(divide="ignore", invalid="ignore"):  # rows without elements
        if log:
            return np.asarray(np.where(mask, shifted - np.log(total), -np.inf))
        return np.asarray(np.where(mask, np.exp(shifted) / total, 0.0))


def layer_normalization(
    x: Float64,
    gamma: Float64 | None = None,
    beta: Float64 | None = None,
    axes: int = 1,
    epsilon: float = 1e-3,
    rms: bool = False,
) -> Float64:
    """Normalization by mean and variance of the last axes, or with `rms` by the mean of the squares."""
    x = x.astype(np.float64)
    over = tuple(range(-axes, 0))
    centered = x if rms else x - x.mean(axis=over, keepdims=True)
    normal = centered / np.sqrt((centered**2).mean(axis=over, keepdims=True) + epsilon)
    return np.asarray(normal * (1 if gamma is None else gamma) + (0 if beta is None else beta))


def reduce(x: Float64, mask: Bools | None = None, axis: int = 1, how: str = "max") -> Float64:
    """The maximum, mean or sum along an axis; with a mask, the mean of the elements whose mask is true."""
    x = x.astype(np.float64)
    if how == "max":
        return np.asarray(x.max(axis=axis, initial=-np.inf))
    if mask is None:
        mask = np.ones(x.shape[: axis + 1], bool)
    mask = mask.reshape(mask.shape + (1,) * (x.ndim - axis - 1))
    total = np.where(mask, x, 0.0).sum(axis=axis)
    with np.errstate(invalid="ignore"):
        return np.asarray(total / mask.sum(axis=axis) if how == "mean" else total)


def last_step(x: Float64, mask: Bools | None = None) -> Float64:
    """The last step of each row, or the last whose mask is true; zeros for a row without one."""
    batch, timesteps, features = x.shape
    outputs = np.zeros((batch, features), x.dtype)
    for b in range(batch):
        steps = np.flatnonzero(np.ones(timesteps, bool) if mask is None else mask[b])
        if steps.size:
            outputs[b] = x[b, steps[-1]]
    return outputs


def transpose(x: NDArray[Any], permutation: Sequence[int]) -> NDArray[Any]:
    """The axes of x in another order."""
    return np.transpose(x, permutation)


def repeat(x: NDArray[Any], axis: int = 0, count: int = 1) -> NDArray[Any]:
    """Each element along the axis `count` times."""
    return np.repeat(x, count, axis)


def slice_along(
    x: NDArray[Any], axis: int = 0, begin: int = 0, end: int = 2**63 - 1, flip: bool = False
) -> NDArray[Any]:
    """x[begin:end] along the axis, in reverse order with `flip`."""
    kept = x[(slice(None),) * axis + (slice(begin, end),)]
    return np.flip(kept, axis) if flip else kept


def pad(x: NDArray[Any], axis: int = 0, before: int = 0, after: int = 0) -> NDArray[Any]:
    """Zeros before and after x along the axis."""
    return np.pad(x, [(before, after) if i == axis else (0, 0) for i in range(x.ndim)])


def concatenate(a: NDArray[Any], b: NDArray[Any], axis: int = 0) -> NDArray[Any]:
    """Both arrays, one after the other along the axis."""
    return np.concatenate([a, b], axis)


def reshape(
    x: NDArray[Any], like: NDArray[Any] | None = None, keep: int = 1, shape: Sequence[int] = (), tail: int = 0
) -> NDArray[Any]:
    """The elements of x, which are not none, with the first sizes of `like` or x, then `shape`, then x's last sizes."""
    first = (x if like is None else like).shape[:keep]
    return x.reshape((*first, *shape, *x.shape[x.ndim - tail :]))


def batch_product(a: Float64, b: Float64, transpose_b: bool = False) -> Float64:
    """The product of a[i] and b[i], or its transpose, for each batch item i."""
    b = b.astype(np.float64)
    return np.asarray(a.astype(np.float64) @ (b.transpose(0, 2, 1) if transpose_b else b))


ELEMENTARY: dict[str, Callable[..., NDArray[Any]]] = {
    "activate": activate,
    "batch_product": batch_product,
    "combine": combine,
    "combine_masks": combine_masks,
    "concatenate": concatenate,
    "keep": keep,
    "last_step": last_step,
    "layer_normalization": layer_normalization,
    "pad": pad,
    "reduce": reduce,
    "repeat": repeat,
    "reshape": reshape,
    "slice": slice_along,
    "softmax": softmax,
    "transpose": transpose,
    "unequal": unequal,
}
