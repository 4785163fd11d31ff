"""The messages of TensorFlow that fastseq's commands suppress."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from processes import run_python

from fastseq import quiet

NOISE = [
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1796084179.992299   15763 port.cc:153] oneDNN custom operations are on. You may see slightly ...",
    "I0000 00:00:1796084179.992663   15763 cudart_stub.cc:31] Could not find cuda drivers on your machine, GPU ...",
    "W0000 00:00:1796084179.992663   15763 computation_placer.cc:177] computation placer already registered.",
    "2024-05-01 10:00:00.123456: I tensorflow/core/util/port.cc:113] oneDNN custom operations are on.",
    "2024-05-01 10:00:00.123456: W tensorflow/compiler/tf2tensorrt/utils/py_utils.cc:38] TF-TRT Warning: ...",
    "2024-05-01 10:00:00.123456: E external/local_xla/xla/cuda_dnn.cc:9261] Unable to register cuDNN factory: ...",
    "E0000 00:00:1796084661.816473   21428 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error ...",
    "To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow with the appropriate "
    "compiler flags.",
]
NO_NOISE = [
    "E0000 00:00:1796084661.816473   21428 other.cc:52] something else has failed",
    "F0000 00:00:1796084661.816473   21428 cpu_feature_guard.cc:39] The TensorFlow library was compiled to use AVX "
    "instructions, but these aren't available on your machine.",
    "fastseq: error: cannot write to out: No space left on device",
    "ImportError: libtensorflow_framework.so.2: cannot open shared object file",
    "Traceback (most recent call last):",
    "",
]
VARIABLES = ("TF_CPP_MIN_LOG_LEVEL", "TF_CPP_MAX_VLOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS")


@pytest.fixture(autouse=True)
def _not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("line", NOISE)
def test_noise(line: str) -> None:
    assert quiet.is_noise(line)


@pytest.mark.parametrize("line", NO_NOISE)
def test_no_noise(line: str) -> None:
    assert not quiet.is_noise(line)


def test_what_is_said_of_a_setting_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    assert [line for line in NOISE if not quiet.is_noise(line)] == [line for line in NOISE if "oneDNN" in line]


# As TensorFlow does it: past Python.
WRITES = f"""
import os, sys
from fastseq.quiet import quiet_start
def write(*lines):
    for line in lines:
        os.write(2, line.encode() + b"\\n")
with quiet_start():
    write(*{NOISE!r}, "between")
    print("from Python", file=sys.stderr)
    end = sys.argv[1:]
    write(*{NO_NOISE!r})
    {{}}
write({NOISE[0]!r})
print(os.isatty(2), os.environ["TF_CPP_MIN_LOG_LEVEL"])
"""


def test_the_rest_is_shown_in_its_order() -> None:
    done = run_python(WRITES.format("pass"))
    assert done.stderr.splitlines() == ["between", "from Python", *NO_NOISE, NOISE[0]]
    assert done.stdout == "False 2\n"


@pytest.mark.parametrize(
    ("ending", "code"), [("os.abort()", -6), ("os._exit(3)", 3), ("sys.exit(4)", 4), ("raise KeyboardInterrupt", -2)]
)
def test_the_rest_is_shown_however_the_process_ends(ending: str, code: int) -> None:
    done = run_python(WRITES.format(ending))
    assert done.returncode == code
    assert done.stderr.splitlines()[: 2 + len(NO_NOISE)] == ["between", "from Python", *NO_NOISE]


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("TF_CPP_MIN_LOG_LEVEL", "0", True),
        ("TF_CPP_MIN_LOG_LEVEL", "1", True),
        ("TF_CPP_MAX_VLOG_LEVEL", "1", True),
        ("TF_CPP_MIN_LOG_LEVEL", "2", False),
        ("TF_CPP_MIN_LOG_LEVEL", "3", False),
    ],
)
def test_users_who_ask_for_it_see_all(name: str, value: str, shown: bool) -> None:
    done = run_python(WRITES.format("pass"), **{name: value})
    assert set(NOISE[1:]) <= set(done.stderr.splitlines()) or not shown
    assert (NOISE[1] in done.stderr) == shown


def test_without_standard_error() -> None:
    command = """exec "$0" -c 'from fastseq.quiet import quiet_start
with quiet_start():
    print("ran")' 2>&-"""
    done = subprocess.run(["sh", "-c", command, sys.executable], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "ran\n")


COMMAND = "import sys; from fastseq.cli import main; sys.exit(main({}))"


def test_info_says_nothing_on_standard_error() -> None:
    done = run_python(COMMAND.format(["info"]))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "command",
    [
        ["train", "price-forecast", "--epochs", "1", "--out", "out"],
        ["bench", "--ops", "max-pooling/forward", "--peers", "--rounds", "1", "--out", "out"],
    ],
    ids=" ".join,
)
def test_commands_are_quiet(command: list[str]) -> None:
    done = run_python(COMMAND.format(command))
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if "0000 " in line or "absl" in line], done.stderr


def test_scripts_are_left_alone(tmp_path: Path) -> None:
    """They see the environment and the standard error that they would see without fastseq."""
    script = tmp_path / "script.py"
    script.write_text("import os\nprint(sorted(os.environ), os.fstat(2).st_ino == os.fstat(1).st_ino)\n")
    code = f"""
import subprocess
for command in ([], ["-m", "fastseq"]):
    subprocess.run([{sys.executable!r}, *command, {str(script)!r}], stderr=subprocess.STDOUT, check=True)
"""
    without, with_fastseq = run_python(code).stdout.splitlines()
    assert with_fastseq == without
    assert without.endswith("True")
