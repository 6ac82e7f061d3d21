"""Graph.decode: the outputs that were fed back, given as input all at once, give the same outputs again."""

import numpy as np
import pytest

import numbarnn as nr

N, V = 4, 6
START, STOP = 0, 5


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def writer(layout="tnc", layer=None, dtype="float32"):
    """An encoder of indices and a decoder that writes indices, with a shared table, static and known inputs."""
    layer = nr.GRU(8, layers=2) if layer is None else layer
    nodes = {
        "table": nr.Node(nr.Embedding(V, 3), "source"),
        "encoder": nr.Node(layer, ["table", "static"]),
        "before": nr.Node("table", "previous"),
        "decoder": nr.Node(layer, ["before", "static", "hint"], state="encoder"),
        "hint": nr.Node(nr.Dense(2, "tanh"), "known"),
        "letter": nr.Node([nr.Activation("tanh"), nr.Dense(V)], ["decoder", "before"]),
        "other": nr.Node([nr.Last(), nr.Dense(1)], "encoder"),
    }
    inputs = {"source": None, "static": nr.Input(2, False), "previous": None, "known": 1}
    net = nr.Graph(inputs, nodes, ["letter", "other"], dtype, layout, seed=0)
    net.params.flat[:] += (0.5 * numbers(len(net.params), seed=9)).astype(dtype)
    return net


def given(layout="tnc"):
    axes = ["tnc".index(letter) for letter in layout]
    flat = ["tn".index(letter) for letter in layout.replace("c", "")]
    static = numbers(N, 2, seed=1) if "nc" in layout.replace("t", "") else numbers(N, 2, seed=1).T
    source = np.random.default_rng(2).integers(0, V, (7, N)).transpose(flat)
    return {"source": source, "static": static, "known": numbers(9, N, 1, seed=3).transpose(axes)}


def fed(chosen, first):
    """What is read at each step: the choice of the step before."""
    return np.concatenate([np.broadcast_to(first, (1, *chosen.shape[1:])), chosen[:-1]])


@pytest.mark.parametrize(
    "layer", [nr.GRU(8, layers=2), nr.LSTM(5), nr.LSTM(6, projection=3), nr.LeakyRNN(4, rate=0.5, learned=True)], ids=repr
)
def test_what_is_decoded_is_what_is_predicted_of_it(layer):
    net, x = writer(layer=layer), given()
    found = net.decode(x, "previous", "letter", START, steps=8)
    assert found.shape == (8, N) and found.dtype == np.int64 and len(np.unique(found)) > 1
    whole = {**x, "previous": fed(found, START), "known": x["known"][:8]}
    y = net.predict(whole)["letter"]
    assert np.array_equal(y.argmax(axis=2), found)
    assert np.array_equal(net.decode(x, "previous", "letter", [START] * N, 8), found)
    assert np.array_equal(net.decode(x, "previous", "letter", START)[:8], found)  # as many as are known


def test_each_step_by_hand_gives_the_same():
    net, x = writer(), given()
    found, state, now = net.decode(x, "previous", "letter", START, 6), {}, np.full((1, N), START)
    for t in range(6):
        y, state = net({**x, "previous": now, "known": x["known"][t : t + 1]}, {"decoder": state.get("decoder")})
        now = y["letter"].argmax(axis=2)
        assert np.array_equal(now[0], found[t])


@pytest.mark.parametrize("layout", ["ntc", "cnt"])
def test_other_layouts(layout):
    right = writer().decode(given(), "previous", "letter", START, 6)
    letters = layout.replace("c", "")
    found = writer(layout).decode(given(layout), "previous", "letter", START, 6)
    assert np.array_equal(found, right.transpose(["tn".index(letter) for letter in letters]))


def test_a_sequence_ends_where_it_is_stopped():
    net, x = writer(), given()
    whole = net.decode(x, "previous", "letter", START, 9)
    for stop in range(V):
        found = net.decode(x, "previous", "letter", START, 9, stop=stop)
        assert isinstance(found, nr.Ragged) and len(found) == N
        for n in range(N):
            at = np.flatnonzero(whole[:, n] == stop)
            assert np.array_equal(found[n], whole[: at[0] if len(at) else 9, n])


