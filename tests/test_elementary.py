"""The elementary operations of programs: beside their definition, Keras's functions, any number of threads, errors."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tolerances import REFERENCE, STOCK, assert_close

from fastseq import reference, runtime
from fastseq._libraries import core

DTYPES = ["float32", "float64"]
INT64_MAX = 2**63 - 1

# A NumPy array, or an option.
Arguments = dict[str, Any]
Case = tuple[str, Arguments]


def _floats(*shape: int, seed: int = 0, scale: float = 1.0) -> NDArray[np.float64]:
    return np.asarray(np.random.default_rng((seed, *shape)).normal(scale=scale, size=shape))


def _bools(*shape: int, seed: int = 0) -> NDArray[np.bool_]:
    return np.asarray(np.random.default_rng((seed, *shape)).random(shape) < 0.6)


def _integers(*shape: int) -> NDArray[np.int64]:
    return np.random.default_rng(shape).integers(-2, 3, shape)


def compute(operation: str, arguments: Arguments) -> NDArray[Any]:
    """The result, when its shape has been compared with the one that is computed without arrays."""
    described = {
        name: (value.shape, value.dtype.name) if isinstance(value, np.ndarray) else value
        for name, value in arguments.items()
    }
    result: NDArray[Any] = core.compute(operation, arguments)["outputs"]
    assert core.output_shapes(operation, described)["outputs"] == (result.shape, result.dtype.name)
    return result


def _in(dtype: str, arguments: Arguments) -> Arguments:
    """The same arguments with floats in a dtype."""
    return {
        name: value.astype(dtype) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value
        for name, value in arguments.items()
    }


# --- the cases -------------------------------------------------------------------------------------------------------

_COUNTS = (0, 1, 2, 15, 16, 17, 40)


def _activate() -> Iterator[Case]:
    yield "activate", {"x": _floats(3, 5)}
    for function in reference.elementary.POINTWISE:
        for shape in ((), (0,), (1,), (3, 0, 2), (5, 7, 11), (1031,)):
            yield "activate", {"x": _floats(*shape, scale=4), "function": function, "alpha": 0.3}
    for alpha, beta, gamma in itertools.product((0.0, 0.25), (np.nan, np.inf, 6.0, 1.5, 0.0), (0.0, 1.0, -1.0)):
        yield (
            "activate",
            {"x": _floats(9, 50, scale=4), "function": "rectifier", "alpha": alpha, "beta": beta, "gamma": gamma},
        )


def _combine() -> Iterator[Case]:
    shapes = [
        ((), ()),
        ((3,), ()),
        ((), (2, 3)),
        ((0,), (1,)),
        ((4, 0, 3), (3,)),
        ((2, 3, 17), (2, 3, 17)),
        ((2, 3, 17), (17,)),
        ((2, 3, 17), (3, 1)),
        ((2, 1, 5), (1, 4, 5)),
        ((2, 1, 5, 1), (3, 1, 6)),
        ((1, 1, 1), (1, 1)),
        ((5, 1), (1, 7)),
        ((2, 3, 1, 2, 1, 2, 1, 3), (1, 3, 2, 2, 2, 1, 2, 1)),
    ]
    for (a, b), how in itertools.product(shapes, ("add", "subtract", "multiply", "divide", "maximum", "minimum")):
        yield "combine", {"a": _floats(*a), "b": _floats(*b, seed=1), "how": how}
        yield "combine", {"a": _floats(*b), "b": _floats(*a, seed=1), "how": how}


def _masks() -> Iterator[Case]:
    for shape in ((), (0, 3), (1, 1), (4, 37)):
        for how in ("and", "or"):
            yield "combine_masks", {"a": _bools(*shape), "b": _bools(*shape, seed=1), "how": how}
    for x in (_integers(4, 9), _integers(4, 9).astype(np.int32), _integers(4, 9).astype(np.float64)):
        for value in (0.0, 1.0, -2.0, 0.5, 1e30, -np.inf, np.nan):
            for any_last in (False, True):
                yield "unequal", {"x": x, "value": value, "any_last": any_last}
    # Rounded to float32, as Keras does.
    yield "unequal", {"x": np.full((2, 3), 0.1), "value": 0.1}
    for shape in ((0, 3), (3, 0), (3, 1), (2, 3, 0), (2, 3, 2)):
        yield "unequal", {"x": np.zeros(shape), "any_last": True}
        yield "unequal", {"x": _integers(*shape), "any_last": True}
    yield "unequal", {"x": np.array(3)}
    for shape in ((0, 3), (2, 0, 4), (2, 3), (2, 3, 0), (2, 5, 7), (3, 4, 2, 5)):
        yield "keep", {"x": _floats(*shape), "mask": _bools(*shape[:2])}
        yield "keep", {"x": _floats(*shape), "mask": _bools(*shape[:2]), "masked": True}


def _rows() -> Iterator[Case]:
    for shape in ((0,), (1,), (3, 0), (0, 3), *((3, count) for count in _COUNTS), (2, 3, 203)):
        for log in (False, True):
            yield "softmax", {"x": _floats(*shape, scale=4), "log": log}
            yield "softmax", {"x": _floats(*shape, scale=4), "mask": _bools(*shape), "log": log}
            yield "softmax", {"x": _floats(*shape, scale=4), "mask": np.zeros(shape, bool), "log": log}
    yield "softmax", {"x": np.array([[1e30, -1e30, 1e30], [-1e30, -1e30, -1e30]])}
    for shape, axes in (((0, 3), 1), ((2, 1), 1), ((2, 5, 17), 1), ((2, 5, 17), 2), ((2, 5, 17), 3), ((3, 300), 1)):
        weights = shape[len(shape) - axes :]
        for rms, gamma, beta in itertools.product((False, True), repeat=3):
            arrays = {"x": _floats(*shape) + 2}
            if gamma:
                arrays["gamma"] = _floats(*weights, seed=1)
            if beta:
                arrays["beta"] = _floats(*weights, seed=2)
            yield "layer_normalization", {**arrays, "axes": axes, "rms": rms, "epsilon": 1e-3}
    for shape in (
        (0, 3, 2),
        (2, 0, 3),
        (2, 3, 0),
        (2, 1, 1),
        (3, 700, 5),
        (1, 9, 130),
        (3, 17),
        (3, 300),
        (2, 3, 4, 5),
    ):
        for axis in range(1, len(shape)):
            for how in ("max", "mean", "sum"):
                yield "reduce", {"x": _floats(*shape), "axis": axis, "how": how}
            yield "reduce", {"x": _floats(*shape), "mask": _bools(*shape[: axis + 1]), "axis": axis, "how": "mean"}
    some = _bools(4, 6)
    some[1], some[2, -1] = False, True
    for shape in ((0, 3, 2), (3, 0, 2), (3, 2, 0), (3, 1, 1), (4, 6, 17)):
        yield "last_step", {"x": _floats(*shape)}
        yield "last_step", {"x": _floats(*shape), "mask": some[: shape[0], : shape[1]].copy()}


def _layouts() -> Iterator[Case]:
    arrays = [_floats(4, 5, 6), _bools(4, 5, 6), _integers(4, 5, 6), _integers(4, 5, 6).astype(np.int32)]
    arrays += [_floats(0, 5, 6), _floats(4, 0, 6), _floats(4, 5, 0), _floats(1, 1, 1), _floats(3, 1, 40)]
    for x in (*arrays, _floats(3, 33, 50), _bools(3, 50, 17)):
        for permutation in itertools.permutations(range(3)):
            yield "transpose", {"x": x, "permutation": list(permutation)}
    for permutation in itertools.permutations(range(4)):
        yield "transpose", {"x": _floats(3, 4, 5, 6), "permutation": list(permutation)}
    yield "transpose", {"x": _floats(*[2] * 8), "permutation": [7, 2, 4, 0, 1, 6, 5, 3]}
    yield "transpose", {"x": _floats(), "permutation": []}
    for x, axis in itertools.product(arrays, range(3)):
        for count in (0, 1, 3):
            yield "repeat", {"x": x, "axis": axis, "count": count}
        for begin, end in ((0, INT64_MAX), (1, 3), (-2, INT64_MAX), (0, -1), (3, 2), (-100, 100), (5, 9)):
            for flip in (False, True):
                yield "slice", {"x": x, "axis": axis, "begin": begin, "end": end, "flip": flip}
        yield "slice", {"x": x, "axis": axis, "begin": -(2**63), "end": -(2**63)}
        for before, after in ((0, 0), (1, 0), (0, 2), (2, 3)):
            yield "pad", {"x": x, "axis": axis, "before": before, "after": after}
        for more in (0, 1, 3):
            shape = list(x.shape)
            shape[axis] = more
            other = np.ones(shape, x.dtype)
            yield "concatenate", {"a": x, "b": other, "axis": axis}
            yield "concatenate", {"a": other, "b": x, "axis": axis}
    for x in arrays[:4]:
        yield "reshape", {"x": x, "keep": 1, "shape": [-1]}
        yield "reshape", {"x": x, "keep": 1, "shape": [6, 5]}
        yield "reshape", {"x": x, "keep": 0, "shape": [-1], "tail": 1}
        yield "reshape", {"x": x, "keep": 0, "shape": [2, -1, 1]}
        yield "reshape", {"x": x, "keep": 2, "shape": [1], "tail": 1}
        yield "reshape", {"x": x, "like": _bools(2, 10), "keep": 2, "shape": [], "tail": 1}
        yield "reshape", {"x": x, "like": _integers(8, 1), "keep": 1, "shape": [3, -1]}
        yield "reshape", {"x": x, "keep": 3}
    yield "reshape", {"x": _floats(), "keep": 0, "shape": [1, 1]}
    yield "reshape", {"x": _floats(1, 1), "keep": 0}


def _products() -> Iterator[Case]:
    sizes = [(0, 2, 3, 4), (2, 0, 3, 4), (2, 3, 0, 4), (2, 3, 4, 0), (1, 1, 1, 1), (3, 5, 7, 9), (2, 1, 200, 1)]
    sizes += [(5, 1, 70, 16), (3, 130, 64, 17), (2, 17, 129, 40), (3, 300, 2, 3)]
    for batch, rows, depth, columns in sizes:
        a = _floats(batch, rows, depth)
        yield "batch_product", {"a": a, "b": _floats(batch, depth, columns, seed=1)}
        yield "batch_product", {"a": a, "b": _floats(batch, columns, depth, seed=1), "transpose_b": True}


GROUPS: list[Callable[[], Iterator[Case]]] = [_activate, _combine, _masks, _rows, _layouts, _products]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cases", GROUPS)
def test_matches_reference(isa: str, dtype: str, cases: Callable[[], Iterator[Case]]) -> None:
    for operation, arguments in cases():
        given = _in(dtype, arguments)
        got = compute(operation, given)
        expected = reference.ELEMENTARY[operation](**given)
        what = f"{operation} {[v.shape if isinstance(v, np.ndarray) else v for v in given.values()]}"
        assert got.shape == expected.shape, what
        if got.dtype.kind != "f":
            np.testing.assert_array_equal(got, expected, what)
            continue
        # NaN and infinities are equal, and their places do not count any more.
        finite = np.isfinite(expected)
        np.testing.assert_array_equal(got[~finite], expected[~finite], what)
        if operation in ("transpose", "repeat", "slice", "pad", "concatenate", "reshape", "keep", "last_step"):
            np.testing.assert_array_equal(got, expected, what)
            assert got.dtype == dtype
        else:
            assert_close(got[finite], expected[finite], REFERENCE[dtype], what)


def test_all_operations_have_cases() -> None:
    tested = {operation for cases in GROUPS for operation, _ in cases()}
    assert tested == reference.ELEMENTARY.keys()
    assert tested <= set(core.prediction_operations())
    assert not tested & set(core.operations())


# --- Keras -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_functions_match_keras(dtype: str) -> None:
    from keras import activations, ops

    x = np.concatenate([np.linspace(-30, 30, 1001), _floats(500), [0.0, -0.0, 3.0, -3.0, 6.0]]).astype(dtype)
    functions = {name: getattr(activations, name, None) for name in reference.elementary.POINTWISE}
    functions |= {
        "gelu": lambda x: activations.gelu(x, approximate=False),
        "gelu_tanh": lambda x: activations.gelu(x, approximate=True),
        "elu": lambda x: activations.elu(x, alpha=0.25),
        "leaky_relu": lambda x: activations.leaky_relu(x, negative_slope=0.25),
    }
    del functions["rectifier"]
    for name, function in functions.items():
        expected = ops.convert_to_numpy(function(ops.convert_to_tensor(x)))
        got = compute("activate", {"x": x, "function": name, "alpha": 0.25})
        # TensorFlow rounds the constants of gelu to float32.
        tolerance = STOCK["float32" if name.startswith("gelu") else dtype]
        # Each element relative to its own magnitude; the exponential is large.
        np.testing.assert_allclose(got, expected, tolerance, tolerance, err_msg=name)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rectifier_matches_keras(dtype: str) -> None:
    from keras import activations, ops

    x = _floats(500, scale=4).astype(dtype)
    for slope, most, threshold in itertools.product((0.0, 0.25), (None, 6.0, 1.5), (0.0, 1.0, -1.0)):
        expected = activations.relu(ops.convert_to_tensor(x), slope, most, threshold)
        options = {"alpha": slope, "beta": np.nan if most is None else most, "gamma": threshold}
        got = compute("activate", {"x": x, "function": "rectifier", **options})
        assert_close(got, ops.convert_to_numpy(expected), STOCK[dtype], str(options))


@pytest.mark.parametrize("dtype", DTYPES)
def test_layers_match_keras(dtype: str) -> None:
    from keras import layers, ops

    x, gamma, beta = (_floats(3, 7, 10), _floats(7, 10, seed=1), _floats(7, 10, seed=2))
    x, gamma, beta = (array.astype(dtype) for array in (x, gamma, beta))
    mask = _bools(3, 7)
    wide = _bools(3, 7, 10)
    wide[0, 0] = False

    def check(layer: Any, operation: str, arguments: Arguments, **call: Any) -> None:
        expected = ops.convert_to_numpy(layer(ops.convert_to_tensor(x), **call))
        assert_close(compute(operation, {"x": x, **arguments}), expected, STOCK[dtype], operation)

    check(layers.Softmax(dtype=dtype), "softmax", {})
    check(layers.Softmax(dtype=dtype), "softmax", {"mask": wide}, mask=ops.convert_to_tensor(wide))
    normalization = layers.LayerNormalization(axis=[1, 2], dtype=dtype)
    normalization.build(x.shape)
    normalization.set_weights([gamma, beta])
    check(normalization, "layer_normalization", {"gamma": gamma, "beta": beta, "axes": 2, "epsilon": 1e-3})
    check(layers.RMSNormalization(dtype=dtype), "layer_normalization", {"rms": True, "epsilon": 1e-6})
    check(layers.GlobalAveragePooling1D(dtype=dtype), "reduce", {"how": "mean"})
    pooling = layers.GlobalAveragePooling1D(dtype=dtype)
    check(pooling, "reduce", {"how": "mean", "mask": mask}, mask=ops.convert_to_tensor(mask))
    check(layers.GlobalMaxPooling1D(dtype=dtype), "reduce", {"how": "max"})
    check(layers.Permute((2, 1), dtype=dtype), "transpose", {"permutation": [0, 2, 1]})
    check(layers.UpSampling1D(3, dtype=dtype), "repeat", {"axis": 1, "count": 3})
    check(layers.ZeroPadding1D((1, 2), dtype=dtype), "pad", {"axis": 1, "before": 1, "after": 2})
    check(layers.Cropping1D((1, 2), dtype=dtype), "slice", {"axis": 1, "begin": 1, "end": -2})
    check(layers.Flatten(dtype=dtype), "reshape", {"shape": [-1]})


# --- special values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_and_infinity(dtype: str) -> None:
    special = np.array([np.nan, np.inf, -np.inf, 1.0], dtype)
    for function in reference.elementary.POINTWISE:
        got = compute("activate", {"x": special, "function": function, "alpha": 0.25})
        assert np.isnan(got[0]) or function in ("relu", "hard_sigmoid", "hard_silu"), function
    limits = {"softplus": (np.inf, 0), "elu": (np.inf, -0.25), "relu6": (6, 0), "log_sigmoid": (0, -np.inf)}
    limits |= {"exponential": (np.inf, 0), "leaky_relu": (np.inf, -np.inf)}
    for function, limit in limits.items():
        got = compute("activate", {"x": special, "function": function, "alpha": 0.25})
        np.testing.assert_allclose(got[1:3], limit, err_msg=function)
    np.testing.assert_array_equal(compute("activate", {"x": special, "function": "rectifier"})[1:], [np.inf, 0, 1])
    a, b = np.meshgrid(special, special)
    for how in ("maximum", "minimum", "add"):
        with np.errstate(invalid="ignore"):
            expected = getattr(np, how)(a, b)
        np.testing.assert_array_equal(compute("combine", {"a": a.copy(), "b": b.copy(), "how": how}), expected)
    for shape in ((1, 4), (1, 4, 1), (1, 4, 3)):
        for place in range(4):
            x = np.zeros(shape, dtype)
            x[0, place] = np.nan
            assert np.isnan(compute("reduce", {"x": x, "how": "max"})).all()
    assert np.isnan(compute("softmax", {"x": special[None]})).all()
    np.testing.assert_array_equal(compute("softmax", {"x": special[2:]}), [0, 1])
    np.testing.assert_array_equal(compute("unequal", {"x": special, "value": np.nan}), [True] * 4)


def test_masked_elements_are_not_read() -> None:
    x = np.full((2, 3, 4), np.nan, np.float32)
    mask = np.array([[True, False, True], [False, False, False]])
    x[0, [0, 2]] = 1.0
    np.testing.assert_array_equal(compute("keep", {"x": x, "mask": mask})[:, 1], 0)
    np.testing.assert_array_equal(compute("last_step", {"x": x, "mask": mask}), [[1] * 4, [0] * 4])
    mean = compute("reduce", {"x": x, "mask": mask, "how": "mean"})
    np.testing.assert_array_equal(mean, [[1] * 4, [np.nan] * 4])
    weights = compute("softmax", {"x": x[..., 0].copy(), "mask": mask})
    np.testing.assert_allclose(weights, [[0.5, 0, 0.5], [0, 0, 0]])


def test_reshape_of_nothing() -> None:
    """What -1 is where there are no elements."""

    def shape(x: tuple[int, ...], **options: Any) -> tuple[int, ...]:
        return compute("reshape", {"x": np.zeros(x, np.float32), **options}).shape

    assert shape((0, 3, 4), shape=[-1]) == (0, 12)
    assert shape((0, 0, 4), shape=[-1]) == (0, 0)
    assert shape((5, 0, 4), shape=[-1]) == (5, 0)
    assert shape((0, 12), shape=[3, -1]) == (0, 3, 4)
    assert shape((0, 4), keep=0, shape=[-1], tail=1) == (0, 4)
    assert shape((0, 4), like=np.zeros((0, 7)), keep=2, shape=[], tail=1) == (0, 7, 4)


def test_sums_of_long_sequences() -> None:
    """The error of a sum does not grow with the number of its elements."""
    for shape in ((1, 100_000, 3), (1, 100_000)):
        x = np.random.default_rng(0).random(shape).astype(np.float32)
        assert_close(compute("reduce", {"x": x, "how": "sum"}) / 50_000, x.sum(1, np.float64) / 50_000, 3e-6)


# --- threads ---------------------------------------------------------------------------------------------------------


def _large() -> Iterator[Case]:
    """Calls that are divided among threads."""
    x = _floats(37, 211, 67)
    for function in reference.elementary.POINTWISE:
        yield "activate", {"x": x, "function": function, "alpha": 0.3}
    for other in (_floats(67), _floats(211, 1), _floats(37, 211, 67, seed=1), _floats(37, 1, 1), _floats(1, 1, 1)):
        yield "combine", {"a": x, "b": other, "how": "subtract"}
        yield "combine", {"a": other, "b": x, "how": "subtract"}
    yield "combine_masks", {"a": _bools(1000, 1003), "b": _bools(1000, 1003, seed=1)}
    yield "unequal", {"x": x}
    yield "unequal", {"x": _integers(1000, 1003), "any_last": True}
    yield "keep", {"x": x, "mask": _bools(37, 211)}
    yield "softmax", {"x": x}
    yield "softmax", {"x": x, "mask": x > 0, "log": True}
    yield "layer_normalization", {"x": x}
    for axis in (1, 2):
        yield "reduce", {"x": x, "how": "sum", "axis": axis}
        yield "reduce", {"x": x, "how": "max", "axis": axis}
    yield "reduce", {"x": x, "mask": _bools(37, 211), "how": "mean"}
    yield "reduce", {"x": _floats(1, 1003, 1001), "how": "sum"}
    yield "last_step", {"x": _floats(1000, 2, 1003), "mask": _bools(1000, 2)}
    for permutation in itertools.permutations(range(3)):
        yield "transpose", {"x": x, "permutation": list(permutation)}
    yield "transpose", {"x": _floats(1001, 503), "permutation": [1, 0]}
    for axis in range(3):
        yield "repeat", {"x": x, "axis": axis, "count": 2}
        yield "slice", {"x": x, "axis": axis, "begin": 3}
        yield "slice", {"x": x, "axis": axis, "begin": 3, "end": -5, "flip": True}
        yield "pad", {"x": x, "axis": axis, "before": 2, "after": 3}
        yield "concatenate", {"a": x, "b": x, "axis": axis}
    yield "reshape", {"x": x, "shape": [-1]}
    yield "batch_product", {"a": _floats(13, 100, 150), "b": _floats(13, 150, 130)}
    yield "batch_product", {"a": _floats(13, 100, 150), "b": _floats(13, 133, 150), "transpose_b": True}


@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_for_any_number_of_threads(dtype: str) -> None:
    for operation, arguments in _large():
        given = _in(dtype, arguments)
        runtime.set_num_threads(1)
        expected = compute(operation, given)
        for threads in (2, 3, 7):
            runtime.set_num_threads(threads)
            np.testing.assert_array_equal(compute(operation, given), expected, f"{operation} {threads}")


def test_same_bits_on_every_instruction_set() -> None:
    for cases in (_activate, _products):
        for operation, arguments in cases():
            given = _in("float32", arguments)
            runtime.set_isa("scalar")
            expected = compute(operation, given)
            for isa in runtime.available_isas():
                runtime.set_isa(isa)
                np.testing.assert_array_equal(compute(operation, given), expected, f"{operation} {isa}")


# --- errors ----------------------------------------------------------------------------------------------------------

F = np.zeros((2, 3, 4), np.float32)
D = np.zeros((2, 3, 4))
I64 = np.zeros((2, 3, 4), np.int64)
M = np.zeros((2, 3), bool)
DEEP = np.zeros((1,) * 9, np.float32)

INVALID: list[tuple[str, Arguments, type[Exception], str]] = [
    ("activate", {}, ValueError, "x is required, got None"),
    ("activate", {"x": I64}, TypeError, "x must have dtype float32 or float64, got int64"),
    ("activate", {"x": DEEP}, ValueError, r"x must have at most 8 dimensions, got shape"),
    ("activate", {"x": F, "function": "sine"}, ValueError, "function must be one of tanh, .*, got 'sine'"),
    ("activate", {"x": F, "alpha": np.nan}, ValueError, "alpha must be finite, got nan"),
    ("activate", {"x": F, "beta": -1.0}, ValueError, "beta must be at least 0, or NaN for no maximum, got -1"),
    ("activate", {"x": F, "gamma": np.inf}, ValueError, "gamma must be finite, got inf"),
    ("activate", {"x": F, "alpha": "1"}, TypeError, "alpha must be a number, got str"),
    ("combine", {"a": F}, ValueError, "b is required, got None"),
    ("combine", {"a": M, "b": M}, TypeError, "a must have dtype float32 or float64, got bool"),
    ("combine", {"a": F, "b": D}, TypeError, "b must have dtype float32, got float64"),
    ("combine", {"a": F, "b": F[:, :2].copy()}, ValueError, r"b must .* broadcasts with that of a, \(2, 3, 4\), got"),
    ("combine", {"a": F, "b": F, "how": "power"}, ValueError, "how must be one of add, subtract, .*, got 'power'"),
    ("combine_masks", {"a": F, "b": M}, TypeError, "a must have dtype bool, got float32"),
    ("combine_masks", {"a": M, "b": F}, TypeError, "b must have dtype bool, got float32"),
    ("combine_masks", {"a": M, "b": M[:1]}, ValueError, r"b must have shape \(2, 3\), got \(1, 3\)"),
    ("combine_masks", {"a": M, "b": M, "how": "xor"}, ValueError, "how must be one of and, or, got 'xor'"),
    ("unequal", {"x": M}, TypeError, "x must have dtype float32, float64, int32 or int64, got bool"),
    ("unequal", {"x": np.float32(1)[()], "any_last": True}, TypeError, "x must be a numpy.ndarray, got float32"),
    ("unequal", {"x": np.array(1.0), "any_last": True}, ValueError, r"x must have at least 1 dim.*, got shape \(\)"),
    ("keep", {"x": F[0, 0], "mask": M}, ValueError, "x must have at least 2 dimensions"),
    ("keep", {"x": F}, ValueError, "mask is required, got None"),
    ("keep", {"x": F, "mask": M[:, :2].copy()}, ValueError, r"mask must have shape \(2, 3\), got \(2, 2\)"),
    ("keep", {"x": F, "mask": F[..., 0].copy()}, TypeError, "mask must have dtype bool, got float32"),
    ("softmax", {"x": np.zeros((), np.float32)}, ValueError, "x must have at least 1 dimensions"),
    ("softmax", {"x": F, "mask": M}, ValueError, r"mask must have shape \(2, 3, 4\), got \(2, 3\)"),
    ("layer_normalization", {"x": F, "axes": 0}, ValueError, "axes must be at least 1, got 0"),
    ("layer_normalization", {"x": F, "axes": 4}, ValueError, "axes must be at most 3, got 4"),
    ("layer_normalization", {"x": F, "gamma": F[0]}, ValueError, r"gamma must have shape \(4,\), got \(3, 4\)"),
    ("layer_normalization", {"x": F, "beta": D[0, 0]}, TypeError, "beta must have dtype float32, got float64"),
    ("layer_normalization", {"x": F, "epsilon": -1e-3}, ValueError, "epsilon must be at least 0, got -0.001"),
    ("layer_normalization", {"x": F, "epsilon": np.nan}, ValueError, "epsilon must be at least 0, got nan"),
    ("reduce", {"x": F, "axis": 0}, ValueError, "axis must be at least 1, got 0"),
    ("reduce", {"x": F, "axis": 3}, ValueError, "axis must be at most 2, got 3"),
    ("reduce", {"x": F[0, 0]}, ValueError, "x must have at least 2 dimensions"),
    ("reduce", {"x": F, "mask": M, "how": "max"}, ValueError, "mask is for how = mean only, got how = max"),
    ("reduce", {"x": F, "mask": M, "how": "mean", "axis": 2}, ValueError, r"mask must have shape \(2, 3, 4\), got"),
    ("reduce", {"x": F, "how": "min"}, ValueError, "how must be one of max, mean, sum, got 'min'"),
    ("last_step", {"x": F[0]}, ValueError, r"x must have shape \(batch, timesteps, features\), got \(3, 4\)"),
    ("last_step", {"x": F, "mask": M.T.copy()}, ValueError, r"mask must have shape \(2, 3\), got \(3, 2\)"),
    ("transpose", {"x": F, "permutation": [0, 1]}, ValueError, r"permutation must .* \(2, 3, 4\), once, got \(0, 1\)"),
    ("transpose", {"x": F, "permutation": [0, 1, 1]}, ValueError, r"permutation must .*, once, got \(0, 1, 1\)"),
    ("transpose", {"x": F, "permutation": [0, 1, -1]}, ValueError, r"permutation must .*, once, got \(0, 1, -1\)"),
    ("transpose", {"x": F, "permutation": ["a"]}, TypeError, "permutation must be integers of 64 bits, got list"),
    ("transpose", {"x": F.astype(np.uint8), "permutation": [0, 1, 2]}, TypeError, "x must have dtype .*, got uint8"),
    ("transpose", {"x": F.astype(complex)}, TypeError, "x must have dtype float32, float64, .*, got complex128"),
    ("repeat", {"x": F, "axis": -1}, ValueError, "axis must be at least 0, got -1"),
    ("repeat", {"x": F, "axis": 3}, ValueError, "axis must be at most 2, got 3"),
    ("repeat", {"x": F, "count": -1}, ValueError, "count must be at least 0, got -1"),
    ("repeat", {"x": np.zeros((3, 1 << 20), bool), "axis": 1, "count": 1 << 30}, ValueError, "outputs must have sizes"),
    ("slice", {"x": F, "axis": 3}, ValueError, "axis must be at most 2, got 3"),
    ("slice", {"x": np.zeros((), np.float32)}, ValueError, "x must have at least 1 dimensions"),
    ("slice", {"x": F, "begin": 0.5}, TypeError, "begin must be an int, got float"),
    ("pad", {"x": F, "before": -1}, ValueError, "before must be at least 0, got -1"),
    ("pad", {"x": F, "after": 1 << 40}, ValueError, "after must be at most 2147483647, got"),
    ("concatenate", {"a": F, "b": D}, TypeError, "b must have dtype float32, got float64"),
    ("concatenate", {"a": F, "b": F[0]}, ValueError, r"b must have shape \(2, 3, 4\), got \(3, 4\)"),
    ("concatenate", {"a": F, "b": F[:, :2].copy()}, ValueError, r"b must have shape \(2, 3, 4\), got \(2, 2, 4\)"),
    ("concatenate", {"a": F, "b": F, "axis": 5}, ValueError, "axis must be at most 2, got 5"),
    ("batch_product", {"a": F[0], "b": F}, ValueError, r"a must have shape \(batch, rows, depth\), got \(3, 4\)"),
    ("batch_product", {"a": F, "b": F}, ValueError, r"b must have shape \(2, 4, 4\), got \(2, 3, 4\)"),
    ("batch_product", {"a": F, "b": F[:1], "transpose_b": True}, ValueError, r"b must have shape \(2, 3, 4\), got"),
    ("batch_product", {"a": F, "b": D}, TypeError, "b must have dtype float32, got float64"),
    ("batch_product", {"a": F, "b": F[0]}, ValueError, r"b must have shape \(batch, depth, columns\), got \(3, 4\)"),
    ("reshape", {"x": F, "keep": 4}, ValueError, "keep must be at most 3, got 4"),
    ("reshape", {"x": F, "keep": 2, "tail": 2}, ValueError, "keep must be at most 1, got 2"),
    ("reshape", {"x": F, "tail": 4}, ValueError, "tail must be at most 3, got 4"),
    ("reshape", {"x": F, "like": M, "keep": 3}, ValueError, "keep must be at most 2, got 3"),
    ("reshape", {"x": F, "shape": [-1, -1]}, ValueError, r"shape must have at most one -1, got \(-1, -1\)"),
    ("reshape", {"x": F, "shape": [-2, 3]}, ValueError, "shape must have sizes of 0 or more"),
    ("reshape", {"x": F, "shape": [1 << 40, 1 << 40]}, ValueError, "shape must have sizes of 0 or more and at most 2"),
    ("reshape", {"x": F, "shape": [5]}, ValueError, r"shape must keep .*shape \(2, 3, 4\), got .*\(2, 5\)"),
    ("reshape", {"x": F, "shape": [5, -1]}, ValueError, r"shape must keep .*, got outputs of shape \(2, 5, 2\)"),
    ("reshape", {"x": F, "shape": [1] * 9}, ValueError, "shape must have at most 8 sizes, got 9"),
    ("reshape", {"x": F, "keep": 3, "shape": [1] * 6}, ValueError, "outputs must have at most 8 dimensions, got 9"),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "arguments", "error", "message"), INVALID)
def test_invalid_calls(operation: str, arguments: Arguments, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        core.compute(operation, arguments)


def test_statements() -> None:
    arrays, numbers, options, outputs = core.statement("reshape")
    assert arrays == {"x": ("any", True), "like": ("any", False)}
    assert (numbers, outputs) == ([], {"outputs": False})
    assert options == {"keep": 1, "shape": [], "tail": 0}
    assert core.statement("activate")[2] == {"function": "linear", "alpha": 0.0, "beta": np.inf, "gamma": 0.0}
    with pytest.raises(TypeError, match="softmax takes no argument 'axis'"):
        core.compute("softmax", {"x": F, "axis": 1})
