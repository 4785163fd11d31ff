"""The handlers of XLA's foreign function interface, called as XLA does, on a CPU and on an emulated GPU."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_size_t, c_uint32, c_void_p
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import rnn_cases
from gpu_arrays import Emulated
from tolerances import CUDA, REFERENCE, assert_close

from fastseq._libraries import core

# XLA's numbers.
DTYPES = {"bool": 1, "int32": 4, "int64": 5, "uint8": 6, "float32": 11, "float64": 12}
SCALAR, STRING = 3, 4
EXECUTE, INVALID_ARGUMENT, UNIMPLEMENTED, INTERNAL = 3, 3, 12, 13


class Header(ctypes.Structure):
    _fields_ = (("struct_size", c_size_t), ("extensions", c_void_p))


class Version(ctypes.Structure):
    _fields_ = (("header", Header), ("major", c_int), ("minor", c_int))


class Metadata(ctypes.Structure):
    _fields_ = (("struct_size", c_size_t), ("version", Version), ("traits", c_uint32))


class MetadataExtension(ctypes.Structure):
    _fields_ = (("struct_size", c_size_t), ("type", c_int), ("next", c_void_p), ("metadata", POINTER(Metadata)))


class Buffer(ctypes.Structure):
    _fields_ = (
        ("header", Header),
        ("dtype", c_int),
        ("data", c_void_p),
        ("rank", c_int64),
        ("dims", POINTER(c_int64)),
    )


class Buffers(ctypes.Structure):
    _fields_ = (
        ("header", Header),
        ("size", c_int64),
        ("types", POINTER(c_int)),
        ("buffers", POINTER(POINTER(Buffer))),
    )


class Text(ctypes.Structure):
    _fields_ = (("data", c_char_p), ("size", c_size_t))


class Scalar(ctypes.Structure):
    _fields_ = (("dtype", c_int), ("value", c_void_p))


class Attributes(ctypes.Structure):
    _fields_ = (
        ("header", Header),
        ("size", c_int64),
        ("types", POINTER(c_int)),
        ("names", POINTER(POINTER(Text))),
        ("values", POINTER(c_void_p)),
    )


class CreateError(ctypes.Structure):
    _fields_ = (("header", Header), ("message", c_char_p), ("code", c_int))


class DestroyError(ctypes.Structure):
    _fields_ = (("header", Header), ("error", c_void_p))


class GetStream(ctypes.Structure):
    _fields_ = (("header", Header), ("context", c_void_p), ("stream", c_void_p))


class Allocate(ctypes.Structure):
    _fields_ = (
        ("header", Header),
        ("context", c_void_p),
        ("size", c_size_t),
        ("alignment", c_size_t),
        ("data", c_void_p),
    )


class Free(ctypes.Structure):
    _fields_ = (("header", Header), ("context", c_void_p), ("size", c_size_t), ("data", c_void_p))


_FUNCTIONS = {
    "create_error": ctypes.CFUNCTYPE(c_void_p, POINTER(CreateError)),
    "get_error_message": c_void_p,
    "destroy_error": ctypes.CFUNCTYPE(None, POINTER(DestroyError)),
    "register_handler": c_void_p,
    "get_stream": ctypes.CFUNCTYPE(c_void_p, POINTER(GetStream)),
    "register_type": c_void_p,
    "get_context": c_void_p,
    "set_state": c_void_p,
    "get_state": c_void_p,
    "allocate": ctypes.CFUNCTYPE(c_void_p, POINTER(Allocate)),
    "free": ctypes.CFUNCTYPE(c_void_p, POINTER(Free)),
}


class Api(ctypes.Structure):
    _fields_ = (("header", Header), ("version", Version), ("internal", c_void_p), *_FUNCTIONS.items())


class CallFrame(ctypes.Structure):
    _fields_ = (
        ("header", Header),
        ("api", POINTER(Api)),
        ("context", c_void_p),
        ("stage", c_int),
        ("arguments", Buffers),
        ("results", Buffers),
        ("attributes", Attributes),
    )


class Xla:
    """What a handler gets to see of XLA.

    Attributes:
        errors: The code and the message of every error that was created.
        destroyed: How many errors were destroyed.
        memory: Device memory that has been allocated and not freed.
        allocated: How much memory was ever allocated, in bytes.
        refuses: The functions that return an error.
    """

    def __init__(self, refuses: tuple[str, ...] = ()) -> None:
        self.errors: list[tuple[int, str]] = []
        self.destroyed = 0
        self.memory: dict[int, Any] = {}
        self.allocated = 0
        self.refuses = refuses
        functions = {
            name: _FUNCTIONS[name](getattr(self, name))
            for name in ("create_error", "destroy_error", "get_stream", "allocate", "free")
        }
        version = Version(Header(ctypes.sizeof(Version), None), 0, 3)
        self.api = Api(header=Header(ctypes.sizeof(Api), None), version=version, **functions)

    def create_error(self, given: Any) -> int:
        self.errors.append((given.contents.code, given.contents.message.decode()))
        return len(self.errors)

    def destroy_error(self, _: Any) -> None:
        self.destroyed += 1

    def _refused(self, name: str) -> int:
        return 1000 if name in self.refuses else 0

    def get_stream(self, given: Any) -> int:
        given.contents.stream = None
        return self._refused("get_stream")

    def allocate(self, given: Any) -> int:
        if self._refused("allocate"):
            return 1000
        block = np.full(given.contents.size + 8, 255, np.uint8)
        given.contents.data = block.ctypes.data + 8  # as badly aligned as may be
        self.memory[block.ctypes.data + 8] = block
        self.allocated += given.contents.size
        return 0

    def free(self, given: Any) -> int:
        del self.memory[given.contents.data]
        return self._refused("free")

    def call(
        self, handler: Any, arguments: list[Any], results: list[Any], attributes: dict[str, Any], stage: int = EXECUTE
    ) -> bool:
        """Whether the handler reports success."""
        kept: list[Any] = []

        def buffers(arrays: list[Any]) -> Buffers:
            made = []
            for array in arrays:
                dims = (c_int64 * array.ndim)(*array.shape)
                header = Header(ctypes.sizeof(Buffer), None)
                made.append(Buffer(header, DTYPES[array.dtype.name], array.ctypes.data, array.ndim, dims))
            pointers = (POINTER(Buffer) * len(made))(*map(ctypes.pointer, made))
            types = (c_int * len(made))(*[1] * len(made))
            kept.extend([made, pointers, types])
            return Buffers(Header(ctypes.sizeof(Buffers), None), len(made), types, pointers)

        names, types, values = [], [], []
        for name, value in sorted(attributes.items()):
            names.append(Text(name.encode(), len(name)))
            if isinstance(value, str):
                types.append(STRING)
                values.append(Text(value.encode(), len(value)))
            else:
                number = np.array(value)
                types.append(SCALAR)
                values.append(Scalar(DTYPES[number.dtype.name], number.ctypes.data))
                kept.append(number)
        count = len(names)
        frame = CallFrame(
            header=Header(ctypes.sizeof(CallFrame), None),
            api=ctypes.pointer(self.api),
            stage=stage,
            arguments=buffers(arguments),
            results=buffers(results),
            attributes=Attributes(
                Header(ctypes.sizeof(Attributes), None),
                count,
                (c_int * count)(*types),
                (POINTER(Text) * count)(*map(ctypes.pointer, names)),
                (c_void_p * count)(*(ctypes.addressof(value) for value in values)),
            ),
        )
        return _function(handler)(byref(frame)) is None


def _function(handler: Any) -> Any:
    address = ctypes.pythonapi.PyCapsule_GetPointer
    address.restype, address.argtypes = c_void_p, [ctypes.py_object, c_char_p]
    return ctypes.CFUNCTYPE(c_void_p, c_void_p)(address(handler, b"xla._CUSTOM_CALL_TARGET"))


def _compute(xla: Xla, kernels: ModuleType, name: str, given: dict[str, Any], settings: dict[str, Any]) -> Any:
    """Results of an operation by their names; what is saved for backward is raw bytes."""
    arrays, numbers, options, outputs = core.statement(name)
    assert not numbers
    settings = {**options, **settings}
    described = {}
    for key, array in given.items():
        saved = arrays[key][0] == "saved"
        shape = (*array.shape[:-1], array.shape[-1] // 4) if saved else array.shape
        described[key] = shape, "float32" if saved else array.dtype.name
    shapes = kernels.output_shapes(name, {**described, **settings})
    results = {}
    for key, shape in shapes.items():
        if shape is not None:
            raw = key == "workspace"
            size = (*shape[0][:-1], shape[0][-1] * 4) if raw else shape[0]
            results[key] = np.full(size, 255, np.uint8) if raw else np.full(size, np.nan, shape[1])
    present = sum(1 << index for index, key in enumerate(arrays) if key in given)
    arguments = [given[key] for key in arrays if key in given]
    attributes = {**settings, "present": present}
    assert xla.call(kernels.xla_handlers()[name], arguments, list(results.values()), attributes), xla.errors
    assert list(results) == [key for key in outputs if key in results]
    return results


def _check(xla: Xla, kernels: ModuleType, tolerance: float, cell: str, options: dict[str, Any]) -> None:
    case = rnn_cases.make_case(cell, 3, 5, 6, 4, **options)
    case.options.pop("zero_output_for_mask", None)
    given = {**case.weights, **case.states, **case.masks}
    forward = _compute(xla, kernels, f"{cell}_forward", given, case.options)
    given |= {"workspace": forward.pop("workspace"), **case.gradients}
    backward = _compute(xla, kernels, f"{cell}_backward", given, case.options)
    expected = rnn_cases.run_reference(case)
    for name, result in {**forward, **backward}.items():
        assert_close(result, expected[name], tolerance, name)


@rnn_cases.every_variant
def test_recurrent_layers(cell: str, variant: dict[str, Any]) -> None:
    _check(Xla(), core, REFERENCE["float32"], cell, {"masked": True, "dropout": 1, **variant})


@rnn_cases.every_variant
def test_recurrent_layers_on_a_gpu(emulated: Emulated, cell: str, variant: dict[str, Any]) -> None:
    xla = Xla()
    _check(xla, emulated.extension, CUDA["float32"], cell, {"masked": True, "dropout": 1, **variant})
    assert xla.allocated > 0
    assert not xla.memory


POOLING = {
    "pool_size": 2,
    "strides": 2,
    "padding": "valid",
    "propagate_nan": False,
    "save_argmax": False,
    "present": 1,
}


def _pool(xla: Xla, kernels: ModuleType, **changes: Any) -> bool:
    x, outputs = np.ones((2, 4, 3), np.float32), np.empty((2, 2, 3), np.float32)
    stage = changes.pop("stage", EXECUTE)
    return xla.call(kernels.xla_handlers()["max_pool_forward"], [x], [outputs], {**POOLING, **changes}, stage)


def test_errors_have_codes() -> None:
    for changes, code, message in (
        ({"pool_size": 0}, INVALID_ARGUMENT, "pool_size must be"),
        ({"stage": 1}, UNIMPLEMENTED, "no other stage"),
        ({"strides": 2.0}, INTERNAL, "the attribute strides has another dtype"),
        ({"present": 0}, INVALID_ARGUMENT, "x is required"),
    ):
        xla = Xla()
        assert not _pool(xla, core, **changes)
        ((found, text),) = xla.errors
        assert found == code, text
        assert message in text


@pytest.mark.parametrize("refuses", ["get_stream", "allocate", "free"])
def test_errors_of_xla_are_handed_on(emulated: Emulated, refuses: str) -> None:
    xla = Xla((refuses,))
    case = rnn_cases.make_case("lstm", 3, 5, 6, 4)
    with pytest.raises(AssertionError):
        _compute(xla, emulated.extension, "lstm_forward", case.weights, {})
    ((code, message),) = xla.errors
    assert code == INTERNAL
    assert message.startswith("XLA ")
    assert xla.destroyed == 1


@pytest.mark.parametrize(("newest", "expected"), [(None, 1), (1, 1), (3, 3), (99, 5)])
def test_versions(newest: int | None, expected: int) -> None:
    """On registration a handler is asked for its version: of runtimes newer than it knows, it names what it knows."""
    xla = Xla()
    if newest is not None:
        xla.api.version.minor = newest
    metadata = Metadata()
    extension = MetadataExtension(ctypes.sizeof(MetadataExtension), 1, None, ctypes.pointer(metadata))
    frame = CallFrame(header=Header(ctypes.sizeof(CallFrame), ctypes.addressof(extension)))
    if newest is not None:
        frame.api = ctypes.pointer(xla.api)
    for handler in core.xla_handlers().values():
        assert _function(handler)(byref(frame)) is None
        assert (metadata.version.major, metadata.version.minor) == (0, expected)
