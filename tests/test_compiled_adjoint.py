"""The adjoint of a step in the user's own compiled code: what backward of the sequence gives, and finite differences."""

import numba
import numpy as np
import pytest
from checks import same_bits
from numba.core.errors import TypingError

import numbarnn as nr
from numbarnn.cpu.steps import StepRecord
from numbarnn.layers.embedding import LookupAdjoint
from numbarnn.layers.operations import ElementwiseAdjoint, ResidualAdjoint
from numbarnn.layers.recurrence import ConstrainedAdjoint, VectorGradients

STEPS, BATCH = 5, 2
DALE = nr.Connectivity(signs=[1, -1, 1, 1, -1])
SMOOTH = {
    "plain": ([nr.GRU(9), nr.Dense(3)], 2),
    "stacked": ([nr.LSTM(5, layers=2, residual=True, learned_state=True), nr.Dense(3, "gelu"), nr.RNN(4)], 2),
    "words": ([nr.Embedding(4, 3), nr.LSTM(5, peepholes=True), nr.Dropout(0.3), nr.Last(), nr.Dense(2)], None),
    "units": ([nr.LeakyRNN(3, rate=0.3, learned=True), nr.IndRNN(4, "tanh"), nr.LSTM(4, projection=2)], 2),
    "imposed": ([nr.RNN(5, connectivity=DALE), nr.LSTM(3, zoneout=0.1), nr.Activation("silu")], 2),
}
OTHERS = {
    "before": ([nr.GRU(5, reset="before", learned_state=True), nr.MGU(4)], 3),
    "normalized": ([nr.LSTM(5, normalized=True), nr.GRU(3, normalized=True)], 2),
    "images": ([nr.Conv2d(2, 3, padding=1), nr.MaxPool2d(2), nr.Flatten(), nr.GRU(5)], (1, 4, 6)),
    "stacked decays": ([nr.GRU(4, layers=3, decay=True, learned_state=True), nr.Dense(2)], 3),
    "decays": ([nr.GRUD(4, mean=0.5), nr.LSTM(3, decay=True, learned_state=True)], 6),
    "no state": ([nr.Dense(4, "tanh"), nr.Dense(2)], 2),
}
NETWORKS = SMOOTH | OTHERS


def made(name, dtype):
    """(network, x, dL/dy and dL/d(final state) that are drawn)."""
    layers, channels = NETWORKS[name]
    net, random = nr.Network(layers, channels, dtype=dtype, seed=0), np.random.default_rng(1)
    net.params.flat[:] += 0.1 * random.standard_normal(len(net.params)).astype(dtype)
    shape = STEPS, BATCH
    x = random.integers(0, 4, shape) if net.takes_indices else random.standard_normal((*shape, net.channels)).astype(dtype)
    dy = random.standard_normal((*shape, net.output_channels)).astype(dtype)
    if "t" not in net.output_layout:
        dy[:-1] = 0
    return net, x, dy, random.standard_normal(net.compiled_step(BATCH).state_size).astype(dtype)


@numba.njit
def forward(step, x, state, work):
    y, states = np.empty((len(x), step.batch, step.outputs), state.dtype), np.empty((len(x) + 1, state.size), state.dtype)
    for t in range(len(x)):
        states[t] = state
        step(x[t], state, y[t], work)
    states[-1] = state
    return y, states


@numba.njit
def backward(step, x, states, dy, dstate, work):
    """The gradient, and dx; dstate becomes the derivative with respect to the initial state."""
    gradient, dx = np.zeros(step.gradient_size, dy.dtype), np.empty_like(x)
    for t in range(len(x) - 1, -1, -1):
        step.adjoint(x[t], states[t], dy[t], dstate, dx[t], gradient, work)
    step.initial_adjoint(dstate, gradient)
    return gradient, dx


@numba.njit
def backward_of_indices(step, x, states, dy, dstate, work):
    gradient = np.zeros(step.gradient_size, dy.dtype)
    for t in range(len(x) - 1, -1, -1):
        step.adjoint(x[t], states[t], dy[t], dstate, None, gradient, work)
    step.initial_adjoint(dstate, gradient)
    return gradient, None


