"""fastseq's recurrent layers on a GPU beside torch.nn's, which are cuDNN's.

Both implementations have the same weights and input, in PyTorch tensors. Their outputs and gradients are compared
before anything is timed. The GPU is warmed up, then the implementations take turns, and CUDA events on the stream time
their calls. The figures are medians and interquartile ranges. Needs Python, NumPy, PyTorch and fastseq with its CUDA
kernels, no Keras.

    python bench/bench_cuda.py                                         # the models' shapes
    python bench/bench_cuda.py --grid --cell lstm --out cuda.json      # batch 1..1024 x units 32..1024
    python bench/bench_cuda.py --dtype float16 --precision tf32 --shape 32,50,64,128
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fastseq import cuda, functional, runtime

# Batch, timesteps, inputs, units.
MODELS = ((20, 100, 100, 100), (40, 124, 64, 55), (40, 500, 500, 64))
GRID = tuple(
    (batch, 100, units, units) for batch in (1, 4, 16, 64, 256, 1024) for units in (32, 64, 128, 256, 512, 1024)
)
PASSES = ("forward", "training")
Shape = tuple[int, int, int, int]
Call = Callable[[], Any]
# Largest difference from torch.nn relative to the largest value: both err. TF32 and half types keep 11 or 8 bits.
TOLERANCES = {"float32": 1e-4, "tf32": 1e-2, "float16": 2e-2, "bfloat16": 1e-1}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cell", nargs="+", choices=("lstm", "gru"), default=["lstm", "gru"])
    parser.add_argument("--shape", nargs="+", type=_shape, metavar="BATCH,TIMESTEPS,INPUTS,UNITS")
    parser.add_argument("--grid", action="store_true", help="batch 1 to 1024 by units 32 to 1024, 100 timesteps")
    parser.add_argument("--pass", dest="passes", nargs="+", choices=PASSES, default=list(PASSES))
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32")
    parser.add_argument("--precision", choices=("float32", "tf32"), default="float32", help="of both implementations")
    parser.add_argument("--rounds", type=int, default=30, metavar="N", help="default: %(default)s")
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    options = parser.parse_args()
    reason = cuda.unavailable_because()
    if reason:
        print(f"bench_cuda: error: {reason}", file=sys.stderr)
        return 2
    import torch

    tf32 = options.precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    cuda.set_precision(options.precision)
    machine = {
        "device": cuda.device_info()._asdict(),
        "fastseq": runtime.build_info(),
        "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version(),
        "dtype": options.dtype,
        "precision": options.precision,
    }
    print(json.dumps(machine, indent=2))
    print(f"\n{'cell':5}{'shape':>22} {'pass':9}{'fastseq ms':>18}{'torch.nn ms':>18}{'speedup':>9}{'max diff':>10}")
    records = []
    failed = 0
    for cell in options.cell:
        for shape in options.shape or (GRID if options.grid else MODELS):
            for name in options.passes:
                try:
                    record = _measure(torch, cell, shape, name, options)
                except (MemoryError, RuntimeError) as error:  # no memory, or a type that one implementation lacks
                    torch.cuda.empty_cache()
                    print(f"{cell:5}{','.join(map(str, shape)):>22} {name:9}  not measured: {error}")
                    continue
                failed += not record["equal"]
                records.append(record)
                print(_row(record), flush=True)
                if options.out:
                    options.out.write_text(json.dumps({"machine": machine, "results": records}, indent=2) + "\n")
    return 1 if failed else 0


def _shape(text: str) -> Shape:
    sizes = tuple(int(part) for part in text.split(","))
    if len(sizes) != 4 or min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"must be four positive numbers, got {text}")
    return sizes


def _measure(torch: Any, cell: str, shape: Shape, name: str, options: argparse.Namespace) -> dict[str, Any]:
    implementations, as_ours = _implementations(torch, cell, shape, name == "training", getattr(torch, options.dtype))
    differences = [
        float((ours.double() - theirs.double()).abs().max() / theirs.double().abs().max().clamp(min=1))
        for ours, theirs in zip(implementations["fastseq"](), as_ours(*implementations["torch.nn"]()), strict=True)
    ]
    difference = float(np.max(differences))  # NaN if any is
    tolerance = TOLERANCES[options.precision if options.dtype == "float32" else options.dtype]
    times = _times(torch, implementations, options.rounds)
    medians = {implementation: statistics.median(values) for implementation, values in times.items()}
    return {
        "cell": cell,
        "shape": shape,
        "pass": name,
        "ms": medians,
        "quartiles": {
            implementation: statistics.quantiles(values, n=4)[::2] for implementation, values in times.items()
        },
        "speedup": medians["torch.nn"] / medians["fastseq"],
        "difference": difference,
        "equal": difference <= tolerance,
    }


def _implementations(
    torch: Any, cell: str, shape: Shape, training: bool, dtype: Any
) -> tuple[dict[str, Call], Callable[..., Any]]:
    """The function that each implementation calls, and the conversion of torch.nn's results to fastseq's layout.

    Results are the outputs and, in training, the gradients by x, kernel, recurrent kernel and bias.
    """
    batch, timesteps, inputs, units = shape
    torch.manual_seed(0)
    layer = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell](inputs, units, batch_first=True)
    layer = layer.to("cuda", dtype).train(training)
    x = torch.randn(batch, timesteps, inputs, device="cuda", dtype=dtype)
    doutputs = torch.randn(batch, timesteps, units, device="cuda", dtype=dtype)
    theirs = [layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0]

    # torch.nn has the gates of a GRU in the order r, z, n, where ours are z, r, h; an LSTM's are alike.
    def reordered(array: Any) -> Any:
        if cell == "lstm":
            return array
        r, z, h = array.chunk(3, dim=-1)
        return torch.cat([z, r, h], dim=-1)

    def weights_of(kernel: Any, recurrent_kernel: Any, bias: Any, recurrent_bias: Any) -> tuple[Any, Any, Any]:
        biases = [reordered(bias), reordered(recurrent_bias)]
        return (
            reordered(kernel.T).contiguous(),
            reordered(recurrent_kernel.T).contiguous(),
            biases[0] + biases[1] if cell == "lstm" else torch.stack(biases),
        )

    ours = weights_of(*(weight.detach() for weight in theirs))
    forward = getattr(functional, f"{cell}_forward")
    backward = getattr(functional, f"{cell}_backward")

    def fastseq() -> Any:
        result = forward(x, *ours, save_workspace=training)
        if not training:
            return (result.outputs,)
        gradients = backward(result.workspace, x, *ours, doutputs=doutputs)
        return result.outputs, gradients.dx, gradients.dkernel, gradients.drecurrent_kernel, gradients.dbias

    def torch_nn() -> Any:
        if not training:
            with torch.no_grad():
                return (layer(x)[0],)
        tracked = x.detach().requires_grad_()
        outputs = layer(tracked)[0]
        return outputs, *torch.autograd.grad(outputs, [tracked, *theirs], doutputs)

    def as_ours(outputs: Any, dx: Any = None, *dweights: Any) -> Any:
        if not training:
            return (outputs,)
        dkernel, drecurrent_kernel, dbias = weights_of(*dweights)
        # The LSTM's one bias has the gradient of either of torch.nn's two.
        return outputs, dx, dkernel, drecurrent_kernel, dbias / 2 if cell == "lstm" else dbias

    return {"fastseq": fastseq, "torch.nn": torch_nn}, as_ours


def _times(torch: Any, implementations: dict[str, Call], rounds: int) -> dict[str, list[float]]:
    """Milliseconds on the stream for one call of each implementation.

    In every round each implementation is called as often as takes a millisecond, one call after the other.
    """
    times: dict[str, list[float]] = {name: [] for name in implementations}
    for call in implementations.values():
        for _ in range(3):
            call()
    repeats = {name: max(1, round(1 / max(_timed(torch, call, 3), 1e-3))) for name, call in implementations.items()}
    for _ in range(rounds):
        for name, call in implementations.items():
            times[name].append(_timed(torch, call, repeats[name]))
    return times


def _timed(torch: Any, call: Call, repeats: int) -> float:
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    began.record()
    for _ in range(repeats):
        call()
    ended.record()
    ended.synchronize()
    return float(began.elapsed_time(ended)) / repeats


def _row(record: dict[str, Any]) -> str:
    def time(implementation: str) -> str:
        low, high = record["quartiles"][implementation]
        return f"{record['ms'][implementation]:.3f} ±{(high - low) / 2:.3f}"

    shape = ",".join(map(str, record["shape"]))
    note = "" if record["equal"] else "  DIFFERENT"
    return (
        f"{record['cell']:5}{shape:>22} {record['pass']:9}{time('fastseq'):>18}{time('torch.nn'):>18}"
        f"{record['speedup']:9.2f}{record['difference']:10.1e}{note}"
    )


if __name__ == "__main__":
    sys.exit(main())
