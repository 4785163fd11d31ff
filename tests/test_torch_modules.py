"""fastseq.torch's LSTM, GRU and RNN beside torch.nn's: results, gradients, random numbers, files, errors."""

from __future__ import annotations

import copy
import io
import itertools
import pickle
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import run_python

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import fastseq.torch  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN"),
    pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]
nn = torch.nn
NAMES = ("LSTM", "GRU", "RNN")
BATCH, TIMESTEPS, INPUTS, UNITS = 4, 7, 5, 6
LENGTHS = {"packed": [7, 5, 3, 1], "packed-unsorted": [3, 7, 1, 5]}
# Both sides round in float32, in sums of other orders, through up to 7 steps and 2 layers.
TOLERANCE = 2e-5


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    torch.manual_seed(0)
    yield
    torch._dynamo.reset()


def pair(name: str, *arguments: Any, **settings: Any) -> tuple[Any, Any]:
    """A stock module and a fast one with its parameters."""
    stock = getattr(nn, name)(*arguments, **settings)
    fast = getattr(fastseq.torch, name)(*arguments, **settings)
    assert list(fast.state_dict()) == list(stock.state_dict())
    fast.load_state_dict(stock.state_dict())
    return stock, fast


def states_of(name: str, state: Any) -> tuple[Any, ...]:
    return state if name == "LSTM" else (state,)


def results_and_gradients(name: str, module: Any, x: Any, kind: str, hx: tuple[Any, ...] | None) -> list[Any]:
    """Outputs, last states and the gradients by everything, after a fixed seed."""
    x = x.clone().requires_grad_()
    given = x
    if kind in LENGTHS:
        lengths = torch.tensor(LENGTHS[kind])
        given = nn.utils.rnn.pack_padded_sequence(
            x, lengths, batch_first=module.batch_first, enforce_sorted=kind == "packed"
        )
    initial = [] if hx is None else [state.clone().requires_grad_() for state in hx]
    torch.manual_seed(1)
    outputs, state = module(given, None if hx is None else tuple(initial) if name == "LSTM" else initial[0])
    if kind in LENGTHS:
        assert torch.equal(outputs.batch_sizes, given.batch_sizes)
        outputs = outputs.data
    states = states_of(name, state)
    weights = torch.linspace(-1, 1, outputs.numel()).reshape(outputs.shape)
    loss = (outputs * weights).sum() + sum((one**2).sum() for one in states)
    return [outputs, *states, *torch.autograd.grad(loss, [x, *module.parameters(), *initial])]


