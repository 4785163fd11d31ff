"""Arrays of other libraries in the CPU's memory. tests/test_cuda.py has those on a GPU."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fastseq import functional
from fastseq.functional import devices


class Tensor:
    """Another library's, which knows DLPack and the array API's way to its own functions."""

    def __init__(self, array: Any) -> None:
        self.array = array

    @classmethod
    def from_dlpack(cls, array: Any) -> Tensor:
        return cls(np.from_dlpack(array))

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    def __dlpack__(self, **options: Any) -> object:
        return self.array.__dlpack__(**options)

    def __array_namespace__(self) -> Any:
        return SimpleNamespace(from_dlpack=Tensor.from_dlpack)


def _random(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


ARRAYS = {"x": _random(2, 5, 3), "kernel": _random(3, 16), "recurrent_kernel": _random(4, 16)}


def test_results_are_the_first_arrays_librarys() -> None:
    tensors = {name: Tensor(array) for name, array in ARRAYS.items()}
    got, expected = functional.lstm_forward(**tensors), functional.lstm_forward(**ARRAYS)
    for name in ("outputs", "last_output", "h_n", "c_n"):
        assert isinstance(getattr(got, name), Tensor)
        np.testing.assert_array_equal(getattr(got, name).array, getattr(expected, name))
    assert got.workspace is not None
    gradients = functional.lstm_backward(got.workspace, **tensors, doutputs=got.outputs)
    expected_gradients = functional.lstm_backward(expected.workspace, **ARRAYS, doutputs=expected.outputs)  # type: ignore[arg-type]
    np.testing.assert_array_equal(gradients.dkernel.array, expected_gradients.dkernel)
    assert gradients.dbias is None


def test_libraries_may_be_mixed() -> None:
    mixed = {**ARRAYS, "kernel": Tensor(ARRAYS["kernel"])}
    assert isinstance(functional.lstm_forward(**mixed).h_n, np.ndarray)
    mixed = {**ARRAYS, "x": Tensor(ARRAYS["x"])}
    assert isinstance(functional.lstm_forward(**mixed).h_n, Tensor)


def test_nothing_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    result = _random(2, 2, 3)

    def compute(operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        seen.update(arguments)
        return {"outputs": result, "argmax": None}

    monkeypatch.setattr(devices, "core", SimpleNamespace(compute=compute, statement=devices.core.statement))
    got = functional.max_pool_forward(Tensor(ARRAYS["x"]), pool_size=2, save_argmax=False)
    assert np.shares_memory(seen["x"], ARRAYS["x"])
    assert np.shares_memory(got.outputs.array, result)
    assert got.argmax is None


def test_what_does_not_fit_names_the_argument() -> None:
    class Refusing(Tensor):
        def __dlpack__(self, **_: Any) -> object:
            raise BufferError("I am lazy")

    for x, error, words in (
        (Tensor(ARRAYS["x"][:, ::2]), ValueError, r"x must be C-contiguous, got strides \(60, 24, 4\)"),
        (Tensor(ARRAYS["x"].astype(np.float16)), TypeError, "x must have dtype float32 or float64, got float16"),
        (Refusing(ARRAYS["x"]), ValueError, "x cannot be taken: I am lazy"),
    ):
        with pytest.raises(error, match=words):
            functional.max_pool_forward(x, pool_size=2)
    with pytest.raises(ValueError, match="kernel cannot be taken: I am lazy"):
        functional.lstm_forward(**{**ARRAYS, "kernel": Refusing(ARRAYS["kernel"])})
    with pytest.raises(TypeError, match=r"kernel must be a numpy\.ndarray, got list"):
        functional.lstm_forward(Tensor(ARRAYS["x"]), [1], ARRAYS["recurrent_kernel"])  # type: ignore[arg-type]


def test_library_that_nobody_knows_gets_numpy_arrays() -> None:
    class Unknown(Tensor):
        __array_namespace__ = None  # type: ignore[assignment]

    assert isinstance(functional.average_pool_forward(Unknown(ARRAYS["x"]), 2), np.ndarray)


def test_torch_tensors() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch's own tensors are tried where it is installed")
    tensors = {name: torch.from_numpy(array) for name, array in ARRAYS.items()}
    got = functional.lstm_forward(**tensors, mask=torch.ones(2, 5, dtype=torch.bool))
    assert isinstance(got.outputs, torch.Tensor)
    np.testing.assert_array_equal(got.outputs.numpy(), functional.lstm_forward(**ARRAYS).outputs)
    with pytest.raises(ValueError, match=r"x cannot be taken: .* require gradient"):
        functional.lstm_forward(**{**tensors, "x": tensors["x"].requires_grad_()})
