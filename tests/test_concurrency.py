"""Many concurrent callers, forked and spawned workers, more threads than CPUs, signals."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import run_python

from fastseq import functional, runtime
from fastseq._libraries import core

HERE = Path(__file__).parent
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
needs_proc = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in Linux's /proc")


def _numbers(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def _lstm() -> Any:
    return functional.lstm_forward(_numbers(16, 40, 48), _numbers(48, 192), _numbers(48, 192)).outputs


def _gru() -> Any:
    return functional.gru_forward(_numbers(2, 40, 64), _numbers(64, 900), _numbers(300, 900) / 20).outputs


def _conv1d() -> Any:
    return functional.conv1d_forward(_numbers(16, 100, 48), _numbers(5, 48, 64))


def _max_pool() -> Any:
    return functional.max_pool_forward(_numbers(16, 400, 64), 2).outputs


def _embedding() -> Any:
    ids = np.random.default_rng(0).integers(0, 50, (64, 400))
    return functional.embedding_backward(ids, _numbers(64, 400, 64), 50)


def _dropout() -> Any:
    return functional.dropout(_numbers(16, 400, 64), 0.5, (1, 2))


def _adam() -> Any:
    variable, momentum, velocity, gradient = (_numbers(1000, 400) ** 2 for _ in range(4))
    state = functional.AdamState(variable, momentum, velocity)
    return functional.adam(state, gradient, alpha=0.1).variable


# Each with work for two threads at least; the GRU's members wait for each other in every step.
OPERATIONS: list[Callable[[], Any]] = [_lstm, _gru, _conv1d, _max_pool, _embedding, _dropout, _adam]


def _all(_: int = 0) -> list[bytes]:
    return [operation().tobytes() for operation in OPERATIONS]


def test_different_operations_from_eight_python_threads() -> None:
    runtime.set_num_threads(2)
    expected = _all()
    calls = [*enumerate(OPERATIONS)] * 12
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for (index, _), got in zip(calls, pool.map(lambda call: call[1]().tobytes(), calls), strict=True):
            assert got == expected[index]


def test_threads_and_isa_change_while_others_compute() -> None:
    """A call reads them once."""
    expected = _all()

    def change_and_compute(index: int) -> list[bytes]:
        runtime.set_num_threads(1 + index % 4)
        runtime.set_isa(runtime.available_isas()[index % len(runtime.available_isas())])
        return _all()

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert all(got == expected for got in pool.map(change_and_compute, range(12)))


@pytest.mark.parametrize("method", [pytest.param("fork", marks=needs_fork), "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_pool_of_processes_that_compute(method: str) -> None:
    """As a loader of data has them: started after the parent has computed, while it goes on."""
    expected = _all()
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(3, mp_context=context) as pool:
        calls = [pool.submit(_all) for _ in range(6)]
        assert _all() == expected
        assert all(call.result(timeout=120) == expected for call in calls)


@needs_fork
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_fork_while_other_threads_compute() -> None:
    """Whatever they are in the middle of, the child computes, and ends."""
    expected = _all()
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        busy = [pool.submit(_all) for _ in range(12)]
        for _ in range(5):
            child = os.fork()
            if not child:
                os._exit(0 if _all() == expected else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert all(call.result() == expected for call in busy)


@needs_proc
def test_no_more_threads_than_cpus() -> None:
    """Whatever number was asked for: 64 on two CPUs took 3 to 6 times as long as 2."""
    code = f"""
import os, sys
sys.path.insert(0, {str(HERE)!r})
import test_concurrency
from fastseq import runtime
before = len(os.listdir("/proc/self/task"))
runtime.set_num_threads(64)
test_concurrency._all()
print(len(os.listdir("/proc/self/task")) - before + 1, len(os.sched_getaffinity(0)))
os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})
before = len(os.listdir("/proc/self/task"))
runtime.set_num_threads(3)
test_concurrency._all()
print(len(os.listdir("/proc/self/task")) - before)
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    threads, cpus, more_on_one_cpu = map(int, done.stdout.split())
    assert 1 < threads <= cpus or cpus == 1
    assert more_on_one_cpu == 0


