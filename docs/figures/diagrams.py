"""The diagrams of docs/kernels.md."""

from __future__ import annotations

from canvas import BLUE, GREEN, GREY, ORANGE, Canvas


def call() -> Canvas:
    """The way of a call from the layer to the tile kernel."""
    canvas = Canvas(
        760,
        236,
        "A call goes from the Keras layer to the TensorFlow backend, the op library, the op driver and the tile "
        "kernel. Calls of fastseq.functional come in at the op driver, by way of the Python bindings.",
    )
    rooms = [
        (["layer", "FastLSTM", "weights, options"], BLUE, "fastseq/keras/"),
        (["backend", "tensors,", "gradients"], BLUE, "fastseq/keras/backend/"),
        (["op library", "TensorFlow's C API,", "outputs allocated"], ORANGE, "csrc/tensorflow/"),
        (["op driver", "checks, plan, threads,", "time loop"], GREEN, "csrc/ops/"),
        (["tile kernel", "one thread, one", "instruction set"], GREEN, "csrc/kernels/"),
    ]
    for index, (lines, colour, folder) in enumerate(rooms):
        x = 16 + index * 148
        canvas.box(x, 34, 134, 74, lines, colour)
        canvas.text(x + 67, 126, folder, anchor="middle", size=11)
        if index:
            canvas.arrow(x - 14, 71, x - 1, 71)
    canvas.box(16, 152, 134, 54, ["fastseq.functional", "NumPy arrays"], BLUE)
    canvas.box(312, 152, 134, 54, ["bindings", "pybind11: fastseq._core"], ORANGE, size=11)
    canvas.text(379, 224, "csrc/bindings/", anchor="middle", size=11)
    canvas.arrow(150, 179, 311, 179)
    canvas.line(446, 179, 484, 179)
    canvas.arrow(484, 179, 484, 109)
    canvas.text(16, 22, "Python", bold=True)
    canvas.text(312, 22, "C++", bold=True)
    canvas.line(305, 12, 305, 226, dashed=True)
    return canvas


def lstm_step() -> Canvas:
    """A step of an LSTM op by op, and fused."""
    canvas = Canvas(
        760,
        408,
        "Left: stock Keras runs sixteen operations for every timestep, each of which reads and writes arrays in "
        "memory. Right: fastseq projects the inputs of many timesteps in one product, and a step is one product and "
        "one pass over the gates.",
    )
    canvas.text(20, 28, "Stock Keras: 16 operations a step", size=15, bold=True)
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
        canvas.box(20 + column * 158, 44 + row * 38, 146, 28, [label], colour)
        if row:
            canvas.arrow(93 + column * 158, 34 + row * 38, 93 + column * 158, 43 + row * 38)
    canvas.text(20, 372, "Every box is a call of the framework,", size=12)
    canvas.text(20, 389, "and every arrow an array, written and read again.", size=12)
    canvas.line(360, 16, 360, 392, dashed=True)

    canvas.text(384, 28, "fastseq: one product and one pass a step", size=15, bold=True)
    canvas.text(384, 62, "once for a chunk of steps:", size=12)
    canvas.box(384, 72, 352, 40, ["z = x[t … t+n] · kernel + bias, all gates"], ORANGE)
    canvas.arrow(560, 112, 560, 135)
    canvas.rect(376, 136, 368, 190, ("#f3f4f7", "#7d8696"), radius=6)
    canvas.text(388, 154, "every step of the chunk, z and h in the cache:", size=12)
    canvas.box(392, 164, 336, 40, ["h · recurrent_kernel, all gates"], ORANGE)
    canvas.arrow(560, 204, 560, 222)
    canvas.box(
        392,
        223,
        336,
        92,
        ["gates, 16 units at once, in registers", "i f g o = z + product", "c = s(f) c + s(i) a(g)", "h = s(o) a(c)"],
        BLUE,
    )
    canvas.arrow(560, 315, 560, 338)
    canvas.box(384, 339, 352, 34, ["outputs, and 6 numbers a unit for backward"], GREY)
    canvas.text(384, 392, "orange: products   blue: activations   grey: the rest", size=11)
    return canvas


