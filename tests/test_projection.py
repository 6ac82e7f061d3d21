"""An LSTM whose h is projected: every other option beside it, ragged batches, and what it refuses."""

from dataclasses import dataclass, field, replace

import numba
import numpy as np
import oracles
import pytest
from checks import ROUTES, as_tuple, check_gradients, routed, same_bits
from strategies import random_case

import numbarnn as nr

LENGTHS = np.array([5, 0, 3, 5, 1])
RESET = np.random.default_rng(0).random((5, 5)) < 0.3
BATCHES = ({}, {"lengths": LENGTHS}, {"reset": RESET}, {"lengths": LENGTHS, "reset": RESET})
OPTIONS = (
    {},
    {"layers": 2, "bidirectional": True},
    {"peepholes": True},
    {"coupled": True},
    {"coupled": True, "peepholes": True, "bidirectional": True},
    {"clip": 0.8},
    {"activation": "softsign", "gate_activation": ("hard_sigmoid", 0.3, 0.5), "output_activation": "gelu"},
)
SMOOTH = OPTIONS[:5]
OTHERS = (
    {"layers": 3, "residual": True},
    {"learned_state": True, "layers": 2, "bidirectional": True},
    {"learned_state": True, "peepholes": True},
    *({"layers": 2, "bidirectional": True, "merge": merge} for merge in ("sum", "average", "product")),
)


@dataclass(frozen=True)
class Ways:
    """A layer called in a certain way; the c of every step follows on its outputs."""

    layer: object
    options: dict = field(default_factory=dict)

    def forward(self, p, x, state, **options):
        y, final, tape, cells = self.layer.forward(p, x, state, cells=True, **options | self.options)
        return np.concatenate([y, cells], axis=2), final, tape

    def backward(self, tape, dy, dstate):
        if dy is None:
            return self.layer.backward(tape, None, dstate)
        width = self.layer.output_channels(1)
        return self.layer.backward(tape, dy[..., :width], dstate, dcells=dy[..., width:])


def case_of(steps=5, batch=5, channels=3, hidden=7, projection=3, dtype="float64", **options):
    """A case, dy for outputs and cells."""
    case = random_case(nr.LSTM(hidden, projection=projection, **options), steps, batch, channels, dtype=dtype)
    cells = np.random.default_rng(1).standard_normal((steps, batch, case.layer.directions * hidden)).astype(dtype)
    return replace(case, dy=np.concatenate([case.dy, cells], axis=2))


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-13), ("float32", 2e-6)])
@pytest.mark.parametrize("batch", BATCHES, ids=lambda batch: "-".join(batch))
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_outputs_are_the_oracles(options, batch, dtype, tolerance):
    for hidden, projection in ((2, 1), (7, 3), (70, 69), (100, 17)):
        case = case_of(hidden=hidden, projection=projection, dtype=dtype, **options)
        y, final, cells = case.layer(case.parameters, case.x, case.state, cells=True, **batch)
        expected = oracles.run(case.layer, dict(case.parameters.items()), case.x, case.state, cells=True, **batch)
        for a, b in zip((y, *final, cells), (expected[0], *expected[1], expected[2]), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1, np.abs(b).max()))


@pytest.mark.parametrize("batch", BATCHES, ids=lambda batch: "-".join(batch))
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("options", SMOOTH, ids=str)
def test_backward_is_the_derivative(options, route, batch):
    case = case_of(**options)
    told = check_gradients(routed(case, route), Ways(case.layer, batch))
    assert told == 3


@pytest.mark.parametrize("options", OPTIONS[5:], ids=str)
def test_backward_is_the_derivative_beside_kinks(options):
    told = [check_gradients(random_case(nr.LSTM(5, projection=2, **options), 2, 2, 2, seed=seed)) for seed in range(8)]
    assert max(told) == 3


@pytest.mark.parametrize("batch", BATCHES[:2], ids=lambda batch: "-".join(batch))
@pytest.mark.parametrize("options", OTHERS, ids=str)
def test_backward_is_the_derivative_with_what_comes_between(options, batch, monkeypatch):
    monkeypatch.setattr("checks.smooth_between", lambda cases: True)  # all are, and the oracle knows no merges
    for with_state in (True, False):
        case = random_case(nr.LSTM(6, projection=4, **options), 5, 5, 3, with_state=with_state)
        cells = np.random.default_rng(1).standard_normal((5, 5, case.layer.directions * 6))
        case = replace(case, dy=np.concatenate([case.dy, cells], axis=2))
        assert check_gradients(case, Ways(case.layer, batch)) == 2 + with_state


