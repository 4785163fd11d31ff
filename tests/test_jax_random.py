"""fastseq.jax.bernoulli: the booleans of jax.random.bernoulli, by the kernels or, where they cannot, by JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from processes import run_python

jax = pytest.importorskip("jax", reason="JAX is not installed")
jnp = jax.numpy

import fastseq.jax as fj  # noqa: E402

KEYS = {
    "old": jax.random.PRNGKey(7),
    "new": jax.random.key(2**31 + 5),
    "numbers": np.array([3, 2**32 - 1], "uint32"),
}


def _calls_kernel(function: Callable[..., Any], *arguments: Any) -> bool:
    return "fastseq" in jax.jit(function).lower(*arguments).as_text()


@pytest.mark.parametrize("wrap", [lambda function: function, jax.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_bits_are_those_of_jax(key: Any, wrap: Callable[[Any], Any]) -> None:
    for p in (0.0, 1e-9, 0.3, 0.8, np.float64(0.5), 1.0):
        for shape in ((), (0,), (1,), (3, 257, 5), (40, 500, 16)):
            got, expected = (
                wrap(lambda key, draw=draw, p=p, shape=shape: draw(key, p, shape))(key)
                for draw in (fj.bernoulli, jax.random.bernoulli)
            )
            assert got.dtype == expected.dtype
            assert got.shape == expected.shape
            np.testing.assert_array_equal(got, expected, err_msg=f"{p} {shape}")
    assert _calls_kernel(lambda key: fj.bernoulli(key, 0.3, (5,)), key)


def test_defaults() -> None:
    assert fj.bernoulli(KEYS["new"]) == jax.random.bernoulli(KEYS["new"])


def test_transformations() -> None:
    keys = jax.random.split(KEYS["new"], 5)
    for draw in (fj.bernoulli, jax.random.bernoulli):
        got = jax.jit(jax.vmap(lambda key, draw=draw: draw(key, 0.3, (2, 9))))(keys)
        if draw is fj.bernoulli:
            expected = got
    np.testing.assert_array_equal(got, expected)

    def loss(x: Any, key: Any, draw: Any) -> Any:
        @jax.checkpoint
        def step(carry: Any, _: None) -> Any:
            x, key = carry
            key, own = jax.random.split(key)
            return (jnp.where(draw(own, 0.7, x.shape), jnp.sin(x), 0), key), None

        return jax.lax.scan(step, (x, key), None, 3)[0][0].sum()

    x = jnp.linspace(0.1, 2, 300)
    one, two = (
        jax.jit(jax.value_and_grad(loss), static_argnums=2)(x, KEYS["old"], draw)
        for draw in (fj.bernoulli, jax.random.bernoulli)
    )
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_array_equal(one[1], two[1])


@pytest.mark.parametrize(
    ("options", "key", "p"),
    [
        ({"jax_threefry_partitionable": False}, "old", 0.3),
        ({"jax_enable_x64": True}, "old", 0.3),
        ({}, "rbg", 0.3),
        ({}, "old", np.float32(0.3)),
        ({}, "old", np.array([0.1, 0.5, 0.9], "float32")),
        ({}, "old", 1.5),
        ({}, "old", float("nan")),
    ],
    ids=str,
)
def test_jax_draws_what_the_kernels_cannot(options: dict[str, bool], key: str, p: Any) -> None:
    before = {name: getattr(jax.config, name) for name in options}
    try:
        for name, value in options.items():
            jax.config.update(name, value)
        one = jax.random.key(3, impl="rbg") if key == "rbg" else KEYS[key]
        got, expected = (draw(one, p, (500, 3)) for draw in (fj.bernoulli, jax.random.bernoulli))
        np.testing.assert_array_equal(got, expected)
        assert not _calls_kernel(lambda key: fj.bernoulli(key, p, (500, 3)), one)
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


def test_errors_are_those_of_jax() -> None:
    for arguments in (
        (KEYS["new"], 1),
        (KEYS["new"], 0.5, (-1,)),
        (jnp.zeros(3, "uint32"),),
        (np.zeros(2, "float32"),),
    ):
        errors = []
        for draw in (fj.bernoulli, jax.random.bernoulli):
            with pytest.raises((TypeError, ValueError)) as raised:
                draw(*arguments)
            errors.append((type(raised.value), str(raised.value)))
        assert errors[0] == errors[1]


def test_several_devices_draw_their_own_parts() -> None:
    code = """
import jax
import fastseq.jax as fj
assert jax.device_count() == 2
draw = jax.jit(lambda key: fj.bernoulli(key, 0.3, (500,)))
assert "fastseq" not in draw.lower(jax.random.key(1)).as_text()
print(bool((draw(jax.random.key(1)) == jax.random.bernoulli(jax.random.key(1), 0.3, (500,))).all()))
"""
    done = run_python(code, XLA_FLAGS="--xla_force_host_platform_device_count=2")
    assert done.stdout.strip() == "True", done.stderr[-3000:]
