from __future__ import annotations

from pathlib import Path

import pytest
import threadpoolctl
from processes import run_python

import fastseq
from fastseq import runtime
from fastseq._libraries import core


def test_set_num_threads() -> None:
    runtime.set_num_threads(3)
    assert runtime.get_num_threads() == 3
    runtime.set_num_threads(None)
    assert runtime.get_num_threads() >= 1


@pytest.mark.parametrize(("threads", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)])
def test_set_num_threads_rejects(threads: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="threads must be"):
        runtime.set_num_threads(threads)  # type: ignore[arg-type]


def test_omp_num_threads() -> None:
    code = "from fastseq import runtime; print(runtime.get_num_threads())"
    assert run_python(code, OMP_NUM_THREADS="3").stdout.strip() == "3"


def test_threadpoolctl_limits_every_thread_of_the_process() -> None:
    runtime.set_num_threads(4)
    with threadpoolctl.threadpool_limits(1):
        assert runtime.get_num_threads() == 1
    assert runtime.get_num_threads() == 4
    ours = [pool for pool in threadpoolctl.threadpool_info() if pool["internal_api"] == "fastseq"]
    assert len(ours) == 1
    assert ours[0]["isa"] == runtime.isa()


def test_threadpoolctl_leaves_openmp_in_charge() -> None:
    # Restoring what was found must not pin the number that OpenMP gave.
    assert core.requested_threads() == 0
    found = runtime.get_num_threads()
    for limit in (1, found, 3):
        with threadpoolctl.threadpool_limits(limit):
            assert runtime.get_num_threads() == limit
        assert core.requested_threads() == 0
        assert runtime.get_num_threads() == found


def test_fastseq_isa_forces() -> None:
    code = "from fastseq import runtime; print(runtime.isa())"
    for name in runtime.available_isas():
        assert run_python(code, FASTSEQ_ISA=name).stdout.strip() == name


def test_unknown_isa_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"isa must be one of scalar.*got 'sse9'"):
        runtime.set_isa("sse9")
    failed = run_python("from fastseq import runtime; runtime.isa()", FASTSEQ_ISA="sse9")
    assert failed.returncode != 0
    assert "FASTSEQ_ISA must be one of scalar" in failed.stderr


def test_best_isa_is_the_default() -> None:
    shown = run_python("from fastseq import runtime; print(runtime.isa())", remove=("FASTSEQ_ISA",))
    assert shown.stdout.strip() == runtime.available_isas()[-1]


def test_build_info() -> None:
    info = runtime.build_info()
    assert info["version"] == fastseq.__version__
    assert set(info) == {"version", "compiler", "build_type", "openmp", "cuda"}
    assert int(info["openmp"]) >= 201107


def test_openmp_threads_spin_for_a_moment_only() -> None:
    # GNU's runtime tells what it read: a fraction of a millisecond unless the user has chosen.
    unset = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
    for module in ("fastseq.functional", "fastseq.runtime", "fastseq.keras"):
        told = run_python(f"import {module}", remove=unset, OMP_DISPLAY_ENV="verbose").stderr
        if "GOMP_SPINCOUNT" not in told:
            pytest.skip("this OpenMP runtime is not GNU's")
        assert "GOMP_SPINCOUNT = '10000'" in told, module
    chosen = run_python("import fastseq.runtime", remove=unset, OMP_DISPLAY_ENV="verbose", GOMP_SPINCOUNT="77").stderr
    assert "GOMP_SPINCOUNT = '77'" in chosen


@pytest.mark.parametrize("order", ["fastseq, torch", "torch, fastseq"])
def test_beside_another_openmp_runtime(order: str) -> None:
    """torch's wheel has one of its own; ours, made for distribution, too. Both compute, in turns and at once."""
    pytest.importorskip("torch", reason="torch is not here")
    code = f"""
import {order}
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from fastseq import runtime
from fastseq.functional import max_pool_forward
runtime.set_num_threads(2)
torch.set_num_threads(2)
x = np.random.default_rng(0).standard_normal((32, 400, 64), np.float32)
def ours():
    return max_pool_forward(x, 2).outputs
def theirs():
    return torch.nn.functional.max_pool1d(torch.from_numpy(x).transpose(1, 2), 2).transpose(1, 2).numpy()
for _ in range(5):
    assert (ours() == theirs()).all()
with ThreadPoolExecutor(2) as threads:
    calls = [threads.submit(call) for call in (ours, theirs) * 20]
assert all((call.result() == calls[0].result()).all() for call in calls)
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr


def test_source_tree_without_the_core_says_so() -> None:
    source = str(Path(fastseq.__file__).parent)
    code = f"""
import pathlib, shutil, sys, tempfile
folder = tempfile.mkdtemp()
shutil.copytree({source!r}, folder + "/fastseq", ignore=shutil.ignore_patterns("*.so", "*.dylib"))
sys.path.insert(0, folder)
import fastseq.runtime
"""
    assert "fastseq's compiled core is not in" in run_python(code, remove=("PYTHONPATH",)).stderr


def test_the_environment_is_left_as_it_was() -> None:
    code = "import os; before = dict(os.environ); import fastseq.runtime; assert dict(os.environ) == before"
    assert run_python(code).returncode == 0


def test_a_process_ends_while_its_daemons_compute() -> None:
    code = """
import threading, time
import numpy as np
from fastseq.functional import max_pool_forward
x = np.zeros((32, 4000, 64), "float32")
def compute():
    while True:
        max_pool_forward(x, 2)
for _ in range(3):
    threading.Thread(target=compute, daemon=True).start()
time.sleep(0.2)
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr


def test_freed_memory_is_kept() -> None:
    """Large blocks that come back need no new pages."""
    code = """
import ctypes, resource
from fastseq import runtime

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        block = libc.malloc(64 << 20)
        ctypes.memset(block, 1, 64 << 20)
        libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

default = faults()
runtime.keep_freed_memory()
faults()
print(default, faults())
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    default, kept = map(int, done.stdout.split())
    if default > 100:  # the C library may have adapted its limits already
        assert kept < default / 10


@pytest.mark.parametrize("limit", [0, 2**31, -1])
def test_freed_memory_needs_a_sensible_limit(limit: int) -> None:
    with pytest.raises(ValueError, match="limit must be between"):
        runtime.keep_freed_memory(limit)
