"""The command `fastseq bench`: measures, and writes a report."""

from __future__ import annotations

import argparse
import datetime
import shlex
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from fastseq.bench.implementations import FASTSEQ, FASTSEQ_ELSEWHERE, IMPLEMENTATIONS, PEERS, not_installed, packages
from fastseq.bench.machine import busy, load, machine, prepare, versions
from fastseq.bench.measuring import Budget, Measurement
from fastseq.bench.page import CHARTS, drawings_of, page_of
from fastseq.bench.progress import Progress
from fastseq.bench.record import Record, save_json
from fastseq.bench.suite import Task, layer_tasks, model_tasks, quick, select
from fastseq.bench.tables import glance, row
from fastseq.commands import make_writable, positive, replacing
from fastseq.frameworks import start
from fastseq.quiet import quiet_start
from fastseq.training.command import MODEL_NAMES

_OUT = Path("runs/bench")
_MODE_ROUNDS = {True: 5, False: 10}
# --quick leaves out Keras on PyTorch, where a step takes long, and fastseq on other frameworks.
_DEFAULT_PEERS = {
    True: [peer for peer in PEERS if peer not in (*FASTSEQ_ELSEWHERE, "keras-torch")],
    False: list(PEERS),
}
# Comparisons begin within these seconds. The whole run takes two minutes with --quick, else twenty; the rest is for the
# last comparison and for the report.
_MODE_SECONDS = {True: 80.0, False: 1000.0}
# A comparison may take this many equal shares of the time: the first comparisons are the most informative, and a single
# round tells little.
_GENEROUS = 3.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--quick", action="store_true", help="the most telling part, within two minutes")
    parser.add_argument(
        "--ops", nargs="+", metavar="OP", help="only these: lstm, lstm/reuters, dropout, adam, scaling ..."
    )
    parser.add_argument("--models", nargs="+", metavar="MODEL", help="only these, as `fastseq train` has them; or all")
    left_out = ", ".join(peer for peer in PEERS if peer not in _DEFAULT_PEERS[True])
    parser.add_argument(
        "--peers",
        nargs="*",
        choices=PEERS,
        metavar="PEER",
        help=f"{', '.join(PEERS)}; default: all, with --quick all but {left_out}",
    )
    parser.add_argument(
        "--threads", type=positive, metavar="N", help="for every implementation; default: what fastseq would use"
    )
    help_ = f"at most, of each comparison; default: {_MODE_ROUNDS[False]}, with --quick {_MODE_ROUNDS[True]}"
    parser.add_argument("--rounds", type=positive, metavar="N", help=help_)
    parser.add_argument("--out", type=Path, default=_OUT, metavar="DIR", help="default: %(default)s")


