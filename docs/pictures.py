"""The pictures of layouts, lengths and windows, as SVG; the numbers in them are asked of the library, so they stay true."""

import numpy as np

import numbarnn as nr

SIZE = 26  # of a cell, in pixels
SEQUENCES = ("#4c78a8", "#f2a541", "#72a98f", "#b279a2")  # a color for each sequence of a batch
EMPTY, PADDING, INK, EDGE, END = "#ffffff", "url(#hatch)", "#333333", "#666666", "#c0392b"


def tag(name, inside="", **attributes):
    """An element of SVG; the underscores of attributes are hyphens there."""
    written = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in attributes.items())
    return f"<{name}{written}>{inside}</{name}>"


def definitions():
    """The hatching of padding and the head of an arrow."""
    stripe = tag("rect", width=6, height=6, fill="#f4f4f4") + tag("line", y2=6, stroke="#bbbbbb", stroke_width=2)
    hatch = {"id": "hatch", "width": 6, "height": 6, "patternUnits": "userSpaceOnUse", "patternTransform": "rotate(45)"}
    head = {"id": "head", "markerWidth": 8, "markerHeight": 8, "refX": 6, "refY": 3, "orient": "auto"}
    return tag("defs", tag("pattern", stripe, **hatch) + tag("marker", tag("path", d="M0,0 L6,3 L0,6 z", fill=INK), **head))


class Picture:
    """Cells, words and arrows on a white ground; x and y count in cells from the upper left corner."""

    def __init__(self, columns, rows):
        self.columns, self.rows, self.parts = columns, rows, []

    def cell(self, x, y, text="", fill=EMPTY, width=1.0):
        """A box with a word in it, which is white on a color."""
        place = {"x": x * SIZE, "y": y * SIZE, "width": width * SIZE, "height": SIZE}
        self.parts.append(tag("rect", **place, fill=fill, stroke=EDGE))
        self.word(x + width / 2, y + 0.5, text, color=EMPTY if fill in SEQUENCES else INK)

    def word(self, x, y, text, anchor="middle", color=INK, size=12):
        """Words beside, at the end of, or around a place."""
        place = {"x": x * SIZE, "y": y * SIZE + 4}
        self.parts.append(tag("text", text, **place, text_anchor=anchor, fill=color, font_size=size))

    def line(self, x, y, to_x, to_y, **attributes):
        """A line from one place to another."""
        place = {"x1": x * SIZE, "y1": y * SIZE, "x2": to_x * SIZE, "y2": to_y * SIZE}
        self.parts.append(tag("line", **place, **attributes))

    def arrow(self, x, y, to_x, to_y):
        """A line with a head."""
        self.line(x, y, to_x, to_y, stroke=INK, stroke_width=1.5, marker_end="url(#head)")

    def bar(self, x, y):
        """A thick line as high as a cell, where something begins or ends."""
        self.line(x, y, x, y + 1, stroke=END, stroke_width=4)

    def svg(self):
        """The picture as the text of a file."""
        size = {"width": self.columns * SIZE, "height": self.rows * SIZE}
        ground, view = tag("rect", **size, fill=EMPTY), f"0 0 {size['width']} {size['height']}"
        inside = "\n".join(["", definitions(), ground, *self.parts, ""])
        return tag("svg", inside, xmlns="http://www.w3.org/2000/svg", **size, viewBox=view, font_family="sans-serif") + "\n"