@needs_proc
def test_python_threads_leave_no_threads_behind() -> None:
    core.allow_oversubscription(False)
    runtime.set_num_threads(2)

    def in_new_threads(count: int) -> int:
        for _ in range(count):
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda _: _lstm(), range(2)))
        return len(os.listdir("/proc/self/task"))

    in_new_threads(2)
    before = len(os.listdir("/proc/self/task"))
    assert in_new_threads(20) <= before + 4  # some may still be on their way out


_INTERRUPTED = f"""
import os, signal, sys, threading, time
sys.path.insert(0, {str(HERE)!r})
import numpy as np
from fastseq import functional
import test_concurrency
signal.signal(signal.SIGINT, signal.default_int_handler)
expected = test_concurrency._all()
arrays = [np.ones(shape, np.float32) for shape in ((64, 2000, 64), (64, 1024), (256, 1024))]
for _ in range(3):
    threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        while True:  # a call at least; it ends before Python looks at the signal
            outputs = functional.lstm_forward(*arrays, save_workspace=False)
    except KeyboardInterrupt:
        print("interrupted")
    assert test_concurrency._all() == expected
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_interrupted_call_leaves_a_usable_process() -> None:
    done = run_python(_INTERRUPTED)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["interrupted"] * 3


_FIT = f"""
import os, signal, sys, threading
sys.path.insert(0, {str(HERE)!r})
import keras
import numpy as np
from everyday_model import IDS, LABELS, compiled, everyday_model
signal.signal(signal.SIGINT, signal.default_int_handler)

class Kill(keras.callbacks.Callback):
    sent = False

    def on_train_batch_end(self, batch, logs=None):
        if not self.sent:  # once: epochs are short
            self.sent = True
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()

model = compiled(everyday_model(True), True)
for _ in range(2):
    try:
        model.fit(IDS, LABELS, epochs=1000000, verbose=0, callbacks=[Kill()])
    except KeyboardInterrupt:
        print("interrupted")
history = model.fit(IDS, LABELS, epochs=2, verbose=0).history
assert np.isfinite(history["loss"]).all()

# The same process, with too little memory for one operation: the error is TensorFlow's, and the next call computes.
import resource
import tensorflow as tf
from fastseq.keras import FastEmbedding, FastLSTM, FastMaxPooling1D

def used():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()

embedding, pooling, lstm = FastEmbedding(4, 256), FastMaxPooling1D(1), FastLSTM(64, return_sequences=True)
ids, x, sequences = tf.zeros((256, 2048), tf.int32), tf.zeros((8, 2048, 2048)), tf.zeros((512, 1024, 1))
calls = {{"embedding": lambda n: embedding(ids[:n]), "pooling": lambda n: pooling(x[:n]),
         "lstm": lambda n: lstm(sequences[:n])}}
few = {{name: call(1).numpy() for name, call in calls.items()}}
limits = resource.getrlimit(resource.RLIMIT_AS)
for name, call in calls.items():
    resource.setrlimit(resource.RLIMIT_AS, (used() + (64 << 20), limits[1]))
    try:
        call(512)
        print(name, "was given memory")
    except tf.errors.ResourceExhaustedError as error:
        print(name, "exhausted", "out of memory" in str(error))
    resource.setrlimit(resource.RLIMIT_AS, limits)
    np.testing.assert_array_equal(call(1), few[name])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is Linux's")
def test_interrupted_training_and_exhausted_memory_leave_a_usable_process() -> None:
    done = run_python(_FIT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        *["interrupted"] * 2,
        *(f"{name} exhausted True" for name in ("embedding", "pooling", "lstm")),
    ]


def test_predictions_from_eight_python_threads() -> None:
    import keras
    from everyday_model import compiled, everyday_model

    model = compiled(everyday_model(True), True)
    ids = np.random.default_rng(0).integers(0, 12, (64, 50))
    expected = model.predict(ids, verbose=0)
    other = keras.Sequential(everyday_model(True).layers[1:])
    other(ids)  # Keras builds a model only once, and not in several threads at a time
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        # One model, called and asked to predict, and models of each thread's own.
        for got in pool.map(lambda _: np.asarray(model(ids)), range(24)):
            np.testing.assert_array_equal(got, expected)
        for got in pool.map(lambda _: model.predict_on_batch(ids), range(24)):
            np.testing.assert_array_equal(got, expected)
        assert all(np.shape(got) == expected.shape for got in pool.map(lambda _: other(ids), range(8)))
