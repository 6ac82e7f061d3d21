"""A graph as a function: its gradients, the bits of the network that it is when layers are in a row, and its errors."""

import copy
import pickle

import numpy as np
import pytest
from checks import check_graph, data_of, flat_of
from graph_strategies import graph_case, graph_cases
from hypothesis import given, settings
from torch_graph import encoder_decoder

import numbarnn as nr

T, N = 5, 3


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def translator(dtype="float64", **options):
    """An encoder of indices whose final state starts a decoder, with static covariates and a skip connection."""
    nodes = {
        "letters": nr.Node(nr.Embedding(7, 3), "source"),
        "encoder": nr.Node(nr.LSTM(4, layers=2), ["letters", "static"]),
        "decoder": nr.Node(nr.LSTM(4, layers=2), ["known", "static"], state="encoder"),
        "y": nr.Node(nr.Dense(2), ["decoder", "known"]),
        "class": nr.Node([nr.Last(), nr.Dense(3)], "encoder"),
    }
    inputs = {"source": None, "static": nr.Input(2, steps=False), "known": 3}
    return nr.Graph(inputs, nodes, ["y", "class"], dtype, seed=0, **options)


def inputs_of_translator():
    return {"source": np.arange(T * N).reshape(T, N) % 7, "static": numbers(N, 2), "known": numbers(4, N, 3, seed=1)}


@settings(max_examples=40)
@given(graph_cases())
def test_backward_gives_the_slopes(case):
    check_graph(case.net, case.inputs, case.options, case.state)


def test_the_generated_graphs_have_all_that_there_is():
    found = set()
    for seed in range(60):
        net = graph_case(seed, "plain").net
        reads = [read for node in net.nodes.values() for read in node.reads]
        found |= {"shared" for node in net.nodes.values() if isinstance(node.layers, str)}
        found |= {"joined" for node in net.nodes.values() if len(node.reads) > 1}
        found |= {"state" for node in net.nodes.values() if node.state is not None}
        found |= {"read twice" for name in net.nodes if reads.count(name) > 1}
        found |= {"two outputs" for _ in net.outputs[1:]}
    assert found == {"shared", "joined", "state", "read twice", "two outputs"}


def test_an_encoder_and_a_decoder_give_the_slopes():
    net, inputs = translator(), inputs_of_translator()
    check_graph(net, inputs, {}, {"encoder": (numbers(2, N, 4), numbers(2, N, 4, seed=1))})
    found = check_graph(net, inputs, {"lengths": {"source": [5, 0, 2], "known": [1, 4, 0]}}, {})
    assert found.x["source"] is None and not found.x["known"][1:, 0].any() and not found.x["known"][:, 2].any()


def test_layers_in_a_row_have_the_bits_of_a_network():
    rows = [nr.GRU(5, bidirectional=True, merge="sum"), nr.Dropout(0.2), nr.LSTM(3), nr.Last(), nr.Dense(2, "tanh")]
    net, x = nr.Network(rows, 4, "float64", "ntc", seed=3), numbers(N, T, 4)
    split = {"a": nr.Node(rows[:2], "x"), "b": nr.Node(rows[2], "a"), "c": nr.Node(rows[3:], "b")}
    for nodes in ({"a": nr.Node(rows, "x")}, split):
        graph = nr.Graph({"x": 4}, nodes, list(nodes)[-1:], "float64", "ntc", seed=3)
        assert np.array_equal(graph.params.flat, net.params.flat)
        for options in ({"seed": 4}, {"lengths": [5, 0, 2]}, {"reset": np.eye(T, N) > 0}):
            (y, state, tape), (out, final, trace) = net.forward(x, **options), graph.forward({"x": x}, **options)
            dy, dstate = numbers(*y.shape, seed=1), tuple(each for each in state)
            assert np.array_equal(out[list(nodes)[-1]], y)
            assert all(map(np.array_equal, flat_of(final.values()), flat_of(state)))
            g = net.backward(tape, dy, dstate)
            found = graph.backward(trace, {list(nodes)[-1]: dy}, dict(zip(final, dstate)))
            assert np.array_equal(found.params.flat, g.params.flat) and np.array_equal(found.x["x"], g.x)
            assert all(map(np.array_equal, flat_of(found.state.values()), flat_of(g.state)))


