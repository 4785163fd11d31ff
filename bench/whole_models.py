"""The whole training step, or prediction, of the classic models: fastseq beside others, interleaved in one run.

All implementations have the same weights and the same batches, real texts where they are found. Before anything is
timed, their results are compared with the stock model's: the predictions or, in training, the loss and its gradients by
all weights, without dropout. In every round each implementation has a turn. Figures are medians; IQR is the distance
between the quartiles.

--breakdown also times every layer of Keras's models on TensorFlow by itself, forward and backward, with the input that
the layers before it make of a batch, and the optimizer's update. Each such row includes the call from Python, some
tenths of a millisecond. The row "the rest", mostly losses and metrics, is the whole step less these rows.

fast and stock run on the Keras backend that KERAS_BACKEND names, by default TensorFlow.

    python bench/whole_models.py --model imdb-cnn-lstm --breakdown
    python bench/whole_models.py --model reuters-lstm --peers stock torch onnxruntime --pass training forward
    KERAS_BACKEND=torch python bench/whole_models.py --model reuters-lstm imdb-cnn-lstm --peers stock
"""

from __future__ import annotations

import functools
import inspect
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import add_options, add_peers, describe, header, interleave, prepare, script_parser

from fastseq.bench.implementations import FASTSEQ, TrainingImplementation, packages
from fastseq.bench.measuring import Comparison, Measurement
from fastseq.bench.problems import Batch
from fastseq.bench.tables import milliseconds
from fastseq.bench.timing import Samples, Turn, time_runs
from fastseq.bench.whole_models import BATCHES, MODEL_PASSES, as_batch, model_comparison, takes_texts
from fastseq.commands import table

_WHOLE = "whole step"


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--model", nargs="+", metavar="MODEL", help="as `fastseq train` has them; default: all")
    add_peers(parser)
    parser.add_argument("--pass", dest="passes", nargs="+", choices=MODEL_PASSES, default=["training"])
    parser.add_argument("--breakdown", action="store_true", help="also the layers one by one, and the optimizer")
    parser.add_argument("--mask-zero", action="store_true", help="mask the padding")
    parser.add_argument(
        "--data", default="auto", metavar="auto|synthetic|DIR|FILE.csv", help="as `fastseq train` takes it"
    )
    add_options(parser, rounds=10)
    options = parser.parse_args()
    threads = prepare(options, parser)
    from fastseq import frameworks
    from fastseq.data import DataError
    from fastseq.training.models import MODELS

    try:
        framework = frameworks.start(threads)
    except ValueError as wrong:
        parser.error(str(wrong))
    if options.breakdown and framework.name != "tensorflow":
        parser.error("argument --breakdown: only with Keras on TensorFlow")
    names = options.model or default_models(options.data, options.mask_zero)
    if unknown := [name for name in names if name not in MODELS]:
        parser.error(f"argument --model: choose from {', '.join(MODELS)}, got {', '.join(unknown)}")
    found: dict[str, tuple[list[Batch], str]] = {}
    try:
        for name in names:  # before anything is measured in vain
            data = MODELS[name].load(options.data)
            found[name] = batches_of(MODELS[name], data), data.source
    except DataError as wrong:
        parser.error(str(wrong))
    implementations = [*FASTSEQ, *options.peers]
    print(header(packages(implementations)))
    for name, (batches, source) in found.items():
        for pass_ in options.passes:
            try:
                comparison = model_comparison(
                    name,
                    pass_,
                    threads=threads,
                    mask_zero=options.mask_zero,
                    batches=batches,
                    implementations=implementations,
                )
            except ValueError as wrong:
                parser.error(str(wrong))
            measurement = Measurement(comparison, options.rounds)
            measurement.run(implementations)
            print(f"\n{describe(measurement)}\n{source}")
            if options.breakdown and pass_ == "training":
                print(breakdown(comparison, list(measurement.samples), options.rounds))


