"""The record of a run: its measurements, and the conditions under which they were made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastseq.bench.measuring import Measurement
from fastseq.bench.verdicts import VERDICTS, label_of, peers_of, verdict


@dataclass
class Record:
    """A run of `fastseq bench`, finished or not.

    Attributes:
        command: The command that repeats the run.
        date: When it began, ISO 8601.
        threads: The number of threads of every implementation.
        machine: Facts about the machine, by name.
        versions: The version of each package.
        missing: By implementation, the package that is not installed.
        measurements: The measurements that have been begun.
        skipped: By comparison, why it was not begun.
        warnings: Reasons to trust the figures less.
        interrupted: Whether Ctrl-C ended the run.
        seconds: The time that it took.
    """

    command: str
    date: str
    threads: int
    machine: dict[str, str]
    versions: dict[str, str]
    missing: dict[str, str]
    measurements: list[Measurement] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    interrupted: bool = False
    seconds: float = 0.0

    def of_kind(self, *kinds: str) -> list[Measurement]:
        """The measurements of these kinds."""
        return [one for one in self.measurements if one.comparison.kind in kinds]

    def reproduce(self, measurement: Measurement) -> str:
        """The command that repeats only this measurement."""
        option = "--models" if measurement.comparison.kind == "model" else "--ops"
        return f"fastseq bench {option} {measurement.comparison.name} --threads {self.threads}"

    def verdicts(self) -> dict[str, list[tuple[Measurement, str]]]:
        """By verdict, the measurements with their peers."""
        found: dict[str, list[tuple[Measurement, str]]] = {one: [] for one in VERDICTS}
        for one in self.measurements:
            for peer in peers_of(one):
                found[verdict(one.ratio(peer))].append((one, peer))
        return found

    def as_json(self) -> dict[str, Any]:
        """The whole record, with every sample."""
        measurements = [{**_as_json(one), "command": self.reproduce(one)} for one in self.measurements]
        return {**vars(self), "measurements": measurements}


def save_json(record: Record, path: Path) -> None:
    """Writes the result of `Record.as_json` to a file.

    Raises:
        OSError: The file cannot be written.
    """
    path.write_text(json.dumps(record.as_json(), indent=1, allow_nan=False) + "\n")


def _as_json(one: Measurement) -> dict[str, Any]:
    comparison = one.comparison
    implementations: Sequence[str] = list(one.samples)
    return {
        "name": comparison.name,
        "title": comparison.title,
        "kind": comparison.kind,
        "verified_against": comparison.reference,
        "rounds": one.rounds,
        "rounds_done": one.rounds_done,
        "cut": one.cut,
        "absent": one.absent,
        "refused": one.refused,
        "implementations": {
            name: {
                "label": label_of(one, name),
                "median_seconds": one.samples[name].median,
                "quartiles_seconds": one.samples[name].quartiles,
                "threads": comparison.threads[name],
                "flops": comparison.flops.get(name),
                f"times_{one.base}": one.ratio(name).turns,
                "seconds": one.samples[name].turns,
            }
            for name in implementations
        },
        "fma_peak": {str(threads): peak.turns for threads, peak in one.peaks.items()},
    }
