"""A network's step in the user's own compiled code: the bits of a stream, from arrays of the caller."""

import ctypes
import gc
import re
import weakref

import numba
import numpy as np
import pytest
from checks import as_tuple, same_bits
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core.errors import TypingError
from numba.core.runtime import _nrt_python, rtsys
from numba.experimental import jitclass
from processes import run as run_python
from scipy import LowLevelCallable
from scipy.integrate import quad
from strategies import KINDS, OTHER_KINDS

import numbarnn as nr
from numbarnn.arrays.rows import like
from numbarnn.layers.operations import Operation

DALE = nr.Connectivity(signs=[1, -1, 1, 1, -1])
NETWORKS = {
    "stacked": ([nr.GRU(5, layers=3, residual=True, dropout=0.1), nr.Last(), nr.Dense(3, "relu")], 2),
    "two layers": ([nr.LSTM(5), nr.Dropout(0.5), nr.Activation("gelu"), nr.GRU(17, reset="before"), nr.Dense(1)], 2),
    "zoneout": ([nr.LSTM(5, zoneout=(0.1, 0.2)), nr.RNN(5, connectivity=DALE, noise=0.1)], 3),
    "normalized": ([nr.LSTM(9, normalized=True), nr.GRU(5, normalized=True)], 2),
    "images": ([nr.Conv2d(2, 3, padding=1), nr.MaxPool2d(2), nr.Flatten(), nr.GRU(5)], (1, 4, 6)),
    "rows": ([nr.Dense(4, "tanh"), nr.Dense(2)], 3),
}


@numba.njit
def taken(step, x, state, y, work):
    for t in range(len(x)):
        step(x[t], state, y[t], work)


@numba.njit
def taken_at_once(step, x, state, y, work):
    step.run(x, state, y, work)


def flat(step, state):
    """The state of a stream as a step has it."""
    parts = state if isinstance(state, tuple) else (state,)
    return np.concatenate([flat(step, part) if isinstance(part, tuple) else part.ravel() for part in parts] or [[]])


def memory(step):
    """Every array that a step holds: those that nobody may write."""
    program = step._told.kept[0]
    arrays = [kept for kept in program._kept if isinstance(kept, np.ndarray)]
    arrays += [kept.block for kept in program._kept if hasattr(kept, "block")]
    return [step._told.record, program.template, program.addresses, program.scratch, step._initial, *arrays]


def check_steps(step, stream, x, start=None):
    """A step, in any way that it is taken, does what a stream does; nothing is written but the caller's arrays."""
    held = memory(step)
    before = [None if array is None else array.tobytes() for array in held]
    expected = np.array([stream.step(x_t) for x_t in x])
    ways = taken, taken_at_once, lambda step, *arrays: step.run(*arrays), lambda *arguments: taken.py_func(*arguments)
    for take in ways:
        state, y, work = step.initial_state(), np.full_like(expected, np.nan), step.workspace()
        if start is not None:
            state[:] = start
        take(step, x, state, y, work)
        assert same_bits(y, expected)
        if step.state_size:
            assert same_bits(state, flat(step, stream.state))
    assert before == [None if array is None else array.tobytes() for array in held]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", ["rnn-relu", "gru-after", "gru-before", "lstm", "lstm-projected"])
def test_a_layers_step_is_that_of_its_stream(kind, dtype):
    @settings(max_examples=20)
    @given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 3), st.sampled_from([1, 7, 33]), st.integers(1, 3))
    def check(steps, batch, channels, hidden, layers):
        random, layer = np.random.default_rng(0), KINDS[kind](hidden, layers=layers)
        p = layer.init(channels, seed=0, dtype=dtype)
        step, stream = layer.compiled_step(p, batch), layer.stream(p, batch)
        start = random.standard_normal(step.state_size).astype(dtype)
        stream.state = step.states(start.copy())
        check_steps(step, stream, random.standard_normal((steps, batch, channels)).astype(dtype), start)
        state = start.copy()
        assert all(np.shares_memory(part, state) for part in as_tuple(step.states(state)))

    check()


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_every_cell_has_a_step(kind):
    layer = OTHER_KINDS[kind](5, learned_state=True)
    p = layer.init(2, seed=0)
    p.flat[:] += 0.1
    assert layer.compiled_step(p).initial_state().any()
    check_steps(layer.compiled_step(p), layer.stream(p), np.random.default_rng(0).standard_normal((5, 1, 2), np.float32))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_networks_step_is_that_of_its_stream(name):
    layers, channels = NETWORKS[name]
    net = nr.Network(layers, channels, seed=0)
    x = np.random.default_rng(0).standard_normal((20, 2, net.channels), np.float32)
    check_steps(net.compiled_step(2), net.stream(2), x)


