"""LSTM layers under pytest-benchmark: `pytest bench`."""

from __future__ import annotations

from typing import Any

import pytest
from lstm_layers import KINDS, make_step, verify
from shapes import RECURRENT

from fastseq import runtime


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "forward+backward"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", RECURRENT)
def bench_lstm(benchmark: Any, name: str, kind: str, backward: bool) -> None:
    shape = RECURRENT[name]
    step = make_step(kind, shape, backward=backward)
    if kind != "fast":
        verify(make_step("fast", shape, backward=backward), step)
    step()
    benchmark.group = f"lstm {name} {'forward+backward' if backward else 'forward'}"
    benchmark.pedantic(step, rounds=30, warmup_rounds=3)
    benchmark.extra_info["gflops"] = shape.lstm_flops(backward=backward) / benchmark.stats.stats.median / 1e9
    benchmark.extra_info["isa"] = runtime.isa()
    benchmark.extra_info["threads"] = runtime.get_num_threads()
