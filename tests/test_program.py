"""Programs: graphs of operations that the core runs. Results are those of the operations called one by one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from processes import in_threads, run_python

from fastseq import runtime
from fastseq._libraries import core

Arguments = dict[str, Any]
B, T, D, U, V = 3, 7, 5, 4, 11
rng = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _poisoned() -> Iterator[None]:
    """Values that are read before they are written are NaN."""
    core.poison_fresh_memory(True)
    yield
    core.poison_fresh_memory(False)


def normal(*shape: int, dtype: str = "float32") -> NDArray[Any]:
    return rng.standard_normal(shape).astype(dtype)


def node(operation: str, inputs: dict[str, int], outputs: dict[str, int], **options: Any) -> Arguments:
    return {"operation": operation, "label": "a layer", "options": options, "inputs": inputs, "outputs": outputs}


def floats(name: str = "x", rank: int = 2, dtype: str = "float32") -> Arguments:
    return {"name": name, "rank": rank, "dtype": dtype}


def one_operation(operation: str, arrays: Arguments, weights: tuple[str, ...], result: str, **options: Any) -> None:
    """Compares a program of one operation, with these constants and the rest as inputs, with the operation alone."""
    constants = [arrays[name] for name in weights]
    others = [name for name in arrays if name not in weights]
    kinds = {"i": "integers", "b": "bool"}
    inputs = [
        floats(name, arrays[name].ndim, kinds.get(arrays[name].dtype.kind, arrays[name].dtype.name)) for name in others
    ]
    values = {name: value for value, name in enumerate([*weights, *others])}
    program = core.Program(
        constants, inputs, [node(operation, values, {result: len(values)}, **options)], [len(values)]
    )
    expected = core.compute(operation, {**arrays, **options})[result]
    for threads in (1, 2, 0):
        (got,) = program.run([arrays[name] for name in others], threads)
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("cell", "gates"), [("lstm", 4), ("gru", 3), ("simple_rnn", 1)])
@pytest.mark.parametrize("return_sequences", [True, False])
def test_recurrent(cell: str, gates: int, return_sequences: bool, dtype: str) -> None:
    shapes = {"x": (B, T, D), "kernel": (D, gates * U), "recurrent_kernel": (U, gates * U), "h0": (B, U)}
    arrays = {name: normal(*shape, dtype=dtype) for name, shape in shapes.items()}
    arrays["bias"] = normal(*((2, 3 * U) if cell == "gru" else (gates * U,)), dtype=dtype)
    arrays["mask"] = rng.random((B, T)) < 0.7
    weights = ("kernel", "recurrent_kernel", "bias")
    for result in ("last_output", "h_n", *(["outputs"] if return_sequences else [])):
        one_operation(f"{cell}_predict", arrays, weights, result, return_sequences=return_sequences)
    predicted = core.compute(f"{cell}_predict", arrays)
    forward = core.compute(f"{cell}_forward", arrays)
    for name in ("outputs", "last_output", "h_n"):
        np.testing.assert_array_equal(predicted[name], forward[name])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("ids_dtype", ["int32", "int64"])
@pytest.mark.parametrize(("cell", "gates"), [("lstm", 4), ("gru", 3), ("simple_rnn", 1)])
def test_recurrent_by_ids(cell: str, gates: int, ids_dtype: str, dtype: str) -> None:
    """As the same layer behind an Embedding."""
    embeddings, kernel = normal(V, D, dtype=dtype), normal(D, gates * U, dtype=dtype)
    bias = normal(*((2, 3 * U) if cell == "gru" else (gates * U,)), dtype=dtype)
    arrays = {"recurrent_kernel": normal(U, gates * U, dtype=dtype), "bias": bias, "mask": rng.random((B, T)) < 0.7}
    ids = rng.integers(0, V, (B, T)).astype(ids_dtype)
    table = core.compute("dense", {"x": embeddings, "kernel": kernel, "bias": bias.reshape(-1, gates * U)[0]})[
        "outputs"
    ]
    looked_up = {**arrays, "ids": ids, "projections": table}
    got = core.compute(f"{cell}_lookup", looked_up)
    expected = core.compute(f"{cell}_predict", {**arrays, "x": embeddings[ids], "kernel": kernel})
    for name in ("outputs", "last_output", "h_n"):
        np.testing.assert_allclose(got[name], expected[name], atol=1e-5 if dtype == "float32" else 1e-13)
    one_operation(f"{cell}_lookup", looked_up, ("projections", "recurrent_kernel", "bias"), "outputs")


def test_recurrent_by_ids_with_threads_that_divide_the_units() -> None:
    """Where threads have a part of the units each, they gather their part of a row."""
    units = 512
    arrays = {"projections": normal(V, 4 * units), "recurrent_kernel": 0.1 * normal(units, 4 * units)}
    arrays["ids"] = rng.integers(0, V, (1, 50)).astype("int32")
    results = []
    for threads in (1, 2, 3):
        runtime.set_num_threads(threads)
        core.allow_oversubscription(True)
        try:
            results.append(core.compute("lstm_lookup", arrays)["outputs"])
            one_operation("lstm_lookup", arrays, ("projections", "recurrent_kernel"), "outputs")
        finally:
            core.allow_oversubscription(False)
            runtime.set_num_threads(None)
    for one in results[1:]:
        np.testing.assert_array_equal(one, results[0])


CONVOLUTIONS: dict[str, Arguments] = {
    "valid": {},
    "same": {"padding": "same", "activation": "tanh"},
    "causal": {"padding": "causal", "dilation_rate": 2, "activation": "relu"},
    "strided": {"strides": 2, "activation": "sigmoid"},
    "pooled": {"pool_size": 2, "pool_strides": 2, "activation": "relu"},
    "windows_that_overlap": {"padding": "same", "pool_size": 3, "pool_strides": 2, "pool_padding": "same"},
}


@pytest.mark.parametrize("options", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_convolution_by_ids(options: Arguments, dtype: str) -> None:
    embeddings, kernel, bias = (normal(*shape, dtype=dtype) for shape in ((V, D), (3, D, U), (U,)))
    ids = rng.integers(0, V, (B, T))
    arrays = {"ids": ids, "tables": np.stack([embeddings @ tap for tap in kernel]), "bias": bias}
    got = core.compute("conv1d_lookup", {**arrays, **options})["outputs"]
    plain = {"x": embeddings[ids], "kernel": kernel, "bias": bias}
    expected = core.compute("conv1d_predict", {**plain, **options})["outputs"]
    np.testing.assert_allclose(got, expected, atol=1e-5 if dtype == "float32" else 1e-13)
    one_operation("conv1d_lookup", arrays, ("tables", "bias"), "outputs", **options)
    one_operation("conv1d_predict", plain, ("kernel", "bias"), "outputs", **options)
    unpooled = not options.get("pool_size")
    forward = core.compute("conv1d_forward", {**plain, **options})["outputs"]
    np.testing.assert_array_equal(expected, forward, err_msg="" if unpooled else "pooled")


@pytest.mark.parametrize("shape", [(B, D), (2, 3, D), (0, D), (2, 0, D), (1, 1, 1, D)])
def test_dense(shape: tuple[int, ...]) -> None:
    arrays = {"x": normal(*shape), "kernel": normal(D, U), "bias": normal(U)}
    got = core.compute("dense", {**arrays, "activation": "relu"})["outputs"]
    np.testing.assert_allclose(got, np.maximum(arrays["x"] @ arrays["kernel"] + arrays["bias"], 0), atol=1e-6)
    one_operation("dense", arrays, ("kernel", "bias"), "outputs", activation="relu")
    alone = {"x": arrays["x"], "kernel": arrays["kernel"]}
    np.testing.assert_allclose(core.compute("dense", alone)["outputs"], alone["x"] @ alone["kernel"], atol=1e-6)


def test_dense_of_a_single_row() -> None:
    x, kernel = normal(D), normal(D, U)
    np.testing.assert_allclose(core.compute("dense", {"x": x, "kernel": kernel})["outputs"], x @ kernel, atol=1e-6)


def test_dense_with_a_large_kernel_and_few_rows() -> None:
    """Threads divide its columns and pack them in every call."""
    one_operation("dense", {"x": normal(2, 600), "kernel": normal(600, 512)}, ("kernel",), "outputs")


@pytest.mark.parametrize(
    ("operation", "arrays", "message"),
    [
        ("dense", {"x": normal(B, D), "kernel": normal(D + 1, U)}, r"kernel must have shape \(5, 4\), got \(6, 4\)"),
        ("dense", {"x": normal(B, D), "kernel": normal(D, U), "bias": normal(1)}, r"bias must have shape \(4,?\)"),
        ("conv1d_lookup", {"ids": np.zeros((B, T), "i"), "tables": normal(V, U)}, r"tables must have shape"),
        ("conv1d_lookup", {"ids": np.zeros(T, "i"), "tables": normal(1, V, U)}, r"ids must have shape"),
        ("conv1d_lookup", {"ids": np.full((B, T), V), "tables": normal(1, V, U)}, r"ids must be in \[0, 11\), got 11"),
        (
            "lstm_lookup",
            {"ids": np.zeros((B, T), "i"), "projections": normal(V, U), "recurrent_kernel": normal(U, 4 * U)},
            r"projections must have shape \(11, 16\), got \(11, 4\)",
        ),
        (
            "lstm_lookup",
            {"ids": np.full((B, T), -1), "projections": normal(V, 4 * U), "recurrent_kernel": normal(U, 4 * U)},
            r"ids must be in \[0, 11\), got -1 at \(0, 0\)",
        ),
    ],
)
def test_wrong_arrays(operation: str, arrays: Arguments, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        core.compute(operation, arrays)


# --- graphs -----------------------------------------------------------------------------------------------------------

KERNELS = [normal(D, D) for _ in range(3)]


def chain(outputs: list[int] | None = None) -> Any:
    """x -> dense (4) -> dense (5) -> reshape (6) -> concatenate with 4 (7); values 0 to 2 are constants, 3 is x."""
    nodes = [
        node("dense", {"x": 3, "kernel": 0}, {"outputs": 4}, activation="tanh"),
        node("dense", {"x": 4, "kernel": 1}, {"outputs": 5}),
        node("reshape", {"x": 5}, {"outputs": 6}, keep=1, shape=[1, D], tail=0),
        node("reshape", {"x": 6}, {"outputs": 7}, keep=1, shape=[D], tail=0),
        node("concatenate", {"a": 7, "b": 4}, {"outputs": 8}, axis=1),
    ]
    return core.Program(KERNELS, [floats()], nodes, outputs or [8])


def expected_of(x: NDArray[Any]) -> dict[int, NDArray[Any]]:
    first = np.tanh(x @ KERNELS[0])
    second = first @ KERNELS[1]
    whole = np.concatenate([second, first], 1)
    return {3: x, 4: first, 5: second, 6: second[:, None], 7: second, 8: whole}


@pytest.mark.parametrize("outputs", [[8], [4, 8], [6], [5, 6, 7], [3], [8, 8], [3, 4, 5, 6, 7, 8], [4, 4, 3, 3]])
def test_any_value_can_be_an_output(outputs: list[int]) -> None:
    x = normal(B, D)
    for _ in range(2):
        results = chain(outputs).run([x], 1)
        assert len({one.ctypes.data for one in results}) == len(results)
        for value, result in zip(outputs, results, strict=True):
            np.testing.assert_allclose(result, expected_of(x)[value], atol=1e-5)


def test_results_are_new_arrays() -> None:
    program, x, y = chain(), normal(B, D), normal(B, D)
    first = program.run([x], 1)[0]
    kept = first.copy()
    program.run([y], 1)
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("batch", [0, 1, 2, 100])
def test_batches_of_any_size(batch: int) -> None:
    program, x = chain(), normal(batch, D)
    np.testing.assert_allclose(program.run([x], 0)[0], expected_of(x)[8], atol=1e-5)
    np.testing.assert_allclose(program.run([normal(5, D)], 0)[0].shape, (5, 2 * D))


def test_large_batches_are_computed_in_pieces() -> None:
    wide = normal(2, 3000)
    nodes = [node("dense", {"x": 2, "kernel": 0}, {"outputs": 3}), node("dense", {"x": 3, "kernel": 1}, {"outputs": 4})]
    program = core.Program([wide, np.ascontiguousarray(wide.T)], [floats()], nodes, [4])
    x = normal(10_001, 2)
    (got,) = program.run([x], 0)
    # The values between the nodes would need 120 MB.
    assert program.bytes < 80e6
    for rows in (slice(0, 5), slice(5000, 5050), slice(9990, None)):
        np.testing.assert_array_equal(program.run([np.ascontiguousarray(x[rows])], 0)[0], got[rows])


def test_what_is_kept_between_calls_is_bounded() -> None:
    program = chain()
    for batch in range(1, 200):
        program.run([normal(batch, D)], 0)
    assert program.bytes < 1e6


def test_threads_that_call_at_the_same_time() -> None:
    program = chain()

    def call(seed: int) -> None:
        x = np.random.default_rng(seed).standard_normal((seed % 7 + 1, D)).astype("float32")
        for _ in range(50):
            np.testing.assert_allclose(program.run([x], 1)[0], expected_of(x)[8], atol=1e-5)

    in_threads(call, 8)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_predicts() -> None:
    run_python(
        "import os, numpy as np; from fastseq._libraries import core\n"
        "kernel = np.ones((4, 4), np.float32); x = np.ones((64, 4), np.float32)\n"
        "node = dict(operation='dense', label='d', options={}, inputs={'x': 1, 'kernel': 0}, outputs={'outputs': 2})\n"
        "program = core.Program([kernel], [dict(name='x', rank=2, dtype='float32')], [node], [2])\n"
        "assert program.run([x], 0)[0].sum() == 64 * 16\n"
        "if (child := os.fork()) == 0: os._exit(int(program.run([x], 2)[0].sum() != 64 * 16))\n"
        "assert os.waitpid(child, 0)[1] == 0"
    )


def test_profile() -> None:
    outputs, seconds, sizes, shapes = chain().profile([normal(B, D)], 1)
    assert outputs[0].shape == (B, 2 * D)
    assert len(seconds) == 5
    assert all(one >= 0 for one in seconds)
    assert sizes == [4 * B * D] * 4 + [8 * B * D]
    assert shapes == [(B, D), (B, D), (B, 1, D), (B, D), (B, 2 * D)]


DENSE = node("dense", {"x": 1, "kernel": 0}, {"outputs": 2})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nodes": [{**DENSE, "operation": "gelu"}]}, "there is no operation 'gelu' for a program"),
        ({"nodes": [{**DENSE, "operation": "adam"}]}, "there is no operation 'adam' for a program"),
        ({"nodes": [{**DENSE, "options": {"speed": 1}}]}, "a layer .dense.: dense has no option 'speed'"),
        ({"nodes": [{**DENSE, "options": {"activation": 1}}]}, "activation must be a str"),
        ({"nodes": [{**DENSE, "options": {"activation": "x"}}]}, "activation must be one of tanh, .*, got 'x'"),
        ({"nodes": [{**DENSE, "inputs": {"x": 1}}]}, "kernel is required"),
        ({"nodes": [{**DENSE, "inputs": {"x": 1, "kernel": 0, "h0": 0}}]}, "dense has no input 'h0'"),
        ({"nodes": [{**DENSE, "inputs": {"x": 2, "kernel": 0}}]}, "x must be a value before this node, got 2"),
        ({"nodes": [{**DENSE, "inputs": {"x": -1, "kernel": 0}}]}, "x must be a value before this node, got -1"),
        ({"nodes": [{**DENSE, "outputs": {"outputs": 3}}]}, "outputs must be value 2, got 3"),
        ({"nodes": [{**DENSE, "outputs": {"argmax": 2}}]}, "dense has no output 'argmax'"),
        ({"outputs": [3]}, "outputs must be inputs or results of nodes, got value 3"),
        ({"outputs": [0]}, "outputs must be inputs or results of nodes, got value 0"),
        ({"inputs": []}, "must be a value before this node|must have an input"),
        ({"inputs": [{**floats(), "dtype": "float16"}]}, "dtype of an input must be .*, got 'float16'"),
        ({"inputs": [{"name": "x", "rank": 2}]}, "an input must have an entry 'dtype'"),
        ({"constants": [np.ones((D, D), "complex64")]}, "constant 0 must have dtype .*, got complex64"),
    ],
)
def test_wrong_graphs(changes: Arguments, message: str) -> None:
    right: Arguments = {"constants": [normal(D, D)], "inputs": [floats()], "nodes": [DENSE], "outputs": [2]}
    core.Program(**right)
    with pytest.raises((TypeError, ValueError), match=message):
        core.Program(**{**right, **changes})


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ([], "expected 1 inputs, got 0"),
        ([normal(B, D)] * 2, "expected 1 inputs, got 2"),
        ([normal(D)], r"x must have 2 dimensions, got shape \(5,\)"),
        ([normal(B, D, 1)], r"x must have 2 dimensions, got shape \(3, 5, 1\)"),
        ([normal(B, D, dtype="float64")], "x must have dtype float32, got float64"),
        ([np.ones((B, D), "int32")], "x must have dtype float32, got int32"),
        ([normal(B, D + 1)], r"a layer .dense.: kernel must have shape \(6, 5\), got \(5, 5\)"),
        ([normal(2 * B, D)[::2]], "x must be C-contiguous"),
        ([[[1.0]]], "x must be a numpy.ndarray, got list"),
    ],
)
def test_wrong_calls(arrays: list[Any], message: str) -> None:
    program = chain()
    with pytest.raises((TypeError, ValueError), match=message):
        program.run(arrays, 1)
    program.run([normal(B, D)], 1)


def test_an_operation_that_computes_another_result() -> None:
    sequences = node(
        "simple_rnn_predict", {"x": 2, "kernel": 0, "recurrent_kernel": 1}, {"outputs": 3}, return_sequences=False
    )
    program = core.Program([normal(D, U), normal(U, U)], [floats(rank=3)], [sequences], [3])
    with pytest.raises(ValueError, match="outputs is not computed with these options"):
        program.run([normal(B, T, D)], 1)


@pytest.mark.parametrize(
    "moves_the_batch",
    [
        node("transpose", {"x": 0}, {"outputs": 1}, permutation=[1, 0]),
        node("reshape", {"x": 0}, {"outputs": 1}, keep=0, shape=[-1], tail=0),
        node("concatenate", {"a": 0, "b": 0}, {"outputs": 1}, axis=0),
    ],
)
def test_outputs_whose_first_axis_is_not_the_batch(moves_the_batch: Arguments) -> None:
    with pytest.raises(ValueError, match="axis"):
        core.Program([], [floats()], [moves_the_batch], [1]).run([normal(B, D)], 1)


def test_sizes_beyond_any_memory() -> None:
    repeats = [node("repeat", {"x": 0}, {"outputs": 1 + i}, axis=1, count=2**44) for i in range(200)]
    count = len(repeats)
    joined = [node("combine", {"a": 1 + i, "b": 1 + i}, {"outputs": 1 + count + i}, how="add") for i in range(count)]
    program = core.Program([], [floats()], [*repeats, *joined], [2 * count])
    with pytest.raises((MemoryError, ValueError)):
        program.run([normal(1, 4)], 1)


def test_inputs_of_different_batches() -> None:
    add = node("combine", {"a": 0, "b": 1}, {"outputs": 2}, how="add")
    program = core.Program([], [floats("a"), floats("b")], [add], [2])
    with pytest.raises(ValueError, match="all inputs must have the same number of rows: a has 3, b has 4"):
        program.run([normal(3, D), normal(4, D)], 1)
