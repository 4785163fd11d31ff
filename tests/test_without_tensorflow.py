"""fastseq without TensorFlow: functions of arrays work, and layers compute as stock Keras with a warning."""

from __future__ import annotations

from processes import run_python

# Python takes these for modules that are not there.
_WITHOUT = "import sys\nfor name in {}: sys.modules[name] = None\n"


def _run(code: str, *absent: str, **environment: str) -> None:
    done = run_python(_WITHOUT.format(absent) + code, **environment)
    assert done.returncode == 0, done.stderr[-3000:]


def test_arrays_need_no_framework() -> None:
    code = """
import numpy as np
from fastseq import functional, reference

x = np.random.default_rng(0).random((2, 6, 4))
window = {"pool_size": 3, "strides": 2, "padding": "valid"}
expected = reference.average_pool_forward(x, **window)
assert np.allclose(functional.average_pool_forward(x, **window), expected)
"""
    _run(code, "tensorflow", "keras", "torch", "jax")


# Keras's NumPy backend imports jax and scipy. The layers here do not use them; convolution and pooling would.
_NUMPY = """
import importlib.abc, importlib.machinery
from unittest.mock import MagicMock


class Mocks(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("jax", "scipy"):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        return MagicMock()

    def exec_module(self, module):
        pass


sys.meta_path.insert(0, Mocks())
"""
_LAYERS = """
import re
import sys
import warnings

import keras
import numpy as np

import fastseq.keras as fast

reason = "Keras runs on the numpy backend, and the kernels on tensorflow, torch, jax"
x = np.random.default_rng(0).random((2, 6, 4)).astype("float32")
settings = {
    "GRU": (3,), "LSTM": (3,), "SimpleRNN": (3,), "Dropout": (0.5,), "Embedding": (5, 3),
}
for kind, numbers in settings.items():
    layer, stock = getattr(fast, f"Fast{kind}"), getattr(keras.layers, kind)(*numbers)
    try:
        layer(*numbers, use_native=True)
    except ValueError as error:
        assert str(error).endswith(reason), error
    else:
        raise AssertionError(f"{kind} runs natively")
    layer = layer(*numbers)
    inputs = np.array([[1, 4, 0]]) if kind == "Embedding" else x
    stock.build(inputs.shape)
    layer.build(inputs.shape)
    for one, other in zip(layer.weights, stock.weights):
        one.assign(other)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", fast.NativeFallbackWarning)
        got = [keras.ops.convert_to_numpy(one(inputs)) for one in (layer, layer, stock)]
    told = [str(one.message) for one in told if issubclass(one.category, fast.NativeFallbackWarning)]
    if "Dropout" not in kind:  # which does nothing here
        assert len(told) == 1 and reason in told[0], (kind, told)
    np.testing.assert_array_equal(got[0], got[2])
    assert layer.supports_jit == stock.supports_jit

model = keras.Sequential([keras.Input((6, 4)), keras.layers.LSTM(3), keras.layers.Dropout(0.5)])
model.compile("adam", "mse", jit_compile=True)
_, report = fast.accelerate(model, verbose=False, return_report=True)
assert not report.replaced and {row.note for row in report.left} == {reason}, report
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    with fast.patch():
        assert type(keras.layers.LSTM(3)) is keras.layers.LSTM
assert any("makes nothing fast: " + reason in str(one.message) for one in told), told
warnings.simplefilter("ignore")
fast.FastAttention(3)(x)
assert "tensorflow" not in fast.backend.__dict__
assert not any(module.startswith("fastseq.keras.backend.") for module in sys.modules)
"""


def test_layers_run_on_stock_keras() -> None:
    _run(_NUMPY + _LAYERS, "tensorflow", KERAS_BACKEND="numpy")
