"""The command `fastseq train`: its options and its main function."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastseq import frameworks
from fastseq.commands import claimed, make_writable, positive, table
from fastseq.quiet import quiet_start

if TYPE_CHECKING:
    from fastseq.training.models import Layers
    from fastseq.training.trainer import Run, Trainer

# Names only, so that `--help` and a mistyped name answer at once: `fastseq.training.models` takes seconds to import.
MODEL_NAMES = (
    "reuters-lstm",
    "reuters-lstm-small",
    "reuters-gru",
    "reuters-bilstm",
    "reuters-deep-lstm",
    "imdb-cnn-lstm",
    "imdb-cnn-lstm-wide",
    "imdb-lstm-attention",
    "imdb-rnn-onehot",
    "imdb-rnn-embedding",
    "price-forecast",
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options to a parser."""
    parser.add_argument("model", choices=MODEL_NAMES, metavar="MODEL", help=f"one of: {', '.join(MODEL_NAMES)}")
    parser.add_argument(
        "--data",
        default="auto",
        metavar="auto|synthetic|DIR|FILE.csv",
        help="a folder with the corpus; auto (default) looks in FASTSEQ_DATA and Keras's cache, downloads, and as a "
        "last resort uses the built-in synthetic corpus; for price-forecast a CSV file with the columns date and "
        "close, or with one column of numbers, and by default the built-in synthetic prices",
    )
    parser.add_argument("--layers", choices=("fast", "stock"), default="fast", help="default: %(default)s")
    parser.add_argument(
        "--compare", action="store_true", help="also train the stock twin, interleaved, from the same weights"
    )
    parser.add_argument(
        "--jit",
        action="store_true",
        help="compile the stock model, alone or as the twin, by XLA (jit_compile=True); with TensorFlow only",
    )
    parser.add_argument(
        "--mask-zero", action="store_true", help="mask the padding in the Embedding, up to the first convolution if any"
    )
    parser.add_argument("--epochs", type=positive, metavar="N", help="at most; default: the model's own")
    parser.add_argument("--batch-size", type=positive, metavar="N", help="default: the model's own")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--threads",
        type=positive,
        metavar="N",
        help="of fastseq and of Keras's framework; JAX has no such setting, and gets so many CPUs; default: all CPUs",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: runs/MODEL")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with the training in DIR that was interrupted, after its last finished epoch; the other options "
        "must be those that it began with",
    )


