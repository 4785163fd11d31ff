"""The ops for arrays on a GPU: on an emulated GPU, and on a real one if there is one.

Needs neither TensorFlow nor Keras.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import conv1d_cases
import numpy as np
import pytest
import rnn_cases
from emulated_cuda import DlpackArray, InterfaceArray, as_bfloat16
from gpu_arrays import DTYPES, Emulated, Real, mapped, on_gpu, rounded
from pool_cases import run_pool, small_integers
from processes import run_python
from tolerances import CUDA, assert_close

from fastseq import cuda, functional, reference, runtime


@rnn_cases.every_variant
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("masked", [False, True])
def test_recurrent_matches_reference(
    gpu: Emulated | Real, cell: str, variant: dict[str, Any], dtype: str, masked: bool
) -> None:
    options = {**variant, "masked": masked, "dropout": int(masked), "recurrent_dropout": int(masked)}
    case = rnn_cases.make_case(cell, 3, 4, 5, 7, **options)
    got = rnn_cases.run_native(on_gpu(case, dtype, lambda array: gpu.array(array, dtype)))
    expected = rnn_cases.run_reference(on_gpu(case, dtype, lambda array: array))
    for name, value in expected.items():
        assert gpu.dtype(got[name]) == dtype
        assert_close(gpu.numpy(got[name]), value, CUDA[dtype], name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "options", [{}, {"padding": "same", "strides": 2, "activation": "relu"}, {"groups": 2, "bias": False}]
)
def test_conv1d_matches_reference(gpu: Emulated | Real, dtype: str, options: dict[str, Any]) -> None:
    case = conv1d_cases.make_case(2, 9, 3, 4, 3, **options)
    case.inputs = mapped(case.inputs, lambda array: rounded(array, dtype))
    case.doutputs = rounded(case.doutputs, dtype)
    expected = conv1d_cases.run_reference(case)
    case.inputs = mapped(case.inputs, lambda array: gpu.array(array, dtype))
    case.doutputs = gpu.array(case.doutputs, dtype)
    got = conv1d_cases.run_native(case)
    for name, value in expected.items():
        if value is None:
            assert got[name] is None
        else:
            assert gpu.dtype(got[name]) == dtype
            assert_close(gpu.numpy(got[name]), value, CUDA[dtype], name)


@pytest.mark.parametrize("window", [(2, None, "valid"), (3, 1, "same")])
def test_conv1d_max_pool_matches_the_two_ops(gpu: Emulated | Real, window: Any) -> None:
    case = conv1d_cases.make_case(2, 12, 3, 4, 3, activation="relu")
    options = {**case.options, **dict(zip(("pool_size", "pool_strides", "pool_padding"), window, strict=True))}
    inputs = mapped(case.inputs, gpu.array)
    convolved = conv1d_cases.reference_forward(case)
    pooled = reference.max_pool_forward(convolved, *window)
    got = functional.conv1d_max_pool_forward(**inputs, **options)
    assert_close(gpu.numpy(got.outputs), pooled.outputs, CUDA["float32"])
    doutputs = np.random.default_rng(0).standard_normal(pooled.outputs.shape).astype(np.float32)
    dconvolved = reference.max_pool_backward(gpu.numpy(got.argmax), doutputs, convolved.shape[1], *window)
    expected = reference.conv1d_backward(convolved, dconvolved, **case.arguments)
    gradients = functional.conv1d_max_pool_backward(got, gpu.array(doutputs), **inputs, **options)
    for name in conv1d_cases.RESULTS[1:]:
        assert_close(gpu.numpy(getattr(gradients, name)), getattr(expected, name), CUDA["float32"], name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", [(2, None, "valid"), (5, 2, "same"), (300, 1, "same")])
def test_max_pool_matches_reference(gpu: Emulated | Real, window: Any, dtype: str) -> None:
    x = small_integers((2, 11, 3))
    expected = run_pool(reference, "max", x, window)
    doutputs = rounded(np.random.default_rng(1).standard_normal(expected.outputs.shape).astype(np.float32), dtype)
    expected = run_pool(reference, "max", x, window, doutputs)
    got = functional.max_pool_forward(gpu.array(x, dtype), *window)
    dx = functional.max_pool_backward(got.argmax, gpu.array(doutputs, dtype), x.shape[1], *window)
    np.testing.assert_array_equal(gpu.numpy(got.outputs), expected.outputs)
    np.testing.assert_array_equal(gpu.numpy(got.argmax), expected.argmax)
    assert gpu.dtype(dx) == dtype
    assert_close(gpu.numpy(dx), expected.dx, CUDA[dtype])


@pytest.mark.cuda
def test_results_are_ordered_on_the_current_stream() -> None:
    if cuda.unavailable_because():
        pytest.skip(f"no GPU: {cuda.unavailable_because()}")
    torch = pytest.importorskip("torch", reason="arrays on a GPU are made with PyTorch")
    x = torch.ones(64, 500, 64, device="cuda")
    for stream in (torch.cuda.current_stream(), torch.cuda.Stream()):
        with torch.cuda.stream(stream):
            stream.wait_stream(torch.cuda.default_stream())
            torch.cuda._sleep(10**8)  # so that the input is not there yet when the call returns
            doubled = x * 2
            pooled = functional.max_pool_forward(doubled, pool_size=2).outputs
            assert bool((pooled == 2).all())


# --- arrays and errors; what needs a GPU runs on the emulated one -----------------------------------------------------


def _ones(*shape: int) -> Any:
    return np.ones(shape, np.float32)


def _pool(x: Any) -> Any:
    return functional.max_pool_forward(x, pool_size=2)


@pytest.mark.parametrize("versioned", [False, True])
def test_dlpack_takes_part_in_the_order_of_streams(emulated: Emulated, versioned: bool) -> None:
    x = DlpackArray(_ones(1, 4, 2), versioned=versioned)
    result = _pool(x).outputs
    assert x.streams == [1]  # the legacy default stream: there is no framework to ask for another
    np.testing.assert_array_equal(emulated.numpy(result), 1)


def test_results_are_taken_as_arguments(emulated: Emulated) -> None:
    once = _pool(InterfaceArray(_ones(1, 8, 2))).outputs
    assert (once.shape, once.dtype, once.__dlpack_device__()) == ((1, 4, 2), "float32", (2, 0))
    np.testing.assert_array_equal(emulated.numpy(_pool(once).outputs), _ones(1, 2, 2))


def test_result_outlives_the_array_it_came_in(emulated: Emulated) -> None:
    result = _pool(InterfaceArray(_ones(1, 8, 2))).outputs
    capsule = result.__dlpack__(max_version=(1, 0))
    interface = result.__cuda_array_interface__
    assert interface["version"] == 3
    assert (interface["shape"], interface["typestr"], interface["data"][1]) == ((1, 4, 2), "<f4", False)
    del result
    assert '"dltensor_versioned"' in repr(capsule)
    assert ctypes.string_at(interface["data"][0], 4) == _ones(1).tobytes()


def test_result_is_handed_over_where_it_is_only(emulated: Emulated) -> None:
    result = _pool(InterfaceArray(_ones(1, 8, 2))).outputs
    with pytest.raises(BufferError, match=r"dl_device must be \(2, 0\), where the array is, got \(1, 0\)"):
        result.__dlpack__(dl_device=(1, 0))
    with pytest.raises(BufferError, match="copy must be None or False"):
        result.__dlpack__(copy=True)


def test_bfloat16_has_no_cuda_array_interface(emulated: Emulated) -> None:
    result = _pool(DlpackArray(as_bfloat16(_ones(1, 4, 2)), "bfloat16")).outputs
    assert result.dtype == "bfloat16"
    with pytest.raises(AttributeError, match="use __dlpack__"):
        _ = result.__cuda_array_interface__


def test_mask_may_be_uint8(emulated: Emulated) -> None:
    case = rnn_cases.make_case("simple_rnn", 2, 3, 2, 3, masked=True)
    weights = mapped(case.weights, emulated.array)
    results = [
        functional.simple_rnn_forward(**weights, mask=DlpackArray(case.masks["mask"].astype(dtype))).outputs
        for dtype in ("bool", "uint8")
    ]
    np.testing.assert_array_equal(*map(emulated.numpy, results))


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (InterfaceArray(np.ones((1, 4, 2))), TypeError, "x must have dtype float32, float16 or bfloat16, got float64"),
        (
            DlpackArray(np.ones((1, 4, 2), np.int8)),
            TypeError,
            "x must have dtype float32, float16 or bfloat16, got int8",
        ),
        (InterfaceArray(_ones(1, 4, 2)[:, ::2]), ValueError, r"x must be C-contiguous, got strides of \(8, 4, 1\)"),
        (DlpackArray(_ones(1, 4, 2)[:, ::2]), ValueError, r"x must be C-contiguous, .* elements for shape \(1, 2, 2\)"),
        (InterfaceArray(_ones(4, 2)), ValueError, r"x must have shape \(batch, timesteps, channels\), got \(4, 2\)"),
        (InterfaceArray(_ones(1, 4, 2), version=1), ValueError, "x: __cuda_array_interface__ must be of version 2"),
        (InterfaceArray(_ones(1, 4, 2), stream=0), ValueError, "x: 0 is no stream"),
        (InterfaceArray(_ones(1, 4, 2), mask=InterfaceArray(_ones(1))), ValueError, "x must have no mask"),
    ],
)
def test_arrays_that_do_not_fit(emulated: Emulated, x: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        _pool(x)


def test_version_2_has_no_stream(emulated: Emulated) -> None:
    x = InterfaceArray(_ones(1, 4, 2), version=2, stream=None)
    np.testing.assert_array_equal(emulated.numpy(_pool(x).outputs), 1)


def test_all_arrays_must_be_in_one_place(emulated: Emulated) -> None:
    x, kernel = _ones(1, 4, 2), _ones(3, 2, 5)
    with pytest.raises(TypeError, match=r"kernel must be on cuda:0 as x is, got a numpy\.ndarray"):
        functional.conv1d_forward(InterfaceArray(x), kernel)
    with pytest.raises(TypeError, match=r"kernel must be on cuda:0 as x is, got a list"):
        functional.conv1d_forward(InterfaceArray(x), [1])
    with pytest.raises(ValueError, match=r"kernel must be on cuda:0 as x is, got an array on cuda:1"):
        functional.conv1d_forward(InterfaceArray(x), DlpackArray(kernel, device=(2, 1)))
    with pytest.raises(ValueError, match=r"kernel must be on cuda:0 as x is, got an array in the CPU's memory"):
        functional.conv1d_forward(InterfaceArray(x), DlpackArray(kernel, device=(1, 0)))
    with pytest.raises(TypeError, match=r"kernel must be a numpy\.ndarray, got InterfaceArray"):
        functional.conv1d_forward(x, InterfaceArray(kernel))
    with pytest.raises(ValueError, match=r"kernel must be in the CPU's memory as x is, got an array on cuda:0"):
        functional.conv1d_forward(x, DlpackArray(kernel))


def test_what_cannot_be_exported_names_the_argument(emulated: Emulated) -> None:
    class Refusing(DlpackArray):
        def __dlpack__(self, **_: Any) -> object:
            raise BufferError("I am lazy")

    with pytest.raises(ValueError, match="kernel cannot be taken: I am lazy"):
        functional.conv1d_forward(InterfaceArray(_ones(1, 4, 2)), Refusing(_ones(3, 2, 5)))


def test_ops_without_kernels_for_gpus(emulated: Emulated) -> None:
    x = InterfaceArray(_ones(1, 4, 2))
    zeros = InterfaceArray(_ones(3))
    calls = {
        "average_pool_forward": lambda: functional.average_pool_forward(x, 2),
        "average_pool_backward": lambda: functional.average_pool_backward(x, 4, 2),
        "dropout": lambda: functional.dropout(x, 0.5, (0, 1)),
        "adam": lambda: functional.adam(functional.AdamState(zeros, zeros, zeros), zeros, alpha=1.0),
        "embedding_forward": lambda: functional.embedding_forward(np.array([0]), x),
        "embedding_backward": lambda: functional.embedding_backward(np.array([0]), x, 4),
    }
    for name, call in calls.items():
        with pytest.raises(TypeError, match=f"{name} computes on the CPU only, over NumPy arrays; .* on cuda:0"):
            call()


def test_array_of_a_framework_on_another_device() -> None:
    x = DlpackArray(_ones(1, 4, 2), device=(10, 0))  # a GPU of another make
    words = r"x must be in the CPU's memory or on an NVIDIA GPU, got a emulated_cuda.DlpackArray that is on neither"
    with pytest.raises(TypeError, match=words):
        _pool(x)


def test_array_that_is_nowhere() -> None:
    class Meta(DlpackArray):
        def __dlpack_device__(self) -> tuple[int, int]:
            raise ValueError("Unknown device type meta for Dlpack")

    with pytest.raises(TypeError, match="x cannot be taken: Unknown device type meta"):
        _pool(Meta(_ones(1, 4, 2)))


def test_no_array_at_all() -> None:
    with pytest.raises(TypeError, match=r"x must be a numpy\.ndarray, got list"):
        _pool([1.0])


# --- frameworks, by stand-ins -----------------------------------------------------------------------------------------


class Tensor(DlpackArray):
    """As PyTorch's."""

    requires_grad = False


