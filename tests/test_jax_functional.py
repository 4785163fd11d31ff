"""fastseq.jax: results and gradients are those of fastseq.functional, eagerly and under JAX's transformations."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rnn_cases
from conv1d_cases import make_case as make_conv1d_case
from conv1d_cases import native_forward
from pool_cases import any_numbers
from processes import run_python

jax = pytest.importorskip("jax", reason="JAX is not installed")
jnp = jax.numpy

import fastseq.jax as fj  # noqa: E402
from fastseq import functional, runtime  # noqa: E402
from fastseq.autodiff.operations import OPERATIONS  # noqa: E402

CELLS = rnn_cases.CELLS


@pytest.fixture(autouse=True)
def _wide_types() -> Iterator[None]:
    """JAX makes float32 of float64 unless it is told otherwise."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def _recurrent(case: rnn_cases.Case) -> tuple[Callable[[dict[str, Any]], Any], dict[str, Any]]:
    """A function of the arrays with a gradient, and these."""
    floats = {**case.weights, **case.states}
    others = {**case.masks, **case.options, "return_sequences": case.return_sequences}
    return (lambda given: getattr(fj, case.cell)(**given, **others)), floats


RECURRENT: list[tuple[str, dict[str, Any]]] = [
    (cell, {**variant, **options})
    for cell, variant in rnn_cases.VARIANTS
    for options in (
        {},
        {"masked": True, "zero_output_for_mask": True, "dtype": "float64"},
        {"masked": True, "h0_as_first_output": True, "dropout": 1, "recurrent_dropout": rnn_cases.GATES[cell]},
        {"go_backwards": True, "activation": "relu", "return_sequences": False},
    )
]


@pytest.mark.parametrize("wrap", [lambda function: function, jax.jit], ids=["eager", "jit"])
@pytest.mark.parametrize(("cell", "options"), RECURRENT)
def test_recurrent_bits_are_those_of_functional(cell: str, options: dict[str, Any], wrap: Callable[[Any], Any]) -> None:
    case = rnn_cases.make_case(cell, 3, 5, 6, 4, **options)
    run, floats = _recurrent(case)
    results = wrap(run)(floats)
    expected = rnn_cases.run_native(case)
    for name in results._fields:
        result = getattr(results, name)
        assert (result is None) == (expected[name] is None)
        assert result is None or np.array_equal(result, expected[name]), name

    directions = {name.removeprefix("d"): value for name, value in case.gradients.items()}

    def differentiated(given: dict[str, Any]) -> dict[str, Any]:
        results = run(given)._asdict()
        return {name: results[name] for name in directions}

    _, pull = jax.vjp(differentiated, floats)
    (gradients,) = wrap(pull)(directions)
    for name, gradient in gradients.items():
        assert np.array_equal(gradient, expected[f"d{name}"]), name


def _numbers(*shape: int, dtype: str = "float32") -> Any:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


def every_case(dtype: str = "float32") -> dict[str, tuple[Callable[..., Any], list[Any]]]:
    """Functions of arrays and their arguments, one for each operation."""
    cases: dict[str, tuple[Callable[..., Any], list[Any]]] = {}
    for cell in CELLS:
        case = rnn_cases.make_case(cell, 3, 5, 6, 4, dtype, masked=True, dropout=1)
        run, floats = _recurrent(case)

        def flat(*given: Any, run: Any = run, names: tuple[str, ...] = tuple(floats)) -> Any:
            results = run(dict(zip(names, given, strict=True)))
            return jnp.concatenate([result.reshape(-1) for result in results])

        cases[cell] = flat, list(floats.values())
    weights = [_numbers(2, 11, 3, dtype=dtype), _numbers(3, 3, 5, dtype=dtype), _numbers(5, dtype=dtype)]
    x = _numbers(2, 9, 4, dtype=dtype)
    ids = np.array([[1, 2, 1], [0, 5, 1]])
    return cases | {
        "conv1d": (partial(fj.conv1d, activation="tanh", strides=2, padding="same", dilation_rate=2), weights),
        "conv1d_max_pool": (
            lambda x, kernel, bias: fj.conv1d_max_pool(x, kernel, bias, 3, 2, "same", activation="sigmoid"),
            weights,
        ),
        "max_pool": (lambda x: fj.max_pool(x, 3, 2), [x]),
        "average_pool": (lambda x: fj.average_pool(x, 3, 2, "same"), [x]),
        "embedding": (lambda table: fj.embedding(ids, table), [_numbers(6, 3, dtype=dtype)]),
    }


