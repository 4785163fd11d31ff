"""fastseq.torch.functional: results and gradients are those of fastseq.functional, eager and in graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from pool_cases import any_numbers

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from torch.utils.checkpoint import checkpoint  # noqa: E402

from fastseq import functional as arrays  # noqa: E402
from fastseq import runtime  # noqa: E402
from fastseq._libraries import core  # noqa: E402
from fastseq.torch import functional  # noqa: E402

GATES = {"lstm": 4, "gru": 3, "simple_rnn": 1}


def numbers(*shape: int, dtype: Any = torch.float32, grad: bool = True) -> Any:
    return torch.randn(*shape, dtype=dtype).requires_grad_(grad)


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    torch.manual_seed(0)
    yield
    torch._dynamo.reset()


def rnn_case(
    cell: str, dtype: Any = torch.float32, batch: int = 3, timesteps: int = 5
) -> tuple[list[Any], dict[str, Any]]:
    """Tensors x, kernel, recurrent kernel and bias, and those that go by keywords."""
    units, inputs, gates = 4, 6, GATES[cell]
    bias = (2, gates * units) if cell == "gru" else (gates * units,)
    positional = [
        numbers(batch, timesteps, inputs, dtype=dtype),
        numbers(inputs, gates * units, dtype=dtype),
        numbers(units, gates * units, dtype=dtype),
        numbers(*bias, dtype=dtype),
    ]
    named = {"h0": numbers(batch, units, dtype=dtype)}
    if cell == "lstm":
        named["c0"] = numbers(batch, units, dtype=dtype)
    return positional, named


def plain(value: Any) -> Any:
    return value.detach().numpy() if isinstance(value, torch.Tensor) else value


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mask": torch.tensor([[True, False, True, True, False]] * 3), "zero_output_for_mask": True},
        {"go_backwards": True, "activation": "relu"},
    ],
    ids=["plain", "masked", "backwards"],
)
@pytest.mark.parametrize("cell", GATES)
def test_recurrent_bits_are_those_of_functional(cell: str, options: dict[str, Any], dtype: Any) -> None:
    positional, named = rnn_case(cell, dtype)
    results = getattr(functional, cell)(*positional, **named, **options)
    forward, backward = (getattr(arrays, f"{cell}_{way}") for way in ("forward", "backward"))
    plain_options = {key: plain(value) for key, value in (named | options).items()}
    expected = forward(*map(plain, positional), **plain_options)
    for field in results._fields:
        assert np.array_equal(plain(getattr(results, field)), getattr(expected, field)), field

    directions = {f"d{field}": torch.randn_like(getattr(results, field)) for field in results._fields}
    wanted = [*positional, *named.values()]
    gradients = torch.autograd.grad(list(results), wanted, list(directions.values()))
    expected_gradients = backward(
        expected.workspace,
        *map(plain, positional),
        **{key: plain(value) for key, value in directions.items()},
        **plain_options,
    )
    names = ["dx", "dkernel", "drecurrent_kernel", "dbias", *(f"d{name}" for name in named)]
    for name, gradient in zip(names, gradients, strict=True):
        assert np.array_equal(plain(gradient), getattr(expected_gradients, name)), name


def conv(x: Any, kernel: Any, bias: Any) -> Any:
    return functional.conv1d(x, kernel, bias, activation="tanh", strides=2, padding="same", dilation_rate=2)


def pooled(x: Any, kernel: Any, bias: Any) -> Any:
    return functional.conv1d_max_pool(x, kernel, bias, 3, 2, "same", activation="sigmoid")


OTHERS: dict[str, tuple[Callable[..., Any], Callable[[Any], list[Any]]]] = {
    "conv1d": (conv, lambda dtype: _conv_case(dtype)),
    "conv1d_max_pool": (pooled, lambda dtype: _conv_case(dtype)),
    "max_pool": (lambda x: functional.max_pool(x, 3, 2), lambda dtype: [numbers(2, 9, 4, dtype=dtype)]),
    "average_pool": (
        lambda x: functional.average_pool(x, 3, 2, "same"),
        lambda dtype: [numbers(2, 9, 4, dtype=dtype)],
    ),
    "embedding": (
        lambda table: functional.embedding(torch.tensor([[1, 2, 1], [0, 5, 1]]), table),
        lambda dtype: [numbers(6, 3, dtype=dtype)],
    ),
}


def _conv_case(dtype: Any) -> list[Any]:
    return [numbers(2, 11, 3, dtype=dtype), numbers(3, 3, 5, dtype=dtype), numbers(5, dtype=dtype)]


def every_case(dtype: Any) -> dict[str, tuple[Callable[..., Any], list[Any]]]:
    """Functions of tensors and their arguments, one for each operation."""
    cases: dict[str, tuple[Callable[..., Any], list[Any]]] = {}
    for cell in GATES:
        positional, named = rnn_case(cell, dtype)
        count = len(positional)

        def run(*given: Any, cell: str = cell, count: int = count, names: tuple[str, ...] = tuple(named)) -> Any:
            keywords = dict(zip(names, given[count:], strict=True))
            results = getattr(functional, cell)(*given[:count], **keywords)
            return torch.cat([result.flatten() for result in results])

        cases[cell] = run, [*positional, *named.values()]
    return cases | {name: (run, make(dtype)) for name, (run, make) in OTHERS.items()}


OPERATIONS = [*GATES, *OTHERS]


@pytest.mark.parametrize("name", OPERATIONS)
def test_gradients_are_finite_differences(name: str) -> None:
    run, given = every_case(torch.float64)[name]
    assert torch.autograd.gradcheck(run, given)


@pytest.mark.parametrize("window", [(3, 2), (2, 2), (4, 1)], ids=str)
def test_maxima_of_any_numbers_are_pytorch_own(window: tuple[int, int]) -> None:
    x = torch.tensor(any_numbers((3, 17, 7)), requires_grad=True)
    expected = torch.nn.functional.max_pool1d(x.transpose(1, 2), *window).transpose(1, 2)
    assert torch.isnan(expected).any()
    assert torch.isneginf(expected).any()
    doutputs = torch.randint(-3, 4, expected.shape).float()
    [expected_dx] = torch.autograd.grad(expected, x, doutputs)

    def check(outputs: Any, channels: slice = slice(None)) -> None:
        np.testing.assert_array_equal(plain(outputs), plain(expected[..., channels]))
        [dx] = torch.autograd.grad(outputs, x, doutputs[..., channels])
        np.testing.assert_array_equal(plain(dx[..., channels]), plain(expected_dx[..., channels]))

    check(functional.max_pool(x, *window))
    check(functional.conv1d_max_pool(x[..., :1], torch.ones(1, 1, 1), None, *window), slice(1))


@pytest.mark.parametrize("name", OPERATIONS)
def test_compiled_whole_with_the_same_bits(name: str) -> None:
    assert_same_compiled(*every_case(torch.float32)[name])


@pytest.mark.parametrize("pool_size", [256, 257, 65537])  # positions are uint8, uint16, int32
def test_wide_windows_compiled(pool_size: int) -> None:
    assert_same_compiled(lambda x: functional.max_pool(x, pool_size, 100, "same"), [numbers(2, 700, 3)])


def assert_same_compiled(run: Callable[..., Any], given: list[Any]) -> None:
    """That a function of tensors and its gradients have the same bits when it is compiled without a graph break."""

    def loss(*tensors: Any) -> Any:
        return (run(*tensors) ** 2).sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    results = [
        (value.detach(), *torch.autograd.grad(value, given))
        for value in (function(*given) for function in (loss, compiled))
    ]
    for eager, traced in zip(*results, strict=True):
        assert torch.equal(eager, traced)


@pytest.mark.parametrize("cell", GATES)
def test_compiled_once_for_any_batch(cell: str) -> None:
    compilations = 0

    def count(graph: Any, _: Any) -> Any:
        nonlocal compilations
        compilations += 1
        return graph.forward

    run = torch.compile(
        lambda x, kernel, recurrent: getattr(functional, cell)(x, kernel, recurrent).outputs,
        fullgraph=True,
        dynamic=True,
        backend=count,
    )
    positional, _ = rnn_case(cell)
    x, kernel, recurrent, _ = (tensor.detach() for tensor in positional)
    for batch, timesteps in ((3, 5), (4, 7), (9, 3)):
        x = torch.randn(batch, timesteps, x.shape[2])
        expected = getattr(functional, cell)(x, kernel, recurrent).outputs
        assert torch.equal(run(x, kernel, recurrent), expected)
    assert compilations == 1


@pytest.mark.parametrize("name", OPERATIONS)
def test_operators_keep_the_rules_of_torch_library(name: str) -> None:
    run, given = every_case(torch.float32)[name]
    recorded: list[tuple[Any, tuple[Any, ...]]] = []

    class Recorder(torch.fx.Interpreter):  # type: ignore[misc]
        def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
            if isinstance(target, torch._ops.OpOverloadPacket) and "fastseq" in str(target):
                recorded.append((target.default, args))
            return super().call_function(target, args, kwargs)

    def record(graph: Any, _: Any) -> Any:
        return Recorder(graph).run

    torch.compile(run, backend=record, fullgraph=True)(*given)
    assert recorded
    for operator, args in recorded:
        detached = tuple(
            arg.detach().requires_grad_(arg.requires_grad) if torch.is_tensor(arg) else arg for arg in args
        )
        torch.library.opcheck(
            operator, detached, test_utils=("test_schema", "test_faketensor", "test_autograd_registration")
        )


def test_nothing_is_saved_where_no_gradient_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []
    compute = core.compute
    monkeypatch.setattr(core, "compute", lambda name, arguments: given.append(arguments) or compute(name, arguments))
    positional, _ = rnn_case("lstm")
    functional.lstm(*positional)
    with torch.no_grad():
        functional.lstm(*positional)
    with torch.inference_mode():
        functional.lstm(*positional)
    functional.lstm(*(tensor.detach() for tensor in positional))
    assert [arguments["save_workspace"] for arguments in given] == [True, False, False, False]


def test_gradients_only_for_what_requires_them(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, dict[str, Any]] = {}
    compute = core.compute
    monkeypatch.setattr(
        core, "compute", lambda name, arguments: given.update({name: arguments}) or compute(name, arguments)
    )
    for frozen, dx, weights in (((0,), False, True), ((1, 2, 3), True, False)):
        positional, _ = rnn_case("lstm")
        for index in frozen:
            positional[index].requires_grad_(False)
        functional.lstm(*positional).h_n.sum().backward()
        assert (given["lstm_backward"]["with_dx"], given["lstm_backward"]["with_weights"]) == (dx, weights)
        assert [tensor.grad is None for tensor in positional] == [index in frozen for index in range(4)]


@pytest.mark.parametrize("name", OPERATIONS)
def test_second_order_gradients_are_refused(name: str) -> None:
    run, given = every_case(torch.float32)[name]
    gradients = torch.autograd.grad((run(*given) ** 2).sum(), given, create_graph=True)
    for gradient in gradients:
        with pytest.raises(RuntimeError, match="second-order gradients"):
            torch.autograd.grad(gradient.sum(), given, retain_graph=True)
    if name in ("max_pool", "average_pool", "embedding"):  # linear: the gradient of what follows is zero
        return
    # And where only the arguments require one.
    (gradient, *_) = torch.autograd.grad(run(*given).sum(), given, create_graph=True)
    with pytest.raises(RuntimeError, match="second-order gradients"):
        (gradient.sum() + given[0].sum()).backward()


def test_tensors_that_are_not_contiguous() -> None:
    positional, _ = rnn_case("lstm")
    x = positional[0].detach()
    turned = x.transpose(0, 1).contiguous().transpose(0, 1)
    assert not turned.is_contiguous()
    rest = [tensor.detach() for tensor in positional[1:]]
    assert torch.equal(functional.lstm(turned, *rest).h_n, functional.lstm(x, *rest).h_n)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_computed_in_float32(dtype: Any) -> None:
    positional, _ = rnn_case("lstm")
    halves = [tensor.detach().to(dtype).requires_grad_() for tensor in positional]
    results = functional.lstm(*halves)
    expected = functional.lstm(*(tensor.detach().float() for tensor in halves))
    assert results.outputs.dtype == dtype
    assert torch.equal(results.outputs, expected.outputs.to(dtype))
    results.h_n.sum().backward()
    assert all(tensor.grad.dtype == dtype for tensor in halves)


def test_errors_name_the_argument() -> None:
    positional, _ = rnn_case("lstm")
    x, kernel, recurrent, bias = positional
    with pytest.raises(ValueError, match=r"kernel must have shape \(6, 16\), got \(5, 16\)"):
        functional.lstm(x, kernel[:5], recurrent, bias)
    with pytest.raises(TypeError, match="kernel must have dtype float32, got float64"):
        functional.lstm(x, kernel.double(), recurrent, bias)
    with pytest.raises(TypeError, match=r"kernel must be a torch.Tensor, got numpy.ndarray"):
        functional.lstm(x, kernel.detach().numpy(), recurrent, bias)
    with pytest.raises(TypeError, match=r"x must be a torch.Tensor, got list"):
        functional.lstm([1.0], kernel, recurrent, bias)
    with pytest.raises(ValueError, match="kernel must be on cpu as x is, got a tensor on meta"):
        functional.lstm(x, kernel.detach().to("meta"), recurrent, bias)
    with pytest.raises(ValueError, match="activation must be one of"):
        functional.lstm(x, kernel, recurrent, bias, activation="softplus")


# PyTorch 2.4 calls a function of its own that it has deprecated.
@pytest.mark.filterwarnings("ignore:.torch.cpu.amp.autocast.args....:FutureWarning")
def test_checkpointing() -> None:
    positional, _ = rnn_case("lstm")
    results = []
    for through in (lambda run: run(), lambda run: checkpoint(run, use_reentrant=False)):
        value = through(lambda: functional.lstm(*positional).outputs)
        results.append(torch.autograd.grad((value**2).sum(), positional))
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("cell", GATES)
def test_same_bits_for_any_number_of_threads(cell: str) -> None:
    positional, named = rnn_case(cell, batch=40, timesteps=30)
    found = []
    for threads in (1, 2, 3, 8):
        runtime.set_num_threads(threads)
        results = getattr(functional, cell)(*positional, **named)
        found.append(torch.autograd.grad(results.outputs.sum(), positional))
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))
