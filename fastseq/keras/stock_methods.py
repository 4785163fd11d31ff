"""Checks whether users have replaced the stock methods that a kernel computes.

Some programs replace methods of a Keras object or class: to keep dropout on in prediction, to watch a layer, or to
compute something else in a cell. A stock layer calls such methods. A fast layer runs on stock Keras then, so that the
methods are called, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

__all__ = ["StockMethods"]

_BASES = (*keras.layers.Layer.__mro__, *keras.optimizers.Optimizer.__mro__)


class StockMethods:
    """Methods of a stock class, as they were when this object was constructed.

    Args:
        stock: The class.
        overridden: The methods that the fast class overrides. If an object or a subclass replaces one of these, Python
            calls the replacement, so there is nothing to check.
        unused: Methods that the overridden methods call, but the kernel does not.
    """

    def __init__(self, stock: type, *, overridden: Sequence[str] = (), unused: Sequence[str] = ()) -> None:
        self._unused = tuple(unused)
        self._line = tuple(cls for cls in stock.__mro__ if cls not in _BASES)
        # `vars` gives a view that shows the current attributes of the class. It has no inherited methods.
        self._methods = [
            (cls, vars(cls), name, vars(cls).get(name)) for cls in self._line for name in (*overridden, *unused)
        ]

    def replaced(self, instance: Any) -> str | None:
        """Says which method an instance or one of its classes has replaced; None if there is no such method."""
        own = vars(instance)
        for name in self._unused:
            if name in own:
                return f"{instance.name}.{name} has been replaced"
        for cls, attributes, name, method in self._methods:
            if attributes.get(name) is not method:
                return f"{cls.__module__}.{cls.__qualname__}.{name} has been replaced"
        for one in type(instance).__mro__:
            if one in self._line:
                break
            for name in self._unused:
                if name in vars(one):
                    return f"{one.__qualname__}.{name} takes the place of the stock method"
        return None