def assert_equal(stock: list[Any], fast: list[Any], tolerance: float = TOLERANCE) -> None:
    for one, other in zip(stock, fast, strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        assert other.is_contiguous() or not one.is_contiguous()
        one, other = one.detach(), other.detach()
        assert float((one - other).abs().max()) <= tolerance * max(1.0, float(one.abs().max()))


@pytest.mark.parametrize("kind", ["padded", "unbatched", *LENGTHS])
@pytest.mark.parametrize("name", NAMES)
def test_as_stock_in_every_setting(name: str, kind: str) -> None:
    for layers, two_ways, bias, batch_first, dropout, with_hx in itertools.product(
        (1, 2), (False, True), (True, False), (False, True), (0.0, 0.3), (False, True)
    ):
        if dropout and layers == 1:
            continue
        settings = {
            "num_layers": layers,
            "bidirectional": two_ways,
            "bias": bias,
            "batch_first": batch_first,
            "dropout": dropout,
        }
        stock, fast = pair(name, INPUTS, UNITS, **settings)
        shape = (BATCH, TIMESTEPS) if batch_first else (TIMESTEPS, BATCH)
        x = torch.randn(*((TIMESTEPS,) if kind == "unbatched" else shape), INPUTS)
        of_state = (layers * (2 if two_ways else 1), *(() if kind == "unbatched" else (BATCH,)), UNITS)
        hx = tuple(torch.randn(of_state) for _ in range(2 if name == "LSTM" else 1)) if with_hx else None
        assert_equal(*(results_and_gradients(name, module, x, kind, hx) for module in (stock, fast)))


def test_relu() -> None:
    stock, fast = pair("RNN", INPUTS, UNITS, nonlinearity="relu")
    x = torch.randn(TIMESTEPS, BATCH, INPUTS)
    assert_equal(*(results_and_gradients("RNN", module, x, "padded", None) for module in (stock, fast)))


@pytest.mark.parametrize("name", NAMES)
def test_float64_and_evaluation(name: str) -> None:
    stock, fast = pair(name, INPUTS, UNITS, 2, dropout=0.5, dtype=torch.float64)
    x = torch.randn(TIMESTEPS, BATCH, INPUTS, dtype=torch.float64)
    stock.eval()
    fast.eval()
    assert_equal(*(results_and_gradients(name, module, x, "padded", None) for module in (stock, fast)), 1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_training_is_the_stock_one(name: str) -> None:
    losses = []
    for module in pair(name, INPUTS, UNITS, 2, dropout=0.2, batch_first=True):
        torch.manual_seed(2)
        head = nn.Linear(UNITS, 1)
        optimizer = torch.optim.Adam([*module.parameters(), *head.parameters()], 0.01)
        x, y = torch.randn(8, 12, INPUTS), torch.randn(8, 1)
        torch.manual_seed(3)
        for _ in range(20):
            optimizer.zero_grad()
            loss = ((head(module(x)[0][:, -1]) - y) ** 2).mean()
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


# --- what surrounds a module -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_copies_pickles_and_files(name: str) -> None:
    stock, fast = pair(name, INPUTS, UNITS, bidirectional=True)
    x = torch.randn(TIMESTEPS, BATCH, INPUTS)
    file = io.BytesIO()
    torch.save(fast, file)
    file.seek(0)
    for again in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast)), torch.load(file, weights_only=False)):
        assert type(again) is type(fast)
        assert torch.equal(again(x)[0], fast(x)[0])
    stock.load_state_dict(fast.state_dict())
    assert isinstance(fast, getattr(nn, name))
    assert repr(fast) == repr(stock)
    fast.flatten_parameters()


