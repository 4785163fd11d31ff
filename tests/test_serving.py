"""examples/serve.py, a server without Keras, and bench/serving.py, which measures it."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import pytest
from processes import run, run_python

import fastseq

for package in ("starlette", "uvicorn"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install '.[serve]'")

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "examples" / "serve.py"
SERVER = runpy.run_path(str(SCRIPT))
# Shorter and longer than the model's input, and as long.
TEXTS = [[1, 5, 999], [0], list(range(100)), list(range(100, 301)), [7] * 99, [8] * 101]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((100,), dtype="int32"),
            layers.Embedding(1000, 4, embeddings_initializer="normal"),
            layers.LSTM(3),
            layers.Dense(46, activation="softmax"),
        ]
    )
    path = tmp_path_factory.mktemp("serving") / "model.fastseq"
    fastseq.Predictor(model).save(path)
    return path


@pytest.fixture(scope="module")
def predictor(file: Path) -> fastseq.Predictor:
    return fastseq.Predictor.load(file)


@pytest.fixture
def app(predictor: fastseq.Predictor) -> Any:
    return SERVER["make_app"](predictor)


def _expected(predictor: fastseq.Predictor, texts: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    ids = keras.utils.pad_sequences(texts, 100)  # its defaults are what `fastseq.data` does
    return [{"topic": int(row.argmax()), "probability": float(row.max())} for row in predictor(ids)]


async def _call(app: Any, *messages: dict[str, Any], method: str = "POST") -> tuple[int, Any]:
    """The status and the answer to a request, of which these messages of ASGI arrive."""
    arriving, sent = iter(messages), []

    async def receive() -> dict[str, Any]:
        return next(arriving)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": "/classify", "query_string": b"", "headers": []}
    await app(scope, receive, send)
    start, *bodies = sent
    return start["status"], b"".join(one["body"] for one in bodies)


def _body(*parts: bytes) -> list[dict[str, Any]]:
    last = len(parts) - 1
    return [{"type": "http.request", "body": part, "more_body": number < last} for number, part in enumerate(parts)]


async def _classify(app: Any, texts: Any) -> tuple[int, Any]:
    status, answer = await _call(app, *_body(json.dumps(texts).encode()))
    return status, json.loads(answer)


@pytest.mark.parametrize("count", [1, SERVER["MOST_AT_ONCE"], SERVER["MOST_AT_ONCE"] + 1, SERVER["MOST_TEXTS"]])
def test_answers_are_the_predictors(count: int, app: Any, predictor: fastseq.Predictor) -> None:
    texts = [TEXTS[number % len(TEXTS)] for number in range(count)]
    assert asyncio.run(_classify(app, texts)) == (200, _expected(predictor, texts))


def test_a_body_in_parts(app: Any, predictor: fastseq.Predictor) -> None:
    status, answer = asyncio.run(_call(app, *_body(b"[[1,", b"", b" 2", b"3]]")))
    assert (status, json.loads(answer)) == (200, _expected(predictor, [[1, 23]]))


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "must be JSON"),
        (b"[[1, 2", 400, "must be JSON"),
        (b"\xff\xff", 400, "must be JSON"),
        (b"[" * 100_000, 400, "must be JSON"),
        (b"[[" + b"9" * 5000 + b"]]", 400, "must be JSON"),
        (b"{}", 422, "must be a list of 1 to 64 texts, got dict"),
        (b"7", 422, "got int"),
        (b"[]", 422, "got 0 texts"),
        (b"[" + b"[1]," * 64 + b"[1]]", 422, "got 65 texts"),
        (b"[[1], 2]", 422, "text 1 must be a list of one or more ids, got int"),
        (b"[[]]", 422, "text 0 must be a list of one or more ids, got none"),
        (b'["12"]', 422, "got str"),
        (b"[[1, null]]", 422, "text 0 must have ids from 0 to 999, got NoneType"),
        (b"[[1.0]]", 422, "got float"),
        (b"[[NaN]]", 422, "got float"),
        (b"[[true]]", 422, "got bool"),
        (b"[[-1]]", 422, "got -1"),
        (b"[[1], [1000]]", 422, "text 1 must have ids from 0 to 999, got 1000"),
        (b"[[" + b"9" * 4000 + b"]]", 422, "got 999"),
        # Beyond the part that the model reads, too.
        (b"[[1000" + b",1" * 200 + b"]]", 422, "got 1000"),
        (b"[[[" + b"[" * 100 + b"]" * 100 + b"]]]", 422, "got list"),
    ],
)
def test_wrong_bodies(body: bytes, status: int, message: str, app: Any) -> None:
    got, answer = asyncio.run(_call(app, *_body(body)))
    assert got == status
    assert message in json.loads(answer)["error"]


def test_no_more_is_read_of_a_body_that_is_too_large(app: Any) -> None:
    part = b" " * (SERVER["MOST_BYTES"] // 2)
    without_end = [{"type": "http.request", "body": part, "more_body": True}] * 3
    status, answer = asyncio.run(_call(app, *without_end))
    assert status == 413
    assert "at most 262144 bytes" in json.loads(answer)["error"]


def test_other_methods(app: Any) -> None:
    status, _ = asyncio.run(_call(app, method="GET"))
    assert status == 405


def test_a_client_that_hangs_up_is_no_error(app: Any) -> None:
    begun = {"type": "http.request", "body": b"[[1", "more_body": True}
    asyncio.run(_call(app, begun, {"type": "http.disconnect"}))


def test_requests_at_the_same_time(app: Any, predictor: fastseq.Predictor) -> None:
    requests = [TEXTS[number % 3 :] * (number % 4 + 1) for number in range(24)]

    async def all_at_once() -> list[tuple[int, Any]]:
        return await asyncio.gather(*(_classify(app, texts) for texts in requests))

    assert asyncio.run(all_at_once()) == [(200, _expected(predictor, texts)) for texts in requests]


def test_many_texts_do_not_block_the_server(predictor: fastseq.Predictor) -> None:
    answered = threading.Event()
    most = SERVER["MOST_TEXTS"]

    def predict(ids: Any) -> Any:
        if len(ids) == most:
            assert answered.wait(30)
        return predictor(ids)

    async def both() -> None:
        app = SERVER["make_app"](predict)
        many = asyncio.create_task(_classify(app, [[1]] * most))
        await asyncio.sleep(0.1)
        assert await _classify(app, [[1]]) == (200, _expected(predictor, [[1]]))
        assert not many.done()
        answered.set()
        status, answer = await many
        assert status == 200
        assert len(answer) == most

    asyncio.run(both())


def test_it_needs_neither_keras_nor_tensorflow(file: Path) -> None:
    code = f"""
