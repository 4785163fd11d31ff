"""The core without Python (tests/cpp): its unit tests and same_bits.cc here, and same_bits.cc on emulated ARM."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tolerances import REFERENCE

ROOT = Path(__file__).parent.parent
CROSS_COMPILER = "aarch64-linux-gnu-g++"
EMULATOR = "qemu-aarch64"
# Where Debian and Ubuntu put the C library that belongs to the cross compiler.
CROSS_ROOT = "/usr/aarch64-linux-gnu"


def _need(*programs: str) -> None:
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"{program} is not here")


def _run(*command: str, folder: Path = ROOT) -> str:
    # More threads than CPUs should sleep where they wait.
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def _build(folder: Path, preset: str, target: str) -> None:
    generator = ("-G", "Ninja") if shutil.which("ninja") else ()
    _run("cmake", "--preset", preset, "-B", str(folder), *generator)
    _run("cmake", "--build", str(folder), "--target", target)


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a build."""
    _need("cmake", "ctest", "c++")
    folder = tmp_path_factory.mktemp("core")
    _build(folder, "core", "all")
    return folder


@pytest.fixture(scope="module")
def here(core: Path) -> list[str]:
    """A line for every call."""
    return _run("./same_bits", folder=core).splitlines()


def test_unit_tests(core: Path) -> None:
    _run("ctest", "--output-on-failure", "--exclude-regex", "same_bits", folder=core)


def test_any_isa_and_threads_have_the_same_bits_and_stay_in_their_arrays(here: list[str]) -> None:
    # The program checks it.
    assert len(here) > 100


def test_64_bit_arm_has_the_same_bits(here: list[str], tmp_path: Path) -> None:
    _need(CROSS_COMPILER, EMULATOR)
    _build(tmp_path, "core-aarch64", "same_bits")
    there = _run(EMULATOR, "-L", CROSS_ROOT, "./same_bits", folder=tmp_path).splitlines()
    assert len(there) == len(here)
    for ours, theirs in zip(here, there, strict=True):
        call, *results = ours.split(" float64 ")
        their_call, *their_results = theirs.split(" float64 ")
        assert their_call == call
        for result, their_result in zip(results, their_results, strict=True):
            total, magnitude = map(float, result.split())
            assert [float(value) for value in their_result.split()] == pytest.approx(
                [total, magnitude], rel=0, abs=REFERENCE["float64"] * max(1.0, magnitude)
            ), call
