"""Networks, layers and parameters in files: what is loaded is what was saved, whatever becomes of the disk meanwhile."""

from dataclasses import replace

import numpy as np
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

import numbarnn as nr


def same_bits(a, b):
    """Whether two arrays have the same shape, dtype and bits."""
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def again(net, path, **options):
    """The network that a file holds of this one."""
    net.save(path)
    return nr.load(path, **options)


def small(seed=0, **options):
    return nr.Network([nr.GRU(4), nr.Last(), nr.Dense(1)], channels=1, seed=seed, **options)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


# -- what comes back


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loaded_network_predicts_and_trains_as_the_first_one_does(path, dtype):
    net = small(dtype=dtype)
    x, y = nr.windows(np.sin(np.arange(40, dtype=dtype) / 4), 5)
    net.fit(x, y, epochs=1, progress=False)
    made = again(net, path)
    assert made.layers == net.layers and repr(made) == repr(net) and made.output_channels == net.output_channels
    assert same_bits(made.params.flat, net.params.flat) and made.params.weights == net.params.weights
    assert same_bits(made.predict(x), net.predict(x)) and made.history is None
    losses = [each.fit(x, y, epochs=3, batch_size=8, progress=False).loss for each in (made, net)]
    assert losses[0] == losses[1] and same_bits(made.params.flat, net.params.flat)
    assert same_bits(nr.load(path, into=net).params.flat, nr.load(path).params.flat)


def test_bits_that_are_no_numbers_come_back(path):
    p = nr.RNN(3).init(2)
    p.flat.view(np.uint32)[:4] = 0x7FA00001, 0xFFC00002, 0x80000000, 0x00000001
    p.save(path)
    assert same_bits(nr.load(path).flat, p.flat) and nr.load(path).weights == p.weights


def test_a_reader_of_safetensors_alone_finds_pytorch_s_names_and_shapes(path):
    net = nr.Network([nr.Embedding(7, 3), nr.LSTM(4, bidirectional=True, projection=2), nr.Dense(2)], seed=0)
    net.save(path)
    found = load_file(path)
    assert set(found) == set(net.params.names)
    assert all(same_bits(found[name], np.ascontiguousarray(view)) for name, view in net.params.items())
    assert found["1.weight_ih_l0"].shape == (16, 3) and found["0.weight"].shape == (7, 3)


def test_a_layer_and_its_parameters(path):
    layer = nr.LSTM(3, peepholes=True)
    p = layer.init(2, seed=3, dtype="float64")
    layer.save(path, p)
    made, q = nr.load(path)
    assert made == layer and same_bits(q.flat, p.flat) and q.weights == p.weights
    with pytest.raises(nr.ShapeError, match=r"^p: expected the parameters of LSTM\(hidden=3\)"):
        nr.LSTM(3).save(path, p)
    with pytest.raises(TypeError, match="^p: expected numbarnn.Parameters, got int"):
        layer.save(path, 3)
    assert nr.load(path)[0] == layer


# -- descriptions of every kind


FUNCTION_SPECS = ["tanh", ("leaky_relu", 0.25), ("affine", 0.5, -1.0), nr.cells.activation("gelu")]


@st.composite
def recurrent(draw):
    """A recurrent layer with any of its options that go together."""
    kind = draw(st.sampled_from(sorted(strategies.KINDS | strategies.OTHER_KINDS)))
    layer = draw(strategies.layers(kind, hidden=(1, 2, 3, 5)))
    changes = {"learned_state": draw(st.booleans()), "weight_drop": draw(st.sampled_from((0.0, 0.5)))}
    if kind == "indrnn":
        del changes["weight_drop"]
    if layer.layers > 1:
        changes |= {"dropout": draw(st.floats(0, 0.9)), "residual": draw(st.booleans())}
    if layer.bidirectional:
        changes["merge"] = draw(st.sampled_from(("concat", "sum", "average", "product")))
    if kind != "lstm-projected":
        changes["noise"] = draw(st.floats(0, 2))
        changes["zoneout"] = draw(st.floats(0, 0.9))
        if strategies.states_of(layer) == 2 and draw(st.booleans()):
            changes["zoneout"] = changes["zoneout"], draw(st.floats(0, 0.9))
        if kind != "indrnn" and draw(st.booleans()):
            mask = draw(st.sampled_from((None, np.tri(layer.hidden))))
            signs = [1, -1, 1, 1, -1][: layer.hidden] if mask is None or draw(st.booleans()) else None
            changes["connectivity"] = nr.Connectivity(mask, signs)
    if kind.startswith("leaky") and draw(st.booleans()):
        rates = st.lists(st.floats(0.01, 1), min_size=layer.hidden, max_size=layer.hidden)
        changes["rate"] = tuple(draw(rates))
    changes["clip"] = draw(st.sampled_from((None, 0.1, 3.0)))
    changes["activation"] = draw(st.sampled_from(FUNCTION_SPECS))
    return replace(layer, **changes)


STATELESS = st.one_of(
    st.builds(nr.Dense, st.integers(1, 4), st.sampled_from(FUNCTION_SPECS)),
    st.builds(nr.Activation, st.sampled_from(FUNCTION_SPECS)),
    st.builds(nr.Dropout, st.floats(0, 0.9)),
)


@st.composite
def networks(draw):
    """A network of any layers."""
    first = [nr.Embedding(draw(st.integers(1, 9)), draw(st.integers(1, 4)))] if draw(st.booleans()) else []
    middle = draw(st.lists(st.one_of(recurrent(), STATELESS), min_size=1, max_size=3))
    last = draw(st.sampled_from(([], [nr.LastStep()], [nr.LastStep(), nr.Dense(2)])))
    return nr.Network(
        [*first, *middle, *last],
        channels=1 if first else draw(st.integers(1, 4)),
        dtype=draw(st.sampled_from(("float32", "float64"))),
        layout=draw(st.sampled_from(strategies.LAYOUTS)),
        seed=draw(st.integers(0, 99)),
    )


@given(networks())
@settings(deadline=None)
def test_any_network_comes_back(tmp_path_factory, net):
    """Layers equal by value make the same of the same numbers: their kernels are found by it."""
    made = again(net, tmp_path_factory.mktemp("any") / "net")
    assert made.layers == net.layers and repr(made) == repr(net)
    assert [hash(layer) for layer in made.layers] == [hash(layer) for layer in net.layers]
    assert (made.dtype, made.layout, made.channels, made._inputs) == (net.dtype, net.layout, net.channels, net._inputs)
    assert same_bits(made.params.flat, net.params.flat) and made.params.weights == net.params.weights
    for a, b in zip(made.layers, net.layers):
        connected = getattr(b, "connectivity", None)
        assert connected is None or (a.connectivity == connected and a.connectivity is not connected)


@pytest.mark.parametrize("normalized", [nr.GRU(3, normalized=True), nr.LSTM(3, layers=2, normalized=True)], ids=repr)
def test_normalized_layers_and_directions_come_back(path, normalized):
    both = replace(normalized, bidirectional=True, merge="sum")
    net = nr.Network([nr.Dropout(0.5), both, nr.Last(), nr.Dense(1)], channels=2, seed=0)
    made = again(net, path)
    assert made.layers == net.layers and made._unmerged == net._unmerged and same_bits(made.params.flat, net.params.flat)
