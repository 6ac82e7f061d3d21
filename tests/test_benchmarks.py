"""The benchmarks compare the same work: every library finds the same outputs and gradients."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numba import config, types
from numba.core.codegen import CPUCodeLibrary
from small_kernel import threefold

import numbarnn as nr
from numbarnn.cpu.compiled import SOURCES
from numbarnn.engine.numba_internals import KeptCFunction

sys.path.insert(0, str(Path(__file__).parents[1]))
cases = pytest.importorskip("benchmarks.cases", reason="the benchmarks lie beside the tests, not in the package")
c = pytest.importorskip("benchmarks.c")
call_times = pytest.importorskip("benchmarks.call_times")
cpu = pytest.importorskip("benchmarks.cpu")
dynamics = pytest.importorskip("benchmarks.dynamics")
inference = pytest.importorskip("benchmarks.inference")
feedback = pytest.importorskip("benchmarks.feedback")
many = pytest.importorskip("benchmarks.many")
ragged = pytest.importorskip("benchmarks.ragged")
start = pytest.importorskip("benchmarks.start")
step_times = pytest.importorskip("benchmarks.steps")
start_trace = pytest.importorskip("benchmarks.start_trace")
sums = pytest.importorskip("benchmarks.sums")

SHAPE = (4, 2, 3, 5, 2)
PEERS = {"torch": cases.torch_layer, "jax": cases.jax_layer}


@pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("peer", PEERS)
def test_forward_and_backward(peer, cell):
    module = pytest.importorskip(peer)
    if peer == "jax":
        module.config.update("jax_enable_x64", True)
    case = cases.Case("both", cell, *SHAPE, "float64")
    y, dx, gradients = cases.ours(case)()
    their_y, their_dx, theirs = PEERS[peer](case)()
    np.testing.assert_allclose(y, their_y, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(dx, their_dx, rtol=1e-10, atol=1e-12)
    assert set(theirs) == set(gradients)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, theirs[name], rtol=1e-10, atol=1e-12, err_msg=name)
    forward = PEERS[peer](replace(case, work="forward"))()
    np.testing.assert_allclose(forward, y, rtol=1e-10, atol=1e-12)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not here")
def test_what_c_is_timed_with_is_the_network(tmp_path):
    net, x = c.network("LSTM", 16), np.sin(np.arange(100, dtype=np.float32))
    y = c.compiled(net, tmp_path, ("-O2",), "gcc")(x)
    np.testing.assert_allclose(y, net.stream().run(x[:, None, None]).ravel(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM"])
def test_inference_in_onnxruntime(cell):
    pytest.importorskip("onnxruntime")
    case = cases.Case("forward", cell, 4, 2, 3, 5, 1, "float32")
    np.testing.assert_allclose(inference.onnx_layer(case, 1)(), cases.ours(case)(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM"])
def test_ragged_batches(cell):
    pytest.importorskip("torch")
    lengths = (3, 1, 4, 2)
    case = ragged.Case("both", cell, 4, 4, 3, 5, 2, "float64", lengths=lengths)
    *mine, gradients = ragged.ours(case)()
    *theirs, their_gradients = ragged.torch_packed(case)()
    *rows, of_rows = ragged.ours(replace(case, form="Ragged"))()
    for array, other, values in zip(mine, theirs, rows, strict=True):
        np.testing.assert_allclose(array, other, rtol=1e-10, atol=1e-12)
        np.testing.assert_array_equal(values, np.concatenate([array[:length, n] for n, length in enumerate(lengths)]))
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, their_gradients[name], rtol=1e-10, atol=1e-12, err_msg=name)
        np.testing.assert_array_equal(gradient, of_rows[name])
    for run in (ragged.ours, ragged.torch_packed):
        np.testing.assert_allclose(run(replace(case, work="forward"))(), mine[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("work", ["step", "cell"])
def test_a_step(work, cell):
    pytest.importorskip("torch")
    case = cases.Case(work, cell, 2, 1, 3, 5, 2, "float64")
    mine, theirs = cases.ours(case), cases.torch_layer(case)
    for _ in range(3):
        np.testing.assert_allclose(mine(), theirs(), rtol=1e-10, atol=1e-12)


def test_many_networks_are_trained_alike():
    jax = pytest.importorskip("jax")
    x, y = many.data(steps=5)
    members = [many.network(seed, hidden=4) for seed in range(3)]
    update, state = many.jax_update(jax, jax.numpy.asarray(x), jax.numpy.asarray(y)), many.jax_state(jax, members)
    for t in range(4):
        state = update(state, t + 1.0)
    ensemble = nr.fit_many(members[0], x, y, seeds=range(3), **many.options(4))
    for k, member in enumerate(ensemble):
        for name in member.params:
            np.testing.assert_allclose(member.params[name], state[0][name][k], rtol=1e-3, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("cell", feedback.CELLS)
def test_what_is_fed_back_is_trained_alike(cell):
    pytest.importorskip("torch")
    ours, theirs = feedback.ours(cell, 4, 2), feedback.theirs(cell, 4, 2)
    for _ in range(4):
        assert ours() == pytest.approx(theirs(), rel=1e-5)


def test_operations_are_counted():
    case = cases.Case("forward", "GRU", 10, 3, 4, 8, 2, "float32")
    assert case.flops == 2 * 10 * 3 * 3 * 8 * ((4 + 8) + (8 + 8))
    assert replace(case, work="both").flops == 3 * case.flops
    assert replace(case, work="step").flops == case.flops / 10


def test_the_unit_that_adds():
    torch = pytest.importorskip("torch")
    net = nr.Network([nr.RNN(1, "identity"), nr.Last()], channels=1, seed=0, scheme="pytorch")
    unit = sums.torch_unit()
    with torch.no_grad():
        for parameter, name in zip((unit.inputs.weight, unit.recurrent), ("weight_ih", "weight_hh")):
            parameter.copy_(torch.from_numpy(net.params[f"0.{name}_l0"].copy()))
        unit.inputs.bias.copy_(torch.from_numpy(net.params["0.bias_ih_l0"] + net.params["0.bias_hh_l0"]))
    x, y = sums.sequences()
    value, gradient = net.loss_and_gradient(net.params.flat, x[0][:, None], y[:1], "mae")
    loss = (unit(torch.from_numpy(x[0].copy())) - torch.from_numpy(y[:1])).abs().mean()
    loss.backward()
    assert value == pytest.approx(loss.item(), rel=1e-6)
    found = [p.grad.item() for p in (unit.inputs.weight, unit.recurrent, unit.inputs.bias)]
    np.testing.assert_allclose(gradient[:3], found, rtol=1e-5)


def test_where_the_seconds_go(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    optimize = CPUCodeLibrary._optimize_final_module
    with start_trace.Trace() as trace:
        KeptCFunction(threefold, types.float64(types.float64), SOURCES, None).compile()
    found = trace.summary()
    stages, functions = dict(found["stages"]), {name: times for name, _, times in found["functions"]}
    assert {"type inference", "lowering to LLVM's language", "LLVM: optimization", "LLVM: machine code"} <= stages.keys()
    assert sum(stages.values()) == pytest.approx(sum(trace.functions.values()))
    assert 0 < sum(stages.values()) <= found["seconds"] and min(stages.values()) >= 0
    assert functions == {"threefold": 1} and [name for name, _ in found["kernels"]] == ["cpu.small_kernel.threefold"]
    assert CPUCodeLibrary._optimize_final_module is optimize
    times = {"import": 0.5, "first": 1.0, "all": 1.5}
    result = {"processes": 8, "programs": {"GRU": [times] * 3}, "at_once": {"GRU": [10.0, 12.0]}, "where": {"GRU": found}}
    text = start.table(result)
    assert "| GRU | 10.0 s | 12.0 s | 1.20 |" in text and "| threefold |" in text


def test_the_steps_of_both_benchmarks_are_the_same():
    y, made = step_times.ways("GRU", 16)
    found = []
    for name in ("step", "run", "Stream.run"):
        made[name]()
        found.append(y.copy())
    assert found[0][0] != found[1][0] and np.array_equal(found[0], found[2])
    rows = [("GRU", 16, dict.fromkeys(made, 1e-6), 1.3)]
    assert "| GRU(16), Dense(1) | 1000 |" in step_times.table({"rows": rows, "failures": ["GRU(16)"]})


def test_small_calls():
    found = {}
    for library, make in call_times.MAKERS.items():
        if library != "numbarnn":
            pytest.importorskip(library)
        found[library] = make()["layer"]()
    for y in found.values():
        np.testing.assert_allclose(y, found["numbarnn"], rtol=0, atol=1e-6)


def test_the_table_of_small_calls():
    times = {"numbarnn": {"layer": (2e-5, 1e-5)}, "onnxruntime": None, "torch": None}
    lines = call_times.table({"times": times, "streams": [("GRU", 16, (0.002, 0.001), (0.004, 0.001))]})
    assert lines[2] == "| GRU(24), T = N = 1 | 20.0 (10.0) | - | - |"
    assert lines[-1] == "| GRU(16) | 0.50 | 50.0 (100.0) | 78 |"


def test_a_peak_that_was_disturbed_is_not_taken():
    rows = [{"dtype": "float32", "gflops": 100.0, "peak_gflops": top, "share": 0.0} for top in (10.0, 400.0)]
    assert [row["share"] for row in cpu.of_the_peak(rows)] == [0.25, 0.25]


def test_the_network_of_the_exponents_is_that_of_numpy():
    weights, h = dynamics.rate_network()
    assert weights.shape == (100, 100) and not np.diag(weights).any()
    short = {"steps": 100, "transient": 20, "settle": 10}
    expected = dynamics.by_numpy(weights, h, **short)
    found = dynamics.by_numbarnn(*dynamics.as_layer(weights), h, **short)
    np.testing.assert_allclose(found.exponents.sum(), expected.sum(), rtol=1e-10)
    assert found.times[-1] == pytest.approx(10)


def test_bits_remember_their_last_pulses():
    x, y = dynamics.flip_flop(30, 4, seed=0)
    assert x.shape == y.shape == (30, 4, 3) and {*np.unique(x)} == {-1, 0, 1} and {*np.unique(y)} == {-1, 1}
    pulses = x != 0
    assert np.array_equal(y[pulses], x[pulses]) and np.array_equal(y[1:][~pulses[1:]], y[:-1][~pulses[1:]])


def test_a_closed_layer_reads_its_own_predictions():
    net = nr.Network([nr.RNN(5), nr.Dense(3)], channels=3, seed=0)
    layer, p, weight, bias = dynamics.in_float64(net)
    closed, state, y = dynamics.closed(layer, p, weight, bias), np.full((1, 1, 5), 0.1), []
    h, _ = layer(closed, np.zeros((6, 1, 3)), state)
    for _ in range(6):
        _, state = layer(p, state @ weight.T + bias, state)
        y.append(state[0])
    np.testing.assert_allclose(h, y, rtol=0, atol=1e-14)
