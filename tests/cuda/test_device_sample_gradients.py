"""Gradients of single samples, and Jacobians made of them, on the device: all at once, compared with the CPU."""

import numpy as np
import pytest
from checks import same_bits
from device_layer import to_device, to_host

import numbarnn as nr
from numbarnn.cuda import product, separate, use_cublas

TOLERANCE = 1e-13  # of another order of sums in float64, per number of the largest one's size


@pytest.fixture(autouse=True)
def in_one_order():
    """Products of this package's kernel, whose sums have one order whatever the batch."""
    use_cublas(False)
    yield
    use_cublas(None)


def never_alone(monkeypatch, kind):
    """Let no sample's gradient be computed by itself."""

    def alone(self, into, parts):
        raise AssertionError("a sample went alone")

    monkeypatch.setattr(kind, "_workspace", alone)


NETWORKS = {
    "projected": ([nr.LSTM(3, projection=2, bidirectional=True), nr.Dense(2, "tanh")], "ntc"),
    "before": ([nr.GRU(2, "before", layers=2), nr.Last(), nr.Dense(1)], "tnc"),
    "plain": ([nr.RNN(2, bidirectional=True, merge="product"), nr.Pool("mean"), nr.Dense(3)], "cnt"),
}


def case(name, lengths):
    """(CPU, device, x, y, loss): x and y as Ragged of these lengths, or as arrays if they are equal."""
    layers, layout = NETWORKS[name]
    cpu, cuda = (nr.Network(layers, 2, "float64", layout, seed=0, device=device) for device in ("cpu", "cuda"))
    random, stepped = np.random.default_rng(1), "t" in cpu.output_layout
    sequences = [random.standard_normal((length, 2)) for length in lengths]
    targets = [random.standard_normal((length, cpu.output_channels)) for length in lengths]
    if len(set(lengths)) > 1:
        x, y = nr.Ragged.of(sequences), nr.Ragged.of(targets) if stepped else random.standard_normal((len(lengths), 1))
    else:
        x = np.stack(sequences, axis=1).transpose(["tnc".index(letter) for letter in layout])
        y = np.stack(targets, axis=1) if stepped else random.standard_normal((len(lengths), cpu.output_channels))
        y = y.transpose(["tnc".index(letter) for letter in cpu.output_layout]) if stepped else y
    if name == "plain":
        y = random.integers(0, 3, len(lengths))
    return cpu, cuda, x, y, "cross_entropy" if name == "plain" else "huber"


def check(name, lengths):
    cpu, cuda, x, y, loss = case(name, lengths)
    flat = cpu.params.flat
    right = cpu.sample_gradients(flat, x, y, loss)
    found = to_host(cuda.sample_gradients(to_device(flat), x, y, loss))
    np.testing.assert_allclose(found, right, rtol=0, atol=TOLERANCE * np.abs(right).max())
    return cuda, x, y, loss, found


@pytest.mark.parametrize("name, lengths", [("projected", (3, 3, 3)), ("projected", (2, 0, 3)), ("before", (1, 3, 2, 0))])
def test_device_and_cpu_agree(name, lengths, monkeypatch):
    never_alone(monkeypatch, nr.Network)
    cuda, x, y, loss, found = check(name, lengths)
    part = slice(0, 2)
    some = to_host(cuda.sample_gradients(to_device(cuda.params.flat), x[part], y[part], loss))
    assert same_bits(some, found[part])


def test_labels_of_samples(monkeypatch):
    never_alone(monkeypatch, nr.Network)
    check("plain", (2, 2, 2))


def test_one_launch_for_each_product_of_all_samples(monkeypatch):
    launched = []
    monkeypatch.setattr(separate, "multiply_each", lambda *args: launched.append(args) or product.multiply_each(*args))
    check("before", (2, 2, 2))
    few = len(launched)
    check("before", (2, 2, 2, 2, 2))
    assert len(launched) == 2 * few


def test_inputs_of_a_graph_of_different_lengths(monkeypatch):
    never_alone(monkeypatch, nr.Graph)
    nodes = {
        "past": nr.Node([nr.GRU(2)], "a"),
        "next": nr.Node(nr.GRU(2), "b", state="past"),
        "y": nr.Node(nr.Dense(1), ["next", "b"]),
    }
    cpu, cuda = (nr.Graph({"a": 1, "b": 2}, nodes, "y", "float64", seed=0, device=device) for device in ("cpu", "cuda"))
    random, lengths = np.random.default_rng(0), {"a": np.array([1, 3, 2]), "b": np.array([2, 1, 3])}
    x, y = (
        {"a": random.standard_normal((3, 3, 1)), "b": random.standard_normal((3, 3, 2))},
        random.standard_normal((3, 3, 1)),
    )
    right, found = (net.sample_gradients(cpu.params.flat, x, {"y": y}, lengths=lengths) for net in (cpu, cuda))
    np.testing.assert_allclose(found, right, rtol=0, atol=TOLERANCE * np.abs(right).max())


def never_forward(monkeypatch, kind):
    """Let no Jacobian be computed by tangents."""

    def forward(*work):
        raise AssertionError("by tangents")

    monkeypatch.setattr(f"numbarnn.{kind}.jacobians.fill_by_tangents", forward)


@pytest.mark.parametrize("rows", [7, 1 << 13])
def test_jacobians_are_those_of_the_outputs_as_samples(rows, monkeypatch):
    never_forward(monkeypatch, "networks")
    monkeypatch.setattr("numbarnn.networks.jacobians.ROWS", rows)
    cpu, cuda, x, *_ = case("projected", (3, 3))
    right, found = cpu.jacobian(cpu.params.flat, x), cuda.jacobian(to_device(cpu.params.flat), x)
    np.testing.assert_allclose(to_host(found), right, rtol=0, atol=TOLERANCE * np.abs(right).max())


def test_jacobians_of_graphs_are_too(monkeypatch):
    never_forward(monkeypatch, "graphs")
    nodes = {"h": nr.Node(nr.GRU(2), "x"), "y": nr.Node([nr.Last(), nr.Dense(2)], "h")}
    cpu, cuda = (nr.Graph({"x": 2}, nodes, ["y", "h"], "float64", seed=0, device=device) for device in ("cpu", "cuda"))
    x = {"x": np.random.default_rng(0).standard_normal((2, 3, 2))}
    found, right = cuda.jacobian(to_device(cpu.params.flat), x), cpu.jacobian(cpu.params.flat, x)
    for name in right:
        np.testing.assert_allclose(to_host(found[name]), right[name], rtol=0, atol=TOLERANCE * np.abs(right[name]).max())


@pytest.mark.parametrize("lost", ["a", "b", "c"])
def test_products_of_other_samples_are_seen(lost, monkeypatch):
    """Where all samples have one's matrices."""
    given = product.multiply_each
    monkeypatch.setattr(
        separate, "multiply_each", lambda real, call, each, *rest: given(real, call, each._replace(**{lost: 0}), *rest)
    )
    with pytest.raises(AssertionError):
        check("before", (1, 3, 2, 0))
