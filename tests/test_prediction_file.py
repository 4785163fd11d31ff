"""Files of graphs: they come back as they were written, and errors say what is wrong with damaged or hostile ones."""

from __future__ import annotations

import io
import json
import math
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastseq.prediction import Graph, GraphBuilder, read_graph, write_graph
from fastseq.prediction.graph import State, Structure

Change = Callable[[dict[str, Any]], None]


def made() -> Graph:
    builder = GraphBuilder()
    x = builder.input("x", 3, "float32")
    ids = builder.input("ids", 2, "integers")
    h = builder.input("lstm.h", 2, "float32")
    arrays = [
        np.arange(6, dtype="float32").reshape(2, 3),
        np.array([math.nan, -0.0, math.inf]),
        np.array(7, "int64"),
        np.zeros((0, 4), "int32"),
        np.array([[True, False]]),
    ]
    constants = [builder.constant(array) for array in arrays]
    options = {
        "alpha": 0.1,
        "beta": math.inf,
        "flip": True,
        "count": 3,
        "how": "max",
        "shape": [-1, 2],
        "value": math.nan,
    }
    inputs = dict(zip("xabcdei", [x, *constants, ids], strict=True))
    y = builder.node("some", "dense", inputs, options)["outputs"]
    results = builder.node("simple_rnn_predict", "lstm", {"x": y, "h0": h}, {"return_sequences": True})
    builder.state(h, results["h_n"], (2, 4))
    outputs = [results["outputs"], y]
    return builder.graph(outputs, Structure("dict", ("ids", "x")), Structure("list", ("a", "a")))


def test_graph_comes_back(tmp_path: Path) -> None:
    graph = made()
    write_graph(graph, tmp_path / "a.fastseq")
    read = read_graph(str(tmp_path / "a.fastseq"))
    assert (read.inputs, read.outputs, read.states) == (graph.inputs, graph.outputs, graph.states)
    assert (read.input_structure, read.output_structure) == (graph.input_structure, graph.output_structure)
    assert repr(read.nodes) == repr(graph.nodes)  # NaN equals itself as text only
    for array, other in zip(read.constants, graph.constants, strict=True):
        assert (array.dtype, array.shape) == (other.dtype, other.shape)
        np.testing.assert_array_equal(array, other)
        assert array.flags.c_contiguous


