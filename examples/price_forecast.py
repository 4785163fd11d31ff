"""A forecast of prices: from a window of the past to the next value, plotted against the truth.

    python examples/price_forecast.py [FILE.csv]

The file has a column `close`. Without a file, the synthetic prices that come with fastseq are used. What the model sees
are changes of the price, so that it makes no difference how high prices have become. Its error is shown beside that of
the naive forecast, the last price again, which is hard to beat: on real prices, expect not to.
"""

import sys
from pathlib import Path

import keras
import numpy as np
from matplotlib.figure import Figure

import fastseq
from fastseq.keras import FastLSTM

SYNTHETIC = Path(fastseq.__file__).parent / "prices.csv"
WINDOW = 20


def build_model() -> keras.Model:
    """A window of changes to the next one."""
    return keras.Sequential([keras.Input((WINDOW, 1)), FastLSTM(32), keras.layers.Dense(1)])


def main(file: Path = SYNTHETIC, plot: Path = Path("forecast.png")) -> tuple[float, float]:
    """Trains on the first four fifths, and returns the mean absolute errors of model and naive forecast on the rest."""
    keras.utils.set_random_seed(0)
    prices = np.genfromtxt(file, delimiter=",", names=True, usecols="close")["close"]
    changes = np.diff(prices)
    windows = np.lib.stride_tricks.sliding_window_view(changes, WINDOW)[:-1, :, None]
    targets = changes[WINDOW:]
    split = len(targets) * 4 // 5
    scale = changes[: split + WINDOW].std()  # of nothing that training must not know

    model = build_model()
    model.compile(keras.optimizers.Adam(0.003), "mse")
    model.fit(windows[:split] / scale, targets[:split] / scale, batch_size=32, epochs=6, verbose=0)
    truth, last = prices[WINDOW + 1 :][split:], prices[WINDOW:-1][split:]
    forecast = last + scale * model.predict(windows[split:] / scale, verbose=0)[:, 0]
    error, naive = (float(np.abs(guess - truth).mean()) for guess in (forecast, last))

    axes = Figure(layout="constrained").add_subplot(xlabel="day", ylabel="price")
    axes.plot(truth, color="black", label="truth")
    axes.plot(forecast, color="red", label="forecast")
    axes.legend()
    axes.figure.savefig(plot)
    print(f"Mean absolute error: {error:.3f}, of the naive forecast: {naive:.3f}. Plotted into {plot}")
    return error, naive


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