def test_accelerate_and_back() -> None:
    class Tagger(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(10, INPUTS)
            self.lstm = nn.LSTM(INPUTS, UNITS, batch_first=True)
            self.more = nn.ModuleList([nn.GRU(UNITS, UNITS, batch_first=True), nn.RNN(UNITS, 3, batch_first=True)])
            self.projected = nn.LSTM(3, 4, proj_size=2, batch_first=True)

        def forward(self, ids: Any) -> Any:
            x = self.words(ids)
            for module in (self.lstm, *self.more, self.projected):
                x = module(x)[0]
            return x

    stock = Tagger()
    fast = copy.deepcopy(stock)
    parameters = [id(parameter) for parameter in fast.parameters()]
    same, report = fastseq.torch.accelerate(fast, verbose=False, return_report=True)
    assert same is fast
    assert [(row.path, row.now) for row in report.rows] == [
        ("lstm", "fastseq.torch.LSTM"),
        ("more.0", "fastseq.torch.GRU"),
        ("more.1", "fastseq.torch.RNN"),
        ("projected", "torch.nn.LSTM"),
    ]
    assert report.left[0].note == "proj_size is above 0"
    assert report.others == ("torch.nn.Embedding",)
    assert parameters == [id(parameter) for parameter in fast.parameters()]
    ids = torch.randint(0, 10, (BATCH, TIMESTEPS))

    def step(model: Any, optimizer: Any) -> float:
        optimizer.zero_grad()
        loss = (model(ids) ** 2).sum()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    optimizers = [torch.optim.Adam(model.parameters(), 0.01) for model in (stock, fast)]
    for convert in (
        lambda: None,
        lambda: fastseq.torch.to_stock(fast),
        lambda: fastseq.torch.accelerate(fast, verbose=False),
    ):
        convert()
        for _ in range(3):
            losses = [step(model, optimizer) for model, optimizer in zip((stock, fast), optimizers, strict=True)]
            assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    fastseq.torch.to_stock(fast)
    assert type(fast.lstm) is nn.LSTM
    with pytest.raises(TypeError, match=r"module must be a torch.nn.Module, got int"):
        fastseq.torch.accelerate(3)


def test_subclasses_are_left() -> None:
    class Own(nn.LSTM):  # type: ignore[misc]
        def forward(self, *_: Any) -> Any:
            return None

    _, report = fastseq.torch.accelerate(nn.Sequential(Own(2, 3)), verbose=False, return_report=True)
    assert report.left[0].note == "is a subclass of torch.nn.LSTM"


def test_projection_falls_back_with_a_word() -> None:
    stock, fast = pair("LSTM", INPUTS, UNITS, proj_size=3)
    x = torch.randn(TIMESTEPS, BATCH, INPUTS)
    with pytest.warns(fastseq.torch.StockFallbackWarning, match="proj_size is above 0"):
        outputs = fast(x)[0]
    assert torch.equal(outputs, stock(x)[0])


@pytest.mark.parametrize("name", NAMES)
def test_wrong_input_is_the_stock_error(name: str) -> None:
    stock, fast = pair(name, INPUTS, UNITS)
    state = torch.zeros(2, BATCH, UNITS)
    hx = (state, state) if name == "LSTM" else state
    for given in (
        (torch.randn(TIMESTEPS, BATCH, INPUTS + 1),),
        (torch.randn(INPUTS),),
        (torch.randn(TIMESTEPS, BATCH, INPUTS), hx),
    ):
        with pytest.raises((RuntimeError, ValueError)) as expected:
            stock(*given)
        with pytest.raises(expected.type):
            fast(*given)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", NAMES)
def test_autocast_gives_the_stock_dtypes(name: str, dtype: Any) -> None:
    stock, fast = pair(name, INPUTS, UNITS)
    x = torch.randn(TIMESTEPS, BATCH, INPUTS).to(dtype)
    packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor(LENGTHS["packed"]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for given in (x, packed) if dtype == torch.float32 else (x,):
            results = [module(given) for module in (stock, fast)]
            of_both = [[getattr(outputs, "data", outputs), *states_of(name, state)] for outputs, state in results]
            for one, other in zip(*of_both, strict=True):
                assert one.dtype == other.dtype
                assert (
                    float((one.detach().float() - other.detach().float()).abs().max()) < 0.05
                )  # bfloat16 keeps 8 bits
    outputs, _ = fast.bfloat16()(x.bfloat16())
    assert outputs.dtype == torch.bfloat16


@pytest.mark.parametrize("name", NAMES)
# PyTorch 2.4 warns of every operator that is not its own.
@pytest.mark.filterwarnings("ignore:At pre-dispatch tracing, we will assume that any custom op:UserWarning")
def test_compile_export_and_trace(name: str) -> None:
    _, fast = pair(name, INPUTS, UNITS, 2, bidirectional=True, batch_first=True)
    x = torch.randn(BATCH, TIMESTEPS, INPUTS)
    expected = fast(x)[0]

    class Model(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = fast

        def forward(self, x: Any) -> Any:
            return self.layer(x)[0]

    with torch._dynamo.config.patch(allow_rnn=True):  # Dynamo looks into no nn.LSTM otherwise
        compiled = torch.compile(Model(), fullgraph=True, backend="aot_eager")
        outputs = compiled(x)
        assert torch.equal(outputs, expected)
        gradients = [torch.autograd.grad((found**2).sum(), fast.weight_hh_l1) for found in (outputs, expected)]
        assert torch.equal(gradients[0][0], gradients[1][0])
    assert torch.equal(torch.compile(Model(), backend="aot_eager")(x), expected)  # with a break, as stock's
    batch = torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(Model(), (x,), dynamic_shapes=({0: batch},))
    assert any("fastseq" in str(node.target) for node in exported.graph.nodes)
    for given in (x, torch.randn(9, TIMESTEPS, INPUTS)):
        assert torch.equal(exported.module()(given), fast(given)[0])
    # Others need no fastseq to run a trace: it is of the stock module.
    traced = torch.jit.trace(Model(), (x,), check_trace=False)
    assert "fastseq::" not in str(traced.inlined_graph)
    assert "PythonOp" not in str(traced.inlined_graph)
    assert_equal([traced(x)], [expected])


def test_functional_calls_and_vmap_compute_as_stock() -> None:
    stock, fast = pair("GRU", INPUTS, UNITS)
    x = torch.randn(3, TIMESTEPS, BATCH, INPUTS)
    states = dict(fast.named_parameters())
    assert_equal([stock(x[0])[0]], [torch.func.functional_call(fast, states, (x[0],))[0]])
    gradient = torch.func.grad(lambda given: (fast(given)[0] ** 2).sum())(x[0])
    expected = torch.func.grad(lambda given: (stock(given)[0] ** 2).sum())(x[0])
    assert_equal([expected], [gradient])


def test_hooks_see_the_call() -> None:
    _, fast = pair("LSTM", INPUTS, UNITS)
    seen: list[str] = []
    fast.register_forward_pre_hook(lambda *_: seen.append("before"))
    fast.register_forward_hook(lambda *_: seen.append("after"))
    fast(torch.randn(TIMESTEPS, BATCH, INPUTS))
    assert seen == ["before", "after"]


def test_parametrizations() -> None:
    stock, fast = pair("LSTM", INPUTS, UNITS)
    for module in (stock, fast):
        nn.utils.parametrizations.weight_norm(module, "weight_hh_l0")
    x = torch.randn(TIMESTEPS, BATCH, INPUTS)
    assert_equal([stock(x)[0]], [fast(x)[0]])


@pytest.mark.parametrize("name", ["tagger", "encoder_decoder"])
def test_examples_learn(name: str) -> None:
    folder = Path(__file__).parent.parent / "examples" / "torch"
    assert runpy.run_path(str(folder / f"{name}.py"))["main"]() > 0.9


# --- processes -------------------------------------------------------------------------------------------------------


def test_workers_that_were_forked() -> None:
    done = run_python(
        """
import torch, fastseq.torch
module = fastseq.torch.LSTM(3, 4, batch_first=True)
module(torch.randn(20, 50, 3))
class Rows(torch.utils.data.Dataset):
    def __len__(self): return 4
    def __getitem__(self, index):
        with torch.no_grad(): return module(torch.ones(1, 5, 3) * index)[0][0]
for batch in torch.utils.data.DataLoader(Rows(), batch_size=2, num_workers=2, timeout=60): print(tuple(batch.shape))
"""
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["(2, 5, 4)", "(2, 5, 4)"]


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """DistributedDataParallel over gloo."""
    script = tmp_path / "train.py"
    script.write_text(
        """
import os, sys, torch, fastseq.torch
from torch import nn
rank, world = int(sys.argv[1]), int(sys.argv[2])
torch.distributed.init_process_group("gloo", init_method=f"file://{sys.argv[3]}", rank=rank, world_size=world)
torch.manual_seed(0)
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = fastseq.torch.LSTM(3, 4, batch_first=True)
        self.head = nn.Linear(4, 1)
    def forward(self, x): return self.head(self.lstm(x)[0][:, -1])
model = nn.parallel.DistributedDataParallel(Model())
optimizer = torch.optim.SGD(model.parameters(), 0.1)
x, y = torch.randn(8, 6, 3), torch.randn(8, 1)
for _ in range(5):
    optimizer.zero_grad()
    loss = ((model(x[rank::world]) - y[rank::world]) ** 2).mean()
    loss.backward()
    optimizer.step()
if rank == 0: print(*(f"{value:.7f}" for value in torch.cat([p.flatten() for p in model.parameters()]).tolist()))
"""
    )
    found = []
    for world in (1, 2):
        running = [
            subprocess.Popen(
                [sys.executable, str(script), str(rank), str(world), str(tmp_path / f"meet{world}")],
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                text=True,
            )
            for rank in range(world)
        ]
        outputs = [process.communicate(timeout=120)[0] for process in running]
        assert all(process.returncode == 0 for process in running)
        last = outputs[0].splitlines()[-1]  # Gloo of PyTorch 2.8 and 2.9 writes lines of its own
        found.append([float(value) for value in last.split()])
    assert found[0] == pytest.approx(found[1], abs=1e-6)
