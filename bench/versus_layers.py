"""fastseq's layers that are not recurrent beside stock Keras's, with and without XLA, interleaved in one run.

Every side has the same weights and input, and runs in a tf.function. What it computes (outputs; in training the
gradients by x and all weights, from a gradient at every output; with Adam the weights after a step) is compared with
stock Keras before it is timed. In every round each side has a turn. Figures are medians; IQR is the distance between
the quartiles.

    python bench/versus_layers.py --layer embedding conv1d --pass training adam
"""

from __future__ import annotations

import argparse

from fastseq.bench.environment import add_options, prepare
from fastseq.bench.layers import CASES, LAYER_PASSES, LAYER_SIDES, layer_comparison, passes_of
from fastseq.bench.machine import header
from fastseq.bench.measuring import Measurement
from fastseq.bench.tables import describe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layer", nargs="+", choices=CASES, default=list(CASES), metavar="LAYER", help=f"{[*CASES]}")
    parser.add_argument("--pass", dest="passes", nargs="+", choices=LAYER_PASSES, default=list(LAYER_PASSES))
    add_options(parser, rounds=10)
    options = parser.parse_args()
    try:
        threads = prepare(options.threads, options.isa)
    except ValueError as wrong:
        parser.error(str(wrong))
    print(header(["keras", "tensorflow"]))
    for name in options.layer:
        for pass_ in passes_of(CASES[name], options.passes):
            measurement = Measurement(layer_comparison(name, pass_, threads=threads), options.rounds)
            measurement.run(LAYER_SIDES)
            print(f"\n{describe(measurement)}")


if __name__ == "__main__":
    main()