def gone_back(net, x, dy, dfinal, python=False):
    """(gradient, dx, dL/d(initial state)) of a loop forward and back, in compiled code or in Python."""
    step = net.compiled_step(BATCH, adjoint=True)
    work, dstate = step.workspace(), dfinal.copy()
    _, states = forward(step, x, step.initial_state(), work)
    back = backward_of_indices if net.takes_indices else backward
    gradient, dx = (back.py_func if python else back)(step, x, states, dy, dstate, work)
    return gradient, dx, dstate


def check_backward(name, dtype="float64", python=False):
    """A loop backward gives what the network's backward does: dL/dx to the bit, and other sums of as many terms."""
    net, x, dy, dfinal = made(name, dtype)
    _, _, tape = net.forward(x)
    last = "t" not in net.output_layout
    expected = net.backward(tape, dy[-1] if last else dy, net.compiled_step(BATCH).states(dfinal))
    gradient, dx, _ = gone_back(net, x, dy, dfinal, python)
    scale = np.abs(expected.params.flat).max()
    error = np.abs(gradient - expected.params.flat).max() / scale
    assert error <= 16 * np.finfo(dtype).eps, f"{error}"
    assert dx is None or same_bits(dx, expected.x.copy())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_loop_backward_is_backward_of_the_sequence(name):
    check_backward(name)


@pytest.mark.parametrize("name", ["plain", "stacked", "words"])
def test_in_single_precision_and_from_python(name):
    check_backward(name, "float32")
    check_backward(name, "float64", python=True)


@pytest.mark.parametrize("name", SMOOTH)
def test_finite_differences(name):
    net, x, dy, dfinal = made(name, "float64")
    random, distance = np.random.default_rng(2), 1e-4
    gradient, dx, dstate = gone_back(net, x, dy, dfinal)
    flat, initial = net.params.flat.copy(), net.compiled_step(BATCH).initial_state()
    learned = initial.any()
    along = [random.standard_normal(part.shape) for part in (flat, np.zeros(0) if dx is None else x, initial)]
    along[2] *= not learned  # it follows the parameters

    def loss(sign):
        net.params.flat = flat + sign * distance * along[0]
        step = net.compiled_step(BATCH)
        state = step.initial_state() + sign * distance * along[2]
        y, states = forward(step, x if dx is None else x + sign * distance * along[1], state, step.workspace())
        return (y * dy).sum() + states[-1] @ dfinal

    # Of fourth order: with 200 parameters the way is long, and its third derivative large.
    found = (8 * (loss(1) - loss(-1)) - (loss(2) - loss(-2))) / (12 * distance)
    expected = gradient @ along[0] + dstate @ along[2] + (0 if dx is None else (dx * along[1]).sum())
    assert abs(found - expected) <= 1e-9 * max(1, abs(expected))


def without(cls, method="add_to"):
    """What takes a part out of the adjoint."""
    return lambda patch: patch.setattr(cls, method, lambda self, program: True)


def without_learned_states(patch):
    add = StepRecord.add_adjoint

    def mutant(self, *what):
        add(self, *what)
        self.record["adjoint"]["learned_count"] = 0

    patch.setattr(StepRecord, "add_adjoint", mutant)


def with_states_swapped(patch):
    parts = StepRecord._parts
    patch.setattr(
        StepRecord, "_parts", staticmethod(lambda program, states: parts(program, states)[::-1].copy() * [1, 1, 0])
    )


