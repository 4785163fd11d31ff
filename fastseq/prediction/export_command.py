"""The command `fastseq export`: a saved Keras model becomes a file of `fastseq.Predictor`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fastseq.prediction.errors import UnsupportedLayerError
from fastseq.quiet import quiet_start


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options to a parser."""
    parser.add_argument("model", type=Path, metavar="MODEL.keras", help="a model that `model.save` has written")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="default: the model's name with the suffix .fastseq"
    )


def run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Runs the command.

    Args:
        options: The options of `add_options`.
        parser: Reports errors of usage.

    Returns:
        0; 2 if the file cannot be read or written, or if the model cannot be exported.
    """
    output = options.output or options.model.with_suffix(".fastseq")
    if not options.model.is_file():
        parser.error(f"argument MODEL.keras: cannot read {options.model}: no such file")
    if not output.parent.is_dir():
        parser.error(f"argument --output: there is no folder {output.parent}")
    with quiet_start():
        import keras

        import fastseq.keras  # noqa: F401, registers the fast layers
        from fastseq.prediction.predictor import Predictor

    try:
        model = keras.saving.load_model(options.model, compile=False)
    except (OSError, TypeError, ValueError) as error:
        print(f"fastseq export: error: cannot read {options.model}: {error}", file=sys.stderr)
        return 2
    try:
        predictor = Predictor(model)
        predictor.save(output)
    except UnsupportedLayerError as error:
        print(f"fastseq export: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"fastseq export: error: cannot write {output}: {error.strerror or error}", file=sys.stderr)
        return 2
    inputs, outputs = ", ".join(predictor.input_names), ", ".join(predictor.output_names)
    print(f"Wrote {output}: {output.stat().st_size:,} bytes, from {inputs} to {outputs}")
    return 0
