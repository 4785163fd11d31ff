"""`fastseq bench`: its measurements and its report."""

from __future__ import annotations

import dataclasses
import html.parser
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from processes import run_python

from fastseq import cli, runtime
from fastseq._libraries import core
from fastseq.bench import command, implementations, machine, measuring, page, progress, record, suite, verdicts
from fastseq.bench.charts import ratio_drawing
from fastseq.bench.problems import Results, make_problem, verify
from fastseq.bench.processes import Worker
from fastseq.bench.shapes import Shape
from fastseq.bench.timing import Samples, ratios, take_turns
from fastseq.training.command import MODEL_NAMES

ROOT = Path(__file__).parent.parent


class _Clock:
    """Time that passes only where somebody lets it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclasses.dataclass
class _Fake:
    """Takes so many seconds of a clock for a run, and gives one number."""

    seconds: float = 0.001
    result: float = 1.0
    clock: _Clock = dataclasses.field(default_factory=_Clock)
    interrupt_after: int = 10**9  # turns
    turns: int = 0

    def results(self) -> Results:
        self.clock.now += self.seconds
        return {"outputs": np.array([self.result])}

    def turn(self, runs: int) -> list[float]:
        self.turns += 1
        if self.turns > self.interrupt_after:
            raise KeyboardInterrupt
        self.clock.now += runs * self.seconds
        return [self.seconds] * runs


def _comparison(**of: Any) -> measuring.Comparison:
    def make(name: str) -> Any:
        if isinstance(of[name], Exception):
            raise of[name]
        return of[name]

    names = [name.replace("_", "-") for name in of]
    of = dict(zip(names, of.values(), strict=True))
    return measuring.Comparison(
        name="op/training",
        title="An op, <forward> & backward",
        kind="layer",
        implementations=names,
        make=make,
        reference="stock",
        verify=lambda name, got, expected: verify(got, expected, name),
        flops=dict.fromkeys(names, 10**6),
        threads=dict.fromkeys(names, 1),
    )


def _measured(rounds: int = 3, budget: measuring.Budget | None = None, **of: Any) -> measuring.Measurement:
    measurement = measuring.Measurement(_comparison(**of), rounds)
    measurement.run(measurement.comparison.implementations, budget)
    return measurement


class _Page(html.parser.HTMLParser):
    """Checks that elements are closed in order and that nothing is to be loaded; keeps the text."""

    _EMPTY = ("meta", "link", "img", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.figures = 0
        self.feed(text)
        self.close()
        assert self.open == []
        assert "url(" not in text
        assert "@import" not in text

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "img", "iframe")
        self.figures += tag == "svg"
        for name, value in attrs:
            assert name != "src"
            assert name != "href" or (value or "").startswith("#")
        if tag not in self._EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self._EMPTY:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """Runs the command on made-up comparisons, in this process whatever it has imported."""
    monkeypatch.setattr(command, "prepare", lambda threads: threads or 1)
    monkeypatch.setattr(command, "not_installed", lambda name: "jax is not installed" * (name == "keras-jax"))

    def run(*comparisons: measuring.Comparison, arguments: tuple[str, ...] = ()) -> int:
        tasks = [suite.Task(one.name, lambda threads, one=one: one) for one in comparisons]  # type: ignore[misc]
        monkeypatch.setattr(command, "layer_tasks", lambda: tasks)
        return cli.main(["bench", "--ops", "op", "--rounds", "3", "--out", str(tmp_path), *arguments])

    return run


_EVERY_IMPLEMENTATION = """
import dataclasses
import json
from fastseq.bench.machine import prepare
prepare(2)
from fastseq.bench import layers, measuring, implementations, whole_models
from fastseq.bench.shapes import Shape
from fastseq.training.models import MODELS
layers.ATTENTION_SHAPE = Shape(2, 7, 5, 5)
for name, case in layers.CASES.items():
    layers.CASES[name] = dataclasses.replace(case, shape=(2, 11, 5)[: len(case.shape)])
