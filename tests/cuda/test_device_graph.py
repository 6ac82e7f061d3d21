"""Graphs on the device: the CPU's outputs, gradients and trainings, from NumPy arrays or from arrays of their own."""

import copy

import numpy as np
import pytest
from device_layer import to_device, to_host

import numbarnn as nr
from numbarnn.arrays.descriptor import is_on_device

T, N = 3, 4
NEAR = {"rtol": 0, "atol": 1e-12}


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def translator(device, cell=nr.LSTM):
    """An encoder of indices that starts a decoder, static numbers beside each step, and a skip."""
    nodes = {
        "letters": nr.Node(nr.Embedding(5, 2), "source"),
        "encoder": nr.Node(cell(2), ["letters", "static"]),
        "decoder": nr.Node(cell(2), ["known", "static"], state="encoder"),
        "y": nr.Node([nr.Dropout(0.3), nr.Dense(2)], ["decoder", "known"]),
        "class": nr.Node([nr.Last(), nr.Dense(3)], "encoder"),
    }
    inputs = {"source": None, "static": nr.Input(2, steps=False), "known": 1}
    return nr.Graph(inputs, nodes, ["y", "class"], "float64", seed=0, device=device)


def inputs():
    return {"source": np.arange(T * N).reshape(T, N) % 5, "static": numbers(N, 2), "known": numbers(2, N, 1, seed=1)}


def targets():
    return {"y": numbers(2, N, 2, seed=2), "class": np.arange(N) % 3}


LOSS = {"y": "mse", "class": ("cross_entropy", 0.5)}


def near(found, right):
    """Assert that arrays, Raggeds, or dicts and tuples of them are near the CPU's, which are in host memory."""
    if isinstance(right, dict):
        assert found.keys() == right.keys()
        for name, each in right.items():
            near(found[name], each)
    elif isinstance(right, tuple):
        for one, other in zip(found, right, strict=True):
            near(one, other)
    elif isinstance(right, nr.Ragged):
        near(found.data, right.data)
    elif right is not None:
        assert isinstance(found, np.ndarray)
        np.testing.assert_allclose(found, right, **NEAR)


@pytest.mark.parametrize("kind", ["plain", "lengths", "reset", "dropout"])
def test_forward_and_backward(kind):
    options = {
        "plain": {},
        "lengths": {"lengths": {"source": [3, 0, 2, 1], "known": [1, 2, 0, 2]}},
        "reset": {"reset": {"source": np.eye(T, N) > 0, "known": np.eye(2, N) > 0}},
        "dropout": {"seed": 3},
    }[kind]
    cpu, cuda, x = translator("cpu"), translator("cuda"), inputs()
    (y, state, tape), (out, final, trace) = cpu.forward(x, **options), cuda.forward(x, **options)
    near(out, y)
    near(final, state)
    dy, dstate = {name: np.cos(each) for name, each in y.items()}, {"decoder": (np.ones((1, N, 2)), np.zeros((1, N, 2)))}
    g, found = cpu.backward(tape, dy, dstate), cuda.backward(trace, dy, dstate)
    assert is_on_device(found.params.flat)
    near(to_host(found.params).flat, g.params.flat)
    near(found.x, g.x)
    near(found.state, g.state)
    nothing = cuda.backward(trace, {})
    assert not to_host(nothing.params).flat.any() and not nothing.x["static"].any()
    near(nothing.state, cpu.backward(tape, {}).state)


def test_what_is_returned_lies_where_an_input_does():
    cpu, cuda, x = translator("cpu", nr.GRU), translator("cuda", nr.GRU), inputs()
    there = {**x, "known": to_device(x["known"])}
    y, state, tape = cuda.forward(there, {"encoder": np.full((1, N, 2), 0.5)})
    right, last, trace = cpu.forward(x, {"encoder": np.full((1, N, 2), 0.5)})
    assert all(is_on_device(each) for each in (*y.values(), *state.values()))
    near({name: to_host(each) for name, each in {**y, **state}.items()}, {**right, **last})
    g = cuda.backward(tape, {"y": np.ones((2, N, 2)), "class": to_device(np.ones((N, 3)))}, {"decoder": state["decoder"]})
    slopes = cpu.backward(trace, {"y": np.ones((2, N, 2)), "class": np.ones((N, 3))}, {"decoder": last["decoder"]})
    near(to_host(g.params).flat, slopes.params.flat)
    near({name: to_host(g.x[name]) for name in ("static", "known")}, {name: slopes.x[name] for name in ("static", "known")})
    near({name: to_host(each) for name, each in g.state.items()}, slopes.state)
    hidden, p = cuda.states(there, "decoder"), cuda.probabilities(x, loss={"class": "cross_entropy"})
    near(to_host(hidden), cpu.states(x, "decoder"))
    near(p, cpu.probabilities(x, loss={"class": "cross_entropy"}))
    near(cuda.predict_many(x, [1, 2])["y"].members, cpu.predict_many(x, [1, 2])["y"].members)


