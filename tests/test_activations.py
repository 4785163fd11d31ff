"""The kernels' sigmoid and tanh, as the activated gates show them."""

from __future__ import annotations

import numpy as np
from tolerances import ACTIVATION_ULP

from fastseq import functional, reference


def _activate(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """sigmoid and tanh of float32 values, which must be a multiple of 16 many and finite."""
    units = 16
    x = np.ascontiguousarray(values.reshape(-1, 1, units))
    kernel = np.concatenate([np.eye(units, dtype=np.float32)] * 4, axis=1)
    workspace = functional.lstm_forward(x, kernel, np.zeros((units, 4 * units), np.float32)).workspace
    assert workspace is not None
    gates = workspace.values.reshape(-1, 6, units)
    return gates[:, 0].ravel(), gates[:, 2].ravel()


def _ulps(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """The error in units in the last place; results below the smallest normal float may be zero."""
    smallest = np.finfo(np.float32).smallest_normal
    spacing = np.spacing(np.maximum(np.abs(exact), smallest).astype(np.float32)).astype(np.float64)
    error = np.abs(got.astype(np.float64) - exact) / spacing
    return np.where((np.abs(exact) < smallest) & (got == 0), 0.0, error)


def test_within_two_ulp_over_the_whole_range(isa: str) -> None:
    # Every exponent with 2^10 mantissas each, and densely where the functions bend.
    bits = np.arange(0, 0x7F800000, 0x7F800000 // (255 << 10), dtype=np.uint32)
    values = np.concatenate([bits.view(np.float32), np.linspace(0, 100, 1 << 18, dtype=np.float32)])
    if isa == "scalar":
        values = values[::8]
    values = values[np.isfinite(values)]
    values = np.concatenate([values, -values])
    values = values[: values.size // 16 * 16]
    sigmoid, tanh = _activate(values)
    wide = values.astype(np.float64)
    assert _ulps(sigmoid, reference.sigmoid(wide)).max() <= ACTIVATION_ULP
    # Denormal inputs are flushed: tanh(x) = x there, and below the smallest normal float.
    assert _ulps(tanh, np.tanh(wide)).max() <= ACTIVATION_ULP


def test_limits_are_exact(isa: str) -> None:
    values = np.array([-np.inf, -200.0, -0.0, 0.0, 200.0, np.inf, np.nan], np.float32)
    x = values.reshape(-1, 1, 1)
    workspace = functional.lstm_forward(x, np.ones((1, 4), np.float32), np.zeros((1, 4), np.float32)).workspace
    assert workspace is not None
    np.testing.assert_array_equal(workspace.values[:, 0, 0], np.array([0, 0, 0.5, 0.5, 1, 1, np.nan], np.float32))
    np.testing.assert_array_equal(workspace.values[:, 0, 2], np.array([-1, -1, -0.0, 0, 1, 1, np.nan], np.float32))


def test_never_above_one(isa: str) -> None:
    sigmoid, tanh = _activate(np.linspace(8, 20, 1 << 12, dtype=np.float32))
    assert sigmoid.max() <= 1.0
    assert tanh.max() <= 1.0
