from __future__ import annotations

import collections
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

# Before TensorFlow is first imported: its notes on what it was compiled with are no test output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import emulated_cuda
from gpu_arrays import Emulated, Real

from fastseq import cuda, runtime
from fastseq._libraries import core


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--one-of",
        type=int,
        default=1,
        metavar="N",
        help="of the cases of each parametrised test, run the first and every Nth from there on",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    step = config.getoption("--one-of")
    seen: collections.Counter[str] = collections.Counter()
    kept, left_out = [], []
    for item in items:
        test = item.nodeid.partition("[")[0]
        (kept if seen[test] % step == 0 else left_out).append(item)
        seen[test] += 1
    items[:] = kept
    config.hook.pytest_deselected(items=left_out)


def pytest_configure(config: pytest.Config) -> None:
    # `--dist loadfile` would begin with the files of most tests; those of few take longest.
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


@pytest.fixture(autouse=True)
def _settings() -> Iterator[None]:
    """Every test has the process's own settings, memory handed to the kernels is full of NaN, and a machine
    with two CPUs shows what eight threads do."""
    isa = runtime.isa()
    core.poison_fresh_memory(True)
    core.allow_oversubscription(True)
    yield
    core.poison_fresh_memory(False)
    core.allow_oversubscription(False)
    runtime.set_isa(isa)
    runtime.set_num_threads(None)


@pytest.fixture(params=runtime.available_isas())
def isa(request: pytest.FixtureRequest) -> str:
    runtime.set_isa(request.param)
    return str(request.param)


@pytest.fixture
def float64() -> Iterator[None]:
    """For tests with tensors of float64."""
    import backends  # Keras, which the kernels' tests do not need

    with backends.float64():
        yield


@pytest.fixture
def real_data() -> str:
    """The folder with the real corpora."""
    folder = os.environ.get("FASTSEQ_DATA")
    if not folder or not (Path(folder) / "reuters.npz").is_file():
        pytest.skip("the real corpora are not here: FASTSEQ_DATA names no folder with reuters.npz")
    return folder


@pytest.fixture(scope="session")
def emulation(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    missing = emulated_cuda.missing()
    if missing:
        pytest.skip(f"no emulated GPU: {missing}")
    # Processes of one run share it.
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    return emulated_cuda.build(folder / "cuda_emulation")


@pytest.fixture
def emulated(emulation: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Emulated:
    monkeypatch.setitem(sys.modules, "fastseq._cuda", emulation)
    return Emulated(emulation)


@pytest.fixture(params=["emulated", pytest.param("gpu", marks=pytest.mark.cuda)])
def gpu(request: pytest.FixtureRequest) -> Emulated | Real:
    """Makes arrays on a GPU, and NumPy arrays of what comes back."""
    if request.param == "emulated":
        return request.getfixturevalue("emulated")  # type: ignore[no-any-return]
    reason = cuda.unavailable_because()
    if reason:
        pytest.skip(f"no GPU: {reason}")
    return Real(pytest.importorskip("torch", reason="arrays on a GPU are made with PyTorch"))
