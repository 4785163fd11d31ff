"""Exported models run without fastseq, unless the user asks for fastseq's operations."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from processes import run_python
from tensorflow.core.protobuf import saved_model_pb2
from tolerances import HALF, assert_close

import fastseq.keras as fast
from fastseq.keras import accelerate, export_native, to_stock

CLOSE = 1e-5
IDS = np.random.default_rng(0).integers(1, 12, (2, 9)).astype("int32")
IDS[0, 5:] = IDS[1, :3] = 0
SIGNAL = np.random.default_rng(1).standard_normal((2, 9, 4)).astype("float32")


def _sequential(x: Any, *parts: Any, batch: int | None = None) -> Any:
    model = keras.Sequential([keras.Input(x.shape[1:], batch_size=batch, dtype=x.dtype), *parts])
    rng = np.random.default_rng(2)
    for weight in model.weights:  # large enough to tell one step from another
        if "float" in weight.dtype and "state" not in weight.name:
            weight.assign(rng.normal(0, 0.5, weight.shape))
    return model


def _recurrent(dtype: str | None = None) -> Any:
    return _sequential(
        IDS,
        fast.FastEmbedding(12, 4, mask_zero=True, dtype=dtype),
        layers.Bidirectional(fast.FastLSTM(3, return_sequences=True, dtype=dtype), dtype=dtype),
        fast.FastRNN(layers.GRUCell(4, dtype=dtype), return_sequences=True, go_backwards=True, dtype=dtype),
        fast.FastGRU(3, return_sequences=True, zero_output_for_mask=True, dtype=dtype),
        fast.FastSimpleRNN(3, dtype=dtype),
    )


def _convolutional() -> Any:
    return _sequential(
        SIGNAL,
        layers.SpatialDropout1D(0.2),
        layers.Conv1D(6, 3, activation="relu"),
        layers.MaxPooling1D(2),
        layers.Dropout(0.2),
        layers.AveragePooling1D(2, padding="same"),
        layers.LSTM(3),
    )


def _patched() -> Any:
    with fast.patch():
        return _convolutional()


def _without_stock_twins() -> Any:
    return _sequential(
        IDS,
        fast.FastEmbedding(12, 4),
        fast.FastConv1DMaxPooling1D(5, 3, activation="tanh"),
        fast.FastAttention(4),
    )


def _encoder_decoder() -> Any:
    inputs = keras.Input((9, 4))
    _, *states = fast.FastLSTM(5, return_state=True)(inputs)
    return keras.Model(inputs, fast.FastLSTM(5, return_sequences=True)(inputs, initial_state=states))


CASES: dict[str, tuple[Callable[[], Any], Any]] = {
    "by hand": (_recurrent, IDS),
    "patched": (_patched, SIGNAL),
    "accelerated": (lambda: accelerate(_convolutional(), verbose=False), SIGNAL),
    "without stock twins": (_without_stock_twins, IDS),
    "states": (_encoder_decoder, SIGNAL),
    "stateful": (lambda: _sequential(SIGNAL, fast.FastLSTM(3, stateful=True), batch=2), SIGNAL),
    "float16": (lambda: _recurrent("float16"), IDS),
    "mixed_bfloat16": (lambda: _recurrent("mixed_bfloat16"), IDS),
}

IN_A_FRESH_PROCESS = """
import sys, numpy as np, tensorflow as tf
sys.modules["fastseq"] = None
names = {names!r}
x, found = np.load("{folder}/x.npz"), {{}}
for name in names:
    exported, saved = (tf.saved_model.load(f"{folder}/{{name}}/{{way}}") for way in ("exported", "saved"))
    signature = saved.signatures["serving_default"]
    for way, run in (("exported", exported.serve), ("saved", lambda x: list(signature(x).values())[0])):
        for time in range(2):
            found[f"{{name}} {{way}} {{time}}"] = tf.cast(run(tf.constant(x[name])), tf.float64)
np.savez("{folder}/found.npz", **found)
"""


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What all cases give, here and in a process that cannot import fastseq: by name, way and time."""
    folder = tmp_path_factory.mktemp("exports")
    results: dict[str, Any] = {}
    for name, (build, x) in CASES.items():
        model = build()
        model.export(folder / name / "exported", verbose=False)
        tf.saved_model.save(model, str(folder / name / "saved"))
        assert _operations(folder / name / "exported") == _operations(folder / name / "saved") == set()
        for time in range(2):
            results[f"{name} here {time}"] = np.asarray(tf.cast(model.predict_on_batch(x), tf.float64))
    np.savez(folder / "x.npz", **{name: x for name, (_, x) in CASES.items()})
    done = run_python(IN_A_FRESH_PROCESS.format(folder=folder, names=list(CASES)))
    assert done.returncode == 0, done.stderr[-2000:]
    return {**results, **np.load(folder / "found.npz")}


def _operations(folder: Path) -> set[str]:
    """The types of fastseq's operations in a SavedModel."""
    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    graphs = [meta.graph_def for meta in saved.meta_graphs]
    nodes = [
        node
        for graph in graphs
        for part in (graph.node, *(f.node_def for f in graph.library.function))
        for node in part
    ]
    return {node.op for node in nodes if node.op.startswith("Fastseq")}


