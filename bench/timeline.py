"""A timeline of a few steps, thread by thread: where the time of a step goes that the kernels do not take.

It writes a trace for a browser: open the file in https://ui.perfetto.dev or in Chrome's chrome://tracing. The trace has
the operations of the framework, from the framework's own profiler, and each thread's part in every operation of
fastseq: when it began, on which CPU, how long it waited for others, and how many pages of fresh memory it touched.
Steps are measured without the profilers first, so the printed summary tells what the trace itself costs.

A model or a layer runs on the Keras backend that KERAS_BACKEND names, by default TensorFlow.

    python bench/timeline.py --model reuters-lstm --out timeline.json
    python bench/timeline.py --cell lstm --shape 20,100,100,100 --pass forward
    KERAS_BACKEND=jax python bench/timeline.py --model imdb-cnn-lstm --implementation fast stock
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from common import SHAPE_HELP, add_options, header, parse_shape, prepare, script_parser

from fastseq.bench.implementations import packages
from fastseq.bench.layers import recurrent_comparison
from fastseq.bench.measuring import Comparison
from fastseq.bench.shapes import GATES
from fastseq.bench.tables import milliseconds
from fastseq.bench.whole_models import MODEL_PASSES, model_comparison
from fastseq.commands import positive, table

Event = dict[str, Any]  # of the Trace Event Format; times in microseconds

_IMPLEMENTATIONS = ("fast", "functional", "stock", "stock-jit")
_STEP = "fastseq step"
_SPANS = 1 << 20
# Rows of the file: threads of the framework, and threads of fastseq's teams.
_FRAMEWORK, _TEAMS = 1, 2


def main() -> None:
    parser = script_parser(__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--model", metavar="MODEL", help="as `fastseq train` has them")
    what.add_argument("--cell", choices=GATES, help="a recurrent layer, of --shape")
    parser.add_argument("--shape", default="reuters", help=f"{SHAPE_HELP}; default: reuters")
    parser.add_argument("--pass", dest="pass_", choices=MODEL_PASSES, default="training")
    parser.add_argument("--mask-zero", action="store_true", help="mask a model's padding")
    parser.add_argument("--implementation", nargs="+", choices=_IMPLEMENTATIONS, default=["fast"])
    parser.add_argument("--steps", type=positive, default=5, help="default: 5")
    parser.add_argument("--out", type=Path, default=Path("timeline.json"), help="default: timeline.json")
    add_options(parser)
    options = parser.parse_args()
    threads = prepare(options, parser)
    from fastseq import frameworks

    try:
        framework = frameworks.start(threads)
        comparison = comparison_of(options, threads)
    except ValueError as wrong:
        parser.error(str(wrong))
    print(header(packages(options.implementation)))
    events: list[Event] = []
    for name in options.implementation:
        made = comparison.make(name)
        made.results()
        untraced = [seconds for _ in range(5) for seconds in made.turn(4)]
        found = traced(framework.name, made.step, options.steps)
        print(f"\n{comparison.title}: {name}\n{summary(found, untraced)}")
        events += [
            {**event, "name": f"{name}: {event['name']}"} if len(options.implementation) > 1 else event
            for event in found
        ]
    options.out.write_text(json.dumps({"traceEvents": [*_row_names(events), *events], "displayTimeUnit": "ms"}))
    print(f"\n{options.out}: open it in https://ui.perfetto.dev or chrome://tracing")


def comparison_of(options: argparse.Namespace, threads: int) -> Comparison:
    """What the command line asks for.

    Raises:
        ValueError: There is no such model or shape.
    """
    if options.cell:
        shape = parse_shape(options.shape)
        return recurrent_comparison(options.cell, options.shape, shape, options.pass_, threads=threads)
    from fastseq.training.models import MODELS

    if options.model not in MODELS:
        raise ValueError(f"argument --model: choose from {', '.join(MODELS)}, got {options.model}")
    return model_comparison(options.model, options.pass_, threads=threads, mask_zero=options.mask_zero)


def traced(framework: str, step: Callable[[], Any], steps: int) -> list[Event]:
    """The events of so many steps. Times are those of the system's monotonic clock."""
    from fastseq._libraries import core

    marks: list[Event] = []
    before = _threads()
    with tempfile.TemporaryDirectory() as folder:
        profiler = _PROFILERS[framework](Path(folder))
        with profiler.mark(_STEP):  # the first mark of a profiler takes longer
            step()
        core.start_tracing(_SPANS)
        for _ in range(steps):
            began = time.monotonic_ns()
            with profiler.mark(_STEP):
                step()
            marks.append(_event(_STEP, _FRAMEWORK, threading.get_native_id(), began, time.monotonic_ns()))
        spans, lost = core.stop_tracing()
        profiler.stop()
        events = profiler.events()
    if lost:
        raise RuntimeError(f"{lost} spans are lost: ask for fewer steps")
    # The profilers have clocks of their own. Both have the steps' times.
    own = sorted((event for event in events if event["name"] == _STEP), key=lambda event: event["ts"])[-steps:]
    if len(own) < steps:
        raise RuntimeError(f"the profiler of {framework} has recorded {len(own)} of {steps} steps")
    shift = statistics.median(mark["ts"] - one["ts"] for mark, one in zip(marks, own, strict=True))
    begin = marks[0]["ts"] - 100
    shifted = [{**event, "ts": event["ts"] + shift} for event in events if event["name"] != _STEP]
    return [*marks, *(event for event in shifted if event["ts"] >= begin), *_team_events(spans), *_since(before, marks)]


