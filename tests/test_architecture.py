"""The rooms of the source tree include and import only what they may."""

from __future__ import annotations

import ast
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
            ("csrc/include", "csrc/common", "csrc/runtime", "csrc/ops", "csrc/kernels", "csrc/cuda"),
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


# The rooms of the C++ sources, each with those whose headers its files may include.
ROOMS = {
    "kernels": {"fastseq"},
    "common": {"fastseq"},
    "runtime": {"fastseq", "kernels"},
    "ops": {"fastseq", "kernels", "common", "runtime"},
    "cuda": {"fastseq", "common"},
    "program": {"fastseq", "common", "runtime"},
    "bindings": {"fastseq", "xla"},
    "xla": {"fastseq"},
    "tensorflow": {"fastseq"},
}


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_include_those_below(room: str) -> None:
    for path in _files(f"csrc/{room}"):
        included = set(re.findall(r'^#include "(\w+)/', path.read_text(), re.MULTILINE))
        assert included <= ROOMS[room], path


def test_headers_have_names_of_their_own() -> None:
    headers = [path for path in _files("csrc") if path.suffix in (".h", ".cuh", ".inl") and path.parent.name != "gpu"]
    names = [path.name for path in headers]
    assert not {name for name in names if names.count(name) > 1}


def test_functional_runtime_and_graphs_need_no_keras() -> None:
    package = ROOT / "fastseq"
    files = _files("fastseq/functional", "fastseq/reference")
    names = ("runtime", "cuda", "_libraries", "__init__")
    files += [package / f"{name}.py" for name in names]
    files += [package / "prediction" / f"{name}.py" for name in ("__init__", "errors", "file", "graph", "optimization")]
    for path in files:
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


# Who may call what runs code, and why.
RUNS_CODE = {
    ("fastseq/data.py", "allow_pickle=True"): "in memory, when its SHA-256 has been compared with the published one",
    ("fastseq/script.py", "exec"): "the user's script, as Python would run it",
}
RUNNERS = {"eval", "exec", "__import__", "os.system", "os.popen", "runpy.run_path", "runpy.run_module"}
RUNNERS |= {f"{module}.{load}" for module in ("pickle", "marshal", "shelve") for load in ("load", "loads", "Unpickler")}
NETWORK = {"aiohttp", "ftplib", "http", "httpx", "requests", "smtplib", "socket", "ssl", "urllib", "xmlrpc"}


def test_nothing_runs_code_from_files_or_opens_the_network() -> None:
    """Corpora are downloaded by Keras's own loader, and unpickled when their hash has been compared."""
    found = set()
    for path in _files("fastseq"):
        name = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            where = f"{name}:{getattr(node, 'lineno', '')}"
            if isinstance(node, ast.Import):
                assert not NETWORK & {alias.name.partition(".")[0] for alias in node.names}, where
            elif isinstance(node, ast.ImportFrom):
                module = node.module or ""
                assert module.partition(".")[0] not in NETWORK, where
                # Under a name of its own it would not be seen below.
                assert not RUNNERS & {f"{module}.{alias.name}" for alias in node.names}, where
            elif isinstance(node, ast.Attribute):
                text = ast.unparse(node)
                assert name == "fastseq/data.py" or text not in ("keras.datasets", "keras.utils.get_file"), where
            elif isinstance(node, ast.Call):
                if (called := ast.unparse(node.func)) in RUNNERS:
                    found.add((name, called))
                options = {ast.unparse(keyword) for keyword in node.keywords}
                found |= {
                    (name, "allow_pickle=True") for option in options if re.match("allow_pickle=(?!False)", option)
                }
                assert not any(option.startswith("safe_mode=") for option in options), f"{where}: Keras's is on"
    assert found == RUNS_CODE.keys()
