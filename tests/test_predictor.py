"""`fastseq.Predictor`: predictions of models without a framework, and its files and commands."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import accelerate_cases
import keras
import numpy as np
import prediction_cases
import processes
import pytest
from numpy.typing import NDArray
from processes import in_threads
from tolerances import assert_close

import fastseq
from fastseq import Predictor, cli
from fastseq.keras import FastLSTM
from fastseq.prediction import UnsupportedLayerError
from fastseq.training.models import MODELS

# Keras tells of layers that destroy masks.
pytestmark = pytest.mark.filterwarnings("ignore:.*does not support masking:UserWarning")

TOLERANCE = 1e-5
PACKAGE = Path(fastseq.__file__).parent
layers = keras.layers


def flat(outputs: Any) -> list[NDArray[Any]]:
    return [keras.ops.convert_to_numpy(one) for one in keras.tree.flatten(outputs)]


def check(model: Any, inputs: Any, calls: int = 1) -> Predictor:
    """Compares a predictor with its model, for several numbers of threads."""
    predictor, other = Predictor(model), Predictor(model)
    arrays = keras.tree.map_structure(keras.ops.convert_to_numpy, inputs)
    for _ in range(calls):
        expected = model(inputs)
        got = predictor(arrays)
        keras.tree.assert_same_structure(got, expected)
        for one, wanted, again in zip(flat(got), flat(expected), flat(other(arrays, threads=1)), strict=True):
            assert_close(one, wanted, TOLERANCE)
            np.testing.assert_array_equal(one, again)
    return predictor


def ids_of(model: Any, rows: int, *, seed: int = 0) -> NDArray[Any]:
    ids = np.random.default_rng(seed).integers(1, 300, (rows, *model.inputs[0].shape[1:])).astype("int32")
    ids[0, :40] = ids[rows // 2] = 0
    return ids


@pytest.mark.parametrize("kind", ["fast", "stock"])
@pytest.mark.parametrize("name", MODELS)
def test_models_of_train(name: str, kind: Any) -> None:
    spec = MODELS[name]
    for mask_zero in (False, True) if spec.has_embedding else (False,):
        model = spec.build(kind, mask_zero=mask_zero)
        x = np.random.default_rng(0).standard_normal((5, *model.inputs[0].shape[1:])).astype("float32")
        x = ids_of(model, 5) if spec.has_embedding else x
        predictor = check(model, x)
        whole = predictor(x)
        np.testing.assert_array_equal(np.concatenate([predictor(x[:2]), predictor(x[2:])]), whole)


@pytest.mark.parametrize("name", accelerate_cases.CASES)
def test_architectures(name: str) -> None:
    if name in ("not_built", "subclassed", "cells"):
        pytest.skip("there is no graph of its layers")
    model, inputs = accelerate_cases.CASES[name]()
    check(model, inputs, calls=2)


@pytest.mark.parametrize("name", prediction_cases.CASES)
def test_mixed_layers(name: str) -> None:
    model, inputs = prediction_cases.CASES[name]()
    check(model, inputs, calls=3)


def small_model(**options: Any) -> Any:
    return keras.Sequential(
        [keras.Input((None,), dtype="int32", name="words"), layers.Embedding(50, 8), FastLSTM(6), layers.Dense(3)],
        **options,
    )


def series_model(*, timesteps: int | None = 7, **input_: Any) -> Any:
    inputs = keras.Input((timesteps, 2), name="series", **input_)
    return keras.Sequential([inputs, layers.LSTM(4), layers.Dense(1)])


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX has no float64 unless a program asks for it")
def test_float64() -> None:
    x = np.random.default_rng(0).standard_normal((3, 7, 2))
    inputs = keras.Input((7, 2), dtype="float64", name="series")
    model = keras.Sequential([inputs, layers.GRU(4, dtype="float64"), layers.Dense(1, dtype="float64")])
    predictor = Predictor(model)
    assert predictor(x).dtype == np.float64
    # On PyTorch, stock Keras's products of float64 are exact to float32 only.
    exact = keras.backend.backend() != "torch"
    np.testing.assert_allclose(predictor(x), flat(model(x))[0], rtol=1e-7, atol=1e-13 if exact else 1e-6)


def test_weights_are_copies() -> None:
    model = series_model()
    x = np.ones((2, 7, 2), "float32")
    predictor = Predictor(model)
    before = predictor(x)
    model.set_weights([2 * weights for weights in model.get_weights()])
    np.testing.assert_array_equal(predictor(x), before)
    assert_close(Predictor(model)(x), flat(model(x))[0], TOLERANCE)


def test_batches_and_lengths_may_differ() -> None:
    model = small_model()
    predictor = Predictor(model)
    for rows, steps in ((1, 5), (7, 3), (1, 5), (0, 4), (2, 90)):
        ids = np.random.default_rng(0).integers(0, 50, (rows, steps))
        got = predictor(ids)
        assert got.shape == (rows, 3)
        if rows:
            assert_close(got, flat(model(ids))[0], TOLERANCE)


def test_a_large_batch() -> None:
    predictor = Predictor(small_model())
    ids = np.random.default_rng(0).integers(0, 50, (200_000, 20)).astype("int32")
    got = predictor(ids)
    for rows in (slice(0, 3), slice(-3, None)):
        np.testing.assert_array_equal(predictor(ids[rows]), got[rows])
    assert predictor.nbytes < 150e6


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.ones((2, 7), "float32"), r"series must have 3 dimensions, got shape \(2, 7\)"),
        (np.ones((2, 7, 3), "float32"), r"series must have shape \(batch, 7, 2\), got \(2, 7, 3\)"),
        (np.ma.ones((2, 7, 2)), "series must be an array without a mask"),
        (np.full((2, 7, 2), 2**63 - 1), "series must have dtype float32, .*, got int64"),
        (np.ones((2, 7, 2)), "series must have dtype float32, .*, got float64; .astype.'float32'. rounds them"),
        (np.full((2, 7, 2), 2**24 + 1), "series must have dtype float32, .*, got int64"),
        (np.ones((2, 7, 2), "complex64"), "series must have dtype float32, got complex64"),
        (np.full((2, 7, 2), "a"), "series must have dtype float32, got <U1"),
        (None, "series must have dtype float32, got object"),
    ],
)
def test_wrong_floats(inputs: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        Predictor(series_model())(inputs)


def test_floats_that_need_no_rounding() -> None:
    predictor = Predictor(series_model())
    x = np.random.default_rng(0).standard_normal((4, 7, 2)).astype("float16")
    expected = predictor(x.astype("float32"))
    for same in (x, x.astype("float32").tolist(), np.asfortranarray(x.astype("float32")), x.astype(">f4")):
        np.testing.assert_array_equal(predictor(same), expected)
    np.testing.assert_array_equal(predictor(np.repeat(x, 2, 0).astype("float32")[::2]), expected)
    for dtype in ("int8", "int64", "uint32"):
        np.testing.assert_array_equal(predictor(np.ones((1, 7, 2), dtype)), predictor(np.ones((1, 7, 2), "float32")))
    assert np.isnan(predictor(np.full((1, 7, 2), np.nan, "float32"))).all()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.full((1, 4), 50), r"embedding.*ids must be in \[0, 50\), got 50 at \(0, 0\)|lstm.*got 50 at \(0, 0\)"),
        (np.full((1, 4), -1), r"ids must be in \[0, 50\), got -1 at \(0, 0\)"),
        (np.full((1, 4), 1.5), "words must have ids, which are whole numbers"),
        (np.full((1, 4), np.nan), "words must have ids, which are whole numbers"),
        (np.full((1, 4), 1e30), "words must have ids, which are whole numbers"),
        (np.ones((1, 4), "uint64"), "words must have ids of an integer dtype up to int64, got uint64"),
        (np.ones((1, 4), bool), "words must have ids of an integer dtype up to int64, got bool"),
        (np.ones(4, "int32"), r"words must have 2 dimensions, got shape \(4,\)"),
        ([["a"]], "words must have ids"),
    ],
)
def test_wrong_ids(inputs: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        Predictor(small_model())(inputs)


def test_ids_of_any_integer_dtype() -> None:
    predictor = Predictor(small_model())
    ids = np.random.default_rng(0).integers(0, 50, (3, 4))
    for same in (ids.astype("int32"), ids.astype("uint8"), ids.astype("float64"), ids.tolist(), ids.T.copy().T):
        np.testing.assert_array_equal(predictor(same), predictor(ids))


@pytest.mark.parametrize(
    ("threads", "error", "message"),
    [
        (0, ValueError, "threads must be at least 1, got 0"),
        (1.0, TypeError, "threads must be an int or None, got float"),
        (True, TypeError, "threads must be an int or None, got bool"),
        (2**31, ValueError, "threads must be at most 2147483647, got 2147483648"),
    ],
)
def test_wrong_threads(threads: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Predictor(series_model())(np.ones((1, 7, 2), "float32"), threads=threads)


def test_one_input_in_other_forms() -> None:
    predictor, x = Predictor(series_model()), np.ones((2, 7, 2), "float32")
    for same in ([x], (x,), {"series": x}):
        np.testing.assert_array_equal(predictor(same), predictor(x))
    np.testing.assert_array_equal(predictor(x, threads=np.int64(1)), predictor(x))
    assert repr(predictor).startswith("<fastseq.Predictor from series to ")


def test_any_length_where_the_input_has_none() -> None:
    predictor = Predictor(series_model(timesteps=None))
    assert predictor(np.ones((2, 3, 2), "float32")).shape == (2, 1)
    with pytest.raises(ValueError, match=r"series must have shape \(batch, any, 2\), got \(2, 3, 5\)"):
        predictor(np.ones((2, 3, 5), "float32"))


def test_tables_are_bounded() -> None:
    inputs = keras.Input((10,), dtype="int32")
    words = layers.Embedding(20_000, 8)(inputs)
    convolved = [layers.GlobalMaxPooling1D()(layers.Conv1D(100, width)(words)) for width in range(2, 8)]
    model = keras.Model(inputs, layers.Concatenate()(convolved))
    predictor = check(model, np.arange(20).reshape(2, 10).astype("int32"))
    assert predictor.nbytes < 4 * model.count_params() + (65 << 20) + 4e6


def test_bytes() -> None:
    model = small_model()
    predictor = Predictor(model)
    table = 4 * 50 * 4 * 6
    before = predictor.nbytes
    assert before == 4 * model.count_params() + table
    predictor(np.ones((2, 5), "int32"))
    assert predictor.nbytes > before


def test_several_inputs() -> None:
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    by_name = keras.Model({"a": a, "b": b}, {"sum": layers.Add()([a, b]), "same": a})
    as_list = keras.Model([a, b], [layers.Add()([a, b]), a])
    x, y = np.ones((2, 3), "float32"), np.full((2, 3), 2, "float32")
    for predictor, inputs in ((Predictor(by_name), {"b": y, "a": x}), (Predictor(as_list), [x, y])):
        first, second = keras.tree.flatten(predictor(inputs))
        assert {first.sum(), second.sum()} == {6, 18}
    np.testing.assert_array_equal(Predictor(as_list)({"a": x, "b": y})[0], x + y)
    with pytest.raises(ValueError, match=r"inputs must have the keys \['a', 'b'\], got \['a'\]"):
        Predictor(by_name)({"a": x})
    with pytest.raises(TypeError, match=r"inputs must be a dict of 2 arrays \(a, b\), got list"):
        Predictor(by_name)([x, y])
    with pytest.raises(ValueError, match="inputs must be 2 arrays, got 1"):
        Predictor(as_list)([x])
    with pytest.raises(TypeError, match=r"inputs must be a list of 2 arrays \(a, b\), got ndarray"):
        Predictor(as_list)(x)
    with pytest.raises(ValueError, match="all inputs must have the same number of rows"):
        Predictor(as_list)([x, y[:1]])


def stateful_model() -> Any:
    inputs = keras.Input(batch_shape=(2, 5, 3), name="series")
    return keras.Sequential(
        [inputs, layers.LSTM(4, stateful=True, return_sequences=True), layers.GRU(3, stateful=True)]
    )


def test_states() -> None:
    model = stateful_model()
    predictor = Predictor(model)
    x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype("float32")
    first, second = predictor(x), predictor(x)
    assert np.abs(first - second).max() > 1e-3
    predictor.reset_states()
    np.testing.assert_array_equal(predictor(x), first)
    predictor.summary(x)
    np.testing.assert_array_equal(predictor(x), second)
    with pytest.raises(ValueError, match="all inputs must have the same number of rows: series has 1"):
        predictor(x[:1])
    np.testing.assert_array_equal(copy.deepcopy(predictor)(x), first)  # a copy begins with zero states


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_stateful_predictor_forked_during_a_call(tmp_path: Path) -> None:
    Predictor(stateful_model()).save(tmp_path / "model.fastseq")
    code = (
        "import os, sys, numpy as np; from fastseq import Predictor\n"
        "predictor = Predictor.load(sys.argv[1])\n"
        "predictor._one_by_one().acquire()\n"  # as another thread has it in a call
        "if (child := os.fork()) == 0:\n"
        "    predictor(np.ones((2, 5, 3), 'float32')); os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
    )
    done = processes.run("-c", code, str(tmp_path / "model.fastseq"))
    assert done.returncode == 0, done.stderr


def test_states_are_not_mixed_by_threads() -> None:
    predictor = Predictor(stateful_model())
    x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype("float32")
    in_turn = [predictor(x) for _ in range(40)]
    predictor.reset_states()
    got: list[NDArray[Any]] = []
    in_threads(lambda _: got.extend(predictor(x) for _ in range(10)), 4)
    assert sorted(one.tobytes() for one in got) == sorted(one.tobytes() for one in in_turn)


def test_threads_that_call_at_the_same_time() -> None:
    predictor = Predictor(small_model())
    ids = [np.random.default_rng(seed).integers(0, 50, (seed + 1, 30)) for seed in range(6)]
    expected = [predictor(one) for one in ids]

    def call(number: int) -> None:
        for _ in range(30):
            np.testing.assert_array_equal(predictor(ids[number]), expected[number])

    in_threads(call, 6)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork")
def test_forked_processes_predict(tmp_path: Path) -> None:
    run = (
        "import multiprocessing, sys, numpy as np; from fastseq import Predictor\n"
        "predictor = Predictor.load(sys.argv[1]); ids = np.arange(200).reshape(4, 50) % 50\n"
        "expected = predictor(ids)\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool:\n"
        "    assert all((one == expected).all() for one in pool.map(predictor, [ids] * 4))\n"
    )
    Predictor(small_model()).save(tmp_path / "model.fastseq")
    done = processes.run("-c", run, str(tmp_path / "model.fastseq"))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["small", "stateful", "dicts"])
def test_files_and_pickles(name: str, tmp_path: Path) -> None:
    model, x = {
        "small": lambda: (small_model(), np.arange(6).reshape(2, 3)),
        "stateful": lambda: (stateful_model(), np.ones((2, 5, 3), "float32")),
        "dicts": prediction_cases.CASES["dict_inputs_and_outputs"],
    }[name]()
    x = keras.tree.map_structure(keras.ops.convert_to_numpy, x)
    predictor = Predictor(model)
    predictor.save(tmp_path / "model.fastseq")
    expected = flat(predictor(x))
    for same in (Predictor.load(tmp_path / "model.fastseq"), pickle.loads(pickle.dumps(Predictor(model)))):
        assert same.input_names == predictor.input_names
        assert same.output_names == predictor.output_names
        for one, other in zip(flat(same(x)), expected, strict=True):
            np.testing.assert_array_equal(one, other)
    assert os.listdir(tmp_path) == ["model.fastseq"]


def test_files_of_another_program_or_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "model.fastseq"
    path.write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(ValueError, match=r"model\.fastseq is not a file of fastseq\.Predictor that can be read"):
        Predictor.load(path)
    with pytest.raises(FileNotFoundError):
        Predictor.load(tmp_path / "other.fastseq")
    Predictor(small_model()).save(path)
    path.write_bytes(path.read_bytes().replace(b'"lstm_predict"', b'"lstm_forgets"'))
    with pytest.raises(ValueError, match=r"is not a file of fastseq\.Predictor that can be"):
        Predictor.load(path)


def test_summary(capsys: pytest.CaptureFixture[str]) -> None:
    predictor = Predictor(small_model())
    predictor.summary()
    assert "dense" in capsys.readouterr().out
    predictor.summary(np.ones((2, 5), "int32"))
    printed = capsys.readouterr().out
    assert "microseconds" in printed
    assert "(2, 3)" in printed
    assert f"{4 * (50 * 8 + 4 * 6 * (8 + 6 + 1) + 6 * 3 + 3):,} bytes of weights" in printed


def test_refusals_name_the_layer() -> None:
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Lambda(lambda x: 2 * x, name="twice")(inputs))
    with pytest.raises(UnsupportedLayerError, match="twice"):
        Predictor(model)
    with pytest.raises(TypeError, match="model must be a Keras model"):
        Predictor("model.keras")


# --- without frameworks -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def numpy_alone(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command of a Python that has fastseq and NumPy, and no other package."""
    packages = tmp_path_factory.mktemp("packages")
    found = Path(np.__file__).parent
    for source in (found, found.parent / "numpy.libs", PACKAGE, PACKAGE.parent / "fastseq.libs"):
        if source.exists():
            (packages / source.name).symlink_to(source)
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); exec(compile(sys.argv.pop(1), 'code', 'exec'))"
    return [sys.executable, "-I", "-S", "-c", code, str(packages)]


