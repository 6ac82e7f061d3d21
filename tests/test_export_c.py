"""Networks as C and Fortran: against streams step by step, against NumPy, and under sanitizers.

What takes a compiler runs wherever that compiler is; gcc is on every machine that CI has.
"""

import functools
import itertools
from ctypes import c_size_t, c_void_p
from dataclasses import dataclass

import numpy as np
import pytest
from c_programs import WARNINGS, Exported, called, compiler, flat_states
from oracles import ACTIVATIONS, run

import numbarnn as nr

needs_gcc = pytest.mark.skipif(compiler("gcc") is None, reason="gcc is not here")
NATIVE = "-O3", "-march=native"
REAL = "float32", "float64"
el = nr.elementary


@dataclass(frozen=True)
class OwnCell(nr.Cell):
    """A cell of a user's: constants, comparisons, methods, values of units, and a gate before R."""

    limit: float = 0.75

    gates = ("g", "c")
    slots, saved = 2, 0
    input_slots, input_gates = (0, 1), (0, 1)
    recurrent_slots, recurrent_gates = (0,), (0,)
    gated_slots, gated_gates = (1,), (1,)
    unit_values = ("a",)

    def opened(self, x):
        return el.where(x > self.limit, el.full_like(x, 1), el.sigmoid(x))

    def gate(self, pre, state, per_unit):
        return pre, self.opened(pre[0]) * state[0]

    def forward(self, pre, state, per_unit):
        g = self.opened(pre[0])
        kept = el.exp(-abs(per_unit[0])) * state[0] + el.sqrt(g) * el.expm1(-state[0] * state[0])
        return (g * kept + (1 - g) * el.tanh(pre[1]) / 2,), ()


@dataclass(frozen=True, repr=False)
class OwnLayer(nr.Recurrent):
    """A layer of it."""

    hidden: int
    layers: int = 1
    bidirectional: bool = False

    unit_parameter = "rate"

    @functools.cached_property
    def cell(self):
        return OwnCell()


MISH = nr.ActivationFunction("mish */ ??/ ö", lambda x: x * el.tanh(el.softplus(x)))
MASK = nr.Connectivity(mask=1 - np.eye(5), signs=[1, 1, -1, 1, -1])
NETWORKS = {
    "RNN": [nr.RNN(5, "softsign", layers=2, residual=True, recurrent_dropout=0.1), nr.Dense(2)],
    "GRU after": [nr.GRU(7, clip=1.5, learned_state=True), nr.Last(), nr.Dense(9, "gelu")],
    "GRU decayed": [nr.GRU(6, decay=True), nr.LSTM(5, decay=True, learned_state=True), nr.Dense(2)],
    "GRU decayed, stacked": [nr.GRU(6, layers=3, decay=True), nr.Dense(2)],
    "GRUD": [nr.GRUD(6, 0.3, past=True), nr.GRUD(5, (0.2, -0.4), learned_state=True), nr.Dense(2)],
    "GRU before": [nr.GRU(6, reset="before", zoneout=0.2, layers=2, dropout=0.5)],
    "GRU gates": [nr.GRU(5, activation="elu", gate_activation=("hard_sigmoid", 0.25, 0.5), connectivity=MASK)],
    "LSTM": [nr.LSTM(8, layers=3, residual=True), nr.Dropout(0.3), nr.Dense(1)],
    "LSTM zoned": [nr.LSTM(5, zoneout=(0.1, 0.3), noise=0.1, output_activation=("scaled_tanh", 1.7, 0.6))],
    "LSTM peepholes": [nr.LSTM(5, peepholes=True, learned_state=True), nr.Activation("softplus"), nr.Dense(3, "silu")],
    "LSTM coupled": [nr.LSTM(5, peepholes=True, coupled=True), nr.Activation(("leaky_relu", 0.2))],
    "LSTM projected": [nr.LSTM(9, projection=3, layers=2, learned_state=True), nr.Dense(4, "thresholded_relu")],
    "GRU normalized": [nr.GRU(9, normalized=True), nr.Activation("identity")],
    "LSTM normalized": [nr.LSTM(13, normalized=True, layers=2), nr.Dense(5, ("affine", 0.5, 0.1))],
    "MGU": [nr.MGU(6), nr.Dense(4, MISH)],
    "IndRNN": [nr.IndRNN(6, clip=2.0, layers=2), nr.Dense(1, "sigmoid")],
    "leaky": [nr.LeakyRNN(4, rate=(0.1, 0.2, 0.3, 0.4)), nr.LeakyRNN(5, rate=0.3, form="inside", learned=True)],
    "indices": [nr.Embedding(11, 3), nr.GRU(4), nr.Dense(11)],
    "own": [OwnLayer(6, layers=2), nr.LastStep()],
    "no state": [nr.Dense(5, "tanh"), nr.Activation("elu"), nr.Dense(3)],
    "function alone": [nr.Activation("tanh")],
    "nothing": [nr.Dropout(0.5)],
}


