"""A web server that classifies texts: with fastseq.Predictor, with Keras on TensorFlow, and with ONNX Runtime.

The server is that of examples/serve.py, with the model reuters-lstm. Every side has one of its own, a process that
listens on the loopback address. Clients are threads of this process, and send the next request when the last has been
answered; they share the CPUs with the server. Every answer is compared with that of `model.predict`. The sides take
turns. A side ends early when its time is over.

    python bench/serving.py
    python bench/serving.py --clients 16 --texts 8 --sides Predictor "ONNX Runtime"
"""

from __future__ import annotations

import contextlib
import faulthandler
import http.client
import itertools
import json
import runpy
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import header, script_parser
from numpy.typing import NDArray

import fastseq
from fastseq import frameworks
from fastseq.bench import machine, processes
from fastseq.commands import positive, table
from fastseq.quiet import quiet_start

_SERVER = Path(__file__).parent.parent / "examples" / "serve.py"
_MODEL = "reuters-lstm"
_WORDS, _TIMESTEPS = 1000, 100
# The largest values of options. The last two keep to that number of requests where each client sends one a round.
_MOST = {"requests": 2000, "seconds": 60, "texts": 64, "clients": 64, "rounds": 30}
_BODIES = 16  # different ones
_ANSWER_SECONDS = 30
# A server ends after this time, whatever happens.
_SERVER_SECONDS = 900
_ENVIRONMENT = {"KERAS_BACKEND": "tensorflow"}
# Probabilities differ by 1e-7 between the sides, and by more than 1e-4 between texts.
_TOLERANCE = 1e-5

# From ids to probabilities.
Predict = Callable[[NDArray[Any]], Any]


# The servers ------------------------------------------------------------------


def with_predictor(folder: Path, example: NDArray[Any], threads: int) -> Predict:
    return partial(fastseq.Predictor.load(folder / "model.fastseq"), threads=threads)


def with_predict(folder: Path, example: NDArray[Any], threads: int) -> Predict:
    return partial(_load(folder, threads).predict, verbose=0)


def with_call(folder: Path, example: NDArray[Any], threads: int) -> Predict:
    return partial(_load(folder, threads), training=False)


def with_function(folder: Path, example: NDArray[Any], threads: int) -> Predict:
    model = _load(folder, threads)
    import tensorflow as tf

    return tf.function(partial(model, training=False))  # type: ignore[no-any-return]


def with_onnx_runtime(folder: Path, example: NDArray[Any], threads: int) -> Predict:
    from fastseq.bench.implementations.onnx_runtime import make_session
    from fastseq.bench.problems import Layer

    model = _load(folder, threads)
    layers = [Layer(type(layer).__name__, layer.get_config()) for layer in model.layers]
    predict, _ = make_session(layers, model.get_weights(), example, threads)
    return predict


def _load(folder: Path, threads: int) -> Any:
    with quiet_start():
        frameworks.start(threads)
    import keras

    return keras.models.load_model(folder / "model.keras", compile=False)


# What makes the prediction of each side.
SIDES = {
    "Predictor": with_predictor,
    "model.predict": with_predict,
    "model(x)": with_call,
    "tf.function(model)": with_function,
    "ONNX Runtime": with_onnx_runtime,
}


def begin(environment: Mapping[str, str]) -> None:
    """Begins a process that is sure to end."""
    faulthandler.dump_traceback_later(_SERVER_SECONDS, exit=True)
    processes.begin(environment)


def save_model(folder: Path, ids: NDArray[Any]) -> NDArray[np.float32]:
    """Saves the model, with weights as at the beginning of a training; returns what it predicts."""
    with quiet_start():
        frameworks.start()
    import keras

    from fastseq.training.models import MODELS

    keras.utils.set_random_seed(0)
    model = MODELS[_MODEL].build("stock")
    model.save(folder / "model.keras")
    fastseq.Predictor(model).save(folder / "model.fastseq")
    return model.predict(ids, verbose=0)  # type: ignore[no-any-return]


def serve(side: str, folder: Path, example: NDArray[Any], threads: int) -> int:
    """Starts a server, which ends with the process, and returns its port."""
    import uvicorn

    predict = SIDES[side](folder, example, threads)
    for _ in range(3):
        predict(example)
    app = runpy.run_path(str(_SERVER))["make_app"](predict)
    # asyncio sends at once only where the protocol is given. Otherwise every answer waits 40 ms for an acknowledgement.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    threading.Thread(target=server.run, args=([listening],), daemon=True).start()
    port: int = listening.getsockname()[1]
    return port