def run_alone(command: list[str], code: str, *arguments: str) -> str:
    done = subprocess.run([*command, code, *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_numpy_is_enough(numpy_alone: list[str], tmp_path: Path) -> None:
    """A file is served where neither Keras nor a framework is installed, and loading it imports none."""
    path = tmp_path / "model.fastseq"
    predictor = Predictor(small_model())
    predictor.save(path)
    ids = np.arange(12).reshape(3, 4)
    np.save(tmp_path / "expected.npy", predictor(ids))
    code = (
        "import sys, numpy as np\n"
        "try: import keras\n"
        "except ImportError: pass\n"
        "else: sys.exit('keras is installed here')\n"
        "from fastseq import Predictor\n"
        "got = Predictor.load(sys.argv[1])(np.arange(12).reshape(3, 4))\n"
        "assert (got == np.load(sys.argv[2])).all()\n"
    )
    run_alone(numpy_alone, code, str(path), str(tmp_path / "expected.npy"))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells the resident memory there")
def test_import_is_small(numpy_alone: list[str], tmp_path: Path) -> None:
    """fastseq with a loaded predictor takes less than 60 MB and 150 ms beyond Python with NumPy."""
    path = tmp_path / "model.fastseq"
    Predictor(small_model()).save(path)
    code = (
        "import resource, sys, time, numpy as np\n"
        "def resident(): return int(open('/proc/self/statm').read().split()[1]) * resource.getpagesize()\n"
        "before = resident()\n"
        "began = time.process_time()\n"
        "from fastseq import Predictor\n"
        "predictor = Predictor.load(sys.argv[1])\n"
        "seconds = time.process_time() - began\n"
        "predictor(np.ones((1, 5), 'int32'))\n"
        "print(resident() - before, seconds)\n"
    )
    runs = [run_alone(numpy_alone, code, str(path)).split() for _ in range(3)]
    assert 1e6 < min(float(taken) for taken, _ in runs) < 60e6
    assert min(float(seconds) for _, seconds in runs) < 0.150


# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def exported(tmp_path: Path) -> tuple[Any, Path]:
    model = small_model()
    model.save(tmp_path / "model.keras")
    assert cli.main(["export", str(tmp_path / "model.keras")]) == 0
    return model, tmp_path / "model.fastseq"


def test_export_and_predict(exported: tuple[Any, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, path = exported
    assert cli.main(["export", str(path.with_suffix(".keras")), "--output", str(path)]) == 0
    assert capsys.readouterr().out.startswith(f"Wrote {path}: ")
    ids = np.random.default_rng(0).integers(0, 50, (4, 6))
    expected = Predictor(model)(ids)
    np.save(tmp_path / "rows.npy", ids)
    (tmp_path / "rows.csv").write_text("\n".join(",".join(map(str, row)) for row in ids) + "\n")
    for rows in ("rows.npy", "rows.csv"):
        command = ["predict", str(path), "--input", str(tmp_path / rows)]
        assert cli.main([*command, "--threads", "1"]) == 0
        printed = [[float(cell) for cell in line.split(",")] for line in capsys.readouterr().out.splitlines()]
        np.testing.assert_array_equal(np.array(printed, "float32"), expected)
        assert cli.main([*command, "--output", str(tmp_path / "out.npy")]) == 0
        np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)
        assert cli.main([*command, "--output", str(tmp_path / "out.csv")]) == 0
        np.testing.assert_array_equal(np.loadtxt(tmp_path / "out.csv", "float32", delimiter=","), expected)


def test_predict_with_several_inputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    Predictor(keras.Model([a, b], [a, b])).save(tmp_path / "model.fastseq")
    np.savez(tmp_path / "rows.npz", a=np.ones((2, 3), "float32"), b=np.zeros((2, 2), "float32"))
    command = ["predict", str(tmp_path / "model.fastseq"), "--input"]
    assert cli.main([*command, str(tmp_path / "rows.npz")]) == 0
    assert capsys.readouterr().out == "1.0,1.0,1.0,0.0,0.0\n" * 2
    assert cli.main([*command, str(tmp_path / "rows.npz"), "--output", str(tmp_path / "out.npy")]) == 2
    assert "--output must end with .csv" in capsys.readouterr().err
    np.save(tmp_path / "rows.npy", np.ones((2, 3)))
    assert cli.main([*command, str(tmp_path / "rows.npy")]) == 2
    assert "the model has the inputs a, b: give their arrays as an .npz file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.csv", "1,2\n3,x\n", r"rows.csv, row 2: expected numbers with commas between them, got \['3', 'x'\]"),
        ("rows.csv", "1,2\n3\n", "row 2: expected 2 numbers as before, got 1"),
        ("rows.csv", "", "has no rows"),
        ("rows.csv", "1,99\n", r"ids must be in \[0, 50\), got 99"),
        ("rows.npy", "nothing", "rows.npy is not a file of arrays"),
        ("rows.npz", "PK\x03\x04 and so on", "rows.npz is not a file of arrays"),
        ("rows.csv", "1," + "2" * 200_000, "rows.csv is not a CSV file"),
        ("rows.txt", "1,2", "rows.txt must end with .npy, .csv or .npz"),
        (None, "", "No such file"),
    ],
)
def test_bad_rows(
    exported: tuple[Any, Path], name: str | None, content: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = exported[1]
    rows = path.with_name(name or "absent.npy")
    if name:
        rows.write_text(content)
    assert cli.main(["predict", str(path), "--input", str(rows)]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("fastseq predict: error: ")
    assert re.search(message, errors), errors


def test_bad_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["export", str(tmp_path / "absent.keras")])
    assert "cannot read" in capsys.readouterr().err
    (tmp_path / "model.keras").write_bytes(b"nothing")
    assert cli.main(["export", str(tmp_path / "model.keras")]) == 2
    assert "fastseq export: error: cannot read" in capsys.readouterr().err
    inputs = keras.Input((8, 8, 1))
    keras.Model(inputs, layers.Conv2D(2, 3, name="picture")(inputs)).save(tmp_path / "picture.keras")
    assert cli.main(["export", str(tmp_path / "picture.keras"), "-o", str(tmp_path / "out.fastseq")]) == 2
    assert "picture" in capsys.readouterr().err
    assert not (tmp_path / "out.fastseq").exists()
    (tmp_path / "bad.fastseq").write_bytes(b"nothing")
    assert cli.main(["predict", str(tmp_path / "bad.fastseq"), "--input", str(tmp_path / "rows.npy")]) == 2
    assert "bad.fastseq is not a file of fastseq.Predictor" in capsys.readouterr().err