def default_models(data: str, mask_zero: bool) -> list[str]:
    """The models that take such data, and masked padding where it is asked for."""
    from fastseq.training.models import MODELS

    in_folder = Path(data).is_dir()
    return [
        name
        for name, spec in MODELS.items()
        if (spec.has_embedding or not mask_zero) and (takes_texts(spec) or not in_folder)
    ]


def batches_of(spec: Any, data: Any) -> list[Batch]:
    """The first training texts."""
    starts = range(0, BATCHES * spec.batch_size, spec.batch_size)
    ends = [slice(start, start + spec.batch_size) for start in starts]
    return [as_batch(spec, data.x_train[part], data.y_train[part]) for part in ends]


def breakdown(comparison: Comparison, implementations: list[str], rounds: int) -> str:
    """A table of what the parts of a step take."""
    from fastseq.bench.implementations.keras_tensorflow import loss_and_gradients

    parts: dict[str, dict[str, Turn]] = {_WHOLE: {}}
    for name in implementations:
        made = comparison.make(name)
        if not isinstance(made, TrainingImplementation):
            continue
        _, *gradients = loss_and_gradients(made.model, made.batches[0])
        parts[_WHOLE][name] = made.turn
        for part, run in {**layers_of(made.model, made.batches[0][0]), **optimizer_of(made.model, gradients)}.items():
            parts.setdefault(part, {})[name] = functools.partial(time_runs, run)
    turns = {(part, name): turn for part, turn_of in parts.items() for name, turn in turn_of.items()}
    for turn in turns.values():
        turn(1)  # compiles
    samples: dict[str, dict[str, Samples]] = {part: {} for part in parts}
    for (part, name), times in interleave(turns, rounds).items():
        samples[part][name] = times
    return table(("where the time goes, ms", *parts[_WHOLE]), part_rows(samples))


def part_rows(samples: dict[str, dict[str, Samples]]) -> list[tuple[str, ...]]:
    """Medians of the parts, what the whole step takes besides, and the whole step."""
    medians = {part: {name: times.median for name, times in of.items()} for part, of in samples.items()}
    whole = medians.pop(_WHOLE)
    parts = {name: sum(of.get(name, 0.0) for of in medians.values()) for name in whole}
    medians["the rest"] = {name: whole[name] - parts[name] for name in whole}
    medians[_WHOLE] = whole
    return [
        (part, *(f"{milliseconds(of[name])} ({of[name] / whole[name]:.0%})" if name in of else "-" for name in whole))
        for part, of in medians.items()
    ]


def layers_of(model: Any, x: Any) -> dict[str, Callable[[], Any]]:
    """The layers, by a name that does not depend on what else there is: each on its inputs in this model."""
    import tensorflow as tf

    from fastseq.bench.implementations._tensorflow import forward_backward

    runs = {}
    seen: Counter[str] = Counter()
    mask = None
    for index, layer in enumerate(model.layers):
        name = type(layer).__name__
        seen[name] += 1
        own_mask = mask if "mask" in inspect.signature(layer.call).parameters else None
        outputs = layer(x, training=False) if own_mask is None else layer(x, mask=own_mask, training=False)
        runs[f"{name} {seen[name]}" if seen[name] > 1 else name] = forward_backward(
            layer,
            x,
            own_mask,
            tf.random.normal(outputs.shape),
            by_x=index > 0,  # data needs no gradient
            jit_compile=model.jit_compile,
        )
        x, mask = outputs, layer.compute_mask(x, mask) if layer.supports_masking else None
    return runs


def optimizer_of(model: Any, gradients: list[Any]) -> dict[str, Callable[[], Any]]:
    """The optimizer's update by these gradients."""
    import tensorflow as tf

    @tf.function(jit_compile=model.jit_compile)
    def update(gradients: list[Any]) -> None:
        model.optimizer.apply(gradients, model.trainable_variables)

    return {type(model.optimizer).__name__: lambda: update(gradients)}


if __name__ == "__main__":
    main()
