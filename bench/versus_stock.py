"""FastLSTM beside the stock layer, interleaved in one run: `python bench/versus_stock.py [SHAPE ...]`.

Prints medians over rounds that alternate between the sides, so that both meet the same machine, and the ratio of the
medians; results are compared before anything is timed. In a round each side runs a few times in a row and the first
run is not counted: it still meets the other side's threads, which spin for a while when they have nothing to do.
"""

from __future__ import annotations

import argparse
import statistics
import time

from lstm_layers import KINDS, make_step, verify
from shapes import RECURRENT

from fastseq import runtime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="*", metavar="SHAPE", help=f"of {', '.join(RECURRENT)}; default: all")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    unknown = set(options.shapes) - set(RECURRENT)
    if unknown:
        parser.error(f"no shape {', '.join(sorted(unknown))}; there are {', '.join(RECURRENT)}")

    print(f"instruction set {runtime.isa()}, {runtime.get_num_threads()} threads, median of {4 * options.rounds} runs")
    print(f"{'shape':16}{'pass':18}{'fast ms':>9}{'GFLOP/s':>9}" + "".join(f"{kind + ' x':>14}" for kind in KINDS[1:]))
    for name in options.shapes or RECURRENT:
        shape = RECURRENT[name]
        for backward in (False, True):
            steps = {kind: make_step(kind, shape, backward=backward) for kind in KINDS}
            for kind in KINDS[1:]:
                verify(steps["fast"], steps[kind])
            times: dict[str, list[float]] = {kind: [] for kind in KINDS}
            for round_ in range(options.rounds + 1):
                for kind, step in steps.items():
                    for run in range(5):
                        began = time.perf_counter()
                        step()
                        if round_ > 0 and run > 0:
                            times[kind].append(time.perf_counter() - began)
            medians = {kind: statistics.median(values) for kind, values in times.items()}
            fast = medians["fast"]
            ratios = "".join(f"{medians[kind] / fast:14.2f}" for kind in KINDS[1:])
            gflops = shape.lstm_flops(backward=backward) / fast / 1e9
            print(f"{name:16}{'forward+backward' if backward else 'forward':18}{1e3 * fast:9.2f}{gflops:9.0f}{ratios}")


if __name__ == "__main__":
    main()
