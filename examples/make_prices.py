"""Makes the prices that `price_forecast.py` and `fastseq train price-forecast` learn from. They are SYNTHETIC.

2000 working days of a geometric random walk whose daily returns depend on the two days before: they tend to go on in
the direction of yesterday's and against that of the day before. So a forecast can beat "tomorrow's price is today's"
by about an eighth. Real prices have next to no such structure.

    python examples/make_prices.py > fastseq/prices.csv
"""

import numpy as np

DAYS = 2000


def make_prices() -> str:
    """The CSV file: columns date and close."""
    rng = np.random.RandomState(0)  # a generator whose numbers never change from one NumPy to the next
    returns = 0.011 * rng.standard_normal(DAYS)
    for day in range(2, DAYS):
        returns[day] += 0.5 * returns[day - 1] - 0.3 * returns[day - 2]
    closes = 100 * np.exp(np.cumsum(returns + 0.0002))
    dates = np.busday_offset("2016-01-04", np.arange(DAYS))
    return "date,close\n" + "".join(f"{date},{close:.2f}\n" for date, close in zip(dates, closes, strict=True))


if __name__ == "__main__":
    print(make_prices(), end="")
