"""Keras's own tests, from the installed wheel, with Keras patched: one process runs them all."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import pytest

SOURCE = Path(keras.__file__).parent / "src"
# What has fast twins, alone and inside other layers and models.
TWINS = [
    "layers/convolutional/conv_test.py",
    "layers/core/embedding_test.py",
    "layers/pooling/average_pooling_test.py",
    "layers/pooling/max_pooling_test.py",
    "layers/regularization/dropout_test.py",
    "layers/regularization/spatial_dropout_test.py",
    "layers/rnn/bidirectional_test.py",
    "layers/rnn/gru_test.py",
    "layers/rnn/lstm_test.py",
    "layers/rnn/simple_rnn_test.py",
    "layers/rnn/time_distributed_test.py",
    "models/cloning_test.py",
    "models/functional_test.py",
    "optimizers/adam_test.py",
    # The class that saves recurrent layers; most others take seconds for layers without twins.
    "saving/saving_lib_test.py::SavingBattleTest",
]
# Cells of the tests' own, and stacked ones: they have no twins, and must not notice those of others.
CELLS = ["layers/rnn/rnn_test.py", "layers/rnn/stacked_rnn_cells_test.py"]
# In the same files: Conv2D, Conv3D, pooling and SpatialDropout likewise, which have no twins.
OF_OTHER_CLASSES = ("conv2d", "conv3d", "pooling2d", "pooling3d", "dropout_2d", "dropout_3d")
# Of them, those that meet no kernel on other backends, where embeddings, dropout and Adam are stock.
STOCK_ON_OTHERS = {
    "layers/core/embedding_test.py",
    "layers/regularization/dropout_test.py",
    "layers/regularization/spatial_dropout_test.py",
    "layers/rnn/time_distributed_test.py",
    "models/functional_test.py",
    "optimizers/adam_test.py",
}
WITHOUT_KERNELS = {
    "tensorflow": set(),
    "torch": STOCK_ON_OTHERS,
    "jax": STOCK_ON_OTHERS,
}[keras.backend.backend()]
# What fails, and why it may. All the others must pass.
LEFT_OUT = {
    "saving/saving_lib_test.py::SavingBattleTest::test_legacy_load_skips_missing_nested_containers": (
        "reads a file that the wheel does not carry; there are Dense layers only in it"
    ),
}

if importlib.util.find_spec("tensorflow") is None:
    LEFT_OUT["saving/saving_lib_test.py::SavingBattleTest::test_remove_weights_only_saving_and_loading"] = (
        "pretends that a path is remote, and Keras needs TensorFlow to read one"
    )

pytestmark = pytest.mark.skipif(not (SOURCE / CELLS[0]).is_file(), reason="this Keras wheel carries no tests")


@pytest.fixture(scope="module")
def tests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Outcome and native calls of every test."""
    folder = tmp_path_factory.mktemp("keras")
    (folder / "pytest.ini").write_text("[pytest]\n")  # none of Keras's, and none of ours
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "fast_for_stock", "-p", "no:cacheprovider"),
            *(
                "--disable-warnings",
                "-c",
                folder / "pytest.ini",
                "--rootdir",
                SOURCE,
                "--tests-json",
                folder / "tests.json",
            ),
            *("-k", " and ".join(f"not {name}" for name in OF_OTHER_CLASSES)),
            *(f"--left-out={test}" for test in LEFT_OUT),
            *(SOURCE / file for file in [*CELLS, *TWINS]),
        ],
        cwd=folder,
        # What this process imports from, and so the plugin beside this file and the same fastseq.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    written: dict[str, dict[str, Any]] = json.loads((folder / "tests.json").read_text())
    return written


def test_keras_tests_pass(tests: dict[str, dict[str, Any]]) -> None:
    outcomes = [test["outcome"] for test in tests.values()]
    assert outcomes.count("failed") == 0
    assert outcomes.count("passed") >= {"tensorflow": 250, "torch": 240, "jax": 240}[keras.backend.backend()]
    # Those left out, and those that Keras itself skips on this backend.
    most = {"tensorflow": 0.02, "torch": 0.06, "jax": 0.06}[keras.backend.backend()]
    assert outcomes.count("skipped") <= most * len(outcomes)
    assert len(LEFT_OUT) <= 0.02 * len(outcomes)


@pytest.mark.parametrize("file", [file for file in TWINS if file not in WITHOUT_KERNELS])
def test_kernels_ran(tests: dict[str, dict[str, Any]], file: str) -> None:
    assert sum(test["native_calls"] for name, test in tests.items() if name.startswith(file)) > 0


@pytest.mark.parametrize("file", CELLS)
def test_cells_were_tested(tests: dict[str, dict[str, Any]], file: str) -> None:
    assert any(test["outcome"] == "passed" for name, test in tests.items() if name.startswith(file))
