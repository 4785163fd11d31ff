"""A pytest plugin for Keras's own tests: it patches Keras, and records in which tests the kernels ran."""

from __future__ import annotations

import collections
import json
from pathlib import Path
from typing import Any

import pytest

import fastseq.keras
from fastseq.keras.native import NativeChoice

fastseq.keras.patch()

_native_calls: collections.Counter[str] = collections.Counter()
_outcomes: dict[str, str] = {}
_runs_native = NativeChoice._runs_native


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--left-out", action="append", default=[], metavar="TEST", help="a test that must fail")
    parser.addoption("--tests-json", type=Path, metavar="FILE", help="to be written: outcome and native calls of tests")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    collected = {item.nodeid: item for item in items}
    for test in config.getoption("--left-out"):
        if test not in collected:
            raise pytest.UsageError(f"--left-out {test}: there is no such test")
        collected[test].add_marker(pytest.mark.xfail(strict=True))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Any:
    def counting(self: NativeChoice, call_reason: str | None = None) -> bool:
        native = _runs_native(self, call_reason)
        _native_calls[item.nodeid] += native
        return native

    NativeChoice._runs_native = counting
    return (yield)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or report.skipped:
        _outcomes[report.nodeid] = report.outcome


def pytest_sessionfinish(session: pytest.Session) -> None:
    tests = {test: {"outcome": outcome, "native_calls": _native_calls[test]} for test, outcome in _outcomes.items()}
    session.config.getoption("--tests-json").write_text(json.dumps(tests))
