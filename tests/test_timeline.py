"""Traces of what threads do: the core's record, and the script that makes a timeline of it."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import run

from fastseq import functional, runtime
from fastseq._libraries import core

SCRIPTS = Path(__file__).parent.parent / "bench"


def _lstm() -> None:
    x, kernel = np.ones((4, 50, 30), np.float32), np.ones((30, 160), np.float32)
    functional.lstm_forward(x, kernel, np.ones((40, 160), np.float32))


def _traced(capacity: int) -> tuple[list[dict[str, Any]], int]:
    core.start_tracing(capacity)
    try:
        _lstm()
    finally:
        spans, lost = core.stop_tracing()
    return spans, lost


def test_spans_are_within_the_call() -> None:
    runtime.set_num_threads(1)
    before = time.monotonic_ns()
    spans, lost = _traced(100)
    after = time.monotonic_ns()
    assert lost == 0
    (span,) = spans
    assert span["kind"] == "work"
    assert span["rank"] == 0
    assert span["thread"] == threading.get_native_id()
    assert before <= span["begin"] < span["end"] <= after
    assert span["page_faults"] >= 0
    assert {span["first_cpu"], span["last_cpu"]} <= set(range(os.cpu_count() or 1))


def test_every_thread_of_a_team_has_a_span() -> None:
    runtime.set_num_threads(3)
    spans, _ = _traced(1000)
    work = [span for span in spans if span["kind"] == "work"]
    assert sorted(span["rank"] for span in work) == list(range(len(work)))
    assert len({span["thread"] for span in work}) == len(work)
    for wait in (span for span in spans if span["kind"] == "wait"):
        assert any(
            one["thread"] == wait["thread"] and one["begin"] <= wait["begin"] <= wait["end"] <= one["end"]
            for one in work
        )


def test_nothing_is_recorded_without_a_trace_or_beyond_its_capacity() -> None:
    runtime.set_num_threads(1)
    assert _traced(0) == ([], 1)
    _traced(100)
    _lstm()
    assert core.stop_tracing() == ([], 0)


@pytest.mark.parametrize("what", [("--cell", "lstm", "--shape", "4,30,8,16"), ("--model", "price-forecast")], ids=str)
def test_script_writes_a_trace_for_a_browser(what: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "timeline.json"
    done = run(str(SCRIPTS / "timeline.py"), *what, "--steps", "3", "--out", str(file), environment=dict(os.environ))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "a step without a trace" in done.stdout
    events = [event for event in json.loads(file.read_text())["traceEvents"] if event["ph"] == "X"]
    steps = [event for event in events if event["name"] == "fastseq step"]
    assert len(steps) == 3
    kernels = [event for event in events if "Fastseq" in event["name"] and event["dur"] > 0]
    work = [event for event in events if event["args"].get("kind") == "work"]
    assert kernels
    assert work
    for event in (*kernels, *work):  # the framework's clock and ours have been brought together, to some microseconds
        assert any(one["ts"] - 500 <= event["ts"] <= one["ts"] + one["dur"] + 500 for one in steps)


def test_script_names_what_is_wrong() -> None:
    done = run(str(SCRIPTS / "timeline.py"), "--model", "nothing", environment=dict(os.environ))
    assert done.returncode == 2
    assert "argument --model: choose from" in done.stderr


def test_script_of_patched_models() -> None:
    options = ("--model", "dense", "small-lstm", "--steps", "2", "--rounds", "2")
    done = run(str(SCRIPTS / "patched_models.py"), *options, environment=dict(os.environ))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "slower than stock by more than 2 %" in done.stdout


def test_script_of_many_cores() -> None:
    done = run(str(SCRIPTS / "many_cores.py"), environment=dict(os.environ))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "64" in done.stdout