def _event(name: str, row: int, thread: int, begin: int, end: int, **arguments: Any) -> Event:
    return {
        "name": name,
        "ph": "X",
        "pid": row,
        "tid": thread,
        "ts": begin / 1e3,
        "dur": (end - begin) / 1e3,
        "args": arguments,
    }


def _team_events(spans: list[dict[str, Any]]) -> Iterator[Event]:
    for span in spans:
        name = f"thread {span['rank']} of the team" if span["kind"] == "work" else "waits"
        cpus = {"cpu": span["first_cpu"], "cpu_at_end": span["last_cpu"], "page_faults": span["page_faults"]}
        yield _event(name, _TEAMS, span["thread"], span["begin"], span["end"], kind=span["kind"], **cpus)


def _threads() -> dict[int, dict[str, int]]:
    """Of each thread of the process: page faults and how often it gave up its CPU, by its own will or not."""
    found = {}
    for task in Path("/proc/self/task").iterdir():
        try:
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            status = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)
        except OSError:  # it has ended
            continue
        found[int(task.name)] = {
            "page faults": int(fields[7]),
            "slept": int(status["voluntary_ctxt_switches"]),
            "was preempted": int(status["nonvoluntary_ctxt_switches"]),
        }
    return found


def _since(before: dict[int, dict[str, int]], marks: list[Event]) -> Iterator[Event]:
    """What each thread has done since, as arguments of an event that has no length."""
    for thread, counts in _threads().items():
        then = before.get(thread, {})
        grown = {key: value - then.get(key, 0) for key, value in counts.items()}
        if any(grown.values()):
            end = round(1e3 * (marks[-1]["ts"] + marks[-1]["dur"]))
            yield _event("in all steps", _TEAMS, thread, end, end, kind="counts", **grown)


class _XPlanes:
    """The profiler that TensorFlow and JAX share: its result is a file of XPlanes."""

    def __init__(self, folder: Path, start: Callable[[str], Any], stop: Callable[[], Any], mark: Any) -> None:
        self._folder, self.stop, self.mark = folder, stop, mark
        start(str(folder))

    def events(self) -> list[Event]:
        """All events of the host."""
        (file,) = self._folder.rglob("*.xplane.pb")
        return [event for line in _lines(file) for event in line]


def _lines(file: Path) -> Iterator[list[Event]]:
    try:
        from jax.profiler import ProfileData
    except ImportError:
        yield from _lines_by_tensorflow(file)
        return
    for plane in ProfileData.from_file(str(file)).planes:
        for number, line in enumerate(plane.lines):
            yield [
                _event(event.name, _FRAMEWORK, number, round(event.start_ns), round(event.start_ns + event.duration_ns))
                for event in line.events
            ]


