"""The command `fastseq`: `fastseq train MODEL`, `fastseq bench`, `fastseq run SCRIPT` and `fastseq info`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastseq.options import claimed, make_writable, positive
from fastseq.quiet import quiet_start

if TYPE_CHECKING:
    from fastseq.models import Layers
    from fastseq.training import Run, Trainer

__all__ = ["main"]

# Names only, so that `--help` and a mistyped name answer at once: `fastseq.models` takes seconds to import.
_MODELS = (
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

# The classes of `fastseq.keras.replacements`, by name for the same reason.
_TWINS = (
    "Adam",
    "AveragePooling1D",
    "Conv1D",
    "Dropout",
    "Embedding",
    "GRU",
    "LSTM",
    "MaxPooling1D",
    "RNN",
    "SimpleRNN",
    "SpatialDropout1D",
)

_SELECTING = ("--only", "--except")


def _parser() -> argparse.ArgumentParser:
    from fastseq.bench.command import add_options as add_bench_options

    parser = argparse.ArgumentParser(
        prog="fastseq",
        description="Fused C++ kernels behind Keras layers: train models, measure, run scripts with fast layers.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train a classic model and write down what came of it")
    train.add_argument("model", choices=_MODELS, metavar="MODEL", help=f"one of: {', '.join(_MODELS)}")
    train.add_argument(
        "--data",
        default="auto",
        metavar="auto|synthetic|DIR|FILE.csv",
        help="a folder with the corpus; auto (default) looks in FASTSEQ_DATA and Keras's cache, downloads, and as a "
        "last resort uses the built-in synthetic corpus; for price-forecast a CSV file with the columns date and "
        "close, or with one column of numbers, and by default the built-in synthetic prices",
    )
    train.add_argument("--layers", choices=("fast", "stock"), default="fast", help="default: %(default)s")
    train.add_argument(
        "--compare", action="store_true", help="also train the stock twin, interleaved, from the same weights"
    )
    train.add_argument(
        "--jit", action="store_true", help="compile the stock model, alone or as the twin, by XLA (jit_compile=True)"
    )
    train.add_argument(
        "--mask-zero", action="store_true", help="mask the padding in the Embedding, up to the first convolution if any"
    )
    train.add_argument("--epochs", type=positive, metavar="N", help="at most; default: the model's own")
    train.add_argument("--batch-size", type=positive, metavar="N", help="default: the model's own")
    train.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    train.add_argument("--threads", type=positive, metavar="N", help="of fastseq and TensorFlow; default: all CPUs")
    train.add_argument("--out", type=Path, metavar="DIR", help="default: runs/MODEL")
    train.add_argument(
        "--resume",
        action="store_true",
        help="go on with the training in DIR that was interrupted, after its last finished epoch; the other options "
        "must be those that it began with",
    )
    add_bench_options(commands.add_parser("bench", help="measure fastseq beside its peers and write a report"))
    run = commands.add_parser(
        "run", allow_abbrev=False, help="run a Python script with fast layers in the place of Keras's own"
    )
    run.add_argument(
        "--only", metavar="NAME,...", help=f"make these classes fast and no others, of: {', '.join(_TWINS)}"
    )
    run.add_argument("--except", metavar="NAME,...", help="leave these classes stock")
    run.add_argument(
        "script",
        metavar="SCRIPT.py",
        help="`fastseq SCRIPT.py` is short for `fastseq run SCRIPT.py`, with options before SCRIPT.py or without",
    )
    run.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="the script's own arguments")
    commands.add_parser("info", help="versions, instruction sets, threads, data found")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        0; 1 where `fastseq train` cannot write any more, or `fastseq bench` has found different results; 2 for bad
        input, with one line on stderr; 130 after Ctrl-C. A script ends as it does without fastseq.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments and (arguments[0].endswith(".py") or arguments[0].partition("=")[0] in _SELECTING):
        arguments = ["run", *arguments]
    # Before all else is imported, and as they stand: what follows the script is its own.
    names, rest = _split_names(arguments[1:]) if arguments[:1] == ["run"] else ({}, [])
    if rest and not rest[0].startswith("-"):
        return _run(rest[0], rest[1:], names)
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command == "run":
        return _run(options.script, options.arguments, names)
    try:
        if options.command == "info":
            return _info()
        if options.command == "bench":
            from fastseq.bench import command

            return command.run(options, parser, _MODELS)
        return _train(options, parser)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130


def _split_names(arguments: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """The names given by `--only` and `--except` before a script, and what is left: the script and its arguments."""
    names: dict[str, list[str]] = {}
    rest = list(arguments)
    while rest and (option := rest[0].partition("="))[0] in _SELECTING and (option[1] or len(rest) > 1):
        del rest[0]
        value = option[2] if option[1] else rest.pop(0)
        names.setdefault(option[0], []).extend(name.strip() for name in value.split(","))
    return names, rest


def _run(script: str, arguments: Sequence[str], names: Mapping[str, Sequence[str]]) -> int:
    from fastseq.script import run_script

    error = _wrong_names(names)
    try:
        with open(script, "rb"):
            pass
    except OSError as reason:
        error = error or f"argument SCRIPT.py: cannot read {script}: {reason.strerror or reason}"
    if error:
        print(f"fastseq run: error: {error}", file=sys.stderr)
        return 2
    run_script(script, arguments, only=names.get("--only"), exclude=names.get("--except", ()))
    return 0


def _wrong_names(names: Mapping[str, Sequence[str]]) -> str | None:
    """What is wrong with the names of `--only` and `--except`, or None."""
    for option, given in names.items():
        for name in given:
            if name not in _TWINS:
                return f"argument {option}: must be among {', '.join(_TWINS)}, got {name!r}"
    both = sorted(set(names.get("--only", ())) & set(names.get("--except", ())))
    return f"--only and --except must not both have {', '.join(both)}" if both else None


def _train(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    if options.compare and options.layers == "stock":
        parser.error("--compare trains both kinds of layers; leave out --layers stock")
    if options.jit and not options.compare and options.layers == "fast":
        parser.error("argument --jit: compiles stock models only; add --layers stock or --compare")
    if not 0 <= options.seed < 2**31:
        parser.error(f"argument --seed: must be between 0 and {2**31 - 1}, got {options.seed}")
    out: Path = options.out or Path("runs") / options.model
    make_writable(out, parser)
    with claimed(out, parser):
        return _train_in(out, options, parser)


def _train_in(out: Path, options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from fastseq.resuming import OPTIONS, STATE, is_finished, read_interrupted

    state = None
    if options.resume:
        if is_finished(out):
            print(f"Nothing to resume: the training in {out} is finished.")
            return 0
        state = read_interrupted(out, options, parser)
    elif (out / STATE).exists():
        parser.error(f"{out} has an interrupted training: add --resume to go on, or remove {out / STATE} to begin anew")
    with quiet_start():
        import tensorflow as tf

        if options.threads is not None:
            try:
                tf.config.threading.set_intra_op_parallelism_threads(options.threads)
                tf.config.threading.set_inter_op_parallelism_threads(options.threads)
            except RuntimeError as error:  # only where a program calls main() after it has used TensorFlow
                parser.error(f"argument --threads: {error}")
        tf.constant(0)
        from fastseq import runtime
        from fastseq.data import DataError
        from fastseq.models import MODELS
        from fastseq.results import save_epoch, save_forecast, save_result, save_training, versions
        from fastseq.training import Trainer

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
        # Before the evaluation, which takes its time and may be interrupted too.
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
        print(f"{'layers':9}{'epochs':>8}{'ms/step':>10}{'test loss':>11}{f'test {metric.key}':>15}")
        for run in trainer.runs:
            print(f"{run.layers:9}{run.epochs:8}{run.ms_per_step:10.2f}{run.test_loss:11.4f}{run.test_metric:15.4f}")
        print(f"fast is {trainer.speedup:.2f} times as fast as {trainer.runs[1].layers}, a whole training step{note}")
    naive = "" if trainer.data.naive is None else f", naive forecast (the last value again): {trainer.data.naive:.4f}"
    print(f"Test {metric.title}: {trainer.runs[0].test_metric:.4f}{naive}{note}")


def _info() -> int:
    with quiet_start():
        from fastseq import cuda, runtime
        from fastseq.data import DataError, locate
        from fastseq.results import versions

        of_packages = versions()

    def describe_isa() -> str:
        try:
            return runtime.isa()
        except ValueError as error:
            return f"error: {error}"

    def describe_gpu() -> str:
        reason = cuda.unavailable_because()
        if reason is not None:
            return f"none: {reason}"
        gpu = cuda.device_info()
        major, minor = gpu.compute_capability
        others = f", {cuda.device_count()} in all" if cuda.device_count() > 1 else ""
        return f"{gpu.name} (compute capability {major}.{minor}, driver for CUDA {gpu.driver}{others})"

    build = runtime.build_info()
    rows = {
        **of_packages,
        "instruction set": f"{describe_isa()} (available: {', '.join(runtime.available_isas())})",
        "threads": str(runtime.get_num_threads()),
        "OpenMP": build["openmp"],
        "CUDA": build["cuda"],
        "GPU": describe_gpu(),
        "compiler": f"{build['compiler']}, {build['build_type']}",
    }
    for corpus in ("reuters", "imdb"):
        try:
            rows[f"{corpus} data"] = str(locate(corpus) or "not found")
        except DataError as error:
            rows[f"{corpus} data"] = f"not found: {error}"
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:{width}}  {value}")
    return 0