def run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Runs the command.

    Args:
        options: The options of `add_options`.
        parser: Reports errors in the options, and ends the program.

    Returns:
        0; 1 if files can no longer be written; 130 after Ctrl-C.
    """
    if options.compare and options.layers == "stock":
        parser.error("--compare trains both kinds of layers; leave out --layers stock")
    if options.jit and not options.compare and options.layers == "fast":
        parser.error("argument --jit: compiles stock models only; add --layers stock or --compare")
    if not 0 <= options.seed < 2**31:
        parser.error(f"argument --seed: must be between 0 and {2**31 - 1}, got {options.seed}")
    out: Path = options.out or Path("runs") / options.model
    make_writable(out, parser)
    with claimed(out, parser):
        return _run_in(out, options, parser)


def _run_in(out: Path, options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from fastseq.training.resuming import OPTIONS, STATE, is_finished, read_interrupted

    state = None
    if options.resume:
        if is_finished(out):
            print(f"Nothing to resume: the training in {out} is finished.")
            return 0
        state = read_interrupted(out, options, parser)
    elif (out / STATE).exists():
        parser.error(f"{out} has an interrupted training: add --resume to go on, or remove {out / STATE} to begin anew")
    with quiet_start():
        from fastseq import runtime

        try:
            framework = frameworks.start(options.threads)
        except ValueError as error:
            parser.error(str(error))
        except RuntimeError as error:  # only if a program calls main() after it has used TensorFlow
            parser.error(f"argument --threads: {error}")
        from fastseq.data import DataError
        from fastseq.training.models import MODELS
        from fastseq.training.results import save_epoch, save_forecast, save_result, save_training, versions
        from fastseq.training.trainer import Trainer

    if options.jit and framework.no_jit:
        parser.error(f"argument --jit: {framework.no_jit}")
    if options.threads is not None:
        runtime.set_num_threads(options.threads)
    spec = MODELS[options.model]
    if options.mask_zero and not spec.has_embedding:
        parser.error(f"argument --mask-zero: {spec.name} has no Embedding")
    try:
        runtime.isa()
        data = spec.load(options.data)
    except (DataError, ValueError) as error:
        parser.error(str(error))
    stock: Layers = "stock-jit" if options.jit else "stock"
    layers: list[Layers] = [stock] if options.layers == "stock" else ["fast", stock] if options.compare else ["fast"]
    trainer = Trainer(
        spec,
        data,
        layers=layers,
        epochs=options.epochs,
        batch_size=options.batch_size,
        seed=options.seed,
        mask_zero=options.mask_zero,
    )
    identity = {
        "options": {name: getattr(options, name) for name in OPTIONS},
        "data": data.digest,
        "versions": versions(),
    }
    if state is not None:
        _restore(trainer, state, identity, parser)
    first = trainer.runs[0]
    kept = first.epochs

    def keep(run: Run) -> None:
        nonlocal kept
        save_epoch(trainer, run, out, identity)
        kept = first.epochs

    print(f"Data: {data.source}")
    first.model.summary()
    try:
        trainer.train(keep)
        # Before the evaluation, which takes time and may be interrupted, too.
        files = save_training(trainer, out)
        trainer.test()
        files += [save_result(trainer, out), *save_forecast(trainer, out)]
        if not trainer.interrupted:
            (out / STATE).unlink(missing_ok=True)
    except OSError as error:
        left = f"epoch {kept} is kept, --resume goes on from there" if kept else "no epoch of this training is kept"
        print(f"fastseq: error: cannot write to {out}: {error.strerror or error}; {left}", file=sys.stderr)
        return 1
    _report(trainer)
    print("Wrote " + ", ".join(str(file) for file in files))
    if trainer.interrupted and kept:
        print(f"Epoch {kept} is kept: --resume goes on from there.", file=sys.stderr)
    return 130 if trainer.interrupted else 0


def _restore(
    trainer: Trainer, state: dict[str, Any], identity: dict[str, Any], parser: argparse.ArgumentParser
) -> None:
    """Puts a trainer into the state of an interrupted training, which must have had the same data."""
    if state["data"] != identity["data"]:
        parser.error("argument --data: must be the same data as before the interruption")
    if (name := frameworks.current().name) not in state["versions"]:
        parser.error(f"argument --resume: the training was not begun on {name}, which KERAS_BACKEND names now")
    if state["versions"] != identity["versions"]:
        print(
            f"fastseq: warning: the versions are not those from before the interruption, {state['versions']}: results "
            "may differ from those of an uninterrupted training",
            file=sys.stderr,
        )
    try:
        for run, before in zip(trainer.runs, state["runs"], strict=True):
            run.restore(before)
    except ValueError as error:
        parser.error(f"argument --resume: {error}")
    print(f"Resuming after epoch {trainer.runs[0].epochs}.")


def _report(trainer: Trainer) -> None:
    note = " (synthetic data)" if trainer.data.synthetic else ""
    metric = trainer.spec.metric
    if trainer.speedup is None:
        run = trainer.runs[0]
        print(f"{run.epochs} epochs, {run.ms_per_step:.2f} ms a step")
    else:
        rows = [
            (run.layers, str(run.epochs), f"{run.ms_per_step:.2f}", f"{run.test_loss:.4f}", f"{run.test_metric:.4f}")
            for run in trainer.runs
        ]
        print(table(("layers", "epochs", "ms/step", "test loss", f"test {metric.key}"), rows))
        print(f"fast is {trainer.speedup:.2f} times as fast as {trainer.runs[1].layers}, a whole training step{note}")
    naive = "" if trainer.data.naive is None else f", naive forecast (the last value again): {trainer.data.naive:.4f}"
    print(f"Test {metric.title}: {trainer.runs[0].test_metric:.4f}{naive}{note}")
