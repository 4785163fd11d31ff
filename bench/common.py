"""The common part of the scripts: options, the settings of the process, and figures as text.

Settings must be made before any framework is imported: `prepare` is the first thing that a script does after it has
read its command line.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterable, Mapping

from fastseq.bench import machine
from fastseq.bench.implementations import PEERS
from fastseq.bench.measuring import Measurement
from fastseq.bench.shapes import DEFAULT_SHAPES, SHAPES, Shape
from fastseq.bench.tables import milliseconds, rate, share
from fastseq.bench.timing import Name, Samples, Turn, take_turns
from fastseq.commands import positive, table

# The clocks by their names on the command line. "cpu" counts the time of all threads of the process.
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
SHAPE_HELP = f"{', '.join(SHAPES)}, or batch,timesteps,inputs,units"
# Settings that limit other libraries to an instruction set. There are none for the products of XLA and ONNX Runtime:
# with --xla_cpu_max_isa=AVX2, XLA took the same time as without.
LIMITS = {
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
    },
}


def script_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser that keeps the line breaks of the description."""
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def add_options(parser: argparse.ArgumentParser, *, rounds: int | None = None) -> None:
    """Adds the options of every script. `--rounds` has this default; without one, it is not added."""
    parser.add_argument("--threads", type=positive, help="for every implementation; default: what fastseq would use")
    parser.add_argument(
        "--isa",
        help="fastseq's instruction set. With avx2, torch, MKL and oneDNN (so most of TensorFlow) keep to it as well; "
        "XLA and ONNX Runtime always choose for themselves",
    )
    if rounds is not None:
        parser.add_argument("--rounds", type=positive, default=rounds, help=f"default: {rounds}")


def add_peers(parser: argparse.ArgumentParser) -> None:
    """Adds the option of scripts that also measure other libraries."""
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS), metavar="PEER", help=", ".join(PEERS))


def add_clock(parser: argparse.ArgumentParser) -> None:
    """Adds the option of scripts that have a choice of clocks."""
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu counts the time of all threads")


def prepare(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Makes the settings of `add_options` for this process; exits if they are not possible here.

    Returns:
        The number of threads for all implementations.
    """
    os.environ.update(LIMITS.get(options.isa or "", {}))
    try:
        threads = machine.prepare(options.threads)
        if options.isa is not None:
            from fastseq import runtime

            runtime.set_isa(options.isa)
    except ValueError as wrong:
        parser.error(str(wrong))
    return threads


def limited_implementations(isa: str) -> tuple[str, ...]:
    """The implementations that can be limited to an instruction set."""
    return ("fast", "functional", *(("stock", "tf-block", "torch") if isa in LIMITS else ()))


def parse_shape(text: str) -> Shape:
    """A shape from its name or from four numbers: 20,100,100,100.

    Raises:
        ValueError: It is neither.
    """
    if text in SHAPES:
        return SHAPES[text]
    try:
        shape = Shape(*(int(size) for size in text.split(",")))
    except (TypeError, ValueError):
        raise ValueError(f"a shape must be one of {SHAPE_HELP}; got {text!r}") from None
    if min(shape) < 1:
        raise ValueError(f"the numbers of a shape must be at least 1; got {text!r}")
    return shape


def shapes_of(cell: str, chosen: list[str]) -> dict[str, Shape]:
    """The shapes for a cell by name: the chosen ones, or else the cell's defaults."""
    return {name: parse_shape(name) for name in chosen or DEFAULT_SHAPES[cell]}


def header(packages: Iterable[str]) -> str:
    """A line with the machine, the settings, and the versions of the packages that are installed."""
    from fastseq import runtime

    found = ", ".join(f"{package} {version}" for package, version in machine.versions(packages).items())
    threads = runtime.get_num_threads()
    return (
        f"{machine.cpu_name()}, {os.cpu_count()} CPUs; instruction set {runtime.isa()}, "
        f"{threads} thread{'s' if threads != 1 else ''}\n"
        f"{found}"
    )


def describe(measurement: Measurement) -> str:
    """A measurement as text: its title, a table of its implementations, and reasons why others are left out."""
    peaks = {f"{peak.median / 1e9:.0f}" for peak in measurement.peaks.values()}
    title = measurement.comparison.title + (f"; FMA peak {' to '.join(sorted(peaks))} GFLOP/s" if peaks else "")
    rows = []
    for name, samples in measurement.samples.items():
        row = [name, milliseconds(samples.median), milliseconds(samples.iqr), f"{measurement.ratio(name).median:.2f}"]
        if peaks:
            flops = measurement.comparison.flops.get(name)
            row += [rate(flops, samples.median) if flops else "-", share(measurement.share(name))]
        rows.append(row)
    lines = [title]
    if rows:
        columns = [
            "implementation",
            "ms",
            "IQR",
            f"times {measurement.base}",
            *(["GFLOP/s", "of peak"] if peaks else []),
        ]
        lines.append(table(columns, rows))
    lines += [f"{name}: left out, {why}" for name, why in measurement.absent.items()]
    lines += [f"{name}: NOT TIMED, {why}" for name, why in measurement.refused.items()]
    return "\n".join(lines)


def interleave(turns: Mapping[Name, Turn], rounds: int) -> dict[Name, Samples]:
    """The samples of all rounds of `take_turns`."""
    *_, samples = take_turns(turns, rounds)
    return samples
