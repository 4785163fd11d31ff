"""Kills `fastseq train` at random moments, checks the files that it leaves, resumes it, and kills it again.

At any moment, the folder must have the model of the last finished epoch, or the command must report that there is none.
In the end, a training that was killed and resumed must have the same history and weights as one that was not, bit for
bit. The model has Dropout, so that the states of random generators matter, and it keeps the best weights. It has few
texts, so that a good part of the time is spent on writing files.

    python tests/long/kill_training.py --times 20
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import functools
import itertools
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).parent.parent))

import keras
import numpy as np
import small_models

from fastseq import cli
from fastseq.training import models, results
from fastseq.training.resuming import STATE, read_state

MODEL = "reuters-lstm"
EPOCHS = 4


def stack(layer: models.LayerNamed) -> list[Any]:
    """The layers of the model."""
    return [
        keras.Input((100,), dtype="int32"),
        layer("Embedding")(1000, 8),
        layer("Dropout")(0.5),
        layer("LSTM")(8),
        layer("Dense")(46, activation="softmax"),
    ]


def start(out: Path, *options: str, before: Callable[[], None] = lambda: None) -> int:
    """The command in a process of its own, with a log; forked, since TensorFlow takes seconds to import."""
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        log = os.open(out.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        before()
        status = cli.main(["train", MODEL, "--epochs", str(EPOCHS), "--out", str(out), *options])
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def end(pid: int) -> int:
    """Waits for a process and returns its exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def said(out: Path) -> str:
    """What the last command for a folder has printed."""
    return out.with_suffix(".log").read_text(errors="replace")


def finished_epochs(out: Path) -> int:
    """As the state has it."""
    return len(read_state(out / STATE)["runs"][0]["epoch_seconds"]) if (out / STATE).exists() else 0


def keep_every_epoch(folder: Path) -> None:
    """Lets a training leave a copy of the model of each epoch, and of the best so far."""
    save_epoch = results.save_epoch

    def save(trainer: results.Trainer, run: results.Run, *rest: object) -> None:
        save_epoch(trainer, run, *rest)  # type: ignore[arg-type]
        if run is trainer.runs[0]:
            np.savez(folder / f"{run.epochs}.npz", *run.model.get_weights())
            np.savez(folder / f"best-{run.epochs}.npz", *(run.best_weights or []))

    results.save_epoch = save


def die_at_write(number: int, *, after: bool) -> None:
    """Lets this process be killed when it puts its file of that number, from 0, in its place."""
    replace = os.replace
    numbers = itertools.count()

    def fatal_replace(*paths: Any) -> None:
        last = next(numbers) == number
        if last and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*paths)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = fatal_replace  # type: ignore[assignment]


def check(out: Path, reference: Path) -> None:
    """In a process of its own: raises where a model in the folder is not that of the last finished epoch.

    A process killed between a model and the state leaves the model of the epoch after, which was finished too.
    """
    done = finished_epochs(out)
    for name, prefix in (("model.keras", ""), ("best.keras", "best-")):
        if not (out / name).exists():
            assert done == 0, f"no {name} after {done} epochs"
            continue
        weights = keras.models.load_model(out / name).get_weights()
        of = [epoch for epoch in range(1, EPOCHS + 1) if same(weights, reference / f"{prefix}{epoch}.npz")]
        # In the end, the model is the best one.
        allowed = {done, done + 1} if done < EPOCHS else set(range(1, EPOCHS + 1))
        assert allowed & set(of), f"after {done} epochs {name} is that of {of or 'no'} epochs"


def same(weights: list[np.ndarray], path: Path) -> bool:
    with np.load(path) as file:
        return all(np.array_equal(one, file[f"arr_{i}"]) for i, one in enumerate(weights))


def in_child(what: Callable[[], None]) -> None:
    """Runs it in a process of its own, as this one must not use TensorFlow before it forks."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            what()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    assert end(pid) == 0


def compare_finished(out: Path, whole: Path) -> None:
    """Raises where a finished training has left something else than an uninterrupted one."""
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in whole.iterdir())
    for path in (out, whole):
        assert not (path / STATE).exists()
    with (out / "history.csv").open() as one, (whole / "history.csv").open() as other:
        assert list(csv.reader(one)) == list(csv.reader(other)), "the histories differ"

    def weights() -> None:
        for name in ("model.keras", "best.keras"):
            got, expected = (keras.models.load_model(folder / name) for folder in (out, whole))
            for one, other in zip(
                [*got.weights, *got.optimizer.variables],
                [*expected.weights, *expected.optimizer.variables],
                strict=True,
            ):
                values = (keras.ops.convert_to_numpy(variable) for variable in (one, other))
                np.testing.assert_array_equal(*values, err_msg=one.path)

    in_child(weights)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--times", type=int, default=20, metavar="N", help="how often to kill; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the moments; default: %(default)s")
    parser.add_argument("--compare", action="store_true", help="train the stock twin, too")
    options = parser.parse_args()
    moments = random.Random(options.seed)
    small = small_models.small_model(MODEL)
    models.MODELS[MODEL] = dataclasses.replace(small, stack=stack, keep_best=True, patience=EPOCHS)
    twin = ["--compare"] if options.compare else []
    with tempfile.TemporaryDirectory() as folder:
        reference, whole, out = (Path(folder) / name for name in ("reference", "whole", "killed"))
        reference.mkdir()
        began = time.monotonic()
        assert end(start(whole, *twin, before=lambda: keep_every_epoch(reference))) == 0, said(whole)
        seconds = time.monotonic() - began
        print(f"An uninterrupted training of {EPOCHS} epochs takes {seconds:.1f} s.", flush=True)

        kills = 0
        while kills < options.times or out.exists():
            before = finished_epochs(out)
            resume = ["--resume"] if (out / STATE).exists() else []
            if out.exists() and not resume:
                assert end(start(out, *twin, "--resume")) == 2, said(out)
                assert "no interrupted training with a finished epoch" in said(out), said(out)
            if kills == options.times:
                pid = start(out, *twin, *resume)
            elif kills % 2:
                pid = start(out, *twin, *resume)
                time.sleep(moments.uniform(0.0, seconds))
                os.kill(pid, signal.SIGKILL)
            else:
                # An epoch writes four or five files.
                fatal = functools.partial(die_at_write, moments.randrange(10), after=moments.random() < 0.5)
                pid = start(out, *twin, *resume, before=fatal)
            status = end(pid)
            assert status in (0, -signal.SIGKILL), said(out)
            if status == 0:
                compare_finished(out, whole)
                pid = start(out, *twin, "--resume")
                assert end(pid) == 0
                assert "is finished" in said(out), said(out)
                print("Finished: the same history and weights as without a kill.", flush=True)
                for path in out.iterdir():
                    path.unlink()
                out.rmdir()
                continue
            kills += 1
            if not out.exists():
                print(f"Kill {kills}: before there was a folder.", flush=True)
                continue
            in_child(lambda: check(out, reference))
            left = [path.name for path in out.iterdir() if path.name.startswith(".")]
            note = f", while it wrote {left[0]}" if left else ""
            print(f"Kill {kills}: after {before} epochs and {finished_epochs(out) - before} more{note}.", flush=True)


if __name__ == "__main__":
    main()