for name, spec in MODELS.items():
    MODELS[name] = dataclasses.replace(spec, batch_size=3)
comparisons = [
    *(layers.recurrent_comparison(cell, "tiny", Shape(2, 3, 4, 5), pass_, threads=2)
      for cell, pass_ in (("lstm", "training"), ("gru", "training"), ("simple_rnn", "forward"))),
    *(layers.layer_comparison(*name.split("/"), threads=2)
      for name in ("conv1d/forward", "conv1d-max-pooling/training", "max-pooling/forward", "average-pooling/training",
                   "dropout/training", "embedding/adam", "conv1d/keras-adam")),
    layers.attention_comparison("luong", "forward", threads=2),
    layers.attention_comparison("bahdanau", "training", threads=2),
    *(whole_models.model_comparison(*name.split("/"), threads=2)
      for name in ("price-forecast/training", "price-forecast/forward", "imdb-cnn-lstm/training",
                   "imdb-cnn-lstm/forward", "imdb-lstm-attention/forward", "reuters-bilstm/training",
                   "reuters-bilstm/forward")),
    whole_models.model_comparison("imdb-rnn-embedding", threads=2, mask_zero=True),
    whole_models.prediction_comparison("price-forecast", one_row=False, threads=2),
    whole_models.prediction_comparison("price-forecast", one_row=True, threads=2),
]
found = {}
for one in comparisons:
    measurement = measuring.Measurement(one, 1)
    small = one.kind != "model" or one.name.startswith("price-forecast")  # others take XLA and PyTorch seconds
    slow = ("stock-jit", "keras-jax", "keras-torch", "fast-keras-jax", "fast-keras-torch")
    measurement.run([name for name in one.implementations if small or name not in slow])
    found[one.name] = {**dict.fromkeys(measurement.samples, ""), **measurement.absent}
    found[one.name] |= {name: f"REFUSED: {why}" for name, why in measurement.refused.items()}