def _lines_by_tensorflow(file: Path) -> Iterator[list[Event]]:
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace.FromString(file.read_bytes())
    for plane in space.planes:
        for number, line in enumerate(plane.lines):
            begins = [line.timestamp_ns + event.offset_ps // 1000 for event in line.events]
            yield [
                _event(
                    plane.event_metadata[event.metadata_id].name,
                    _FRAMEWORK,
                    number,
                    begin,
                    begin + event.duration_ps // 1000,
                )
                for begin, event in zip(begins, line.events, strict=True)
            ]


def _of_tensorflow(folder: Path) -> _XPlanes:
    from tensorflow import profiler

    levels = profiler.experimental.ProfilerOptions(host_tracer_level=3, python_tracer_level=0, device_tracer_level=0)
    return _XPlanes(
        folder,
        lambda path: profiler.experimental.start(path, levels),
        profiler.experimental.stop,
        profiler.experimental.Trace,
    )


def _of_jax(folder: Path) -> _XPlanes:
    from jax import profiler

    return _XPlanes(folder, profiler.start_trace, profiler.stop_trace, profiler.TraceAnnotation)


class _TorchProfiler:
    """PyTorch's profiler, whose result is a file of the Trace Event Format."""

    def __init__(self, folder: Path) -> None:
        import torch

        self._file = folder / "torch.json.gz"
        self._profile = torch.profiler.profile()
        self.mark = torch.profiler.record_function
        self._profile.start()

    def stop(self) -> None:
        self._profile.stop()

    def events(self) -> list[Event]:
        """All events with a duration."""
        self._profile.export_chrome_trace(str(self._file))
        found = json.loads(gzip.decompress(self._file.read_bytes()))["traceEvents"]
        return [{**event, "pid": _FRAMEWORK} for event in found if event.get("ph") == "X" and "dur" in event]


_PROFILERS = {"tensorflow": _of_tensorflow, "jax": _of_jax, "torch": _TorchProfiler}


def summary(events: list[Event], untraced: list[float]) -> str:
    """What the steps took, what of it was inside the teams of threads, and what the framework's operations took."""
    steps = [event for event in events if event["name"] == _STEP]
    per_step = 1e-6 / len(steps)
    work = [event for event in events if event["args"].get("kind") == "work"]
    waits = [event for event in events if event["args"].get("kind") == "wait"]
    within = [(event["ts"], event["ts"] + event["dur"]) for event in work]
    rows = [
        ("a step without a trace", milliseconds(statistics.median(untraced))),
        ("a traced step", milliseconds(statistics.median(1e-6 * event["dur"] for event in steps))),
        ("  at least one thread in an operation of fastseq", milliseconds(per_step * _covered(within))),
        ("  threads in these operations, together", milliseconds(per_step * sum(event["dur"] for event in work))),
        ("  of that, waits for other threads", milliseconds(per_step * sum(event["dur"] for event in waits))),
        ("  from an operation's start to its last thread's", milliseconds(per_step * _late(work))),
    ]
    for event in events:
        if event["args"].get("kind") == "counts":
            counts = ", ".join(f"{key} {value}" for key, value in event["args"].items() if key != "kind" and value)
            rows.append((f"thread {event['tid']}, all steps", counts))
    taken: dict[str, list[float]] = defaultdict(list)
    for event in events:
        if event["pid"] == _FRAMEWORK and event["name"] != _STEP and event["dur"] > 0:
            node, _, operation = event["name"].rpartition(":")
            taken[operation if node and not node.endswith(":") else event["name"]].append(event["dur"])
    longest = sorted(taken.items(), key=lambda one: -sum(one[1]))[:25]
    operations = [
        (name[:60], f"{len(times) / len(steps):.3g}", milliseconds(per_step * sum(times))) for name, times in longest
    ]
    return "\n\n".join(
        (
            table(("ms", ""), rows),
            table(("the framework's events, with those inside them", "in a step", "ms of a step"), operations),
        )
    )


def _covered(parts: list[tuple[float, float]]) -> float:
    """The length of a union of intervals."""
    length, end = 0.0, float("-inf")
    for begin, its_end in sorted(parts):
        length += max(0.0, its_end - max(begin, end))
        end = max(end, its_end)
    return length


def _late(work: list[Event]) -> float:
    """The time from the first to the last thread's beginning, of all operations."""
    late, began, last = 0.0, None, 0.0
    for event in sorted(work, key=lambda event: event["ts"]):
        if event["name"].startswith("thread 0 "):
            late += 0 if began is None else last - began
            began = event["ts"]
        last = event["ts"]
    return late + (0 if began is None else last - began)


def _row_names(events: list[Event]) -> Iterator[Event]:
    for row, name in ((_FRAMEWORK, "the framework"), (_TEAMS, "threads of fastseq's operations")):
        if any(event["pid"] == row for event in events):
            yield {"name": "process_name", "ph": "M", "pid": row, "tid": 0, "args": {"name": name}}


if __name__ == "__main__":
    main()
