from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before TensorFlow is first imported: its notes on what it was compiled with are no test output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from fastseq import _core, runtime


@pytest.fixture(autouse=True)
def _settings() -> Iterator[None]:
    """Every test starts from, and leaves behind, the process's own settings; scratch is full of NaN."""
    isa = runtime.isa()
    _core.poison_scratch(True)
    yield
    _core.poison_scratch(False)
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