@pytest.mark.parametrize("way", ["exported", "saved"])
@pytest.mark.parametrize("name", CASES)
def test_saved_models_need_no_fastseq(name: str, way: str, everywhere: dict[str, Any]) -> None:
    for time in range(2):
        expected = everywhere[f"{name} here {time}"]
        assert_close(everywhere[f"{name} {way} {time}"], expected, HALF if "float16" in name else CLOSE)


def test_states_go_on(everywhere: dict[str, Any]) -> None:
    """Else what is said above of the second time would mean nothing."""
    for way in ("here", "exported", "saved"):
        assert np.ptp(everywhere[f"stateful {way} 0"] - everywhere[f"stateful {way} 1"]) > 10 * CLOSE


# --- other formats ----------------------------------------------------------------------------------------------------


def _need(*modules: str) -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not here")


def _quietly(export: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Without what exporters themselves warn of; and with fastseq's warnings for errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", fast.NativeFallbackWarning)
        return export(*arguments, **named)


def _run_onnx(file: Path, x: Any) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file))
    return session.run(None, {session.get_inputs()[0].name: x})[0]


@pytest.mark.parametrize("build", [_recurrent, _patched])
def test_onnx(build: Callable[[], Any], tmp_path: Path) -> None:
    _need("keras.src.export.onnx", "tf2onnx", "onnxruntime")
    model = build()
    x = IDS if model.inputs[0].dtype == "int32" else SIGNAL
    expected = model.predict_on_batch(x)
    _quietly(model.export, tmp_path / "model.onnx", format="onnx", verbose=False)
    assert_close(_run_onnx(tmp_path / "model.onnx", x), expected, CLOSE)


def test_tf2onnx(tmp_path: Path) -> None:
    _need("tf2onnx", "onnxruntime")
    import tf2onnx

    model, file = _recurrent(), tmp_path / "model.onnx"
    spec = [tf.TensorSpec((None, 9), tf.int32)]
    _quietly(tf2onnx.convert.from_function, tf.function(model), spec, output_path=str(file))
    assert_close(_run_onnx(file, IDS), model.predict_on_batch(IDS), CLOSE)


