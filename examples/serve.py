"""A server for the Reuters classifier: token ids in, topics out. It needs neither Keras nor TensorFlow.

    python examples/serve.py model.fastseq

    curl http://127.0.0.1:8000/classify -d '[[1, 53, 119, 26, 14, 147, 26, 39, 2], [1, 486, 341, 142, 26, 219]]'
    [{"topic": 3, "probability": 0.94}, {"topic": 3, "probability": 0.89}]

`fastseq train reuters-lstm` makes the model, and `fastseq export` the file of it; docs/serving.md has the commands.
The packages are Starlette and uvicorn (`pip install '.[serve]'`).
"""

import argparse
import asyncio
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import fastseq

# Those of the model. `fastseq.data` says what the ids mean.
WORDS, TIMESTEPS = 1000, 100
MOST_BYTES = 256 * 1024
MOST_TEXTS = 64
# Up to so many texts are predicted at once, in half a millisecond. Going to another thread and back costs a tenth of a
# millisecond; with 4 clients that send single texts, a fifth of the requests a second. More texts go to a thread: 64 of
# them take 7 ms, for which all other clients would wait. Single texts beside 3 clients that send 64 took at most 14 ms
# (99th percentile) this way, 33 ms when all went to threads, and 70 ms when none did.
MOST_AT_ONCE = 4


async def read(request: Request) -> bytes:
    """The body of a request.

    Raises:
        HTTPException: 413 for a body that is too large. The rest of it is not read.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise HTTPException(413, f"the body must have at most {MOST_BYTES} bytes", {"Connection": "close"})
    return bytes(body)


def parse(body: bytes) -> np.ndarray:
    """The ids in a body, (texts, TIMESTEPS) int32: padded and cut at the front, as in training.

    Raises:
        HTTPException: 400 for a body that is not JSON, 422 for JSON that is not a list of texts.
    """
    try:
        texts = json.loads(body)
    except (ValueError, RecursionError) as error:  # RecursionError: thousands of brackets
        raise HTTPException(400, f"the body must be JSON: {error}") from None
    if not isinstance(texts, list) or not 1 <= len(texts) <= MOST_TEXTS:
        got = f"{len(texts)} texts" if isinstance(texts, list) else type(texts).__name__
        raise HTTPException(422, f"the body must be a list of 1 to {MOST_TEXTS} texts, got {got}")
    ids = np.zeros((len(texts), TIMESTEPS), np.int32)
    for number, text in enumerate(texts):
        if not isinstance(text, list) or not text:
            got = "none" if text == [] else type(text).__name__
            raise HTTPException(422, f"text {number} must be a list of one or more ids, got {got}")
        for one in text:
            if type(one) is not int or not 0 <= one < WORDS:  # by isinstance, true would be an int
                got = one if type(one) is int else type(one).__name__
                raise HTTPException(422, f"text {number} must have ids from 0 to {WORDS - 1}, got {got}")
        end = text[-TIMESTEPS:]
        ids[number, TIMESTEPS - len(end) :] = end
    return ids


def make_app(predict: Callable[[np.ndarray], Any]) -> Starlette:
    """The application.

    Args:
        predict: A function from ids, (texts, TIMESTEPS) int32, to probabilities, (texts, topics). Several threads may
            call it at the same time.
    """
    # More threads than CPUs would take turns.
    threads = ThreadPoolExecutor(os.cpu_count(), "predict")

    async def classify(request: Request) -> Response:
        ids = parse(await read(request))
        if len(ids) <= MOST_AT_ONCE:
            probabilities = predict(ids)
        else:
            probabilities = await asyncio.get_running_loop().run_in_executor(threads, predict, ids)
        return JSONResponse(
            [{"topic": int(row.argmax()), "probability": float(row.max())} for row in np.asarray(probabilities)]
        )

    return Starlette(
        routes=[Route("/classify", classify, methods=["POST"])],
        exception_handlers={HTTPException: explain, ClientDisconnect: answer_nobody},
    )


async def explain(request: Request, error: Exception) -> Response:
    """An error as JSON."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def answer_nobody(request: Request, error: Exception) -> Response:
    """What becomes of a request whose client has gone: no message in the log."""
    return Response(status_code=400)


def main() -> None:
    """Serves until Ctrl-C."""
    parser = argparse.ArgumentParser(description="A server for the Reuters classifier.")
    parser.add_argument("model", help="a file of fastseq.Predictor")
    parser.add_argument("--host", default="127.0.0.1", help="default: for clients on this machine")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    # The cores share the requests, not each request.
    predict = partial(fastseq.Predictor.load(options.model), threads=1)
    uvicorn.run(make_app(predict), host=options.host, port=options.port, access_log=False)


if __name__ == "__main__":
    main()
