"""All tolerances of the suite, each with its reason.

They are bounds of the largest difference, relative to the largest magnitude of the expected array (at least 1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Against the float64 reference. float32: a result is a sum of up to a few hundred products, each good to 2^-24 = 6e-8,
# passed on through up to 40 steps; stock Keras's own error at these sizes is 1e-6 to 5e-6. float64: likewise, 2^-53.
REFERENCE = {"float32": 1e-5, "float64": 1e-12}

# Against stock Keras in the same dtype: both sides err.
STOCK = {"float32": 2e-5, "float64": 2e-12}

# Against stock Keras in a half type, which keeps 8 (bfloat16) or 11 bits; ours rounds once, at the end.
HALF = 2e-2

# On a GPU, against the float64 reference of arguments rounded to the dtype: float32 as above. Half types round results
# once, to 11 and 8 bits, and the recurrent ops' factors of products before that.
CUDA = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 1.6e-2}

# Central differences in float64 with step 1e-6: the truncation error is about 1e-12, the rounding error 1e-16 / 1e-6.
FINITE_DIFFERENCE = 1e-8

# Of sigmoid and tanh, in units in the last place of float32.
ACTIVATION_ULP = 2.0


def assert_close(got: object, expected: object, tolerance: float, what: str = "") -> None:
    got_array: NDArray[np.float64] = np.asarray(got, dtype=np.float64)
    expected_array: NDArray[np.float64] = np.asarray(expected, dtype=np.float64)
    assert got_array.shape == expected_array.shape, what
    if expected_array.size == 0:
        return
    scale = max(1.0, float(np.abs(expected_array).max()))
    error = float(np.abs(got_array - expected_array).max()) / scale
    assert error <= tolerance, f"{what}: error {error:.3g}, allowed {tolerance:.3g}"
