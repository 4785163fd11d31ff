"""Writes and reads a graph as one file: a zip archive with `graph.json` and the constants as `arrays/0.npy` and so on.

Nothing in the archive is compressed, and equal graphs give equal bytes. Reading runs no code: arrays are plain numbers,
never pickles. A file may be damaged or hostile: it is checked in full, and no more is allocated than it has bytes.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq.commands import replacing
from fastseq.prediction.graph import ARRAY_DTYPES, Graph, GraphInput, Node, Option, State, Structure

__all__ = ["FORMAT", "VERSION", "read_graph", "write_graph"]

FORMAT = "fastseq predictor"
VERSION = 1

_GRAPH = "graph.json"
_DTYPES = {np.dtype(name).newbyteorder("<").str: np.dtype(name) for name in ARRAY_DTYPES}
# What NumPy writes for arrays in C order, with spaces up to a multiple of 64 bytes.
_HEADER = re.compile(
    rb"\{'descr': '([^']{1,4})', 'fortran_order': False, "
    rb"'shape': \(((?:[0-9]{1,18},)?|[0-9]{1,18}(?:, [0-9]{1,18}){1,7})\), \} *\n"
)
_MAGIC = b"\x93NUMPY\x01\x00"
_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that an archive can say
_PLAIN_FILE = 0o644 << 16
_UNIX = 3


class _Wrong(Exception):  # noqa: N818, since it never leaves the module
    """What is wrong with a file."""


# Writing -------------------------------------------------------------------------


def write_graph(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Writes a graph to a file. There is never half a file: it replaces an older one when it is complete.

    Args:
        graph: The graph.
        path: The file.

    Raises:
        OSError: The file cannot be written.
    """
    with replacing(Path(path)) as new:
        _write(graph, new)


def graph_to_bytes(graph: Graph) -> bytes:
    """What `write_graph` writes to a file."""
    file = io.BytesIO()
    _write(graph, file)
    return file.getvalue()


def _write(graph: Graph, file: Any) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        _add(archive, _GRAPH, json.dumps(_described(graph), allow_nan=False, indent=1).encode())
        for number, array in enumerate(graph.constants):
            _add_array(archive, _array_name(number), array)


def _array_name(number: int) -> str:
    return f"arrays/{number}.npy"


def _entry(name: str, size: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _TIME)
    entry.external_attr, entry.create_system, entry.file_size = _PLAIN_FILE, _UNIX, size
    return entry


def _add(archive: zipfile.ZipFile, name: str, *parts: Any) -> None:
    size = sum(memoryview(part).nbytes for part in parts)
    with archive.open(_entry(name, size), "w") as file:
        for part in parts:
            file.write(part)


def _add_array(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(plain))
    # An array without elements has no buffer to cast.
    data = plain.reshape(-1).view(np.uint8).data if plain.size else b""
    _add(archive, name, header.getvalue(), data)


def _described(graph: Graph) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "constants": len(graph.constants),
        "inputs": [
            {"name": one.name, "rank": one.rank, "dtype": one.dtype, "shape": one.shape and list(one.shape)}
            for one in graph.inputs
        ],
        "nodes": [
            {
                "operation": node.operation,
                "label": node.label,
                "options": {name: _plain_option(option) for name, option in node.options.items()},
                "inputs": node.inputs,
                "outputs": node.outputs,
            }
            for node in graph.nodes
        ],
        "outputs": graph.outputs,
        "structures": {
            side: {"kind": structure.kind, "names": list(structure.names)}
            for side, structure in (("inputs", graph.input_structure), ("outputs", graph.output_structure))
        },
        "states": [{"input": one.input, "output": one.output, "shape": list(one.shape)} for one in graph.states],
    }


def _plain_option(option: Option) -> Any:
    """An option as JSON, which has no infinities and no NaN."""
    return option if not isinstance(option, float) or math.isfinite(option) else {"float": str(option)}


# Reading -------------------------------------------------------------------------


def read_graph(path: str | os.PathLike[str]) -> Graph:
    """Reads a graph from a file of `write_graph`.

    Args:
        path: The file.

    Raises:
        ValueError: The file is damaged, is of another kind, or comes from a newer version of fastseq.
        OSError: The file cannot be opened.
    """
    with open(path, "rb") as file:
        return _graph_in(file, os.fspath(path), os.fstat(file.fileno()).st_size)


