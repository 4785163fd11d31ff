"""The definition of dropout, with the random numbers of TensorFlow's stateless operations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fastseq.functional.arrays import FloatArray

_Words = NDArray[np.uint64]  # each below 2^32

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = 0x9E3779B9, 0xBB67AE85

# The key with which TensorFlow turns a seed into a key and a counter.
_SCRAMBLING_KEY = 0x3EC8F720, 0x02461E29

# By dtype, how many random bits of a word its uniform numbers have. Numbers in float64 have 52 bits of two words.
_RANDOM_BITS = {"float32": 23, "float16": 10, "bfloat16": 7}


def philox(counters: _Words, key: tuple[int, int]) -> _Words:
    """The generator Philox4x32-10.

    Args:
        counters: (count, 4), words of 32 bits.
        key: Two words of 32 bits.

    Returns:
        (count, 4): random words of 32 bits.

    References:
        Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".
    """
    a, b, c, d = counters.T
    for step in range(10):
        key0, key1 = (np.uint64((word + step * weyl) & 0xFFFFFFFF) for word, weyl in zip(key, _WEYL, strict=True))
        product0, product1 = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a, b, c, d = (product1 >> _HALF) ^ b ^ key0, product1 & _LOW, (product0 >> _HALF) ^ d ^ key1, product0 & _LOW
    return np.stack([a, b, c, d], axis=1)


def _two_words(numbers: NDArray[np.uint64]) -> list[_Words]:
    """The low and the high words of numbers of 64 bits."""
    return [numbers & _LOW, numbers >> _HALF]


def _random_words(seed: Sequence[int], count: int) -> _Words:
    seeds = np.array([[int(number) % 2**64] for number in seed], np.uint64)
    scrambled = philox(np.stack([*_two_words(seeds[0]), *_two_words(seeds[1])], axis=1), _SCRAMBLING_KEY)[0]
    indices = np.arange(-(-count // 4), dtype=np.uint64)
    high = [np.full_like(indices, word) for word in scrambled[2:]]
    counters = np.stack([*_two_words(indices), *high], axis=1)
    return philox(counters, (int(scrambled[0]), int(scrambled[1]))).reshape(-1)[:count]


def dropout_noise(shape: Sequence[int], seed: Sequence[int], dtype: str = "float32") -> NDArray[np.float64]:
    """The result of `tf.random.stateless_uniform(shape, seed, dtype=dtype)` on a CPU.

    Args:
        shape: The shape of the result.
        seed: Two integers.
        dtype: "float32", "float64", "float16" or "bfloat16". The numbers differ between dtypes.

    Returns:
        Uniform numbers in [0, 1). All are exact in `dtype` as well.
    """
    count = int(np.prod(shape, dtype=np.int64))
    if dtype == "float64":
        first, second = _random_words(seed, 2 * count).reshape(count, 2).T
        numbers = ((first & np.uint64(2**20 - 1)) << _HALF | second) / 2.0**52
    else:
        bits = _RANDOM_BITS[dtype]
        numbers = (_random_words(seed, count) & np.uint64(2**bits - 1)) / 2.0**bits
    return np.asarray(numbers, np.float64).reshape(shape)


def dropout(
    x: FloatArray, rate: float, seed: Sequence[int], *, noise_shape: Sequence[int | None] | None = None
) -> FloatArray:
    """See `fastseq.functional.dropout`, which gives the same bits.

    All steps are exact, except one product in the dtype of x.
    """
    shape = x.shape
    if noise_shape is not None:
        sizes = x.shape[x.ndim - len(noise_shape) :]
        shape = tuple(own if size is None else size for own, size in zip(sizes, noise_shape, strict=True))
    keep = dropout_noise(shape, seed, x.dtype.name) >= x.dtype.type(rate)
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = x * x.dtype.type(np.float64(1.0) / (1.0 - rate))
    return np.where(keep, scaled, x.dtype.type(0.0))
