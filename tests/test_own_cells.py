"""Cells of one's own: any number of slots, drives and values of units; mistakes end in one sentence."""

import functools
import math
from dataclasses import dataclass

import numba
import numpy as np
import pytest

import numbarnn as nr
from numbarnn.arrays.devices import moved
from numbarnn.layers.masks import drive

el = nr.elementary
STEPS, BATCH, CHANNELS, HIDDEN = 4, 3, 2, 5


def coefficients(count, start=0.4):
    """Numbers for so many terms of a sum, no two alike."""
    return [round(start * (-1) ** i / (1 + 0.3 * i), 6) for i in range(count)]


def source(slots, unit_values=0, drives=0, states=1):
    """A cell ``h = tanh(sum k_i tanh(a_i) + sum q_j u_j h + sum e_m d_m)``; of two states ``c' = s c + h, h' = h + c' / 2``.

    Of three slots or more the first has no W x and the last no R h; the gates of R are in reverse.
    """
    k, q, e = coefficients(slots), coefficients(unit_values, 0.3), coefficients(drives, 0.7)
    few, two = slots < 3, states == 2
    terms = [f"{k[i]} * t{i}" for i in range(slots)]
    terms += [f"{q[j]} * given[{j}] * state[0]" for j in range(unit_values)]
    terms += [f"{e[m]} * given[{unit_values + m}]" for m in range(drives)]
    ts = "".join(f"t{i}, " for i in range(slots))
    dpre = [f"dz * {k[i]} * (1 - t{i} * t{i})" for i in range(slots)]
    dpre += [f"dz * {q[j]} * state[0]" for j in range(unit_values)]
    back = " + ".join(f"{q[j]} * given[{j}]" for j in range(unit_values)) or "0"
    lines = [
        "@dataclass(frozen=True)",
        "class ManyCell(nr.Cell):",
        "    s: float = 0.5",
        f"    gates = {tuple(f'g{i}' for i in range(slots))}",
        f"    slots, saved, states = {slots}, {slots}, {states}",
        f"    input_slots = input_gates = {tuple(range(0 if few else 1, slots))}",
        f"    recurrent_slots = {tuple(range(slots if few else slots - 1))}",
        "    recurrent_gates = recurrent_slots[::-1]",
        f"    unit_values = {tuple(f'u{j}' for j in range(unit_values))}",
        f"    drives = {tuple(f'd{m}' for m in range(drives))}",
        "    def forward(self, pre, state, given):",
        *(f"        t{i} = el.tanh(pre[{i}])" for i in range(slots)),
        f"        h = el.tanh({' + '.join(terms)})",
        *(["        c = self.s * state[1] + h", f"        return (h + c / 2, c), ({ts})"] if two else []),
        *([] if two else [f"        return (h,), ({ts})"]),
        "    def adjoint(self, saved, state, new, dnew, given):",
        f"        ({ts}) = saved",
        f"        dc = {'dnew[1] + dnew[0] / 2' if two else '0 * dnew[0]'}",
        f"        h = {'new[0] - new[1] / 2' if two else 'new[0]'}",
        "        dz = (dnew[0] + dc) * (1 - h * h)",
        f"        return ({', '.join(dpre)},), (dz * ({back}), {'dc * self.s' if two else ''})",
    ]
    return "\n".join(lines)


def layer_of(text, arrays=(), **options):
    """A layer with the cell that a program defines, its drives these arrays (T, N, H)."""
    cell_fields = options.pop("fields", {})
    names = {"nr": nr, "el": el, "np": np, "math": math, "numba": numba, "dataclass": dataclass, "__name__": "own"}
    exec(text, names)
    made = next(value for name, value in names.items() if name.endswith("Cell"))

    @dataclass(frozen=True, repr=False)
    class OwnRNN(nr.Recurrent):
        hidden: int
        layers: int = 1
        bidirectional: bool = False
        unit_parameter = "u" if made.unit_values else None

        @functools.cached_property
        def cell(self):
            return made(**cell_fields)

        def driven(self, masks, layer, packing, dtype, device):
            cell, drives = super().driven(masks, layer, packing, dtype, device)
            steps, batch = packing.steps, packing.sequences
            own = [drive(moved(array.astype(dtype), device), packing, steps, batch) for array in arrays]
            return cell, [*own, *drives]

        def fill_vector(self, name, view, random):
            view[...] = random.standard_normal(view.shape)

    return OwnRNN(options.pop("hidden", HIDDEN), **options)


