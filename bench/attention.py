"""FastAttention, forward and backward, beside three others, interleaved in one run.

They are: the formula of the package `attention`, in plain operations; the least memory traffic of any method, for which
forward reads the inputs, and backward reads them again and writes their gradient; and the LSTM before it in the IMDB
model, whose time tells how much of a training step there is to gain.

    python bench/attention.py --threads 2
"""

from __future__ import annotations

import functools

from common import add_options, header, interleave, prepare, script_parser

from fastseq.bench.implementations import make_implementation
from fastseq.bench.layers import ATTENTION_SHAPE as SHAPE
from fastseq.bench.layers import SCORES, attention_problem
from fastseq.bench.problems import make_problem, verify
from fastseq.bench.tables import milliseconds
from fastseq.bench.timing import Turn, time_runs
from fastseq.commands import table


def main() -> None:
    parser = script_parser(__doc__)
    add_options(parser, rounds=10)
    options = parser.parse_args()
    threads = prepare(options, parser)
    turns = _turns(threads)
    print(header(["tensorflow", "keras"]))
    samples = interleave(turns, options.rounds)
    print(f"batch, steps, features {SHAPE.batch}, {SHAPE.timesteps}, {SHAPE.units}; forward and backward")
    rows = [(name, milliseconds(times.median), milliseconds(times.iqr)) for name, times in samples.items()]
    print(table(("implementation", "ms", "IQR"), rows))


def _turns(threads: int) -> dict[str, Turn]:
    turns: dict[str, Turn] = {}
    for score in SCORES:
        fast, written = (
            make_implementation(name, attention_problem(score), "training", threads=threads)
            for name in ("fast", "stock")
        )
        verify(fast.results(), written.results(), f"FastAttention, {score}")
        turns |= {f"{score}, FastAttention": fast.turn, f"{score}, as written": written.turn}
        turns[f"{score}, FastAttention, half masked"] = make_implementation(
            "fast", attention_problem(score, masked=True), "training", threads=threads
        ).turn
    import tensorflow as tf

    x = tf.random.stateless_normal((SHAPE.batch, SHAPE.timesteps, SHAPE.units), seed=(0, 0))
    traffic = tf.function(lambda x: [tf.reduce_sum(x), 2.0 * x])
    turns["traffic"] = functools.partial(time_runs, functools.partial(traffic, x))
    turns["FastLSTM before it"] = make_implementation(
        "fast", make_problem("lstm", SHAPE), "training", threads=threads
    ).turn
    return turns


if __name__ == "__main__":
    main()
