"""Trains one of `fastseq.training.models`, alone or interleaved with its stock twin."""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from fastseq import frameworks
from fastseq.data import TrainingData
from fastseq.training.models import Layers, ModelSpec

__all__ = ["Run", "Trainer"]


class _Progress(keras.callbacks.ProgbarLogger):  # type: ignore[misc]
    """Keras's progress bar. It shows the number of all epochs, although each `fit` call runs a single epoch."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self._all_epochs = epochs

    def set_params(self, params: dict[str, Any] | None) -> None:
        super().set_params({**(params or {}), "epochs": self._all_epochs, "verbose": 1})


class _Timer(keras.callbacks.Callback):  # type: ignore[misc]
    """Measures the duration of every training step, without validation, and of the epoch, with validation."""

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
    """The training of one model: its state during the training, and its record afterwards."""

    layers: Layers
    model: keras.Model
    history: dict[str, list[float]] = field(default_factory=dict)
    epoch_seconds: list[float] = field(default_factory=list)
    step_medians: list[float] = field(default_factory=list)
    # The weights of the best epoch, if the spec says to keep them.
    best_weights: list[Any] | None = None
    test_loss: float = float("nan")
    # The spec's metric, in the units of the data's source.
    test_metric: float = float("nan")

    @property
    def epochs(self) -> int:
        """The number of finished epochs."""
        return len(self.epoch_seconds)

    @property
    def best_epoch(self) -> int:
        """The first epoch with the lowest validation loss, counted from 0; -1 before the first epoch is finished."""
        losses = [math.inf if math.isnan(loss) else loss for loss in self.history.get("val_loss", [])]
        return losses.index(min(losses)) if losses else -1

    @property
    def ms_per_step(self) -> float:
        """The median duration of a training step. The first epoch, which compiles, is left out if there are others."""
        medians = self.step_medians[1:] or self.step_medians
        return 1e3 * statistics.median(medians) if medians else float("nan")

    def state(self) -> dict[str, Any]:
        """The state that further epochs depend on, and the record of past epochs, for `resuming.write_state`."""
        return {
            "history": self.history,
            "epoch_seconds": self.epoch_seconds,
            "step_medians": self.step_medians,
            "variables": [keras.ops.convert_to_numpy(variable) for variable in self._variables()],
            "best_weights": self.best_weights,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restores a state.

        Raises:
            ValueError: The state belongs to another model.
        """
        variables, values = self._variables(), state["variables"]
        own = [(tuple(variable.shape), str(variable.dtype)) for variable in variables]
        if own != [(value.shape, str(value.dtype)) for value in values]:
            raise ValueError(f"the state is of another model than {self.model.name} of {self.layers} layers")
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        self.history = state["history"]
        self.epoch_seconds = state["epoch_seconds"]
        self.step_medians = state["step_medians"]
        self.best_weights = state["best_weights"]

    def _variables(self) -> list[Any]:
        """Weights, the states of random generators, and the optimizer's variables."""
        self.model.optimizer.build(self.model.trainable_variables)
        return [*self.model.variables, *self.model.optimizer.variables]


