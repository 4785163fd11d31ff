"""The diagrams of docs/kernels.md."""

from __future__ import annotations

from diagram import BLUE, GREEN, GREY, ORANGE, Diagram

# What there is to see, for those who do not see it.
_TITLES = {
    "call": (
        "A call goes from the Keras layer to the TensorFlow backend, the op library, the op driver and the tile "
        "kernel. Calls of fastseq.functional come in at the op driver, by way of the Python bindings."
    ),
    "lstm_step": (
        "Left: stock Keras runs sixteen operations for every timestep, each of which reads and writes arrays in "
        "memory. Right: fastseq projects the inputs of many timesteps in one product, and a step is one product and "
        "one pass over the gates."
    ),
    "tile": (
        "A tile of the product C = init + A B on AVX-512: 6 rows of A, given by pointers, meet a packed panel of B, "
        "64 columns wide, and the 6 by 4 vectors of sums stay in registers."
    ),
    "threads": (
        "Left: the rows of a batch are dealt to two threads, which run the whole time loop without waiting for each "
        "other. Right: with few rows and many weights the threads divide the units, and meet after every step."
    ),
    "masks": (
        "Left: four rows of ten timesteps with padding before, behind and inside. Right: each row as the shorter "
        "sequence of its own steps, longest first, so that the rows that still have a step are the first ones."
    ),
    "convolution": (
        "A sequence of timesteps with four channels each, side by side in memory. The patch of a width of three is "
        "twelve numbers in a row, wherever it begins, so that no patch is copied."
    ),
    "dropout": (
        "Forward: the seed and the number of the element go through ten rounds of Philox, the random bits are compared "
        "with the rate, the element is kept or dropped, and one bit is saved. Backward: the bit is all that is read."
    ),
}


def call() -> Diagram:
    """The way of a call from the layer to the tile kernel."""
    diagram = Diagram(_TITLES["call"], 240)
    rooms = [
        (["layer", "FastLSTM", "weights, options"], BLUE, "fastseq/keras/"),
        (["backend", "tensors,", "gradients"], BLUE, "fastseq/keras/backend/"),
        (["op library", "TensorFlow's C API,", "outputs allocated"], ORANGE, "csrc/tensorflow/"),
        (["op driver", "checks, plan,", "threads, time loop"], GREEN, "csrc/ops/"),
        (["tile kernel", "one thread, one", "instruction set"], GREEN, "csrc/kernels/"),
    ]
    for index, (lines, colour, folder) in enumerate(rooms):
        x = 16 + index * 148
        diagram.box(x, 34, 134, 74, lines, colour)
        diagram.text(x + 67, 126, folder, anchor="middle", size=11)
        if index:
            diagram.arrow((x - 14, 71), (x - 1, 71))
    diagram.box(16, 150, 152, 60, ["fastseq.functional", "NumPy arrays"], BLUE)
    diagram.box(312, 150, 134, 60, ["bindings", "pybind11,", "fastseq._core"], ORANGE)
    diagram.text(379, 227, "csrc/bindings/", anchor="middle", size=11)
    diagram.arrow((168, 180), (311, 180))
    diagram.arrow((446, 180), (484, 180), (484, 109))
    diagram.text(16, 22, "Python", bold=True)
    diagram.text(312, 22, "C++", bold=True)
    diagram.rule(305, 12, 305, 230, dashed=True)
    return diagram


