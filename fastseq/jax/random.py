"""Random numbers with the bits of `jax.random`."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from fastseq.jax.operations import call_handler

__all__ = ["bernoulli"]

_GENERATOR = "threefry2x32"


def bernoulli(key: jax.Array, p: Any = 0.5, shape: Sequence[int] | None = None) -> jax.Array:
    """Draws the booleans that `jax.random.bernoulli` draws, several times as fast on a CPU.

    The kernels draw with JAX's default random number generator, if `p` is a float, JAX computes on one CPU device and
    `jax_enable_x64` is off. In all other cases, the function calls `jax.random.bernoulli`.

    Args:
        key: A random key, of either of JAX's kinds.
        p: The probability of True.
        shape: The shape of the result; None for the shape of `p`.

    Returns:
        An array of bool, of this shape.

    References:
        Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".

    >>> import jax
    >>> from fastseq.jax import bernoulli
    >>> bernoulli(jax.random.key(3), 0.3, (5,))
    Array([ True, False, False, False,  True], dtype=bool)
    """
    words = _words(key)
    if words is None or not isinstance(p, float) or not 0 <= p <= 1:
        return jax.random.bernoulli(key, p, shape)
    sizes = tuple(operator.index(size) for size in shape or ())
    if any(size < 0 for size in sizes):
        return jax.random.bernoulli(key, p, shape)
    outputs: jax.Array = _drawn(float(p), math.prod(sizes))(words)
    return outputs.reshape(sizes)


def _words(key: Any) -> jax.Array | None:
    """The two words of a key whose numbers the kernels can draw; None for any other key, or other settings of JAX."""
    if (
        not jax.config.jax_threefry_partitionable
        or jax.config.jax_enable_x64
        or jax.default_backend() != "cpu"
        or jax.device_count() > 1
    ):
        return None
    key = jnp.asarray(key)
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        if str(jax.random.key_impl(key)) != _GENERATOR:
            return None
        key = jax.random.key_data(key)
    elif jax.config.jax_default_prng_impl != _GENERATOR:
        return None
    if key.shape != (2,) or key.dtype != jnp.uint32:
        return None
    return key


@functools.cache
def _drawn(p: float, count: int) -> Any:
    """The function of a key's words that draws `count` booleans."""

    @jax.custom_batching.custom_vmap  # type: ignore[untyped-decorator]
    def draw(words: jax.Array) -> jax.Array:
        settings = {"probability": p, "count": count}
        key = jax.lax.bitcast_convert_type(words, jnp.int32)
        return call_handler("bernoulli", {"key": key}, settings)["outputs"]

    @draw.def_vmap  # type: ignore[untyped-decorator]
    def batched(_: int, __: Sequence[bool], words: jax.Array) -> tuple[Any, bool]:
        def draw_one(own: jax.Array) -> jax.Array:
            return jax.random.bernoulli(jax.random.wrap_key_data(own, impl=_GENERATOR), p, (count,))

        return jax.vmap(draw_one)(words), True

    return draw