def oracle(layer, p, x, arrays, zoneout=0.0):
    """(h, c) of every step, by NumPy."""
    cell, hidden, s = layer.cell, layer.hidden, layer.cell.s
    p = {name: view.astype(np.float64) for name, view in p.items()}
    k, q = coefficients(cell.slots), coefficients(len(cell.unit_values), 0.3)
    e = coefficients(len(arrays), 0.7)
    u = p["u_l0"].reshape(-1, hidden) if cell.unit_values else []
    h, c, found = np.zeros((x.shape[1], hidden)), np.zeros((x.shape[1], hidden)), []
    for t, x_t in enumerate(x):
        wx = (x_t @ p["weight_ih_l0"].T + p["bias_ih_l0"]).reshape(len(h), -1, hidden)
        rh = (h @ p["weight_hh_l0"].T + p["bias_hh_l0"]).reshape(len(h), -1, hidden)
        pre = np.zeros((cell.slots, *h.shape))
        for slot, gate in zip(cell.input_slots, cell.input_gates):
            pre[slot] += wx[:, gate]
        for slot, gate in zip(cell.recurrent_slots, cell.recurrent_gates):
            pre[slot] += rh[:, gate]
        total = sum(k_i * np.tanh(a) for k_i, a in zip(k, pre)) + sum(q_j * u_j * h for q_j, u_j in zip(q, u))
        new = np.tanh(total + sum(e_m * array[t] for e_m, array in zip(e, arrays)))
        if cell.states == 2:
            c = s * c + new
            new = new + c / 2
        h = zoneout * h + (1 - zoneout) * new
        found.append((h, c))
    return tuple(np.array(part) for part in zip(*found))


