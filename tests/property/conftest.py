"""Hypothesis profiles: the number of cases of each property, and other settings."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings

_always = {
    "deadline": None,
    "phases": [Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
# The same cases each time; a property takes a few seconds.
settings.register_profile("ci", derandomize=True, database=None, max_examples=100, **_always)
# A chunk of tests/fuzz.py.
settings.register_profile("long", max_examples=500, print_blob=True, **_always)
settings.load_profile("ci")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The definition computes with infinities and NaN on purpose."""
    with np.errstate(all="ignore"):
        yield