def test_equal_graphs_give_equal_files(tmp_path: Path) -> None:
    for name in "ab":
        write_graph(made(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_arrays_that_are_not_contiguous(tmp_path: Path) -> None:
    builder = GraphBuilder()
    array = np.arange(12, dtype=">f4").reshape(3, 4).T[::2]
    y = builder.node("dense", "d", {"x": builder.input("x", 2, "float32"), "kernel": builder.constant(array)})
    write_graph(builder.graph([y["outputs"]], Structure("single", ("x",)), Structure("single", ("y",))), tmp_path / "a")
    np.testing.assert_array_equal(read_graph(tmp_path / "a").constants[0], array)


def test_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    write_graph(made(), tmp_path / "a")
    before = (tmp_path / "a").read_bytes()
    graph = made()
    graph.nodes[0].options["how"] = object()  # type: ignore[assignment]
    with pytest.raises(TypeError):
        write_graph(graph, tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == before


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_graph(tmp_path / "none")


def entries_of(graph: Graph, folder: Path) -> dict[str, bytes]:
    write_graph(graph, folder / "good")
    with zipfile.ZipFile(folder / "good") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def refused(
    folder: Path, entries: list[tuple[str, bytes]], message: str, compression: int = zipfile.ZIP_STORED
) -> None:
    with zipfile.ZipFile(folder / "bad", "w", compression) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    with pytest.raises(ValueError, match=message) as caught:
        read_graph(folder / "bad")
    assert str(folder / "bad") in str(caught.value)


def _set(*path: Any, to: Any) -> Change:
    def change(described: dict[str, Any]) -> None:
        at: Any = described
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = to

    return change


def _remove(*path: Any) -> Change:
    def change(described: dict[str, Any]) -> None:
        at: Any = described
        for key in path[:-1]:
            at = at[key]
        del at[path[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("format", to="other"), "its format must be 'fastseq predictor', got 'other'"),
        (_remove("format"), "its format must be"),
        (_set("version", to=2), "its version is 2, newer than 1"),
        (_set("version", to=0), "its version is 0, unknown"),
        (_set("version", to=True), "version must be an integer"),
        (_set("version", to="1"), "version must be an integer"),
        (_set("constants", to=3), "it must have 3 arrays, got 5"),
        (_set("constants", to=-1), "it must have -1 arrays"),
        (_set("constants", to=1e30), "constants must be an integer"),
        (_set("constants", to=10**30), "constants must be an integer of 64 bits"),
        (_set("more", to=1), "graph.json must have the members"),
        (_remove("states"), "graph.json must have the members"),
        (_set("inputs", to={}), "inputs must be a list, got dict"),
        (_set("inputs", 0, to=3), r"inputs\[0\] must be an object, got int"),
        (_set("inputs", 0, "name", to=None), r"inputs\[0\].name must be a text"),
        (_set("inputs", 0, "rank", to=2.0), r"inputs\[0\].rank must be an integer"),
        (_set("inputs", 0, "rank", to=0), "input 'x' has dtype 'float32' and rank 0"),
        (_set("inputs", 0, "rank", to=9), "input 'x' has dtype 'float32' and rank 9"),
        (_set("inputs", 0, "dtype", to="float16"), "input 'x' has dtype 'float16'"),
        (_set("nodes", to=None), "nodes must be a list, got NoneType"),
        (_remove("nodes", 0, "label"), r"nodes\[0\] must have the members"),
        (_set("nodes", 0, "operation", to=[]), r"nodes\[0\].operation must be a text"),
        (_set("nodes", 0, "options", to=[]), r"nodes\[0\].options must be an object"),
        (_set("nodes", 0, "options", "how", to=None), r"nodes\[0\].options.how must be a truth value"),
        (_set("nodes", 0, "options", "how", to=[1, "a"]), r"nodes\[0\].options.how must be an integer"),
        (_set("nodes", 0, "options", "how", to={"float": "1"}), r"nodes\[0\].options.how must be a truth value"),
        (_set("nodes", 0, "options", "how", to=2**63), r"nodes\[0\].options.how must be an integer of 64 bits"),
        (_set("nodes", 0, "inputs", "x", to="5"), r"nodes\[0\].inputs.x must be an integer"),
        (_set("nodes", 0, "inputs", "x", to=8), "reads value 8 as x, but values 0 to 7 exist then"),
        (_set("nodes", 0, "inputs", "x", to=-1), "reads value -1 as x"),
        (_set("nodes", 0, "outputs", "outputs", to=9), "must be numbered from 8 on"),
        (_set("nodes", 1, "outputs", to={}), "the results of node 1 .* must be outputs, last_output, h_n, got "),
        (_set("inputs", 0, "shape", to=[None]), "has the rank 2 and the shape|has the rank"),
        (_set("inputs", 0, "shape", to=["a", "b"]), r"inputs\[0\].shape must be an integer"),
        (_set("outputs", 0, to=99), "is an output, but there are values 0 to"),
        (_set("outputs", 0, to=1000), "value 1000 is an output"),
        (_set("outputs", to=[]), "-1 outputs have 2 names"),
        (_set("structures", to=[]), "structures must be an object"),
        (_set("structures", "inputs", "kind", to="set"), "the inputs cannot be arranged as 'set' of 2"),
        (_set("structures", "inputs", "kind", to="single"), "the inputs cannot be arranged as 'single' of 2"),
        (_set("structures", "inputs", "names", to=["x"]), "2 inputs have 1 names"),
        (_set("structures", "inputs", "names", to=["x", "x"]), "two inputs have the same name"),
        (_set("structures", "outputs", "names", to=[1, 2]), "structures.outputs.names must be a text"),
        (_set("states", 0, "shape", to=[2]), r"state 0 has the shape \(2,\)"),
        (_set("states", 0, "shape", to=[2, -4]), r"state 0 has the shape \(2, -4\)"),
        (_set("states", 0, "input", to=5), "state 0 is not"),
        (_set("states", 0, "output", to=5), "state 0 is not"),
        (_set("states", to=[{}]), r"states\[0\] must have the members"),
    ],
)
def test_wrong_description_is_refused(change: Change, message: str, tmp_path: Path) -> None:
    entries = entries_of(made(), tmp_path)
    described = json.loads(entries["graph.json"])
    change(described)
    refused(tmp_path, [*{**entries, "graph.json": json.dumps(described).encode()}.items()], message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "graph.json is not JSON"),
        (b"\xff\xfe", "graph.json is not JSON"),
        (b"[1]", "graph.json must be an object, got list"),
        (b"[" * 100_000, "graph.json is nested too deeply"),
        (b'{"format": NaN}', "graph.json must not have NaN"),
        (b'{"format": "a", "format": "b"}', "two members of one name"),
        (b'{"version": ' + b"9" * 5000 + b"}", "graph.json is not JSON"),
    ],
)
def test_wrong_json_is_refused(text: bytes, message: str, tmp_path: Path) -> None:
    refused(tmp_path, [("graph.json", text)], message)


def _npy(header: str, data: bytes = b"", magic: bytes = b"\x93NUMPY\x01\x00", length: int | None = None) -> bytes:
    text = header.encode() + b"\n"
    return magic + struct.pack("<H", len(text) if length is None else length) + text + data


def _header(descr: str = "<f4", shape: str = "(2, 3)", order: str = "False") -> str:
    return f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}"


