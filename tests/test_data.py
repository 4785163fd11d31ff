from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from processes import run_python

from fastseq import data
from fastseq.keras import FastLSTM


def test_real_reuters_padded(real_data: str) -> None:
    padded = data.load_reuters(num_words=1000, maxlen=100, data=real_data)
    ragged = data.load_reuters(num_words=1000, data=real_data)
    assert padded.x_train.shape == (8982, 100)
    assert padded.x_test.shape == (2246, 100)
    assert padded.num_classes == 46
    assert ragged.x_train[0][:10] == [1, 2, 2, 8, 43, 10, 447, 5, 25, 207]
    assert padded.x_train.max() < 1000
    expected = keras.utils.pad_sequences(ragged.x_test, maxlen=100)
    np.testing.assert_array_equal(padded.x_test, expected)


def test_real_imdb(real_data: str) -> None:
    reviews = data.load_imdb(num_words=500, maxlen=50, data=real_data)
    assert reviews.x_train.shape == reviews.x_test.shape == (25_000, 50)
    assert reviews.y_train.mean() == reviews.y_test.mean() == 0.5
    assert not reviews.synthetic


def test_keras_reads_the_same(real_data: str, tmp_path: Path) -> None:
    # In a process of its own, since Keras fixes the place of its cache when it is imported.
    (tmp_path / "datasets").mkdir()
    for name in ("reuters.npz", "imdb.npz"):
        (tmp_path / "datasets" / name).symlink_to(Path(real_data).resolve() / name)
    code = """
import keras
from fastseq import data
for corpus, arguments in (("reuters", {"num_words": 1000}), ("imdb", {"num_words": 300}), ("imdb", {})):
    ours = getattr(data, "load_" + corpus)(**arguments)
    assert "datasets" in ours.source
    (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, corpus).load_data(**arguments)
    if "num_words" not in arguments:  # Keras then drops the very last word
        x_train, ours_x_train = x_train[:50], ours.x_train[:50]
    else:
        ours_x_train = ours.x_train
        assert all(list(a) == list(b) for a, b in zip(ours.x_test, x_test, strict=True))
    assert all(list(a) == list(b) for a, b in zip(ours_x_train, x_train, strict=True))
    assert (ours.y_train == y_train).all() and (ours.y_test == y_test).all()
"""
    done = run_python(code, remove=("FASTSEQ_DATA",), KERAS_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr[-2000:]


def test_synthetic_sizes_and_seed() -> None:
    corpus = data.load_reuters(num_words=1000, maxlen=100, data="synthetic")
    assert corpus.synthetic
    assert corpus.source == "synthetic"
    assert corpus.x_train.shape == (8982, 100)
    assert corpus.x_test.shape == (2246, 100)
    assert corpus.x_train.dtype == np.int32
    assert corpus.x_train.min() >= 0
    assert corpus.x_train.max() == 999
    assert set(np.unique(corpus.y_train)) == set(range(46))
    again = data.load_reuters(num_words=1000, maxlen=100, data="synthetic")
    np.testing.assert_array_equal(corpus.x_train, again.x_train)
    other = data.load_reuters(num_words=1000, maxlen=100, data="synthetic", seed=1)
    assert not np.array_equal(corpus.x_train, other.x_train)


def test_synthetic_order_matters() -> None:
    """Of two classes with one theme, word counts tell nothing, and the order of the markers everything."""
    corpus = data.load_imdb(num_words=300, maxlen=100, data="synthetic")
    x, y = corpus.x_train[:4000], corpus.y_train[:4000]
    x_test, y_test = corpus.x_train[4000:6000], corpus.y_train[4000:6000]
    counts = [np.stack([np.bincount(row, minlength=300) for row in rows]) for rows in (x, x_test)]

    def accuracy(layers: list[Any], train: Any, test: Any) -> float:
        keras.utils.set_random_seed(0)
        model = keras.Sequential([*layers, keras.layers.Dense(1, activation="sigmoid")])
        model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
        model.fit(train, y, batch_size=50, epochs=6, verbose=0)
        return float(model.evaluate(test, y_test, verbose=0)[1])

    bag = accuracy([keras.Input((300,))], *(c.astype("float32") for c in counts))
    lstm = accuracy([keras.Input((100,)), keras.layers.Embedding(300, 16), FastLSTM(16)], x, x_test)
    assert bag < 0.6
    assert lstm > 0.85


def test_wrong_hash(tmp_path: Path) -> None:
    np.savez(tmp_path / "reuters.npz", x=np.zeros(3), y=np.zeros(3))
    with pytest.raises(data.DataError, match=r"is not the published reuters.npz, or is damaged: its SHA-256 is"):
        data.load_reuters(data=str(tmp_path))


def test_truncated(real_data: str, tmp_path: Path) -> None:
    whole = (Path(real_data) / "reuters.npz").read_bytes()
    (tmp_path / "reuters.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(data.DataError, match=r"is not the published reuters.npz, or is damaged"):
        data.load_reuters(data=str(tmp_path))


def test_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(data.DataError, match=r"data is the folder .*, but there is no file imdb.npz in it"):
        data.load_imdb(data=str(tmp_path))
    monkeypatch.setenv("FASTSEQ_DATA", str(tmp_path))
    with pytest.raises(data.DataError, match=r"FASTSEQ_DATA names .*, but there is no file imdb.npz in it"):
        data.load_imdb()


def test_unreachable_falls_back_loudly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_network(**_: Any) -> None:
        raise OSError("no network")

    monkeypatch.delenv("FASTSEQ_DATA", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(keras.datasets.reuters, "load_data", no_network)
    corpus = data.load_reuters(num_words=100, maxlen=10)
    assert corpus.synthetic
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "SYNTHETIC DATA" in told
    assert "no network" in told


def test_a_damaged_download_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong_hash(**_: Any) -> None:
        raise ValueError("Incomplete or corrupted file detected")

    monkeypatch.delenv("FASTSEQ_DATA", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(keras.datasets.reuters, "load_data", wrong_hash)
    with pytest.raises(data.DataError, match="not the published file: Incomplete or corrupted"):
        data.load_reuters()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_words": 3}, "num_words must be at least 4, got 3"),
        ({"maxlen": 0}, "maxlen must be at least 1, got 0"),
        ({"test_split": 1.0}, "test_split must be between 0 and 1, got 1.0"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.load_reuters(data="synthetic", **arguments)
