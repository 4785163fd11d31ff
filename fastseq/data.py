"""Loads the Reuters newswire and IMDB review corpora, or a synthetic corpus if they are not available.

Reuters and IMDB are the files of `keras.datasets`. They are taken from the folder that `FASTSEQ_DATA` names, else from
Keras's cache, else Keras downloads them. A file is opened only if its SHA-256 is the published one: the format is a
pickle, and it is unsafe to unpickle an unknown file.

References:
    Reuters-21578, Lewis 1997, for research use. IMDB: Maas et al. 2011, "Learning Word Vectors for Sentiment Analysis".
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["SYNTHETIC", "DataError", "TextData", "TrainingData", "load_imdb", "load_reuters", "locate"]

# The `source` of the synthetic corpus, and the argument that asks for it.
SYNTHETIC = "synthetic"

Corpus = Literal["reuters", "imdb"]

_SHA256 = {
    "reuters": "d6586e694ee56d7a4e65172e12b3e987c03096cb01eab99753921ef915959916",
    "imdb": "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f",
}
# Keras's conventions for word ids: 0 pads, 1 starts a text, 2 stands for a word beyond the vocabulary, and the word of
# rank r in the corpus is r + 3.
_START, _OOV, _INDEX_FROM = 1, 2, 3


class DataError(ValueError):
    """A corpus file is missing, damaged or not the published one."""


@dataclass(frozen=True)
class TrainingData:
    """Arrays to train and to test a model on.

    Attributes:
        x_train: Inputs to train on.
        y_train: Targets to train on.
        x_test: Inputs to validate and test on.
        y_test: Targets to validate and test on.
        source: "synthetic", or the path of the file.
        unit: A difference of 1 between targets, in the units of the source.
        naive: The metric of a naive forecast without a model, in the units of the source; None if there is none.
    """

    x_train: NDArray[Any]
    y_train: NDArray[Any]
    x_test: NDArray[Any]
    y_test: NDArray[Any]
    source: str
    unit: float = field(default=1.0, kw_only=True)
    naive: float | None = field(default=None, kw_only=True)

    @property
    def synthetic(self) -> bool:
        """Whether the data is synthetic."""
        return self.source == SYNTHETIC

    @property
    def digest(self) -> str:
        """A SHA-256 of the arrays, which identifies the data. The arrays must not have objects."""
        digest = hashlib.sha256()
        for array in (self.x_train, self.y_train, self.x_test, self.y_test):
            digest.update(f"{array.dtype} {array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class TextData(TrainingData):
    """A corpus as word ids.

    x is (samples, maxlen) int32, padded and cut at the front, or, without maxlen, an object array of lists; y is
    (samples,) int64, the class of each text.

    Attributes:
        num_classes: The number of classes.
    """

    num_classes: int


def locate(corpus: Corpus) -> Path | None:
    """The corpus's file in the folder that `FASTSEQ_DATA` names or in Keras's cache, or None.

    Raises:
        DataError: `FASTSEQ_DATA` names a folder without it.
    """
    folder = os.environ.get("FASTSEQ_DATA")
    if folder:
        return _in_folder(corpus, folder, "FASTSEQ_DATA names")
    # Keras uses the second place if it cannot write to the first.
    for cache in (Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras"), Path("/tmp/.keras")):
        path = cache / "datasets" / f"{corpus}.npz"
        if os.path.isfile(path):
            return path
    return None


def load_reuters(
    num_words: int | None = None,
    maxlen: int | None = None,
    *,
    data: str = "auto",
    test_split: float = 0.2,
    seed: int = 113,
) -> TextData:
    """Reuters newswires: 11,228 texts, 46 topics.

    Args:
        num_words: Keep the ids below this, the most frequent words; None for all.
        maxlen: Cut and pad every text to this length, at the front; None for lists of their own length.
        data: `"auto"`, see the module; `"synthetic"`; or a folder with `reuters.npz`.
        test_split: The fraction of the texts to test on.
        seed: The seed for the order of the texts, and for the synthetic corpus.

    Returns:
        A `TextData`, split as `keras.datasets.reuters.load_data` does.

    Raises:
        DataError: The file is missing in the named folder, damaged or not the published one.
        ValueError: An argument is out of range.
    """
    _check(num_words, maxlen)
    if not 0.0 < test_split < 1.0:
        raise ValueError(f"test_split must be between 0 and 1, got {test_split}")
    path = _resolve("reuters", data)
    if path is None:
        sequences, labels = _synthesise(11_228, classes=46, mean_length=145, seed=seed)
    else:
        arrays = _open("reuters", path, ("x", "y"))
        sequences, labels = _shuffled(arrays["x"], arrays["y"], seed)
    texts = _to_ids(sequences, num_words)
    split = int(len(texts) * (1 - test_split))
    return _assemble(texts[:split], labels[:split], texts[split:], labels[split:], maxlen, 46, path)


def load_imdb(
    num_words: int | None = None, maxlen: int | None = None, *, data: str = "auto", seed: int = 113
) -> TextData:
    """IMDB film reviews: 25,000 to train on, 25,000 to test on, negative (0) or positive (1).

    Args:
        num_words: Keep the ids below this, the most frequent words; None for all.
        maxlen: Cut and pad every text to this length, at the front; None for lists of their own length.
        data: `"auto"`, see the module; `"synthetic"`; or a folder with `imdb.npz`.
        seed: The seed for the order of the texts, and for the synthetic corpus.

    Returns:
        A `TextData`, in the order of `keras.datasets.imdb.load_data`.

    Raises:
        DataError: The file is missing in the named folder, damaged or not the published one.
        ValueError: An argument is out of range.
    """
    _check(num_words, maxlen)
    path = _resolve("imdb", data)
    if path is None:
        sequences, labels = _synthesise(50_000, classes=2, mean_length=235, seed=seed)
        texts = _to_ids(sequences, num_words)
        return _assemble(texts[:25_000], labels[:25_000], texts[25_000:], labels[25_000:], maxlen, 2, path)
    arrays = _open("imdb", path, ("x_train", "y_train", "x_test", "y_test"))
    # One generator for both, as in Keras, so that the test set's order follows from the training set's.
    rng = np.random.RandomState(seed)
    train, train_labels = _shuffled(arrays["x_train"], arrays["y_train"], rng)
    test, test_labels = _shuffled(arrays["x_test"], arrays["y_test"], rng)
    return _assemble(_to_ids(train, num_words), train_labels, _to_ids(test, num_words), test_labels, maxlen, 2, path)


def _check(num_words: int | None, maxlen: int | None) -> None:
    if num_words is not None and num_words <= _INDEX_FROM:
        raise ValueError(f"num_words must be at least {_INDEX_FROM + 1}, got {num_words}")
    if maxlen is not None and maxlen < 1:
        raise ValueError(f"maxlen must be at least 1, got {maxlen}")


def _in_folder(corpus: Corpus, folder: str, who: str) -> Path:
    path = Path(folder) / f"{corpus}.npz"
    # os.path returns false in cases where pathlib raises: a folder without permission to read, a name that is too long.
    if os.path.isfile(folder):
        raise DataError(f"{who} {folder}, which is a file; it must be a folder with {path.name}")
    if not os.path.isfile(path):
        raise DataError(f"{who} {folder}, but there is no file {path.name} in it, or it cannot be looked into")
    return path


def _resolve(corpus: Corpus, data: str) -> Path | None:
    """The file to read, or None for the synthetic corpus."""
    if data == SYNTHETIC:
        return None
    if data != "auto":
        return _in_folder(corpus, data, "data is the folder")
    path = locate(corpus)
    if path is not None:
        return path
    try:
        import keras

        getattr(keras.datasets, corpus).load_data()  # leaves the file in the cache
        path = locate(corpus)
    except ValueError as error:
        raise DataError(f"Keras has downloaded {corpus}.npz, but not the published file: {error}") from error
    except Exception as error:  # Keras raises a plain Exception if the network fails
        reason = str(error)
    else:
        if path is None:
            raise DataError(f"Keras has downloaded {corpus}.npz to a place that fastseq does not know")
        return path
    print(
        f"*** SYNTHETIC DATA: {corpus}.npz is neither in FASTSEQ_DATA nor in Keras's cache, and could not be "
        f"downloaded ({reason}). Using the built-in synthetic corpus: results say nothing about {corpus}. ***",
        file=sys.stderr,
    )
    return None


def _open(corpus: Corpus, path: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != _SHA256[corpus]:
        raise DataError(
            f"{path} is not the published {corpus}.npz, or is damaged: its SHA-256 is {digest}, "
            f"expected {_SHA256[corpus]}. Remove it to have it downloaded again."
        )
    # Only the published bytes, which the hash identifies, may be unpickled. The file is not read again, because it may
    # have been replaced since.
    with np.load(io.BytesIO(content), allow_pickle=True) as arrays:
        return {name: arrays[name] for name in names}


def _shuffled(
    texts: NDArray[Any], labels: NDArray[Any], seed: int | np.random.RandomState
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    rng = seed if isinstance(seed, np.random.RandomState) else np.random.RandomState(seed)
    order = np.arange(len(texts))
    rng.shuffle(order)
    return texts[order], labels[order].astype(np.int64)


def _to_ids(ranks: Any, num_words: int | None) -> list[list[int]]:
    limit = num_words if num_words else np.iinfo(np.int64).max
    return [[_START, *(w + _INDEX_FROM if w + _INDEX_FROM < limit else _OOV for w in text)] for text in ranks]


def _padded(texts: list[list[int]], maxlen: int | None) -> NDArray[Any]:
    if maxlen is None:
        ragged = np.empty(len(texts), dtype=object)
        ragged[:] = texts
        return ragged
    padded = np.zeros((len(texts), maxlen), np.int32)
    for row, text in zip(padded, texts, strict=True):
        tail = text[-maxlen:]
        row[maxlen - len(tail) :] = tail
    return padded


def _assemble(
    train: list[list[int]],
    train_labels: NDArray[np.int64],
    test: list[list[int]],
    test_labels: NDArray[np.int64],
    maxlen: int | None,
    num_classes: int,
    path: Path | None,
) -> TextData:
    return TextData(
        _padded(train, maxlen),
        train_labels,
        _padded(test, maxlen),
        test_labels,
        SYNTHETIC if path is None else str(path),
        num_classes,
    )


def _synthesise(count: int, *, classes: int, mean_length: int, seed: int) -> tuple[Any, NDArray[np.int64]]:
    """Texts as word ranks, in which some classes differ by the order of words only.

    Words follow Zipf's law; one in five is drawn from the few words of the text's theme. Classes come in pairs that
    share a theme, so word counts do not distinguish the two classes. Their order of marker words does: about one word
    in sixteen begins a pair of marker words, one from each of two small sets, and the class determines the order in the
    pair. Class frequencies are as uneven as those of Reuters's topics.
    """
    rng = np.random.default_rng(seed)
    vocabulary, sets, set_size, theme_size = 30_000, 2, 4, 5
    themes = (classes + 1) // 2
    # All these words are among the 247 most frequent ones, so that small vocabularies keep them.
    special = 10 + rng.permutation(237)[: sets * set_size + themes * theme_size]
    markers = special[: sets * set_size].reshape(sets, set_size)
    theme_words = special[sets * set_size :].reshape(themes, theme_size)
    weights = 1.0 / np.arange(1, classes + 1) if classes > 2 else np.ones(classes)
    labels = rng.choice(classes, count, p=weights / weights.sum())
    lengths = np.clip(rng.lognormal(np.log(mean_length) - 0.18, 0.6, count), 12, 2_000).astype(np.int64)

    total = int(lengths.sum())
    text_of = np.repeat(np.arange(count), lengths)
    # The inverse of a distribution with p(rank) ~ 1 / rank.
    words = np.minimum(np.floor(vocabulary ** rng.random(total)), vocabulary - 1).astype(np.int64)
    themed = np.flatnonzero(rng.random(total) < 0.2)
    words[themed] = theme_words[labels[text_of[themed]] // 2, rng.integers(0, theme_size, themed.size)]
    starts = np.flatnonzero(rng.random(total - 1) < 1 / 16)
    starts = starts[text_of[starts] == text_of[starts + 1]]
    starts = starts[np.diff(starts, prepend=-2) > 1]
    first = labels[text_of[starts]] % 2
    words[starts] = markers[first, rng.integers(0, set_size, starts.size)]
    words[starts + 1] = markers[1 - first, rng.integers(0, set_size, starts.size)]
    ends = np.cumsum(lengths)
    return [words[end - length : end].tolist() for end, length in zip(ends, lengths, strict=True)], labels