def test_openvino(tmp_path: Path) -> None:
    """Without recurrent layers: it has no stock Keras's loops either."""
    _need("keras.src.export.openvino", "openvino", "scipy")
    import openvino

    model, x = _without_stock_twins(), IDS
    _quietly(model.export, str(tmp_path / "model.xml"), format="openvino", verbose=False)
    compiled = openvino.Core().compile_model(str(tmp_path / "model.xml"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert_close(compiled(x)[0], model.predict_on_batch(x), 1e-4)


def _convert(model: Any, file: Path) -> None:
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    file.write_bytes(converter.convert())


def _export_litert(model: Any, file: Path) -> None:
    _need("keras.src.export.litert")
    model.export(file, format="litert", verbose=False)


@pytest.mark.parametrize("convert", [_convert, _export_litert])
def test_litert(convert: Callable[[Any, Path], None], tmp_path: Path) -> None:
    file = tmp_path / "model.tflite"
    _quietly(convert, _recurrent(), file)
    assert b"Fastseq" not in file.read_bytes()  # not run: stock Keras's loops need operations that wheels leave out
    model = _sequential(
        SIGNAL,
        fast.FastConv1D(6, 3, activation="relu"),
        fast.FastMaxPooling1D(2),
        fast.FastConv1DMaxPooling1D(3, 2),
        batch=2,
    )
    _quietly(convert, model, file)
    interpreter = _quietly(tf.lite.Interpreter, str(file))
    runner = interpreter.get_signature_runner()
    (name,) = runner.get_input_details()
    (outputs,) = runner(**{name: SIGNAL}).values()
    assert_close(outputs, model.predict_on_batch(SIGNAL), CLOSE)


# --- fastseq's operations, where they are asked for -------------------------------------------------------------------

OF_RECURRENT = {f"Fastseq{name}Forward" for name in ("Embedding", "Lstm", "Gru", "SimpleRnn")}


def test_export_native(tmp_path: Path) -> None:
    model = _recurrent()
    with export_native():
        model.export(tmp_path / "exported", verbose=False)
        tf.saved_model.save(model, str(tmp_path / "saved"))
    assert _operations(tmp_path / "exported") == _operations(tmp_path / "saved") == OF_RECURRENT
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    assert_close(loaded.serve(IDS), model.predict_on_batch(IDS), 0.0)
    with pytest.raises(ZeroDivisionError), export_native():
        _ = 1 / 0
    model.export(tmp_path / "stock", verbose=False)
    assert _operations(tmp_path / "stock") == set()


def test_export_native_keeps_one_pass(tmp_path: Path) -> None:
    model = _sequential(SIGNAL, fast.FastConv1D(5, 3), fast.FastMaxPooling1D(2))
    with export_native():
        model.export(tmp_path / "native", verbose=False)
    assert "FastseqConv1dForward" in _operations(tmp_path / "native")


def test_use_native_is_kept_in_saved_models(tmp_path: Path) -> None:
    model = _sequential(SIGNAL, fast.FastGRU(3, return_sequences=True), fast.FastLSTM(3, use_native=True))
    model.export(tmp_path / "exported", verbose=False)
    tf.saved_model.save(model, str(tmp_path / "saved"))
    assert _operations(tmp_path / "exported") == _operations(tmp_path / "saved") == {"FastseqLstmForward"}
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    assert_close(loaded.serve(SIGNAL), model.predict_on_batch(SIGNAL), CLOSE)


def test_use_native_where_the_format_has_no_such_operations(tmp_path: Path) -> None:
    _need("keras.src.export.litert")
    model = _sequential(SIGNAL, fast.FastLSTM(3, use_native=True))
    with pytest.raises(ValueError, match=r"LiteRT has no such operations; call fastseq\.keras\.to_stock\(model\)"):
        _quietly(model.export, tmp_path / "model.tflite", format="litert", verbose=False)
    _quietly(to_stock(model).export, tmp_path / "model.tflite", format="litert", verbose=False)


# --- functions that were traced before --------------------------------------------------------------------------------


class _Served(tf.Module):  # type: ignore[misc]
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.serve = tf.function(lambda x: self.model(x), input_signature=[tf.TensorSpec((None, 9, 4))])


@pytest.fixture
def served() -> _Served:
    """With its function traced."""
    module = _Served(_sequential(SIGNAL, fast.FastConv1D(5, 3), fast.FastLSTM(3)))
    module.serve(SIGNAL)
    return module


def test_functions_are_traced_anew(served: _Served, tmp_path: Path) -> None:
    tf.saved_model.save(served, str(tmp_path / "found"))
    tf.saved_model.save(served, str(tmp_path / "given"), signatures=served.serve)
    archive = keras.export.ExportArchive()
    archive.track(served.model)
    archive.add_endpoint("serve", served.model, [tf.TensorSpec((None, 9, 4))])
    archive.write_out(str(tmp_path / "archive"), verbose=False)
    for name in ("found", "given", "archive"):
        assert _operations(tmp_path / name) == set()
    assert any(
        node.type == "FastseqLstmForward" for node in served.serve.get_concrete_function().graph.get_operations()
    )


def test_concrete_functions_are_refused(served: _Served, tmp_path: Path) -> None:
    concrete, folder = served.serve.get_concrete_function(), tmp_path / "saved"
    expected = "function '<lambda>' was traced before.*to_stock.*`with fastseq.keras.export_native"
    with pytest.raises(ValueError, match=expected):
        tf.saved_model.save(served, str(folder), signatures=concrete)
    assert not folder.exists()
    served.concrete = concrete
    with pytest.raises(ValueError, match=expected):
        tf.saved_model.save(served, str(folder))
    archive = keras.export.ExportArchive()
    archive.track(served.model)
    archive.add_endpoint("serve", served.serve)
    with pytest.raises(ValueError, match=expected):
        archive.write_out(str(folder), verbose=False)
    assert not folder.exists()
    with export_native():
        tf.saved_model.save(served, str(folder))
    assert _operations(folder) == {"FastseqConv1dForward", "FastseqLstmForward"}
    with pytest.raises(ValueError, match="was traced before"):
        tf.saved_model.save(tf.saved_model.load(str(folder)), str(tmp_path / "again"))


def test_concrete_functions_after_to_stock(served: _Served, tmp_path: Path) -> None:
    concrete = _Served(to_stock(served.model)).serve.get_concrete_function()
    tf.saved_model.save(served, str(tmp_path), signatures=concrete)
    assert _operations(tmp_path) == set()


def test_training_that_is_exported(tmp_path: Path) -> None:
    """With the optimizer, and gradients: the same step as here."""

    class Training(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = _sequential(SIGNAL, fast.FastLSTM(3))
            self.optimizer = fast.FastAdam(0.1)
            self.optimizer.build(self.model.trainable_variables)
            self.kept = [one.value for one in (*self.model.variables, *self.optimizer.variables)]

        @tf.function(input_signature=[tf.TensorSpec((None, 9, 4))])  # type: ignore[untyped-decorator]
        def step(self, x: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(self.model(x) ** 2)
            variables = self.model.trainable_variables
            self.optimizer.apply(tape.gradient(loss, variables), variables)
            return loss

    training = Training()
    tf.saved_model.save(training, str(tmp_path))
    assert _operations(tmp_path) == set()
    loaded = tf.saved_model.load(str(tmp_path))
    assert_close([loaded.step(SIGNAL) for _ in range(3)], [training.step(SIGNAL) for _ in range(3)], 1e-4)


def test_the_process_goes_on_with_the_kernels(tmp_path: Path) -> None:
    model = _recurrent()
    model.export(tmp_path, verbose=False)
    traced = tf.function(model).get_concrete_function(tf.TensorSpec((None, 9), tf.int32))
    assert {operation.type for operation in traced.graph.get_operations()} >= OF_RECURRENT
