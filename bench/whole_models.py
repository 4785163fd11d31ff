"""The whole training step of the classic models, with fast layers and with stock ones, interleaved in one run.

All sides have the same weights and take the same batches in turns, real texts where they are found. Before anything is
timed, the loss and its gradients by all weights, without dropout, are compared with those of the first side. In every
round each side has a turn. Figures are medians; IQR is the distance between the quartiles.

With --breakdown, also every layer by itself, forward and backward on what the layers before it made of a batch, and
the optimizer's update. Each such row pays for a call of its own, some tenths of a millisecond, and has the machine to
itself; the rest, losses and metrics mostly, is the whole step less these rows.

    python bench/whole_models.py --model imdb-cnn-lstm --breakdown
"""

from __future__ import annotations

import argparse
import functools
import inspect
import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

from environment import add_options, header, prepare
from report import milliseconds, table
from timing import Samples, Turn, interleave, time_runs

_SIDES = ("fast", "stock", "stock-jit")
_BATCHES = 8
_WHOLE = "whole step"
# Of a gradient's norm. What is right differs by 1e-6, or, where rounding lets a relu or a maximum fall to the other
# side, by the share of one of thousands of values; what is wrong, a term left out, by far more.
_TOLERANCE = 0.03

Batch = tuple[Any, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", metavar="MODEL", help="as `fastseq train` has them; default: all")
    parser.add_argument("--side", nargs="+", choices=_SIDES, default=list(_SIDES))
    parser.add_argument("--breakdown", action="store_true", help="also the layers one by one, and the optimizer")
    parser.add_argument("--mask-zero", action="store_true", help="mask the padding")
    parser.add_argument("--data", default="auto", metavar="auto|synthetic|DIR", help="as `fastseq train` takes it")
    add_options(parser, rounds=10)
    options = parser.parse_args()
    try:
        threads = prepare(options.threads, options.isa)
    except ValueError as wrong:
        parser.error(str(wrong))
    import keras
    from sides._tensorflow import set_threads

    from fastseq.models import MODELS

    set_threads(threads)
    keras.utils.set_random_seed(0)
    names = options.model or [name for name, spec in MODELS.items() if spec.has_embedding or not options.mask_zero]
    if unknown := [name for name in names if name not in MODELS]:
        parser.error(f"argument --model: choose from {', '.join(MODELS)}, got {', '.join(unknown)}")
    print(header(["keras", "tensorflow"]))
    for name in names:
        spec = MODELS[name]
        data = spec.load(options.data)
        try:
            models = {side: spec.build(side, mask_zero=options.mask_zero) for side in options.side}
        except ValueError as wrong:
            parser.error(str(wrong))
        title = f"{name}, batches of {spec.batch_size}, {data.source}" + ", masked" * options.mask_zero
        compare(title, models, batches_of(spec, data), options.breakdown, options.rounds)


def batches_of(spec: Any, data: Any) -> list[Batch]:
    """The first training texts."""
    import tensorflow as tf

    texts = tf.data.Dataset.from_tensor_slices((data.x_train, data.y_train)).batch(spec.batch_size).take(_BATCHES)
    return [(spec.encode(x) if spec.encode else x, y) for x, y in texts]


def compare(title: str, models: dict[str, Any], batches: list[Batch], breakdown: bool, rounds: int) -> None:
    """Verifies, times and prints one model."""
    first = next(iter(models))
    gradients = {}
    for side, model in models.items():
        model.set_weights(models[first].get_weights())
        gradients[side] = loss_and_gradients(model, batches[0])
        verify(gradients[side], gradients[first], f"{side}, {title}")

    parts = {_WHOLE: {side: training_step(model, batches) for side, model in models.items()}}
    if breakdown:
        for side, model in models.items():
            x, _ = batches[0]
            for part, run in {**layers_of(model, x), **optimizer_of(model, gradients[side][1:])}.items():
                parts.setdefault(part, {})[side] = run
    samples = measure(parts, rounds)
    print(f"\n{title}")
    print(table(("a whole step", "ms", "IQR", f"times {first}"), step_rows(samples[_WHOLE])))
    if breakdown:
        print(table(("where the time goes, ms", *models), part_rows(samples)))


def training_step(model: Any, batches: list[Batch]) -> Callable[[], Any]:
    """A function that trains on the next batch, as `fit` does it."""
    import tensorflow as tf

    model.train_step(batches[0])  # eagerly, which makes the variables of optimizer and metrics

    @tf.function(jit_compile=model.jit_compile)
    def step(x: Any, y: Any) -> Any:
        return model.train_step((x, y))

    endless = itertools.cycle(batches)
    return lambda: step(*next(endless))


def measure(parts: dict[str, dict[str, Callable[[], Any]]], rounds: int) -> dict[str, dict[str, Samples]]:
    """Times functions, by part and side, in turns."""
    turns: dict[tuple[str, str], Turn] = {}
    for part, of_side in parts.items():
        for side, run in of_side.items():
            run()  # compiles
            turns[part, side] = functools.partial(time_runs, run)
    samples: dict[str, dict[str, Samples]] = {part: {} for part in parts}
    for (part, side), times in interleave(turns, rounds).items():
        samples[part][side] = times
    return samples


def step_rows(whole: dict[str, Samples]) -> list[tuple[str, ...]]:
    base = next(iter(whole.values())).median
    return [
        (side, milliseconds(times.median), milliseconds(times.iqr), f"{times.median / base:.2f}")
        for side, times in whole.items()
    ]


def part_rows(samples: dict[str, dict[str, Samples]]) -> list[tuple[str, ...]]:
    """Medians of the parts, what the whole step takes besides, and the whole step."""
    medians = {part: {side: times.median for side, times in of.items()} for part, of in samples.items()}
    whole = medians.pop(_WHOLE)
    parts = {side: sum(of.get(side, 0.0) for of in medians.values()) for side in whole}
    medians["the rest"] = {side: whole[side] - parts[side] for side in whole}
    medians[_WHOLE] = whole
    return [
        (part, *(f"{milliseconds(of[side])} ({of[side] / whole[side]:.0%})" if side in of else "-" for side in whole))
        for part, of in medians.items()
    ]


def loss_and_gradients(model: Any, batch: Batch) -> list[Any]:
    """The loss of a batch without dropout, and its gradients by all weights in the form that an optimizer gets."""
    import tensorflow as tf

    weights = [variable.value for variable in model.trainable_variables]

    @tf.function(jit_compile=model.jit_compile)
    def compute(x: Any, y: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x=x, y=y, y_pred=model(x, training=False))
        return [loss, *tape.gradient(loss, weights)]

    return compute(*batch)


def verify(got: list[Any], expected: list[Any], what: str) -> None:
    """Raises AssertionError unless both hold the same loss and gradients."""
    import tensorflow as tf

    for index, (one, other) in enumerate(zip(got, expected, strict=True)):
        difference = float(tf.norm(tf.convert_to_tensor(one) - tf.convert_to_tensor(other)) / tf.norm(other))
        if not difference <= _TOLERANCE:  # also where it is NaN
            raise AssertionError(f"{what}: {f'gradient {index}' if index else 'the loss'} differs by {difference:.2g}")


def layers_of(model: Any, x: Any) -> dict[str, Callable[[], Any]]:
    """The layers, by a name that does not depend on what else there is: each on its inputs in this model."""
    import tensorflow as tf
    from sides._tensorflow import forward_backward

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
