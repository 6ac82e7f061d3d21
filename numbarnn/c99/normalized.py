"""Cells that normalize, in C: sums over the units of a sample before, and for an LSTM after, the cell's equations."""

import numpy as np

from ..cells.normalized import SHRINK_DOUBLE, SHRINK_SINGLE
from ..engine.choices import slots_of_terms
from .products import PARTS, add_product, sum_of_parts
from .source import indented

MOMENTS = """\
/* The mean and the variance of some numbers, each multiplied with a factor. */
static void {name}_moments(const {real} *a, {real} factor, int count, {real} *mean, {real} *variance)
{{
    {real} part[{parts}] = {{{zero}}}, square[{parts}] = {{{zero}}};
    int k;
    for (k = 0; k + {parts} <= count; k += {parts})
        for (int i = 0; i < {parts}; i++)
            part[i] += a[k + i] * factor;
    for (int i = 0; k + i < count; i++)
        part[i] += a[k + i] * factor;
    *mean = {sum} / ({real})count;
    for (k = 0; k + {parts} <= count; k += {parts})
        for (int i = 0; i < {parts}; i++) {{
            const {real} deviation = a[k + i] * factor - *mean;
            square[i] = {fma}(deviation, deviation, square[i]);
        }}
    for (int i = 0; k + i < count; i++) {{
        const {real} deviation = a[k + i] * factor - *mean;
        square[i] = {fma}(deviation, deviation, square[i]);
    }}
    *variance = {sum_of_squares} / ({real})count;
}}
"""


def add_normalized(step, weights, biases, values):
    """Add the sums, the normalizations and the loop of a `NormalizedCell`.

    weights, biases, values: as `recurrent` has them; see `NormalizedCell` for the order of the values.
    """
    source, cell, hidden = step.source, step.cell, step.hidden
    real, own = source.real.name, int(cell.normalizes_cell)
    _define_moments(source)
    normalize = _define_normalize(step)
    bias, gain = step.array("bias", biases), step.array("gain", values[own : own + cell.slots])
    step.lines.append(f"{real} pre[{cell.slots * hidden}] = {{{source.real.literal(0)}}};")
    for kind, operand in (("input", "x"), ("recurrent", "h")):
        first, matrix = weights[kind]
        product = add_product(source, f"{step.name}_weight_{kind}", matrix)
        step.lines.append(f"{product}({operand}, pre + {first * hidden});")
    for norm in cell.layer_norms:
        first, count = norm.first * hidden, norm.slots * hidden
        step.lines.append(f"{normalize}(pre + {first}, {gain} + {first}, {bias} + {first}, {count});")
    recording = source.recording()
    pre = [recording.read(step.at("pre", slot)) for slot in range(cell.slots)]
    terms = tuple(_sum([pre[slot] for slot in slots]) for slots in slots_of_terms(cell))
    new, _ = step.equations("forward", terms, step.state(recording), ())
    step.loop(recording, dict(zip(("h[j]", "c[j]"), new)))
    if own:
        bias, gain = step.array("bias_c", values[0]), step.array("gain_c", values[-1])
        step.lines += [f"memcpy(pre, c, {hidden} * sizeof *c);", f"{normalize}(pre, {gain}, {bias}, {hidden});"]
        recording = source.recording()
        h = step.equations("output", recording.read("h[j]"), recording.read("pre[j]"))
        step.loop(recording, {"h[j]": h})


def _sum(values):
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def _define_moments(source):
    """Define, once, the function that sums over units."""
    text = MOMENTS.format(
        name=source.name, real=source.real.name, parts=PARTS, zero=source.real.literal(0), sum=sum_of_parts("part"),
        sum_of_squares=sum_of_parts("square"), fma=f"{source.name.upper()}_FMA",
    )  # fmt: skip
    if text not in source.definitions:
        source.function(text)


def _define_normalize(step):
    """Define ``normalize(a, gain, bias, count)``, which puts ``LN(a; gain, bias)`` in the place of a; returns its name."""
    source, real, restrict = step.source, step.source.real.name, step.source.restrict
    moments = f"{source.name}_moments(a, factor, count, &mean, &variance);"
    shrink = SHRINK_SINGLE if source.real.dtype == np.float32 else SHRINK_DOUBLE
    of_row = source.recording()
    scale = step.equations("inverse_deviation", of_row.argument("variance"), of_row.argument("factor"))
    lines, (scale,) = source.recorded(of_row, [scale])
    of_one = source.recording()
    a, factor, mean = of_one.read("a[j]"), of_one.argument("factor"), of_one.argument("mean")
    hat = step.equations("normalized", a * factor, mean, of_one.argument("scale"))
    one = hat.made("fma", of_one.read("gain[j]"), hat, of_one.read("bias[j]"))
    inner, (one,) = source.recorded(of_one, [one])
    body = [
        f"{real} factor = {source.real.literal(1)}, scale, mean, variance;",
        moments,
        f"if (variance - variance != {source.real.literal(0)}) {{ /* not finite: squares that were too large */",
        f"    factor = {source.real.literal(shrink)};",
        f"    {moments}",
        "}",
        "{",
        *indented([*lines, f"scale = {scale};"]),
        "}",
        "for (int j = 0; j < count; j++) {",
        *indented([*inner, f"a[j] = {one};"]),
        "}",
    ]
    const = f"const {real} *{restrict}"
    return step.define("_normalize", [f"{real} *{restrict} a", f"{const} gain", f"{const} bias", "int count"], body)
