"""The figures of docs/benchmarks.md, from the results.json of `fastseq bench`."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from fastseq.bench.charts import ratio_drawing, scaling_drawing, share_drawing
from fastseq.bench.drawing import Drawing
from fastseq.bench.measuring import Comparison, Measurement
from fastseq.bench.record import Record
from fastseq.bench.scaling import BASE
from fastseq.bench.timing import Samples

# By name, as the page has them.
MEASURED = (
    *("bench-models", "bench-models-prediction", "bench-recurrent", "bench-prediction", "bench-layers", "bench-peak"),
    "bench-scaling",
)
_LINE = 82  # characters of a caption


def measured(record: Record) -> dict[str, Drawing]:
    """The figures by name.

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
        scaling_drawing("fastseq.functional, by the size of a layer", record.of_kind("scaling"), BASE),
    )
    figures = {}
    for name, drawing in zip(MEASURED, drawings, strict=True):
        if drawing is None:
            raise ValueError(f"nothing was measured of what {name} shows")
        figures[name] = drawing
    return figures


def _trained(measurements: list[Measurement]) -> list[Measurement]:
    return [one for one in measurements if not one.comparison.name.endswith("/forward")]


def _predicted(measurements: list[Measurement]) -> list[Measurement]:
    return [one for one in measurements if one.comparison.name.endswith("/forward")]


def caption(record: Record) -> list[str]:
    """Lines with the machine, the versions and the command."""
    machine = record.machine
    versions = ", ".join(f"{package} {version}" for package, version in record.versions.items())
    sentences = (
        f"{machine['CPU']}, {machine['instruction set']}, {record.threads} threads; {record.date[:10]}",
        versions,
        record.command,
        *record.warnings,
    )
    return [line for sentence in sentences for line in textwrap.wrap(sentence, _LINE, break_on_hyphens=False)]


def read_record(path: Path) -> Record:
    """A run as `fastseq bench` has written it: to be shown, not to be measured again.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not such a file.
    """
    try:
        told: dict[str, Any] = json.loads(path.read_text())
        measurements = [_from_json(one) for one in told.pop("measurements")]
        return Record(**told, measurements=measurements)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a results.json of this version's `fastseq bench`: {error!r}") from None


def _from_json(told: dict[str, Any]) -> Measurement:
    implementations: dict[str, dict[str, Any]] = told["implementations"]

    def not_again(*_: Any) -> Any:
        raise RuntimeError(f"{told['name']} was read from a file: it can be shown, and not be measured again")

    comparison = Comparison(
        name=told["name"],
        title=told["title"],
        kind=told["kind"],
        implementations=list(implementations),
        make=not_again,
        reference=told["verified_against"],
        verify=not_again,
        flops={name: of["flops"] for name, of in implementations.items() if of["flops"] is not None},
        threads={name: of["threads"] for name, of in implementations.items()},
        labels={name: of["label"] for name, of in implementations.items()},
    )
    return Measurement(
        comparison,
        told["rounds"],
        samples={name: Samples(of["seconds"]) for name, of in implementations.items()},
        peaks={int(threads): Samples(turns) for threads, turns in told["fma_peak"].items()},
        absent=told["absent"],
        refused=told["refused"],
        cut=told["cut"],
    )