def lstm_step() -> Diagram:
    """A step of an LSTM op by op, and fused."""
    diagram = Diagram(_TITLES["lstm_step"], 408, "Stock Keras: 16 operations a step")
    operations = [
        ("read x[t]", GREY),
        ("x[t] · kernel", ORANGE),
        ("h · recurrent_kernel", ORANGE),
        ("add", GREY),
        ("add bias", GREY),
        ("split in four", GREY),
        ("sigmoid → i", BLUE),
        ("sigmoid → f", BLUE),
        ("f × c", GREY),
        ("tanh", BLUE),
        ("i × …", GREY),
        ("add → c", GREY),
        ("sigmoid → o", BLUE),
        ("tanh(c)", BLUE),
        ("o × … → h", GREY),
        ("write h[t]", GREY),
    ]
    for index, (label, colour) in enumerate(operations):
        column, row = divmod(index, 8)
        diagram.box(20 + column * 158, 44 + row * 38, 146, 28, [label], colour)
        if row:
            diagram.arrow((93 + column * 158, 34 + row * 38), (93 + column * 158, 43 + row * 38))
    diagram.lines(
        20, 372, ["Every box is a call of the framework,", "and every arrow an array, written and read again."], size=12
    )
    diagram.rule(360, 16, 360, 392, dashed=True)

    diagram.text(384, 28, "fastseq: one product and one pass a step", size=15, bold=True)
    diagram.text(384, 62, "once for a chunk of steps:", size=12)
    diagram.box(384, 72, 352, 40, ["z = x[t … t+n] · kernel + bias, all gates"], ORANGE)
    diagram.arrow((560, 112), (560, 135))
    diagram.rectangle(376, 136, 368, 190, "ground", rim=GREY)
    diagram.text(388, 154, "every step of the chunk, z and h in the cache:", size=12)
    diagram.box(392, 164, 336, 40, ["h · recurrent_kernel, all gates"], ORANGE)
    diagram.arrow((560, 204), (560, 222))
    diagram.box(
        392,
        223,
        336,
        92,
        ["gates, 16 units at once, in registers", "i f g o = z + product", "c = s(f) c + s(i) a(g)", "h = s(o) a(c)"],
        BLUE,
    )
    diagram.arrow((560, 315), (560, 338))
    diagram.box(384, 339, 352, 34, ["outputs, and 6 numbers a unit for backward"], GREY)
    diagram.text(384, 392, "orange: products, blue: activations, grey: the rest", size=11)
    return diagram


def tile() -> Diagram:
    """What the product kernel holds where."""
    diagram = Diagram(_TITLES["tile"], 346, "C = init + A · B, one tile on AVX-512")
    size = 26
    left, top = 320, 176
    diagram.text(150, 160, "6 rows of A, by pointers", size=12, anchor="middle")
    for row in range(6):
        y = top + row * size
        shift = (row * 37) % 50
        diagram.rect(40 + shift, y + 3, 190, size - 8, ORANGE)
        diagram.arrow((236 + shift, y + 12), (left - 8, y + 12))
    for row in range(6):
        for column in range(4):
            diagram.rect(left + column * 64, top + row * size, 64, size, GREEN)
    for line in range(4):
        for column in range(4):
            diagram.rect(left + column * 64, 58 + line * 22, 64, 22, BLUE)
    for column in range(4):
        diagram.text(left + column * 64 + 32, 73, "16 floats", size=11, anchor="middle")
    diagram.text(left + 128, 50, "a panel of B: 64 columns, row after row in memory", size=12, anchor="middle")
    diagram.lines(
        left + 268, 80, ["up to 128 rows: 32 KiB,", "which stay in the first-level", "cache for all rows of A"], size=12
    )
    for column in range(4):
        diagram.arrow((left + column * 64 + 32, 147), (left + column * 64 + 32, 174))
    diagram.lines(
        left + 268,
        210,
        ["each number of A, times", "4 vectors of B, is 4 fused", "multiply-adds of 16 floats"],
        size=12,
    )
    diagram.lines(left + 268, 278, ["green: 6 × 4 vectors of", "sums, all in registers"], size=12)
    return diagram


def threads() -> Diagram:
    """The grids of threads."""
    diagram = Diagram(_TITLES["threads"], 250, "Many rows: rows are divided")
    for row in range(6):
        colour = (BLUE, ORANGE)[row % 2]
        y = 48 + row * 26
        for step in range(7):
            diagram.rect(96 + step * 32, y, 30, 20, colour)
        diagram.text(88, y + 15, f"row {row}", anchor="end", size=12)
    diagram.text(96, 222, "timesteps → (no thread waits for another)", size=12)
    diagram.rule(368, 16, 368, 234, dashed=True)
    diagram.text(392, 28, "Many weights, few rows: units are divided", size=14, bold=True)
    for half, colour in enumerate((BLUE, ORANGE)):
        y = 58 + half * 66
        diagram.text(468, y + 25, "units of", anchor="end", size=12)
        diagram.text(468, y + 40, f"thread {half}", anchor="end", size=12)
        for step in range(6):
            diagram.rect(476 + step * 44, y, 30, 56, colour)
    for step in range(6):
        diagram.rule(513 + step * 44, 52, 513 + step * 44, 186)
    diagram.lines(
        476, 206, ["at every line the threads meet:", "each needs all units of h for the next step"], size=12, step=16
    )
    diagram.rect(20, 230, 12, 12, BLUE)
    diagram.text(38, 241, "thread 0", size=11)
    diagram.rect(104, 230, 12, 12, ORANGE)
    diagram.text(122, 241, "thread 1", size=11)
    return diagram


