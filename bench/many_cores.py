"""A simulation of the recurrent layers on many cores: what the plan of a call gives the slowest thread to do.

No time is measured. For every number of threads the core makes its plan: the grid of threads, shards, subteams, chunks
of steps. From the plan the script counts by arithmetic, for the thread that has most to do: multiply-adds, with the
rounding of rows to threads and to tiles; gates; bytes that other cores have just written; meetings. Constants turn
them into time. They are options, and their help says where they come from.

    python bench/many_cores.py
    python bench/many_cores.py --cell gru --shape 512,100,100,100 --threads 1 8 64 --parts
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from common import SHAPE_HELP, parse_shape, script_parser

from fastseq import runtime
from fastseq._libraries import core
from fastseq.bench.shapes import DEFAULT_SHAPES, GATES, TITLES, Shape
from fastseq.bench.tables import milliseconds
from fastseq.commands import positive, table

THREADS = (1, 2, 4, 8, 16, 32, 64)
LARGE = tuple(f"{batch},{sizes}" for sizes in ("100,100,100", "500,100,64") for batch in (128, 256, 512, 1024))
# Gradients of a unit in a row of dz (csrc/common/cell.h).
DZ = {"lstm": 4, "gru": 4, "simple_rnn": 1}
# The kernels' tiles with AVX-512 (csrc/kernels/simd_avx512.h), and the block of a sum (kernels.h).
LANES, TILE_ROWS, DEPTH_BLOCK = 16, 6, 128
FLOAT = 4
# The weights that fit a core's cache, and how many rows multiply by a weight in the time in which it is read from there
# or from further away (csrc/ops/rnn_plan.cc).
NEAR_WEIGHTS, NEAR, FAR = 256 * 1024, 5, 20

# name: default, help
CONSTANTS: dict[str, tuple[float, str]] = {
    "peak": (120, "multiply-adds that a core can do in a ns: an AVX-512 core of an AMD EPYC (docs/design.md)"),
    "tile-overhead": (0.9, "rows in whose time a tile begins and ends: so products reach 87 %% of the peak, as there"),
    "gates-forward": (39, "ns for the gates of 16 units of an LSTM, forward: 0.55 ms there"),
    "gates-backward": (29, "the same backward: 0.41 ms there"),
    "packing": (0.5, "ns to pack an element: 0.2 ms there"),
    "meeting": (150, "ns that a meeting takes for each of its threads: a cache line goes from core to core; assumed"),
    "waking": (50_000, "ns until all threads of a call are awake (csrc/runtime/settings.h)"),
    "others": (8, "bytes that a core reads in a ns from the caches of others; assumed"),
    "core-memory": (15, "bytes that a core moves from or to memory in a ns; assumed"),
    "memory": (200, "the same for all cores together: eight channels; assumed"),
}


def ceil(count: float, parts: float) -> int:
    return int(-(-count // parts))


@dataclass(frozen=True)
class Constants:
    peak: float
    tile_overhead: float
    gates_forward: float
    gates_backward: float
    packing: float
    meeting: float
    waking: float
    others: float
    core_memory: float
    memory: float

    def product(self, rows: int, depth: int, columns: int, *, packed: bool = True) -> float:
        """The time of a product (csrc/kernels/product.inl)."""
        rest = columns % LANES
        tail = packed and depth >= 64 and rest <= LANES // 2
        padded = columns if tail else ceil(columns, LANES) * LANES
        return depth * padded * (rows + self.tile_overhead * ceil(rows, TILE_ROWS)) / self.peak

    def product_with_weights(self, rows: int, depth: int, columns: int) -> float:
        """The same where the packed weights are read from a cache every time."""
        weights = depth * columns
        least = weights * (NEAR if weights <= NEAR_WEIGHTS else FAR) / self.peak
        return max(self.product(rows, depth, columns), least) if rows else 0.0

    def meetings(self, count: int, threads: int) -> float:
        return count * self.meeting * threads if threads > 1 else 0.0

    def from_others(self, elements: float) -> float:
        return elements * FLOAT / self.others

    def from_memory(self, elements: float, threads: int) -> float:
        return elements * FLOAT / min(self.memory, self.core_memory * threads)


@dataclass(frozen=True)
class Call:
    """A call of a cell and its two plans."""

    cell: str
    shape: Shape
    forward: dict[str, int]
    backward: dict[str, int]
    saved: int  # elements of the workspace in a step of a row

    @property
    def columns(self) -> int:
        return GATES[self.cell] * self.shape.units


def plan(cell: str, shape: Shape, threads: int) -> Call:
    batch, timesteps, inputs, units = shape
    columns = GATES[cell] * units
    arrays = {
        "x": (batch, timesteps, inputs),
        "kernel": (inputs, columns),
        "recurrent_kernel": (units, columns),
        "bias": (2, columns) if cell == "gru" else (columns,),
    }
    arguments: dict[str, Any] = {name: (sizes, "float32") for name, sizes in arrays.items()}
    runtime.set_num_threads(threads)
    workspace = core.output_shapes(f"{cell}_forward", arguments)["workspace"]
    assert workspace is not None
    forward = core.rnn_division(f"{cell}_forward", arguments)
    backward = core.rnn_division(f"{cell}_backward", {**arguments, "workspace": workspace})
    return Call(cell, shape, forward, backward, saved=workspace[0][2])


def forward_parts(call: Call, of: Constants) -> Counter[str]:
    """The slowest thread's time in forward, by parts, in ns (csrc/ops/rnn_forward.cc)."""
    batch, timesteps, inputs, units = call.shape
    gates = GATES[call.cell]
    groups, unit_groups = call.forward["row_groups"], call.forward["unit_groups"]
    threads = groups * unit_groups
    rows, width, chunk = ceil(batch, groups), ceil(units, unit_groups), call.forward["chunk"]
    columns, weights = gates * width, (inputs + units) * gates * width
    parts: Counter[str] = Counter()
    parts["packing"] = weights / groups * of.packing
    parts["projection"] = timesteps / chunk * of.product(rows * chunk, inputs, columns)
    parts["recurrent"] = timesteps * of.product_with_weights(rows, units, columns)
    parts["gates"] = timesteps * rows * ceil(width, LANES) * of.gates_forward * gates / GATES["lstm"]
    parts["others' caches"] = of.from_others(weights * (1 - 1 / groups) + timesteps * rows * (units - width))
    parts["meetings"] = of.meetings(2, threads) + of.meetings(timesteps, unit_groups)
    parts["waking"] = of.waking if threads > 1 else 0.0
    moved = batch * timesteps * (inputs + units + call.saved)
    return _no_faster_than_memory(parts, of.from_memory(moved, threads))


