"""Equality of a kernel's result and the definition's, for any values.

The definition computes in float64. For each element of a result it gives the value and the *magnitude*: the sum of the
absolute values of all finite terms in the element's sum. The rules are:

1. Rounding. Where both are finite, they differ by at most `rounding * eps * magnitude`, where eps is 2^-23 or 2^-52. So
   a sum whose terms cancel may have an error of the size of its terms' errors. Other sums must have all their digits.
2. Denormals. The kernels flush them: a denormal number in an input, a result or an intermediate result may count as
   zero. So results may also differ by `rounding * tiny`, where tiny is the smallest normal number. The definition gets
   inputs in which denormals are already zero, since a huge factor would enlarge the difference. Operations that only
   copy numbers (the lookup of an embedding, the gradient of a maximum) may return denormals unchanged.
3. Overflow. Where the value is beyond the largest number of the dtype, the result is infinite, with the same sign.
   Where only the magnitude is, partial sums may overflow, and the result may be anything, including NaN.
4. Infinities. Where the value is infinite, the result is the same infinity.
5. NaN. A result is NaN exactly where the value is. Signs and payloads of NaNs do not matter.
6. Zeros of padding. The definition multiplies the zeros of a convolution's padding by the kernel and the gradient. A
   kernel may leave such products out, or have more of them. So where the other factor is infinite or NaN, one of the
   result and the value may be NaN, and the other not. In the convolution with max pooling, the same holds for products
   of an infinite or NaN x with the gradient, which is zero at steps that are not a maximum.

A property may allow a larger error if it derives it from a function's slope. Documented exceptions (without
`propagate_nan`, the maximum of a pooling is never NaN; masked steps are never used) are part of the definition. For the
recurrent layers only the largest error is bounded: see test_property_rnn.py.

A kernel has the same bits for any number of threads and any instruction set (`assert_same_bits`).
"""

from __future__ import annotations

from typing import Any

import numpy as np


def flushed(array: Any) -> Any:
    """The array with zeros for its denormal numbers."""
    return np.where(np.abs(array) < np.finfo(array.dtype).tiny, np.copysign(array.dtype.type(0), array), array)


def finite(array: Any) -> Any:
    """The array's absolute values in float64, zero where they are not finite: what magnitudes are computed from."""
    values = np.abs(np.asarray(array, np.float64))
    return np.where(np.isfinite(values), values, 0.0)


def allowed_error(magnitude: Any, dtype: Any, rounding: float) -> Any:
    info = np.finfo(dtype)
    return rounding * (float(info.eps) * magnitude + float(info.tiny))


def assert_equal(
    what: str, got: Any, value: Any, magnitude: Any, rounding: float, error: Any = None, padded: Any = False
) -> None:
    """As above.

    Args:
        what: Names the array in the message.
        got: The kernel's result, float32 or float64.
        value: The definition's, float64, of the same shape.
        magnitude: Likewise, or one number for all; with float64, both may themselves overflow.
        rounding: See above.
        error: What is allowed beside 2 instead of 1, where that is something else.
        padded: Where 6 applies, broadcast to the result's shape.
    """
    value = np.asarray(value, np.float64)
    assert got.shape == value.shape, f"{what}: shape {got.shape}, not {value.shape}"
    magnitude = np.broadcast_to(np.nan_to_num(magnitude, nan=np.inf), value.shape)
    allowed = allowed_error(magnitude, got.dtype, rounding)
    if error is not None:
        allowed = np.broadcast_to(error, value.shape) + allowed_error(0.0, got.dtype, rounding)
    largest = float(np.finfo(got.dtype).max)
    anything = magnitude * (1 + rounding * float(np.finfo(got.dtype).eps)) >= largest
    # Beyond the largest number is infinite; whether one at the border is, rounding decides.
    anything |= np.isfinite(value) & (np.abs(np.abs(value) - largest) <= allowed)
    in_range = np.where(np.isfinite(value) & (np.abs(value) > largest), np.copysign(np.inf, value), value)
    with np.errstate(invalid="ignore"):
        close = np.abs(got.astype(np.float64) - in_range) <= allowed
    right = (
        anything
        | (padded & (np.isnan(got) | np.isnan(value)))
        | np.where(np.isfinite(in_range), close, same(got, in_range))
    )
    if right.all():
        return
    at = tuple(int(i) for i in np.argwhere(~right)[0])
    raise AssertionError(
        f"{what}{at}: {got[at]!r}, not {value[at]!r}; allowed {allowed[at]:.3g}, magnitude {magnitude[at]:.3g}; "
        f"{np.count_nonzero(~right)} of {right.size} elements are wrong"
    )


def same(one: Any, other: Any) -> Any:
    """Where two arrays have the same number, or NaN both."""
    return (one == other) | (np.isnan(one) & np.isnan(other))


def assert_same_bits(what: str, one: Any, other: Any) -> None:
    """Of two results of one dtype, but for signs and payloads of NaNs."""
    assert one.dtype == other.dtype, what
    assert one.shape == other.shape, what
    bits = f"u{one.dtype.itemsize}"
    if one.dtype.kind == "f":
        right = (one.view(bits) == other.view(bits)) | (np.isnan(one) & np.isnan(other))
    else:
        right = one == other
    assert right.all(), f"{what}: {one[~right][:3]!r} and {other[~right][:3]!r}"