import runpy
import sys

for name in ("keras", "tensorflow", "torch", "jax"):
    sys.modules[name] = None
import fastseq

server = runpy.run_path({str(SCRIPT)!r})
server["make_app"](fastseq.Predictor.load({str(file)!r}))
print(sorted(name for name in sys.modules if name.startswith("fastseq.keras")))
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"


def test_the_script(file: Path, predictor: fastseq.Predictor) -> None:
    """It listens, answers, and ends with Ctrl-C."""
    arguments = [sys.executable, str(SCRIPT), str(file), "--port", "0"]
    with subprocess.Popen(arguments, cwd=file.parent, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        too_late = threading.Timer(60, process.kill)
        too_late.start()
        try:
            ports = (re.search(r"http://127\.0\.0\.1:(\d+)", line) for line in process.stderr)
            port = next(int(found[1]) for found in ports if found)
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            for texts in (TEXTS, [[1]], TEXTS):
                connection.request("POST", "/classify", json.dumps(texts))
                assert json.load(connection.getresponse()) == _expected(predictor, texts)
            connection.close()
            process.send_signal(signal.SIGINT)
            rest = process.stderr.read()
            assert process.wait(30) == 0
        finally:
            process.kill()
            too_late.cancel()
    assert "Traceback" not in rest


def test_the_measurement() -> None:
    script = str(ROOT / "bench" / "serving.py")
    options = ["--sides", "Predictor", "tf.function(model)", "--requests", "12", "--clients", "3", "--rounds", "2"]
    done = run(script, *options, "--texts", "5")
    assert done.returncode == 0, done.stderr
    *_, one, other = done.stdout.splitlines()
    assert re.fullmatch(r"Predictor +12( +[\d.]+){3}", one)
    assert re.fullmatch(r"tf\.function\(model\) +12( +[\d.]+){3}", other)


@pytest.mark.parametrize("option", ["requests", "seconds", "clients", "texts", "rounds"])
def test_the_measurement_has_bounds(option: str) -> None:
    done = run(str(ROOT / "bench" / "serving.py"), f"--{option}", "2001")
    assert done.returncode == 2
    assert f"argument --{option}: must be at most" in done.stderr


def test_numbers_of_the_model() -> None:
    from fastseq.training.models import MODELS

    model = MODELS["reuters-lstm"].build("stock")
    assert (model.layers[0].input_dim, model.input_shape[1]) == (SERVER["WORDS"], SERVER["TIMESTEPS"])