NAMES = [*CELLS, "conv1d", "conv1d_max_pool", "max_pool", "average_pool", "embedding"]


def _loss(run: Callable[..., Any], *given: Any) -> Any:
    return (run(*given) ** 2).sum()


def _gradients(run: Callable[..., Any], given: list[Any]) -> Any:
    return jax.grad(partial(_loss, run), tuple(range(len(given))))(*given)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_differences(name: str) -> None:
    run, given = every_case("float64")[name]
    direction = [_numbers(*np.shape(array), dtype="float64") for array in given]
    step = 1e-6
    ahead, behind = (
        _loss(run, *(array + sign * step * change for array, change in zip(given, direction, strict=True)))
        for sign in (1, -1)
    )
    found = sum((gradient * change).sum() for gradient, change in zip(_gradients(run, given), direction, strict=True))
    assert np.isclose(found, (ahead - behind) / (2 * step), rtol=1e-6)


@pytest.mark.parametrize("wrap", [lambda function: function, jax.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("window", [(3, 2, "valid"), (2, 1, "same"), (5, 3, "same")], ids=str)
def test_maxima_of_any_numbers_are_jax_own(window: tuple[int, int, str], wrap: Callable[[Any], Any]) -> None:
    size, strides, padding = window
    x = any_numbers((3, 17, 7))
    expected = jax.lax.reduce_window(x, -np.inf, jax.lax.max, (1, size, 1), (1, strides, 1), padding.upper())
    assert np.isnan(expected).any()
    assert np.isneginf(expected).any()
    np.testing.assert_array_equal(wrap(lambda x: fj.max_pool(x, *window))(x), expected)
    identity = np.eye(7, dtype="float32")[None]
    np.testing.assert_array_equal(
        wrap(lambda x: fj.conv1d_max_pool(x[..., :1], identity[:, :1, :1], None, *window))(x), expected[..., :1]
    )


@pytest.mark.parametrize("name", NAMES)
def test_transformations_have_the_same_bits(name: str) -> None:
    run, given = every_case()[name]
    expected = _gradients(run, given)
    every = tuple(range(len(given)))

    def scanned(*arrays: Any) -> Any:
        return jax.lax.scan(lambda carry, _: (carry, run(*arrays)), 0.0, None, length=1)[1][0]

    for changed in (jax.jit(run), jax.checkpoint(run), jax.jit(jax.checkpoint(run)), scanned):
        gradients = jax.grad(partial(_loss, changed), every)(*given)
        for one, other in zip(expected, gradients, strict=True):
            assert np.array_equal(one, other)


@pytest.mark.parametrize("weights_too", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_vmap(name: str, weights_too: bool) -> None:
    """Over x alone, the batch grows; over weights too, the calls are one after the other."""
    run, given = every_case()[name]
    axes = tuple(0 if index == 0 or weights_too else None for index in range(len(given)))
    stacked = [np.stack([array, 2 * array]) if axis == 0 else array for array, axis in zip(given, axes, strict=True)]
    some = [[array[i] if axis == 0 else array for array, axis in zip(stacked, axes, strict=True)] for i in (0, 1)]
    function = lambda *arrays: (run(*arrays), _gradients(run, list(arrays)))  # noqa: E731
    results = jax.jit(jax.vmap(function, axes))(*stacked)
    for i, arrays in enumerate(some):
        for one, other in zip(jax.tree.leaves(results), jax.tree.leaves(function(*arrays)), strict=True):
            np.testing.assert_allclose(one[i], other, rtol=1e-5, atol=1e-6)


def test_vmap_of_inputs_is_one_call() -> None:
    x, kernel, recurrent_kernel = _numbers(4, 3, 5, 6), _numbers(6, 16), _numbers(4, 16)
    run = jax.jit(jax.vmap(lambda x: fj.lstm(x, kernel, recurrent_kernel).outputs))
    assert _calls(run, x) == [("lstm_forward", (12, 5, 6))]
    assert np.array_equal(run(x)[2], functional.lstm_forward(x[2], kernel, recurrent_kernel).outputs)


def test_vmap_of_ids() -> None:
    table = _numbers(6, 3)
    for ids in (np.array([1, 5, 0]), np.array([[1, 5], [0, 2], [3, 3]])):
        assert np.array_equal(jax.vmap(lambda one: fj.embedding(one, table))(ids), table[ids])


def test_options_have_their_own_types() -> None:
    x, kernel, recurrent_kernel = _numbers(3, 5, 6), _numbers(6, 16), _numbers(4, 16)
    with pytest.raises(TypeError, match="go_backwards must be of type bool, got int"):
        fj.lstm(x, kernel, recurrent_kernel, go_backwards=1)  # type: ignore[arg-type]
    expected = functional.lstm_forward(x, kernel, recurrent_kernel, go_backwards=True).outputs
    for flag in (True, np.True_):
        assert np.array_equal(fj.lstm(x, kernel, recurrent_kernel, go_backwards=flag).outputs, expected)
    assert np.array_equal(fj.max_pool(x, np.int64(2)), fj.max_pool(x, 2))
    with pytest.raises(TypeError, match="pool_size must be of type int, got float"):
        fj.max_pool(x, 2.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="kernel must have dtype bfloat16 as x has, got float32"):
        fj.lstm(jnp.asarray(x, "bfloat16"), kernel, recurrent_kernel)


def _calls(compiled: Any, *given: Any) -> list[tuple[str, tuple[int, ...]]]:
    """The operations in a program, each with the shape of its first argument."""
    text = compiled.lower(*given).as_text()
    found = re.findall(r"custom_call @fastseq_\d+_(\w+)\(.*? : \(tensor<([\dx]+)x\w+>", text)
    return [(name, tuple(map(int, shape.split("x")))) for name, shape in found]


def _attributes(compiled: Any, *given: Any) -> str:
    return str(compiled.lower(*given).as_text())


def test_nothing_is_saved_where_no_gradient_is_asked_for() -> None:
    case = rnn_cases.make_case("lstm", 3, 5, 6, 4)
    run, floats = _recurrent(case)
    assert "save_workspace = false" in _attributes(jax.jit(run), floats)
    stopped = jax.jit(jax.grad(lambda x: x.sum() + run(jax.lax.stop_gradient(floats | {"x": x})).h_n.sum()))
    assert "save_workspace = true" not in _attributes(stopped, floats["x"])


def test_gradients_only_for_what_asks_for_them() -> None:
    case = rnn_cases.make_case("lstm", 3, 5, 6, 4)
    run, floats = _recurrent(case)

    def by(*names: str) -> str:
        loss = lambda some: run(floats | some).last_output.sum()  # noqa: E731
        return _attributes(jax.jit(jax.grad(loss)), {name: floats[name] for name in names})

    for names, dx, weights in ((["x"], "true", "false"), (["bias"], "false", "true"), (["h0"], "false", "false")):
        text = by(*names)
        assert f"with_dx = {dx}" in text
        assert f"with_weights = {weights}" in text
    # Of outputs that nobody uses, there is no gradient to hand over: the last output's is one of six arguments more.
    x, backward = by("x"), "fastseq_1_lstm_backward"
    (arguments,) = re.findall(rf"@{backward}\(([^)]*)\)", x)
    assert len(arguments.split(",")) == len(floats) + 2


def test_traced_once_for_each_shape() -> None:
    traces = 0

    @jax.jit
    def run(x: Any, kernel: Any, recurrent_kernel: Any) -> Any:
        nonlocal traces
        traces += 1
        return jax.grad(lambda x: fj.lstm(x, kernel, recurrent_kernel).h_n.sum())(x)

    weights = _numbers(6, 16), _numbers(4, 16)
    for batch, expected in ((3, 1), (3, 1), (4, 2), (3, 2), (4, 2)):
        run(_numbers(batch, 5, 6), *weights)
        assert traces == expected


def test_donated_arguments() -> None:
    weights = _numbers(6, 16), _numbers(4, 16)
    x, h0, c0 = _numbers(3, 5, 6), _numbers(3, 4), _numbers(4, 3).T.copy()
    run = jax.jit(lambda h, c, x: fj.lstm(x, *weights, h0=h, c0=c)[2:], donate_argnums=(0, 1))
    expected = functional.lstm_forward(x, *weights, h0=h0, c0=c0)
    h_n, c_n = run(jnp.array(h0), jnp.array(c0), x)
    assert np.array_equal(h_n, expected.h_n)
    assert np.array_equal(c_n, expected.c_n)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_types_are_computed_in_float32(dtype: str) -> None:
    run, floats = _recurrent(rnn_cases.make_case("lstm", 3, 5, 6, 4))
    halves = {name: jnp.asarray(array, dtype) for name, array in floats.items()}
    exact = run({name: array.astype("float32") for name, array in halves.items()})
    results = run(halves)
    assert results.outputs.dtype == dtype
    assert np.array_equal(results.outputs, exact.outputs.astype(dtype))
    gradients = jax.grad(lambda given: run(given).h_n.astype("float32").sum())(halves)
    assert all(gradient.dtype == dtype for gradient in gradients.values())


@pytest.mark.parametrize("name", NAMES)
def test_second_order_and_forward_mode_are_refused(name: str) -> None:
    run, given = every_case()[name]
    with pytest.raises(NotImplementedError, match="no second-order gradients on JAX"):
        jax.grad(lambda *arrays: sum(one.sum() for one in _gradients(run, list(arrays))))(*given)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(run, given, given)


def test_errors_name_the_argument() -> None:
    x, kernel, recurrent_kernel = _numbers(3, 5, 6), _numbers(6, 16), _numbers(4, 16)
    for wrap in (lambda function: function, jax.jit):
        run = wrap(fj.lstm)
        with pytest.raises(ValueError, match=r"kernel must have shape \(6, 16\), got \(5, 16\)"):
            run(x, kernel[:5], recurrent_kernel)
        with pytest.raises(TypeError, match="kernel must have dtype float32, got float64"):
            run(x, kernel.astype("float64"), recurrent_kernel)
    with pytest.raises(TypeError, match="x must have dtype float32 or float64, got int64"):
        fj.lstm(np.ones((3, 5, 6), "int64"), kernel, recurrent_kernel)
    with pytest.raises(ValueError, match="activation must be one of"):
        fj.lstm(x, kernel, recurrent_kernel, activation="softplus")
    with pytest.raises(Exception, match=r"ids.* 7"):  # known only when the program runs
        jax.block_until_ready(jax.jit(fj.embedding)(np.array([1, 7]), _numbers(6, 3)))


def test_empty_arrays() -> None:
    kernel, recurrent_kernel = _numbers(6, 16), _numbers(4, 16)
    for batch, timesteps in ((0, 5), (3, 0)):
        x = np.zeros((batch, timesteps, 6), "float32")
        results = fj.lstm(x, kernel, recurrent_kernel)
        assert results.outputs.shape == (batch, timesteps, 4)
        assert not results.last_output.any()
        gradient = jax.grad(lambda x: fj.lstm(x, kernel, recurrent_kernel).outputs.sum())(x)
        assert gradient.shape == (batch, timesteps, 6)


def test_masked_steps_have_no_nan_for_whoever_looks_for_them() -> None:
    case = rnn_cases.make_case("lstm", 3, 5, 6, 4, masked=True)
    run, floats = _recurrent(case)
    x = floats.pop("x")
    with jax.debug_nans(True):
        gradients = jax.grad(lambda given: run(given | {"x": x}).h_n.sum())(floats)
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())


@pytest.mark.parametrize("cell", CELLS)
def test_same_bits_for_any_number_of_threads(cell: str) -> None:
    run, floats = _recurrent(rnn_cases.make_case(cell, 40, 30, 6, 20, masked=True))
    gradients = jax.jit(jax.grad(lambda given: run(given).outputs.sum()))
    found = []
    for threads in (1, 2, 3, 8):
        runtime.set_num_threads(threads)
        found.append(jax.tree.leaves(gradients(floats)))
    for other in found[1:]:
        assert all(np.array_equal(one, two) for one, two in zip(found[0], other, strict=True))


def test_calls_from_many_threads() -> None:
    run, floats = _recurrent(rnn_cases.make_case("gru", 8, 20, 6, 16))
    compiled = jax.jit(jax.grad(lambda given: run(given).outputs.sum()))
    expected = jax.tree.leaves(compiled(floats))
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: jax.tree.leaves(compiled(floats)), range(200)):
            assert all(np.array_equal(one, two) for one, two in zip(expected, found, strict=True))


def test_independent_calls_in_one_program() -> None:
    """XLA may run them at once, on threads of its own."""
    cases = [rnn_cases.make_case("lstm", 8, 20, 6, 16, seed=seed) for seed in range(6)]
    arrays = [case.weights for case in cases]
    results = jax.jit(lambda all_of: [fj.lstm(**one).outputs for one in all_of])(arrays)
    for weights, result in zip(arrays, results, strict=True):
        assert np.array_equal(result, functional.lstm_forward(**weights).outputs)


def test_exported_programs(tmp_path: Path) -> None:
    pytest.importorskip("flatbuffers", reason="JAX needs flatbuffers to write exported programs")
    from jax import export

    kernel, recurrent_kernel = _numbers(6, 16), _numbers(4, 16)
    run = jax.jit(lambda x: fj.lstm(x, kernel, recurrent_kernel).outputs)
    checks = [export.DisabledSafetyCheck.custom_call("fastseq_1_lstm_forward")]
    (batch, timesteps) = export.symbolic_shape("batch, timesteps")
    shape = jax.ShapeDtypeStruct((batch, timesteps, 6), "float32")
    (tmp_path / "program").write_bytes(export.export(run, disabled_checks=checks)(shape).serialize())
    sizes = (3, 5, 6), (7, 2, 6)
    code = f"""
from pathlib import Path
import numpy as np
from jax import export
import fastseq.jax

program = export.deserialize(bytearray(Path({str(tmp_path)!r}, "program").read_bytes()))
for number, size in enumerate({sizes}):
    x = np.random.default_rng(sum(size)).standard_normal(size).astype("float32")
    np.save(Path({str(tmp_path)!r}, f"{{number}}.npy"), program.call(x))
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    for number, size in enumerate(sizes):
        assert np.array_equal(np.load(tmp_path / f"{number}.npy"), run(_numbers(*size)))


@pytest.mark.parametrize("name", NAMES)
def test_shapes_without_arrays(name: str) -> None:
    """Symbols stand for batch and timesteps of x, where that can be."""
    run, given = every_case()[name]
    shape = jax.eval_shape(run, *given)
    assert (shape.shape, shape.dtype) == (run(*given).shape, "float32")
    if name in CELLS or name == "embedding":
        return
    export = pytest.importorskip("jax.export", reason="this version of JAX has symbols only with flatbuffers")
    (batch, timesteps) = export.symbolic_shape("b, t", constraints=["t >= 5"])
    x = jax.ShapeDtypeStruct((batch, timesteps, given[0].shape[2]), "float32")
    symbolic = jax.eval_shape(run, x, *given[1:]).shape
    sizes = {"b": given[0].shape[0], "t": given[0].shape[1]}
    assert tuple(size if isinstance(size, int) else size._evaluate(sizes) for size in symbolic) == shape.shape


def _handler(name: str, results: Any) -> Callable[..., Any]:
    fj.max_pool(_numbers(1, 4, 1), 2)  # registers handlers
    return jax.ffi.ffi_call(f"fastseq_1_{name}", results)


POOLING = {
    "pool_size": np.int64(2),
    "strides": np.int64(2),
    "padding": "valid",
    "propagate_nan": np.bool_(False),
    "save_argmax": np.bool_(False),
}


@pytest.mark.parametrize(
    ("changes", "result", "message"),
    [
        ({"present": np.int64(3)}, (2, 2, 1), "there are arguments, results or attributes"),
        ({"present": np.int64(0)}, (2, 2, 1), "x is required"),
        ({"pool_size": np.int64(0)}, (2, 2, 1), "pool_size must be"),
        ({"pool_size": 2.0}, (2, 2, 1), "pool_size"),
        ({"padding": "around"}, (2, 2, 1), "padding must be one of"),
        ({"more": np.int64(1)}, (2, 2, 1), "attributes"),
        ({"save_argmax": np.bool_(True)}, (2, 2, 1), "no result argmax"),
        ({}, (2, 3, 1), "the result outputs has another shape"),
    ],
)
def test_programs_that_do_not_fit_are_refused(changes: dict[str, Any], result: Any, message: str) -> None:
    """As another version of fastseq may have made them."""
    call = _handler("max_pool_forward", jax.ShapeDtypeStruct(result, "float32"))
    attributes = {"present": np.int64(1), **POOLING, **changes}
    with pytest.raises(Exception, match=message):
        jax.block_until_ready(call(_numbers(2, 4, 1), **attributes))


SHARDED = """
import sys
sys.path.insert(0, {tests!r})
import re
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from test_jax_functional import every_case
assert jax.device_count() == 2
mesh = Mesh(np.array(jax.devices()), ("data",))
divided, whole = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
import rnn_cases
import fastseq.jax as fj
from fastseq import functional

def check(loss, x, rest, masks=()):
    gradients = jax.jit(jax.value_and_grad(loss, (0, 1)))
    expected = gradients(x, rest, masks)
    given = jax.device_put((x, masks), divided)
    arguments = given[0], jax.device_put(rest, whole), given[1]
    found = gradients(*arguments)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    text = gradients.lower(*arguments).compile().as_text()
    collectives = set(re.findall(r"(all-gather|all-reduce|all-to-all|collective-permute)[.\\w]*\\(", text))
    assert collectives == {{"all-reduce"}}, collectives
    if hasattr(jax, "shard_map"):
        local = lambda x, rest, masks: jax.lax.psum(loss(x, rest, masks), "data")
        mapped = jax.shard_map(local, mesh=mesh, in_specs=(P("data"), P(), P("data")), out_specs=P())
        found = jax.jit(jax.value_and_grad(mapped, (0, 1)))(*arguments)
        for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)

