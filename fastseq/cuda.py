"""NVIDIA GPUs: whether the kernels can run on one, and with which precision.

`fastseq.functional` computes on a GPU if its arrays are on one. Nothing needs to be switched on.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from fastseq._libraries import cuda_extension

if TYPE_CHECKING:
    from types import ModuleType

__all__ = [
    "DeviceInfo",
    "device_count",
    "device_info",
    "get_precision",
    "is_available",
    "set_precision",
    "unavailable_because",
]

Precision = Literal["float32", "tf32"]

_precision: Precision = "float32"


class DeviceInfo(NamedTuple):
    """A GPU and the software that drives it.

    Attributes:
        name: NVIDIA's name of the product.
        compute_capability: Major and minor number.
        multiprocessors: The number of multiprocessors.
        memory_bytes: The size of its memory.
        driver: The latest CUDA that the driver supports, such as "13.0".
        runtime: The CUDA that fastseq was built with.
    """

    name: str
    compute_capability: tuple[int, int]
    multiprocessors: int
    memory_bytes: int
    driver: str
    runtime: str


def unavailable_because() -> str | None:
    """Why the kernels cannot run on a GPU here, or None if they can."""
    extension = cuda_extension()
    if extension is None:
        return "this build of fastseq has no CUDA: it was built without the CUDA toolkit"
    devices, reason = extension.device_count()
    return None if devices else str(reason)


def is_available() -> bool:
    """Whether the kernels can run on a GPU here; `unavailable_because` has the reason why not.

    >>> import fastseq.cuda
    >>> fastseq.cuda.is_available() == (fastseq.cuda.unavailable_because() is None)
    True
    """
    return unavailable_because() is None


def device_count() -> int:
    """The number of GPUs that the kernels can run on; 0 if CUDA, the driver or a GPU is missing."""
    extension = cuda_extension()
    return 0 if extension is None else int(extension.device_count()[0])


def device_info(device: int = 0) -> DeviceInfo:
    """The properties of a GPU.

    Args:
        device: CUDA's number of the GPU.

    Raises:
        RuntimeError: There is no GPU that the kernels can run on.
        ValueError: There is no such device.
    """
    name, capability, multiprocessors, memory_bytes, driver, runtime = loaded_extension().device_info(device)

    def text(version: int) -> str:
        return f"{version // 1000}.{version % 1000 // 10}"

    return DeviceInfo(name, capability, multiprocessors, memory_bytes, text(driver), text(runtime))


def get_precision() -> Precision:
    """The precision given to `set_precision`; "float32" before that."""
    return _precision


def set_precision(precision: Precision) -> None:
    """Sets the precision of LSTM, GRU and SimpleRNN on a GPU, for the whole process.

    It is that of the products outside the time loop.

    Args:
        precision: "float32"; or "tf32", which rounds the factors of float32 products to 11 bits. That is several times
            as fast on the GPU's matrix units, with errors of up to 1e-3. Sums are float32 in both cases. Arrays of half
            types have no more than 11 bits, so their products always use "tf32".

    Raises:
        ValueError: `precision` is neither.
    """
    if precision not in ("float32", "tf32"):
        raise ValueError(f"precision must be 'float32' or 'tf32', got {precision!r}")
    global _precision
    _precision = precision


def loaded_extension() -> ModuleType:
    """The extension module, ready to compute.

    Raises:
        RuntimeError: The kernels cannot run on a GPU here; the error has the reason.
    """
    reason = unavailable_because()
    extension = cuda_extension()
    if reason is not None or extension is None:
        raise RuntimeError(f"fastseq cannot compute on a GPU here: {reason}")
    _tell_where_libraries_are(extension)
    return extension


@functools.cache
def _tell_where_libraries_are(extension: ModuleType) -> None:
    """Tells the extension module the folders of the packages with CUDA's libraries, if they are installed."""
    spec = importlib.util.find_spec("nvidia")
    places = [] if spec is None else spec.submodule_search_locations or []
    extension.look_for_libraries_in(
        [str(Path(place, *part)) for place in places for part in (("cu13", "lib"), ("cublas", "lib"))]
    )
