"""fastseq beside what else computes the same layers, interleaved in one run.

Every side has the same weights and input; what it computes (outputs and, in training, the gradients by x and all
weights, from a gradient at every output) is compared with fastseq.functional before it is timed. In every round each
side and the probe of the FMA peak have a turn. Figures are medians; IQR is the distance between the quartiles.

    python bench/versus_peers.py --cell lstm --shape reuters 32,50,64,128 --pass training
    python bench/versus_peers.py --cell gru --threads 1 --isa avx2 --peers stock torch
    python bench/versus_peers.py --mask imdb
"""

from __future__ import annotations

import argparse
import dataclasses
import functools

import numpy as np
from environment import add_options, header, prepare
from numpy.typing import NDArray
from peak import Peak, load_peak, peak_turn
from problems import Problem, make_problem, verify
from report import PASSES, milliseconds, rate, share, table
from shapes import GATES, SHAPE_HELP, Shape, shapes_of
from sides import SIDES, Side, UnavailableError, limited_sides, make_side, packages
from timing import Turn, interleave

_FASTSEQ = ("fast", "functional")
# The layer of the model that the IMDB corpus is for, with its maxlen.
_MASKED_SHAPE = "imdb-attention"
_UNMASKED = "functional, no mask"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cell", nargs="+", choices=GATES, default=list(GATES))
    parser.add_argument("--shape", nargs="+", default=[], metavar="SHAPE", help=f"{SHAPE_HELP}; default: by cell")
    parser.add_argument("--pass", dest="passes", nargs="+", choices=PASSES, default=list(PASSES))
    peers = [side for side in SIDES if side not in _FASTSEQ]
    parser.add_argument("--peers", nargs="*", choices=peers, default=peers, metavar="PEER", help=f"{', '.join(peers)}")
    parser.add_argument(
        "--mask",
        choices=["imdb"],
        help=f"mask steps as IMDB's padding does at maxlen = the shape's timesteps; default shape: {_MASKED_SHAPE}",
    )
    add_options(parser, rounds=10)
    options = parser.parse_args()
    names = [*_FASTSEQ, *options.peers]
    try:
        chosen = options.shape or ([_MASKED_SHAPE] if options.mask else [])
        problems = [
            (f"{cell} {name}" + (f" ({shape})" if name != str(shape) else ""), make_problem(cell, shape))
            for cell in options.cell
            for name, shape in shapes_of(cell, chosen).items()
        ]
        threads = prepare(options.threads, options.isa)
        if options.mask:
            problems = [(name, dataclasses.replace(made, mask=imdb_mask(made.shape))) for name, made in problems]
    except ValueError as wrong:
        parser.error(str(wrong))
    from fastseq import runtime

    peak = load_peak(runtime.isa())
    print(header(packages(names)))
    if options.isa and (free := [name for name in options.peers if name not in limited_sides(options.isa)]):
        print(f"not limited to {options.isa}: {', '.join(free)}")
    if options.mask:
        print(f"mask: the padding of {imdb_texts(problems[0][1].shape.timesteps)[1]}")
    for name, problem in problems:
        for pass_ in options.passes:
            title = f"{name}, {PASSES[pass_]}"
            if problem.mask is not None:
                title += f", {problem.mask.mean():.0%} of the steps not masked"
            compare(title, problem, names, pass_ == "training", threads, options.rounds, peak)


def compare(
    title: str, problem: Problem, names: list[str], training: bool, threads: int, rounds: int, peak: Peak | None
) -> None:
    """Verifies, times and prints one problem."""

    def made(name: str, problem: Problem) -> Side:
        return make_side(name, problem, training=training, threads=threads)

    sides: dict[str, Side] = {}
    absent: dict[str, str] = {}
    for name in names:
        try:
            sides[name] = made(name, problem)
        except UnavailableError as reason:
            absent[name] = str(reason)
    expected = sides["functional"].results()
    for name, side in sides.items():
        verify(side.results(), expected, f"{name}, {problem.cell} {problem.shape}")
    flops = dict.fromkeys(sides, problem.flops(training=training))
    if problem.mask is not None:
        unmasked = dataclasses.replace(problem, mask=None)
        sides[_UNMASKED] = made("functional", unmasked)
        verify(made("stock", unmasked).results(), sides[_UNMASKED].results(), f"stock, {problem.shape} unmasked")
        flops[_UNMASKED] = unmasked.flops(training=training)

    turns: dict[str, Turn] = {name: side.turn for name, side in sides.items()}
    if peak is not None:
        turns["peak"] = peak_turn(peak, threads)
    samples = interleave(turns, rounds)
    peak_samples = samples.pop("peak", None)
    print(f"\n{title}" + ("" if peak_samples is None else f"; FMA peak {peak_samples.median / 1e9:.0f} GFLOP/s"))
    fast = samples["fast"].median
    rows = [
        (
            name,
            milliseconds(times.median),
            milliseconds(times.iqr),
            f"{times.median / fast:.2f}",
            rate(flops[name], times.median),
            share(flops[name], times.median, peak_samples),
        )
        for name, times in samples.items()
    ]
    print(table(("side", "ms", "IQR", "times fast", "GFLOP/s", "of peak"), rows))
    for name, why in absent.items():
        print(f"{name}: left out, {why}")


@functools.cache
def imdb_texts(maxlen: int) -> tuple[NDArray[np.int32], str]:
    """The texts of IMDB's training set, padded in front, and where they are from."""
    from fastseq import data

    found = data.locate("imdb")
    texts = data.load_imdb(maxlen=maxlen, data=str(found.parent) if found else data.SYNTHETIC)
    if texts.synthetic:
        return texts.x_train, "the synthetic corpus: imdb.npz is neither in FASTSEQ_DATA nor in Keras's cache"
    return texts.x_train, f"the first training texts of {texts.source}"


def imdb_mask(shape: Shape) -> NDArray[np.bool_]:
    """Where as many texts as the batch has rows have words."""
    return np.resize(imdb_texts(shape.timesteps)[0], (shape.batch, shape.timesteps)) != 0


if __name__ == "__main__":
    main()
