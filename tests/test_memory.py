"""Recycled memory: large blocks of fastseq are used again, and those of others are not."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pytest
from processes import run_long, run_python

from fastseq import functional, runtime
from fastseq.functional import FloatArray

MIB = 1 << 20
LIMIT = 1024 * MIB


@pytest.fixture(autouse=True)
def _nothing_idle() -> Iterator[None]:
    runtime.release_idle_memory()
    yield
    runtime.release_idle_memory()


def _outputs(megabytes: float) -> FloatArray:
    """A result of this size, the one large array of its call."""
    x = np.zeros((round(megabytes * 1024), 32, 1), np.float32)
    kernel, recurrent_kernel = np.zeros((1, 8), np.float32), np.zeros((8, 8), np.float32)
    outputs = functional.simple_rnn_forward(x, kernel, recurrent_kernel, save_workspace=False).outputs
    assert outputs is not None
    return outputs


def test_a_freed_block_serves_the_next_call() -> None:
    outputs = _outputs(64)
    address = outputs.ctypes.data
    before = runtime.idle_memory()
    del outputs
    assert runtime.idle_memory() >= before + 64 * MIB
    assert _outputs(64).ctypes.data == address
    assert _outputs(63).ctypes.data == address  # nearly as large
    runtime.release_idle_memory()
    assert runtime.idle_memory() == 0


def test_small_blocks_are_not_kept() -> None:
    for _ in range(5):
        _outputs(0.1)
    assert runtime.idle_memory() == 0


def test_what_is_alive_is_never_shared() -> None:
    x = np.ones((4096, 2, 8), np.float32)
    kernel = np.eye(8, dtype=np.float32)
    recurrent = np.zeros((8, 8), np.float32)
    results = [
        functional.simple_rnn_forward(x * factor, kernel, recurrent, activation="linear").outputs for factor in range(8)
    ]
    runtime.release_idle_memory()
    for factor, outputs in enumerate(results):
        np.testing.assert_array_equal(outputs, np.full((4096, 2, 8), factor, np.float32))


def test_idle_memory_has_a_limit() -> None:
    results = [_outputs(300) for _ in range(4)]
    del results
    assert 0 < runtime.idle_memory() <= LIMIT


def test_idle_memory_does_not_grow_from_call_to_call() -> None:
    for megabytes in (8, 10, 16, 12):
        _outputs(megabytes)
    once = runtime.idle_memory()
    for _ in range(10):
        for megabytes in (8, 10, 16, 12):
            _outputs(megabytes)
    assert runtime.idle_memory() == once


def test_arrays_too_large_for_any_memory() -> None:
    x = np.zeros((1 << 22, 1 << 22, 0), np.float32)
    kernel, recurrent = np.zeros((0, 8), np.float32), np.zeros((8, 8), np.float32)
    with pytest.raises(MemoryError):
        functional.simple_rnn_forward(x, kernel, recurrent)


def test_arrays_outlive_the_interpreter_in_peace() -> None:
    run_python(
        "import numpy as np; from fastseq import functional as f\n"
        "kept = f.simple_rnn_forward(*[np.zeros(s, np.float32) for s in ((65536, 2, 1), (1, 8), (8, 8))])"
    )


def test_a_training_step_reuses_what_the_last_one_freed() -> None:
    """TensorFlow's large tensors come from the same blocks."""
    import tensorflow as tf

    from fastseq.keras import FastLSTM

    layer = FastLSTM(32, return_sequences=True)
    x = tf.ones((64, 64, 32))
    layer(x)
    runtime.release_idle_memory()

    @tf.function
    def step() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x))
        return [tf.reduce_sum(g) for g in tape.gradient(loss, layer.trainable_variables)]

    first = [float(g) for g in step()]
    idle = runtime.idle_memory()
    assert idle > 64 * 64 * 32 * 6 * 4
    for _ in range(10):
        assert [float(g) for g in step()] == first
    # TensorFlow's threads decide how many tensors exist at once, so a later step may need a few blocks more than the
    # first. Without reuse, every step would leave as many again.
    assert idle <= runtime.idle_memory() < 2 * idle


# What is left for one call, once its arguments are made.
_LITTLE_MEMORY = """
import resource, sys
import numpy as np
from fastseq import functional, runtime

runtime.set_num_threads(1)
kernel, recurrent_kernel = np.zeros((1, 8), np.float32), np.zeros((8, 8), np.float32)

def call(x):
    return functional.simple_rnn_forward(x, kernel, recurrent_kernel, save_workspace=False).outputs

few, many = (np.zeros((rows << 10, 32, 1), np.float32) for rows in (16, 250))
call(few)
"""
_LIMIT = """
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (100 << 20),) * 2)
"""
needs_limits = pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is Linux's")