@pytest.fixture
def torch_like(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Stands for PyTorch with a current stream, which the emulation takes for any number; what was handed over."""
    handed: list[Any] = []

    def from_dlpack(array: Any) -> tuple[str, Any]:
        handed.append(array)
        return "tensor", array

    patched = SimpleNamespace(
        Tensor=Tensor,
        cuda=SimpleNamespace(current_stream=lambda device: SimpleNamespace(cuda_stream=64 + device)),
        utils=SimpleNamespace(dlpack=SimpleNamespace(to_dlpack=lambda tensor: tensor.__dlpack__(stream=-1))),
        from_dlpack=from_dlpack,
    )
    monkeypatch.setitem(sys.modules, "torch", patched)
    return handed


def test_results_are_the_frameworks_own(emulated: Emulated, torch_like: list[Any]) -> None:
    kind, outputs = _pool(Tensor(_ones(1, 4, 2), versioned=False)).outputs
    assert kind == "tensor"
    assert any(array is outputs for array in torch_like)
    assert outputs.__cuda_array_interface__["stream"] == 64
    np.testing.assert_array_equal(emulated.numpy(outputs), 1)


def test_tensor_that_requires_a_gradient(emulated: Emulated, torch_like: list[Any]) -> None:
    kernel = Tensor(_ones(3, 2, 5))
    kernel.requires_grad = True
    with pytest.raises(ValueError, match=r"kernel cannot be taken: it requires a gradient.*detach"):
        functional.conv1d_forward(Tensor(_ones(1, 4, 2)), kernel)
    assert not torch_like


# --- what fastseq.cuda says -------------------------------------------------------------------------------------------


def test_without_cuda_in_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastseq._cuda", None)
    assert not cuda.is_available()
    assert cuda.device_count() == 0
    words = "cannot compute on a GPU here: this build of fastseq has no CUDA"
    for call in (cuda.device_info, lambda: _pool(InterfaceArray(_ones(1, 4, 2)))):
        with pytest.raises(RuntimeError, match=words):
            call()


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    extension = SimpleNamespace(device_count=lambda: (0, "no NVIDIA GPU is visible to this process"))
    monkeypatch.setitem(sys.modules, "fastseq._cuda", extension)
    assert cuda.unavailable_because() == "no NVIDIA GPU is visible to this process"
    with pytest.raises(RuntimeError, match="cannot compute on a GPU here: no NVIDIA GPU is visible"):
        _pool(InterfaceArray(_ones(1, 4, 2)))


def test_this_machine() -> None:
    reason = cuda.unavailable_because()
    assert cuda.is_available() == (reason is None) == (cuda.device_count() > 0)
    if runtime.build_info()["cuda"] == "no":
        assert reason is not None
        assert "built without" in reason
    if not Path("/proc/driver/nvidia").exists() and runtime.build_info()["cuda"] != "no":
        assert reason is not None


def test_device_info(emulated: Emulated) -> None:
    info = cuda.device_info()
    assert (info.name, info.compute_capability, info.driver) == ("emulated", (9, 0), "13.0")
    with pytest.raises(ValueError, match="device must be at most 0, got 1"):
        cuda.device_info(1)


def test_precision() -> None:
    assert cuda.get_precision() == "float32"
    try:
        cuda.set_precision("tf32")
        assert cuda.get_precision() == "tf32"
    finally:
        cuda.set_precision("float32")
    with pytest.raises(ValueError, match="precision must be 'float32' or 'tf32', got 'float16'"):
        cuda.set_precision("float16")  # type: ignore[arg-type]


def test_importing_loads_no_cuda() -> None:
    code = """
import fastseq.functional, fastseq.cuda
maps = open("/proc/self/maps").read()
print("libfastseq_cuda" in maps, "libcuda" in maps)
"""
    assert run_python(code).stdout.split() == ["False", "False"]
