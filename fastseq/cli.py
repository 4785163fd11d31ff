"""The command `fastseq`: `fastseq train MODEL`, `fastseq bench`, `fastseq run SCRIPT` and `fastseq info`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fastseq.options import make_writable, positive

if TYPE_CHECKING:
    from fastseq.models import Layers
    from fastseq.training import Trainer

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
    add_bench_options(commands.add_parser("bench", help="measure fastseq beside its peers and write a report"))
    run = commands.add_parser("run", help="run a Python script with fast layers in the place of Keras's own")
    run.add_argument("script", metavar="SCRIPT.py", help="`fastseq SCRIPT.py` is short for `fastseq run SCRIPT.py`")
    run.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="the script's own arguments")
    commands.add_parser("info", help="versions, instruction sets, threads, data found")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        0; 2 for bad input, with one line on stderr; 130 after Ctrl-C. A script ends as it does without fastseq.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments and arguments[0].endswith(".py"):
        arguments = ["run", *arguments]
    # Before all else is imported, and as they stand: what follows the script is its own.
    if arguments[:1] == ["run"] and len(arguments) > 1 and not arguments[1].startswith("-"):
        return _run(arguments[1], arguments[2:])
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command == "run":
        return _run(options.script, options.arguments)
    # TensorFlow's notes on the machine are not the user's business. (2.21 writes some all the same.)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
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


def _run(script: str, arguments: Sequence[str]) -> int:
    from fastseq.script import run_script

    try:
        with open(script, "rb"):
            pass
    except OSError as error:
        print(
            f"fastseq run: error: argument SCRIPT.py: cannot read {script}: {error.strerror or error}", file=sys.stderr
        )
        return 2
    run_script(script, arguments)
    return 0


def _train(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    if options.compare and options.layers == "stock":
        parser.error("--compare trains both kinds of layers; leave out --layers stock")
    if options.jit and not options.compare and options.layers == "fast":
        parser.error("argument --jit: compiles stock models only; add --layers stock or --compare")
    if not 0 <= options.seed < 2**31:
        parser.error(f"argument --seed: must be between 0 and {2**31 - 1}, got {options.seed}")
    out: Path = options.out or Path("runs") / options.model
    make_writable(out, parser)
    if options.threads is not None:
        import tensorflow as tf

        try:
            tf.config.threading.set_intra_op_parallelism_threads(options.threads)
            tf.config.threading.set_inter_op_parallelism_threads(options.threads)
        except RuntimeError as error:  # only where a program calls main() after it has used TensorFlow
            parser.error(f"argument --threads: {error}")
    from fastseq import runtime
    from fastseq.data import DataError
    from fastseq.models import MODELS
    from fastseq.results import save_forecast, save_result, save_training
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
        checkpoint=out / "best.keras",
    )
    print(f"Data: {data.source}")
    trainer.runs[0].model.summary()
    try:
        trainer.train()
        # Before the evaluation, which takes its time and may be interrupted too.
        files = save_training(trainer, out)
        trainer.test()
        files += [save_result(trainer, out), *save_forecast(trainer, out)]
    except OSError as error:
        print(f"fastseq: error: cannot write to {out}: {error}", file=sys.stderr)
        return 2
    _report(trainer)
    print("Wrote " + ", ".join(str(file) for file in files))
    return 130 if trainer.interrupted else 0


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
    from fastseq import cuda, runtime
    from fastseq.data import DataError, locate
    from fastseq.results import versions

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
        **versions(),
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