def made(layers, channels=3, dtype="float32", seed=0, spread=0.1):
    """A network whose parameters, biases too, are none of them 0."""
    net = nr.Network(layers, channels=1 if layers[0].takes_indices else channels, dtype=dtype, seed=seed)
    net.params.flat[:] += np.random.default_rng(seed + 1).standard_normal(len(net.params.flat)) * spread
    return net


def inputs(net, steps, seed=0):
    """(x as a Stream takes it, x as C takes it)."""
    random = np.random.default_rng(seed)
    if net.takes_indices:
        x = random.integers(0, net.layers[0].vocabulary, (steps, 1))
        return x, x[:, 0].astype(np.int32)
    x = random.standard_normal((steps, 1, net.channels)).astype(net.dtype)
    return x, x[:, 0]


def units(found, expected, dtype, least=1.0):
    """How far arrays are apart, in units in the last place of the largest number that was expected, or of `least`."""
    scale = max(least, np.abs(expected).max())
    return np.abs(found.astype(np.float64) - expected).max() / np.spacing(np.dtype(dtype).type(scale))


def steps_apart(net, exported, steps, least=1.0):
    """{array: units} of y and of each array of the state, the C taking each step from the state that the stream is in."""
    stream, (x, x_c) = net.stream(), inputs(net, steps)
    found, expected = [], []
    for x_t, x_t_c in zip(x, x_c):
        exported.put(stream.state)
        found.append([exported.step(x_t_c), *exported.states()])
        y = stream.step(x_t)[0]
        expected.append([y, *flat_states(stream.state)])
    names = "y", *exported.fields
    pairs = zip(names, zip(*found), zip(*expected))
    return {name: units(np.array(a), np.array(b), net.dtype, least) for name, a, b in pairs}


@needs_gcc
@pytest.mark.parametrize("flags", [("-O2",), NATIVE], ids=" ".join)
@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("kind", [nr.GRU, nr.LSTM])
def test_ten_thousand_steps_to_four_units(tmp_path, kind, dtype, flags):
    """Each from the state before it; then, for a network that forgets its past, how far a run drifts from the stream's."""
    steps, layer = 10_000, kind(32)
    net = made([layer, nr.Dense(1)], 1, dtype, spread=0.01)
    exported, (x, x_c) = Exported(net, tmp_path, flags=flags), inputs(net, steps)
    h, _, *c = layer(net.split(net.params.flat)[0], x, cells=layer.cell.states > 1)
    states = [np.concatenate([np.zeros_like(part[:1]), part])[:, 0] for part in (h, *c)]
    found = np.empty((steps, exported.outputs), dtype), *(np.empty_like(state[1:]) for state in states)
    for t in range(steps):
        for field, state in zip(exported.fields, states):
            exported.array(field)[:] = state[t]
        for array, value in zip(found, [exported.step(x_c[t]), *exported.states()]):
            array[t] = value
    y = net.stream().run(x)[:, 0]
    expected = y, *(state[1:] for state in states)
    assert max(apart := [units(a, b, dtype) for a, b in zip(found, expected, strict=True)]) <= 4, apart
    exported.reset()
    assert units(exported.run(x_c), y, dtype) <= 4


@needs_gcc
@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_and_option(tmp_path, name, dtype):
    """A run starts as a stream does, too, and is so many steps to the bit."""
    net = made(NETWORKS[name], dtype=dtype)
    exported = Exported(net, tmp_path)
    exported.reset()
    assert all(np.array_equal(*pair) for pair in zip(exported.states(), flat_states(net.stream().state), strict=True))
    _, x = inputs(net, 30)
    run = exported.run(x)
    exported.reset()
    assert np.array_equal(run, [exported.step(x_t) for x_t in x])
    apart = steps_apart(net, exported, 60)
    assert max(apart.values()) <= 4, apart