def test_a_step_of_indices():
    net = nr.Network([nr.Embedding(7, 3), nr.LSTM(5, learned_state=True), nr.Dense(7)], seed=0)
    net.params["1.initial_c_l0"][...] = 0.5
    x = np.random.default_rng(0).integers(0, 7, (20, 2))
    check_steps(net.compiled_step(2), net.stream(2), x)
    step, y = net.compiled_step(), np.empty((20, 7), np.float32)
    taken(step, x[:, 0].copy(), step.initial_state(), y, step.workspace())
    assert same_bits(y, net.predict(x[:, :1])[:, 0].copy())
    for index in (-1, 7, 2**63 - 1):
        for take in (step, numba.njit(lambda *arguments: step(*arguments))):
            state, out = step.initial_state(), np.ones(7, np.float32)
            with pytest.raises(nr.IndexRangeError, match="x: expected indices from 0 to"):
                take(index, state, out, step.workspace())
            assert same_bits(state, step.initial_state()) and (out == 1).all()

    for index in (10**30, -(10**30)):
        with pytest.raises(nr.IndexRangeError, match="x: expected indices from 0 to 6"):
            step(index, state, out, step.workspace())
    for take, shape in (
        (taken_one, r"\(batch\) of the step, or an integer"),
        (taken_at_once, r"\(T, batch\) of the step, or \(T,\)"),
    ):
        with pytest.raises(nr.ShapeError, match=f"x: expected shape {shape} of one sequence"):
            take(step, np.zeros((1,) * (take is taken_at_once) + (3,), np.int64), state, out[:, None].T, step.workspace())


@numba.njit
def taken_one(step, x, state, y, work):
    step(x, state, y, work)


def network(seed=0, dtype="float32", hidden=8):
    return nr.Network([nr.GRU(hidden), nr.Dense(2)], channels=2, dtype=dtype, seed=seed)


@numba.njit(parallel=True)
def ensemble(steps, x):
    y = np.empty((len(x), x.shape[1], steps[0].outputs), x.dtype)
    for n in numba.prange(len(x)):
        step = steps[n % len(steps)]
        state, work = step.initial_state(), step.workspace()
        for t in range(x.shape[1]):
            step(x[n, t], state, y[n, t], work)
    return y


def test_threads_take_steps_at_once():
    nets = [network(seed) for seed in range(3)]
    x = np.random.default_rng(0).standard_normal((60, 30, 2), np.float32)
    found = ensemble(tuple(net.compiled_step() for net in nets), x)
    for n, y in enumerate(found):
        assert same_bits(y, nets[n % 3].predict(x[n]))


def test_one_workspace_serves_several_steps_and_any_copy_of_it():
    nets = [network(seed, hidden=8 + seed) for seed in range(2)]
    steps, x = [net.compiled_step() for net in nets], np.random.default_rng(0).standard_normal((10, 2), np.float32)
    work, found = np.zeros(max(step.workspace_size for step in steps), np.int64), np.empty((2, 10, 2), np.float32)
    states = [step.initial_state() for step in steps]
    for t in range(10):
        for n, step in enumerate(steps):
            work = work.copy()
            taken(step, x[t : t + 1], states[n], found[n, t : t + 1], work)
    for net, y in zip(nets, found):
        assert same_bits(y, net.predict(x))


def allocated(function, *arguments):
    """How often compiled code allocates memory."""
    function(*arguments)
    _nrt_python.memsys_enable_stats()
    try:
        before = rtsys.get_allocation_stats()
        function(*arguments)
        after = rtsys.get_allocation_stats()
    finally:
        _nrt_python.memsys_disable_stats()
    return after.alloc - before.alloc


def test_nothing_is_allocated():
    step, x = network().compiled_step(), np.ones((50, 2), np.float32)
    arguments = step, x, step.initial_state(), np.empty((50, 2), np.float32), step.workspace()
    taking_arguments = allocated(numba.njit(lambda step, x, state, y, work: None), *arguments)
    assert allocated(taken, *arguments) == allocated(taken_at_once, *arguments) == taking_arguments
    assert allocated(numba.njit(lambda step, x, state, y, work: np.empty(3).sum()), *arguments) > taking_arguments


