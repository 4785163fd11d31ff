"""The machine's peak of single-precision fused multiply-adds, to measure beside what is timed."""

from __future__ import annotations

import ctypes
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from cache import cache_folder, key
from environment import cpu_name
from timing import Turn

_SOURCE = Path(__file__).with_name("fma_peak.cc")
# By fastseq's instruction set: the flags, and the bytes of a vector. Any other takes what the compiler makes of 16
# bytes on this machine: NEON on ARM, SSE registers on x86.
_VARIANTS = {"avx512": (["-mavx512f", "-mfma"], 64), "avx2": (["-mavx2", "-mfma"], 32)}
_FALLBACK = (["-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native"], 16)

# Returns floating-point operations a second on so many threads.
Peak = Callable[[int], float]


def load_peak(isa: str) -> Peak | None:
    """The probe for one of fastseq's instruction sets, or None, with a word on stderr, where it cannot be compiled."""
    try:
        library = ctypes.CDLL(str(_compiled(isa)))
    except (OSError, subprocess.CalledProcessError) as error:
        detail = error.stderr if isinstance(error, subprocess.CalledProcessError) else error
        print(
            f"the FMA peak is not measured, its probe cannot be compiled (CXX names the compiler): {detail}",
            file=sys.stderr,
        )
        return None
    function = library.fma_peak
    function.argtypes = [ctypes.c_int, ctypes.c_double]
    function.restype = ctypes.c_double
    return lambda threads: function(threads, 0.01)


def _compiled(isa: str) -> Path:
    """The probe as a library, compiled unless it is in the cache."""
    flags, vector_bytes = _VARIANTS.get(isa, _FALLBACK)
    command = [
        *shlex.split(os.environ.get("CXX", "c++")),
        *("-std=c++17", "-O3", "-ffp-contract=fast", "-fopenmp", "-shared", "-fPIC"),
        *flags,
        f"-DFASTSEQ_VECTOR_BYTES={vector_bytes}",
    ]
    # The CPU is part of the key since a cache may be shared by machines, and "native" is not the same on all.
    library = cache_folder() / f"fma_peak-{key(_SOURCE.read_text(), *command, cpu_name())}.so"
    if not library.exists():
        # Appears under its name at once and whole, whoever else compiles it at the same time.
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            made = Path(folder) / library.name
            subprocess.run([*command, str(_SOURCE), "-o", str(made)], check=True, capture_output=True, text=True)
            made.replace(library)
    return library


def peak_turn(peak: Peak, threads: int) -> Turn:
    """The probe in a comparison: one sample a turn, however many runs the sides have."""
    return lambda runs: [peak(threads)]