print("\\n" + json.dumps(found))
"""

_MODELS = ("price-forecast", "imdb-cnn-lstm", "reuters-bilstm")
_MASKED = "imdb-rnn-embedding/training"
_WITH_GRADIENTS = (
    "lstm/tiny/training",
    "gru/tiny/training",
    "conv1d-max-pooling/training",
    "average-pooling/training",
    "dropout/training",
    "embedding/adam",
    "conv1d/keras-adam",
    "attention/bahdanau/training",
    *(f"{name}/training" for name in _MODELS),
    _MASKED,
)
_LAYERS = (
    *(name for name in _WITH_GRADIENTS if name.partition("/")[0] not in (*_MODELS, _MASKED.partition("/")[0])),
    "simple_rnn/tiny/forward",
    "conv1d/forward",
    "max-pooling/forward",
    "attention/luong/forward",
)
_NO_KERNELS = "use_native=True, but the kernels"
# By implementation and comparison, why it takes no part; in all others it does.
_ABSENT: dict[str, dict[str, str]] = {
    "fast": {},
    "functional": {
        "embedding/adam": "is measured without an optimizer",
        "conv1d/keras-adam": "is measured without an optimizer",
        "attention/luong/forward": "has no Attention",
        "attention/bahdanau/training": "has no Attention",
        **{f"{name}/{pass_}": "has no models" for name in _MODELS for pass_ in ("training", "forward")},
        "imdb-lstm-attention/forward": "has no models",
        _MASKED: "has no models",
    },
    "predictor": {
        **dict.fromkeys(_WITH_GRADIENTS, "has no gradients"),
        **dict.fromkeys(_LAYERS, "predicts whole models"),
    },
    "stock": {},
    "torch": {"conv1d/keras-adam": "has its own Adam", _MASKED: "takes no mask"},
    "onnxruntime": dict.fromkeys(_WITH_GRADIENTS, "has no gradients"),
    "stock-jit": {},
    "keras-jax": {},
    "fast-torch": {
        "conv1d/keras-adam": "has its own Adam",
        **{
            f"{name}/{pass_}": "fastseq.torch has no such module"
            for name, pass_ in (
                ("conv1d", "forward"),
                ("conv1d-max-pooling", "training"),
                ("max-pooling", "forward"),
                ("average-pooling", "training"),
                ("dropout", "training"),
                ("embedding", "adam"),
                ("attention/luong", "forward"),
                ("attention/bahdanau", "training"),
            )
        },
        _MASKED: "takes no mask",
    },
    "keras-torch": {},
    "fast-keras-torch": dict.fromkeys(("dropout/training", "embedding/adam"), _NO_KERNELS),
    "fast-keras-jax": {"embedding/adam": _NO_KERNELS},
}


@pytest.fixture(scope="module")
def every_implementation() -> dict[str, dict[str, str]]:
    """By comparison and implementation, why it has not been timed, or ""."""
    ran = run_python(_EVERY_IMPLEMENTATION)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, dict[str, str]] = json.loads(ran.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", _ABSENT)
def test_every_implementation_computes_the_same(every_implementation: dict[str, dict[str, str]], name: str) -> None:
    if reason := implementations.not_installed(name):
        pytest.skip(reason)
    for comparison, of in every_implementation.items():
        if name in of:
            expected = _ABSENT[name].get(comparison, "")
            assert of[name].startswith(expected) if expected else of[name] == "", (comparison, of[name])


def test_tf_block_is_an_lstm(every_implementation: dict[str, dict[str, str]]) -> None:
    assert [name for name, of in every_implementation.items() if of.get("tf-block") == ""] == ["lstm/tiny/training"]


_TINY = """
import sys
from fastseq import cli
from fastseq.bench import layers, scaling, shapes
shapes.SHAPES["tiny"] = shapes.Shape(2, 3, 4, 5)
shapes.DEFAULT_SHAPES.update(lstm=("tiny",))
embedding = layers.Layer("Embedding", {"input_dim": 7, "output_dim": 3})
layers.CASES["embedding"] = layers.Case([embedding], (2, 5), vocabulary=7)
scaling.SIZES["units"] = (1, 3)
chosen = ["--ops", "lstm/tiny", "embedding/adam", "scaling/gru/units", "--models", "imdb-rnn-embedding"]
status = cli.main(["bench", *chosen, "--peers", "stock", "--rounds", "2", "--threads", "2", "--out", sys.argv[0]])
sys.exit(status)
"""


def test_whole_way(tmp_path: Path) -> None:
    ran = run_python(_TINY.replace("sys.argv[0]", repr(str(tmp_path / "new" / "out"))))
    assert ran.returncode == 0, ran.stderr
    names = [
        "lstm/tiny/training",
        "lstm/tiny/forward",
        "embedding/adam",
        "scaling/gru/units",
        "imdb-rnn-embedding/training",
        "imdb-rnn-embedding/forward",
        "imdb-rnn-embedding/predictor/forward",
        "imdb-rnn-embedding/predictor-one-row/forward",
    ]
    result = json.loads((tmp_path / "new" / "out" / "results.json").read_text())
    assert sorted(one["name"] for one in result["measurements"]) == sorted(names)
    for one in result["measurements"]:
        assert one["rounds_done"] == 2
        assert one["refused"] == {}
        ours = "predictor" if "/predictor" in one["name"] else "fast"
        assert set(one["implementations"]) >= ({"1", "3"} if one["kind"] == "scaling" else {ours, "stock"})
        for name in one["implementations"].values():
            assert [len(turn) for turn in name["seconds"]] == [4, 4]
            assert name["median_seconds"] > 0
        assert one["name"] in one["command"]
    assert result["threads"] == 2
    assert {"fastseq", "keras", "tensorflow", "Python"} <= set(result["versions"])
    assert {"CPU", "cores", "caches", "frequency governor", "load before", "load after", "instruction set"} <= set(
        result["machine"]
    )

    page = _Page((tmp_path / "new" / "out" / "report.html").read_text())
    for name in names:
        assert name in page.text
        assert name in ran.stdout
    assert re.search(r"scaling/gru/units: [0-9.e-]+ GFLOP/s at units 1, [0-9.e-]+ GFLOP/s at units 3\n", ran.stdout)
    assert "time / units 1" in page.text
    assert "batch 32, 100 steps, 64 inputs" in page.text
    assert page.figures == 5
    assert "FMA peak" in page.text
    assert "--threads 2" in result["command"]
    assert result["command"] in page.text
    written = {path.name for path in (tmp_path / "new" / "out").iterdir()}
    charts = {"ratios-models.svg", "ratios-recurrent.svg", "ratios-layers.svg", "peak.svg", "scaling.svg"}
    assert written == {"report.html", "results.json", *charts}
    _check_figures_of_documentation(tmp_path / "new" / "out" / "results.json", tmp_path)


def _check_figures_of_documentation(results: Path, out: Path) -> None:
    docs = ROOT / "docs"
    draw = [sys.executable, str(docs / "figures"), "--measured", str(results), "--out", str(out)]
    subprocess.run(draw, check=True)
    drawn = {file.name for file in out.glob("*.svg")}
    assert drawn == {file.name for file in (docs / "figures").glob("bench-*.svg")}
    shown = (docs / "benchmarks.md").read_text()
    for name in drawn:
        assert f"](figures/{name})" in shown
        text = "".join(ElementTree.parse(out / name).getroot().itertext())
        assert "2 threads" in text
        assert "fastseq bench" in text


def test_a_record_is_read_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "figures"))
    read_record = importlib.import_module("measured").read_record
    refused = _comparison(fast=_Fake(), stock=_Fake(0.002), torch=_Fake(result=2.0))
    sizes = dataclasses.replace(
        _comparison(**{"1": _Fake(), "8": _Fake(0.004)}),
        name="scaling/lstm/batch",
        kind="scaling",
        reference=None,
        labels={"1": "batch 1", "8": "batch 8"},
    )
    made = record.Record("fastseq bench", "2020-01-01T00:00:00+00:00", 1, {"CPU": "one"}, {}, {})
    made.measurements += [measuring.Measurement(one, 3) for one in (refused, sizes)]
    for one in made.measurements:
        one.run(one.comparison.implementations)
    file = tmp_path / "results.json"
    record.save_json(made, file)
    read = read_record(file)
    assert read.as_json() == made.as_json()
    assert page.page_of(read, page.drawings_of(read)) == page.page_of(made, page.drawings_of(made))
    with pytest.raises(RuntimeError, match="was read from a file"):
        read.measurements[0].comparison.make("fast")
    for wrong in ("[]", "{}", "no JSON"):
        file.write_text(wrong)
        with pytest.raises(ValueError, match=r"results\.json is not a results\.json of this version"):
            read_record(file)


def test_reports_losses_as_wins(bench: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(_comparison(fast=_Fake(0.002), stock=_Fake(0.001), torch=_Fake(0.009))) == 0
    printed = capsys.readouterr().out
    assert "1 faster, 0 unclear, 0 too few rounds, 1 slower" in printed
    assert "slower: op/training than stock Keras, which takes 0.50 times" in printed
    assert re.search(r"op/training +2 .* 0\.50 +4\.50", printed)
    page = _Page((tmp_path / "report.html").read_text())
    assert "0.50×" in page.text
    assert "4.50×" in page.text
    assert "An op, <forward> & backward" in page.text


def test_two_rounds_are_too_few(bench: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(_comparison(fast=_Fake(), stock=_Fake(0.009)), arguments=("--rounds", "2")) == 0
    assert "0 faster, 0 unclear, 1 too few rounds, 0 slower" in capsys.readouterr().out
    text = _Page((tmp_path / "report.html").read_text()).text
    assert "0too close to tell1too few rounds to tell" in text
    assert text.count("(9.00×)") == 3  # at a glance, in the chart, and in the comparison's table


def test_verdicts() -> None:
    def ratio(*rounds: float) -> Samples:
        return Samples([[one] for one in rounds])

    assert verdicts.verdict(ratio(2, 2)) == "too few rounds"
    assert verdicts.verdict(ratio(2, 2, 2)) == "faster"
    assert verdicts.verdict(ratio(0.5, 0.5, 0.5)) == "slower"
    assert verdicts.verdict(ratio(0.5, 1.1, 2)) == "unclear"


def test_wrong_or_failing_implementations_are_not_timed(
    bench: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = _Fake(result=1.001)
    assert bench(_comparison(fast=_Fake(), stock=_Fake(), torch=wrong, stock_jit=OSError("no more\nat all"))) == 1
    assert wrong.turns == 0
    printed = capsys.readouterr().out
    assert "NOT TIMED: op/training, torch: torch: outputs differs by 0.001" in printed
    assert "NOT TIMED: op/training, stock-jit: failed, OSError: no more" in printed
    (one,) = json.loads((tmp_path / "results.json").read_text())["measurements"]
    assert set(one["implementations"]) == {"fast", "stock"}
    assert set(one["refused"]) == {"torch", "stock-jit"}
    assert "differs by 0.001" in _Page((tmp_path / "report.html").read_text()).text


def test_a_wrong_reference_leaves_nobody_verified() -> None:
    measurement = _measured(fast=_Fake(), stock=OSError("broken"))
    assert measurement.samples == {}
    assert set(measurement.refused) == {"fast", "stock"}


def test_missing_peers_are_said(bench: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unavailable = implementations.UnavailableError("has no gradients")
    jax = _Fake()
    assert bench(_comparison(fast=_Fake(), stock=_Fake(), onnxruntime=unavailable, keras_jax=jax)) == 0
    assert jax.turns == 0
    assert "keras-jax: left out, jax is not installed" in capsys.readouterr().out
    text = _Page((tmp_path / "report.html").read_text()).text
    assert "Keras on JAX, jax is not installed" in text
    assert "ONNX Runtime: has no gradients" in text


def test_peers_that_take_no_part_are_said(
    bench: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = "torch takes part in nothing that was chosen"
    comparison = _comparison(fast=_Fake(), stock=_Fake())
    assert bench(comparison, arguments=("--peers", "torch", "stock")) == 0
    printed = capsys.readouterr().out
    assert message in printed
    assert "stock takes part in nothing" not in printed
    assert message in _Page((tmp_path / "report.html").read_text()).text
    assert bench(comparison) == 0  # nobody has asked for torch by name
    assert message not in capsys.readouterr().out


def test_charts_of_an_earlier_run_are_removed(bench: Callable[..., int], tmp_path: Path) -> None:
    for name in ("scaling.svg", "ratios-layers.svg", "mine.svg"):
        (tmp_path / name).write_text("before")
    assert bench(_comparison(fast=_Fake(), stock=_Fake())) == 0
    written = {"report.html", "results.json", "ratios-layers.svg", "peak.svg"}
    assert {path.name for path in tmp_path.iterdir()} == {*written, "mine.svg"}
    assert ElementTree.parse(tmp_path / "ratios-layers.svg").getroot().tag.endswith("svg")


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else found(name))
    assert implementations.not_installed("torch") == "torch is not installed"
    assert implementations.not_installed("stock") == ""
    with pytest.raises(implementations.UnavailableError, match="torch is not installed"):
        implementations.make_implementation("torch", make_problem("lstm", Shape(1, 1, 1, 1)), "training", threads=1)


def test_an_interrupt_keeps_whole_rounds(
    bench: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopping = _Fake(interrupt_after=3)  # a turn to warm up, and two that count
    later = dataclasses.replace(_comparison(fast=_Fake(), stock=_Fake()), name="op/later")
    assert bench(_comparison(fast=_Fake(), stock=stopping), later) == 130
    assert "Interrupted" in capsys.readouterr().err
    result = json.loads((tmp_path / "results.json").read_text())
    assert result["interrupted"]
    (one,) = result["measurements"]
    assert one["rounds_done"] == 2
    assert "interrupted" in _Page((tmp_path / "report.html").read_text()).text


def test_budget_cuts_rounds_and_implementations() -> None:
    clock = _Clock()
    cheap, dear = _Fake(1.0, clock=clock), _Fake(2.0, clock=clock)
    # 6 s to verify and to warm up; then rounds of 12 s.
    measurement = _measured(10, measuring.Budget(25, clock), fast=cheap, stock=dear)
    assert measurement.rounds_done == 2
    assert measurement.cut == "2 of 10 rounds"
    # Another 20 s for torch, whose turn would take at least five runs.
    measurement = _measured(1, measuring.Budget(45, clock), fast=cheap, stock=dear, torch=_Fake(10.0, clock=clock))
    assert set(measurement.samples) == {"fast", "stock"}
    assert measurement.cut == "without torch, a run of which takes 10.0 s"
    # What takes no second is not said to take none.
    measurement = _measured(
        1, measuring.Budget(1.003, clock), fast=_Fake(0.1), stock=_Fake(0.1), torch=_Fake(0.5, clock=clock)
    )
    assert measurement.cut == "without torch, a run of which takes 500 ms"
    # Two implementations and a round are necessary.
    measurement = _measured(2, measuring.Budget(0, clock), fast=cheap, stock=dear, torch=cheap)
    assert set(measurement.samples) == {"fast", "stock"}
    assert measurement.rounds_done == 1
    assert measurement.cut == "without torch, 1 of 2 rounds"


def test_known_absence_costs_no_time_and_is_no_cut() -> None:
    comparison = dataclasses.replace(
        _comparison(fast=_Fake(), stock=_Fake(), torch=_Fake()), absent={"torch": "is out"}
    )
    measurement = measuring.Measurement(comparison, 1)
    measurement.run(comparison.implementations, measuring.Budget(0))
    assert measurement.absent == {"torch": "is out"}
    assert measurement.cut == ""


def test_rounds_are_told() -> None:
    told: list[str] = []
    measurement = measuring.Measurement(_comparison(fast=_Fake(), stock=_Fake()), 2)
    measurement.run(["fast", "stock"], tell=told.append)
    assert told == ["stock is verified", "fast is verified", "round 1 of 2", "round 2 of 2"]


def test_budget_is_shared_and_skips() -> None:
    clock = _Clock()
    tasks = [
        suite.Task(str(i), lambda threads: _comparison(fast=_Fake(1.0, clock=clock), stock=_Fake(1.0, clock=clock)))
        for i in range(4)
    ]
    record = command.Record("fastseq bench", "", 1, {}, {}, {})
    told = io.StringIO()
    command.measure(tasks, (), record, measuring.Budget(80, clock), progress.Progress(4, 80, told, clock), 100)
    # 4 s before the first round, each of 8 s. The shares: 60 of 80 s, all of 20 s, nothing.
    assert [one.rounds_done for one in record.measurements] == [7, 2]
    assert record.skipped == {"2": "no time was left", "3": "no time was left"}
    assert told.getvalue().splitlines() == [
        "1/4 op/training: fastseq 1000 ms, stock Keras 1.00 times as long",
        "2/4 op/training: fastseq 1000 ms, stock Keras 1.00 times as long",
        "3/4 2: no time was left",
        "4/4 3: no time was left",
    ]


def test_progress_on_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    clock, terminal = _Clock(), Terminal()
    bar = progress.Progress(4, 1000, terminal, clock)
    bar.show(0, "first")
    clock.now = 30
    bar.show(1, "second")
    bar.detail("round 2 of 3")
    bar.finished("what came of it")
    bar.close()
    assert "\n" not in terminal.getvalue()
    lines = [line.rstrip() for line in terminal.getvalue().split("\r") if line]
    assert lines[0] == "[................] 0/4, at most 16:40 left: first"
    assert lines[1] == "[####............] 1/4, 1:30 left: second"
    assert lines[2] == "[####............] 1/4, 1:30 left: second, round 2 of 3"
    assert lines[-1] == ""


def test_environment_is_told_without_secrets_and_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("OMP_", "KMP_", "GOMP_", "TF_", "XLA_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TF_VAR_password", "secret")
    monkeypatch.setenv("TF_TOKEN_app_example", "secret")
    monkeypatch.setenv("FASTSEQ_DATA", "/home/somebody/secret")
    monkeypatch.setenv("OMP_TOOL_LIBRARIES", "/home/somebody/secret.so")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/home/somebody/secret --xla_cpu_max_isa=AVX2")
    told = machine.machine()["environment"]
    assert "secret" not in told
    assert "somebody" not in told
    assert "OMP_NUM_THREADS=2" in told
    assert "TF_ENABLE_ONEDNN_OPTS=0" in told
    assert "XLA_FLAGS=--xla_dump_to=(a path) --xla_cpu_max_isa=AVX2" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--ops lstm/nonsense", "argument --ops: choose names or parts of names"),
        ("--models gpt", "argument --models: choose names or parts of names"),
        ("--peers matlab", "argument --peers: invalid choice: 'matlab'"),
        ("--threads 0", "argument --threads: must be at least 1, got 0"),
        ("--rounds few", "argument --rounds: invalid positive value: 'few'"),
        ("--out /dev/null/folder", "argument --out: cannot write to /dev/null/folder"),
    ],
)
def test_bad_options(arguments: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["bench", *arguments.split()])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_select() -> None:
    tasks = suite.layer_tasks()
    names = [task.name for task in tasks]
    assert len(set(names)) == len(names)
    assert [task.name for task in suite.select(tasks, ["lstm/reuters"])] == [
        "lstm/reuters/training",
        "lstm/reuters/forward",
    ]
    assert {task.name for task in suite.select(tasks, ["adam"])} >= {"embedding/adam", "conv1d/adam"}
    for task in tasks:
        assert task in suite.select(tasks, [task.name])
    assert [task.name for task in suite.select(tasks, ["dropout"])] == ["dropout/training"]
    whole = suite.model_tasks(MODEL_NAMES)
    assert len(suite.quick([*tasks, *whole])) > 10


def test_charts_need_no_matplotlib(bench: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert bench(_comparison(fast=_Fake(), stock=_Fake())) == 0
    charts = {"ratios-layers.svg", "peak.svg"}
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "results.json", *charts}
    assert _Page((tmp_path / "report.html").read_text()).figures == 2


def test_drawings(tmp_path: Path) -> None:
    made = ratio_drawing("A & B", [_measured(fast=_Fake(), stock=_Fake(0.5))])
    assert made is not None
    made.polygon([(1, 1), (9, 1), (5, 9)], "win")
    assert "var(--ink" in made.svg()
    made.save_framed(tmp_path / "framed.svg", ["measured on <a machine>", "by a command"])
    written = (tmp_path / "framed.svg").read_text()
    for text in ("A &amp; B", "500×", "measured on &lt;a machine&gt;", "by a command", "1.0,1.0 9.0,1.0 5.0,9.0"):
        assert text in written
    assert "var(" not in written  # many programs that show SVG know no variables
    left, top, width, height = map(
        float, ElementTree.parse(tmp_path / "framed.svg").getroot().attrib["viewBox"].split()
    )
    assert left < 0 < made.width < left + width
    assert top < 0 < made.height < top + height
    made.save(tmp_path / "plain.svg")
    assert "var(" not in (tmp_path / "plain.svg").read_text()
    assert ratio_drawing("nothing", [_measured(fast=_Fake())]) is None


def test_scripts_tell_their_options() -> None:
    scripts = [path for path in (ROOT / "bench").glob("*.py") if "__main__" in path.read_text()]
    assert scripts
    code = f"""