def test_last_in_another_node_knows_of_two_directions():
    layers = [nr.GRU(3, bidirectional=True), nr.Last(), nr.Dense(2)]
    net, x = nr.Network(layers, 2, seed=0), numbers(T, N, 2).astype(np.float32)
    nodes = {"a": nr.Node(layers[0], "x"), "b": nr.Node(layers[1:], "a")}
    assert np.array_equal(nr.Graph({"x": 2}, nodes, "b", seed=0).predict({"x": x})["b"], net.predict(x))


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_encoder_and_decoder_as_in_pytorch(kind):
    pytest.importorskip("torch")
    cell = {"gru": nr.GRU, "lstm": nr.LSTM}[kind](4, layers=2)
    nodes = {
        "encoder": nr.Node(cell, "past"),
        "decoder": nr.Node(cell, ["known", "static"], state="encoder"),
        "y": nr.Node(nr.Dense(2), ["decoder", "known"]),
    }
    net = nr.Graph({"past": 3, "static": nr.Input(2, False), "known": 1}, nodes, "y", "float64", seed=0)
    x = {"past": numbers(T, N, 3), "static": numbers(N, 2, seed=1), "known": numbers(4, N, 1, seed=2)}
    y, _, tape = net.forward(x)
    dy = numbers(4, N, 2, seed=3)
    g, (right, slopes, dx) = net.backward(tape, {"y": dy}), encoder_decoder(net, x, dy)
    np.testing.assert_allclose(y["y"], right, rtol=1e-12, atol=1e-13)
    for name, slope in slopes.items():
        np.testing.assert_allclose(g.params[name], slope, rtol=1e-10, atol=1e-12, err_msg=name)
    for name, slope in dx.items():
        np.testing.assert_allclose(g.x[name], slope, rtol=1e-10, atol=1e-12, err_msg=name)


def test_a_sequence_has_the_bits_it_has_alone():
    net, x = translator("float32"), inputs_of_translator()
    whole, state = net(x)
    _, _, tape = net.forward(x)
    slopes = {"y": np.ones((4, N, 2), np.float32), "class": np.ones((N, 3), np.float32)}
    g = net.backward(tape, slopes)
    for n in range(N):
        own = {"source": x["source"][:, [n]], "static": x["static"][[n]], "known": x["known"][:, [n]]}
        y, last = net(own)
        assert np.array_equal(y["y"][:, 0], whole["y"][:, n]) and np.array_equal(y["class"][0], whole["class"][n])
        assert np.array_equal(last["decoder"][1][:, 0], state["decoder"][1][:, n])
        _, _, tape = net.forward(own)
        alone = net.backward(tape, {"y": slopes["y"][:, [n]], "class": slopes["class"][[n]]})
        assert np.array_equal(alone.x["static"][0], g.x["static"][n])


def test_ways_to_keep_less_have_the_same_bits():
    net, x = translator("float32"), inputs_of_translator()
    found = []
    for way in ({}, {"tape": "states"}, {"checkpoints": "sqrt"}):
        y, _, tape = net.forward(x, **way)
        found.append(net.backward(tape, {name: np.ones_like(each) for name, each in y.items()}))
        assert tape.nbytes > 0
    for each in found[1:]:
        assert np.array_equal(each.params.flat, found[0].params.flat)
        assert np.array_equal(each.x["known"], found[0].x["known"])


def test_derivatives_are_overwritten_or_added_and_may_be_left_out():
    net, x = translator(), inputs_of_translator()
    y, state, tape = net.forward(x)
    dy = {name: np.ones_like(each) for name, each in y.items()}
    expected, into = net.backward(tape, dy), net.params.zeros()
    into.flat[:] = 7
    assert net.backward(tape, dy, into=into).params is into
    assert np.array_equal(into.flat, expected.params.flat)
    net.backward(tape, dy, into=into, accumulate=True)
    assert np.allclose(into.flat, 2 * expected.params.flat, rtol=1e-13)
    assert net.backward(tape, dy, need_x=False).x is None
    of_class = net.backward(tape, {"class": dy["class"]}, into=into)
    assert not into["decoder.weight_ih_l0"].any() and into["encoder.weight_ih_l0"].any() and not of_class.x["known"].any()
    nothing = net.backward(tape, {})
    assert not nothing.params.flat.any() and not nothing.x["static"].any() and nothing.state["encoder"][0].shape == (2, N, 4)
    only = net.backward(tape, {"y": None}, {"decoder": (np.ones((2, N, 4)), np.zeros((2, N, 4)))})
    assert only.params["encoder.weight_ih_l0"].any() and not only.params["y.weight"].any()


