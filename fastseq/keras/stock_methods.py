"""Whether the stock methods that a kernel stands in for are still Keras's own.

People replace methods for a while, on an object or on a class of Keras's: dropout that stays on in prediction, layers
that are watched, cells that compute something else. A stock layer obeys, and so must a fast one: it runs on stock Keras
then, which calls the methods as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

__all__ = ["StockMethods"]

_BASES = (*keras.layers.Layer.__mro__, *keras.optimizers.Optimizer.__mro__)


class StockMethods:
    """Methods of a stock class, as they were when this was made.

    Args:
        stock: The class.
        overridden: The methods that the fast class has in their place. Where one is replaced on an object, or in a
            subclass, Python calls the user's, and there is nothing to find out.
        unused: Methods that these call, and the kernel does not.
    """

    def __init__(self, stock: type, *, overridden: Sequence[str] = (), unused: Sequence[str] = ()) -> None:
        self._unused = tuple(unused)
        self._line = tuple(cls for cls in stock.__mro__ if cls not in _BASES)
        # A class's own attributes, seen as they are at any time. Where a class inherits a method, it has none itself.
        self._methods = [
            (cls, vars(cls), name, vars(cls).get(name)) for cls in self._line for name in (*overridden, *unused)
        ]

    def replaced(self, instance: Any) -> str | None:
        """Which method is not what it was, on an instance or a class in its line, in words; None if all are."""
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