def test_lengths_of_what_is_encoded():
    net, x = writer(), given()
    lengths, source = np.array([7, 3, 1, 5]), given()["source"].copy()
    source[np.arange(7)[:, None] >= lengths] = 99
    found = net.decode({**x, "source": source}, "previous", "letter", START, 6, lengths={"source": lengths})
    for n in range(N):
        own = {"source": x["source"][: lengths[n], [n]], "static": x["static"][[n]], "known": x["known"][:, [n]]}
        assert np.array_equal(net.decode(own, "previous", "letter", START, 6)[:, 0], found[:, n])
    ragged = nr.Ragged.of([x["source"][:length, n] for n, length in enumerate(lengths)])
    assert np.array_equal(net.decode({**x, "source": ragged}, "previous", "letter", START, 6), found)


def forecaster(**options):
    nodes = {
        "encoder": nr.Node(nr.GRU(4), "past"),
        "decoder": nr.Node([nr.GRU(4), nr.Dropout(0.3)], ["previous", "known"], state="encoder"),
        "y": nr.Node(nr.Dense(2), ["decoder", "known"]),
    }
    return nr.Graph({"past": 2, "previous": 2, "known": 1}, nodes, ["y"], "float64", seed=0, **options)


def test_numbers_are_fed_back():
    net, x = forecaster(), {"past": numbers(5, N, 2), "known": numbers(6, N, 1, seed=1)}
    first = x["past"][-1]
    found = net.decode(x, "previous", "y", first)
    assert np.allclose(net.predict({**x, "previous": fed(found, first)})["y"], found, rtol=0, atol=1e-14)
    half = net.decode(x, "previous", "y", first, choose=lambda y: 0.5 * y)
    assert np.allclose(0.5 * net.predict({**x, "previous": fed(half, first)})["y"], half, rtol=0, atol=1e-14)
    hot = net.decode(x, "previous", "y", [1.0, 0.0], 4, "argmax")
    assert hot.shape == (4, N, 2) and np.array_equal(hot.sum(axis=2), np.ones((4, N)))
    assert np.array_equal(net.predict({**x, "known": x["known"][:4], "previous": fed(hot, [1.0, 0.0])})["y"].argmax(2),
                          hot.argmax(2))  # fmt: skip


def test_a_choice_of_ones_own_is_drawn():
    net, x, random = writer(), given(), np.random.default_rng(0)
    found = net.decode(x, "previous", "letter", START, 5, lambda y: random.integers(0, V, len(y)))
    assert np.array_equal(found, np.random.default_rng(0).integers(0, V, (5, N)))