def graph_from_bytes(data: bytes) -> Graph:
    """The graph in the bytes of `graph_to_bytes`, with the errors of `read_graph`."""
    return _graph_in(io.BytesIO(data), "the data", len(data))


def _graph_in(file: Any, name: str, size: int) -> Graph:
    try:
        with zipfile.ZipFile(file) as archive:
            return _read(archive, size)
    except _Wrong as wrong:
        reason = str(wrong)
    except zipfile.BadZipFile as error:
        reason = f"it is no zip archive, or a damaged one: {error}"
    # What zipfile raises for archives that it cannot read.
    except (EOFError, NotImplementedError, OSError, OverflowError, RuntimeError, ValueError, struct.error) as error:
        reason = str(error)
    raise ValueError(f"{name} is not a file of fastseq.Predictor that can be read: {reason}")


def _read(archive: zipfile.ZipFile, file_size: int) -> Graph:
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        if entry.filename in entries:
            raise _Wrong(f"it has two entries {entry.filename!r}")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size or entry.flag_bits & 1:
            raise _Wrong(f"its entry {entry.filename!r} must be stored as it is, not compressed or encrypted")
        entries[entry.filename] = entry
    if sum(entry.file_size for entry in entries.values()) > file_size:
        raise _Wrong(f"its entries have more bytes than the file, {file_size}")
    if _GRAPH not in entries:
        raise _Wrong(f"it has no {_GRAPH}")
    described = _fields(_json(archive.read(entries.pop(_GRAPH))), _GRAPH, None)
    if described.get("format") != FORMAT:
        raise _Wrong(f"its format must be {FORMAT!r}, got {described.get('format')!r}")
    version = _integer(described.get("version"), "version")
    if version != VERSION:
        older = f"newer than {VERSION}, which this fastseq reads" if version > VERSION else "unknown"
        raise _Wrong(f"its version is {version}, {older}")
    count = _integer(described.get("constants"), "constants")
    if count != len(entries):
        raise _Wrong(f"it must have {count} arrays, got {len(entries)} other entries than {_GRAPH}")
    names = [_array_name(number) for number in range(count)]
    for name in names:
        if name not in entries:
            raise _Wrong(f"it has no entry {name}")
    return _graph(described, [_array(archive, entries[name]) for name in names])


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(entry) as file:
        dtype, shape = _header(file, entry.filename)
        size, room = math.prod(shape) * dtype.itemsize, entry.file_size - file.tell()
        if size != room:
            raise _Wrong(f"{entry.filename} says that it has {size} bytes of numbers, but there are {room}")
        data = bytearray(file.read(size))
        if len(data) != size or file.read(1):  # reading to the end compares the checksum
            raise _Wrong(f"{entry.filename} is cut off")
    array = np.frombuffer(data, dtype.newbyteorder("<"))
    if dtype.kind == "b" and array.view(np.uint8).max(initial=0) > 1:
        raise _Wrong(f"{entry.filename} must have bytes of 0 and 1 only")
    return array.astype(dtype, copy=False).reshape(shape)


