"""Whole scripts like those of textbooks, run by Python and by `fastseq`: the same losses, files and pictures.

They import `tensorflow.keras`, as textbooks do. Of fastseq they import only the corpora, which Keras's own loaders
would download: the synthetic ones, or the real ones in the folder that `FASTSEQ_DATA` names.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from processes import run

SCRIPTS = Path(__file__).parent / "textbook_scripts"
# Of losses: to 4 digits in the first 60 steps or fewer, none of which is chaotic yet.
TOLERANCE = 5e-5


def run_well(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir()
    done = run(*command, folder=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.mark.parametrize(
    ("name", "layers", "said"),
    [
        ("reuters_lstm", ["FastEmbedding", "FastLSTM", "Dense"], []),
        (
            "imdb_cnn_lstm",
            ["FastEmbedding", "FastDropout", "FastConv1D", "FastMaxPooling1D", "FastLSTM", "Dense", "Activation"],
            [],
        ),
        (
            "imdb_simple_rnn",
            ["FastSimpleRNN", "Dense", "FastEmbedding", "FastSimpleRNN", "Dense"],
            ["Argument `input_length` is deprecated", "Do not pass an `input_shape`", "HDF5 file"],
        ),
    ],
)
def test_losses_and_files_are_those_of_stock_keras(
    name: str, layers: list[str], said: list[str], tmp_path: Path
) -> None:
    script = str(SCRIPTS / f"{name}.py")
    stock, fast = run_well(tmp_path / "stock", script), run_well(tmp_path / "fast", "-m", "fastseq", script)
    assert "Fast" not in stock.stdout
    *shown, last = fast.stdout.splitlines()
    assert [made.split()[0].lstrip("[<") for made in shown[-1].split(", <")] == layers
    losses, expected = json.loads(last), json.loads(stock.stdout.splitlines()[-1])
    assert losses == pytest.approx(expected, abs=TOLERANCE)
    files = {path.name for path in (tmp_path / "stock").iterdir()}
    assert "png" in {name.rpartition(".")[2] for name in files}
    assert {path.name for path in (tmp_path / "fast").iterdir()} == files
    for words in said:  # by Keras, either way
        assert words in stock.stderr
        assert words in fast.stderr
    assert "NativeFallbackWarning" not in fast.stderr