def _pickled() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([{}], dtype=object), allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not an array in NumPy's format"),
        (b"\x93NUMPY", "is not an array in NumPy's format"),
        (_npy(_header(), bytes(24), magic=b"\x93NUMPY\x02\x00"), "is not an array in NumPy's format 1.0"),
        (_pickled(), "must be an array of one of the dtypes"),
        (_npy(_header("<f2"), bytes(12)), "must be an array of one of the dtypes"),
        (_npy(_header(">f4"), bytes(24)), "must be an array of one of the dtypes"),
        (_npy(_header("|O"), bytes(48)), "must be an array of one of the dtypes"),
        (_npy(_header(order="True"), bytes(24)), "must be an array of one of the dtypes .* in C order"),
        (_npy(_header(shape="(-2, 3)"), bytes(24)), "must be an array of one of the dtypes"),
        (_npy(_header(shape=f"({'1, ' * 8}1)"), bytes(4)), "must be an array of one of the dtypes"),
        (_npy(_header(shape="__import__('os')"), bytes(24)), "must be an array of one of the dtypes"),
        (_npy(_header(), bytes(24), length=60_000), "must be an array of one of the dtypes"),
        (_npy(_header(shape="(100000000000000, 3)"), bytes(24)), "says that it has 1200000000000000 bytes"),
        (_npy(_header(shape=f"({'99999999999999999, ' * 7}9)"), bytes(24)), "says that it has .* but there are 24"),
        (_npy(_header(), bytes(23)), "says that it has 24 bytes of numbers, but there are 23"),
        (_npy(_header(), bytes(25)), "says that it has 24 bytes of numbers, but there are 25"),
        (_npy(_header("|b1", "(2,)"), b"\x01\x02"), "must have bytes of 0 and 1 only"),
    ],
)
def test_wrong_array_is_refused(data: bytes, message: str, tmp_path: Path) -> None:
    entries = entries_of(made(), tmp_path)
    refused(tmp_path, [*{**entries, "arrays/0.npy": data}.items()], message)


def test_wrong_entries_are_refused(tmp_path: Path) -> None:
    entries = entries_of(made(), tmp_path)
    good = [*entries.items()]
    refused(tmp_path, good[1:], "it has no graph.json")
    refused(tmp_path, good[:-1], "it must have 5 arrays, got 4 other entries")
    refused(tmp_path, [*good, ("arrays/5.npy", good[1][1])], "it must have 5 arrays, got 6 other entries")
    refused(tmp_path, [*good[:-1], ("../4.npy", good[-1][1])], "it has no entry arrays/4.npy")
    refused(tmp_path, [*good[:-1], ("/arrays/4.npy", good[-1][1])], "it has no entry arrays/4.npy")
    refused(tmp_path, good, "must be stored as it is", compression=zipfile.ZIP_DEFLATED)
    with pytest.warns(UserWarning, match="Duplicate name"):
        refused(tmp_path, [*good, good[0]], "it has two entries 'graph.json'")


def test_entry_with_a_false_size_is_refused(tmp_path: Path) -> None:
    """Sizes in the archive's directory, which would be allocated if they were believed."""
    data = bytearray((tmp_path / "good").read_bytes() if entries_of(made(), tmp_path) else b"")
    directory = data.index(b"PK\x01\x02")
    data[directory + 20 : directory + 28] = struct.pack("<LL", 2**31, 2**31)
    (tmp_path / "bad").write_bytes(data)
    with pytest.raises(ValueError, match="its entries have more bytes than the file"):
        read_graph(tmp_path / "bad")


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\x05\x06" + bytes(18), b"no archive" * 100])
def test_other_files_are_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(data)
    with pytest.raises(ValueError, match=r"is not a file of fastseq\.Predictor that can be read"):
        read_graph(tmp_path / "bad")


def test_damaged_files_are_refused_or_read(tmp_path: Path) -> None:
    """Any byte may be wrong, and the file may end anywhere."""
    entries_of(made(), tmp_path)
    data, bad, rng = (tmp_path / "good").read_bytes(), tmp_path / "bad", np.random.default_rng(0)
    for position in range(0, len(data), 97):
        bad.write_bytes(data[:position])
        with pytest.raises(ValueError, match=r"is not a file of fastseq\.Predictor"):
            read_graph(bad)
    wrong = 0
    for _ in range(1500):
        damaged = bytearray(data)
        for position in rng.integers(0, len(data), rng.integers(1, 4)):
            damaged[position] = rng.integers(256)
        bad.write_bytes(damaged)
        try:
            read_graph(bad)
        except ValueError as error:
            assert "is not a file of fastseq.Predictor" in str(error)  # noqa: PT017, since some bytes mean nothing
            wrong += 1
    assert wrong > 1000  # the checksums of the entries


def test_states_keep_their_numbers() -> None:
    graph = made()
    assert graph.states == [State(input=7, output=11, shape=(2, 4))]
    assert [one.name for one in graph.inputs] == ["x", "ids", "lstm.h"]
