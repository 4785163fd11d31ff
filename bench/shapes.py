"""The named shapes that every benchmark uses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RecurrentShape:
    batch: int
    timesteps: int
    inputs: int
    units: int

    def lstm_flops(self, *, backward: bool) -> int:
        """Floating-point operations of the matrix products: one forward, two more of the same size backward."""
        forward = 2 * self.batch * self.timesteps * 4 * self.units * (self.inputs + self.units)
        return forward * (3 if backward else 1)


RECURRENT = {
    "reuters": RecurrentShape(20, 100, 100, 100),
    "imdb-cnn-lstm": RecurrentShape(40, 124, 64, 55),
    "imdb-attention": RecurrentShape(40, 500, 500, 64),
    "one-row": RecurrentShape(1, 100, 100, 100),
}
