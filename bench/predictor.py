"""fastseq.Predictor beside ONNX Runtime and Keras's own ways to predict, of one row or a batch, interleaved in one run.

Outputs are compared before anything is timed. Figures are medians in microseconds and, for the others, their time
divided by the predictor's, a median over rounds. "lstm" is a model of one LSTM over (100, 100) with 100 units.

    python bench/predictor.py --threads 1
    python bench/predictor.py --models imdb-cnn-lstm --rows 40 --mask-zero
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from common import add_options, header, interleave, prepare, script_parser

from fastseq.bench.timing import ratios, time_runs
from fastseq.commands import positive, table
from fastseq.training.command import MODEL_NAMES

_MODELS = ("lstm", "reuters-lstm", "price-forecast", "imdb-cnn-lstm", "imdb-rnn-embedding")


def _model_and_rows(name: str, rows: int, mask_zero: bool) -> tuple[Any, Any]:
    import keras

    from fastseq.bench.whole_models import made_up_batches
    from fastseq.training.models import MODELS

    keras.utils.set_random_seed(0)
    if name == "lstm":
        model = keras.Sequential([keras.Input((100, 100)), keras.layers.LSTM(100)])
        return model, np.random.default_rng(0).standard_normal((rows, 100, 100), np.float32)
    spec = MODELS[name]
    model = spec.build("stock", mask_zero=mask_zero and spec.has_embedding)
    x = np.asarray(made_up_batches(spec, model)[0][0])
    return model, np.ascontiguousarray(np.resize(x, (rows, *x.shape[1:])))


def _in_onnx_runtime(model: Any, x: Any, masked: bool) -> Any:
    """The model as a problem of `fastseq.bench`, for its implementation in ONNX Runtime."""
    from fastseq.bench.problems import ModelProblem
    from fastseq.bench.whole_models import in_words

    return ModelProblem(
        name="",
        layers=[in_words(layer) for layer in model.layers],
        weights={f"weight {i}": np.asarray(weight) for i, weight in enumerate(model.trainable_weights)},
        batches=[(x, x)],
        loss="",
        optimizer=("", {}),
        masked=masked,
    )


def make_runs(name: str, rows: int, mask_zero: bool, threads: int) -> dict[str, Callable[[], Any]]:
    """The ways to predict, by name. Raises AssertionError if results differ."""
    from fastseq import Predictor
    from fastseq.bench.implementations import UnavailableError, make_implementation

    model, x = _model_and_rows(name, rows, mask_zero)
    predictor = Predictor(model)
    runs: dict[str, Callable[[], Any]] = {
        "Predictor": lambda: predictor(x, threads=threads),
        "model(x)": lambda: np.asarray(model(x, training=False)),
        "model.predict": lambda: model.predict(x, verbose=0),
    }
    expected = runs["model(x)"]()
    results = {label: run() for label, run in runs.items()}
    try:
        problem = _in_onnx_runtime(model, x, mask_zero)
        onnx_runtime: Any = make_implementation("onnxruntime", problem, "forward", threads=threads)
        runs["ONNX Runtime"] = onnx_runtime.step
        results["ONNX Runtime"] = onnx_runtime.results()["outputs"]
    except UnavailableError as reason:
        print(f"ONNX Runtime is left out: {reason}")
    for label, result in results.items():
        error = float(np.abs(result.reshape(expected.shape) - expected).max())
        assert error < 1e-4, f"{name}: {label} differs by {error}"
    return runs


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--models", nargs="+", choices=("lstm", *MODEL_NAMES), default=_MODELS, metavar="MODEL")
    parser.add_argument("--rows", type=positive, default=1, help="default: %(default)s")
    parser.add_argument("--mask-zero", action="store_true", help="mask the models' padding")
    add_options(parser, rounds=15)
    options = parser.parse_args()
    threads = prepare(options, parser)
    from fastseq.frameworks import current, start

    start(threads)
    current().set_threads(threads)
    print(header(("fastseq", "keras", "tensorflow", "onnxruntime")))
    lines = []
    for name in options.models:
        runs = make_runs(name, options.rows, options.mask_zero, threads)
        samples = interleave({label: partial(time_runs, run) for label, run in runs.items()}, options.rounds)
        ours = samples.pop("Predictor")
        others = {label: f"{1e6 * one.median:.0f} ({ratios(one, ours).median:.2f})" for label, one in samples.items()}
        lines.append(
            (name, f"{1e6 * ours.median:.1f}", *(others.get(label, "-") for label in ("ONNX Runtime", *samples)[:3]))
        )
        print(*lines[-1], flush=True)
    print(table(("model", "Predictor, us", "ONNX Runtime", "model(x)", "model.predict"), lines))


if __name__ == "__main__":
    main()
