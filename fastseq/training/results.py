"""Writes the results of a training into files: the model, its losses, its test results, plots."""

from __future__ import annotations

import csv
import json
import platform
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fastseq import frameworks, runtime
from fastseq.commands import replacing
from fastseq.prices import PriceData
from fastseq.training.plots import plot_forecast, plot_losses
from fastseq.training.resuming import STATE, write_state
from fastseq.training.trainer import Run, Trainer

__all__ = ["save_epoch", "save_forecast", "save_result", "save_training", "versions"]


def versions() -> dict[str, str]:
    """The versions of the packages that a result depends on; the framework that Keras runs on has its own name."""
    framework = frameworks.current()
    return {
        "fastseq": runtime.__version__,
        "keras": keras.__version__,
        framework.name: framework.version,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def _result(trainer: Trainer) -> dict[str, Any]:
    """The content of `result.json`: the results of the first model, and under `stock` those of its twin."""
    fast = _record(trainer, trainer.runs[0])
    shared = {
        "model": trainer.spec.name,
        "data": "synthetic" if trainer.data.synthetic else "real",
        "seed": trainer.seed,
        "mask_zero": trainer.mask_zero,
        "batch_size": trainer.batch_size,
        "interrupted": trainer.interrupted,
        "versions": versions(),
        "isa": runtime.isa(),
        "threads": runtime.get_num_threads(),
    }
    twin = {} if len(trainer.runs) < 2 else {"stock": _record(trainer, trainer.runs[1]), "speedup": trainer.speedup}
    naive = {} if trainer.data.naive is None else {f"naive_{trainer.spec.metric.key}": trainer.data.naive}
    return {**shared, **fast, **naive, **twin}


def _record(trainer: Trainer, run: Run) -> dict[str, Any]:
    return {
        "layers": run.layers,
        "epochs": run.epochs,
        "ms_per_step": run.ms_per_step,
        "epoch_seconds": run.epoch_seconds,
        f"test_{trainer.spec.metric.key}": run.test_metric,
        "test_loss": run.test_loss,
    }


def save_epoch(trainer: Trainer, run: Run, out: Path, identity: dict[str, Any]) -> None:
    """Writes the files of a finished epoch: model.keras, the best model, history.csv, result.json and the state.

    Each file replaces the previous one as a whole. The state is written last, so that the other files exist if it does.

    Args:
        trainer: The run's trainer.
        run: The run that has finished an epoch.
        out: The folder.
        identity: Options, data and versions, which tell this training from others. They are saved with the state.

    Raises:
        OSError: The folder cannot be written to.
    """
    if run is trainer.runs[0]:
        if trainer.spec.keep_best and run.best_epoch == run.epochs - 1:
            _save_model(run.model, out / "best.keras")
        _save_model(run.model, out / "model.keras")
    _save_history(trainer, out / "history.csv")
    save_result(trainer, out)
    write_state(out / STATE, {**identity, "runs": [run.state() for run in trainer.runs]})


def save_training(trainer: Trainer, out: Path) -> list[Path]:
    """Writes model.keras, history.csv and, if matplotlib is installed, loss.png into a folder.

    Returns:
        The files written, including those that `save_epoch` has written.

    Raises:
        OSError: The folder cannot be written to.
    """
    written = [out / "model.keras", out / "history.csv"]
    _save_model(trainer.runs[0].model, written[0])
    _save_history(trainer, written[1])
    if trainer.runs[0].history:
        if trainer.spec.keep_best:
            written.append(out / "best.keras")
        histories: dict[str, Any] = {run.layers: run.history for run in trainer.runs if run.history}
        validation = "test" if trainer.spec.validation_split is None else "validation"
        written += _drawn(out / "loss.png", partial(plot_losses, histories, _title(trainer), validation=validation))
    return written


def _save_model(model: keras.Model, path: Path) -> None:
    with replacing(path) as new:
        model.save(new)


def _save_history(trainer: Trainer, path: Path) -> None:
    keys = list(trainer.runs[0].history)
    with replacing(path) as new, new.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["layers", "epoch", *keys])
        for run in filter(lambda run: run.history, trainer.runs):
            for epoch, values in enumerate(zip(*(run.history[key] for key in keys), strict=True), 1):
                writer.writerow([run.layers, epoch, *values])


def save_forecast(trainer: Trainer, out: Path) -> list[Path]:
    """Writes forecast.csv and, if matplotlib is installed, forecast.png into a folder, if the data are prices.

    Returns:
        The files written.

    Raises:
        OSError: The folder cannot be written to.
    """
    data = trainer.data
    if not isinstance(data, PriceData):
        return []
    forecasts: dict[str, Any] = {
        run.layers: data.to_prices(run.model.predict(data.x_test, batch_size=trainer.batch_size, verbose=0)[:, 0])
        for run in trainer.runs
    }
    path = out / "forecast.csv"
    with replacing(path) as new, new.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["date", "price", "naive", *forecasts])
        writer.writerows(zip(data.dates, data.prices, data.last_prices, *forecasts.values(), strict=True))
    plot = partial(plot_forecast, data.dates, data.prices.tolist(), forecasts, _title(trainer))
    return [path, *_drawn(out / "forecast.png", plot)]


def save_result(trainer: Trainer, out: Path) -> Path:
    """Writes result.json into a folder and returns its path.

    Raises:
        OSError: The folder cannot be written to.
    """
    path = out / "result.json"
    # Strict JSON has neither infinity nor NaN. NaN stands for results that are missing because of an interrupt.
    with replacing(path) as new:
        new.write_text(json.dumps(_finite(_result(trainer)), indent=2, allow_nan=False) + "\n")
    return path


def _title(trainer: Trainer) -> str:
    """The title of plots."""
    return trainer.spec.name + (" (synthetic data)" if trainer.data.synthetic else "")


def _drawn(path: Path, plot: Callable[..., None]) -> list[Path]:
    """Plots into a file and returns its path; an empty list if matplotlib is missing."""
    try:
        with replacing(path) as new:
            plot(path=new)
    except ImportError:
        print(f"No {path.name}: it needs matplotlib (pip install 'fastseq[plots]').", file=sys.stderr)
        return []
    return [path]


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not np.isfinite(value) else value