def test_a_state_that_is_given_stands_for_the_encoder():
    net, x = translator(), inputs_of_translator()
    first, state = net({**x, "known": x["known"][:2]})
    rest, _ = net({**x, "known": x["known"][2:]}, {"decoder": state["decoder"]})
    assert np.allclose(np.concatenate([first["y"], rest["y"]]), net(x)[0]["y"], rtol=0, atol=1e-14)
    found = check_graph(net, x, {}, {"decoder": (numbers(2, N, 4), numbers(2, N, 4, seed=1))})
    assert set(found.state) == {"encoder", "decoder"}


def test_outputs_are_no_memory_of_inputs_and_repeat():
    nodes = {"same": nr.Node(nr.Activation("linear"), "x"), "dropped": nr.Node(nr.Dropout(0.5), "x")}
    net, x = nr.Graph({"x": 2}, nodes, ["same", "dropped"]), numbers(T, N, 2).astype(np.float32)
    y, state = net({"x": x})
    assert state == {} and all(np.array_equal(each, x) and not np.shares_memory(each, x) for each in y.values())
    drawn, again = net({"x": x}, seed=1)[0]["dropped"], net({"x": x}, seed=1)[0]["dropped"]
    assert np.array_equal(drawn, again) and not np.array_equal(drawn, net({"x": x}, seed=2)[0]["dropped"])


def test_ragged_in_and_out():
    nodes = {"h": nr.Node(nr.GRU(3), ["x", "s"]), "y": nr.Node(nr.Dense(1), ["h", "x"])}
    net = nr.Graph({"x": 2, "s": nr.Input(1, False)}, nodes, "y", "float64")
    parts, s = [numbers(4, 2), numbers(0, 2), numbers(2, 2, seed=1)], numbers(3, 1)
    y = net.predict({"x": nr.Ragged.of(parts), "s": s})["y"]
    padded = np.full((4, 3, 2), np.nan)
    for n, part in enumerate(parts):
        padded[: len(part), n] = part
    right = net.predict({"x": padded, "s": s}, lengths=[4, 0, 2])["y"]
    assert np.array_equal(y.padded(), right)


