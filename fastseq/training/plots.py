"""Plots of training histories and forecasts; needs matplotlib (`pip install fastseq[plots]`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["plot_forecast", "plot_losses"]


def plot_losses(
    histories: Mapping[str, Mapping[str, Sequence[float]]], title: str, path: Path, *, validation: str = "test"
) -> None:
    """Draws the loss on test or validation data (red) and on training data (blue) over epochs into a PNG.

    Args:
        histories: For the name of each training run, its series `loss` and `val_loss`, with one value for each epoch.
            The first run is drawn solid, a second one dashed.
        title: The title above the plot.
        path: The path of the PNG.
        validation: The name of the data for `val_loss`.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: The file cannot be written.
    """
    from matplotlib.ticker import MaxNLocator

    figure, axes = _figure(title, xlabel="epoch", ylabel="loss")
    for (name, history), style in zip(histories.items(), ("-", "--"), strict=False):
        suffix = f", {name}" if len(histories) > 1 else ""
        for key, label, colour in (("val_loss", f"{validation} loss", "red"), ("loss", "training loss", "blue")):
            epochs = range(1, len(history[key]) + 1)
            axes.plot(epochs, history[key], style, color=colour, marker=".", label=label + suffix)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend()
    figure.savefig(path, dpi=120)


def plot_forecast(
    dates: Sequence[str], prices: Sequence[float], forecasts: Mapping[str, Sequence[float]], title: str, path: Path
) -> None:
    """Draws forecasts and true prices into a PNG.

    Args:
        dates: The dates of the prices, in order.
        prices: The true prices.
        forecasts: For the name of each model, its forecasts of the same prices.
        title: The title above the plot.
        path: The path of the PNG.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: The file cannot be written.
    """
    figure, axes = _figure(title, xlabel="date", ylabel="price")
    axes.plot(prices, color="black", linewidth=1, label="truth")
    for (name, values), style, colour in zip(forecasts.items(), ("-", "--"), ("red", "blue"), strict=False):
        axes.plot(values, style, color=colour, linewidth=1, label=f"forecast, {name}")
    ticks = range(0, len(dates), max(1, len(dates) // 4))
    axes.set_xticks(ticks, [dates[tick] for tick in ticks])
    axes.legend()
    figure.savefig(path, dpi=120)


def _figure(title: str, *, xlabel: str, ylabel: str) -> tuple[Any, Any]:
    """A figure and its axes. They are made without pyplot, which needs a window system and has global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axes.grid(True)
    return figure, axes