def run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Runs the command.

    Args:
        options: The options of `add_options`.
        parser: Reports errors of usage.

    Returns:
        0; 1 where an implementation computed something else, or failed; 130 after Ctrl-C.
    """
    began = time.monotonic()
    budget = Budget(_MODE_SECONDS[options.quick])
    try:
        tasks = _tasks(options)
    except ValueError as error:
        parser.error(str(error))
    make_writable(options.out, parser)
    try:
        threads = prepare(options.threads)
        if "keras" not in sys.modules:  # else a program has called main()
            with quiet_start():  # here, since the first comparison would start Keras's framework with its messages
                start(threads)
        from fastseq import runtime

        isa = runtime.isa()
    except ValueError as error:
        parser.error(str(error))
    peers = _DEFAULT_PEERS[options.quick] if options.peers is None else options.peers
    implementations = [name for name in IMPLEMENTATIONS if name in FASTSEQ or name in peers]
    record = Record(
        command=command_line(options),
        date=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        threads=threads,
        machine={**machine(), "instruction set": isa, "threads of every implementation": str(threads)},
        versions=versions(packages(implementations)),
        missing={name: reason for name in implementations if (reason := not_installed(name))},
        warnings=[warning] if (warning := busy()) else [],
    )
    asked = [peer for peer in options.peers or [] if peer not in record.missing]
    progress = Progress(len(tasks), budget.left(), sys.stderr)
    try:
        left_out = {*record.missing, *(name for name in IMPLEMENTATIONS if name not in implementations)}
        measure(tasks, left_out, record, budget, progress, options.rounds or _MODE_ROUNDS[options.quick])
        record.warnings += idle(asked, record)
    except KeyboardInterrupt:
        record.interrupted = True
        record.warnings.append("this run was interrupted: it has what was measured before")
    finally:
        progress.close()
    record.machine["load after"] = load()
    record.seconds = time.monotonic() - began
    try:
        written = write(record, options.out)
    except OSError as error:
        print(f"fastseq: error: cannot write to {options.out}: {error}", file=sys.stderr)
        return 2
    print(glance(record))
    print("Wrote " + ", ".join(str(path) for path in written))
    if record.interrupted:
        print("Interrupted.", file=sys.stderr)
        return 130
    return int(any(one.refused for one in record.measurements))


def _tasks(options: argparse.Namespace) -> list[Task]:
    layers, whole = layer_tasks(), model_tasks(MODEL_NAMES)
    if options.ops is None and options.models is None:
        everything = [*whole, *layers]
        return quick(everything) if options.quick else everything
    chosen = []
    if options.models is not None:
        meant = _selected("--models", whole, [name for name in options.models if name != "all"])
        chosen += whole if "all" in options.models else meant
    if options.ops is not None:
        chosen += _selected("--ops", layers, options.ops)
    return chosen


def _selected(option: str, tasks: Sequence[Task], names: Sequence[str]) -> list[Task]:
    try:
        return select(tasks, names)
    except ValueError as error:
        raise ValueError(f"argument {option}: {error}") from None


def command_line(options: argparse.Namespace) -> str:
    """The command line with these options."""
    words = ["fastseq", "bench", *(["--quick"] if options.quick else [])]
    for name in ("ops", "models", "peers"):
        values = getattr(options, name)
        words += [] if values is None else [f"--{name}", *values]
    for name in ("threads", "rounds"):
        value = getattr(options, name)
        words += [] if value is None else [f"--{name}", str(value)]
    words += [] if options.out == _OUT else ["--out", str(options.out)]
    return shlex.join(words)


def measure(
    tasks: Sequence[Task], left_out: Collection[str], record: Record, budget: Budget, progress: Progress, rounds: int
) -> None:
    """Measures one task after the other and adds the measurements to the record.

    Each may take more than an equal share of the time that is left when it begins. Later tasks get the time that it
    does not need.

    Args:
        tasks: The comparisons to measure.
        left_out: The implementations that do not take part.
        record: Gets the measurements.
        budget: The time for all of them. Tasks are skipped when it is spent.
        progress: Shows the progress.
        rounds: The largest number of rounds of a comparison.
    """
    for done, task in enumerate(tasks):
        progress.show(done, task.name)
        if not budget.left():
            record.skipped[task.name] = "no time was left"
            progress.finished(f"{task.name}: no time was left")
            continue
        comparison = task.prepare(record.threads)
        share = budget.share(min(1.0, _GENEROUS / (len(tasks) - done)))
        measurement = Measurement(comparison, rounds)
        record.measurements.append(measurement)
        measurement.run([name for name in comparison.implementations if name not in left_out], share, progress.detail)
        progress.finished(row(measurement))
    progress.show(len(tasks), "report")


def idle(asked: Sequence[str], record: Record) -> list[str]:
    """A note for each peer that was asked for and takes part in none of the chosen comparisons."""
    if record.skipped:  # it may take part in those that were skipped
        return []
    return [
        f"{peer} takes part in nothing that was chosen"
        for peer in asked
        if all(peer in one.absent or peer not in one.comparison.implementations for one in record.measurements)
    ]


def write(record: Record, out: Path) -> list[Path]:
    """Writes the report into a folder: report.html, results.json, and each chart of the page as an SVG file.

    Removes the charts of an earlier run, so that all files belong to one run.

    Raises:
        OSError: A file cannot be written.
    """
    drawings = drawings_of(record)
    for name in CHARTS:
        (out / f"{name}.svg").unlink(missing_ok=True)
    written = [out / "report.html", out / "results.json"]
    with replacing(written[1]) as new:
        save_json(record, new)
    with replacing(written[0]) as new:
        new.write_text(page_of(record, drawings), encoding="utf-8")
    for name, drawing in drawings.items():
        written.append(out / f"{name}.svg")
        with replacing(written[-1]) as new:
            drawing.save_framed(new)
    return written
