"""Compares two revisions of fastseq: builds both, verifies that they agree and times them in turns, in a process each.

A revision is anything that git knows by that name; "." is the working tree as it is. Builds of revisions are kept in
the user's cache with their logs. By default fastseq.functional is timed, with --implementation fast the Keras layers.

    python bench/compare.py HEAD~1 .
    python bench/compare.py v0.1.0 HEAD --cell lstm --shape reuters 32,50,64,128 --layer --threads 1
    python bench/compare.py HEAD~1 . --implementation fast
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from common import LIMITS, SHAPE_HELP, add_options, interleave, script_parser, shapes_of

import fastseq.bench
from fastseq.bench.implementations import UnavailableError
from fastseq.bench.layers import CASES, layer_problem
from fastseq.bench.machine import cpu_name
from fastseq.bench.problems import Problem, make_problem, verify
from fastseq.bench.processes import Worker
from fastseq.bench.shapes import GATES, PASSES
from fastseq.bench.tables import milliseconds
from fastseq.commands import table

_ROOT = Path(__file__).resolve().parent.parent
_WORKING_TREE = "."
_BENCH = str(Path(fastseq.bench.__file__).parent)
_FOLDER = "FASTSEQ_BENCH_FOLDER"


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("base", metavar="BASE")
    parser.add_argument("head", metavar="HEAD")
    parser.add_argument("--cell", nargs="*", choices=GATES, default=list(GATES), metavar="CELL", help=f"{[*GATES]}")
    parser.add_argument("--shape", nargs="+", default=[], metavar="SHAPE", help=f"{SHAPE_HELP}; default: by cell")
    parser.add_argument("--layer", nargs="*", choices=CASES, default=list(CASES), metavar="LAYER", help=f"{[*CASES]}")
    parser.add_argument("--implementation", choices=("functional", "fast"), default="functional")
    parser.add_argument("--pass", dest="passes", nargs="+", choices=PASSES, default=list(PASSES))
    add_options(parser, rounds=10)
    options = parser.parse_args()
    try:
        shapes = {cell: shapes_of(cell, options.shape) for cell in options.cell}
        revisions = {"base": revision_of(options.base), "head": revision_of(options.head)}
    except ValueError as wrong:
        parser.error(str(wrong))
    with tempfile.TemporaryDirectory() as temporary:
        builds = {name: build(revision, Path(temporary, name)) for name, revision in revisions.items()}
        chosen = {"FASTSEQ_ISA": options.isa, **LIMITS.get(options.isa, {})} if options.isa else {}
        with (
            Worker({**chosen, _FOLDER: str(builds["base"])}, begin_with_revision) as base,
            Worker({**chosen, _FOLDER: str(builds["head"])}, begin_with_revision) as head,
        ):
            print(f"{cpu_name()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
            for name, worker in (("base", base), ("head", head)):
                installation = worker.call(installation_of, options.threads)
                if Path(installation.folder).resolve() != (builds[name] / "fastseq").resolve():
                    sys.exit(f"an installed fastseq comes before the one built, uninstall it: {installation.folder}")
                print(f"{name}: {getattr(options, name)} {revisions[name][:12]}, {installation.description}")
                threads = installation.threads
            rows: list[tuple[str, ...]] = []
            absent: list[str] = []
            subjects = [
                (f"{cell} {name}", make_problem(cell, shape), options.passes)
                for cell in options.cell
                for name, shape in shapes[cell].items()
            ]
            for name in options.layer:
                passes = [pass_ for pass_ in options.passes if not CASES[name].lacks(pass_)]
                subjects.append((name, layer_problem(CASES[name]), passes))
            for title, problem, passes in subjects:
                for pass_ in passes:
                    try:
                        figures = compare(base, head, options.implementation, problem, pass_, threads, options.rounds)
                    except UnavailableError as reason:
                        absent.append(f"{title}, {PASSES[pass_]}: left out, {reason}")
                    else:
                        rows.append((title, PASSES[pass_], *figures))
    print(table(("layer", "pass", "base ms", "IQR", "head ms", "IQR", "base / head"), rows))
    print(*absent, sep="\n")


class Installation(NamedTuple):
    """The fastseq of a worker process."""

    folder: str
    threads: int
    description: str


def installation_of(threads: int | None) -> Installation:
    """Calls `fastseq.bench.machine.prepare` in this process, a worker, and describes its fastseq."""
    import fastseq
    from fastseq import runtime
    from fastseq.bench.machine import prepare

    threads = prepare(threads)
    description = f"instruction set {runtime.isa()}, threads {threads}, {runtime.build_info()['compiler']}"
    return Installation(str(Path(fastseq.__file__).parent), threads, description)


def begin_with_revision(environment: Mapping[str, str]) -> None:
    """`fastseq.bench.processes.begin`, with the fastseq in the folder `_FOLDER`, and with the benchmarks of this one.

    A worker imports this script first, and by it parts of the fastseq that is found here; the core is not among them.
    """
    for name in [name for name in sys.modules if name.partition(".")[0] == "fastseq"]:
        del sys.modules[name]
    sys.path.insert(0, environment[_FOLDER])
    importlib.import_module("fastseq")
    _import_own("fastseq.frameworks", Path(_BENCH).with_name("frameworks.py"))  # which the benchmarks need
    _import_own("fastseq.bench", Path(_BENCH, "__init__.py"), [_BENCH])
    importlib.import_module("fastseq.bench.processes").begin(environment)


def _import_own(name: str, file: Path, folders: list[str] | None = None) -> None:
    """Imports a module from this revision; a package's modules are found in its folders."""
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=folders)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def revision_of(name: str) -> str:
    """The commit with this name in git, or "." itself.

    Raises:
        ValueError: It means none.
    """
    if name == _WORKING_TREE:
        return name
    command = ["git", "-C", str(_ROOT), "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"]
    found = subprocess.run(command, capture_output=True, text=True)
    if found.returncode != 0:
        raise ValueError(f"git knows no revision {name!r}")
    return found.stdout.strip()