def test_what_is_compiled_for_one_network_takes_any_other():
    def last(step, x):
        state, work, y = step.initial_state(), step.workspace(), np.empty((len(x), step.outputs), x.dtype)
        step.run(x, state, y, work)
        return step, y[-1]

    compiled, x = numba.njit(last), np.ones((5, 2), np.float32)
    for net in (network(), network(1, hidden=40), nr.Network([nr.LSTM(3), nr.RNN(2)], channels=2, seed=2)):
        step = net.compiled_step()
        found, y = compiled(step, x)
        assert found is step and same_bits(y, net.predict(x)[-1])
    assert len(compiled.signatures) == 1


@numba.njit
def outputs_of(step, x):
    state, work, y = step.initial_state(), step.workspace(), np.empty((len(x), step.outputs), x.dtype)
    step.run(x, state, y, work)
    return y


class Holder:
    def __init__(self, step):
        self.step = step


@pytest.mark.parametrize("kind", ["list", "class"])
def test_what_compiled_code_keeps_is_there(kind):
    """A list or a class of compiled code is then all that refers to the step, and lets go of it in the end."""
    net, x = network(hidden=33), np.ones((4, 2), np.float32)
    step = net.compiled_step()
    alive, held = weakref.ref(step), jitclass([("step", numba.typeof(step))])(Holder) if kind == "class" else None
    holder = held(step) if held else numba.typed.List([step])
    del step
    gc.collect()
    assert same_bits(outputs_of(holder.step if held else holder[0], x), net.predict(x))
    assert (holder.step if held else holder[0]) is alive()
    del holder
    gc.collect()
    assert alive() is None


def test_a_workspace_may_be_longer_and_sizes_stay():
    step, x = network().compiled_step(), np.ones((4, 2), np.float32)
    y, work = np.empty((2, 4, 2), np.float32), np.zeros(step.workspace_size + 5, np.int64)
    for take, out in zip((step.run, numba.njit(lambda *arguments: step.run(*arguments))), y):
        take(x, step.initial_state(), out, work)
    assert same_bits(y[0], y[1]) and same_bits(y[0], network().predict(x))
    for name in ("channels", "outputs", "batch", "dtype", "state_size", "workspace_size", "gradient_size"):
        with pytest.raises(AttributeError, match=f"{name}\\b.* (expected no assignment|has no setter)"):
            setattr(step, name, 9)


CACHED = """
import sys
sys.path.insert(0, sys.argv[1])
import user, numpy as np, numbarnn as nr
net = nr.Network([nr.GRU(int(sys.argv[2])), nr.Dense(2)], channels=2, seed=0)
x = np.random.default_rng(0).standard_normal((9, 2), np.float32)
assert np.array_equal(user.outputs(net.compiled_step(), x), net.predict(x))
stats = user.outputs.stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""
USER = """
import numba, numpy as np

@numba.njit(cache=True)
def outputs(step, x):
    y, state, work = np.empty((len(x), step.outputs), x.dtype), step.initial_state(), step.workspace()
    for t in range(len(x)):
        step(x[t], state, y[t], work)
    return y
"""


def test_a_function_of_a_step_is_cached(tmp_path):
    (tmp_path / "user.py").write_text(USER)
    run = [run_python("-c", CACHED, str(tmp_path), size).split() for size in ("8", "20")]
    assert run == [["0", "1"], ["1", "0"]]


BESIDE = """
import numba, numpy as np, numbarnn as nr

@numba.njit
def outputs(step, x, state, y, work):
    for t in range(len(x)):
        step(x[t], state, y[t], work)

net = nr.Network([nr.RNN(3), nr.Dense(2)], channels=2, dtype=np.float32, seed=0)
x = np.random.default_rng(0).standard_normal((9, 1, 2)).astype(np.float32)
nr.RecursiveLeastSquares(net).run(x[:, 0], np.zeros((9, 2)))
step, y = net.compiled_step(), np.empty((9, 1, 2), np.float32)
outputs(step, x, step.initial_state(), y, step.workspace())
assert np.array_equal(y, net.predict(x))
"""


def test_code_of_the_users_takes_nothing_from_a_kernel_that_was_compiled_before(tmp_path):
    """Both call a step with arguments of the same types: the kernel's is its own, without arguments it does not need."""
    run_python("-c", BESIDE, NUMBA_CACHE_DIR=str(tmp_path))