# The clients ------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """A request, and the probabilities that the answer follows from, (texts, topics)."""

    body: bytes
    expected: NDArray[np.float32]

    def check(self, status: int, answer: bytes) -> None:
        """Raises AssertionError if the answer is wrong."""
        if status != 200:
            raise AssertionError(f"the server answers with status {status}: {answer.decode()}")
        for probabilities, one in zip(self.expected, json.loads(answer), strict=True):
            of_topic, highest = probabilities[one["topic"]], probabilities.max()
            if not max(abs(one["probability"] - of_topic), highest - of_topic) <= _TOLERANCE:  # also where it is NaN
                raise AssertionError(f"the server answers {one}, but the highest probability is {highest}")


@dataclass
class Measured:
    """What has been measured of a side: the seconds of every request, and those of all turns."""

    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def take_turn(self, port: int, requests: Sequence[Request], clients: int, seconds: float) -> None:
        """Sends requests by several clients, for some seconds at most."""
        stop = threading.Event()
        timer = threading.Timer(seconds, stop.set)
        with ThreadPoolExecutor(clients) as pool:
            began = time.perf_counter()
            timer.start()
            try:
                shares = [requests[number::clients] for number in range(clients)]
                self.latencies += itertools.chain.from_iterable(pool.map(partial(send, port, stop), shares))
            finally:
                stop.set()
                timer.cancel()
        self.seconds += time.perf_counter() - began

    def row(self, side: str) -> list[str]:
        count = len(self.latencies)
        *_, almost_all = statistics.quantiles(self.latencies, n=100)
        times = (statistics.median(self.latencies), almost_all)
        return [side, str(count), f"{count / self.seconds:.0f}", *(f"{1e3 * one:.2f}" for one in times)]


def send(port: int, stop: threading.Event, requests: Sequence[Request]) -> list[float]:
    """A client: sends requests one after the other until it is to stop. Returns the seconds that each has taken."""
    seconds = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_SECONDS)
    with contextlib.closing(connection):
        for one in requests:
            if stop.is_set():
                break
            began = time.perf_counter()
            connection.request("POST", "/classify", one.body)
            response = connection.getresponse()
            answer = response.read()
            seconds.append(time.perf_counter() - began)
            one.check(response.status, answer)
    return seconds


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES), metavar="SIDE", help=", ".join(SIDES))
    parser.add_argument("--clients", type=positive, default=4, help="default: 4")
    parser.add_argument("--texts", type=positive, default=1, help="in each request, default: 1")
    parser.add_argument("--requests", type=positive, default=1000, help="of each side, default: 1000")
    parser.add_argument("--seconds", type=positive, default=20, help="for each side at most, default: 20")
    parser.add_argument("--rounds", type=positive, default=4, help="default: 4")
    parser.add_argument("--threads", type=positive, default=1, help="of every prediction, default: 1")
    options = parser.parse_args()
    for name, most in _MOST.items():
        if getattr(options, name) > most:
            parser.error(f"argument --{name}: must be at most {most}, got {getattr(options, name)}")
    threads = machine.prepare(options.threads)
    ids = np.random.default_rng(0).integers(1, _WORDS, (_BODIES, options.texts, _TIMESTEPS), dtype=np.int32)
    print(header(["keras", "tensorflow", "onnxruntime", "starlette", "uvicorn"]))
    print(f"{options.clients} clients, {options.texts} texts of {_TIMESTEPS} ids in each request")
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as servers:
        folder = Path(name)
        with processes.Worker(_ENVIRONMENT, begin) as worker:
            expected = worker.call(save_model, folder, ids.reshape(-1, _TIMESTEPS)).reshape(*ids.shape[:2], -1)
        different = [Request(json.dumps(of.tolist()).encode(), right) for of, right in zip(ids, expected, strict=True)]
        count = max(2, options.clients, options.requests // options.rounds)
        requests = list(itertools.islice(itertools.cycle(different), count))
        ports = {
            side: servers.enter_context(processes.Worker(_ENVIRONMENT, begin)).call(
                serve, side, folder, ids[0], threads
            )
            for side in options.sides
        }
        measured = {side: Measured() for side in options.sides}
        for _ in range(options.rounds):
            for side, port in ports.items():
                measured[side].take_turn(port, requests, options.clients, options.seconds / options.rounds)
    rows = [of.row(side) for side, of in measured.items()]
    print(table(["prediction by", "requests", "a second", "median ms", "99th percentile ms"], rows))


if __name__ == "__main__":
    main()
