from __future__ import annotations

import hashlib
import io
import os
import pickle
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


class _Code:
    """Runs when it is unpickled."""

    def __init__(self, ran: Path) -> None:
        self.ran = ran

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.ran),)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    code = np.empty(1, object)
    code[0] = _Code(ran)
    file = tmp_path / "imdb.npz"
    np.savez(file, x_train=code, y_train=code, x_test=code, y_test=code)
    with pytest.raises(data.DataError, match=r"is not the published imdb.npz, or is damaged"):
        data.load_imdb(data=str(tmp_path))
    file.write_bytes(pickle.dumps(_Code(ran)))  # what numpy.load takes for a pickle
    with pytest.raises(data.DataError, match=r"is not the published imdb.npz, or is damaged"):
        data.load_imdb(data=str(tmp_path))
    assert not ran.exists()
    with np.load(io.BytesIO(_npz(x=code)), allow_pickle=True) as loaded:
        assert loaded["x"] is not None
    assert ran.exists()  # it would have


def _npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def test_texts_without_words_and_words_beyond_the_vocabulary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = np.empty(5, object)
    texts[:] = [[], [1, 10**12], [3, 6, 7], [], [9]]
    content = _npz(x=texts, y=np.arange(5))
    (tmp_path / "reuters.npz").write_bytes(content)
    monkeypatch.setitem(data._SHA256, "reuters", hashlib.sha256(content).hexdigest())
    corpus = data.load_reuters(num_words=10, maxlen=3, data=str(tmp_path))
    x = dict(zip([*corpus.y_train, *corpus.y_test], [*corpus.x_train.tolist(), *corpus.x_test.tolist()], strict=True))
    # 0 pads, 1 starts a text, 2 is a word beyond the vocabulary, the word of rank 3 is 6.
    assert x == {0: [0, 0, 1], 1: [1, 4, 2], 2: [6, 9, 2], 3: [0, 0, 1], 4: [0, 1, 2]}


def test_a_folder_for_a_file_and_a_file_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "imdb.npz").mkdir()
    with pytest.raises(data.DataError, match=r"there is no file imdb.npz in it"):
        data.load_imdb(data=str(tmp_path))
    (tmp_path / "reuters.npz").write_bytes(b"")
    with pytest.raises(data.DataError, match=r"reuters.npz, which is a file; it must be a folder with reuters.npz"):
        data.load_reuters(data=str(tmp_path / "reuters.npz"))
    with pytest.raises(data.DataError, match=r"there is no file imdb.npz in it"):
        data.load_imdb(data="long" * 100)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "imdb.npz").symlink_to("/proc/self/mem")  # opens, and cannot be read, not even by the administrator
    with pytest.raises(data.DataError, match=r"cannot read .*imdb.npz: Input/output error"):
        data.load_imdb(data=str(tmp_path))


def test_digest_tells_data_apart() -> None:
    def texts(**changes: Any) -> data.TrainingData:
        arrays = {name: np.zeros((2, 3), np.int32) for name in ("x_train", "y_train", "x_test", "y_test")}
        return data.TrainingData(**{**arrays, **changes}, source="here")

    assert texts().digest == texts().digest
    for other in (np.ones((2, 3), np.int32), np.zeros((3, 2), np.int32), np.zeros((2, 3), np.float32)):
        assert texts(x_test=other).digest != texts().digest


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