MUTANTS = {
    "values of units": ("units", without(VectorGradients)),
    "rows of a table": ("words", without(LookupAdjoint)),
    "residual": ("stacked", without(ResidualAdjoint)),
    "elementwise": ("stacked", without(ElementwiseAdjoint)),
    "connectivity": ("imposed", without(ConstrainedAdjoint)),
    "learned state": ("stacked", without_learned_states),
    "states": ("plain", with_states_swapped),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_what_is_left_out_is_noticed(name, monkeypatch):
    network, mutate = MUTANTS[name]
    check_backward(network)
    mutate(monkeypatch)
    with pytest.raises(AssertionError):
        check_backward(network)


def test_the_gradient_is_added_wherever_it_is():
    net, x, dy, dfinal = made("plain", "float64")
    step = net.compiled_step(BATCH, adjoint=True)
    work = step.workspace()
    gradients = np.ones((2, step.gradient_size))
    for gradient in (gradients[0], gradients[1], gradients[0]):
        step.adjoint(x[0], dfinal, dy[0], dfinal.copy(), None, gradient, work)
    np.testing.assert_allclose(gradients[0] - 1, 2 * (gradients[1] - 1), rtol=1e-12, atol=1e-14)
    assert (gradients[1] != 1).sum() > step.gradient_size // 2


@numba.njit(parallel=True)
def summed(step, x, dy):
    gradients = np.zeros((len(x), step.gradient_size), dy.dtype)
    for n in numba.prange(len(x)):
        work, state, y = step.workspace(), step.initial_state(), np.empty(step.outputs, dy.dtype)
        states = np.empty((x.shape[1], state.size), dy.dtype)
        for t in range(x.shape[1]):
            states[t] = state
            step(x[n, t], state, y, work)
        dstate = np.zeros_like(state)
        for t in range(x.shape[1] - 1, -1, -1):
            step.adjoint(x[n, t], states[t], dy[n, t], dstate, None, gradients[n], work)
    return gradients.sum(axis=0)


def test_threads_go_back_at_once():
    net, random = made("plain", "float64")[0], np.random.default_rng(0)
    x, dy = random.standard_normal((30, 8, 2)), random.standard_normal((30, 8, 3))
    _, _, tape = net.forward(x.swapaxes(0, 1))
    expected = net.backward(tape, dy.swapaxes(0, 1)).params.flat
    np.testing.assert_allclose(summed(net.compiled_step(adjoint=True), x, dy), expected, rtol=1e-11, atol=1e-12)


WRONG = [
    ("x", np.ones((1, 2)), nr.ShapeError, nr.ShapeError),
    ("state", np.zeros(1), nr.ShapeError, nr.ShapeError),
    ("dy", np.ones((2, 2)), nr.ShapeError, nr.ShapeError),
    ("dy", np.ones((2, 3), np.float32), nr.DTypeError, TypingError),
    ("dstate", np.zeros(1), nr.ShapeError, nr.ShapeError),
    ("dx", np.ones((2, 3)), nr.ShapeError, nr.ShapeError),
    ("gradient", np.zeros(3), nr.ShapeError, nr.ShapeError),
    ("gradient", None, TypeError, TypingError),
    ("work", np.zeros(3, np.int64), nr.ShapeError, nr.ShapeError),
]


@pytest.mark.parametrize("name, value, in_python, in_numba", WRONG)
def test_wrong_arguments_change_nothing(name, value, in_python, in_numba):
    step = made("plain", "float64")[0].compiled_step(BATCH, adjoint=True)
    right = {"x": np.ones((2, 2)), "state": step.initial_state(), "dy": np.ones((2, 3)), "dstate": step.initial_state()}
    right |= {"dx": np.zeros((2, 2)), "gradient": np.zeros(step.gradient_size), "work": step.workspace()}

    @numba.njit
    def back(x, state, dy, dstate, dx, gradient, work):
        step.adjoint(x, state, dy, dstate, dx, gradient, work)

    for call, error in ((step.adjoint, in_python), (back, in_numba)):
        with pytest.raises(error, match=f"{name}: expected"):
            call(**{**right, name: value})
    assert not any(right[name].any() for name in ("dstate", "dx", "gradient", "work"))


def test_a_step_without_an_adjoint_says_so():
    step = made("plain", "float64")[0].compiled_step()
    none, back = np.zeros(0), numba.njit(lambda step, *arguments: step.adjoint(*arguments))
    arguments = np.ones(2), step.initial_state(), np.ones(3), step.initial_state(), None, none, step.workspace()
    assert step.gradient_size == 0
    for call in (step.adjoint, lambda *arguments: back(step, *arguments)):
        with pytest.raises(nr.ShapeError, match="gradient: expected .*adjoint=True"):
            call(*arguments)


def test_indices_have_no_derivative():
    step = made("words", "float64")[0].compiled_step(adjoint=True)
    arguments = 1, step.initial_state(), np.ones(2), step.initial_state(), np.ones(1), np.zeros(step.gradient_size)
    back = numba.njit(lambda step, *arguments: step.adjoint(*arguments))
    for call, error in ((step.adjoint, TypeError), (lambda *arguments: back(step, *arguments), TypingError)):
        with pytest.raises(error, match="dx: expected None, since x are indices"):
            call(*arguments, step.workspace())
