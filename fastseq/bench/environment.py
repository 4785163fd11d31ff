"""What every script of this folder shares: its command line, the settings of a process, and the header of a report.

Settings must be made before any framework is imported: `prepare` is the first thing that a script does after it has
read its command line. No module of this folder imports a framework when it is itself imported, except those of
`sides`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path

# How the other libraries are told to stay with an instruction set. XLA's products and ONNX Runtime's cannot be told:
# limited by --xla_cpu_max_isa=AVX2, XLA took the same time as without.
_LIMITS = {
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
    },
}


def positive(text: str) -> int:
    """An argument that is a whole number from 1 on."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def add_options(parser: argparse.ArgumentParser, *, rounds: int | None = None) -> None:
    """The options of every script; `--rounds` with this default where there are rounds."""
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
    os.environ.update(_LIMITS.get(isa or "", {}))
    from fastseq import runtime

    if isa is not None:
        runtime.set_isa(isa)
    if threads is not None:
        runtime.set_num_threads(threads)
    return runtime.get_num_threads()


def cpu_name() -> str:
    """The CPU's own name for itself."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    elif platform.system() == "Darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return platform.processor() or platform.machine()


def header(packages: Iterable[str]) -> str:
    """The machine, the settings, and the versions of those packages that are installed."""
    from fastseq import runtime

    versions = [f"fastseq {runtime.__version__} ({runtime.build_info()['compiler']})"]
    for package in packages:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    threads = runtime.get_num_threads()
    return (
        f"{cpu_name()}, {os.cpu_count()} CPUs; instruction set {runtime.isa()}, "
        f"{threads} thread{'s' if threads != 1 else ''}\n"
        f"{', '.join(versions)}, Python {platform.python_version()}"
    )
