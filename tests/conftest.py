from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before TensorFlow is first imported: its notes on what it was compiled with are no test output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from fastseq import runtime
from fastseq._libraries import core


@pytest.fixture(autouse=True)
def _settings() -> Iterator[None]:
    """Every test has the process's own settings, and memory handed to the kernels is full of NaN."""
    isa = runtime.isa()
    core.poison_fresh_memory(True)
    yield
    core.poison_fresh_memory(False)
    runtime.set_isa(isa)
    runtime.set_num_threads(None)


@pytest.fixture(params=runtime.available_isas())
def isa(request: pytest.FixtureRequest) -> str:
    runtime.set_isa(request.param)
    return str(request.param)


@pytest.fixture
def real_data() -> str:
    """The folder with the real corpora."""
    folder = os.environ.get("FASTSEQ_DATA")
    if not folder or not (Path(folder) / "reuters.npz").is_file():
        pytest.skip("the real corpora are not here: FASTSEQ_DATA names no folder with reuters.npz")
    return folder