def test_a_learned_state_is_a_state():
    case = case_of(learned_state=True, layers=2, bidirectional=True)
    names = [f"l{layer}{end}" for layer in (0, 1) for end in ("", "_reverse")]
    state = tuple(
        np.stack([np.repeat(case.parameters[f"initial_{letter}_{name}"][None], 5, axis=0) for name in names])
        for letter in "hc"
    )
    assert [part.shape for part in state] == [(4, 5, 3), (4, 5, 7)]
    found, expected = (case.layer(case.parameters, case.x, given) for given in (None, state))
    assert same_bits(found[0], expected[0]) and same_bits(found[1], expected[1])


@pytest.mark.parametrize("merge, together", [("sum", lambda a, b: a + b), ("product", lambda a, b: a * b)])
def test_merged_directions(merge, together):
    case = random_case(nr.LSTM(7, projection=3, bidirectional=True, merge=merge), 4, 3, 2)
    y, _ = case.layer(case.parameters, case.x)
    both, _ = replace(case.layer, merge="concat")(case.parameters, case.x)
    assert y.shape == (4, 3, 3)
    np.testing.assert_array_equal(y, together(both[..., :3], both[..., 3:]))


def everything(case, subject, x=None, dy=None):
    """All that forward and backward return."""
    y, final, tape = subject.forward(case.parameters, case.x if x is None else x, case.state, layout="tnc")
    found = subject.backward(tape, case.dy if dy is None else dy, case.dstate)
    return y, *final, found.params.flat, found.x, *found.state


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("batch", BATCHES[1:], ids=lambda batch: "-".join(batch))
@pytest.mark.parametrize("options", [{}, {"layers": 2, "bidirectional": True, "peepholes": True}], ids=str)
def test_ragged_batches_on_any_threads_and_tape(options, batch, dtype):
    case = case_of(hidden=40, projection=18, dtype=dtype, **options)
    expected = everything(case, Ways(case.layer, batch))
    for count in (1, 2, 3):
        numba.set_num_threads(count)
        for way in ({}, {"tape": "states"}):
            assert same_bits(everything(case, Ways(case.layer, batch | way)), expected)


@pytest.mark.parametrize("way", [{}, {"tape": "states"}, {"checkpoints": 3}], ids=str)
def test_lengths_are_a_loop_over_the_sequences(way, monkeypatch, fresh_plans):
    from numbarnn.cpu import sizes

    monkeypatch.setattr(sizes, "BACKWARD_ROWS", 4)  # several segments
    case = random_case(nr.LSTM(20, projection=9, layers=2, bidirectional=True), 9, 4, 3)
    lengths = np.array([9, 4, 0, 7])
    case.x[np.arange(9)[:, None] >= lengths] = np.nan
    y, final, tape = case.layer.forward(case.parameters, case.x, case.state, lengths=lengths, **way)
    found = case.layer.backward(tape, case.dy, case.dstate)
    for n in (0, 1, 3):
        end, only = lengths[n], slice(n, n + 1)
        h, c = (part[:, only].copy() for part in case.state)
        alone, last, one = case.layer.forward(case.parameters, case.x[:end, only], (h, c))
        dstate = tuple(part[:, only].copy() for part in case.dstate)
        gradients = case.layer.backward(one, case.dy[:end, only], dstate)
        assert same_bits(y[:end, only].copy(), alone.copy()) and not y[end:, n].any()
        assert same_bits(tuple(part[:, only].copy() for part in final), last)
        assert same_bits(found.x[:end, only].copy(), gradients.x.copy()) and not found.x[end:, n].any()
        assert same_bits(tuple(part[:, only].copy() for part in found.state), gradients.state)
    data, offsets = np.concatenate([case.x[:end, n] for n, end in enumerate(lengths)]), np.cumsum([0, *lengths])
    outputs, state = case.layer(case.parameters, nr.Ragged(data, offsets), case.state)
    assert same_bits(as_tuple(state), as_tuple(final))
    assert all(same_bits(outputs[n].copy(), y[:end, n].copy()) for n, end in enumerate(lengths))


def test_a_tape_holds_what_its_formula_says():
    layer = nr.LSTM(64, projection=16)
    p, x, step = layer.init(8), np.zeros((4096, 2, 8), np.float32), 4 * 2
    weights = 4 * (4 * 64 * (16 + 16 + 2) + 64 * 16)  # a transposed weight's rows are padded
    for way, numbers, copies in (
        ({}, 4098 * (16 + 64) + 4096 * (4 + 1) * 64, 1),
        ({"tape": "states"}, 4098 * (16 + 64), 2),
        ({"checkpoints": 8}, 8 * (16 + 64), 2),
    ):
        assert 0 <= layer.forward(p, x, **way)[2].nbytes - step * numbers <= copies * weights