def tile() -> Canvas:
    """What the product kernel holds where."""
    canvas = Canvas(
        760,
        346,
        "A tile of the product C = init + A B on AVX-512: 6 rows of A, given by pointers, meet a packed panel of B, "
        "64 columns wide, and the 6 by 4 vectors of sums stay in registers.",
    )
    canvas.text(20, 28, "C = init + A · B, one tile on AVX-512", size=15, bold=True)
    size = 26
    left, top = 320, 176
    canvas.text(150, 160, "6 rows of A, by pointers", size=12, anchor="middle")
    for row in range(6):
        y = top + row * size
        shift = (row * 37) % 50
        canvas.rect(40 + shift, y + 3, 190, size - 8, ORANGE)
        canvas.arrow(236 + shift, y + 12, left - 8, y + 12)
    for row in range(6):
        for column in range(4):
            canvas.rect(left + column * 64, top + row * size, 64, size, GREEN)
    for line in range(4):
        for column in range(4):
            canvas.rect(left + column * 64, 58 + line * 22, 64, 22, BLUE)
    for column in range(4):
        canvas.text(left + column * 64 + 32, 73, "16 floats", size=11, anchor="middle")
    canvas.text(left + 128, 50, "a panel of B: 64 columns, row after row in memory", size=12, anchor="middle")
    canvas.text(left + 268, 80, "up to 128 rows: 32 KiB,", size=12)
    canvas.text(left + 268, 97, "which stay in the first-level", size=12)
    canvas.text(left + 268, 114, "cache for all rows of A", size=12)
    for column in range(4):
        canvas.arrow(left + column * 64 + 32, 147, left + column * 64 + 32, 174)
    canvas.text(left + 268, 210, "each number of A, times", size=12)
    canvas.text(left + 268, 227, "4 vectors of B, is 4 fused", size=12)
    canvas.text(left + 268, 244, "multiply-adds of 16 floats", size=12)
    canvas.text(left + 268, 278, "green: 6 × 4 vectors of", size=12)
    canvas.text(left + 268, 295, "sums, all in registers", size=12)
    return canvas


def threads() -> Canvas:
    """The grids of threads."""
    canvas = Canvas(
        760,
        250,
        "Left: the rows of a batch are dealt to two threads, which run the whole time loop without waiting for each "
        "other. Right: with few rows and many weights the threads divide the units, and meet after every step.",
    )
    canvas.text(20, 28, "Many rows: rows are divided", size=15, bold=True)
    for row in range(6):
        colour = (BLUE, ORANGE)[row % 2]
        y = 48 + row * 26
        for step in range(7):
            canvas.rect(96 + step * 32, y, 30, 20, colour)
        canvas.text(88, y + 15, f"row {row}", anchor="end", size=12)
    canvas.text(96, 222, "timesteps →   no thread waits for another", size=12)
    canvas.line(368, 16, 368, 234, dashed=True)
    canvas.text(392, 28, "Many weights, few rows: units are divided", size=14, bold=True)
    for half, colour in enumerate((BLUE, ORANGE)):
        y = 58 + half * 66
        canvas.text(468, y + 32, f"units of {('thread 0', 'thread 1')[half]}", anchor="end", size=11)
        for step in range(6):
            canvas.rect(476 + step * 44, y, 30, 56, colour)
    for step in range(6):
        canvas.line(513 + step * 44, 52, 513 + step * 44, 186)
    canvas.text(476, 206, "at every line the threads meet:", size=12)
    canvas.text(476, 222, "each needs all units of h for the next step", size=12)
    canvas.rect(20, 230, 12, 12, BLUE)
    canvas.text(38, 241, "thread 0", size=11)
    canvas.rect(104, 230, 12, 12, ORANGE)
    canvas.text(122, 241, "thread 1", size=11)
    return canvas