def compared(slots, dtype, unit_values=0, drives=0, states=1, zoneout=0.0, hidden=HIDDEN):
    """Outputs and gradients of such a layer against NumPy and finite differences."""
    random = np.random.default_rng(slots)
    arrays = [random.standard_normal((STEPS, BATCH, hidden)) for _ in range(drives)]
    layer = layer_of(source(slots, unit_values, drives, states), arrays, zoneout=zoneout, hidden=hidden)
    p = layer.init(CHANNELS, seed=1, dtype=dtype, scheme="pytorch")
    x = random.standard_normal((STEPS, BATCH, CHANNELS)).astype(dtype)
    expected = oracle(layer, p, x, arrays, zoneout)
    y, state = layer(p, x)
    tolerance = 1e-14 if dtype == "float64" else 3e-6
    np.testing.assert_allclose(y, expected[0], rtol=0, atol=tolerance)
    if states == 2:
        np.testing.assert_allclose(state[1][0], expected[1][-1], rtol=0, atol=2 * tolerance)
    if dtype == "float64":
        initial = random.standard_normal((1, BATCH, hidden))
        nr.testing.check_gradients(layer, p, x, (initial, initial / 2) if states == 2 else initial)
    else:
        double = nr.Parameters(p.flat.astype(np.float64), p.weights)
        found, exact = (
            layer.backward(layer.forward(q, z)[2], np.ones_like(z[..., :1].repeat(hidden, 2)))
            for q, z in ((p, x), (double, x.astype(np.float64)))
        )
        np.testing.assert_allclose(found.params.flat, exact.params.flat, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("slots, more", [(5, {}), (8, {"states": 2, "unit_values": 1}), (13, {})], ids=["5", "8", "13"])
def test_slots(slots, more):
    compared(slots, "float64", **more)


def test_slots_in_single_precision_and_in_more_than_one_block():
    compared(5, "float64", hidden=37)
    compared(5, "float32", hidden=37)


def test_drives_and_values_of_units():
    compared(2, "float64", unit_values=3, drives=5, zoneout=0.125)


def test_where_a_gate_has_no_weight_of_a_kind_its_gradient_is_zero():
    layer = layer_of(source(5))
    p, x = layer.init(CHANNELS, dtype="float64"), np.ones((STEPS, BATCH, CHANNELS))
    y, _, tape = layer.forward(p, x)
    new = layer.backward(tape, y).params
    assert not new["weight_ih_l0"][:HIDDEN].any() and not new["bias_ih_l0"][:HIDDEN].any()
    into = nr.Parameters(np.full_like(p.flat, 7.0), p.weights)
    layer.backward(tape, y, into=into)
    np.testing.assert_array_equal(into.flat, new.flat)
    layer.backward(tape, y, into=into, accumulate=True)
    np.testing.assert_array_equal(into.flat, 2 * new.flat)


PLAIN = """
{before}
@dataclass(frozen=True)
class PlainCell(nr.Cell):
    {fields}
    gates = ("h",)
    slots, saved = 1, 1
    input_slots, input_gates = (0,), (0,)
    recurrent_slots, recurrent_gates = (0,), (0,)
    {more}

    def forward(self, pre, state, given):
        {forward}

    def adjoint(self, saved, state, new, dnew, given):
        {adjoint}
"""
FORWARD, ADJOINT = "return (el.tanh(pre[0]),), (pre[0],)", "return (dnew[0],), (0 * dnew[0],)"


def plain(forward=FORWARD, adjoint=ADJOINT, fields="pass", more="pass", before="", **options):
    """A layer with a cell of one slot, in which there may be a mistake."""
    forward = forward.replace("\n", "\n        ")
    text = PLAIN.format(forward=forward, adjoint=adjoint, fields=fields, more=more, before=before)
    return layer_of(text, **options)


RETURN = "return (x,), (x,)"
MISTAKES = {  # a method, and what its error says
    "numpy": ("x = np.exp(pre[0])\n" + RETURN, ["numpy.exp", "numbarnn.elementary.exp"]),
    "numpy on two": ("x = np.maximum(pre[0], 0.0)\n" + RETURN, ["numpy.maximum", "numbarnn.elementary.where"]),
    "numpy.where": ("x = np.where(pre[0] > 0, pre[0], 0.0)\n" + RETURN, ["numpy.where", "numbarnn.elementary.where"]),
    "math": ("x = math.exp(pre[0])\n" + RETURN, ["math", "numbarnn.elementary"]),
    "if": ("x = pre[0]\nif x > 0: x = 2 * x\n" + RETURN, ["if", "numbarnn.elementary.where"]),
    "while": ("x = pre[0]\nwhile x > 1: x = x - 1\n" + RETURN, ["while", "numbarnn.elementary.where"]),
    "and": ("x = el.where(pre[0] > 0 and pre[0] < 1, 1, pre[0])\n" + RETURN, ["and", "numbarnn.elementary.where"]),
    "&": ("x = el.where((pre[0] > 0) & (pre[0] < 1), 1, pre[0])\n" + RETURN, ["numbarnn.elementary.where"]),
    "max": ("x = max(pre[0], 0)\n" + RETURN, ["max", "numbarnn.elementary.where"]),
    "print": ("x = pre[0]\nprint(x)\n" + RETURN, ["printed"]),
    "f-string": ("x = pre[0]\nf'{x}'\n" + RETURN, ["text"]),
    "integer division": ("x = pre[0] // 2\n" + RETURN, ["//", "/ divides"]),
    "a power": ("x = pre[0] ** 2\n" + RETURN, ["**", "x * x"]),
    "equality": ("x = el.where(pre[0] == 0, 1, pre[0])\n" + RETURN, ["==", "<="]),
    "a comparison as a number": ("x = (pre[0] > 0) * pre[0]\n" + RETURN, ["comparison", "numbarnn.elementary.where"]),
    "a condition that is none": ("x = el.where(True, pre[0], 0)\n" + RETURN, ["where", "comparison"]),
    "an array": ("x = np.ones(3) * pre[0]\n" + RETURN, ["ndarray"]),
    "a slot too many": ("x = pre[1]\n" + RETURN, ["pre[1]", "1 slots"]),
    "too many names": ("x, y = pre\n" + RETURN, ["unpack"]),
    "no such field": ("x = self.dt * pre[0]\n" + RETURN, ["dt"]),
    "no such name": ("x = sinus(pre[0])\n" + RETURN, ["sinus"]),
    "no such function": ("x = el.sinh(pre[0])\n" + RETURN, ["sinh", "tanh"]),
    "an entry": ("x = pre[0][0]\n" + RETURN, ["entries"]),
    "a method": ("x = pre[0].sum()\n" + RETURN, ["sum"]),
    "a state too many": ("x = pre[0]\nreturn (x, x), (x,)", ["new state", "1 values", "got 2"]),
    "nothing saved": ("x = pre[0]\nreturn (x,), ()", ["saved", "1 values", "got 0"]),
    "no tuple": ("x = pre[0]\nreturn x, x", ["new state", "tuple"]),
    "a list": ("x = pre[0]\nreturn [x], (x,)", ["new state", "tuple", "list"]),
    "nothing": ("pass", ["pair", "None"]),
    "a number": ("return (1.0,), (pre[0],)", ["full_like", "1.0"]),
    "something kept": ("self.x = x = pre[0]\n" + RETURN, ["self.x", "state"]),
}


def sentence(error, *fragments):
    """The message of an error, if it is one sentence with these parts."""
    text = str(error.value)
    assert "\n" not in text and len(text) < 420, text
    assert all(fragment in text for fragment in fragments), text
    assert error.value.__suppress_context__ or error.value.__context__ is None
    return text


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_ends_in_a_sentence(name):
    forward, fragments = MISTAKES[name]
    with pytest.raises(nr.CellError) as raised:
        plain(forward)
    sentence(raised, "PlainCell.forward: ", *fragments)


def test_mistakes_elsewhere():
    with pytest.raises(nr.CellError) as raised:
        plain(adjoint="return (dnew[0] * np.cosh(saved[0]),), (0 * dnew[0],)")
    sentence(raised, "PlainCell.adjoint: ", "numpy.cosh", "line")
    with pytest.raises(nr.CellError) as raised:
        plain(adjoint="return (dnew[0],), ()")
    sentence(raised, "PlainCell.adjoint: ", "dstate", "1 values", "got 0")
    with pytest.raises(nr.CellError) as raised:
        plain("return (bent(pre[0]),), (pre[0],)", before="@numba.njit\ndef bent(x): return np.log(x)")
    sentence(raised, "PlainCell.forward: ", "numpy.log", "line 3")
    for bad in (np.tanh, math.tanh, lambda x: x if x > 0 else 0, lambda x: None, lambda x, y: x):
        with pytest.raises(nr.CellError) as raised:
            nr.ActivationFunction("bent", bad)
        sentence(raised, "ActivationFunction 'bent'.value: ")

    class Bent(nr.cells.Function):
        def value(self, x):
            return np.cosh(x)

    for layer in (nr.Activation, lambda activation: nr.GRU(2, activation=activation), lambda f: nr.Dense(1, f)):
        with pytest.raises(nr.CellError) as raised:
            layer(Bent())
        sentence(raised, "Bent.value: ", "numpy.cosh")
    with pytest.raises(nr.CellError) as raised:
        nr.ActivationFunction("bent", el.tanh, np.cosh)
    sentence(raised, "ActivationFunction 'bent'.slope: ", "numpy.cosh")


DECLARATIONS = {
    "slots = -1": ["slots", ">= 1", "-1"],
    "slots = 1.0": ["slots", "integer", "1.0"],
    "slots = True": ["slots", "integer", "True"],
    "saved = -1": ["saved", ">= 0", "-1"],
    "states = 0": ["states", ">= 1", "0"],
    "states = 3": ["states", "1 (h) or 2", "3"],
    "slots = 2": ["slots", "slot 1 receives nothing"],
    "gates = ()": ["gates", "at least one"],
    "gates = 'h'": ["gates", "tuple of names", "'h'"],
    "gates = ('h', 'h')": ["gates", "'h' twice"],
    "unit_values = ('u', 'u')": ["unit_values", "'u' twice"],
    "drives = ('u', 'u')": ["drives", "'u' twice"],
    "unit_values = drives = ('u',)": ["drives", "unit_values", "'u'"],
    "input_gates = (1,)": ["input_gates", "1 gates", "(1,)"],
    "input_gates = (-1,)": ["input_gates", "(-1,)"],
    "input_gates = (0, 0)": ["input_gates", "1 of input_slots", "(0, 0)"],
    "input_slots = (1,)": ["input_slots", "0 to 0", "(1,)"],
    "input_slots = [0]": ["input_slots", "tuple of integers", "[0]"],
    "slots = 3; input_slots, input_gates = (0, 2), (0, 0)": ["input_slots", "consecutive", "(0, 2)"],
    "slots = 2; input_slots, input_gates = (0, 1), (0, 0)": ["input_gates", "once", "(0, 0)"],
    "slots = 2; gated_slots, gated_gates = (1,), (0,)": ["gated_gates", "recurrent_gates"],
    "input_slots = input_gates = ()": ["input_slots", "at least one"],
    "projected = True": ["projected", "False"],
}


@pytest.mark.parametrize("more", DECLARATIONS)
def test_what_a_cell_declares_is_of_one_piece(more):
    with pytest.raises(nr.CellError) as raised:
        plain(more=more)
    sentence(raised, "PlainCell.", *DECLARATIONS[more])


def test_a_layer_and_its_cell_say_the_same():
    adjoint = "return (dnew[0], dnew[0]), (0 * dnew[0],)"
    layer = plain(more="unit_values = ('u',)", adjoint=adjoint)
    with pytest.raises(nr.CellError) as raised:
        type("OwnRNN", (type(layer),), {"unit_parameter": None})(3)
    sentence(raised, "unit_parameter", "u", "PlainCell")
    layer = plain(more="drives = ('m',)")
    with pytest.raises(nr.CellError) as raised:
        layer(layer.init(1), np.zeros((1, 1, 1), np.float32))
    sentence(raised, "driven", "('m',)", "got 0")
    with pytest.raises(nr.CellError) as raised:
        type("OwnRNN", (type(layer),), {"cell": type(layer.cell)})(3)
    sentence(raised, "OwnRNN.cell", "an instance")
    with pytest.raises(nr.CellError) as raised:
        type("OwnRNN", (type(layer),), {"recurrent_matrix": False})(3)
    sentence(raised, "OwnRNN.recurrent_matrix", "True")


@pytest.mark.parametrize("value", [np.ones(2), [1.0], "slow", {"a": 1}, None, 1j, (1.0, "a"), 1 << 70])
def test_a_field_that_is_no_constant_is_refused_where_it_is_read(value):
    with pytest.raises(nr.CellError) as raised:
        read(value)
    sentence(raised, "PlainCell.forward: ", "self.rate", type(value).__name__)


def read(value):
    """A layer whose cell reads its field of this value."""
    forward = "x = self.rate * pre[0]\n        return (x,), (x,)"
    text = PLAIN.format(forward=forward, adjoint=ADJOINT, fields="rate: object = 1.0", more="pass", before="")
    return layer_of(text, fields={"rate": value})


def test_fields_methods_and_constants_of_a_class_in_equations():
    fields = "dt: float = 0.1; n: int = 3; half: bool = True; k: tuple = (0.5, 2); single: object = np.float32(0.1)"
    forward = (
        "x = self.bent(pre[0], self.k[1])\nx += self.dt\nx *= +self.n\nx -= self.single\nx /= self.SCALE\n"
        "if self.half: x = x * self.k[0]\nreturn (x,), (x,)"
    )
    more = "SCALE = 4\n    def bent(self, x, by): return by * el.tanh(x)\n    pass"
    for dt in (0.1, 0.25):
        layer = layer_of(
            PLAIN.format(
                forward=forward.replace("\n", "\n        "), adjoint=ADJOINT, before="",
                fields=fields.replace("; ", "\n    "), more=more,
            ),
            fields={"dt": dt},
        )  # fmt: skip
        p = layer.init(1, dtype="float64")
        y = layer(p, np.full((1, 1, 1), 0.7))[0]
        pre = 0.7 * p["weight_ih_l0"][:, 0] + p["bias_ih_l0"] + p["bias_hh_l0"]
        np.testing.assert_allclose(y[0, 0], ((2 * np.tanh(pre) + dt) * 3 - float(np.float32(0.1))) / 4 * 0.5, rtol=1e-14)


def test_what_only_numba_finds_is_a_sentence_too():
    layer = plain("return (sum(tuple([pre[0]])),), (pre[0],)")
    with pytest.raises(nr.CellError) as raised:
        layer(layer.init(1), np.zeros((1, 1, 1), np.float32))
    sentence(raised, "PlainCell.forward: ", "Numba")


def test_a_cell_without_an_adjoint_only_runs():
    layer = plain()
    plain_cell = type(layer.cell)
    del plain_cell.adjoint
    again = type(layer)(3)
    p, x = again.init(1), np.zeros((1, 1, 1), np.float32)
    with pytest.raises(TypeError, match="PlainCell has no method adjoint"):
        again.forward(p, x)
