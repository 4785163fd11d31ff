"""The conditions of a measurement: settings of the process, the machine, and versions of installed packages."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

# The environment variables that are reported. All others are private: TF_VAR_password, for example, is Terraform's.
_TOLD = frozenset(
    {
        "ATEN_CPU_CAPABILITY",
        "CUDA_VISIBLE_DEVICES",
        "FASTSEQ_ISA",
        "JAX_ENABLE_X64",
        "JAX_PLATFORMS",
        "KERAS_BACKEND",
        "MKL_DYNAMIC",
        "MKL_ENABLE_INSTRUCTIONS",
        "MKL_NUM_THREADS",
        "ONEDNN_MAX_CPU_ISA",
        "OPENBLAS_NUM_THREADS",
        "TF_DETERMINISTIC_OPS",
        "TF_ENABLE_ONEDNN_OPTS",
        "TF_NUM_INTEROP_THREADS",
        "TF_NUM_INTRAOP_THREADS",
        "TF_XLA_FLAGS",
        "XLA_FLAGS",
    }
)
_TOLD_PREFIXES = ("GOMP_", "KMP_", "OMP_")  # variables of OpenMP's runtimes
_PATH = re.compile(r"[^\s=,;]*[/\\][^\s,;]*")
_CPU0 = Path("/sys/devices/system/cpu/cpu0")


def prepare(threads: int | None) -> int:
    """Makes settings for this process. It must be called before any framework is imported.

    Returns:
        The number of threads for all implementations.

    Raises:
        ValueError: `threads` is not possible here.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # all implementations compute on the CPU
    from fastseq import runtime

    if threads is not None:
        runtime.set_num_threads(threads)
    return runtime.get_num_threads()


def cpu_name() -> str:
    """The CPU's name, as it reports it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    elif platform.system() == "Darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return platform.processor() or platform.machine()


def machine() -> dict[str, str]:
    """Facts about the machine on which figures depend: CPU, cores, caches, frequency governor, load, system."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    governor = _read(_CPU0 / "cpufreq/scaling_governor")
    return {
        "CPU": cpu_name(),
        "CPUs": f"{os.cpu_count()}, of which this process may use {usable}",
        "cores": _cores() or "unknown",
        "caches": _caches() or "unknown",
        "frequency governor": governor or "not readable",
        "load before": load(),
        "system": platform.platform(),
        "environment": _environment() or "nothing that matters",
    }


def busy() -> str:
    """A warning if other processes have used more than a quarter of the CPUs in the last minute; else ""."""
    average, cpus = os.getloadavg()[0], os.cpu_count() or 1
    if average <= cpus / 4:
        return ""
    return f"the machine was busy before this run, load {average:.1f} on {cpus} CPUs: figures may be off"


def _environment() -> str:
    """The environment variables on which figures depend, without paths in their values."""
    told = {name: value for name, value in os.environ.items() if name in _TOLD or name.startswith(_TOLD_PREFIXES)}
    return ", ".join(f"{name}={_PATH.sub('(a path)', value)}" for name, value in sorted(told.items()))


def load() -> str:
    """The load averages: how many threads were running or waiting for a CPU."""
    return ", ".join(f"{average:.2f}" for average in os.getloadavg()) + " (1, 5, 15 minutes)"


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of fastseq, of the packages as far as they are installed, and of Python."""
    from fastseq import runtime

    found = {"fastseq": f"{runtime.__version__} ({runtime.build_info()['compiler']})"}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return {**found, "Python": platform.python_version()}


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _cores() -> str:
    """The number of cores of all sockets; "" if the system does not tell."""
    places = {
        (_read(cpu / "topology/physical_package_id"), _read(cpu / "topology/core_id"))
        for cpu in _CPU0.parent.glob("cpu[0-9]*")
    }
    return str(len(places)) if places and ("", "") not in places else ""


def _caches() -> str:
    """The caches of the first CPU."""
    caches = []
    for index in sorted((_CPU0 / "cache").glob("index[0-9]*")):
        kind = {"Data": "d", "Instruction": "i"}.get(_read(index / "type"), "")
        shared = _read(index / "shared_cpu_list")
        caches.append(f"L{_read(index / 'level')}{kind} {_read(index / 'size')} of CPU {shared}")
    return ", ".join(caches)