def masks() -> Diagram:
    """Masked rows as shorter sequences."""
    diagram = Diagram(_TITLES["masks"], 226)
    rows = {"a": "0000111111", "b": "1111111111", "c": "1110011000", "d": "1111111000"}
    diagram.text(20, 28, "The batch, with its mask", size=15, bold=True)
    diagram.text(420, 28, "What is computed", size=15, bold=True)
    for index, (name, mask) in enumerate(rows.items()):
        y = 46 + index * 34
        diagram.text(28, y + 18, name, size=13, bold=True)
        for step, bit in enumerate(mask):
            diagram.rect(48 + step * 30, y, 28, 26, BLUE if bit == "1" else GREY)
            if bit == "1":
                diagram.text(62 + step * 30, y + 18, str(step), anchor="middle", size=12)
    diagram.arrow((362, 110), (406, 110))
    longest_first = sorted(rows.items(), key=lambda row: -row[1].count("1"))
    for index, (name, mask) in enumerate(longest_first):
        y = 46 + index * 34
        diagram.text(428, y + 18, name, size=13, bold=True)
        times = [step for step, bit in enumerate(mask) if bit == "1"]
        for place, step in enumerate(times):
            diagram.rect(446 + place * 30, y, 28, 26, BLUE)
            diagram.text(460 + place * 30, y + 18, str(step), anchor="middle", size=12)
    diagram.text(48, 206, "grey: padding, never read", size=12)
    diagram.text(446, 206, "28 steps instead of 40; numbers are times in x", size=12)
    return diagram


def convolution() -> Diagram:
    """Patches that lie in memory already."""
    diagram = Diagram(
        _TITLES["convolution"], 256, "A sequence in memory: timestep after timestep, channels side by side"
    )
    for step in range(8):
        for channel in range(4):
            diagram.rect(20 + step * 90 + channel * 21, 44, 21, 26, (BLUE, GREEN)[step % 2])
        diagram.text(62 + step * 90, 88, f"x[{step}]", anchor="middle", size=12)
    diagram.text(20, 118, "Patches of 3 taps: where they begin is all there is to know", bold=True)
    for first in range(4):
        y = 130 + first * 19
        diagram.rect(20 + first * 90, y, 264, 13, ORANGE)
        diagram.text(292 + first * 90, y + 11, f"rows {first} to {first + 2} → output {first}", size=11)
    diagram.text(
        20, 228, "One product: 12 numbers of x, by a pointer, times the kernel as a (12, filters) matrix.", size=12
    )
    diagram.text(
        20, 245, "Copied are patches over an end of the sequence only, and those with dilation or groups.", size=12
    )
    return diagram


def dropout() -> Diagram:
    """Where random numbers become bits, and bits gradients."""
    diagram = Diagram(_TITLES["dropout"], 262, "Forward")
    diagram.box(20, 46, 130, 58, ["seed, number", "of the element"], GREY)
    diagram.arrow((150, 75), (177, 75))
    diagram.box(178, 46, 140, 58, ["Philox", "10 rounds, as in", "TensorFlow"], ORANGE)
    diagram.arrow((318, 75), (345, 75))
    diagram.box(346, 46, 130, 58, ["23 random bits", "at least the rate?"], BLUE)
    diagram.arrow((476, 75), (545, 75))
    diagram.text(510, 66, "keep", anchor="middle", size=11)
    diagram.box(546, 46, 194, 58, ["y = x / (1 - rate), or 0"], GREEN)
    diagram.arrow((411, 104), (411, 143))
    diagram.text(420, 128, "1 bit an element, a 32nd of a float32 array", size=12)
    for bit in range(16):
        diagram.box(318 + bit * 22, 144, 22, 24, ["1101001110110101"[bit]], BLUE)
    diagram.text(20, 186, "Backward", size=15, bold=True)
    diagram.arrow((494, 168), (494, 199))
    diagram.box(178, 200, 140, 46, ["dy"], GREY)
    diagram.arrow((318, 223), (411, 223))
    diagram.box(412, 200, 328, 46, ["dx = dy / (1 - rate) where the bit is 1, else 0"], GREEN)
    return diagram


DIAGRAMS = (call, lstm_step, tile, threads, masks, convolution, dropout)