def test_wrong_arguments_are_named():
    net, x = writer(), given()
    nan = forecaster()
    two = {"past": numbers(5, N, 2), "known": numbers(6, N, 1)}
    nodes = {"h": nr.Node(nr.GRU(3, bidirectional=True), "x"), "y": nr.Node(nr.Dense(1), "h")}
    both, alone = nr.Graph({"x": 1}, nodes, "y"), nr.Graph({"x": 1}, {"y": nr.Node(nr.Dense(1), "x")}, "y")
    pool = nr.Graph({"x": 1}, {"y": nr.Node(nr.Pool("max"), "x")}, "y")
    ended = {"end": nr.Node(nr.Last(), "x"), "y": nr.Node(nr.Dense(1), ["end", "z"])}
    late = nr.Graph({"x": 1, "z": 1}, ended, "y")
    chain = {"a": nr.Node(nr.GRU(2), "x"), "b": nr.Node(nr.GRU(2), "z", state="a")}
    linked = nr.Graph({"x": 2, "z": 1}, chain, "b")
    go = lambda **a: net.decode(**{"inputs": x, "feed": "previous", "output": "letter", "start": 0, "steps": 3} | a)  # noqa: E731
    for call, error, message in [
        (lambda: go(feed="z"), nr.UnknownNameError, "feed: unknown name 'z'"),
        (lambda: go(feed="static"), ValueError, "feed: expected an input with steps"),
        (lambda: go(output="z"), nr.UnknownNameError, "output: unknown name 'z'"),
        (lambda: go(output="other"), ValueError, "output: expected a node that needs 'previous', got 'other'"),
        (lambda: go(output="decoder"), nr.ShapeError, "output: expected 6 channels like what is fed, got 8"),
        (lambda: go(inputs=3), TypeError, "inputs: expected an array in a dict"),
        (lambda: go(inputs={**x, "previous": x["source"]}), nr.UnknownNameError, "inputs: unknown name 'previous'"),
        (lambda: go(inputs={"source": x["source"]}), ValueError, "inputs: expected an array for 'known'"),
        (lambda: go(start=6), nr.IndexRangeError, "start: expected indices from 0 to 5, got 6"),
        (lambda: go(start=0.5), TypeError, "start: expected integers"),
        (lambda: go(start=[0, 1]), nr.ShapeError, r"start: expected shape \(4,\), got \(2,\)"),
        (lambda: go(steps=0), ValueError, "steps: expected a positive integer"),
        (lambda: go(steps=10), nr.ShapeError, r"inputs\['known'\]: expected at least 10 steps, which are decoded, got 9"),
        (lambda: go(choose="best"), nr.UnknownNameError, "choose: unknown name 'best'"),
        (lambda: go(choose="output"), ValueError, "choose: expected 'argmax' or a function"),
        (lambda: go(choose=lambda: 3), TypeError, "choose: expected a function"),
        (lambda: go(choose=lambda y: [9] * 4), nr.IndexRangeError, "choose: expected indices"),
        (lambda: go(stop=6), nr.IndexRangeError, "stop: expected an index from 0 to 5"),
        (lambda: go(stop=0.5), TypeError, "stop: expected an integer"),
        (lambda: go(lengths={"known": [1, 1, 1, 1]}), ValueError, r"lengths: expected none for inputs\['known'\]"),
        (lambda: go(lengths={"previous": [1, 1, 1, 1]}), ValueError, r"lengths: expected none for 'previous', which is fed"),
        (lambda: go(inputs={**x, "known": x["known"][:0]}), nr.ShapeError, r"inputs\['known'\]: expected at least one step"),
        (lambda: nan.decode(two, "previous", "y", np.nan), nr.NonFiniteError, "start: expected finite numbers, got nan"),
        (lambda: nan.decode(two, "previous", "y", 0.0, stop=1), TypeError, "stop: expected None"),
        (lambda: both.decode({}, "x", "y", 0.0, 3), ValueError,
         r"^output: expected nodes that take each step by itself, got GRU\(.*\) in 'h', whose second direction begins at"),
        (lambda: pool.decode({}, "x", "y", 0.0, 3), ValueError, r"got Pool\(kind='max'\) in 'y', which is of all steps"),
        (lambda: late.decode({"z": numbers(3, N, 1)}, "x", "y", 0.0, 3), ValueError,
         "^output: expected nodes that wait for the end of no other, got 'y', which reads the end of a sequence, 'end', at"),
        (lambda: linked.decode({"z": numbers(3, N, 1)}, "x", "b", 0.0, 3), ValueError,
         "nodes that wait for the end of no other, got 'b', which starts from where 'a' has ended"),
        (lambda: alone.decode({}, "x", "y", 0.0, 3), ValueError, "inputs: expected one that says how many"),
        (lambda: nan.decode(two, "previous", "y", 0.0, 7), nr.ShapeError, "at least 7 steps, .* got 6"),
    ]:  # fmt: skip
        with pytest.raises(error, match=message):
            call()
    free = nr.Graph(
        {"s": 1, "x": 1}, {"a": nr.Node(nr.GRU(2), "s"), "y": nr.Node([nr.GRU(2), nr.Dense(1)], "x", state="a")}, "y"
    )
    with pytest.raises(TypeError, match="steps: expected a positive integer"):
        free.decode({"s": numbers(3, N, 1)}, "x", "y", 0.0)
    nan.params["y.weight"][:] = 1e308
    with pytest.raises(nr.NonFiniteError, match=r"output: expected finite numbers, got inf at \(0, 0\)"):
        nan.decode({**two, "known": two["known"] + 1e8}, "previous", "y", 0.0)


