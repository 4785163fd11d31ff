"""The choice of the device for a call, and the exchange of arrays with other libraries.

A call exports all its arrays, calls the extension module once, and converts the results to arrays of the first array's
library. Nothing is copied. Arrays in the CPU's memory are passed to the extension module as NumPy arrays.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from fastseq._libraries import core

__all__ = ["compute"]

# Mostly all arrays of a call are of these types. Then the call goes straight to the core.
_OF_NUMPY = (np.ndarray, type(None))
# DLPack's numbers of device types.
_CPU, _CUDA, _CUDA_MANAGED = 1, 2, 13
_LEGACY_DEFAULT_STREAM = 1
_REFUSALS = (BufferError, RuntimeError, TypeError, ValueError)


class Device(Protocol):
    """A device that computes: the CPU's extension module, or a `Gpu` object of the GPU's."""

    def compute(self, operation: str, arguments: dict[str, Any], /) -> dict[str, Any]:
        """Returns the results by name; None for a result that is not wanted."""


class _Library(NamedTuple):
    """The exchange of arrays with one library.

    Attributes:
        device: The device on which the arrays are.
        export: Takes an argument's name and its array; returns the array in the form that the device takes.
        adopt: Takes a result; returns it as an array of the library.
    """

    device: Device
    export: Callable[[str, Any], Any]
    adopt: Callable[[Any], Any]


@functools.cache
def _arrays_of(operation: str) -> tuple[str, tuple[str, ...]]:
    """The argument whose array decides on the device, which is the first one of floats, and all arrays, by name."""
    arrays = core.statement(operation)[0]
    return next(name for name, (holds, _) in arrays.items() if holds == "floats"), tuple(arrays)


def compute(operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Computes an operation on the device of its arrays.

    Args:
        operation: The name in the operation's statement.
        arguments: Arrays and options by their names in the statement; None for an absent array.

    Returns:
        The results by name, as arrays of the first array's library; None for a result that is not wanted.

    Raises:
        ValueError: A shape or option does not fit, an array cannot be exported, or is on another device than the first.
        TypeError: An argument has a wrong type, or an array is neither in the CPU's memory nor on an NVIDIA GPU.
        RuntimeError: The arrays are on a GPU, but the kernels cannot run on a GPU here.
    """
    first, names = _arrays_of(operation)
    for name in names:
        if type(arguments.get(name)) not in _OF_NUMPY:
            break
    else:
        return core.compute(operation, arguments)
    library = _library_of(operation, first, arguments[first])
    exported = dict(arguments)
    for name in names:
        if (array := exported.get(name)) is not None:
            exported[name] = library.export(name, array)
    results = library.device.compute(operation, exported)
    if library.adopt is not _itself:
        results = {name: None if array is None else library.adopt(array) for name, array in results.items()}
    return results


def _library_of(operation: str, name: str, array: Any) -> _Library:
    if isinstance(array, np.ndarray) or not _is_of_a_library(array):
        return _of_numpy(name)  # The core has the error for an argument that is not an array.
    kind, index = _device_of(name, array)
    if kind == _CPU:
        return _Library(core, functools.partial(_as_numpy, name), _adopter_of(array))
    return _on_gpu(operation, name, array, index)


def _is_of_a_library(array: object) -> bool:
    return hasattr(array, "__dlpack_device__") or hasattr(array, "__cuda_array_interface__")


def _type_of(array: object) -> str:
    kind = type(array)
    module = kind.__module__.partition(".")[0]
    return kind.__name__ if module == "builtins" else f"{module}.{kind.__name__}"


def _device_of(name: str, array: Any) -> tuple[int, int]:
    """DLPack's type and number of an array's device: the CPU or an NVIDIA GPU."""
    if not hasattr(array, "__dlpack_device__"):
        from fastseq import cuda

        return _CUDA, int(cuda.loaded_extension().device_of(array.__cuda_array_interface__["data"][0]))
    try:
        kind, index = array.__dlpack_device__()
    except _REFUSALS as error:
        raise TypeError(f"{name} cannot be taken: {error}") from error
    if kind not in (_CPU, _CUDA, _CUDA_MANAGED):
        raise TypeError(
            f"{name} must be in the CPU's memory or on an NVIDIA GPU, got a {_type_of(array)} that is on neither"
        )
    return _CPU if kind == _CPU else _CUDA, int(index)


def _exported(name: str, export: Callable[[Any], Any], array: Any) -> Any:
    try:
        return export(array)
    except _REFUSALS as error:
        raise ValueError(f"{name} cannot be taken: {error}") from error


