"""Scripts run by `fastseq SCRIPT.py`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from processes import run_python

from fastseq import cli

PLAIN = """\
import sys
import beside
x: int = 1
print(beside.__name__, __name__, __file__, __spec__, __annotations__, sys.argv, sys.path[0])
print(sys.modules["__main__"].x, sys.stdin.read(), {"numpy", "tensorflow"} & set(sys.modules))
def fail():
    raise RuntimeError("the script's own")
ending = sys.argv[1]
if ending == "code":
    sys.exit(7)
if ending == "message":
    sys.exit("why")
if ending == "error":
    try:
        1 / 0
    except ZeroDivisionError:
        fail()
if ending == "interrupt":
    raise KeyboardInterrupt
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The working directory, with scripts in a folder of their own."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/plain.py").write_text(PLAIN)
    (tmp_path / "scripts/beside.py").write_text("")
    (tmp_path / "scripts/broken.py").write_text("x = (\n")
    return tmp_path


def python(folder: Path, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        input="input",
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["plain.py", "end", "-h", "--epochs=1", "--", "train"],
        ["plain.py", "--", "end"],
        ["plain.py", "code"],
        ["plain.py", "message"],
        ["plain.py", "error"],
        ["plain.py", "interrupt"],
        ["broken.py"],
    ],
    ids=" ".join,
)
def test_runs_as_python_does(folder: Path, arguments: list[str]) -> None:
    """The same output, errors and exit code, tracebacks to the letter."""
    script = ["scripts/" + arguments[0], *arguments[1:]]
    expected = python(folder, *script)
    assert python(folder, "-m", "fastseq", *script) == expected
    assert python(folder, "-m", "fastseq", "run", *script) == expected


def test_keras_is_patched(tmp_path: Path) -> None:
    """However Keras is imported, and not before the script has set up TensorFlow."""
    (tmp_path / "script.py").write_text("""
import importlib.util, os
assert importlib.util.find_spec("keras") is not None
os.environ["KERAS_BACKEND"] = "tensorflow"
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(1)
model = tf.keras.Sequential([tf.keras.Input((5,)), tf.keras.layers.Embedding(9, 4), tf.keras.layers.LSTM(3)])
model.compile("adam", "mse")
print(model.layers, model.optimizer, tf.config.threading.get_intra_op_parallelism_threads())
""")
    code, shown, told = python(tmp_path, "-m", "fastseq", "script.py")
    assert code == 0, told[-2000:]
    assert shown.strip() == "[<FastEmbedding name=embedding>, <FastLSTM name=lstm>] <FastAdam name=adam> 1"


def test_keras_is_patched_where_fastseq_imports_it(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("""
import os
os.environ["OMP_NUM_THREADS"] = "1"
from fastseq.keras import FastGRU
import fastseq.runtime, keras
print([FastGRU(2), keras.layers.LSTM(3)], fastseq.runtime.get_num_threads())
""")
    code, shown, told = python(tmp_path, "-m", "fastseq", "script.py")
    assert code == 0, told[-2000:]
    assert shown.strip() == "[<FastGRU name=gru>, <FastLSTM name=lstm>] 1"


SELECTED = """
import sys, keras
made = [keras.layers.LSTM(3), keras.layers.GRU(3), keras.layers.Conv1D(3, 2), keras.optimizers.Adam()]
print(*(type(one).__qualname__ for one in made), sys.argv)
"""


@pytest.mark.parametrize(
    ("arguments", "made"),
    [
        (["--only", "LSTM,GRU", "script.py", "--only", "Conv1D"], "FastLSTM FastGRU Conv1D Adam"),
        (["run", "--except=Conv1D", "--except", "Adam, GRU", "script.py"], "FastLSTM GRU Conv1D Adam"),
        (["--only=LSTM", "--", "script.py", "--", "-h"], "FastLSTM GRU Conv1D Adam"),
    ],
)
def test_selection(tmp_path: Path, arguments: list[str], made: str) -> None:
    """What follows the script is its own."""
    (tmp_path / "script.py").write_text(SELECTED)
    code, shown, told = python(tmp_path, "-m", "fastseq", *arguments)
    assert code == 0, told[-2000:]
    assert shown.strip() == f"{made} {arguments[arguments.index('script.py') :]}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "lstm", "script.py"], "argument --only: must be among Adam, AveragePooling1D, Conv1D, .* 'lstm'"),
        (["run", "--except", "LSTM,Dense", "script.py"], "argument --except: must be among Adam, .* got 'Dense'"),
        (["--only=", "script.py"], "argument --only: must be among Adam, .* got ''"),
        (["--only=LSTM,GRU", "--except=GRU", "script.py"], "--only and --except must not both have GRU"),
    ],
)
def test_wrong_selection(
    tmp_path: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("script.py").write_text("print('the script ran')")
    assert cli.main(arguments) == 2
    shown, told = capsys.readouterr()
    assert re.fullmatch(f"fastseq run: error: {message}\n", told), told
    assert shown == ""


@pytest.mark.parametrize("arguments", [["--only"], ["--only", "LSTM"], ["run", "--except", "LSTM", "--onl", "x.py"]])
def test_no_script(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["nowhere.py"], ["run", "nowhere.py"], ["run", "."]], ids=" ".join)
def test_no_such_script(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    assert f"argument SCRIPT.py: cannot read {arguments[-1]}: " in capsys.readouterr().err


def test_help_imports_no_keras() -> None:
    done = run_python("""
import sys
from fastseq import cli
try:
    cli.main(["run", "--help"])
finally:
    print(sorted({"keras", "tensorflow"} & set(sys.modules)))
""")
    assert done.returncode == 0
    assert "SCRIPT.py" in done.stdout
    assert done.stdout.endswith("[]\n")
