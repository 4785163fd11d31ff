"""The packages that users install: the source distribution, and the libraries in the wheel built from it."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import fastseq

ROOT = Path(__file__).parent.parent
SOURCES = {".cc", ".cu", ".cuh", ".h", ".inl", ".py", ".pyi", ".csv", ".html", ".md", ".txt"}
LIBRARIES = sorted(Path(fastseq.__file__).parent.glob("*.so"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The extracted source distribution."""
    folder = tmp_path_factory.mktemp("sdist")
    code = f"from scikit_build_core.build import build_sdist; print(build_sdist({str(folder)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    name = done.stdout.splitlines()[-1]
    with tarfile.open(folder / name) as archive:
        assert all(member.isreg() or member.isdir() for member in archive)
        # Python 3.10 and 3.11 have it in their later versions only.
        archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
        archive.extractall(folder)
    return folder / name.removesuffix(".tar.gz")


def test_sdist_has_all_sources_and_tests(sdist: Path) -> None:
    for folder in ("csrc", "docs", "examples", "fastseq", "licenses", "tests"):
        for path in (ROOT / folder).rglob("*.*"):
            name = path.relative_to(ROOT)
            made = any(part.startswith(".") or part in {"_build", "jupyter_execute", "runs"} for part in name.parts)
            if not made and path.suffix in SOURCES:
                assert (sdist / name).is_file(), name


def test_sdist_has_nothing_else(sdist: Path) -> None:
    assert {path.name for path in sdist.iterdir()} == {
        *(
            ".clang-format",
            ".gitignore",
            "CHANGELOG.md",
            "CMakeLists.txt",
            "CMakePresets.json",
            "HACKING.md",
            "LICENSE",
            "NOTICE",
        ),
        *("PKG-INFO", "README.md", "SECURITY.md", "pyproject.toml"),
        *("bench", "csrc", "docs", "examples", "fastseq", "licenses", "tests"),
    }
    for path in sdist.rglob("*"):
        if path.is_file():
            assert path.stat().st_size < 2**18, f"{path} is large"
            assert path.suffix == ".png" or b"\0" not in path.read_bytes(), f"{path} is no text"


def _readelf(option: str, library: Path) -> str:
    if sys.platform != "linux":
        pytest.skip("libraries here are not ELF files")
    if not shutil.which("readelf"):
        pytest.skip("readelf, of the binutils, is not here")
    return subprocess.run(["readelf", "-W", option, library], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda path: path.name.split(".")[0])
def test_libraries_are_hardened(library: Path) -> None:
    segments = dict(re.findall(r"^ +(GNU_\w+) .* ([RWE]+) +0x", _readelf("--segments", library), re.MULTILINE))
    assert "GNU_RELRO" in segments
    assert segments["GNU_STACK"] == "RW"
    dynamic = _readelf("--dynamic", library)
    assert "BIND_NOW" in dynamic
    assert "TEXTREL" not in dynamic
    assert "__stack_chk_fail" in _readelf("--dyn-syms", library)


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda path: path.name.split(".")[0])
def test_libraries_look_for_others_beside_themselves_only(library: Path) -> None:
    paths = re.findall(r"\((?:RPATH|RUNPATH)\).*\[(.*)\]", _readelf("--dynamic", library))
    folders = {folder for path in paths for folder in path.split(":")}
    assert folders <= {"$ORIGIN", "$ORIGIN/../fastseq.libs"}


def test_the_notice_names_every_library_of_others() -> None:
    """A wheel made for distribution carries some: see HACKING.md."""
    libraries = Path(fastseq.__file__).parent.parent / "fastseq.libs"
    if not libraries.is_dir():
        pytest.skip("this fastseq was not repaired by auditwheel: it carries no libraries of others")
    files = importlib.metadata.files("fastseq") or []
    licences = {path.name: path.read_text() for path in files if "licenses" in path.parts}
    assert {"LICENSE", "NOTICE", "GPL-3.0.txt", "GCC-exception-3.1.txt"} <= set(licences)
    for library in libraries.iterdir():
        assert library.name.split("-")[0].split(".")[0] in licences["NOTICE"], library.name