def _header(file: Any, name: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
    begin = file.read(len(_MAGIC) + 2)
    if len(begin) < len(_MAGIC) + 2 or not begin.startswith(_MAGIC):
        raise _Wrong(f"{name} is not an array in NumPy's format 1.0")
    (length,) = struct.unpack("<H", begin[-2:])
    matched = _HEADER.fullmatch(file.read(length))
    dtype = _DTYPES.get(matched[1].decode("latin-1")) if matched else None
    if matched is None or dtype is None:
        raise _Wrong(f"{name} must be an array of one of the dtypes {', '.join(ARRAY_DTYPES)}, in C order")
    return dtype, tuple(int(size) for size in matched[2].split(b",") if size.strip())


def _json(text: bytes) -> Any:
    def constant(name: str) -> Any:
        raise _Wrong(f"{_GRAPH} must not have {name}")

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise _Wrong(f"{_GRAPH} has an object with two members of one name")
        return dict(pairs)

    try:
        return json.loads(text.decode(), parse_constant=constant, object_pairs_hook=members)
    except RecursionError:
        raise _Wrong(f"{_GRAPH} is nested too deeply") from None
    except ValueError as error:
        raise _Wrong(f"{_GRAPH} is not JSON: {error}") from None


def _graph(described: Mapping[str, Any], constants: list[NDArray[Any]]) -> Graph:
    expected = ("format", "version", "constants", "inputs", "nodes", "outputs", "structures", "states")
    fields = _fields(described, _GRAPH, expected)
    structures = _fields(fields["structures"], "structures", ("inputs", "outputs"))
    inputs = [_input(one, f"inputs[{number}]") for number, one in enumerate(_list(fields["inputs"], "inputs"))]
    nodes = [_node(one, f"nodes[{number}]") for number, one in enumerate(_list(fields["nodes"], "nodes"))]
    states = [_state(one, f"states[{number}]") for number, one in enumerate(_list(fields["states"], "states"))]
    return Graph(
        constants=constants,
        inputs=inputs,
        nodes=nodes,
        outputs=_integers(fields["outputs"], "outputs"),
        input_structure=_structure(structures["inputs"], "structures.inputs"),
        output_structure=_structure(structures["outputs"], "structures.outputs"),
        states=states,
    )


def _input(value: Any, where: str) -> GraphInput:
    fields = _fields(value, where, ("name", "rank", "dtype", "shape"))
    sizes = None if fields["shape"] is None else _list(fields["shape"], f"{where}.shape")
    return GraphInput(
        name=_string(fields["name"], f"{where}.name"),
        rank=_integer(fields["rank"], f"{where}.rank"),
        dtype=_string(fields["dtype"], f"{where}.dtype"),
        shape=sizes
        if sizes is None
        else tuple(None if size is None else _integer(size, f"{where}.shape") for size in sizes),
    )


def _node(value: Any, where: str) -> Node:
    fields = _fields(value, where, ("operation", "label", "options", "inputs", "outputs"))
    return Node(
        operation=_string(fields["operation"], f"{where}.operation"),
        label=_string(fields["label"], f"{where}.label"),
        options={
            name: _option(one, f"{where}.options.{name}")
            for name, one in _fields(fields["options"], f"{where}.options", None).items()
        },
        inputs=_numbers(fields["inputs"], f"{where}.inputs"),
        outputs=_numbers(fields["outputs"], f"{where}.outputs"),
    )


def _state(value: Any, where: str) -> State:
    fields = _fields(value, where, ("input", "output", "shape"))
    return State(
        input=_integer(fields["input"], f"{where}.input"),
        output=_integer(fields["output"], f"{where}.output"),
        shape=tuple(_integers(fields["shape"], f"{where}.shape")),
    )


def _structure(value: Any, where: str) -> Structure:
    fields = _fields(value, where, ("kind", "names"))
    names = [_string(name, f"{where}.names") for name in _list(fields["names"], f"{where}.names")]
    return Structure(_string(fields["kind"], f"{where}.kind"), tuple(names))


def _option(value: Any, where: str) -> Option:
    if type(value) is bool or type(value) is str:
        return value
    if type(value) is int:
        return _integer(value, where)
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) is list:
        return _integers(value, where)
    if type(value) is dict and list(value) == ["float"] and value["float"] in ("inf", "-inf", "nan"):
        return float(value["float"])
    raise _Wrong(f"{where} must be a truth value, a number, a text or a list of integers")


def _fields(value: Any, where: str, names: tuple[str, ...] | None) -> dict[str, Any]:
    """An object with certain members; None for any."""
    if type(value) is not dict:
        raise _Wrong(f"{where} must be an object, got {type(value).__name__}")
    if names is not None and set(value) != set(names):
        raise _Wrong(f"{where} must have the members {', '.join(names)}, got {', '.join(sorted(value))}")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if type(value) is not list:
        raise _Wrong(f"{where} must be a list, got {type(value).__name__}")
    return value


def _string(value: Any, where: str) -> str:
    if type(value) is not str:
        raise _Wrong(f"{where} must be a text, got {type(value).__name__}")
    return value


def _integer(value: Any, where: str) -> int:
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise _Wrong(f"{where} must be an integer of 64 bits, got {type(value).__name__}")
    return value


def _integers(value: Any, where: str) -> list[int]:
    return [_integer(one, where) for one in _list(value, where)]


def _numbers(value: Any, where: str) -> dict[str, int]:
    return {name: _integer(one, f"{where}.{name}") for name, one in _fields(value, where, None).items()}