def oracle_step(p, x, h):
    """A GRU's step in NumPy, arXiv:1406.1078v1."""
    own = p["0.weight_ih_l0"] @ x + p["0.bias_ih_l0"]
    back = p["0.weight_hh_l0"] @ h + p["0.bias_hh_l0"]
    (a, b, c), (d, e, f) = np.split(own, 3), np.split(back, 3)
    r, z = 1 / (1 + np.exp(-a - d)), 1 / (1 + np.exp(-b - e))
    return (1 - z) * np.tanh(c + r * f) + z * h


def test_a_gru_closes_the_equations_of_a_runge_kutta_loop():
    net = network(3, "float64")
    step = net.compiled_step()
    dt, count = 0.05, 40

    @numba.njit
    def slope(u, state, du, work):
        step(u, state, du, work)
        du[0] -= u[1]
        du[1] += u[0]

    @numba.njit
    def solved(u):
        state, work, trial, found = step.initial_state(), step.workspace(), np.empty_like(u), np.empty((count, 2))
        tried = np.empty_like(state)
        k = np.empty((4, 2))
        for t in range(count):
            trial[:] = u
            for stage, ahead in enumerate((0.5, 0.5, 1.0, 0.0)):
                tried[:] = state
                slope(trial, tried, k[stage], work)
                if stage == 0:
                    kept = tried.copy()
                trial[:] = u + ahead * dt * k[stage]
            state[:] = kept
            u = u + dt / 6 * (k[0] + 2 * k[1] + 2 * k[2] + k[3])
            found[t] = u
        return found

    def du(u, h):
        p = net.params
        return p["1.weight"] @ oracle_step(p, u, h) + p["1.bias"] + np.array([-u[1], u[0]])

    def oracle(u):
        h, found = np.zeros(8), []
        for _ in range(count):
            k1 = du(u, h)
            k2 = du(u + dt / 2 * k1, h)
            k3 = du(u + dt / 2 * k2, h)
            k4 = du(u + dt * k3, h)
            h, u = oracle_step(net.params, u, h), u + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            found.append(u)
        return np.array(found)

    start = np.array([1.0, 0.5])
    np.testing.assert_allclose(solved(start), oracle(start), rtol=1e-12, atol=1e-13)


def test_an_integrand_of_scipy():
    net = nr.Network([nr.GRU(8), nr.Dense(1)], channels=1, dtype="float64", seed=0)
    step = net.compiled_step()
    size, words = step.state_size, step.workspace_size

    @numba.cfunc("float64(float64, voidptr)")
    def output(x, pointer):
        memory = numba.carray(pointer, size + 2 + words, np.float64)
        state, ends, work = memory[:size], memory[size : size + 2], memory[size + 2 :].view(np.int64)
        state[:] = 0
        ends[0] = x
        step(ends[:1], state, ends[1:], work)
        return ends[1]

    memory = np.zeros(size + 2 + words)
    found, error = quad(LowLevelCallable(output.ctypes, memory.ctypes.data_as(ctypes.c_void_p)), -1, 2)
    expected, _ = quad(lambda x: net.predict(np.full((1, 1), x))[0, 0], -1, 2)
    assert abs(found - expected) <= 1e-13 and error < 1e-8


X, Y = np.ones(2, np.float32), np.zeros(2, np.float32)
WRONG = [  # argument, value, the error in Python, the error in compiled code
    ("x", X[:1], nr.ShapeError, nr.ShapeError),
    ("x", np.ones((2, 2), np.float32), nr.ShapeError, nr.ShapeError),
    ("x", np.ones(2), nr.DTypeError, TypingError),
    ("x", [1.0, 2.0], TypeError, TypingError),
    ("x", np.ones((2, 1, 1, 2), np.float32), nr.ShapeError, TypingError),
    ("state", np.zeros(7, np.float32), nr.ShapeError, nr.ShapeError),
    ("state", np.zeros(8), nr.DTypeError, TypingError),
    ("state", np.zeros(16, np.float32)[::2], nr.LayoutError, TypingError),
    ("y", np.zeros(3, np.float32), nr.ShapeError, nr.ShapeError),
    ("y", np.zeros((2, 2), np.float32), nr.ShapeError, nr.ShapeError),
    ("y", np.zeros(2, np.int32), nr.DTypeError, TypingError),
    ("work", np.zeros(9, np.int64), nr.ShapeError, nr.ShapeError),
    ("work", np.zeros(9, np.int32), nr.DTypeError, TypingError),
    ("work", None, TypeError, TypingError),
]


