"""Predictor: predictions of a model without a framework."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq._libraries import core
from fastseq.commands import table
from fastseq.prediction.file import graph_from_bytes, graph_to_bytes, read_graph, write_graph
from fastseq.prediction.graph import Graph, GraphInput
from fastseq.prediction.optimization import optimized
from fastseq.prediction.tables import with_tables

__all__ = ["Predictor"]

_INTEGERS = ("int32", "int64")
_MOST_THREADS = 2**31 - 1


class Predictor:
    """Predicts what a Keras model predicts, on NumPy arrays, with no framework in the call.

    A call computes `model(inputs, training=False)`: the same values but for rounding. It takes microseconds, where
    Keras takes a tenth of a millisecond for each layer and tens of milliseconds for `model.predict`. Weights are packed
    once, and nothing but the results is allocated once a call of the same shapes has been made. Behind an Embedding,
    the table is multiplied by the next layer's weights once, too.

    A predictor has a copy of the weights: it does not follow when the model is trained further. Several threads may
    call it at the same time; it works in forked processes, and can be pickled. It releases Python's global lock.

    A stateful model keeps its states between calls, as in Keras; `reset_states` sets them to zero. They are zero at
    first, and in files, pickles and copies. Its batch size is fixed, and its calls wait for each other.

    Args:
        model: A built Keras model, Sequential or functional, of fast or stock layers, on any Keras backend.

    Raises:
        TypeError: `model` is not a Keras model.
        fastseq.prediction.UnsupportedLayerError: There is no operation for a layer, or for one of its settings. The
            message names the layer and the reason.

    >>> import keras, numpy as np
    >>> from fastseq import Predictor
    >>> layers = keras.layers
    >>> model = keras.Sequential([keras.Input((None,)), layers.Embedding(1000, 16), layers.LSTM(8), layers.Dense(3)])
    >>> predictor = Predictor(model)
    >>> ids = np.array([[7, 42, 5, 0]])
    >>> bool(np.allclose(predictor(ids), model(ids), atol=1e-6))
    True
    """

    def __init__(self, model: Any) -> None:
        from fastseq.prediction.lowering import lower

        self._use(lower(model))

    def _use(self, graph: Graph) -> None:
        self._graph = graph
        compiled = with_tables(optimized(graph))
        self._program = core.Program(
            compiled.constants,
            [{"name": one.name, "rank": one.rank, "dtype": one.dtype} for one in compiled.inputs],
            [vars(node) for node in compiled.nodes],
            compiled.outputs,
        )
        self._constants = compiled.constants
        self._labels = [(node.label, node.operation) for node in compiled.nodes]
        states = len(graph.states)
        self._inputs = graph.inputs[: len(graph.inputs) - states]
        self._state_dtypes = [one.dtype for one in graph.inputs[len(graph.inputs) - states :]]
        self._lock = os.getpid(), threading.Lock()
        self._states: list[NDArray[Any]] = []
        self.reset_states()

    @classmethod
    def _of_graph(cls, graph: Graph) -> Predictor:
        predictor = cls.__new__(cls)
        predictor._use(graph)
        return predictor

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Predictor:
        """Loads a predictor from a file. It needs NumPy and fastseq only, no Keras and no framework.

        Args:
            path: A file of `save`.

        Raises:
            ValueError: The file is damaged, is of another kind, or comes from a newer version of fastseq.
            OSError: The file cannot be read.
        """
        graph = read_graph(path)
        try:
            return cls._of_graph(graph)
        except (MemoryError, TypeError, ValueError) as error:
            raise ValueError(
                f"{os.fspath(path)} is not a file of fastseq.Predictor that can be used: {error}"
            ) from None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Saves the predictor to one file, without the states of a stateful model.

        The file is a zip archive of arrays in NumPy's format and a graph in JSON. It has nothing that runs when it is
        loaded.

        Args:
            path: The file, "model.fastseq" by custom. An older file is replaced when the new one is complete.

        Raises:
            OSError: The file cannot be written.
        """
        write_graph(self._graph, path)

    def __repr__(self) -> str:
        return f"<fastseq.Predictor from {', '.join(self.input_names)} to {', '.join(self.output_names)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _from_bytes, (graph_to_bytes(self._graph),)

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the inputs, in the order of the model."""
        return self._graph.input_structure.names

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the outputs, in the order of the model."""
        return self._graph.output_structure.names

    @property
    def nbytes(self) -> int:
        """The bytes of weights, of what is made of them for the calls, and of memory that is kept between calls."""
        arrays = {id(array): array.nbytes for array in (*self._graph.constants, *self._constants)}
        return sum(arrays.values()) + self._program.bytes

    def __call__(self, inputs: Any, *, threads: int | None = None) -> Any:
        """Predicts a batch. Results are bitwise the same for any number of threads and any division into batches.

        Batch sizes and lengths may differ from call to call. A large batch is computed in pieces.

        Args:
            inputs: An array, or a list or dict of arrays as the model takes them; the batch is their first axis. Floats
                have the model's dtype or a smaller one, integers that it can hold are numbers as well: nothing is
                rounded. Ids are integers, or floats that are whole numbers. Lists of numbers become arrays of the
                model's dtype.
            threads: The largest number of threads; None for the process's (`fastseq.runtime`).

        Returns:
            An array, or a list, tuple or dict of arrays as the model returns them.

        Raises:
            TypeError: An array has a wrong dtype, or `threads` is no int.
            ValueError: An array has a wrong shape, an id is out of range, or `threads` is less than 1.
        """
        arrays, threads = self._arrays(inputs), _number_of(threads)
        if not self._graph.states:
            return self._graph.output_structure.pack(self._program.run(arrays, threads))
        with self._one_by_one():
            results = self._program.run([*arrays, *self._states], threads)
            outputs = results[: -len(self._states)]
            self._states = results[len(outputs) :]
        return self._graph.output_structure.pack(outputs)

    def _one_by_one(self) -> threading.Lock:
        """The lock of the states. In a forked child, a thread of the parent may seem to hold the old one for ever."""
        if self._lock[0] != os.getpid():
            self._lock = os.getpid(), threading.Lock()
        return self._lock[1]

    def reset_states(self) -> None:
        """Sets the states of a stateful model to zero. Waits for a call in another thread."""
        with self._one_by_one():
            self._states = [
                np.zeros(state.shape, dtype)
                for state, dtype in zip(self._graph.states, self._state_dtypes, strict=True)
            ]

    def _arrays(self, inputs: Any) -> list[NDArray[Any]]:
        structure = self._graph.input_structure
        if structure.kind == "single":
            if isinstance(inputs, Mapping) and set(inputs) == set(structure.names):
                (inputs,) = inputs.values()
            elif isinstance(inputs, (list, tuple)) and len(inputs) == 1 and isinstance(inputs[0], np.ndarray):
                (inputs,) = inputs
            return [_array(self._inputs[0], inputs)]
        if isinstance(inputs, Mapping):
            if set(inputs) != set(structure.names):
                raise ValueError(f"inputs must have the keys {sorted(structure.names)}, got {sorted(map(str, inputs))}")
            inputs = [inputs[name] for name in structure.names]
        elif structure.kind == "dict" or not isinstance(inputs, Sequence):
            raise TypeError(
                f"inputs must be a {structure.kind} of {len(structure.names)} arrays ({', '.join(structure.names)}), "
                f"got {type(inputs).__name__}"
            )
        if len(inputs) != len(structure.names):
            raise ValueError(f"inputs must be {len(structure.names)} arrays, got {len(inputs)}")
        return [_array(expected, given) for expected, given in zip(self._inputs, inputs, strict=True)]

    def summary(self, inputs: Any = None, *, threads: int | None = None, rounds: int = 20) -> None:
        """Prints a line for each operation of the model, in the order in which they are computed.

        Args:
            inputs: As in a call. With them, the lines have the shapes and bytes of results, and microseconds.
            threads: As in a call.
            rounds: How often the inputs are predicted; the times are medians. States stay as they are.
        """
        header, rows = ["layer", "operation"], [list(label) for label in self._labels]
        total = ""
        if inputs is not None:
            if rounds < 1:
                raise ValueError(f"rounds must be at least 1, got {rounds}")
            with self._one_by_one():
                arrays = [*self._arrays(inputs), *self._states]
            profiles = [self._program.profile(arrays, _number_of(threads)) for _ in range(rounds)]
            times = np.median([seconds for _, seconds, _, _ in profiles], axis=0) * 1e6
            _, _, sizes, shapes = profiles[-1]
            header += ["shape", "bytes", "microseconds"]
            for row, shape, size, time in zip(rows, shapes, sizes, times, strict=True):
                row += [str(shape), f"{size:,}", f"{time:,.1f}"]
            total = f"\n{times.sum():,.1f} microseconds in operations"
        print(table(header, rows))
        weights = sum(array.nbytes for array in self._graph.constants)
        print(f"{weights:,} bytes of weights{total}")


