"""`from attention import Attention`: FastAttention in place of the PyPI package, and modules of the user's."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import run

import fastseq.keras
from fastseq.keras import FastAttention, NativeFallbackWarning, backend

SAID = "attention.Attention is fastseq.keras.FastAttention here: the package attention does not run on Keras 3"


def take() -> Any:
    """As scripts do it, without a warning of a line seen before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from attention import Attention
    return Attention


def install(folder: Path, version: str) -> None:
    """What pip leaves of the package, with a class that can be told from ours."""
    (folder / "attention").mkdir()
    (folder / "attention/__init__.py").write_text("from attention.attention import Attention\n")
    (folder / "attention/attention.py").write_text("class Attention: pass\nother = 1\n")
    (folder / f"attention-{version}.dist-info").mkdir()
    metadata = f"Metadata-Version: 2.1\nName: attention\nVersion: {version}\n"
    (folder / f"attention-{version}.dist-info/METADATA").write_text(metadata)


def forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "attention"]:
        del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that Python imports from, before all others. No patch and no module is left behind."""
    before = list(sys.meta_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    fastseq.keras.unpatch()
    assert sys.meta_path == before
    forget()


def test_not_installed() -> None:
    with fastseq.keras.patch():
        with pytest.warns(UserWarning, match=SAID) as told:
            from attention import Attention
        assert [one.filename for one in told] == [__file__]
        assert Attention is FastAttention
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # said once
            from attention import Attention
        with pytest.raises(ImportError, match="cannot import name 'AttentionLayer' from 'attention'"):
            from attention import AttentionLayer  # noqa: F401
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("attention.attention")
    assert "attention" not in sys.modules
    with pytest.raises(ModuleNotFoundError, match="No module named 'attention'"):
        importlib.import_module("attention")


@pytest.mark.parametrize("version", ["4.1", "5.0.0"])
def test_installed(site: Path, version: str) -> None:
    install(site, version)
    for _ in range(2):
        with fastseq.keras.patch(only=["LSTM"]):
            assert take() is FastAttention
            assert importlib.import_module("attention.attention").other == 1
        forget()
        assert take() is not FastAttention
        forget()


def test_imported_before(site: Path) -> None:
    install(site, "5.0.0")
    its_own = take()
    module = sys.modules["attention"]
    for importing in (True, False):
        with fastseq.keras.patch(), fastseq.keras.patch():
            if importing:
                assert take() is FastAttention
        assert sys.modules["attention"] is module
        assert take() is its_own


def test_other_versions_are_left_alone(site: Path) -> None:
    """Those before have another layer, and one to come may run on Keras 3."""
    install(site, "6.0.0")
    with fastseq.keras.patch():
        assert take() is not FastAttention


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("file", ["attention.py", "attention/__init__.py"])
def test_a_module_of_the_users_own_is_left_alone(site: Path, file: str, before: bool) -> None:
    (site / "own").mkdir()
    install(site, "5.0.0")
    own = site / "own" / file
    own.parent.mkdir(exist_ok=True)
    own.write_text("class Attention: pass\n")
    sys.path.insert(0, str(site / "own"))
    if before:
        importlib.import_module("attention")
    with fastseq.keras.patch():
        assert take() is not FastAttention
        assert sys.modules["attention"].__file__ == str(own)
    assert sys.modules["attention"].__file__ == str(own)


def test_a_folder_of_the_users_own_is_left_alone(site: Path) -> None:
    """Without `__init__.py`."""
    (site / "attention").mkdir()
    (site / "attention/layers.py").write_text("own = True\n")
    with fastseq.keras.patch():
        assert importlib.import_module("attention.layers").own
        with pytest.raises(ImportError, match="cannot import name 'Attention' from 'attention'"):
            take()


def test_every_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_SUPPORTED", ())
    with pytest.warns(NativeFallbackWarning), fastseq.keras.patch():
        assert take() is FastAttention


SCRIPT = """
from attention import Attention
import numpy as np
from tensorflow.keras.layers import LSTM, Activation, Dense, Dropout, Embedding
from tensorflow.keras.models import Sequential

model = Sequential()
model.add(Embedding(5000, 500))
model.add(Dropout(0.5))
model.add(LSTM(64, return_sequences=True))
model.add(Attention())
model.add(Dropout(0.5))
model.add(Dense(1))
model.add(Activation("sigmoid"))
model.compile(loss="binary_crossentropy", optimizer="adam", metrics=["acc"])
x, y = np.random.default_rng(0).integers(1, 5000, (8, 30)), np.arange(8) % 2
loss = model.fit(x, y, batch_size=4, epochs=1, verbose=0).history["loss"][0]
print(np.isfinite(loss), model.layers[2], model.layers[3].get_config()["units"])
"""


def run_script(folder: Path) -> subprocess.CompletedProcess[str]:
    return run("-m", "fastseq", "script.py", folder=folder)


def test_script(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = run_script(tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "True <FastLSTM name=lstm> 128"
    (said,) = (line for line in done.stderr.splitlines() if "Attention" in line and "Warning" in line)
    assert re.fullmatch(rf"\S*script\.py:2: UserWarning: {re.escape(SAID)}\.", said), said


def test_script_beside_a_module_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "attention.py").write_text("class Attention: own = True\n")
    (tmp_path / "script.py").write_text("from attention import Attention\nprint(Attention.own)\n")
    done = run_script(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