def backward_parts(call: Call, of: Constants) -> Counter[str]:
    """The same in backward (csrc/ops/rnn_backward.cc)."""
    batch, timesteps, inputs, units = call.shape
    gates = GATES[call.cell]
    groups, unit_groups = call.backward["row_groups"], call.backward["unit_groups"]
    shards, subteams, chunk = call.backward["shards"], call.backward["subteams"], call.backward["chunk"]
    threads = groups * unit_groups
    members = threads // subteams
    in_shard, width = ceil(batch, shards), ceil(units, unit_groups)
    rows, rounds, chunks = ceil(in_shard, groups // subteams), ceil(shards, subteams), ceil(timesteps, chunk)
    weights = (inputs + units) * call.columns
    parts: Counter[str] = Counter()
    parts["packing"] = (inputs * call.columns / threads + width * call.columns / groups) * of.packing
    parts["recurrent"] = rounds * timesteps * of.product_with_weights(rows, call.columns, width)
    parts["dx"] = rounds * timesteps / chunk * of.product(ceil(rows * chunk, unit_groups), call.columns, inputs)
    parts["gates"] = rounds * timesteps * rows * ceil(width, LANES) * of.gates_backward * gates / GATES["lstm"]

    # The rows of the weight gradients, with that of the bias.
    ours, cells = ceil(inputs + units + 1, members), rounds * in_shard * timesteps
    block = min(in_shard * chunk, DEPTH_BLOCK)
    sums = of.product(ours, block, call.columns, packed=False)
    if ours * call.columns > NEAR_WEIGHTS:  # they are read and written for every block
        sums = max(sums, 2 * of.from_others(ours * call.columns))
    parts["weights"] = cells / block * sums + cells * ours * of.packing
    dz_of_others = (1 - 1 / members) * cells * DZ[call.cell] * units
    parts["others' caches"] = of.from_others((inputs / groups * (groups - 1) + width) * call.columns + dz_of_others)
    parts["meetings"] = of.meetings(2, threads) + rounds * (
        of.meetings(2 * chunks, members) + of.meetings(timesteps, unit_groups)
    )
    parts["waking"] = of.waking if threads > 1 else 0.0
    if shards > 1:
        # All threads add what others have summed: all shards but the first.
        parts["adding shards"] = of.from_others((shards - 1) * weights / threads)
        parts["meetings"] += of.meetings(1, threads)
    moved = batch * timesteps * (2 * inputs + units + call.saved)
    return _no_faster_than_memory(parts, of.from_memory(moved, threads))


def _no_faster_than_memory(parts: Counter[str], least: float) -> Counter[str]:
    """Adds the time that a thread waits for memory in spite of prefetching."""
    parts["memory"] = max(0.0, least - parts.total())
    return parts


def simulation(cell: str, shape: Shape, threads: list[int], of: Constants, *, by_parts: bool) -> str:
    rows = []
    alone = 0.0
    for count in sorted({1, *threads}):
        call = plan(cell, shape, count)
        forward, backward = forward_parts(call, of), backward_parts(call, of)
        both = forward + backward
        alone = alone or both.total()
        if count not in threads:
            continue
        division = call.backward
        speedup = alone / both.total()
        row = [
            str(count),
            f"{division['row_groups']} x {division['unit_groups']}",
            str(division["shards"]),
            str(division["subteams"]),
            milliseconds(forward.total() / 1e9),
            milliseconds(backward.total() / 1e9),
            f"{speedup:.1f}",
            f"{speedup / count:.0%}",
        ]
        if by_parts:
            lost = sorted(both.items(), key=lambda part: -part[1])
            row.append(", ".join(f"{name} {milliseconds(ns / 1e9)}" for name, ns in lost if ns > 0.02 * both.total()))
        rows.append(row)
    columns = ["threads", "grid", "shards", "subteams", "forward ms", "backward ms", "speed-up", "efficiency"]
    return f"{TITLES[cell]} {shape}\n{table([*columns, 'parts, ms'] if by_parts else columns, rows)}"


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--cell", nargs="+", choices=GATES, default=list(GATES))
    parser.add_argument("--shape", nargs="+", metavar="SHAPE", help=f"{SHAPE_HELP}; default: those and large batches")
    parser.add_argument("--threads", nargs="+", type=positive, default=list(THREADS))
    parser.add_argument("--parts", action="store_true", help="where the slowest thread's time goes")
    constants = parser.add_argument_group("constants")
    for name, (default, text) in CONSTANTS.items():
        constants.add_argument(
            f"--{name}", type=float, default=default, metavar="X", help=f"{text}; default: {default}"
        )
    options = parser.parse_args()
    of = Constants(**{name: getattr(options, name) for name in Constants.__annotations__})
    core.allow_oversubscription(True)  # plans for threads that this machine does not have; none of them runs
    print("A simulation: no time below has been measured.")
    for cell in options.cell:
        for name in options.shape or (*DEFAULT_SHAPES[cell], *LARGE):
            try:
                shape = parse_shape(name)
            except ValueError as wrong:
                parser.error(str(wrong))
            print(f"\n{simulation(cell, shape, options.threads, of, by_parts=options.parts)}")


if __name__ == "__main__":
    main()
