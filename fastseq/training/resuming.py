"""Reads and writes the file from which `fastseq train --resume` continues. It imports nothing that takes time."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from fastseq.commands import replacing

__all__ = ["OPTIONS", "STATE", "is_finished", "read_interrupted", "read_state", "write_state"]

# The file's name in the folder of the training. The file is removed at the end of the training.
STATE = "state.npz"
# The options that must be the same when the training is resumed. The data must be the same, too, but not their path.
OPTIONS = ("model", "layers", "compare", "jit", "mask_zero", "epochs", "batch_size", "seed", "threads")


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Writes values that JSON can represent, with arrays anywhere among them, into an NPZ file.

    Args:
        path: The path of the file, `*.npz`.
        state: Dicts, lists, strings, numbers, None and arrays of numbers.

    Raises:
        OSError: The file cannot be written.
        TypeError: The state has a value of another type.
    """
    arrays: dict[str, Any] = {}

    def put(value: Any) -> dict[str, str]:
        if not isinstance(value, np.ndarray) or value.dtype.hasobject:
            raise TypeError(f"a state must have text, numbers and arrays of numbers, got {value!r}")
        name = f"array_{len(arrays)}"
        arrays[name] = value
        return {"array": name}

    arrays["json"] = np.array(json.dumps(state, default=put))
    with replacing(path) as new:
        np.savez(new, **arrays)


def read_state(path: Path) -> dict[str, Any]:
    """Reads a file that `write_state` has written. It unpickles nothing, so it runs no code from the file.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is damaged, or has other contents.
    """
    try:
        # Opened here, because numpy.load leaves a file open if it finds no archive in it.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            state = json.loads(
                str(arrays["json"]), object_hook=lambda value: arrays[value["array"]] if "array" in value else value
            )
    except OSError:
        raise
    except Exception as error:  # zipfile, NumPy and json raise many kinds of errors for damaged files
        raise ValueError(f"{path} is damaged, or no state of a training: {error}") from error
    if not isinstance(state, dict) or not {"options", "data", "versions", "runs"} <= state.keys():
        raise ValueError(f"{path} is no state of a training")
    return state


def is_finished(out: Path) -> bool:
    """Whether a folder has the files of a training that has come to its end."""
    if (out / STATE).exists():
        return False
    try:
        return json.loads((out / "result.json").read_bytes())["interrupted"] is False
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read_interrupted(out: Path, options: argparse.Namespace, parser: argparse.ArgumentParser) -> dict[str, Any]:
    """The state of the training in a folder that was interrupted.

    Args:
        out: The folder.
        options: The options of the command line, which must be those of the interrupted training.
        parser: Reports errors, and ends the program.
    """
    try:
        state = read_state(out / STATE)
    except FileNotFoundError:
        parser.error(f"argument --resume: {out} has no interrupted training with a finished epoch")
    except OSError as error:
        parser.error(f"argument --resume: cannot read {out / STATE}: {error.strerror or error}")
    except ValueError as error:
        parser.error(f"argument --resume: {error}")
    for name in OPTIONS:
        before, now = state["options"].get(name), getattr(options, name)
        if now != before:
            argument = "MODEL" if name == "model" else f"--{name.replace('_', '-')}"
            parser.error(
                f"argument {argument}: must be as in the interrupted training in {out}, {_as_given(before)}, "
                f"got {_as_given(now)}"
            )
    return state


def _as_given(value: Any) -> str:
    return "left out" if value is None or value is False else "given" if value is True else str(value)