def masks() -> Canvas:
    """Masked rows as shorter sequences."""
    canvas = Canvas(
        760,
        226,
        "Left: four rows of ten timesteps with padding before, behind and inside. Right: each row as the shorter "
        "sequence of its own steps, longest first, so that the rows that still have a step are the first ones.",
    )
    rows = {"a": "0000111111", "b": "1111111111", "c": "1110011000", "d": "1111111000"}
    canvas.text(20, 28, "The batch, with its mask", size=15, bold=True)
    canvas.text(420, 28, "What is computed", size=15, bold=True)
    for index, (name, mask) in enumerate(rows.items()):
        y = 46 + index * 34
        canvas.text(28, y + 18, name, size=13, bold=True)
        for step, bit in enumerate(mask):
            canvas.rect(48 + step * 30, y, 28, 26, BLUE if bit == "1" else GREY)
            if bit == "1":
                canvas.text(62 + step * 30, y + 18, str(step), anchor="middle", size=12)
    canvas.arrow(362, 110, 406, 110)
    longest_first = sorted(rows.items(), key=lambda row: -row[1].count("1"))
    for index, (name, mask) in enumerate(longest_first):
        y = 46 + index * 34
        canvas.text(428, y + 18, name, size=13, bold=True)
        times = [step for step, bit in enumerate(mask) if bit == "1"]
        for place, step in enumerate(times):
            canvas.rect(446 + place * 30, y, 28, 26, BLUE)
            canvas.text(460 + place * 30, y + 18, str(step), anchor="middle", size=12)
    canvas.text(48, 206, "grey: padding, never read", size=12)
    canvas.text(446, 206, "28 steps instead of 40; numbers are times in x", size=12)
    return canvas


def convolution() -> Canvas:
    """Patches that lie in memory already."""
    canvas = Canvas(
        760,
        256,
        "A sequence of timesteps with four channels each, side by side in memory. The patch of a width of three is "
        "twelve numbers in a row, wherever it begins, so that no patch is copied.",
    )
    canvas.text(20, 28, "A sequence in memory: timestep after timestep, channels side by side", size=15, bold=True)
    for step in range(8):
        for channel in range(4):
            canvas.rect(20 + step * 90 + channel * 21, 44, 21, 26, (BLUE, GREEN)[step % 2])
        canvas.text(62 + step * 90, 88, f"x[{step}]", anchor="middle", size=12)
    canvas.text(20, 118, "Patches of 3 taps: where they begin is all there is to know", bold=True)
    for first in range(4):
        y = 130 + first * 19
        canvas.rect(20 + first * 90, y, 264, 13, ORANGE)
        canvas.text(292 + first * 90, y + 11, f"rows {first} to {first + 2} → output {first}", size=11)
    canvas.text(
        20, 228, "One product: 12 numbers of x, by a pointer, times the kernel as a (12, filters) matrix.", size=12
    )
    canvas.text(
        20, 245, "Copied are patches over an end of the sequence only, and those with dilation or groups.", size=12
    )
    return canvas


def dropout() -> Canvas:
    """Where random numbers become bits, and bits gradients."""
    canvas = Canvas(
        760,
        262,
        "Forward: the seed and the number of the element go through ten rounds of Philox, the random bits are compared "
        "with the rate, the element is kept or dropped, and one bit is saved. Backward: the bit is all that is read.",
    )
    canvas.text(20, 28, "Forward", size=15, bold=True)
    canvas.box(20, 46, 130, 58, ["seed, number", "of the element"], GREY)
    canvas.arrow(150, 75, 177, 75)
    canvas.box(178, 46, 140, 58, ["Philox", "10 rounds, as in", "TensorFlow"], ORANGE)
    canvas.arrow(318, 75, 345, 75)
    canvas.box(346, 46, 130, 58, ["23 random bits", "at least the rate?"], BLUE)
    canvas.arrow(476, 75, 545, 75)
    canvas.text(510, 66, "keep", anchor="middle", size=11)
    canvas.box(546, 46, 194, 58, ["y = x / (1 - rate), or 0"], GREEN)
    canvas.arrow(411, 104, 411, 143)
    canvas.text(420, 128, "1 bit an element, a 32nd of a float32 array", size=12)
    for bit in range(16):
        canvas.box(318 + bit * 22, 144, 22, 24, ["1101001110110101"[bit]], BLUE)
    canvas.text(20, 186, "Backward", size=15, bold=True)
    canvas.arrow(494, 168, 494, 199)
    canvas.box(178, 200, 140, 46, ["dy"], GREY)
    canvas.arrow(318, 223, 411, 223)
    canvas.box(412, 200, 328, 46, ["dx = dy / (1 - rate) where the bit is 1, else 0"], GREEN)
    return canvas


DIAGRAMS = (call, lstm_step, tile, threads, masks, convolution, dropout)
