"""Embeddings of any values, ids and shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from equality import assert_equal, assert_same_bits, finite, flushed
from hypothesis import given
from hypothesis import strategies as st
from strategies import Run, all_values, booleans, draw, few, other_run, run, sizes

from fastseq import functional, reference


@dataclass(frozen=True, kw_only=True)
class EmbeddingCase(Run):
    ids_shape: tuple[int, ...] = (2, 5)
    ids_dtype: str = "int32"
    input_dim: int = 4
    output_dim: int = 3
    outside: bool = False  # whether one id is
    squared: bool = False
    embeddings: str = "normal"
    doutputs: str = "normal"

    def ids(self, rng: Any) -> Any:
        ids = rng.integers(0, max(self.input_dim, 1), self.ids_shape).astype(self.ids_dtype)
        if self.outside and ids.size:
            ids.flat[rng.integers(ids.size)] = rng.choice([-1, self.input_dim, np.iinfo(ids.dtype).max])
        return ids


cases = st.builds(
    EmbeddingCase,
    **run,
    ids_shape=st.one_of(
        st.tuples(few, sizes), st.tuples(sizes), st.lists(st.integers(1, 2), max_size=7).map(tuple), st.just((64, 65))
    ),
    ids_dtype=st.sampled_from(("int32", "int64")),
    input_dim=sizes,
    output_dim=sizes,
    outside=st.sampled_from((False, False, False, True)),
    squared=booleans,
    embeddings=all_values,
    doutputs=all_values,
)


@given(cases)
def test_embedding(case: EmbeddingCase) -> None:
    rng = case.enter()
    ids = case.ids(rng)
    embeddings = draw(case.embeddings, rng, (case.input_dim, case.output_dim), case.dtype)
    doutputs = draw(case.doutputs, rng, (*case.ids_shape, case.output_dim), case.dtype)

    def forward() -> Any:
        return functional.embedding_forward(ids, embeddings)

    def backward() -> Any:
        return functional.embedding_backward(ids, doutputs, case.input_dim, squared=case.squared)

    if ids.size and (case.outside or case.input_dim == 0):
        for call in (forward, backward):
            with pytest.raises(ValueError, match=r"ids must be in \[0, "):
                call()
        return
    outputs, dembeddings = forward(), backward()
    assert_same_bits("outputs", outputs, np.asarray(embeddings[ids]))

    def gradient(gradients: Any) -> Any:
        return reference.embedding_backward(ids, gradients, case.input_dim, squared=case.squared)

    assert_equal("dembeddings", dembeddings, gradient(flushed(doutputs)), gradient(finite(doutputs)), ids.size + 2)
    other_run()
    assert_same_bits("outputs", forward(), outputs)
    assert_same_bits("dembeddings", backward(), dembeddings)