def memory():
    """An array of 4 steps of 2 sequences of 3 channels in memory, in three layouts, with its strides in T, N, C order."""
    steps, batch, channels = 4, 2, 3
    picture = Picture(33.5, 8.6)
    for row, (layout, axes) in enumerate({"tnc": (0, 1, 2), "ntc": (1, 0, 2), "nct": (1, 2, 0)}.items()):
        shape = tuple((steps, batch, channels)[axis] for axis in axes)
        array = np.zeros(shape, np.float32)
        found = nr.TensorDescriptor.of(array, layout=layout)
        strides = tuple(stride // array.itemsize for stride in found.strides)
        top = 0.4 + 2.8 * row
        picture.word(0.3, top + 0.5, f'layout="{layout}"', "start", size=14)
        picture.word(0.3, top + 1.4, f"shape {shape}".replace("'", ""), "start")
        for place in np.ndindex(steps, batch, channels):
            where = int(np.dot(place, strides))
            picture.cell(5 + where * 1.17, top, f"t{place[0]}", SEQUENCES[place[1]], width=1.17)
            picture.word(5 + where * 1.17 + 0.58, top + 1.35, f"c{place[2]}", size=10)
        found = "to the next step {}, sequence {}, channel {} numbers".format(*strides)
        picture.word(5, top + 2.0, found, "start")
    return picture


def lengths():
    """Four sequences of 7, 2, 0 and 5 steps: padding, and where final states are."""
    picture = Picture(20, 5.4)
    picture.word(8.5, 0.5, "x: (7, 4, C)")
    for n, length in enumerate((7, 2, 0, 5)):
        picture.word(0.3, n + 1.5, f"lengths[{n}] = {length}", "start")
        for t in range(7):
            picture.cell(5 + t, n + 1, *((f"t{t}", SEQUENCES[n]) if t < length else ("", PADDING)))
        picture.bar(5 + length, n + 1)
    picture.word(12.5, 1.5, "final state, where a line is;", "start")
    picture.word(12.5, 2.5, "of length 0 the initial one", "start")
    picture.word(12.5, 4.0, "hatched: never read,", "start")
    picture.word(12.5, 5.0, "outputs and gradients 0", "start")
    return picture


def ragged():
    """The same sequences as a Ragged: one after the other."""
    sequences = nr.Ragged.of([np.zeros((steps, 1), np.float32) for steps in (7, 2, 5)])
    picture = Picture(20, 3.4)
    picture.word(0.3, 1.5, "Ragged: data", "start")
    for k, (first, end) in enumerate(zip(sequences.offsets[:-1], sequences.offsets[1:])):
        color = SEQUENCES[(0, 1, 3)[k]]
        for t in range(first, end):
            picture.cell(5 + t, 1, f"t{t - first}", color)
        picture.word(5 + first, 2.6, int(first))
    picture.word(5 + sequences.offsets[-1], 2.6, int(sequences.offsets[-1]))
    picture.word(0.3, 2.6, "offsets", "start")
    return picture


def reset():
    """Episodes in a row: where reset is True the state is the initial one again."""
    picture = Picture(20, 4.4)
    starts = {0: (3,), 1: (2, 6)}
    for n, places in starts.items():
        picture.word(0.3, n + 1.5, f"sequence {n}", "start")
        for t in range(9):
            picture.cell(5 + t, n + 1, f"t{t}", SEQUENCES[n])
        for t in places:
            picture.bar(5 + t, n + 1)
    picture.word(5, 3.7, "a line: reset[t, n] is True; state and gradient do not pass", "start")
    return picture


def windows():
    """A series, its windows of 4 steps, and the value after each."""
    series = np.arange(8.0)
    x, y = nr.windows(series, steps=4)
    picture = Picture(19, 2.6 + x.shape[1])
    picture.word(0.3, 0.9, "series", "start")
    for t, value in enumerate(series):
        picture.cell(4 + t, 0.4, f"{value:g}")
    for n in range(x.shape[1]):
        picture.word(0.3, n + 2.5, f"sample {n}", "start")
        for t in range(4):
            picture.cell(4 + n + t, n + 2, f"{x[t, n, 0]:g}", SEQUENCES[0])
        picture.cell(4 + n + 4, n + 2, f"{y[n, 0]:g}", SEQUENCES[1])
    picture.word(13, 3.0, "x: what is read", "start", SEQUENCES[0])
    picture.word(13, 4.0, "y: what comes next", "start", SEQUENCES[1])
    return picture


def strips():
    """A text cut into strips, and these into pieces of 3 steps."""
    text = np.arange(24)
    cut = nr.strips(text, 3)
    picture = Picture(19, 6.6)
    picture.word(0.3, 0.9, "series", "start")
    for t in text:
        picture.cell(4 + t * 0.6, 0.4, "", SEQUENCES[t // len(cut)], width=0.6)
    for n in range(cut.shape[1]):
        picture.word(0.3, n + 2.7, f"strip {n}", "start")
        for t in range(len(cut)):
            picture.cell(4 + t + 0.6 * (t // 3), n + 2.2, int(cut[t, n]), SEQUENCES[n])
        for t in (3, 6):
            picture.arrow(4 + t + 0.6 * (t // 3) - 0.6, n + 2.7, 4 + t + 0.6 * (t // 3), n + 2.7)
    picture.word(4, 5.9, "an update for each piece of 3 steps; arrows carry the state on", "start")
    return picture


def outputs():
    """What comes out of a recurrent layer at each step, and what Last takes of it, in one direction and in two."""
    picture = Picture(25, 5.8)
    steps = 5
    for row, (title, both) in enumerate((("GRU(H)", False), ("bidirectional", True))):
        top = 0.6 + 2.4 * row
        picture.word(0.3, top + 0.5, title, "start", size=13)
        for t in range(steps):
            picture.cell(5 + 1.2 * t, top, f"t{t}", SEQUENCES[0])
            if both:
                picture.cell(5 + 1.2 * t, top + 1.1, f"t{t}", SEQUENCES[1])
        picture.arrow(5, top - 0.25, 5 + 1.2 * steps - 0.2, top - 0.25)
        if both:
            picture.arrow(5 + 1.2 * steps - 0.2, top + 2.4, 5, top + 2.4)
        shape = "(T, N, 2H)" if both else "(T, N, H)"
        picture.word(11.4, top + 0.5, f"y: {shape}", "start")
        picture.word(16.0, top + 0.5, "Last:", "start")
        picture.cell(18, top, f"t{steps - 1}", SEQUENCES[0])
        if both:
            picture.cell(19, top, "t0", SEQUENCES[1])
        picture.word(20.4, top + 0.5, "(N, 2H)" if both else "(N, H)", "start")
    return picture


PICTURES = (memory, lengths, ragged, reset, windows, strips, outputs)


def write_pictures(folder, write):
    """Write every picture into a folder (is made), by a function of path and text."""
    folder.mkdir(exist_ok=True)
    for draw in PICTURES:
        write(folder / f"{draw.__name__}.svg", draw().svg())