@pytest.mark.parametrize("name, value, in_python, in_numba", WRONG)
def test_wrong_arguments_change_nothing(name, value, in_python, in_numba):
    step = network().compiled_step()
    right = {"x": X, "state": step.initial_state() + 1, "y": Y.copy(), "work": step.workspace()}
    given = {**right, name: value}

    @numba.njit
    def take(x, state, y, work):
        step(x, state, y, work)

    for call, error in ((step, in_python), (take, in_numba)):
        with pytest.raises(error, match=f"{name}: expected"):
            call(**given)
    assert (right["state"] == 1).all() and (right["y"] == 0).all() and not right["work"].any()


def test_wrong_sequences():
    step = network().compiled_step(3)
    right = {"x": np.ones((4, 3, 2), np.float32), "state": step.initial_state(), "y": np.zeros((4, 3, 2), np.float32)}
    wrong = [("x", np.ones((4, 2), np.float32)), ("x", np.ones((4, 2, 3), np.float32)), ("y", right["y"][:3])]
    take = numba.njit(lambda x, state, y, work: step.run(x, state, y, work))
    for name, value in wrong:
        for call in (step.run, take):
            with pytest.raises(nr.ShapeError, match=f"{name}: expected shape"):
                call(**{**right, name: value}, work=step.workspace())
    for argument in ("state", "y"):
        given = {name: array.copy() for name, array in right.items()}
        given[argument].flags.writeable = False
        for call, error in ((step.run, ValueError), (take, TypingError)):
            with pytest.raises(error, match=f"{argument}: expected an array that may be written"):
                call(**given, work=step.workspace())


def test_outputs_of_a_sequence_lie_beside_its_inputs():
    step = network().compiled_step()
    both = np.ones((5, 2), np.float32)
    state = step.initial_state()
    for x, y in ((both[:-1], both[1:]), (both[1:], both[:-1]), (both, both)):
        with pytest.raises(ValueError, match="y: expected an array that shares no memory with x"):
            step.run(x, state, y, step.workspace())
    assert (both == 1).all() and (state == step.initial_state()).all()


def test_no_steps():
    step = network().compiled_step()
    state = step.initial_state() + 1
    taken_at_once(step, np.empty((0, 2), np.float32), state, np.empty((0, 2), np.float32), step.workspace())
    assert (state == 1).all()


class Halved(nr.Dense):
    """A layer of one's own that Python runs."""

    def operation(self, p, x, keep):
        return Half(x, like(x))


class Half(Operation):
    def forward(self):
        np.multiply(self.source.tnc, 0.5, out=self.outputs.array)


@pytest.mark.parametrize(
    "layers, error, message",
    [
        ([nr.GRU(3, bidirectional=True)], ValueError, "steps: GRU(hidden=3, bidirectional=True) is bidirectional and needs"),
        ([nr.GRU(3), nr.Pool("mean")], ValueError, "steps: Pool(kind='mean') needs the whole sequence"),
        ([Halved(2)], TypeError, "layers: expected layers that take a step in compiled code, got one that has Half"),
    ],
)
def test_what_takes_no_steps_is_named(layers, error, message):
    with pytest.raises(error, match=re.escape(message)):
        nr.Network(layers, channels=2).compiled_step()


def test_later_changes_of_the_parameters_are_not_seen():
    layer = nr.GRU(4)
    p, y = layer.init(2, seed=0), np.empty((2, 4), np.float32)
    step = layer.compiled_step(p)
    step(X, step.initial_state(), y[0], step.workspace())
    p.flat[:] = 0
    step(X, step.initial_state(), y[1], step.workspace())
    assert same_bits(y[0], y[1]) and y.any()


def test_how_a_step_is_shown():
    assert repr(network().compiled_step(4)) == "CompiledStep(4 sequences, 2 to 2 channels, float32)"
