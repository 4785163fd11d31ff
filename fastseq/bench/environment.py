"""What every benchmark shares: its command line, and the settings of a process.

Settings must be made before any framework is imported: `prepare` is the first thing that a script does after it has
read its command line. No module of this folder imports a framework when it is itself imported, except those of
`sides`.
"""

from __future__ import annotations

import argparse
import os

# How the other libraries are told to stay with an instruction set. XLA's products and ONNX Runtime's cannot be told:
# limited by --xla_cpu_max_isa=AVX2, XLA took the same time as without.
_LIMITS = {
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
    },
}


def add_options(parser: argparse.ArgumentParser, *, rounds: int | None = None) -> None:
    """The options of every script; `--rounds` with this default where there are rounds."""
    from fastseq.options import positive  # here, for a worker may have another fastseq, or must do without

    parser.add_argument("--threads", type=positive, help="for every side; default: what fastseq would use")
    parser.add_argument(
        "--isa",
        help="fastseq's instruction set. With avx2, torch, MKL and oneDNN (so most of TensorFlow) keep to it as well; "
        "XLA and ONNX Runtime always choose for themselves",
    )
    if rounds is not None:
        parser.add_argument("--rounds", type=positive, default=rounds, help=f"default: {rounds}")


def prepare(threads: int | None, isa: str | None) -> int:
    """Sets this process up, before any framework is imported; returns the number of threads for all sides.

    Raises:
        ValueError: `isa` or `threads` is not possible here.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # everybody computes on the CPU
    os.environ.update(_LIMITS.get(isa or "", {}))
    from fastseq import runtime

    if isa is not None:
        runtime.set_isa(isa)
    if threads is not None:
        runtime.set_num_threads(threads)
    return runtime.get_num_threads()