def _number_of(threads: Any) -> int:
    """The argument `threads` as the program takes it."""
    if threads is None:
        return 0
    if not isinstance(threads, (int, np.integer)) or isinstance(threads, bool):
        raise TypeError(f"threads must be an int or None, got {type(threads).__name__}")
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    if threads > _MOST_THREADS:
        raise ValueError(f"threads must be at most {_MOST_THREADS}, got {threads}")
    return int(threads)


def _array(expected: GraphInput, given: Any) -> NDArray[Any]:
    """An input as a contiguous array of a dtype that the program takes, with the same values."""
    if isinstance(given, np.ma.MaskedArray):
        raise TypeError(f"{expected.name} must be an array without a mask, got numpy.ma.{type(given).__name__}")
    array = given if type(given) is np.ndarray else np.asarray(given)
    shape = expected.shape
    if shape is not None and array.ndim == len(shape):
        for size, declared in zip(array.shape[1:], shape[1:], strict=True):
            if declared is not None and size != declared:
                sizes = ", ".join(["batch", *("any" if one is None else str(one) for one in shape[1:])])
                raise ValueError(f"{expected.name} must have shape ({sizes}), got {array.shape}")
    if not array.flags.c_contiguous or not array.flags.aligned:
        array = np.array(array, order="C")
    wanted = expected.dtype
    if array.dtype.name == wanted or (wanted == "integers" and array.dtype.name in _INTEGERS):
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    if wanted == "integers":
        return _ids(expected.name, array)
    is_number = array.dtype.kind in "fiu"
    if wanted == "bool" or not is_number:
        raise TypeError(f"{expected.name} must have dtype {wanted}, got {array.dtype}")
    with np.errstate(all="ignore"):  # numbers that do not fit are refused below
        same = array.astype(wanted)
        if isinstance(given, (list, tuple, int, float)):  # numbers of Python have no dtype
            return same
        exact = array.dtype.kind in "iu" and np.array_equal(same.astype(array.dtype), array)
    if not exact and not np.can_cast(array.dtype, wanted, "safe"):
        raise TypeError(
            f"{expected.name} must have dtype {wanted}, or numbers that it can hold, got {array.dtype}; "
            f".astype({wanted!r}) rounds them"
        )
    return same


def _ids(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind == "f":
        # Keras's Input has dtype float32 if none is given, so ids often come as floats.
        with np.errstate(invalid="ignore"):
            ids = array.astype(np.int64)
        if not np.array_equal(ids, array):
            raise ValueError(f"{name} must have ids, which are whole numbers, got others")
        return ids
    if array.dtype.kind == "b" or not np.can_cast(array.dtype, np.int64, "safe"):
        raise TypeError(f"{name} must have ids of an integer dtype up to int64, got {array.dtype}")
    return array.astype(np.int64)


def _from_bytes(data: bytes) -> Predictor:
    """Unpickles a predictor."""
    return Predictor._of_graph(graph_from_bytes(data))