import contextlib, io, runpy, sys
for script in {[str(path) for path in scripts]}:
    sys.argv = [script, "--help"]
    sys.path.insert(0, script.rpartition("/")[0])
    with contextlib.redirect_stdout(io.StringIO()) as told, contextlib.suppress(SystemExit):
        runpy.run_path(script, run_name="__main__")
    assert ("--precision" if script.endswith("bench_cuda.py") else "--threads") in told.getvalue(), script
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr


_WHOLE_MODELS = """
import contextlib
import runpy
import sys
script, folder, file = sys.argv[1:]
sys.path.insert(0, script.rpartition("/")[0])
default_models = runpy.run_path(script)["default_models"]
from fastseq.training.models import MODELS
assert default_models("auto", False) == default_models(file, False) == list(MODELS)
assert default_models(folder, False) == [name for name in MODELS if name != "price-forecast"]
assert "imdb-rnn-onehot" not in default_models(folder, True)
for model in (["--model", "price-forecast"], []):
    sys.argv = ["whole_models.py", "--data", folder, *model]
    with contextlib.suppress(SystemExit):
        runpy.run_path(script, run_name="__main__")
"""


def test_script_of_whole_models_and_data(tmp_path: Path) -> None:
    script = ROOT / "bench" / "whole_models.py"
    file = tmp_path / "prices.csv"
    file.touch()
    ran = run_python(f"import sys; sys.argv = {['-c', str(script), str(tmp_path), str(file)]}" + _WHOLE_MODELS)
    assert ran.returncode == 0, ran.stderr
    errors = [line for line in ran.stderr.splitlines() if line.startswith("whole_models.py: error: ")]
    assert len(errors) == 2, ran.stderr
    assert f"cannot read {tmp_path}" in errors[0]
    assert "there is no file reuters.npz in it" in errors[1]
    assert "Traceback" not in ran.stderr


