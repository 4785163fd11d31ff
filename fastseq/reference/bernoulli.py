"""The definition of random booleans with the bits of `jax.random.bernoulli`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)


def threefry(counters: NDArray[np.uint64], key: Sequence[int]) -> NDArray[np.uint32]:
    """The generator Threefry2x32-20.

    Args:
        counters: (count,), numbers of 64 bits.
        key: Two words of 32 bits.

    Returns:
        (2, count): random words.

    References:
        Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".
    """
    first, second = (np.uint32(int(word) & 0xFFFFFFFF) for word in key)
    keys = first, second, first ^ second ^ np.uint32(0x1BD11BDA)
    with np.errstate(over="ignore"):
        a = (counters >> np.uint64(32)).astype(np.uint32) + keys[0]
        b = counters.astype(np.uint32) + keys[1]
        for group in range(5):
            for bits in _ROTATIONS[group % 2]:
                a = a + b
                b = (b << np.uint32(bits) | b >> np.uint32(32 - bits)) ^ a
            a = a + keys[(group + 1) % 3]
            b = b + keys[(group + 2) % 3] + np.uint32(group + 1)
    return np.stack([a, b])


def bernoulli(key: Sequence[int], probability: float, count: int) -> NDArray[np.bool_]:
    """The result of `jax.random.bernoulli(key, probability, (count,))` in float32.

    Args:
        key: Two words of 32 bits, signed or not.
        probability: The probability of True.
        count: The number of booleans.
    """
    a, b = threefry(np.arange(count, dtype=np.uint64), key)
    return np.asarray(((a ^ b) >> np.uint32(9)) / 2.0**23 < np.float32(probability))