def test_an_encoder_of_two_directions_is_run_as_a_whole():
    """Its ends start the decoder, and its steps stand beside what is fed."""
    nodes = {
        "encoder": nr.Node(nr.GRU(3, bidirectional=True), "past"),
        "ends": nr.Node([nr.Last(), nr.Dense(4, "tanh")], "encoder"),
        "both": nr.Node(nr.LSTM(2, bidirectional=True), "known"),
        "decoder": nr.Node(nr.GRU(4), ["previous", "both"], state="ends"),
        "y": nr.Node(nr.Dense(1), ["decoder", "ends"]),
    }
    net = nr.Graph({"past": 2, "known": 1, "previous": 1}, nodes, "y", "float64", seed=0)
    x = {"past": numbers(5, N, 2), "known": numbers(6, N, 1, seed=1)}
    found = net.decode(x, "previous", "y", 0.5)
    assert np.allclose(net.predict({**x, "previous": fed(found, 0.5)})["y"], found, rtol=0, atol=1e-14)
    assert np.ptp(found) > 1e-3


ENDS = [nr.LSTM(4), nr.Last(), nr.Dense(V)], [nr.GRU(4), nr.Dense(V), nr.LastStep()]


@pytest.mark.parametrize("layers", ENDS)
def test_last_is_the_last_step_so_far(layers):
    """A graph that has learned what comes after a sequence writes on: each choice is the output for all before it."""
    nodes = {
        "start": nr.Node(nr.Dense(8 if isinstance(layers[0], nr.LSTM) else 4), "static"),
        "letters": nr.Node(nr.Embedding(V, 3), "previous"),
        "next": nr.Node(layers, "letters", state="start"),
        "y": nr.Node(nr.Dense(V), ["next", "static"]),
    }
    net = nr.Graph({"static": nr.Input(2, False), "previous": None}, nodes, "y", "float64", seed=0)
    net.params.flat[...] += numbers(len(net.params), seed=4)
    x = {"static": numbers(N, 2, seed=1)}
    found = net.decode(x, "previous", "y", START, 6)
    read = fed(found, START)
    for t in range(6):
        assert np.array_equal(net.predict({**x, "previous": read[: t + 1]})["y"].argmax(axis=1), found[t])
    assert len(np.unique(found)) > 1


@pytest.mark.parametrize("layout", ["tnc", "ntc"])
def test_no_sequence_is_decoded_to_nothing_of_the_shape(layout):
    net, x, at = writer(layout), given(layout), layout.replace("c", "").index("n")
    none = {name: each.take([], axis=0 if each.ndim == 2 and name == "static" else at) for name, each in x.items()}
    whole = net.decode(x, "previous", "letter", START, steps=8)
    found = net.decode(none, "previous", "letter", START, steps=8)
    assert found.dtype == whole.dtype and found.shape == tuple(0 if n == at else size for n, size in enumerate(whole.shape))
    ended = net.decode(none, "previous", "letter", START, steps=8, stop=STOP)
    assert ended.lengths.shape == (0,) and ended.data.dtype == np.int64
    with pytest.raises(nr.IndexRangeError, match="^stop: expected an index"):
        net.decode(none, "previous", "letter", START, steps=8, stop=V)
    nodes = {"h": nr.Node(nr.GRU(3), ["previous", "known"]), "y": nr.Node(nr.Dense(2), "h")}
    net = nr.Graph({"previous": 2, "known": 1}, nodes, "y", seed=0)
    assert net.decode({"known": np.zeros((5, 0, 1))}, "previous", "y", np.zeros(2)).shape == (5, 0, 2)
