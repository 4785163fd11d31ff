"""The command `fastseq`, with the commands `train`, `bench`, `export`, `predict`, `run` and `info`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence

from fastseq.quiet import quiet_start

__all__ = ["main"]

# The names of the classes in `fastseq.keras.replacements`. With them, a mistyped name is reported without Keras.
_REPLACED = (
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
    from fastseq.bench import command as bench
    from fastseq.prediction import export_command, predict_command
    from fastseq.training import command as training

    parser = argparse.ArgumentParser(
        prog="fastseq",
        description="Fused C++ kernels behind Keras layers: train, measure, predict, run scripts with fast layers.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command, help_ in (
        ("train", training, "train a classic model and write down what came of it"),
        ("bench", bench, "measure fastseq beside its peers and write a report"),
        ("export", export_command, "turn a saved Keras model into a file that predicts without Keras"),
        ("predict", predict_command, "predict with such a file"),
    ):
        added = commands.add_parser(name, help=help_)
        command.add_options(added)
        added.set_defaults(run=command.run)
    run = commands.add_parser(
        "run", allow_abbrev=False, help="run a Python script with fast layers in the place of Keras's own"
    )
    run.add_argument(
        "--only", metavar="NAME,...", help=f"make these classes fast and no others, of: {', '.join(_REPLACED)}"
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
        0; 1 if `fastseq train` can no longer write its files, or `fastseq bench` has found different results; 2 for bad
        input, with one line on stderr; 130 after Ctrl-C. A script ends as it does without fastseq.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments and (arguments[0].endswith(".py") or arguments[0].partition("=")[0] in _SELECTING):
        arguments = ["run", *arguments]
    # Parsed here, because argparse must not interpret the script's arguments, and before slow imports.
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
        status: int = options.run(options, parser)
        return status
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130


def _split_names(arguments: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """The names given by `--only` and `--except` before a script, and the rest: the script and its arguments."""
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
    """An error message if the names of `--only` and `--except` are wrong, else None."""
    for option, given in names.items():
        for name in given:
            if name not in _REPLACED:
                return f"argument {option}: must be among {', '.join(_REPLACED)}, got {name!r}"
    both = sorted(set(names.get("--only", ())) & set(names.get("--except", ())))
    return f"--only and --except must not both have {', '.join(both)}" if both else None


def _info() -> int:
    from fastseq import cuda, frameworks, runtime
    from fastseq.data import DataError, locate

    def describe_packages() -> dict[str, str]:
        try:
            frameworks.start()
        except ValueError as error:
            return {"fastseq": runtime.__version__, "Keras": f"error: {error}"}
        from fastseq.training.results import versions

        return versions()

    with quiet_start():
        of_packages = describe_packages()

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
