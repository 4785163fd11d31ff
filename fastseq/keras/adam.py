"""FastAdam: `keras.optimizers.Adam` over fastseq's kernels."""

from __future__ import annotations

from typing import Any

import keras

from fastseq.keras import backend
from fastseq.keras.native import NativeChoice, replacement_for
from fastseq.keras.tensors import NATIVE_DTYPES

_MAX_RANK = 8
# The class of the optimizer that `keras.optimizers.Adam(...)` constructs. On PyTorch that is another class, which
# updates all variables at once.
_Adam: Any = type(keras.optimizers.Adam.__new__(keras.optimizers.Adam))


def _is_number_of(dtype: str, number: Any) -> bool:
    """Whether a number is a Python number or a scalar of the variable's dtype; stock Keras computes alike with both."""
    if hasattr(number, "dtype"):
        return tuple(number.shape) == () and bool(keras.backend.standardize_dtype(number.dtype) == dtype)
    return isinstance(number, (int, float))


@replacement_for(keras.optimizers.Adam, overridden=["update_step"])
class FastAdam(NativeChoice, _Adam):  # type: ignore[misc]
    """`keras.optimizers.Adam`, whose update is one pass over memory; stock Keras makes a dozen passes.

    Takes every argument of the stock optimizer and has the same variables under the same names. So the state of either
    can be loaded into the other. Clipping, weight decay, moving averages, gradient accumulation, loss scaling and
    schedules are the stock optimizer's own code. For the same gradients, momentum and velocity equal the stock
    optimizer's bit by bit. So does the variable wherever TensorFlow rounds square roots correctly, as its releases for
    x86-64 do.

    An Embedding's table gains most. Its gradient comes as slices (`tf.IndexedSlices`), and the kernel sums them in the
    same pass, to the same sums.

    The kernels update variables of float32 and float64 on the TensorFlow backend on a CPU. `beta_1`, `beta_2` and
    `epsilon` must be Python numbers or numbers of the variable's dtype. Stock Keras updates all other variables, and
    all variables in a step that XLA compiles, because XLA has no custom operations. On a CPU, Keras has XLA compile a
    step only if `compile` is given `jit_compile=True` and the model has no fast layers.

    Args:
        learning_rate: A number, a schedule or a callable, as in the stock optimizer.
        use_native: `"auto"`, `True` or `False`, as in `FastLSTM`.
        **kwargs: All other arguments of `keras.optimizers.Adam`.

    Raises:
        ValueError: As `keras.optimizers.Adam`, or as said under `use_native` of `FastLSTM`.

    References:
        Kingma and Ba 2015, "Adam: a method for stochastic optimization"; Reddi, Kale and Kumar 2018, "On the
        convergence of Adam and beyond". The exact definition is `fastseq.reference.adam`.

    >>> import keras
    >>> from fastseq.keras import FastAdam, FastEmbedding
    >>> model = keras.Sequential([FastEmbedding(1000, 4), keras.layers.Flatten(), keras.layers.Dense(1)])
    >>> model.compile(FastAdam(1e-3), "mse")
    """

    native_op = "adam"
    _kind = "optimizer"

    def _update_reason(self, variable: Any) -> str | None:
        dtype = keras.backend.standardize_dtype(variable.dtype)
        if dtype not in NATIVE_DTYPES:
            return f"variables must be of {' or '.join(NATIVE_DTYPES)}, got {dtype}"
        if len(variable.shape) > _MAX_RANK:
            return f"variables must have at most {_MAX_RANK} dimensions, got {len(variable.shape)}"
        for name in ("beta_1", "beta_2", "epsilon"):
            if not _is_number_of(dtype, number := getattr(self, name)):
                return f"{name} must be a Python number or of the variable's dtype {dtype}, got {number!r}"
        return None

    def _backend_update_step(self, grads: Any, trainable_variables: Any, learning_rate: Any) -> None:
        """Updates all variables of a dtype by one operation, and those that the kernels do not cover one by one."""
        if not self._updates_together():
            super()._backend_update_step(grads, trainable_variables, learning_rate)
            return
        by_dtype: dict[str, list[tuple[Any, Any]]] = {}
        others = []
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            if self._runs_native(self._update_reason(variable)):
                by_dtype.setdefault(keras.backend.standardize_dtype(variable.dtype), []).append((gradient, variable))
            else:
                others.append((gradient, variable))
        for pairs in by_dtype.values():
            self._update([gradient for gradient, _ in pairs], [variable for _, variable in pairs], learning_rate)
        if others:
            super()._backend_update_step([g for g, _ in others], [variable for _, variable in others], learning_rate)

    def _updates_together(self) -> bool:
        """Whether nobody needs a call of `update_step` for each variable: no subclass, no distribution strategy."""
        if self.reason_against() or "update_step" in vars(self) or type(self).update_step is not _update_step:
            return False
        return not backend.load().is_distributed(self)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """See `keras.optimizers.Optimizer.update_step`."""
        if self._runs_native(self._update_reason(variable)):
            self._update([gradient], [variable], learning_rate)
        else:
            super().update_step(gradient, variable, learning_rate)

    def _update(self, gradients: Any, variables: Any, learning_rate: Any) -> None:
        states = []
        for variable in variables:
            index = self._get_variable_index(variable)
            states.append([variable, self._momentums[index], self._velocities[index]])
            if self.amsgrad:
                states[-1].append(self._velocity_hats[index])
        adam = backend.load().adam
        assert adam is not None
        settings = (self.iterations, learning_rate, self.beta_1, self.beta_2, self.epsilon)
        for state, updated in zip(states, adam(states, gradients, *settings), strict=True):
            for old, new in zip(state, updated, strict=True):
                self.assign(old, new)


_update_step = FastAdam.update_step
