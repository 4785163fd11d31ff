"""The figures of docs/benchmarks.md, from what `fastseq bench` has measured."""

from __future__ import annotations

import textwrap

from fastseq.bench.charts import ratio_drawing, scaling_drawing, share_drawing
from fastseq.bench.drawing import Drawing, framed
from fastseq.bench.measuring import Measurement
from fastseq.bench.record import Record
from fastseq.bench.scaling import BASE
from fastseq.bench.shapes import parse_shape

# By name, as the page has them.
MEASURED = (
    *("bench-models", "bench-models-prediction", "bench-recurrent", "bench-prediction", "bench-layers", "bench-peak"),
    "bench-scaling",
)
_LINE = 82  # characters of a caption


def measured(record: Record) -> dict[str, Drawing]:
    """The figures, each with the machine, the versions and the command below it.

    Raises:
        ValueError: A figure has nothing to show: the run has left out all of it.
    """
    models, recurrent, layers = (record.of_kind(kind) for kind in ("model", "recurrent", "layer"))
    training = [*_trained(models), *_trained(recurrent), *_trained(layers)]
    drawings = (
        ratio_drawing("Whole models, a training step", _trained(models)),
        ratio_drawing("Whole models, prediction for a batch", _predicted(models)),
        ratio_drawing("Recurrent layers, forward and backward", _trained(recurrent)),
        ratio_drawing("Recurrent layers, prediction", _predicted(recurrent)),
        ratio_drawing("Other layers, forward and backward", _trained(layers)),
        share_drawing("Share of the peak of multiply-adds", training),
        scaling_drawing("fastseq.functional, by the size of a layer", record.of_kind("scaling"), parse_shape(BASE)),
    )
    figures = {}
    for name, drawing in zip(MEASURED, drawings, strict=True):
        if drawing is None:
            raise ValueError(f"nothing was measured of what {name} shows")
        figures[name] = framed(drawing, _caption(record))
    return figures


def _trained(measurements: list[Measurement]) -> list[Measurement]:
    return [one for one in measurements if not one.comparison.name.endswith("/forward")]


def _predicted(measurements: list[Measurement]) -> list[Measurement]:
    return [one for one in measurements if one.comparison.name.endswith("/forward")]


def _caption(record: Record) -> list[str]:
    machine = record.machine
    versions = ", ".join(f"{package} {version}" for package, version in record.versions.items())
    sentences = (
        f"{machine['CPU']}, {machine['instruction set']}, {record.threads} threads; {record.date[:10]}",
        versions,
        record.command,
        *record.warnings,
    )
    return [line for sentence in sentences for line in textwrap.wrap(sentence, _LINE, break_on_hyphens=False)]
