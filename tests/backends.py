"""What the layers' tests need of the Keras backend that this process runs on; KERAS_BACKEND says which.

Test modules take TensorFlow from here and do not import it: it is None on the other backends, where it need not be
installed.
"""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import pytest
import tolerances

from fastseq.keras import backend
from fastseq.keras.replacements import FAST_LAYERS, FAST_OPTIMIZERS

BACKEND = keras.backend.backend()


def _module(name: str) -> Any:
    return importlib.import_module(name) if name == BACKEND else None


tf, torch, jax = (_module(name) for name in ("tensorflow", "torch", "jax"))

ABOUT_TENSORFLOW = f"is about TensorFlow itself, and Keras runs on {BACKEND}"
needs_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason=ABOUT_TENSORFLOW)

# What comes of arguments that the kernels refuse.
REFUSALS: tuple[type[Exception], ...]
if tf is not None:
    REFUSALS = (tf.errors.InvalidArgumentError,)
elif jax is not None:
    REFUSALS = (ValueError, jax.errors.JaxRuntimeError)
else:
    REFUSALS = (ValueError,)

# Stock classes and fast ones. On PyTorch, `keras.optimizers.Adam` constructs another class, of which there is no twin.
TWINS: dict[type, type] = {**FAST_LAYERS, **({} if BACKEND == "torch" else FAST_OPTIMIZERS)}

# Of stock layers in float64, some of whose operations err as in float32: products of matrices and hard_sigmoid on
# PyTorch, tanh on JAX.
STOCK_FLOAT64 = tolerances.STOCK["float64" if BACKEND == "tensorflow" else "float32"]

Wrap = Callable[[Any], Any]


def needs_kernel(operation: str) -> pytest.MarkDecorator:
    """For tests of a kernel that not every backend has: an operation of `fastseq.keras.backend.Backend`."""
    return pytest.mark.skipif(backend.lacks(operation), reason=f"there is no such kernel on {BACKEND}: {operation}")


def use_native(operation: str) -> bool | str:
    """`use_native` of a layer that must run on the kernels where there is one."""
    return "auto" if backend.lacks(operation) else True


@contextlib.contextmanager
def float64() -> Iterator[None]:
    """Where there are tensors of float64, which JAX has only where it is told to."""
    with jax.enable_x64(True) if jax is not None else contextlib.nullcontext():
        yield


def torch_before(version: str) -> bool:
    """Whether this backend is PyTorch, older than a version."""
    return torch is not None and bool(torch.__version__ < version)  # compares as versions, not as text


def as_it_is(function: Any) -> Any:
    return function


def compiled(function: Any) -> Any:
    """The function as what traces functions on this backend makes of it."""
    if tf is not None:
        return tf.function(function)
    if jax is not None:
        return jax.jit(function)
    torch._dynamo.reset()  # which compiles the same code only so many times
    whole = not torch_before("2.9")  # Dynamo of older versions cannot look into Keras's own Layer.__call__
    return torch.compile(function, backend="aot_eager", fullgraph=whole)


def for_stock(wrap: Wrap) -> Wrap:
    """What goes around a stock layer beside a fast one in `wrap`; torch.compile cannot look into all stock ones."""
    return wrap if torch is None else as_it_is


every_wrap = pytest.mark.parametrize("wrap", [as_it_is, compiled], ids=["eager", "graph"])
# For what torch.compile does not look into: warnings, and numbers of NumPy.
every_wrap_but_dynamo = every_wrap if torch is None else pytest.mark.parametrize("wrap", [as_it_is], ids=["eager"])


def to_numpy(values: Any) -> Any:
    """Tensors and variables as NumPy arrays, in the lists that they are in."""

    def array(one: Any) -> Any:
        return None if one is None else keras.ops.convert_to_numpy(one)

    with warnings.catch_warnings():  # as in pyproject.toml, where a test has all warnings raised
        warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy keyword", DeprecationWarning)
        return keras.tree.map_structure(array, values)