def assert_same_training(cpu, cuda, *arguments, **options):
    histories = [net.fit(*arguments, epochs=2, progress=False, **options) for net in (cpu, cuda)]
    np.testing.assert_allclose(histories[1].loss, histories[0].loss, rtol=1e-10)
    np.testing.assert_allclose(histories[1].validation, histories[0].validation, rtol=1e-10)
    for name, values in histories[0].metrics.items():
        np.testing.assert_allclose(histories[1].metrics[name], values, rtol=1e-10)
    assert is_on_device(cuda.params.flat)
    np.testing.assert_allclose(to_host(cuda.params).flat, cpu.params.flat, rtol=0, atol=1e-10)


def test_training():
    cpu, cuda, x, y = translator("cpu"), translator("cuda"), inputs(), targets()
    assert_same_training(
        cpu, cuda, x, y, LOSS, nr.Adam(0.01), batch_size=2, clip=1.0, validation=(x, y), metrics={"class": ["accuracy"]},
        weights={"class": np.arange(N) + 1.0}, frozen=["encoder.*"],
    )  # fmt: skip
    lengths = {"source": [3, 0, 2, 1], "known": [1, 2, 1, 2]}
    assert_same_training(cpu, cuda, x, y, LOSS, lengths=lengths)
    value, gradient = cpu.loss_and_gradient(cpu.params.flat, x, y, LOSS)
    found, slopes = cuda.loss_and_gradient(cpu.params.flat, x, y, LOSS)
    assert found == pytest.approx(value, rel=1e-9) == cuda.loss(x, y, LOSS)
    np.testing.assert_allclose(slopes, gradient, rtol=0, atol=1e-9)
    there = cuda.loss_and_gradient(cuda.params.flat, x, y, LOSS)[1]
    assert is_on_device(there)
    assert cuda.evaluate(x, y, LOSS) == pytest.approx(cpu.evaluate(x, y, LOSS), rel=1e-9)


def row(device):
    nodes = {
        "start": nr.Node(nr.Dense(2, "tanh"), "place"),
        "h": nr.Node(nr.GRU(2), ["x", "place"], state="start"),
        "y": nr.Node(nr.Dense(1), ["h", "x"]),
    }
    return nr.Graph({"x": 1, "place": nr.Input(2, steps=False)}, nodes, "y", "float64", seed=0, device=device)


def test_ragged_samples_and_pieces(tmp_path):
    x, place = numbers(5, 2, 1), numbers(2, 2, seed=1)
    cpu, cuda = row("cpu"), row("cuda")
    ragged = nr.Ragged.of([x[:4, 0], x[:2, 1]])
    assert_same_training(cpu, cuda, {"x": ragged, "place": place}, {"y": nr.Ragged(np.cos(ragged.data), ragged.offsets)})
    assert_same_training(cpu, cuda, {"x": x, "place": place}, {"y": np.cos(x)}, carry=True, steps=2)
    trainers, states = [nr.Trainer(net) for net in (cpu, cuda)], [None, None]
    for piece in (x[:2], x[2:4]):
        for at, trainer in enumerate(trainers):
            _, states[at] = trainer.update({"x": piece, "place": place}, {"y": np.cos(piece)}, state=states[at])
    np.testing.assert_allclose(states[1]["h"], states[0]["h"], rtol=0, atol=1e-10)
    trainers[1].save(tmp_path / "training")
    for device in ("cpu", "cuda"):
        again = nr.Trainer.load(tmp_path / "training", device=device)
        assert again.network.device == device
        again.update({"x": x, "place": place}, {"y": np.cos(x)})
        trainers[0].update({"x": x, "place": place}, {"y": np.cos(x)}) if device == "cpu" else None
        np.testing.assert_allclose(again.network.to("cpu").params.flat, cpu.params.flat, rtol=0, atol=1e-10)


def test_there_and_back(tmp_path):
    cpu, x = translator("cpu"), inputs()
    cuda = cpu.to("cuda")
    assert cuda.device == "cuda" and cpu.device == "cpu" and cpu.to("cpu") is cpu and cuda.to("cuda") is cuda
    back = cuda.to("cpu")
    assert np.array_equal(back.params.flat, cpu.params.flat) and back.params.flat is not cpu.params.flat
    for made in (copy.deepcopy(cuda), copy.copy(cuda)):
        assert made.device == "cuda" and made.params.flat is not cuda.params.flat
        near(made.predict(x), cpu.predict(x))
    cuda.save(tmp_path / "graph")
    for device in ("cpu", "cuda"):
        loaded = nr.load(tmp_path / "graph", device=device)
        assert loaded.device == device and loaded.nodes == cpu.nodes
        assert np.array_equal(to_host(loaded.to("cuda").params).flat, cpu.params.flat)
    assert nr.load(tmp_path / "graph", into=cuda) is cuda