class Trainer:
    """Trains a model as its `ModelSpec` says, epoch by epoch.

    A twin model of other layers starts from the same weights and sees the same batches. The models take turns after
    every epoch, so that the load of the machine affects both alike.

    An epoch depends on the runs' states only. The order of batches follows from the seed and the number of the epoch,
    and the history decides when to stop. So a restored training continues as if it had not been interrupted.

    Args:
        spec: The model.
        data: The data that the spec's `load` has returned.
        layers: The kind of layers of the model and, if there is a twin, of the twin.
        epochs: The maximal number of epochs; None for that of `spec`.
        batch_size: Samples in a step; None for that of `spec`.
        seed: The seed for weights, batches and dropout.
        mask_zero: Whether the Embedding masks the padding.

    Attributes:
        interrupted: Whether the training has not come to its end, or not yet.

    Raises:
        ValueError: `mask_zero` is true, but the model has no Embedding.
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
    ) -> None:
        """Builds the models."""
        self.spec = spec
        self.data = data
        self.seed = seed
        self.mask_zero = mask_zero
        self.epochs = spec.epochs if epochs is None else epochs
        self.batch_size = spec.batch_size if batch_size is None else batch_size
        self.interrupted = True
        self.runs: list[Run] = []
        for kind in layers:
            keras.utils.set_random_seed(seed)
            model = spec.build(kind, mask_zero=mask_zero)
            if self.runs:
                model.set_weights(self.runs[0].model.get_weights())
            self.runs.append(Run(kind, model))

    def train(self, after_epoch: Callable[[Run], None] = lambda run: None) -> None:
        """Trains until all epochs are done or the validation loss stops improving. Ctrl-C ends the training cleanly.

        Args:
            after_epoch: A function that is called with the run after each epoch.
        """
        try:
            if frameworks.current().first_fit_draws:
                self._build_metrics()
            while running := [run for run in self.runs if not self._over(run)]:
                run = min(running, key=lambda run: run.epochs)
                self._train_epoch(run)
                after_epoch(run)
            self.interrupted = False
        except KeyboardInterrupt:
            print("\nInterrupted: saving what was trained so far.", file=sys.stderr)
        for run in self.runs:
            if run.best_weights is not None:
                run.model.set_weights(run.best_weights)

    def _build_metrics(self) -> None:
        """Builds the metrics before the first `fit`, which would draw random numbers for that.

        So an epoch draws the same random numbers in a resumed training.
        """
        x, y = self.data.x_train[: self.batch_size], self.data.y_train[: self.batch_size]
        for run in self.runs:
            run.model.test_on_batch(self.spec.encode(x) if self.spec.encode else x, y)

    def _over(self, run: Run) -> bool:
        """Whether all epochs are done, or the last `patience` epochs have not improved the validation loss."""
        return run.epochs == self.epochs or run.epochs - 1 - run.best_epoch >= self.spec.patience

    def _train_epoch(self, run: Run) -> None:
        epoch = run.epochs
        watched = sys.stdout.isatty()
        if watched and len(self.runs) > 1:
            print(f"[{run.layers}]", flush=True)
        # So that the fast and the stock model, and a run of either alone, see the same batches.
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
            callbacks=[*([_Progress(self.epochs)] if watched else []), timer],
            verbose=0,
        ).history
        for key, values in history.items():
            run.history.setdefault(key, []).extend(float(value) for value in values)
        run.epoch_seconds.append(timer.seconds)
        run.step_medians.append(statistics.median(timer.steps))
        if not watched:
            print(self._line(run), flush=True)
        if self.spec.keep_best and run.best_epoch == epoch:
            run.best_weights = run.model.get_weights()

    def _line(self, run: Run) -> str:
        """A line with the results of a run's last epoch, for outputs without a progress bar: files and pipes."""
        whose = f"[{run.layers}] " if len(self.runs) > 1 else ""
        seconds, step = run.epoch_seconds[-1], 1e3 * run.step_medians[-1]
        results = [f"{key}: {values[-1]:.4g}" for key, values in run.history.items()]
        times = [f"{seconds:.1f} s", f"{step:.2f} ms a step"]
        return f"{whose}Epoch {run.epochs}/{self.epochs} - " + " - ".join([*times, *results])

    def _training_and_validation(self) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        """Inputs and targets of the training data and of the validation data."""
        data, part = self.data, self.spec.validation_split
        if part is None:
            return (data.x_train, data.y_train), (data.x_test, data.y_test)
        end = math.floor(len(data.x_train) * (1 - part))  # as `fit` does it
        return (data.x_train[:end], data.y_train[:end]), (data.x_train[end:], data.y_train[end:])

    def _feed(self, x: Any, y: Any, *, shuffle: bool = False) -> tuple[Any, Any]:
        """Keras's arguments x and y: the arrays or, if the spec has an `encode`, encoded batches of both and None.

        `shuffle` shuffles the samples of batches. Keras itself shuffles arrays, but not batches.
        """
        if self.spec.encode is None:
            return x, y
        if shuffle:
            order = np.random.permutation(len(x))
            x, y = x[order], y[order]
        return frameworks.current().encoded(x, y, self.spec.encode, self.batch_size), None

    def test(self) -> None:
        """Evaluates the models on the test data. After an interrupt, the results of the other models are missing."""
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
        """The stock twin's time per step over the fast model's; None unless both have finished an epoch."""
        if len(self.runs) < 2 or not all(run.epochs for run in self.runs):
            return None
        fast, stock = self.runs
        return stock.ms_per_step / fast.ms_per_step