@needs_limits
def test_out_of_memory_is_an_error_that_the_process_survives() -> None:
    code = f"""{_LITTLE_MEMORY}{_LIMIT}
for _ in range(3):
    try:
        call(many)
    except MemoryError as error:
        print(error)
    assert call(few).shape == (16 << 10, 32, 8)
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["fastseq: no memory for 268435456 bytes"] * 3


@needs_limits
def test_idle_memory_is_given_up_before_memory_is_out() -> None:
    code = f"""{_LITTLE_MEMORY}
blocks = [call(np.zeros((100 << 10, 32, 1), np.float32)) for _ in range(3)]
del blocks
assert runtime.idle_memory() >= 300 << 20
{_LIMIT}
outputs = call(many)
assert runtime.idle_memory() < 100 << 20
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="what a process holds is read from Linux's /proc")
def test_training_and_calls_hold_no_more_memory_after_hundreds_of_steps() -> None:
    done = run_long("memory.py", "--steps", "500")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("MiB in 500 steps") == 2


# More elements than an int32 can count. The system makes pages of what is written only, and hardly any is; so calls
# must read little of it, too.
MANY = 2**31


def _mostly_nothing(*shape: int) -> FloatArray:
    if sys.platform != "linux":
        pytest.skip("only Linux is known to hand out 9 GB of which little is used")
    try:
        array = np.zeros(shape, np.float32)
    except MemoryError:
        pytest.skip("this machine does not hand out 9 GB of which little is used")
    assert array.size > MANY
    return array


def test_embedding_of_more_than_2_to_the_31_elements() -> None:
    table = _mostly_nothing(2**25 + 3, 70)
    table[-1] = np.arange(70)
    for dtype in (np.int32, np.int64):
        got = functional.embedding_forward(np.array([[len(table) - 1, 0]], dtype), table)
        np.testing.assert_array_equal(got, [[np.arange(70), np.zeros(70)]])


@pytest.mark.usefixtures("isa")
def test_pooling_of_more_than_2_to_the_31_elements() -> None:
    x = _mostly_nothing(1, 2**25 + 2**19, 65)
    x[0, -(2**19) :: 2**18] = [np.arange(65), -np.arange(65)]
    pooled = functional.max_pool_forward(x, 1, 2**18)
    np.testing.assert_array_equal(pooled.outputs[0, -2:], [np.arange(65), -np.arange(65)])
    averages = functional.average_pool_forward(x, 1, 2**18)
    np.testing.assert_array_equal(averages, pooled.outputs)


@pytest.mark.usefixtures("isa")
def test_convolution_of_more_than_2_to_the_31_elements() -> None:
    x = _mostly_nothing(1, 2**25 + 2**19, 65)
    rng = np.random.default_rng(0)
    last = x[:, -(2**19) :][:, :: 2**18]
    last[...] = rng.standard_normal(last.shape)
    kernel = rng.standard_normal((1, 65, 20)).astype(np.float32)
    outputs = functional.conv1d_forward(x, kernel, strides=2**18)
    assert not outputs[:, :-2].any()
    np.testing.assert_array_equal(outputs[:, -2:], functional.conv1d_forward(np.ascontiguousarray(last), kernel))


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("cell", ["lstm", "gru", "simple_rnn"])
def test_recurrent_layers_of_more_than_2_to_the_31_elements(cell: str) -> None:
    x = _mostly_nothing(1, 2**15 + 3, 2**16)
    rng = np.random.default_rng(0)
    x[:, -3:] = rng.standard_normal((1, 3, 2**16))
    mask = np.zeros(x.shape[:2], bool)
    mask[:, -3:] = True
    gates = {"lstm": 4, "gru": 3, "simple_rnn": 1}[cell]
    kernel, recurrent_kernel = (rng.standard_normal((rows, gates)).astype(np.float32) for rows in (2**16, 1))
    forward = getattr(functional, f"{cell}_forward")
    got = forward(x, kernel / 256, recurrent_kernel, mask=mask)
    expected = forward(x[:, -3:], kernel / 256, recurrent_kernel)
    np.testing.assert_array_equal(got.outputs[:, -3:], expected.outputs)
    np.testing.assert_array_equal(got.h_n, expected.h_n)
