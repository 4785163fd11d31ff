"""fastseq's layers that are not recurrent beside other implementations, interleaved in one run.

Every implementation has the same weights and input. Its results are compared with stock Keras's before it is timed: the
outputs; in training the gradients by x and all weights, for a gradient of every output; with Adam the weights after a
step. In every round each implementation has a turn. Figures are medians; IQR is the distance between the quartiles.

    python bench/versus_layers.py --layer embedding conv1d --pass training adam
    python bench/versus_layers.py --layer max-pooling --peers stock torch
"""

from __future__ import annotations

from common import add_options, add_peers, describe, header, prepare, script_parser

from fastseq.bench.implementations import FASTSEQ, packages
from fastseq.bench.layers import CASES, LAYER_PASSES, layer_comparison
from fastseq.bench.measuring import Measurement


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--layer", nargs="+", choices=CASES, default=list(CASES), metavar="LAYER", help=f"{[*CASES]}")
    parser.add_argument("--pass", dest="passes", nargs="+", choices=LAYER_PASSES, default=list(LAYER_PASSES))
    add_peers(parser)
    add_options(parser, rounds=10)
    options = parser.parse_args()
    threads = prepare(options, parser)
    implementations = [*FASTSEQ, *options.peers]
    print(header(packages(implementations)))
    for name in options.layer:
        for pass_ in options.passes:
            if reason := CASES[name].lacks(pass_):
                print(f"\n{name}, {LAYER_PASSES[pass_]}: not measured, {reason}")
                continue
            measurement = Measurement(
                layer_comparison(name, pass_, threads=threads, implementations=implementations), options.rounds
            )
            measurement.run(implementations)
            print(f"\n{describe(measurement)}")


if __name__ == "__main__":
    main()