def build(revision: str, temporary: Path) -> Path:
    """The folder with that revision's package, built unless it is in the cache.

    Args:
        revision: A commit, or "." for the working tree, which is always built.
        temporary: A folder for what is not kept.
    """
    made_with = [sys.version, platform.machine(), *(os.environ.get(name, "") for name in ("CXX", "CXXFLAGS"))]
    name = hashlib.sha256("\0".join([revision, *made_with]).encode()).hexdigest()[:16]
    kept = cache_folder() / f"build-{name}"
    if revision != _WORKING_TREE and kept.exists():
        return kept
    source, target, log = _ROOT, temporary / "package", kept.with_suffix(".log")
    temporary.mkdir()
    if revision != _WORKING_TREE:
        source = temporary / "source"
        extract(revision, source)
    print(f"building {revision[:12]}, log in {log}", file=sys.stderr)
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(target)]
    # Only the CPU is measured, and CUDA would take half of the time of the build.
    command += ["-v", "-C", f"build-dir={temporary / 'build'}", "-C", "cmake.define.FASTSEQ_CUDA=OFF", str(source)]
    if all(importlib.util.find_spec(name) for name in ("scikit_build_core", "pybind11")):
        command.insert(-1, "--no-build-isolation")
    with log.open("w") as file:
        if subprocess.run(command, stdout=file, stderr=subprocess.STDOUT).returncode != 0:
            sys.exit(f"building {revision[:12]} failed, see {log}")
    if revision == _WORKING_TREE:
        return target
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:  # so that the folder appears complete
        whole = Path(folder, "package")
        shutil.copytree(target, whole)
        whole.rename(kept)
    return kept


def cache_folder() -> Path:
    """The folder of builds; it is made if there is none."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastseq-bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def extract(revision: str, folder: Path) -> None:
    """Writes a revision's files. It uses no git worktree, which would stay registered if the script ended early."""
    archive = folder.with_suffix(".zip")
    subprocess.run(["git", "-C", str(_ROOT), "archive", f"--output={archive}", revision], check=True)
    shutil.unpack_archive(archive, folder)


def compare(
    base: Worker, head: Worker, implementation: str, problem: Problem, pass_: str, threads: int, rounds: int
) -> tuple[str, ...]:
    """The columns of the table for one problem and pass."""
    implementations = {
        "base": base.make_implementation(implementation, problem, pass_, threads=threads),
        "head": head.make_implementation(implementation, problem, pass_, threads=threads),
    }
    verify(implementations["head"].results(), implementations["base"].results(), f"head, {problem}")
    samples = interleave({name: implementation.turn for name, implementation in implementations.items()}, rounds)
    columns = [milliseconds(figure) for times in samples.values() for figure in (times.median, times.iqr)]
    return (*columns, f"{samples['base'].median / samples['head'].median:.3f}")


if __name__ == "__main__":
    main()