def test_samples_and_ratios() -> None:
    samples = Samples([[1.0, 2.0], [3.0, 4.0]])
    assert samples.median == 2.5
    assert samples.quartiles == (1.75, 3.25)
    assert samples.iqr == 1.5
    assert ratios(samples, Samples([[3.0], [7.0]])).values == [0.5, 0.5]
    assert Samples([[2.0]]).quartiles == (2.0, 2.0)


def test_turns_alternate() -> None:
    order: list[str] = []

    def turn(name: str) -> Callable[[int], list[float]]:
        def take(runs: int) -> list[float]:
            order.append(name)
            return [float(len(order))] * runs

        return take

    *_, last = take_turns({"a": turn("a"), "b": turn("b")}, 2)
    assert order == ["a", "b", "a", "b"]
    assert last["b"].turns == [[2.0] * 4, [4.0] * 4]


def test_fma_peak() -> None:
    for isa in runtime.available_isas():
        runtime.set_isa(isa)
        # No CPU has come to 1e12 on one thread, and none that runs TensorFlow takes 100 cycles for an operation.
        assert 1e7 < core.fma_peak(1, 0.001) < 1e12
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        core.fma_peak(0, 0.001)
    with pytest.raises(ValueError, match="seconds must be above 0, got 0"):
        core.fma_peak(1, 0.0)


def test_a_worker_measures_another_fastseq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "fastseq"
    other.mkdir()
    (other / "__init__.py").touch()
    (other / "functional.py").write_text("def lstm_forward(*arguments, **options): ...\n")
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    compare = importlib.import_module("compare")
    problem = make_problem("gru", Shape(1, 1, 1, 1))
    with (
        Worker({compare._FOLDER: str(tmp_path)}, compare.begin_with_revision) as worker,
        pytest.raises(implementations.UnavailableError, match="this revision has no gru_forward"),
    ):
        worker.make_implementation("functional", problem, "forward", threads=1)


def test_a_worker_tells_its_errors_and_its_end() -> None:
    with Worker({"OMP_NUM_THREADS": "1"}) as worker:
        assert worker.call(os.getenv, "OMP_NUM_THREADS") == "1"
        with pytest.raises(RuntimeError, match="ZeroDivisionError: "):
            worker.call(divmod, 1, 0)
        with pytest.raises(RuntimeError, match="a worker process has ended with status 3"):
            worker.call(os._exit, 3)