def _itself(array: Any) -> Any:
    return array


def _adopter_of(array: Any) -> Callable[[Any], Any]:
    """A function that converts results to arrays of this array's library; without one, results stay as they are."""
    # The library of an array has been imported already.
    for module, kind in (("torch", "Tensor"), ("cupy", "ndarray"), ("jax", "Array")):
        library = sys.modules.get(module)
        if library is not None and isinstance(array, getattr(library, kind)):
            adopt: Callable[[Any], Any] = (library.dlpack if module == "jax" else library).from_dlpack
            return adopt
    namespace = getattr(array, "__array_namespace__", None)
    return _itself if namespace is None else namespace().from_dlpack


# --- the CPU ----------------------------------------------------------------------------------------------------------


def _as_numpy(first: str, name: str, array: Any) -> Any:
    if isinstance(array, np.ndarray) or not hasattr(array, "__dlpack_device__"):
        return array  # The core has the error for an argument that is not an array.
    kind, index = _device_of(name, array)
    if kind != _CPU:
        raise ValueError(f"{name} must be in the CPU's memory as {first} is, got an array on cuda:{index}")
    return _exported(name, np.from_dlpack, array)


@functools.cache
def _of_numpy(first: str) -> _Library:
    return _Library(core, functools.partial(_as_numpy, first), _itself)


# --- NVIDIA GPUs ------------------------------------------------------------------------------------------------------


class _Queue(NamedTuple):
    """The stream on which a library's calls are queued.

    Attributes:
        stream: Its number in DLPack, which is CUDA's handle.
        owner: An object that keeps the stream alive, or None.
        wait: Whether results must be complete when the call returns, because the library does not know the stream.
        export: Returns an array as a DLPack capsule or the dict of a `__cuda_array_interface__`, ready for use on the
            stream.
    """

    stream: int
    owner: object
    wait: bool
    export: Callable[[Any], Any]


def _on_gpu(operation: str, first: str, array: Any, device: int) -> _Library:
    from fastseq import cuda

    extension = cuda.loaded_extension()
    if operation not in extension.operations():
        raise TypeError(f"{operation} computes on the CPU only, over NumPy arrays; its arguments are on cuda:{device}")
    queue = _queue_of(array, device)

    def export(name: str, its_array: Any) -> Any:
        if isinstance(its_array, np.ndarray) or not _is_of_a_library(its_array):
            raise TypeError(f"{name} must be on cuda:{device} as {first} is, got a {_type_of(its_array)}")
        kind, index = _device_of(name, its_array)
        if (kind, index) != (_CUDA, device):
            place = "in the CPU's memory" if kind == _CPU else f"on cuda:{index}"
            raise ValueError(f"{name} must be on cuda:{device} as {first} is, got an array {place}")
        return _exported(name, queue.export, its_array)

    gpu = extension.Gpu(
        device=device,
        stream=queue.stream,
        stream_owner=queue.owner,
        tf32=cuda.get_precision() == "tf32",
        wait=queue.wait,
    )
    return _Library(gpu, export, _adopter_of(array))


def _queue_of(array: Any, device: int) -> _Queue:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        stream = torch.cuda.current_stream(device).cuda_stream or _LEGACY_DEFAULT_STREAM
        return _Queue(stream, None, False, functools.partial(_export_tensor, torch))
    cupy = sys.modules.get("cupy")
    if cupy is not None and isinstance(array, cupy.ndarray):
        with cupy.cuda.Device(device):
            current = cupy.cuda.get_current_stream()
        stream = current.ptr or _LEGACY_DEFAULT_STREAM
        return _Queue(stream, current, False, functools.partial(_export_to, stream))
    # JAX's stream is not accessible, and those of other libraries are unknown. So such a call uses the default stream,
    # and waits until it is done.
    return _Queue(_LEGACY_DEFAULT_STREAM, None, True, functools.partial(_export_to, _LEGACY_DEFAULT_STREAM))


def _export_tensor(torch: Any, tensor: Any) -> Any:
    if tensor.requires_grad:
        raise ValueError("it requires a gradient, of which fastseq.functional knows nothing; give it detach()ed")
    return torch.utils.dlpack.to_dlpack(tensor)


def _export_to(stream: int, array: Any) -> Any:
    """Exports an array by its own methods. Its library makes `stream` wait until the array is complete."""
    if not hasattr(array, "__dlpack__"):
        return array.__cuda_array_interface__
    try:
        return array.__dlpack__(stream=stream, max_version=(1, 0))
    except TypeError:  # the library is older than DLPack's versions
        return array.__dlpack__(stream=stream)
