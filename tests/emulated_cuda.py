"""The module `_cuda` for an emulated GPU, and arrays for it.

It is compiled for the CPU from the sources of the real module, with the headers of tests/cuda_emulation in place of the
toolkit's.
"""

from __future__ import annotations

import ctypes
import fcntl
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from fastseq._libraries import core

_SOURCE = Path(__file__).parent / "cuda_emulation"


def missing() -> str | None:
    """What it takes to build the emulation and is not here, or None."""
    for program in ("cmake", "c++"):
        if not shutil.which(program):
            return f"{program} is not here"
    return None if importlib.util.find_spec("pybind11") else "pybind11 is not here"


def build(folder: Path) -> ModuleType:
    """Compiles the module into `folder`, unless it is there, and loads it."""
    import pybind11

    generator = ("-G", "Ninja") if shutil.which("ninja") else ()
    settings = {
        "FASTSEQ_PACKAGE": Path(core.__file__).parent,
        "Python_EXECUTABLE": sys.executable,
        "pybind11_DIR": pybind11.get_cmake_dir(),
    }
    defines = [f"-D{name}={value}" for name, value in settings.items()]
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not list(folder.glob("_cuda.*.so")):
            _run("cmake", "-S", str(_SOURCE), "-B", str(folder), *generator, *defines)
            _run("cmake", "--build", str(folder), "--parallel", "2")
    [path] = folder.glob("_cuda.*.so")
    # Not by the real module's name: pybind11 would give out the one that was loaded first.
    spec = importlib.util.spec_from_file_location("cuda_emulation._cuda", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


class InterfaceArray:
    """An array on the emulated GPU that knows `__cuda_array_interface__` only."""

    def __init__(self, array: Any, **changes: Any) -> None:
        self._array = array  # owns the memory
        self.changes = changes

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        interface = self._array.__array_interface__
        return {
            **{name: interface[name] for name in ("shape", "typestr", "data", "strides")},
            "version": 3,
            "stream": 1,
            **self.changes,
        }


class _DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Managed(ctypes.Structure):
    _fields_ = (("tensor", _DLTensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p))


class _Version(ctypes.Structure):
    _fields_ = (("major", ctypes.c_uint32), ("minor", ctypes.c_uint32))


class _ManagedVersioned(ctypes.Structure):
    _fields_ = (
        ("version", _Version),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _DLTensor),
    )


_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype = ctypes.c_void_p
_pointer_of.argtypes = (ctypes.py_object, ctypes.c_char_p)

# Code and bits of DLPack, and what NumPy holds such elements in.
_DLPACK = {
    "float32": (2, 32, np.float32),
    "float64": (2, 64, np.float64),
    "float16": (2, 16, np.float16),
    "bfloat16": (4, 16, np.uint16),
    "bool": (6, 8, np.bool_),
    "uint8": (1, 8, np.uint8),
    "uint16": (1, 16, np.uint16),
    "int32": (0, 32, np.int32),
    "int8": (0, 8, np.int8),
}


class DlpackArray:
    """An array that knows DLPack only, as if on a device; `dtype` is for bfloat16, which NumPy has not."""

    def __init__(
        self, array: Any, dtype: str | None = None, *, versioned: bool = True, device: tuple[int, int] = (2, 0)
    ) -> None:
        self._array = array  # owns the memory
        self._versioned = versioned
        self._device = device
        code, bits, _ = _DLPACK[dtype or str(array.dtype)]
        self._shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        self._strides = (ctypes.c_int64 * array.ndim)(*(stride // array.itemsize for stride in array.strides))
        tensor = _DLTensor(array.ctypes.data, *device, array.ndim, code, bits, 1, self._shape, self._strides, 0)
        # Read-only, which nobody who only reads may mind.
        self._managed = _ManagedVersioned((1, 0), None, None, 1, tensor) if versioned else _Managed(tensor, None, None)
        self.streams: list[int] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device

    def __dlpack__(self, *, stream: int, **versions: Any) -> object:
        if versions and not self._versioned:
            raise TypeError("__dlpack__() got an unexpected keyword argument 'max_version'")
        self.streams.append(stream)
        name = b"dltensor_versioned" if self._versioned else b"dltensor"
        return _new_capsule(ctypes.addressof(self._managed), name, None)


def to_numpy(array: Any) -> Any:
    """A copy of a result, through DLPack; bfloat16 as float32."""
    capsule = array.__dlpack__(stream=-1)
    tensor = _Managed.from_address(_pointer_of(capsule, b"dltensor")).tensor
    shape = tensor.shape[: tensor.ndim]
    name, held = next(
        (name, held) for name, (code, bits, held) in _DLPACK.items() if (code, bits) == (tensor.code, tensor.bits)
    )
    size = int(np.prod(shape)) * np.dtype(held).itemsize
    memory = ctypes.string_at(tensor.data, size) if size else b""
    found = np.frombuffer(memory, held).reshape(shape)
    return (found.astype(np.uint32) << 16).view(np.float32) if name == "bfloat16" else found.copy()


def as_bfloat16(array: Any) -> Any:
    """Rounded to the nearest, ties to even; the bits."""
    bits = array.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
