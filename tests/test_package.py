"""`import fastseq` without anything else."""

from __future__ import annotations

import pytest
from processes import run_python

import fastseq

SUBMODULES = sorted({*fastseq.__all__} - {"Predictor", "__version__"})


def test_there_are_submodules() -> None:
    assert {"cuda", "data", "functional", "keras", "reference", "runtime"} <= set(SUBMODULES) <= set(dir(fastseq))


@pytest.mark.parametrize("name", SUBMODULES)
def test_a_submodule_is_there_when_it_is_used(name: str) -> None:
    code = f"""
import sys, fastseq
module = fastseq.{name}
assert module is sys.modules["fastseq.{name}"] and module is vars(fastseq)["{name}"]
print([one for one in module.__all__ if not hasattr(module, one)])
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "[]"


def test_import_loads_nothing_before_it_is_used() -> None:
    code = """
import sys, fastseq
fastseq.__all__, dir(fastseq), fastseq.__doc__
print(sorted(name for name in sys.modules if name.partition(".")[0] in {"fastseq", "keras", "numpy", "tensorflow"}))
"""
    assert run_python(code).stdout.strip() == "['fastseq']"


def test_other_names_are_errors() -> None:
    with pytest.raises(AttributeError, match="module 'fastseq' has no attribute 'layers'"):
        _ = fastseq.layers
    with pytest.raises(ImportError, match="cannot import name 'layers' from 'fastseq'"):
        from fastseq import layers  # noqa: F401
