"""Trains one of `fastseq.models`, alone or interleaved with its stock twin, and writes down what came of it."""

from __future__ import annotations

import csv
import json
import math
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fastseq import runtime
from fastseq.data import TrainingData
from fastseq.models import Layers, ModelSpec
from fastseq.plots import plot_forecast, plot_losses
from fastseq.prices import PriceData

__all__ = ["Run", "Trainer", "versions"]


def versions() -> dict[str, str]:
    """Of everything that a result depends on."""
    import tensorflow as tf

    return {
        "fastseq": runtime.__version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


class _Progress(keras.callbacks.ProgbarLogger):  # type: ignore[misc]
    """Keras's progress bar, counting the epochs of the whole training while each `fit` call runs one."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self._all_epochs = epochs

    def set_params(self, params: dict[str, Any] | None) -> None:
        super().set_params({**(params or {}), "epochs": self._all_epochs, "verbose": 1})


class _Timer(keras.callbacks.Callback):  # type: ignore[misc]
    """The duration of every training step, validation left out, and of the epoch with it."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[float] = []
        self.seconds = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch_began = self._last = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        now = time.perf_counter()
        self.steps.append(now - self._last)
        self._last = now

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds = time.perf_counter() - self._epoch_began


@dataclass
class Run:
    """The training of one model: its state while it goes on, its record afterwards."""

    layers: Layers
    model: keras.Model
    callbacks: Any
    history: dict[str, list[float]] = field(default_factory=dict)
    epoch_seconds: list[float] = field(default_factory=list)
    step_medians: list[float] = field(default_factory=list)
    test_loss: float = float("nan")
    # The spec's metric, in the units of the data's source.
    test_metric: float = float("nan")

    @property
    def epochs(self) -> int:
        """How many epochs were finished."""
        return len(self.epoch_seconds)

    @property
    def ms_per_step(self) -> float:
        """The median duration of a training step, of the epochs past the first, which compiles, if there are any."""
        medians = self.step_medians[1:] or self.step_medians
        return 1e3 * statistics.median(medians) if medians else float("nan")


class Trainer:
    """Trains a model as its `ModelSpec` says, epoch by epoch.

    A twin of other layers starts from the same weights, sees the same batches, and takes turns with the first model
    after every epoch, so that both meet the same machine.

    Args:
        spec: The model.
        data: As the spec loads it.
        layers: Of the model and, if there is to be one, of its twin.
        epochs: At most; None for the model's own, as in `batch_size`.
        batch_size: Samples in a step.
        seed: Of weights, batches and dropout.
        mask_zero: Whether the Embedding masks the padding.
        checkpoint: A file, `*.keras`, for the best model so far where the spec says to keep it; None for no file.

    Raises:
        ValueError: `mask_zero`, and the model has no Embedding.
    """

    def __init__(
        self,
        spec: ModelSpec,
        data: TrainingData,
        *,
        layers: Sequence[Layers] = ("fast",),
        epochs: int | None = None,
        batch_size: int | None = None,
        seed: int = 0,
        mask_zero: bool = False,
        checkpoint: Path | None = None,
    ) -> None:
        """Builds the models."""
        self.spec = spec
        self.data = data
        self.seed = seed
        self.mask_zero = mask_zero
        self.epochs = spec.epochs if epochs is None else epochs
        self.batch_size = spec.batch_size if batch_size is None else batch_size
        self.checkpoint = checkpoint if spec.keep_best else None
        self.interrupted = False
        self.runs: list[Run] = []
        for kind in layers:
            keras.utils.set_random_seed(seed)
            model = spec.build(kind, mask_zero=mask_zero)
            stopping = keras.callbacks.EarlyStopping(patience=spec.patience, restore_best_weights=spec.keep_best)
            callbacks = [stopping]
            if self.runs:
                model.set_weights(self.runs[0].model.get_weights())
            elif self.checkpoint:
                # Keras formats the name of the file.
                name = str(self.checkpoint).replace("{", "{{").replace("}", "}}")
                callbacks.append(keras.callbacks.ModelCheckpoint(name, save_best_only=True))
            # Driven by hand below: one fit call is one epoch, and a callback of fit would start afresh each time.
            self.runs.append(Run(kind, model, keras.callbacks.CallbackList(callbacks, model=model)))

    def train(self) -> None:
        """Trains until the epochs are over or validation stops it; an interrupt (Ctrl-C) ends it cleanly.

        Raises:
            OSError: The checkpoint cannot be written.
        """
        for run in self.runs:
            run.callbacks.on_train_begin()
        try:
            for epoch in range(self.epochs):
                running = [run for run in self.runs if not run.model.stop_training]
                if not running:
                    break
                for run in running:
                    self._train_epoch(run, epoch)
        except KeyboardInterrupt:
            self.interrupted = True
            print("\nInterrupted: saving what was trained so far.", file=sys.stderr)
        for run in self.runs:
            run.callbacks.on_train_end()

    def _train_epoch(self, run: Run, epoch: int) -> None:
        if len(self.runs) > 1:
            print(f"[{run.layers}]", flush=True)
        # So that both twins, and a run of either alone, see the same batches.
        keras.utils.set_random_seed(int(np.random.SeedSequence([self.seed, epoch]).generate_state(1)[0]))
        timer = _Timer()
        (x, y), validation = self._training_and_validation()
        x, y = self._feed(x, y, shuffle=True)
        history = run.model.fit(
            x,
            y,
            batch_size=self.batch_size,
            initial_epoch=epoch,
            epochs=epoch + 1,
            validation_data=self._feed(*validation),
            shuffle=self.spec.encode is None,
            callbacks=[_Progress(self.epochs), timer],
            verbose=0,
        ).history
        for key, values in history.items():
            run.history.setdefault(key, []).extend(float(value) for value in values)
        run.epoch_seconds.append(timer.seconds)
        run.step_medians.append(statistics.median(timer.steps))
        run.callbacks.on_epoch_end(epoch, {key: values[-1] for key, values in run.history.items()})

    def _training_and_validation(self) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        """Inputs and targets of each."""
        data, part = self.data, self.spec.validation_split
        if part is None:
            return (data.x_train, data.y_train), (data.x_test, data.y_test)
        end = math.floor(len(data.x_train) * (1 - part))  # as `fit` does it
        return (data.x_train[:end], data.y_train[:end]), (data.x_train[end:], data.y_train[end:])

    def _feed(self, x: Any, y: Any, *, shuffle: bool = False) -> tuple[Any, Any]:
        """What Keras takes for x and y: themselves or, where the spec encodes, batches of both and None.

        Keras shuffles arrays by itself, batches it does not.
        """
        if self.spec.encode is None:
            return x, y
        import tensorflow as tf

        if shuffle:
            order = np.random.permutation(len(x))
            x, y = x[order], y[order]
        encode = self.spec.encode
        batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(self.batch_size)
        # Encoded while the model computes the batch before.
        return batches.map(lambda x, y: (encode(x), y)).prefetch(1), None

    def test(self) -> None:
        """Evaluates the models on the test data; an interrupt leaves out those that are not done."""
        try:
            for run in self.runs:
                x, y = self._feed(self.data.x_test, self.data.y_test)
                result = run.model.evaluate(x, y, batch_size=self.batch_size, verbose=0, return_dict=True)
                run.test_loss = float(result["loss"])
                run.test_metric = float(result[self.spec.metric.key]) * self.data.unit
        except KeyboardInterrupt:
            self.interrupted = True
            print("\nInterrupted: no test results.", file=sys.stderr)

    @property
    def speedup(self) -> float | None:
        """The stock twin's time a step over the fast model's; None unless both have finished an epoch."""
        if len(self.runs) < 2 or not all(run.epochs for run in self.runs):
            return None
        fast, stock = self.runs
        return stock.ms_per_step / fast.ms_per_step

    def result(self) -> dict[str, Any]:
        """What `result.json` holds: of the first model, and of the twin under `stock`."""
        fast = self._record(self.runs[0])
        shared = {
            "model": self.spec.name,
            "data": "synthetic" if self.data.synthetic else "real",
            "seed": self.seed,
            "mask_zero": self.mask_zero,
            "batch_size": self.batch_size,
            "interrupted": self.interrupted,
            "versions": versions(),
            "isa": runtime.isa(),
            "threads": runtime.get_num_threads(),
        }
        twin = {} if len(self.runs) < 2 else {"stock": self._record(self.runs[1]), "speedup": self.speedup}
        naive = {} if self.data.naive is None else {f"naive_{self.spec.metric.key}": self.data.naive}
        return {**shared, **fast, **naive, **twin}

    def _record(self, run: Run) -> dict[str, Any]:
        return {
            "layers": run.layers,
            "epochs": run.epochs,
            "ms_per_step": run.ms_per_step,
            "epoch_seconds": run.epoch_seconds,
            f"test_{self.spec.metric.key}": run.test_metric,
            "test_loss": run.test_loss,
        }

    def save_training(self, out: Path) -> list[Path]:
        """Writes model.keras, history.csv and, where matplotlib is installed, loss.png into a folder.

        Returns:
            The files written, the checkpoint too.

        Raises:
            OSError: The folder cannot be written to.
        """
        out.mkdir(parents=True, exist_ok=True)
        written = [out / "model.keras", out / "history.csv"]
        self.runs[0].model.save(written[0])
        with written[1].open("w", newline="") as file:
            writer = csv.writer(file)
            keys = list(self.runs[0].history)
            writer.writerow(["layers", "epoch", *keys])
            for run in filter(lambda run: run.history, self.runs):
                for epoch, values in enumerate(zip(*(run.history[key] for key in keys), strict=True), 1):
                    writer.writerow([run.layers, epoch, *values])
        if self.runs[0].history:
            if self.checkpoint:
                written.append(self.checkpoint)
            histories: dict[str, Any] = {run.layers: run.history for run in self.runs if run.history}
            validation = "test" if self.spec.validation_split is None else "validation"
            written += _drawn(out / "loss.png", partial(plot_losses, histories, self._title, validation=validation))
        return written

    def save_forecast(self, out: Path) -> list[Path]:
        """Writes forecast.csv and, where matplotlib is installed, forecast.png into a folder, if the data are prices.

        Returns:
            The files written.

        Raises:
            OSError: The folder cannot be written to.
        """
        data = self.data
        if not isinstance(data, PriceData):
            return []
        forecasts: dict[str, Any] = {
            run.layers: data.to_prices(run.model.predict(data.x_test, batch_size=self.batch_size, verbose=0)[:, 0])
            for run in self.runs
        }
        path = out / "forecast.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["date", "price", "naive", *forecasts])
            writer.writerows(zip(data.dates, data.prices, data.last_prices, *forecasts.values(), strict=True))
        plot = partial(plot_forecast, data.dates, data.prices.tolist(), forecasts, self._title)
        return [path, *_drawn(out / "forecast.png", plot)]

    @property
    def _title(self) -> str:
        """Of plots."""
        return self.spec.name + (" (synthetic data)" if self.data.synthetic else "")

    def save_result(self, out: Path) -> Path:
        """Writes result.json into a folder and returns its path.

        Raises:
            OSError: The folder cannot be written to.
        """
        path = out / "result.json"
        # Strict JSON has no NaN: an interrupt may leave figures out.
        path.write_text(json.dumps(_without_nan(self.result()), indent=2, allow_nan=False) + "\n")
        return path


def _drawn(path: Path, plot: Callable[..., None]) -> list[Path]:
    """Plots into a file and returns it, or nothing where matplotlib is missing."""
    try:
        plot(path=path)
    except ImportError:
        print(f"No {path.name}: it needs matplotlib (pip install 'fastseq[plots]').", file=sys.stderr)
        return []
    return [path]


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and np.isnan(value) else value
