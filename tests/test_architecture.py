"""The rooms of the source tree know only what they may know."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def _files(*folders: str) -> list[Path]:
    suffixes = {".h", ".cc", ".inl", ".cu", ".cuh", ".py"}
    found = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in suffixes]
    assert found, f"no sources in {folders}"
    return found


@pytest.mark.parametrize(
    ("folders", "forbidden"),
    [
        (
            ("csrc/include", "csrc/ops", "csrc/kernels", "csrc/cuda"),
            r'#include\s*[<"](Python\.h|pybind11|tensorflow|numpy)',
        ),
        (("csrc/include",), r'#include\s*"(?!fastseq/)'),
        (
            ("csrc/kernels",),
            r'#include\s*"fastseq/(?!activation\.h)|<omp\.h>|#pragma omp|\bnew\b|\bthrow\b|std::vector|std::string',
        ),
        (("csrc/bindings", "csrc/tensorflow"), r"immintrin|#pragma omp|std::(exp|tanh)\b"),
        (("csrc/tensorflow",), r'#include\s*[<"](Python\.h|pybind11|tensorflow/)'),
        (("csrc",), r"march=native"),
        (("fastseq/keras",), r"^(import|from) numpy"),
    ],
)
def test_rooms(folders: tuple[str, ...], forbidden: str) -> None:
    for path in _files(*folders):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            code = line.split("//")[0]
            assert not re.search(forbidden, code), f"{path.relative_to(ROOT)}:{number}: {line.strip()}"


def test_functional_and_runtime_need_no_keras() -> None:
    package = ROOT / "fastseq"
    files = _files("fastseq/functional", "fastseq/reference")
    for path in (*files, *(package / f"{name}.py" for name in ("runtime", "cuda", "_libraries", "__init__"))):
        assert not re.search(r"^\s*(import|from) (keras|tensorflow)", path.read_text(), re.MULTILINE), path


def test_instruction_sets_check_their_flags() -> None:
    for path in (ROOT / "csrc/kernels").glob("simd_*.h"):
        if path.stem not in ("simd_scalar", "simd_common", "simd_wide"):
            assert "#error" in path.read_text(), path.name


def test_benchmarks_import_frameworks_late() -> None:
    for path in (ROOT / "fastseq/bench").glob("*.py"):
        imports = re.search(
            r"^(import|from) (keras|tensorflow|torch|jax|fastseq\.keras|fastseq import)", path.read_text(), re.M
        )
        assert not imports, path
