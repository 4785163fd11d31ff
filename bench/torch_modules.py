"""fastseq.torch's modules beside torch.nn's: forward, and forward with backward, interleaved in one run.

Outputs and gradients are compared before anything is timed. Figures are medians in milliseconds. The last column is
torch.nn's time divided by fastseq's, a median over rounds.

    python bench/torch_modules.py
    python bench/torch_modules.py --case lstm,20,100,100,100 gru,32,60,64,128,bidirectional
    python bench/torch_modules.py --held-out
    python bench/torch_modules.py --layers

--layers times layers for which fastseq.torch has functions and no modules: conv1d, whose kernel is 5 wide (the last two
numbers of a case are channels and filters), max_pool and average_pool (channels and size of the pool) and embedding
(vocabulary and units). Inputs and outputs are channels first, as torch.nn has them. Our kernels take channels last, so
the input is transposed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from common import CLOCKS, add_clock, add_options, header, interleave, prepare, script_parser

from fastseq.bench.timing import ratios, time_runs
from fastseq.commands import table

_NAMES = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}
_LAYERS = ("conv1d", "max_pool", "average_pool", "embedding")
_KERNEL_SIZE = 5
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
_LAYER_CASES = (
    "conv1d,40,500,100,64",
    "conv1d,40,500,500,64",
    "conv1d,1,500,100,64",
    "max_pool,40,496,64,4",
    "average_pool,40,496,64,4",
    "embedding,40,500,5000,100",
    "embedding,20,100,1000,100",
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
    if kind not in (*_NAMES, *_LAYERS) or not set(extras) <= set(_EXTRAS if kind in _NAMES else ()):
        kinds = "|".join((*_NAMES, *_LAYERS))
        raise ValueError(f"a case is {kinds},batch,timesteps,inputs,units[,{'|'.join(_EXTRAS)}], got {text}")
    return Case(kind, int(batch), int(timesteps), int(inputs), int(units), tuple(extras))


class Module(NamedTuple):
    """A function of its input, and the parameters to differentiate by."""

    run: Callable[[Any], Any]
    parameters: list[Any]


def make_runs(case: Case) -> dict[tuple[str, str], Callable[[], Any]]:
    """The runs of both libraries and both passes, with the same parameters. Raises AssertionError if results differ."""
    import torch

    torch.manual_seed(0)
    stock, fast, given, x = _layer(case) if case.kind in _LAYERS else _recurrent(case)
    seed = torch.randn_like(stock.run(given))
    sources = [x] if x.requires_grad else []

    def forward(module: Module) -> Any:
        with torch.no_grad():
            return module.run(given)

    def both(module: Module) -> Any:
        outputs = module.run(given)
        return outputs, *torch.autograd.grad(outputs, [*sources, *module.parameters], seed)

    for one, other in zip(both(stock), both(fast), strict=True):
        error = float((one - other).abs().max().detach()) / max(1.0, float(one.abs().max().detach()))
        assert error < 1e-4, f"{case}: results differ by {error}"
    modules = {"torch.nn": stock, "fastseq.torch": fast}
    return {
        (name, kind): partial(run, module)
        for kind, run in (("forward", forward), ("forward and backward", both))
        for name, module in modules.items()
    }


def _recurrent(case: Case) -> tuple[Module, Module, Any, Any]:
    """The modules of both libraries, their input, and the tensor of it."""
    import torch
    from torch import nn

    import fastseq.torch

    time_major, packed = "time-major" in case.extras, "packed" in case.extras
    settings = {"batch_first": not time_major, "bidirectional": "bidirectional" in case.extras}
    stock = getattr(nn, _NAMES[case.kind])(case.inputs, case.units, **settings)
    fast = getattr(fastseq.torch, _NAMES[case.kind])(case.inputs, case.units, **settings)
    fast.load_state_dict(stock.state_dict())
    shape = (case.timesteps, case.batch) if time_major else (case.batch, case.timesteps)
    x = torch.randn(*shape, case.inputs, requires_grad=True)
    given: Any = x
    if packed:
        lengths = torch.randint(1, case.timesteps + 1, (case.batch,))
        given = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        given = type(given)(given.data.detach().requires_grad_(), *given[1:])
        x = given.data

    def of(module: Any) -> Module:
        return Module(lambda x: module(x)[0].data if packed else module(x)[0], list(module.parameters()))

    return of(stock), of(fast), given, x


def _layer(case: Case) -> tuple[Module, Module, Any, Any]:
    """As `_recurrent`, of what fastseq.torch has only functions for."""
    import torch
    from torch import nn

    from fastseq.torch import functional

    _, batch, timesteps, inputs, units, _ = case
    if case.kind == "embedding":
        table = nn.Embedding(inputs, units)
        ids = torch.randint(inputs, (batch, timesteps))
        fast = Module(lambda ids: functional.embedding(ids, table.weight), [table.weight])
        return Module(table, [table.weight]), fast, ids, ids
    x = torch.randn(batch, inputs, timesteps, requires_grad=True)
    if case.kind == "conv1d":
        stock = nn.Conv1d(inputs, units, _KERNEL_SIZE)
        weight, bias = parameters = list(stock.parameters())

        def compute(x: Any) -> Any:
            return functional.conv1d(x, weight.permute(2, 1, 0), bias)
    else:
        stock = {"max_pool": nn.MaxPool1d, "average_pool": nn.AvgPool1d}[case.kind](units)
        parameters = []
        compute = partial(getattr(functional, case.kind), pool_size=units)
    return Module(stock, parameters), Module(lambda x: compute(x.mT).mT, parameters), x, x


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--case", nargs="+", metavar="CASE", default=list(_CASES), help="kind,B,T,D,U[,extras]")
    parser.add_argument("--held-out", action="store_true", help="cases that nothing was chosen by")
    parser.add_argument("--layers", action="store_true", help="layers that are not recurrent")
    add_clock(parser)
    add_options(parser, rounds=9)
    options = parser.parse_args()
    try:
        chosen = _HELD_OUT if options.held_out else _LAYER_CASES if options.layers else options.case
        cases = [parse(text) for text in chosen]
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