def test_streams():
    x, place = numbers(4, 2, 1), numbers(2, 2, seed=1)
    cpu, cuda = row("cpu"), row("cuda")
    right = cpu.predict({"x": x, "place": place})["y"]
    stream = cuda.stream({"place": place})
    for t in range(2):
        near(stream.step({"x": x[t]})["y"], right[t])
    near(to_host(stream.state["h"]), cpu.states({"x": x, "place": place}, "h")[1][None])
    near(to_host(stream.run({"x": to_device(x[2:])})["y"]), right[2:])
    stream.state = {"h": stream.state["h"]}
    stream.reset()
    near(stream.run({"x": x})["y"], right)
    two = {"a": nr.Node(nr.RNN(2), ["x", "z"]), "b": nr.Node(nr.Dense(1), "a")}
    nets = [nr.Graph({"x": 1, "z": 2}, two, ["a", "b"], "float64", seed=0, device=device) for device in ("cpu", "cuda")]
    given = {"x": x, "z": numbers(4, 2, 2, seed=2)}
    near(nets[1].stream(batch=2).run(given), nets[0].predict(given))
    indices = {"e": nr.Node(nr.Embedding(3, 2), "i"), "y": nr.Node(nr.RNN(2), ["e", "x"])}
    nets = [nr.Graph({"i": None, "x": 1}, indices, "y", "float64", seed=0, device=device) for device in ("cpu", "cuda")]
    given = {"i": np.arange(8).reshape(4, 2) % 3, "x": x}
    near(nets[1].stream(batch=2).run(given), nets[0].predict(given))


@pytest.mark.parametrize("indices", [False, True])
def test_decoding(indices):
    nodes = {
        "encoder": nr.Node(nr.RNN(2), "past"),
        "fed": nr.Node(nr.Embedding(3, 2) if indices else nr.Activation("linear"), "before"),
        "decoder": nr.Node(nr.RNN(2), ["fed", "known"], state="encoder"),
        "y": nr.Node(nr.Dense(3 if indices else 1), "decoder"),
    }
    inputs = {"past": 1, "known": 1, "before": None if indices else 1}
    nets = [nr.Graph(inputs, nodes, "y", "float64", seed=0, device=device) for device in ("cpu", "cuda")]
    x = {"past": numbers(T, 2, 1), "known": numbers(4, 2, 1, seed=1)}
    how = {"feed": "before", "output": "y", "start": 0}
    right, found = (net.decode(x, **how) for net in nets)
    near(found, right)
    if indices:
        near(nets[1].decode(x, **how, stop=2), nets[0].decode(x, **how, stop=2))
    else:
        chosen = nets[1].decode(
            {name: to_device(each) for name, each in x.items()}, **how | {"start": to_device(np.zeros(1))}
        )
        near(to_host(chosen), right)
        near(*(net.decode(x, **how, choose=lambda y: np.tanh(y)) for net in reversed(nets)))


@pytest.mark.parametrize("there", [False, True])
def test_forward_derivatives(there):
    nets, x, random = (translator("cpu"), translator("cuda")), inputs(), np.random.default_rng(0)
    dp = random.standard_normal((2, len(nets[0].params)))
    dx = {"known": random.standard_normal((2, *x["known"].shape))}
    right, moved = nets[0].jvp(nets[0].forward(x)[2], dp, dx)
    given = (to_device(x), to_device(dp), to_device(dx)) if there else (x, dp, dx)
    found = nets[1].jvp(nets[1].forward(given[0])[2], *given[1:])
    if there:
        assert is_on_device(found[0]["y"])
        found = to_host(found)
    near(found, (right, moved))


def test_the_wrong_device_is_named():
    cpu, cuda, x, y = translator("cpu"), translator("cuda"), inputs(), targets()
    there = {**x, "known": to_device(x["known"])}
    tape = cpu.forward(x)[2]
    for call, message in [
        (lambda: cpu(there), r"inputs\['known'\]: expected an array on device 'cpu'"),
        (lambda: cpu.backward(tape, {"y": to_device(y["y"])}), r"dy\['y'\]: expected (an array|one) on device 'cpu'"),
        (lambda: cpu.backward(tape, {"class": to_device(np.ones((N, 3)))}), r"dy\['class'\]: expected an array on device"),
        (
            lambda: cpu(x, {"encoder": (to_device(np.zeros((1, N, 2))),) * 2}),
            r"state\['encoder'\] h: expected an array on dev",
        ),
        (
            lambda: cpu.jvp(cpu.forward(x)[2], dx={"known": to_device(x["known"])}),
            r"dx\['known'\]: expected one on device 'cpu' like x",
        ),
        (lambda: translator("tpu"), "device: expected 'cpu' or 'cuda', got 'tpu'"),
        (lambda: cuda.fit(x, y, LOSS, shards=2, progress=False), "shards: expected it for a network on 'cpu'"),
    ]:
        with pytest.raises(nr.DeviceError, match=message):
            call()
    with pytest.raises(NotImplementedError, match="checkpoints: expected None on device 'cuda'"):
        cuda.fit(x, y, LOSS, checkpoints=2, progress=False)