for cell in rnn_cases.CELLS:
    case = rnn_cases.make_case(cell, 4, 5, 6, 3, masked=True)
    x = case.weights.pop("x")
    def loss(x, rest, masks, cell=cell):
        results = getattr(fj, cell)(x, **rest, mask=masks[0])
        return sum((result ** 2).sum() for result in results)
    check(loss, x, case.weights, (case.masks["mask"],))
cases = every_case()
for name in ("conv1d", "conv1d_max_pool", "max_pool", "average_pool"):
    run, (x, *rest) = cases[name]
    check(lambda x, rest, masks: (run(x, *rest) ** 2).sum(), x, rest)
ids = np.array([[1, 2, 1], [0, 5, 1]])
check(lambda x, rest, masks: (x[:, None, None] * fj.embedding(masks[0], rest[0]) ** 2).sum(),
      np.ones(2, "float32"), [np.ones((6, 3), "float32")], (ids,))
# A batch that the devices cannot share equally: no device computes with rows that are none.
x, kernel, recurrent_kernel = (np.ones(shape, "float32") for shape in ((5, 4, 3), (3, 8), (2, 8)))
def loss(kernel, x):
    x = jax.lax.with_sharding_constraint(x, divided)
    return (fj.lstm(x, kernel, recurrent_kernel).outputs ** 2).sum()
