"""fastseq's recurrent layers beside other implementations, interleaved in one run.

Every implementation has the same weights and input. Its results are compared with stock Keras's before it is timed: the
outputs and, in training, the gradients by x and all weights, for a gradient of every output. In every round each
implementation has a turn, and so has the probe of the FMA peak. Figures are medians; IQR is the distance between the
quartiles.

    python bench/versus_peers.py --cell lstm --shape reuters 32,50,64,128 --pass training
    python bench/versus_peers.py --cell gru --threads 1 --isa avx2 --peers stock torch
    python bench/versus_peers.py --mask imdb
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from common import (
    SHAPE_HELP,
    add_options,
    add_peers,
    describe,
    header,
    limited_implementations,
    prepare,
    script_parser,
    shapes_of,
)
from numpy.typing import NDArray

from fastseq.bench.implementations import FASTSEQ, Implementation, make_implementation, packages
from fastseq.bench.layers import recurrent_comparison
from fastseq.bench.measuring import Comparison, Measurement
from fastseq.bench.problems import RecurrentProblem, Results, make_problem
from fastseq.bench.shapes import GATES, PASSES, Shape

# The layer of the model that the IMDB corpus is for, with its maxlen.
_MASKED_SHAPE = "imdb-attention"
_UNMASKED = "functional, no mask"


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--cell", nargs="+", choices=GATES, default=list(GATES))
    parser.add_argument("--shape", nargs="+", default=[], metavar="SHAPE", help=f"{SHAPE_HELP}; default: by cell")
    parser.add_argument("--pass", dest="passes", nargs="+", choices=PASSES, default=list(PASSES))
    add_peers(parser)
    parser.add_argument(
        "--mask",
        choices=["imdb"],
        help=f"mask steps as IMDB's padding does at maxlen = the shape's timesteps; default shape: {_MASKED_SHAPE}",
    )
    add_options(parser, rounds=10)
    options = parser.parse_args()
    names = [*FASTSEQ, *options.peers]
    try:
        chosen = options.shape or ([_MASKED_SHAPE] if options.mask else [])
        made = [
            (name, make_problem(cell, shape))
            for cell in options.cell
            for name, shape in shapes_of(cell, chosen).items()
        ]
        threads = prepare(options, parser)
        if options.mask:
            made = [(name, dataclasses.replace(one, mask=imdb_mask(one.shape))) for name, one in made]
    except ValueError as wrong:
        parser.error(str(wrong))
    print(header(packages(names)))
    if options.isa and (free := [name for name in options.peers if name not in limited_implementations(options.isa)]):
        print(f"not limited to {options.isa}: {', '.join(free)}")
    if options.mask:
        print(f"mask: the padding of {imdb_texts(made[0][1].shape.timesteps)[1]}")
    for name, problem in made:
        for pass_ in options.passes:
            comparison = recurrent_comparison(
                problem.cell, name, problem.shape, pass_, threads=threads, problem=problem, implementations=names
            )
            if problem.mask is not None:
                comparison = with_unmasked(comparison, problem, pass_, threads)
            measurement = Measurement(comparison, options.rounds)
            measurement.run(comparison.implementations)
            print(f"\n{describe(measurement)}")


def with_unmasked(comparison: Comparison, masked: RecurrentProblem, pass_: str, threads: int) -> Comparison:
    """With one more implementation: the same problem without its mask, the results of which are to be stock Keras's."""
    problem = dataclasses.replace(masked, mask=None)

    def make(implementation: str) -> Implementation:
        if implementation != _UNMASKED:
            return comparison.make(implementation)
        return make_implementation("functional", problem, pass_, threads=threads)

    def check(implementation: str, results: Results, expected: Results) -> None:
        if implementation == _UNMASKED:
            expected = make_implementation("stock", problem, pass_, threads=threads).results()
        comparison.verify(implementation, results, expected)

    assert masked.mask is not None
    return dataclasses.replace(
        comparison,
        title=f"{comparison.title}, {masked.mask.mean():.0%} of the steps not masked",
        implementations=[*comparison.implementations, _UNMASKED],
        make=make,
        verify=check,
        flops={**comparison.flops, _UNMASKED: problem.flops(training=pass_ == "training")},
        threads={**comparison.threads, _UNMASKED: threads},
    )


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