def test_parameters():
    layer = nr.LSTM(8, projection=3, layers=2, bidirectional=True, peepholes=True, learned_state=True)
    p = layer.init(5, seed=0, dtype="float64")
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr", "peephole", "initial_h", "initial_c")
    shapes = ((32, 5), (32, 3), (32,), (32,), (3, 8), (24,), (3,), (8,))
    assert p.names[:8] == tuple(f"{name}_l0" for name in names)
    assert [p[f"{name}_l0"].shape for name in names] == list(shapes)
    assert p["weight_ih_l1"].shape == (32, 6) and p["weight_hr_l1_reverse"].shape == (3, 8)
    for gate in np.split(p["weight_hh_l0"], 4):
        np.testing.assert_allclose(gate.T @ gate, np.eye(3), atol=1e-14)
    limit = np.sqrt(6 / 11)
    assert 0.8 * limit < np.abs(p["weight_hr_l0"]).max() <= limit


def test_a_network_with_a_projection():
    layers = [nr.LSTM(12, projection=4), nr.LSTM(6, projection=5, bidirectional=True), nr.Last(), nr.Dense(1)]
    x, y = nr.windows(np.sin(np.arange(80) / 3), 12)
    net = nr.Network(layers, 1, dtype="float64", seed=0)
    flat, random = net.params.flat.copy(), np.random.default_rng(0)
    direction = random.standard_normal(len(flat)) / np.sqrt(len(flat))
    _, gradient = net.loss_and_gradient(flat, x, y)
    ahead, back = (net.loss_and_gradient(flat + step * direction, x, y)[0] for step in (1e-4, -1e-4))
    assert abs((ahead - back) / 2e-4 - gradient @ direction) < 1e-7
    net = nr.Network([nr.LSTM(12, projection=4), nr.Last(), nr.Dense(1)], 1, dtype="float64", seed=0)
    before = net.loss(x, y)
    net.fit(x, y, epochs=10, batch_size=16, progress=False)
    assert net.loss(x, y) < before
    stream = net.stream(x.shape[1])
    assert same_bits([stream.step(step) for step in x][-1], net.predict(x).copy())


X = np.zeros((4, 3, 2))
LAYER = nr.LSTM(5, projection=2)
H, C = np.zeros((1, 3, 2)), np.zeros((1, 3, 5))


def back(**options):
    """A backward call with one bad argument."""
    _, _, tape = LAYER.forward(LAYER.init(2, dtype="float64"), X)
    return LAYER.backward(tape, **{"dy": None, **options})


@pytest.mark.parametrize(
    "bad, error, fragments",
    [
        (lambda: nr.LSTM(4, projection=4), ValueError, ["projection", "fewer than the 4 hidden units", "4"]),
        (lambda: nr.LSTM(4, projection=9), ValueError, ["projection", "fewer than the 4 hidden units", "9"]),
        (lambda: nr.LSTM(4, projection=0), ValueError, ["projection", "positive integer", "0"]),
        (lambda: nr.LSTM(4, projection=-1), ValueError, ["projection", "positive integer", "-1"]),
        (lambda: nr.LSTM(4, projection=2.0), TypeError, ["projection", "positive integer", "2.0", "float"]),
        (lambda: nr.LSTM(4, projection=True), TypeError, ["projection", "positive integer", "True", "bool"]),
        (lambda: nr.LSTM(4, projection="2"), TypeError, ["projection", "positive integer", "'2'", "str"]),
        (lambda: LAYER(LAYER.init(2, dtype="float64"), X, (C, C)), nr.ShapeError, ["state h", "(1, 3, 2)", "projection"]),
        (lambda: LAYER(LAYER.init(2, dtype="float64"), X, (H, H)), nr.ShapeError, ["state c", "(1, 3, 5)", "hidden"]),
        (lambda: LAYER(nr.LSTM(5).init(2, dtype="float64"), X), nr.ShapeError, ["p: ", "weight_hr_l0 (2, 5)"]),
        (lambda: back(dy=np.zeros((4, 3, 5))), nr.ShapeError, ["dy", "expected 2 channels", "got 5"]),
        (lambda: back(dcells=np.zeros((4, 3, 2))), nr.ShapeError, ["dcells", "expected 5 channels", "got 2"]),
        (lambda: back(dstate=(C, C)), nr.ShapeError, ["dstate h", "(1, 3, 2)", "(1, 3, 5)"]),
    ],
)
def test_named_error(bad, error, fragments):
    with pytest.raises(error) as raised:
        bad()
    assert type(raised.value) is error
    assert all(fragment in str(raised.value) for fragment in fragments), raised.value
