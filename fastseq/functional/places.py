"""Where a call computes: on the CPU, or on the GPU that its arrays are on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from fastseq._libraries import core

if TYPE_CHECKING:
    from fastseq import _core

__all__ = ["place_of"]

# Found once: every call asks.
_cpu = core.cpu
_ndarray = np.ndarray

# Of DLPack.
_CUDA, _CUDA_MANAGED = 2, 13
_LEGACY_DEFAULT_STREAM = 1


class _Framework(NamedTuple):
    """How one library's arrays come to a call, and its results to them.

    Attributes:
        stream: That the call is queued on, by DLPack's numbers, which are CUDA's handles.
        stream_owner: What keeps the stream alive, where somebody has to.
        wait: Whether results must be complete when the call returns, because the framework knows of no such stream.
        export: An array as a DLPack capsule or the dict of a `__cuda_array_interface__`, ready for use on the stream.
        hand_over: The library's own array of a result.
    """

    stream: int
    stream_owner: object
    wait: bool
    export: Callable[[Any], Any]
    hand_over: Callable[[Any], Any]


def place_of(name: str, array: object) -> _core.Cpu:
    """Whose methods compute a call whose first array is this one; all others must be in the same place.

    Raises:
        TypeError: The array is a framework's, but not on an NVIDIA GPU.
        RuntimeError: It is, and the kernels cannot run on one here.
    """
    if isinstance(array, _ndarray) or not _is_of_a_framework(array):
        return _cpu  # It says what is wrong with what is no array at all.
    device = _device_of(name, array)
    from fastseq import cuda

    extension = cuda.loaded_extension()
    framework = _framework_of(array, device)

    def export(its_name: str, its_array: object) -> Any:
        if isinstance(its_array, _ndarray) or not _is_of_a_framework(its_array):
            raise TypeError(f"{its_name} must be on cuda:{device} as {name} is, got a {_type_of(its_array)}")
        its_device = _device_of(its_name, its_array)
        if its_device != device:
            raise ValueError(f"{its_name} must be on cuda:{device} as {name} is, got an array on cuda:{its_device}")
        try:
            return framework.export(its_array)
        except (BufferError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"{its_name} cannot be taken: {error}") from error

    gpu = extension.Gpu(
        device=device,
        stream=framework.stream,
        stream_owner=framework.stream_owner,
        tf32=cuda.get_precision() == "tf32",
        wait=framework.wait,
        export_array=export,
        hand_over=framework.hand_over,
    )
    return cast("_core.Cpu", gpu)


def _is_of_a_framework(array: object) -> bool:
    return hasattr(array, "__dlpack_device__") or hasattr(array, "__cuda_array_interface__")


def _type_of(array: object) -> str:
    kind = type(array)
    module = kind.__module__.partition(".")[0]
    return kind.__name__ if module == "builtins" else f"{module}.{kind.__name__}"


def _device_of(name: str, array: Any) -> int:
    """The number of the GPU."""
    if not hasattr(array, "__dlpack_device__"):
        from fastseq import cuda

        return int(cuda.loaded_extension().device_of(array.__cuda_array_interface__["data"][0]))
    try:
        kind, index = array.__dlpack_device__()
    except (BufferError, RuntimeError, ValueError) as error:
        raise TypeError(f"{name} cannot be taken: {error}") from error
    if kind not in (_CUDA, _CUDA_MANAGED):
        raise TypeError(
            f"{name} must be a numpy.ndarray or an array on an NVIDIA GPU, got a {_type_of(array)} that is on neither; "
            "numpy.asarray makes an array of one in the CPU's memory"
        )
    return int(index)


def _framework_of(array: Any, device: int) -> _Framework:
    # Whoever has such an array has imported its library.
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        return _torch(torch, device)
    cupy = sys.modules.get("cupy")
    if cupy is not None and isinstance(array, cupy.ndarray):
        return _cupy(cupy, device)
    jax = sys.modules.get("jax")
    hand_over = jax.dlpack.from_dlpack if jax is not None and isinstance(array, jax.Array) else _itself
    # JAX has no stream that others may queue on, and of others we know of none: the default stream, until it is done.
    return _Framework(_LEGACY_DEFAULT_STREAM, None, True, _exporter(_LEGACY_DEFAULT_STREAM), hand_over)


def _torch(torch: Any, device: int) -> _Framework:
    def export(tensor: Any) -> Any:
        if tensor.requires_grad:
            raise ValueError("it requires a gradient, of which fastseq.functional knows nothing; give it detach()ed")
        return torch.utils.dlpack.to_dlpack(tensor)

    stream = torch.cuda.current_stream(device).cuda_stream
    return _Framework(stream or _LEGACY_DEFAULT_STREAM, None, False, export, torch.from_dlpack)


def _cupy(cupy: Any, device: int) -> _Framework:
    with cupy.cuda.Device(device):
        current = cupy.cuda.get_current_stream()
    stream = current.ptr or _LEGACY_DEFAULT_STREAM
    return _Framework(stream, current, False, _exporter(stream), cupy.from_dlpack)


def _exporter(stream: int) -> Callable[[Any], Any]:
    """By the array's own methods; the producer makes `stream` wait until the array is complete."""

    def export(array: Any) -> Any:
        if not hasattr(array, "__dlpack__"):
            return array.__cuda_array_interface__
        try:
            return array.__dlpack__(stream=stream, max_version=(1, 0))
        except TypeError:  # from before DLPack had versions
            return array.__dlpack__(stream=stream)

    return export


def _itself(array: Any) -> Any:
    return array
