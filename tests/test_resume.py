"""The files that an interrupted `fastseq train` leaves, and how it resumes from them."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import small_models

from fastseq import cli
from fastseq.commands import claimed, replacing
from fastseq.training import models
from fastseq.training.resuming import OPTIONS, STATE, read_state, write_state

TRAIN = ["train", "reuters-lstm", "--epochs", "2"]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(models.MODELS, "reuters-lstm", small_models.small_model("reuters-lstm"))


@pytest.fixture
def interrupted(tmp_path: Path) -> Path:
    """A folder that has the state of `TRAIN`, without its arrays."""
    options = dict.fromkeys(OPTIONS, None) | {"model": "reuters-lstm", "layers": "fast", "epochs": 2, "seed": 0}
    flags = dict.fromkeys(("compare", "jit", "mask_zero"), False)
    write_state(tmp_path / STATE, {"options": options | flags, "data": "other", "versions": {}, "runs": []})
    return tmp_path


def _refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The line with which the command line refuses them."""
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX has threads, which the script's forks would lose")
def test_killed_at_any_moment() -> None:
    """Three of them; more by the same command."""
    script = Path(__file__).parent / "long/kill_training.py"
    done = subprocess.run(
        [sys.executable, str(script), "--times", "3"], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Kill 3" in done.stdout
    assert "Finished: the same history and weights as without a kill." in done.stdout


def test_full_disk_and_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a twin: the disk is full when the fast model has its second epoch, and the stock one has not."""
    arguments = [*TRAIN, "--compare", "--out"]
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert cli.main([*arguments, str(whole)]) == 0
    fsync, synced = os.fsync, []

    def full(descriptor: int) -> None:
        synced.append(descriptor)
        # An epoch of the fast model syncs four files and their folder, of the stock one three.
        if len(synced) > 14:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert cli.main([*arguments, str(out)]) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.endswith(
        f"cannot write to {out}: No space left on device; epoch 1 is kept, --resume goes on from there"
    )
    assert sorted(path.name for path in out.iterdir()) == ["history.csv", "model.keras", "result.json", STATE]
    assert json.loads((out / "result.json").read_text())["interrupted"] is True
    kept = read_state(out / STATE)["runs"]
    assert [len(run["epoch_seconds"]) for run in kept] == [1, 1]
    weights = keras.models.load_model(out / "model.keras").get_weights()
    # The others are states of random generators, and the optimizer's behind them.
    expected = [value for value in kept[0]["variables"] if value.dtype == np.float32][: len(weights)]
    assert all(map(np.array_equal, weights, expected))

    assert "has an interrupted training: add --resume to go on" in _refused([*arguments, str(out)], capsys)
    assert cli.main([*arguments, str(out), "--resume"]) == 0
    assert "Resuming after epoch 1." in capsys.readouterr().out
    assert (out / "history.csv").read_text() == (whole / "history.csv").read_text()
    one, other = (keras.models.load_model(folder / "model.keras") for folder in (out, whole))
    assert all(map(np.array_equal, one.get_weights(), other.get_weights()))
    results = [json.loads((folder / "result.json").read_text()) for folder in (out, whole)]
    for key in ("interrupted", "epochs", "test_loss", "test_accuracy"):
        assert results[0][key] == results[1][key]
    assert results[0]["stock"]["test_loss"] == results[1]["stock"]["test_loss"]

    assert not (out / STATE).exists()
    assert cli.main([*arguments, str(out), "--resume"]) == 0
    assert f"Nothing to resume: the training in {out} is finished." in capsys.readouterr().out


@pytest.fixture
def _small_files() -> Iterator[None]:
    """A limit that no model can be written under. It counts for the output of pytest, too, hence in a fixture."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.usefixtures("_small_files")
def test_a_model_that_does_not_fit_leaves_the_old_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.keras").write_text("of another day")
    assert cli.main([*TRAIN, "--out", str(tmp_path)]) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == f"fastseq: error: cannot write to {tmp_path}: File too large; no epoch of this training is kept"
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]
    assert (tmp_path / "model.keras").read_text() == "of another day"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seed", "7"], "argument --seed: must be as in the interrupted training in {out}, 0, got 7"),
        (["--epochs", "3"], "argument --epochs: must be as in the interrupted training in {out}, 2, got 3"),
        (["--batch-size", "8"], "argument --batch-size: must be as in the interrupted training in {out}, left out, g"),
        (["--threads", "1"], "argument --threads: must be as in the interrupted training in {out}, left out, got 1"),
        (["--mask-zero"], "argument --mask-zero: must be as in the interrupted training in {out}, left out, got given"),
        (["--compare"], "argument --compare: must be as"),
        (["--layers", "stock"], "argument --layers: must be as in the interrupted training in {out}, fast, got stock"),
        (["--layers", "stock", "--jit"], "argument --layers: must be as"),
        ([], "argument --data: must be the same data as before the interruption"),
    ],
)
def test_other_options(options: list[str], message: str, interrupted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = _refused([*TRAIN, *options, "--resume", "--out", str(interrupted)], capsys)
    assert message.format(out=interrupted) in told
    assert (interrupted / STATE).exists()


def test_another_framework(interrupted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = models.MODELS["reuters-lstm"].load("").digest
    write_state(interrupted / STATE, {**read_state(interrupted / STATE), "data": data, "versions": {"other": "1.0"}})
    told = _refused([*TRAIN, "--resume", "--out", str(interrupted)], capsys)
    name = keras.backend.backend()
    assert f"argument --resume: the training was not begun on {name}, which KERAS_BACKEND names now" in told


def test_another_model(interrupted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = _refused(["train", "reuters-gru", "--resume", "--out", str(interrupted)], capsys)
    assert f"argument MODEL: must be as in the interrupted training in {interrupted}, reuters-lstm" in told


@pytest.mark.parametrize("result", [None, "{}", "[]", "{", '{"interrupted": true}'])
def test_nothing_to_resume(result: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if result is not None:
        (tmp_path / "result.json").write_text(result)
    told = _refused([*TRAIN, "--resume", "--out", str(tmp_path)], capsys)
    assert f"argument --resume: {tmp_path} has no interrupted training with a finished epoch" in told


def test_a_damaged_state(interrupted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = interrupted / STATE
    state = {"options": {}, "data": "", "versions": {}, "runs": [{"variables": [np.arange(1000)]}]}
    write_state(path, state)
    np.testing.assert_array_equal(read_state(path)["runs"][0]["variables"][0], np.arange(1000))
    whole = path.read_bytes()
    middle = len(whole) // 2
    damaged = [b"", b"PK", whole[:middle], whole[:middle] + b"\xff" + whole[middle + 1 :], b"\x80\x04N."]
    for content in damaged:
        path.write_bytes(content)
        assert "state.npz is damaged, or no state" in _refused([*TRAIN, "--resume", "--out", str(interrupted)], capsys)
    np.savez(path, json=np.array("[]"))
    with pytest.raises(ValueError, match="is no state of a training"):
        read_state(path)


def test_a_state_with_code_runs_none(interrupted: Path) -> None:
    class Code:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(interrupted / "ran"),)

    np.savez(interrupted / STATE, json=np.array([Code()], dtype=object))
    with pytest.raises(ValueError, match="is damaged, or no state"):
        read_state(interrupted / STATE)
    assert not (interrupted / "ran").exists()
    with pytest.raises(TypeError, match="a state must have text, numbers and arrays of numbers, got <"):
        write_state(interrupted / STATE, {"variables": Code()})


def test_two_in_one_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with claimed(tmp_path, cli._parser()):
        told = _refused([*TRAIN, "--out", str(tmp_path)], capsys)
    assert f"argument --out: another run is writing to {tmp_path}" in told


@pytest.mark.parametrize("error", [OSError(errno.EROFS, "Read-only file system"), KeyboardInterrupt()])
def test_replacing_is_all_or_nothing(error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as new:
            new.write_text("half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with replacing(path) as new:
        new.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_read_only_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Found out before anything that takes time. (Permissions do not hold back the system's administrator.)"""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    told = _refused([*TRAIN, "--out", str(tmp_path)], capsys)
    assert told.endswith(f"argument --out: cannot write to {tmp_path}: Read-only file system")