def assert_close(got: Any, expected: Any, tolerance: float, what: str = "") -> None:
    """`tolerances.assert_close` of tensors."""
    tolerances.assert_close(to_numpy(got), to_numpy(expected), tolerance, what)


def assert_equal(got: Any, expected: Any, what: str = "") -> None:
    """`numpy.testing.assert_array_equal` of tensors."""
    np.testing.assert_array_equal(to_numpy(got), to_numpy(expected), err_msg=what)


def call(function: Callable[[Any], Any], x: Any, variables: Sequence[Any] = (), wrap: Wrap = as_it_is) -> Any:
    """What a function gives for an array, as NumPy arrays.

    Args:
        function: Of a tensor.
        x: The array.
        variables: All that the function uses.
        wrap: Goes around the function.
    """
    x = keras.ops.convert_to_tensor(x)
    if jax is None:
        return to_numpy(wrap(function)(x))
    outputs, after = wrap(_stateless(function, variables))(x, [one.value for one in variables])
    _assign(variables, after)
    return to_numpy(outputs)


def _stateless(function: Any, variables: Sequence[Any]) -> Any:
    """From x and the variables' values to what the function gives, and their values afterwards."""

    def compute(x: Any, values: Any) -> Any:
        with keras.StatelessScope(zip(variables, values, strict=True), collect_losses=True) as scope:
            outputs = function(x)
        return outputs, [scope.get_current_value(one) for one in variables]

    return compute


def _assign(variables: Sequence[Any], values: Sequence[Any]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def outputs_and_gradients(
    function: Callable[[Any], Any],
    x: Any,
    weights: Sequence[Any],
    states: Sequence[Any] = (),
    wrap: Wrap = as_it_is,
    weigh: Callable[[Any], Any] = keras.ops.sin,
) -> list[Any]:
    """What a function gives, and the gradients of a sum over it, by x and by variables, as NumPy arrays.

    Args:
        function: From a tensor to one or a list of them.
        x: An array of floats.
        weights: The variables.
        states: More variables, which the function may assign to.
        wrap: Goes around the function, with its gradients where the backend compiles these too.
        weigh: From an output to what is summed.
    """

    def flat(x: Any) -> list[Any]:
        return keras.tree.flatten(function(x))

    compute = {"tensorflow": _on_tensorflow, "torch": _on_torch, "jax": _on_jax}[BACKEND]
    outputs, gradients = compute(flat, x, weights, states, wrap, weigh)
    return to_numpy([*outputs, *gradients])


def _sum(outputs: Sequence[Any], weigh: Callable[[Any], Any]) -> Any:
    return sum(keras.ops.sum(weigh(output)) for output in outputs)


def _on_tensorflow(flat: Any, x: Any, weights: Any, states: Any, wrap: Wrap, weigh: Any) -> tuple[Any, Any]:
    def compute(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = flat(x)
            loss = _sum(outputs, weigh)
        return outputs, tape.gradient(loss, [x, *(weight.value for weight in weights)])

    return wrap(compute)(tf.constant(x))  # type: ignore[no-any-return]


def _on_torch(flat: Any, x: Any, weights: Any, states: Any, wrap: Wrap, weigh: Any) -> tuple[Any, Any]:
    x = keras.ops.convert_to_tensor(x).requires_grad_()
    outputs = wrap(flat)(x)
    wanted = [x, *(weight.value for weight in weights)]
    return outputs, torch.autograd.grad(_sum(outputs, weigh), wanted, allow_unused=True)


def _on_jax(flat: Any, x: Any, weights: Any, states: Any, wrap: Wrap, weigh: Any) -> tuple[Any, Any]:
    stateless = _stateless(flat, [*weights, *states])

    def loss(x: Any, values: Any, before: Any) -> Any:
        outputs, after = stateless(x, [*values, *before])
        return _sum(outputs, weigh), (outputs, after[len(weights) :])

    compute = wrap(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))
    values, before = ([one.value for one in variables] for variables in (weights, states))
    (_, (outputs, after)), (dx, dweights) = compute(keras.ops.convert_to_tensor(x), values, before)
    _assign(states, after)
    return outputs, [dx, *dweights]