@needs_gcc
@pytest.mark.parametrize("kind", [nr.RNN, nr.GRU, nr.LSTM])
def test_sums_of_many_inputs_to_four_units_of_their_terms(tmp_path, kind):
    """Where hundreds of terms are added, rounding is relative to their sum without signs."""
    layer = kind(8)
    net, steps = made([layer], 300), 100
    p, x = net.split(net.params.flat)[0], inputs(net, steps)[1]
    h = layer(p, x[:, None])[0][:, 0]
    terms = abs(x) @ abs(p["weight_ih_l0"]).T + abs(p["bias_ih_l0"]) + abs(p["bias_hh_l0"])
    terms[1:] += abs(h[:-1]) @ abs(p["weight_hh_l0"]).T
    apart = steps_apart(net, Exported(net, tmp_path), steps, least=terms.max())
    assert max(apart.values()) <= 4, apart


@needs_gcc
def test_products_of_all_sizes(tmp_path):
    """Few and many outputs; inputs around what is added together, a block, and several blocks."""
    for place, (inputs_, units_) in enumerate(itertools.product((1, 3, 4, 131, 300), (1, 3, 5, 8))):
        net = made([nr.Dense(units_)], inputs_, REAL[place % 2])
        p, x = net.split(net.params.flat)[0], inputs(net, 3)[1]
        wide = [array.astype(np.float64) for array in (x, p["weight"], p["bias"])]
        terms = abs(wide[0]) @ abs(wide[1].T) + abs(wide[2])
        y = Exported(net, tmp_path, flags=("-O1",), name=f"net{place}").run(x)
        assert units(y, wide[0] @ wide[1].T + wide[2], net.dtype, least=terms.max()) <= 4, (inputs_, units_)


@needs_gcc
@pytest.mark.parametrize("layer", [nr.GRU(5), nr.GRU(5, reset="before"), nr.LSTM(5, peepholes=True), nr.MGU(5)], ids=repr)
def test_equations_of_the_papers(tmp_path, layer):
    """What NumPy makes of them, in float64, without anything of the library."""
    net = made([layer], dtype="float64", spread=0.3)
    _, x = inputs(net, 50)
    y, *_ = run(layer, dict(net.split(net.params.flat)[0].items()), x[:, None])
    exported = Exported(net, tmp_path)
    exported.reset()
    np.testing.assert_allclose(exported.run(x), y[:, 0], rtol=0, atol=1e-13)


@needs_gcc
@pytest.mark.parametrize("flags", [("-O2",), NATIVE], ids=" ".join)
@pytest.mark.parametrize("dtype", REAL)
def test_activation_functions_and_their_limits(tmp_path, dtype, flags):
    """Within 3 units of the library's kernels at numbers of all sizes; tests/test_activations.py holds these."""
    size = np.geomspace(1e-30, 90, 500)
    x = np.concatenate([size, -size, [0.0, -0.0, np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-40, -104.0, 709.0]]).astype(dtype)
    for place, name in enumerate(ACTIVATIONS):
        net = nr.Network([nr.Activation(name)], channels=len(x), dtype=dtype)
        found = Exported(net, tmp_path, flags=flags, name=f"net{place}").step(x)
        expected = net.predict(x[None, None])[0, 0]
        finite = np.isfinite(expected)
        assert np.array_equal(found[~finite], expected[~finite], equal_nan=True), name
        found, expected = found[finite], expected[finite]
        apart = np.abs(found - expected) / np.spacing(np.maximum(np.abs(expected), np.finfo(dtype).tiny))
        assert apart.max() <= (16 if name == "gelu" else 3), (name, x[finite][apart.argmax()])  # gelu: its far tail


@needs_gcc
def test_y_may_be_x(tmp_path):
    net = made(NETWORKS["GRU after"][:1] + [nr.Dense(3)])
    exported, x = Exported(net, tmp_path), inputs(net, 20)[1].copy()
    exported.reset()
    expected = exported.run(x)
    exported.reset()
    exported._call("run", *[x.ctypes.data_as(c_void_p)] * 2, c_size_t(20))
    assert np.array_equal(x, expected)


