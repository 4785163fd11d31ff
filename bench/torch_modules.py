"""fastseq.torch's modules beside torch.nn's: forward, and forward with backward, interleaved in one run.

Outputs and gradients are compared before anything is timed. Figures are medians in milliseconds. The last column is
torch.nn's time divided by fastseq's, a median over rounds.

    python bench/torch_modules.py
    python bench/torch_modules.py --case lstm,20,100,100,100 gru,32,60,64,128,bidirectional
    python bench/torch_modules.py --held-out
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from common import CLOCKS, add_clock, add_options, header, interleave, prepare, script_parser

from fastseq.bench.timing import ratios, time_runs
from fastseq.commands import table

_NAMES = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}
_EXTRAS = ("bidirectional", "time-major", "packed")
_CASES = (
    "lstm,20,100,100,100",
    "lstm,40,124,64,55",
    "lstm,40,500,500,64",
    "gru,20,100,100,100",
    "rnn,20,100,100,100",
    "lstm,20,100,100,100,bidirectional",
    "lstm,20,100,100,100,time-major",
    "lstm,40,500,64,64,packed",
    "lstm,1,100,100,100",
)
_HELD_OUT = (
    "lstm,1,20,16,16",
    "lstm,8,50,32,64",
    "lstm,64,30,128,256",
    "lstm,128,20,40,40",
    "lstm,16,200,300,128",
    "gru,1,30,20,20",
    "gru,64,50,100,256",
    "gru,10,300,50,32,bidirectional",
    "rnn,4,100,10,500",
    "rnn,100,12,64,64",
)


class Case(NamedTuple):
    """A module and its input. The lengths of packed sequences are like those of reviews: half of all is padding."""

    kind: str
    batch: int
    timesteps: int
    inputs: int
    units: int
    extras: tuple[str, ...] = ()


def parse(text: str) -> Case:
    """A case from its notation on the command line. Raises ValueError."""
    kind, batch, timesteps, inputs, units, *extras = text.split(",")
    if kind not in _NAMES or not set(extras) <= set(_EXTRAS):
        raise ValueError(f"a case is {'|'.join(_NAMES)},batch,timesteps,inputs,units[,{'|'.join(_EXTRAS)}], got {text}")
    return Case(kind, int(batch), int(timesteps), int(inputs), int(units), tuple(extras))


def make_runs(case: Case) -> dict[tuple[str, str], Callable[[], Any]]:
    """The runs of both libraries and both passes, with the same parameters. Raises AssertionError if results differ."""
    import torch
    from torch import nn

    import fastseq.torch

    torch.manual_seed(0)
    time_major = "time-major" in case.extras
    settings = {"batch_first": not time_major, "bidirectional": "bidirectional" in case.extras}
    stock = getattr(nn, _NAMES[case.kind])(case.inputs, case.units, **settings)
    fast = getattr(fastseq.torch, _NAMES[case.kind])(case.inputs, case.units, **settings)
    fast.load_state_dict(stock.state_dict())
    shape = (case.timesteps, case.batch) if time_major else (case.batch, case.timesteps)
    x = torch.randn(*shape, case.inputs, requires_grad=True)
    given: Any = x
    if "packed" in case.extras:
        lengths = torch.randint(1, case.timesteps + 1, (case.batch,))
        given = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        given = type(given)(given.data.detach().requires_grad_(), *given[1:])
        x = given.data
    of_fast = fast(given)[0]
    seed = torch.randn_like(of_fast.data if "packed" in case.extras else of_fast)

    def forward(module: Any) -> Any:
        with torch.no_grad():
            return module(given)[0]

    def both(module: Any) -> Any:
        outputs = module(given)[0]
        outputs = outputs.data if "packed" in case.extras else outputs
        return outputs, *torch.autograd.grad(outputs, [x, *module.parameters()], seed)

    for one, other in zip(both(stock), both(fast), strict=True):
        error = float((one - other).abs().max().detach()) / max(1.0, float(one.abs().max().detach()))
        assert error < 1e-4, f"{case}: results differ by {error}"
    modules = {"torch.nn": stock, "fastseq.torch": fast}
    return {
        (name, kind): partial(run, module)
        for kind, run in (("forward", forward), ("forward and backward", both))
        for name, module in modules.items()
    }


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--case", nargs="+", metavar="CASE", default=list(_CASES), help="kind,B,T,D,U[,extras]")
    parser.add_argument("--held-out", action="store_true", help="cases that nothing was chosen by")
    add_clock(parser)
    add_options(parser, rounds=9)
    options = parser.parse_args()
    try:
        cases = [parse(text) for text in (_HELD_OUT if options.held_out else options.case)]
    except ValueError as wrong:
        parser.error(str(wrong))
    threads = prepare(options, parser)
    import torch

    torch.set_num_threads(threads)
    print(header(["fastseq", "torch"]))
    rows = []
    for case in cases:
        runs = make_runs(case)
        clock = CLOCKS[options.clock]
        samples = interleave({name: partial(time_runs, run, clock=clock) for name, run in runs.items()}, options.rounds)
        for kind in ("forward", "forward and backward"):
            stock, fast = samples["torch.nn", kind], samples["fastseq.torch", kind]
            label = ",".join(map(str, (*case[:5], *case.extras)))
            rows.append(
                (
                    label,
                    kind,
                    f"{1e3 * stock.median:.2f}",
                    f"{1e3 * fast.median:.2f}",
                    f"{ratios(stock, fast).median:.2f}",
                )
            )
            print(*rows[-1], flush=True)
    print(table(("case", "pass", "torch.nn", "fastseq.torch", "times as fast"), rows))


if __name__ == "__main__":
    main()