with mesh:
    found = jax.jit(jax.value_and_grad(loss))(kernel, x)
expected = jax.value_and_grad(lambda kernel: (fj.lstm(x, kernel, recurrent_kernel).outputs ** 2).sum())(kernel)
for one, other in zip(found, expected, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-5)
print("divided")
"""


def test_divided_among_devices() -> None:
    """Two devices of one CPU: no gathering of the batch, and the gradients of one device."""
    script = SHARDED.format(tests=str(Path(__file__).parent))
    done = run_python(script, XLA_FLAGS="--xla_force_host_platform_device_count=2")
    assert done.stdout.strip() == "divided", done.stderr


def test_importing_initialises_no_backend() -> None:
    done = run_python("import fastseq.jax;from jax._src import xla_bridge; print(sorted(xla_bridge._backends))")
    assert done.stdout.strip() == "[]", done.stderr


def test_every_operation_with_a_gradient_has_a_handler() -> None:
    from fastseq._libraries import core

    expected = {name for operation in OPERATIONS.values() for name in (operation.name, operation.backward)}
    assert set(core.xla_handlers()) == expected | {"bernoulli"}


def test_convolutions_have_the_bits_of_functional() -> None:
    for options in ({}, {"padding": "causal", "dilation_rate": 2, "activation": "relu"}, {"strides": 2, "groups": 2}):
        case = make_conv1d_case(3, 13, 4, 6, 3, **options)
        assert np.array_equal(fj.conv1d(**case.arguments), native_forward(case))