@needs_gcc
def test_an_index_out_of_range_changes_nothing(tmp_path):
    exported = Exported(made(NETWORKS["indices"]), tmp_path)
    exported.reset()
    exported.run(np.array([3, 4], np.int32))
    before = exported.states()
    for wrong in (-1, 11):
        y = exported.run(np.array([3, wrong], np.int32))
        assert exported.returned == 1 and np.isnan(y).all()
        assert all(np.array_equal(*pair) for pair in zip(exported.states(), before))
    exported.run(np.array([10], np.int32))
    assert exported.returned == 0


@needs_gcc
def test_numbers_of_another_dtype(tmp_path):
    net = made(NETWORKS["GRU after"])
    assert np.array_equal(net.params.flat, net.params.flat.astype(np.float64))
    exported, (_, x) = Exported(net, tmp_path, "float64"), inputs(net, 30)
    exported.reset()
    y = exported.run(x.astype(np.float64))
    wide = nr.Network(net.layers, channels=3, dtype="float64").transfer(net)
    assert units(y, wide.stream().run(x[:, None].astype(np.float64))[:, 0], "float64") <= 8
    back = Exported(wide, tmp_path / "single", "float32")
    back.reset()
    assert units(back.run(x), net.stream().run(x[:, None])[:, 0], "float32") <= 8


PROGRAM = """
#include <math.h>
#include <stdio.h>
#include "{name}.h"

int main(void)
{{
    static {name}_state state;
    {input} x[3 * {upper}_INPUT];
    {real} y[3 * {upper}_OUTPUT];
    {name}_reset(&state);
    for (int t = 0; t < 3 * {upper}_INPUT; t++)
        x[t] = ({input})(t % 7);
    {name}_step(&state, x, y);
    {name}_run(&state, x, y, 3);
    {wild}
    {name}_run(&state, x, y, 3);
    puts("done");
    return 0;
}}
"""


@pytest.mark.parametrize("cc", ["gcc", "clang"])
def test_clean_under_sanitizers(tmp_path, cc):
    """All layers, in one dtype or the other, in one program; x is at last not finite, an index out of range."""
    if compiler(cc) is None:
        pytest.skip(f"{cc} is not here")
    names, sources = [], []
    for place, layers in enumerate(NETWORKS.values()):
        net, name, dtype = made(layers), f"net{place}", REAL[place % 2]
        sources.append(net.export_c(tmp_path, name, dtype)[1])
        real = "float" if dtype == "float32" else "double"
        wild = "x[0] = -1; x[1] = 1 << 30;" if net.takes_indices else "x[0] = NAN; x[1] = INFINITY; x[2] = -1e30f;"
        kind = "int32_t" if net.takes_indices else real
        text = PROGRAM.format(name=name, upper=name.upper(), real=real, input=kind, wild=wild)
        sources.append(tmp_path / f"main_{name}.c")
        sources[-1].write_text(text.replace("main(void)", f"main_{name}(void)"))
        names.append(f"main_{name}")
    declared = "".join(f"int {name}(void);\n" for name in names)
    calls = " + ".join(f"{name}()" for name in names)
    (tmp_path / "main.c").write_text(f"{declared}int main(void) {{ return {calls}; }}\n")
    sanitizers = "-O0", "-g", "-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all"
    command = cc, "-std=c99", *sanitizers, *WARNINGS, "-I", tmp_path
    called(*command, *sources, tmp_path / "main.c", "-lm", "-o", tmp_path / "all")
    assert called(tmp_path / "all").split() == ["done"] * len(names)


@pytest.mark.parametrize("command", [("clang", "-O2"), ("g++", "-x", "c++", "-std=c++17"), ("gfortran",)], ids=" ".join)
def test_other_compilers_without_a_warning(tmp_path, command):
    """What gcc says of C is seen by the tests above."""
    if compiler(command[0]) is None:
        pytest.skip(f"{command[0]} is not here")
    for place, name in enumerate(("GRU after", "LSTM normalized", "indices", "own", "function alone")):
        _, source, module = made(NETWORKS[name]).export_c(tmp_path, f"net{place}", REAL[place % 2])
        file = module if command[0] == "gfortran" else source
        options = () if command[-1] == "-O2" else ("-fsyntax-only",)
        called(*command, *options, *WARNINGS, "-c", file, "-o", "/dev/null", cwd=tmp_path)