def test_copies_are_whole_graphs():
    net, x = translator("float32"), inputs_of_translator()
    right = net.predict(x)["y"]
    for made in (copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert type(made) is nr.Graph and np.array_equal(made.predict(x)["y"], right)
        made.params.flat[:] = 0
        assert np.array_equal(net.predict(x)["y"], right)
    _, _, tape = net.forward(x)
    for wrong in (tape, tape.passage):
        with pytest.raises(TypeError, match="cannot be copied"):
            pickle.dumps(wrong)


def test_a_graph_says_what_it_is():
    net = translator()
    lines = net.summary().splitlines()
    assert lines[0].split() == ["node", "layers", "reads", "output", "parameters"]
    assert lines[4].startswith("decoder") and "state encoder" in lines[4] and "(T, N, 4)" in lines[4]
    assert lines[-1].endswith(f"{len(net.params):,}") and repr(net).startswith("Graph(inputs={'source': Input(channels=None")
    assert net.params.names[:2] == ("letters.weight", "encoder.weight_ih_l0") and "class.1.bias" in net.params
    assert list(net.nodes) == ["letters", "encoder", "decoder", "y", "class"] and net.outputs == ("y", "class")
    with pytest.raises(AttributeError, match="layers"):
        net.layers = ()


GRU, DENSE = nr.GRU(3), nr.Dense(2)
DESCRIPTIONS = [
    (3, {"a": nr.Node(DENSE, "x")}, "a", TypeError, "inputs: expected the channels of each input"),
    ({}, {"a": nr.Node(DENSE, "x")}, "a", ValueError, "inputs: expected at least one"),
    ({"x": 0}, {"a": nr.Node(DENSE, "x")}, "a", ValueError, r"inputs\['x'\]: expected a positive integer, got 0"),
    ({"x.y": 1}, {"a": nr.Node(DENSE, "x")}, "a", ValueError, "without a point, got 'x.y'"),
    ({"x": 1}, [], "a", TypeError, "nodes: expected an nr.Node for each in a dict"),
    ({"x": 1}, {"a": DENSE}, "a", TypeError, r"nodes\['a'\]: expected an nr.Node, got Dense\(units=2\)"),
    ({"x": 1}, {"x": nr.Node(DENSE, "x")}, "x", ValueError, "expected a name that no input has"),
    ({"x": 1}, {"a": nr.Node(DENSE, "y")}, "a", nr.UnknownNameError, r"nodes\['a'\]: unknown name 'y'"),
    ({"x": 1}, {"a": nr.Node(GRU, "x", state="b")}, "a", nr.UnknownNameError, r"nodes\['a'\]: unknown name 'b'"),
    ({"x": 1}, {"a": nr.Node("b", "x")}, "a", nr.UnknownNameError, r"nodes\['a'\].layers: unknown name 'b'"),
    ({"x": 1}, {"a": nr.Node(DENSE, "x"), "b": nr.Node("a", "x"), "c": nr.Node("b", "x")}, ["a", "b", "c"], ValueError,
     r"nodes\['c'\].layers: expected a node with layers of its own"),
    ({"x": 1}, {"a": nr.Node(DENSE, ["x", "b"]), "b": nr.Node(DENSE, "a")}, "b", ValueError, "circle a <- b <- a"),
    ({"x": 1}, {"a": nr.Node(GRU, "x", state="a")}, "a", ValueError, "circle a <- a"),
    ({"x": 1}, {"a": nr.Node(DENSE, "x"), "b": nr.Node("a", "a")}, "b", nr.ShapeError,
     r"nodes\['b'\]: expected 1 channels to read like 'a', whose layers it shares, got 2"),
    ({"x": 1}, {"a": nr.Node(GRU, "x"), "b": nr.Node(nr.GRU(4), "x", state="a")}, "b", nr.ShapeError,
     r"nodes\['b'\].state: expected a state like that of GRU\(hidden=4\)"),
    ({"x": 1}, {"a": nr.Node(GRU, "x"), "b": nr.Node(nr.LSTM(3), "x", state="a")}, "b", nr.ShapeError, "state like that of"),
    ({"x": 1, "s": nr.Input(5, False)}, {"b": nr.Node(nr.LSTM(3), "x", state="s")}, "b", nr.ShapeError,
     r"expected 6 channels, the state of LSTM\(hidden=3\), got 5 of 's'"),
    ({"x": 1}, {"a": nr.Node(DENSE, "x"), "b": nr.Node(GRU, "x", state="a")}, "b", ValueError,
     "expected a node with one recurrent layer, or one without steps, got 'a'"),
    ({"x": 1}, {"a": nr.Node(DENSE, "x"), "b": nr.Node(DENSE, "x", state="a")}, "b", ValueError,
     "expected None unless it has one recurrent layer"),
    ({"s": nr.Input(2, False)}, {"a": nr.Node(GRU, "s")}, "a", ValueError, r"expected steps to read for GRU\(hidden=3\)"),
    ({"x": 1}, {"a": nr.Node([nr.Last(), GRU], "x")}, "a", ValueError, "expected steps to read for GRU"),
    ({"x": 1}, {"a": nr.Node(nr.Embedding(3, 2), "x")}, "a", ValueError, "expected one input of indices for Embedding"),
    ({"x": None}, {"a": nr.Node(DENSE, "x")}, "a", ValueError, "expected an Embedding first, which takes 'x'"),
    ({"x": None, "y": 1}, {"a": nr.Node(nr.Embedding(3, 2), ["x", "y"])}, "a", ValueError, "one input of indices"),
    ({"x": 1}, {"a": nr.Node([DENSE, nr.Embedding(3, 2)], "x")}, "a", ValueError, "expected an Embedding to be the first"),
    ({"x": 1, "z": 1}, {"a": nr.Node(DENSE, "x")}, "a", ValueError, "inputs: expected each to be needed .*, got 'z'"),
    ({"x": 1}, {"a": nr.Node(DENSE, "x"), "b": nr.Node(DENSE, "x")}, "a", ValueError, "nodes: expected each to be needed"),
    ({"x": 1}, {"a": nr.Node(DENSE, "x")}, "b", nr.UnknownNameError, "outputs: unknown name 'b'"),
    ({"x": 1}, {"a": nr.Node(DENSE, "x")}, [], ValueError, "outputs: expected"),
    ({"x": 1}, {"a": nr.Node(DENSE, "x")}, 3, TypeError, "outputs: expected"),
    ({"x": 1}, {"a": nr.Node(DENSE, "x")}, ["a", "a"], ValueError, "outputs: expected each name once"),
    ({"x": 1}, {"a": nr.Node(nr.GRU(3, bidirectional=True, merge="sum"), "x"), "b": nr.Node(nr.Last(), "a")}, "b",
     ValueError, r"nodes\['b'\]: expected Last in the node of GRU"),
    ({"x": 1}, {"a": nr.Node(nr.GRU(3, bidirectional=True), "x"), "b": nr.Node(nr.Last(), ["a", "x"])}, "b", ValueError,
     "LastStep takes the last step"),
]  # fmt: skip


@pytest.mark.parametrize("inputs, nodes, outputs, error, message", DESCRIPTIONS)
def test_a_wrong_description_is_named(inputs, nodes, outputs, error, message):
    with pytest.raises(error, match=message):
        nr.Graph(inputs, nodes, outputs)


def test_wrong_nodes_and_devices_are_named():
    for make, error, message in [
        (lambda: nr.Node([], "x"), ValueError, "layers: expected at least one layer"),
        (lambda: nr.Node([3], "x"), TypeError, "layers: expected layers of numbarnn, got 3"),
        (lambda: nr.Node(3, "x"), TypeError, "layers: expected a layer"),
        (lambda: nr.Node(DENSE, []), ValueError, "reads: expected at least one name"),
        (lambda: nr.Node(DENSE, [3]), TypeError, r"reads\[0\]: expected a name, got 3"),
        (lambda: nr.Node(DENSE, "x", state=3), TypeError, "state: expected a name"),
        (lambda: nr.Input(2.5), TypeError, "channels: expected a positive integer"),
        (lambda: nr.Graph({"x": 1}, {"a": nr.Node(DENSE, "x")}, "a", device="gpu"), nr.DeviceError,
         "device: expected 'cpu' or 'cuda', got 'gpu'"),
        (lambda: nr.Graph({"x": 1}, {"a": nr.Node(DENSE, "x")}, "a", dtype="int8"), nr.DTypeError, "dtype: "),
        (lambda: nr.Graph({"x": 1}, {"a": nr.Node(DENSE, "x")}, "a", layout="tc"), nr.LayoutError, "layout: "),
    ]:  # fmt: skip
        with pytest.raises(error, match=message):
            make()


def test_wrong_arguments_are_named():
    net, x = translator(), inputs_of_translator()
    y, state, tape = net.forward(x)
    ones = {name: np.ones_like(each) for name, each in y.items()}
    for call, error, message in [
        (lambda: net(3), TypeError, "inputs: expected an array in a dict by name"),
        (lambda: net({**x, "z": 3}), nr.UnknownNameError, "inputs: unknown name 'z'"),
        (lambda: net({"source": x["source"]}), ValueError, "inputs: expected an array for each of .* got none for 'static'"),
        (lambda: net({**x, "known": numbers(4, N, 2)}), nr.ShapeError, r"inputs\['known'\]: expected 3 channels, got 2"),
        (lambda: net({**x, "known": numbers(4, 3)}), nr.ShapeError, r"inputs\['known'\]: expected 3 axes \(tnc\), got 2"),
        (lambda: net({**x, "static": numbers(4, 2)}), nr.ShapeError, r"inputs\['static'\]: expected 3 sequences like"),
        (lambda: net({**x, "static": nr.Ragged.of([numbers(2, 2)])}), TypeError, r"inputs\['static'\]: expected an array"),
        (lambda: net({**x, "source": x["known"]}), nr.DTypeError, r"inputs\['source'\]: expected integers"),
        (lambda: net({**x, "source": x["source"] + 7}), nr.IndexRangeError, r"inputs\['source'\]: expected indices"),
        (lambda: net({**x, "known": [["a"]]}), nr.DTypeError, r"inputs\['known'\]: "),
        (lambda: net(x, lengths=[3, 3, 3]), TypeError, "lengths: expected lengths, of inputs with steps, in a dict"),
        (lambda: net(x, lengths={"known": [9, 0, 0]}), ValueError, r"lengths\['known'\]: expected numbers from 0 to 4"),
        (lambda: net(x, lengths={"static": [1, 1, 1]}), nr.UnknownNameError, "lengths: unknown name 'static'"),
        (lambda: net(x, reset={"known": [[True]]}), nr.ShapeError, r"reset\['known'\]: expected shape \(4, 3\)"),
        (lambda: net(x, reset={"static": [True]}), nr.UnknownNameError, "reset: unknown name 'static'"),
        (lambda: net(x, {"y": 3}), nr.UnknownNameError, "state: unknown name 'y'"),
        (lambda: net(x, {"encoder": 3}), TypeError, r"state\['encoder'\]: expected the pair"),
        (lambda: net(x, seed=-1), ValueError, "seed: "),
        (lambda: net.forward(x, tape="some"), nr.UnknownNameError, "tape: "),
        (lambda: net.backward(3, ones), TypeError, "tape: expected one that forward of this graph returned"),
        (lambda: net.backward(translator().forward(x)[2], ones), TypeError, "tape: "),
        (lambda: net.backward(tape, {"z": 3}), nr.UnknownNameError, "dy: unknown name 'z'"),
        (lambda: net.backward(tape, {"y": np.ones((3, N, 2))}), nr.ShapeError, r"dy\['y'\]: expected 4 steps"),
        (lambda: net.backward(tape, {"class": np.ones((N, 1, 3))}), nr.ShapeError, r"dy\['class'\]: expected 2 axes"),
        (lambda: net.backward(tape, ones, into=net.params), ValueError, "into: expected memory of its own"),
        (lambda: net.backward(tape, ones, {"decoder": np.ones(3)}), TypeError, r"dstate\['decoder'\]: "),
    ]:
        with pytest.raises(error, match=message):
            call()
    net.params.flat[0] = np.nan
    with pytest.raises(nr.NonFiniteError, match="letters.weight"):
        net(x)


def test_values_that_are_joined_have_the_same_steps():
    net = nr.Graph({"a": 1, "b": 1}, {"y": nr.Node(DENSE, ["a", "b"])}, "y")
    with pytest.raises(nr.ShapeError, match=r"inputs\['b'\]: expected the steps of inputs\['a'\], .* 4, got 5"):
        net({"a": np.ones((4, 2, 1)), "b": np.ones((5, 2, 1))})
    x, afresh = {"a": np.ones((4, 2, 1)), "b": np.ones((4, 2, 1))}, np.arange(8).reshape(4, 2) == 5
    with pytest.raises(nr.ShapeError, match=r"lengths \[1, 2\]"):
        net(x, lengths={"b": [1, 2]})
    for reset in ({"b": afresh}, {"a": afresh}, {"a": afresh, "b": afresh[:, ::-1]}):
        with pytest.raises(nr.ShapeError, match=r"^reset\['b'\]: expected the one of inputs\['a'\], with which node 'y'"):
            net(x, reset=reset)
    assert np.array_equal(net(x, reset={"a": afresh, "b": afresh})[0]["y"], net(x)[0]["y"])
    assert not data_of(net(x, lengths={"a": [1, 2], "b": [1, 2]})[0]["y"])[2:].any()


def test_transfer_copies_the_parameters_of_a_graph_of_the_same_names_and_shapes():
    def small(dtype="float64", seed=0, hidden=3):
        nodes = {"h": nr.Node(nr.GRU(hidden), "x"), "y": nr.Node(nr.Dense(1), ["h", "x"])}
        return nr.Graph({"x": 2}, nodes, "y", dtype, seed=seed)

    source, target = small(seed=1), small(seed=2)
    x = {"x": np.random.default_rng(0).standard_normal((4, 3, 2))}
    assert target.transfer(source) is target
    assert np.array_equal(source.predict(x)["y"], target.predict(x)["y"])
    rounded = small("float32").transfer(source)
    assert np.array_equal(rounded.params.flat, source.params.flat.astype(np.float32))
    kept = target.params.flat.copy()
    with pytest.raises(nr.ShapeError, match="^source: expected h.weight_ih_l0"):
        target.transfer(small(hidden=4))
    with pytest.raises(TypeError, match="^source: expected a Graph, got Network"):
        target.transfer(nr.Network([nr.Dense(1)], 2))
    assert np.array_equal(target.params.flat, kept)
