"""A graph step by step is the same as the whole sequence, to the bit."""

import copy

import numpy as np
import pytest

import numbarnn as nr
from numbarnn.cpu.programs import Steps, most_steps

T, N = 7, 3


def numbers(*shape, seed=0, dtype="float64"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def tank(dtype="float64", layers=nr.LSTM):
    """Two series, a place that is an initial state and stands beside them, a skip connection, shared layers, two outputs."""
    nodes = {
        "start": nr.Node(nr.Dense(8 if layers is nr.LSTM else 4, "tanh"), "place"),
        "h": nr.Node(layers(4), ["level", "place", "rain"], state="start"),
        "c": nr.Node([nr.GRU(3, layers=2, learned_state=True), nr.Activation("tanh")], ["h", "rain"]),
        "y": nr.Node(nr.Dense(2), ["c", "h", "level"]),
        "again": nr.Node(nr.Dense(1), "y"),
        "shared": nr.Node("again", "level"),
    }
    inputs = {"level": 2, "rain": 1, "place": nr.Input(3, steps=False)}
    net = nr.Graph(inputs, nodes, ["y", "shared", "again", "start"], dtype, seed=0)
    net.params.flat[...] += (0.1 * numbers(len(net.params), seed=9)).astype(dtype)
    return net


def writer(dtype="float32", stop=False):
    """Indices and numbers side by side, and a table that two nodes read."""
    nodes = {
        "e": nr.Node(nr.Embedding(6, 3), "letter"),
        "f": nr.Node("e", "other"),
        "h": nr.Node(nr.GRU(5), ["e", "f", "x"]),
        "end": nr.Node([nr.Last(), nr.Dense(2)], "h"),
        "far": nr.Node(nr.Dense(1), ["end", "place"]),
    }
    inputs = {"letter": None, "other": None, "x": 2, "place": nr.Input(None, steps=False)}
    nodes["far"], nodes["of"] = nr.Node(nr.Dense(1), ["end", "of"]), nr.Node(nr.Embedding(4, 2), "place")
    return nr.Graph(inputs, nodes, ["h", "end", "far"], dtype, seed=0)


def of_tank(dtype="float64"):
    static = {"place": numbers(N, 3, seed=3, dtype=dtype)}
    return {"level": numbers(T, N, 2, dtype=dtype), "rain": numbers(T, N, 1, seed=1, dtype=dtype)}, static


def of_writer():
    random = np.random.default_rng(0)
    x = numbers(T, N, 2, dtype="float32")
    return {"letter": random.integers(0, 6, (T, N)), "other": random.integers(0, 6, (T, N)).astype("uint8"), "x": x}, {
        "place": np.array([3, 0, 1])
    }


def at(inputs, t):
    return {name: each[t] for name, each in inputs.items()}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("layers", [nr.LSTM, nr.GRU])
def test_steps_are_those_of_the_whole(dtype, layers):
    net, (x, static) = tank(dtype, layers), of_tank(dtype)
    y, final = net({**x, **static})
    stream = net.stream(static)
    steps = [stream.step(at(x, t)) for t in range(T)]
    for name in ("y", "shared", "again"):
        assert np.array_equal([each[name] for each in steps], y[name])
    assert all(np.array_equal(each["start"], y["start"]) for each in steps)
    assert list(stream.state) == list(final) == ["h", "c.0"]
    for label, state in final.items():
        pairs = zip(state, stream.state[label]) if isinstance(state, tuple) else [(state, stream.state[label])]
        assert all(np.array_equal(*pair) for pair in pairs)
    whole = net.stream(static).run(x)
    assert all(np.array_equal(whole[name], y[name]) for name in ("y", "shared", "again"))
    parts = net.stream(static)
    found = [parts.run({name: each[part] for name, each in x.items()}) for part in (slice(0, 2), slice(2, 2), slice(2, T))]
    assert np.array_equal(np.concatenate([each["y"] for each in found]), y["y"])


def test_indices_beside_numbers_and_the_last_step_so_far():
    net, (x, static) = writer(), of_writer()
    stream = net.stream(static, batch=N)
    for t in range(T):
        found = stream.step(at(x, t))
        whole = net.predict({name: each[: t + 1] for name, each in x.items()} | static)
        assert np.array_equal(found["h"], whole["h"][t])
        assert np.array_equal(found["end"], whole["end"]) and np.array_equal(found["far"], whole["far"])
    again = net.stream(static).run(x)
    assert np.array_equal(again["h"], net.predict(x | static)["h"]) and np.array_equal(again["far"][-1], found["far"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_steps_of_many_sequences_are_taken_some_at_once(dtype, monkeypatch):
    """As many as there is memory for, and then the others, in one call: also of indices beside numbers."""
    net, count, random = writer(dtype), 1500, np.random.default_rng(0)
    assert 1 < most_steps(count) < T
    x = {"letter": random.integers(0, 6, (T, count)), "other": random.integers(0, 6, (T, count)).astype("uint8")}
    x["x"] = random.standard_normal((T, count, 2)).astype(dtype)
    static = {"place": random.integers(0, 4, count)}
    stream, other = net.stream(static), net.stream(static)
    steps = [other.step(at(x, t)) for t in range(T)]
    monkeypatch.setattr(Steps, "step", None)  # `run` takes none by itself
    found = stream.run(x)
    for name in ("h", "end", "far"):
        assert np.array_equal(found[name], [each[name] for each in steps])
    assert np.array_equal(stream.state["h"], other.state["h"]) and np.array_equal(found["h"], net.predict(x | static)["h"])
    again = net.stream(static)
    parts = [again.run({name: each[part] for name, each in x.items()}) for part in (slice(0, 3), slice(3, T))]
    assert np.array_equal(np.concatenate([each["far"] for each in parts]), found["far"])


@pytest.mark.parametrize("indices", [False, True])
def test_a_row_has_the_bits_of_the_stream_of_the_network(indices):
    rows = [nr.Embedding(5, 2) if indices else nr.Dense(2), nr.LSTM(4), nr.Last(), nr.Dense(3)]
    net = nr.Network(rows, None if indices else 2, seed=1)
    graph = nr.Graph({"x": None if indices else 2}, {"a": nr.Node(rows, "x")}, "a", seed=1)
    x = np.random.default_rng(0).integers(0, 5, (T, N)) if indices else numbers(T, N, 2, dtype="float32")
    one, two = net.stream(N), graph.stream(batch=N)
    assert np.array_equal(one.run(x), two.run({"x": x})["a"])
    assert np.array_equal(one.step(x[0]), two.step({"x": x[0]})["a"])
    assert all(map(np.array_equal, one.state[0], two.state["a.1"]))
    one.reset([True, False, True])
    two.reset([True, False, True])
    assert np.array_equal(one.step(x[1]), two.step({"x": x[1]})["a"])


def test_states_are_set_and_start_afresh():
    net, (x, static) = tank(), of_tank()
    stream = net.stream(static)
    first = stream.run(x)["y"]
    kept = stream.state
    with pytest.raises(ValueError, match="read-only"):
        kept["c.0"][...] = 0
    rest = stream.step(at(x, 0))["y"]
    stream.reset()
    assert np.array_equal(stream.run(x)["y"], first)  # from what the place says, once more
    stream.state = kept
    assert np.array_equal(stream.step(at(x, 0))["y"], rest)
    stream.state = {"c.0": kept["c.0"]}
    mixed = net(at(x, slice(0, 1)) | static, {"c.0": kept["c.0"]})[0]["y"][0]
    assert np.array_equal(stream.step(at(x, 0))["y"], mixed)
    stream.state = kept
    stream.reset([False, True, False])
    found = stream.step(at(x, 0))["y"]
    assert np.array_equal(found[[0, 2]], rest[[0, 2]]) and np.array_equal(found[1], first[0, 1])


def test_a_stream_is_its_own():
    net, (x, static) = tank(), of_tank()
    right, stream = net.predict({**x, **static})["y"], net.stream(static)
    net.params.flat[:] = 0
    static["place"][...] = 0
    found = stream.step(at(x, 0))["y"]
    kept = found.copy()
    stream.step(at(x, 1))
    assert np.array_equal(found, kept) and np.array_equal(kept, right[0])
    assert repr(stream) == "GraphStream(3 sequences, 'level', 'rain' to 'y', 'shared', 'again', 'start', float64)"
    with pytest.raises(TypeError, match="cannot be copied"):
        copy.deepcopy(stream)


def graph(nodes, inputs=None, outputs=None):
    return nr.Graph({"x": 2} if inputs is None else inputs, nodes, [*nodes][-1:] if outputs is None else outputs)


def test_what_has_no_stream_is_named():
    gru, two = nr.GRU(2), {"x": 2, "z": 1}
    last = nr.Node([nr.Last(), nr.Dense(2)], "h")
    ended = {"h": nr.Node(gru, "x"), "end": last, "y": nr.Node(nr.Dense(1), ["x", "end"])}
    started = {"h": nr.Node(gru, "x"), "end": last, "y": nr.Node(gru, "z", state="end")}
    static = {"y": nr.Node(nr.Dense(1), "s")}
    for net, message in [
        (graph({"y": nr.Node(nr.GRU(2, bidirectional=True), "x")}),
         r"nodes that take each step by itself, got GRU\(.* in 'y', whose second direction begins at the last step"),
        (graph({"y": nr.Node(nr.Pool("mean"), "x")}),
         r"nodes that take each step by itself, got Pool\(.* in 'y', which is of all steps"),
        (graph({"h": nr.Node(gru, "x"), "y": nr.Node(gru, "z", state="h")}, two),
         "nodes that wait for the end of no other, got 'y', which starts from where 'h' has ended"),
        (graph(started, two), "nodes that wait for the end of no other, got 'y', which starts from where 'end' has ended"),
        (graph(ended), "nodes that wait for the end of no other, got 'y', which reads the end of a sequence, 'end', at"),
        (graph(static, {"s": nr.Input(2, steps=False)}), "a graph with an input that has steps, got none"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=f"^stream: expected {message}"):
            net.stream({"s": np.ones((N, 2))} if "s" in net.inputs else None)


def test_wrong_arguments_are_named():
    net, (x, static) = tank(), of_tank()
    stream, first = net.stream(static), at(x, 0)
    letters = writer().stream(of_writer()[1])
    given = at(of_writer()[0], 0)
    before = stream.state
    for call, error, message in [
        (lambda: net.stream(), ValueError, "inputs: expected an array for 'place', which has no steps, got none"),
        (lambda: net.stream({**static, "z": 1}), nr.UnknownNameError, "inputs: unknown name 'z'"),
        (lambda: net.stream({**static, **x}), ValueError, "stream: expected an input that comes step by step, got none"),
        (lambda: net.stream({**static, "rain": x["rain"]}), ValueError,
         "stream: expected 'rain' step by step, as 'h' reads it, got it as a whole, which ends where a stream goes on"),
        (lambda: net.stream(static, lengths={"rain": [1, 1, 1]}), ValueError,
         "lengths: expected none for 'rain', which comes step by step, got"),
        (lambda: net.stream({"place": numbers(N, 2)}), nr.ShapeError, r"inputs\['place'\]: expected 3 channels, got 2"),
        (lambda: net.stream(static, batch=2), nr.ShapeError, r"batch: expected 3 like inputs\['place'\], or None, got 2"),
        (lambda: net.stream(static, batch=0), ValueError, "batch: expected a positive integer, got 0"),
        (lambda: stream.step(first["level"]), TypeError, "inputs: expected an array in a dict by name"),
        (lambda: stream.step({"level": first["level"]}), ValueError, "inputs: expected .* got none for 'rain'"),
        (lambda: stream.step({**first, "place": 1}), nr.UnknownNameError, "inputs: unknown name 'place'"),
        (lambda: stream.step({**first, "rain": first["level"]}), nr.ShapeError,
         r"inputs\['rain'\]: expected shape \(3, 1\) \(N, C\), got \(3, 2\)"),
        (lambda: stream.step(x), nr.ShapeError, r"inputs\['level'\]: expected shape \(3, 2\)"),
        (lambda: stream.step({**first, "rain": [[1.0]]}), TypeError, r"inputs\['rain'\]: expected a numpy.ndarray"),
        (lambda: stream.step({**first, "rain": first["rain"].astype("float32")}), nr.DTypeError,
         r"inputs\['rain'\]: expected float64 like the graph, got float32"),
        (lambda: stream.run({**x, "rain": x["rain"][:2]}), nr.ShapeError,
         r"inputs\['rain'\]: expected shape \(7, 3, 1\) \(T, N, C\), got \(2, 3, 1\)"),
        (lambda: stream.run(first), nr.ShapeError, r"inputs\['level'\]: expected shape \('T', 3, 2\) \(T, N, C\)"),
        (lambda: letters.step({**given, "letter": np.array([0, 6, 0])}), nr.IndexRangeError,
         r"inputs\['letter'\]: expected indices from 0 to 5, got 6"),
        (lambda: letters.step({**given, "letter": np.zeros(3)}), nr.DTypeError, r"inputs\['letter'\]: expected"),
        (lambda: stream.reset([True]), nr.ShapeError, "mask: expected"),
        (lambda: setattr(stream, "state", {"y": 1}), nr.UnknownNameError, "state: unknown name 'y'"),
        (lambda: setattr(stream, "state", {"c.0": numbers(1, 3, 3)}), nr.ShapeError, r"state\['c.0'\]: expected shape \(2"),
    ]:  # fmt: skip
        with pytest.raises(error, match=f"^{message}"):
            call()
    assert np.array_equal(stream.state["c.0"], before["c.0"])
    net.params.flat[0] = np.nan
    with pytest.raises(nr.NonFiniteError, match=r"start\.weight"):
        net.stream(static)


def test_what_is_given_as_a_whole_runs_as_a_whole():
    """An encoder of two directions and one that links its state, of sequences of their own lengths, before a stream."""
    nodes = {
        "encoder": nr.Node(nr.GRU(3, bidirectional=True), "past"),
        "ends": nr.Node([nr.Last(), nr.Dense(4, "tanh")], "encoder"),
        "before": nr.Node(nr.LSTM(2), "past"),
        "decoder": nr.Node(nr.GRU(4), ["x", "ends"], state="ends"),
        "after": nr.Node(nr.LSTM(2), "decoder", state="before"),
        "y": nr.Node(nr.Dense(2), ["after", "x"]),
    }
    net = nr.Graph({"past": 2, "x": 1}, nodes, ["y", "ends", "encoder"], "float64", seed=0)
    past, x, lengths = numbers(5, N, 2), numbers(T, N, 1, seed=1), np.array([5, 2, 3])
    right, final = net({"past": past, "x": x}, lengths={"past": lengths})
    stream = net.stream({"past": past}, lengths={"past": lengths})
    for t in range(T):
        found = stream.step({"x": x[t]})
        assert list(found) == ["y", "ends"]  # the encoder has other steps than the stream
        assert np.array_equal(found["y"], right["y"][t]) and np.array_equal(found["ends"], right["ends"])
    assert list(stream.state) == ["decoder", "after"]
    assert np.array_equal(stream.state["decoder"], final["decoder"])
    assert all(map(np.array_equal, stream.state["after"], final["after"]))
    stream.reset()
    assert np.array_equal(stream.run({"x": x})["y"], right["y"])
    ragged = nr.Ragged.of([past[:length, n] for n, length in enumerate(lengths)])
    assert np.array_equal(net.stream({"past": ragged}).run({"x": x})["y"], right["y"])
