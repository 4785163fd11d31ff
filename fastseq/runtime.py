"""Threads, instruction set, idle memory and build of this installation. Settings are those of the whole process."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Any, ClassVar

from fastseq._libraries import core as _core

__version__: str = _core.build_info()["version"]

__all__ = [
    "available_isas",
    "build_info",
    "get_num_threads",
    "idle_memory",
    "isa",
    "keep_freed_memory",
    "release_idle_memory",
    "set_isa",
    "set_num_threads",
]


def get_num_threads() -> int:
    """The largest number of threads of an operation.

    It is the number given to `set_num_threads`. Before that it is OpenMP's: `OMP_NUM_THREADS`, else the number of CPUs,
    or fewer if the CPU time of the process is limited, as in a container. In a forked child process it is always 1,
    since OpenMP runtimes do not survive a fork. An operation never has more threads than CPUs that the process may use.

    >>> import fastseq.runtime
    >>> fastseq.runtime.get_num_threads() >= 1
    True
    """
    return _core.num_threads()


def set_num_threads(threads: int | None) -> None:
    """Sets the largest number of threads of an operation, for all Python and framework threads.

    Results are the same to the bit for any number of threads.

    Args:
        threads: At least 1, or None to follow OpenMP (`OMP_NUM_THREADS`) again.

    Raises:
        ValueError: `threads` is less than 1.
        TypeError: `threads` is not an integer.
    """
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int)):
        raise TypeError(f"threads must be an int or None, got {type(threads).__name__}")
    if threads is not None and not 1 <= threads <= 2**31 - 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    _core.set_num_threads(threads or 0)


def isa() -> str:
    """The instruction set in use: one of `available_isas()`.

    It is the best one that this machine supports, unless the environment variable `FASTSEQ_ISA` or `set_isa` names
    another.

    Raises:
        ValueError: `FASTSEQ_ISA` is not one of `available_isas()`.
    """
    return _core.isa()


def set_isa(name: str) -> None:
    """Sets the instruction set for all later calls.

    Args:
        name: One of `available_isas()`.

    Raises:
        ValueError: `name` is unknown, or this machine does not support it.
    """
    _core.set_isa(name)


def available_isas() -> list[str]:
    """The instruction sets that this build has and this machine supports, slowest first."""
    return _core.available_isas()


def idle_memory() -> int:
    """The number of bytes that fastseq keeps for later calls.

    Blocks of 1 MiB and more are used again when the arrays in them are freed, since the system takes longer to allocate
    such a block than some calls take to compute. At most 1 GiB or an eighth of the machine's memory is kept, whichever
    is less.
    """
    return _core.idle_memory()


def release_idle_memory() -> None:
    """Gives the memory that `idle_memory` counts back to the system. Memory of arrays and tensors is not affected.

    >>> import fastseq.runtime
    >>> fastseq.runtime.release_idle_memory()
    >>> fastseq.runtime.idle_memory()
    0
    """
    _core.release_idle_memory()


def keep_freed_memory(limit: int = 2**30) -> None:
    """Makes the C library keep memory that is freed, for the whole process, instead of returning it to the system.

    By default the C library takes each large block from the system and returns it when it is freed. The system clears
    every page of a new block. Frameworks that allocate large arrays in every training step, such as XLA in Keras on
    JAX, spend a part of the step on that. fastseq's own blocks do not come from the C library: see `idle_memory`.

    It applies to all libraries in the process and cannot be undone.

    Args:
        limit: In bytes, the largest block and the most freed memory that the C library keeps. Versions of it before
            2.35 take only blocks of up to 32 MiB from the memory that they keep.

    Raises:
        ValueError: `limit` is not between 1 MiB and 2 GiB.
        OSError: The C library has no `mallopt`, which is the GNU C library's, or refuses the limit.

    References:
        `mallopt(3)`: M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_TOP_PAD.
    """
    if not 2**20 <= limit < 2**31:
        raise ValueError(f"limit must be between {2**20} and {2**31 - 1} bytes, got {limit}")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    settings = {"M_MMAP_THRESHOLD": -3, "M_TRIM_THRESHOLD": -1, "M_TOP_PAD": -2}
    if mallopt is None:
        raise OSError("keep_freed_memory needs the GNU C library, whose function mallopt this C library does not have")
    for name, number in settings.items():
        if mallopt(number, limit) != 1 and mallopt(number, min(limit, 2**25)) != 1:
            raise OSError(f"the C library refuses {name}={limit}")


def build_info() -> dict[str, str]:
    """The properties of this build: version, compiler, build_type, openmp (yyyymm), cuda."""
    return _core.build_info()


def _register_with_threadpoolctl() -> None:
    """Lets `threadpoolctl.threadpool_limits` set fastseq's number of threads, for all threads of the process.

    Without this, it would only change OpenMP's setting for the calling thread. That has no effect on the threads on
    which a framework runs its operations.
    """
    try:
        import threadpoolctl
    except ImportError:
        return
    if not hasattr(threadpoolctl, "register"):  # older than 3.4
        return

    class FastseqController(threadpoolctl.LibController):  # type: ignore[misc]
        user_api = "openmp"
        internal_api = "fastseq"
        filename_prefixes = ("libfastseq.", "libfastseq-")
        # OpenMP's number of threads, as of the last call of get_num_threads while OpenMP decided. threadpoolctl calls
        # that before it sets any library's threads, and sets this number again at the end of a limit. Then OpenMP is
        # to decide again.
        _openmp_gave: ClassVar[int | None] = None

        def get_num_threads(self) -> int:
            threads = _core.num_threads()
            if _core.requested_threads() == 0:
                type(self)._openmp_gave = threads
            return threads

        def set_num_threads(self, num_threads: int) -> Any:
            decided = _core.requested_threads() != 0
            _core.set_num_threads(0 if decided and num_threads == self._openmp_gave else num_threads)

        def get_version(self) -> str:
            return __version__

        def set_additional_attributes(self) -> None:
            with contextlib.suppress(ValueError):
                self.isa = _core.isa()

    threadpoolctl.register(FastseqController)


_register_with_threadpoolctl()
