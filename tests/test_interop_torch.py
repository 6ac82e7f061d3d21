"""PyTorch's modules and state dicts to networks and back: outputs side by side, parameters to the bit, errors by path."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numbarnn as nr

torch = pytest.importorskip("torch")
nn = torch.nn
interop = nr.interop.torch
TOLERANCE = {"float32": 2e-6, "float64": 1e-13}
ACTIVATIONS = [
    nn.ReLU,
    nn.Tanh,
    nn.Sigmoid,
    nn.LeakyReLU,
    nn.ELU,
    nn.Softsign,
    nn.Softplus,
    nn.Hardsigmoid,
    nn.GELU,
    nn.SiLU,
]


@st.composite
def recurrent(draw):
    """A recurrent module of any kind, and its output channels, for 3 channels."""
    hidden, directions = draw(st.integers(1, 9)), draw(st.integers(1, 2))
    options = {"num_layers": draw(st.integers(1, 2)), "bidirectional": directions == 2, "bias": draw(st.booleans())}
    options |= {"dropout": 0.25} if options["num_layers"] > 1 and draw(st.booleans()) else {}
    kind, width = draw(st.sampled_from([nn.RNN, nn.GRU, nn.LSTM])), hidden
    if kind is nn.RNN:
        options["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
    if kind is nn.LSTM and hidden > 1 and draw(st.booleans()):
        options["proj_size"] = width = hidden // 2
    return kind, hidden, options, width * directions


def reference(parts, x):
    """What PyTorch's modules and numbarnn's Last give, written out."""
    before = None
    for part in parts:
        if isinstance(part, nr.Last):
            steps = 1 if before.batch_first else 0
            forward = x.select(steps, -1)
            if before.bidirectional:
                middle = x.shape[-1] // 2
                forward = torch.cat([forward[..., :middle], x.select(steps, 0)[..., middle:]], -1)
            x = forward
            continue
        x = part(x)
        if isinstance(x, tuple):
            x, before = x[0], part
    return x.detach().numpy()


@given(recurrent(), st.booleans(), st.booleans(), st.sampled_from(["float32", "float64"]), st.integers(0, 2**16))
def test_recurrent_modules_there_and_back(module, batch_first, last, dtype, seed):
    kind, hidden, options, width = module
    torch.manual_seed(seed)
    parts = [kind(3, hidden, batch_first=batch_first, **options), nn.Dropout(0.5), nn.Linear(width, 2), nn.Tanh()]
    if last:
        parts.insert(1, nr.Last())
    for part in parts:
        if isinstance(part, nn.Module):
            part.to(getattr(torch, dtype)).eval()
    x = torch.randn(4, 5, 3, dtype=getattr(torch, dtype))
    net = interop.from_module(parts)
    expected = reference(parts, x)
    np.testing.assert_allclose(net.predict(x.numpy()), expected, rtol=0, atol=TOLERANCE[dtype])
    back = interop.to_module(net)
    np.testing.assert_allclose(back.eval()(x).detach().numpy(), expected, rtol=0, atol=TOLERANCE[dtype])
    state = back.state_dict()
    assert tuple(state) and set(state) == set(net.params.names)
    assert all(np.array_equal(state[name].numpy(), net.params[name]) for name in state)
    again = interop.from_module(back)
    assert again.layers == net.layers and again.layout == net.layout
    assert again.params.flat.tobytes() == net.params.flat.tobytes()
    original = {f"0.{name}": value.detach().numpy() for name, value in parts[0].named_parameters()}
    assert all(np.array_equal(value, net.params[name]) for name, value in original.items())
    assert options["bias"] or not net.params["0.bias_ih_l0"].any()


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_activations(kind):
    module = nn.Sequential(nn.Linear(3, 4), nn.Sequential(kind(), nn.Identity()), nn.Linear(4, 2, bias=False))
    net = interop.from_module(module)
    assert net.channels == 3 and len(net.layers) == 4
    x = torch.randn(7, 3) * 3
    np.testing.assert_allclose(net.predict(x.numpy()), module(x).detach().numpy(), rtol=0, atol=3e-6)
    dense = nr.Network([nr.Dense(4, net.layers[1].name), nr.Dense(2)], channels=3, seed=1)
    back = interop.to_module(dense)
    np.testing.assert_allclose(back(x).detach().numpy(), dense.predict(x.numpy()), rtol=0, atol=3e-6)
    assert set(back.state_dict()) == set(dense.params.names)
    assert interop.from_module(back).layers == dense.layers


def test_a_module_that_occurs_again():
    linear, tanh = nn.Linear(3, 3), nn.Tanh()
    module, x = nn.Sequential(linear, tanh, nn.Sequential(linear, tanh), nn.Linear(3, 2), tanh), torch.randn(7, 3)
    net = interop.from_module(module)
    assert len(net.layers) == 6
    np.testing.assert_allclose(net.predict(x.numpy()), module(x).detach().numpy(), rtol=0, atol=1e-6)


def test_indices():
    module = nn.Sequential(nn.Embedding(11, 4, padding_idx=0), nn.GRU(4, 5, batch_first=True))
    net = interop.from_module(module)
    x = torch.randint(0, 11, (3, 6))
    expected = reference(module, x)
    np.testing.assert_allclose(net.predict(x.numpy()), expected, rtol=0, atol=2e-6)
    np.testing.assert_allclose(interop.to_module(net)(x).detach().numpy(), expected, rtol=0, atol=2e-6)


def test_images():
    module = nn.Sequential(
        nn.Conv2d(2, 3, (3, 2), stride=(1, 2), padding=1), nn.ReLU(), nn.MaxPool2d(2, 1), nn.Conv2d(3, 4, 2, bias=False),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 2),
    )  # fmt: skip
    x = torch.randn(5, 2, 8, 8)
    net = interop.from_module(module, channels=(2, 8, 8))
    expected = module(x).detach().numpy()
    np.testing.assert_allclose(net.predict(x.reshape(5, -1).numpy()), expected, rtol=0, atol=2e-6)
    back = interop.to_module(net)
    np.testing.assert_allclose(back(x.reshape(5, -1)).detach().numpy(), expected, rtol=0, atol=2e-6)
    assert [*back.state_dict()] == [*net.params.names]
    again = interop.from_module(back)
    assert again.channels == net.channels and again.params.flat.tobytes() == net.params.flat.tobytes()
    with pytest.raises(nr.ShapeError, match="which a network has from channels="):
        interop.from_module(module)


@pytest.mark.parametrize("kind", ["mean", "max"])
def test_pooled_steps(kind):
    net = nr.Network([nr.GRU(4), nr.Pool(kind), nr.Dense(2)], channels=3, layout="ntc", seed=0)
    x, module = np.random.default_rng(0).standard_normal((5, 6, 3)).astype(np.float32), interop.to_module(net)
    np.testing.assert_allclose(module(torch.from_numpy(x)).detach().numpy(), net.predict(x), rtol=0, atol=2e-6)
    assert interop.from_module(module).layers == net.layers


class Classifier(nn.Module):
    """What a user has: parts, and a forward that puts them together."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.LSTM(3, 4, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        _, (h, _) = self.encoder(x)
        return self.head(torch.cat([h[-2], h[-1]], 1))


def test_state_dicts_in_every_kind_of_file(tmp_path):
    module, x = Classifier(), torch.randn(5, 6, 3)
    state = module.state_dict()
    from safetensors.torch import save_file

    torch.save(state, tmp_path / "m.pt")
    save_file(state, tmp_path / "m.safetensors")
    np.savez(tmp_path / "m.npz", **{name: value.numpy() for name, value in state.items()})
    layers = [nr.LSTM(4, layers=2, bidirectional=True), nr.Last(), nr.Dense(2)]
    names = ["encoder", "head"]
    for source in (state, *(tmp_path / f"m.{ending}" for ending in ("pt", "safetensors", "npz"))):
        net = interop.load(nr.Network(layers, channels=3, layout="ntc", seed=1), source, names)
        np.testing.assert_allclose(net.predict(x.numpy()), module(x).detach().numpy(), rtol=0, atol=2e-6)
        layer, p = interop.layer_of(source, "encoder")
        assert layer == layers[0] and all(np.array_equal(p[name], net.params[f"0.{name}"]) for name in p.names)
        layer, p = interop.layer_of(source, "head")
        assert layer == nr.Dense(2) and np.array_equal(p["weight"], net.params["2.weight"])
    net.params.flat *= 2
    for ending in ("pth", "safetensors", "npz"):
        interop.save(net, tmp_path / f"back.{ending}", names)
        found = interop.read(tmp_path / f"back.{ending}")
        assert found.keys() == state.keys()
        assert all(np.array_equal(found[name], 2 * state[name].numpy()) for name in found)
        with pytest.raises(FileNotFoundError):
            interop.save(net, tmp_path / "none" / f"back.{ending}", names)
    module.load_state_dict({name: torch.from_numpy(a) for name, a in interop.state_dict(net, names).items()})
    np.testing.assert_allclose(net.predict(x.numpy()), module(x).detach().numpy(), rtol=0, atol=2e-6)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}])
def test_a_layer_is_told_from_its_state_dict(kind, options):
    module = kind(3, 5, **options)
    layer, p = interop.layer_of(module.state_dict())
    assert interop.from_module(module).layers == (layer,)
    assert all(np.array_equal(value.numpy(), p[name]) for name, value in module.state_dict().items())
    if kind is nn.LSTM:
        projected = nn.LSTM(3, 5, proj_size=2, **options)
        assert interop.from_module(projected).layers == (interop.layer_of(projected.state_dict())[0],)


def plain(bias=True):
    return nr.Network([nr.GRU(2), nr.Dense(1)], channels=1, seed=0)


def test_a_state_dict_that_does_not_fit_changes_nothing():
    net = plain()
    before, state = net.params.flat.copy(), interop.state_dict(net)
    wrong = {
        "expected '1.weight' of shape": {name: a for name, a in state.items() if name != "1.weight"},
        "expected '0.bias_ih_l0' of shape": {name: a for name, a in state.items() if name != "0.bias_ih_l0"},
        "got also 'more'": state | {"more": np.ones(1, np.float32)},
        "'1.weight'.*expected shape \\(1, 2\\), got \\(2, 1\\)": state | {"1.weight": np.ones((2, 1), np.float32)},
        "'1.weight'.*expected float32 like the parameters, got float64": state | {"1.weight": np.ones((1, 2))},
    }
    for message, source in wrong.items():
        with pytest.raises((ValueError, TypeError), match=message):
            interop.load(net, {name: a * 2 for name, a in source.items()})
        assert np.array_equal(net.params.flat, before)
    with pytest.raises(TypeError, match=r"source\['x'\]: expected an array or a tensor, got list"):
        interop.load(net, {"x": [1]})
    with pytest.raises(ValueError, match="modules: expected 2 names, one for each layer that has parameters, got 1"):
        interop.load(net, state, ["a"])
    with pytest.raises(TypeError, match="source.*expected a tensor of float32 or float64, got torch.bfloat16"):
        interop.read({"x": torch.ones(2, dtype=torch.bfloat16)})


class Own(nn.Module):
    def forward(self, x):
        return x


WITHOUT_COUNTERPART = {
    r"^module: .*Classifier.*from_module\(\[m.rnn": Classifier(),
    r"^module\.1\.0: expected a module that numbarnn has as a layer, got Own\(\)": nn.Sequential(
        nn.ReLU(), nn.Sequential(Own())
    ),
    r"^module\[1\]: .*BatchNorm1d": [nn.Linear(1, 1), nn.BatchNorm1d(1)],
    r"^module: .*tanh": nn.GELU(approximate="tanh"),
    r"^module: .*beta=2": nn.Softplus(beta=2),
    r"^module: .*threshold=1": nn.Softplus(threshold=1),
    r"^module\.weight: expected a parameter with numbers": nn.Linear(1, 1, device="meta"),
    r"^module: .*dilation": nn.Conv2d(1, 1, 2, dilation=2),
    r"^module: .*max_norm": nn.Embedding(3, 2, max_norm=1.0),
    r"^module\.0: .*Flatten": nn.Sequential(nn.Flatten()),
}


@pytest.mark.parametrize("message", WITHOUT_COUNTERPART)
def test_a_module_without_counterpart_is_named(message):
    with pytest.raises(nr.ConversionError, match=message):
        interop.from_module(WITHOUT_COUNTERPART[message], channels=1)


def test_what_else_is_wrong_with_modules():
    with pytest.raises(nr.DTypeError, match=r"^module\.weight: expected float32 or float64, got torch.float16"):
        interop.from_module(nn.Linear(1, 1).half())
    with pytest.raises(
        nr.DTypeError, match=r"module\.1\.weight: expected torch.float32 like the parameters before, got torch.f"
    ):
        interop.from_module(nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1).double()))
    with pytest.raises(
        nr.ShapeError, match=r"module\.1\.weight: expected shape \(1, 2\), as the parts before it have it, got"
    ):
        interop.from_module(nn.Sequential(nn.Linear(1, 2), nn.Linear(3, 1)))
    with pytest.raises(nr.LayoutError, match=r"expected batch_first as in"):
        interop.from_module(nn.Sequential(nn.GRU(1, 2), nn.GRU(2, 2, batch_first=True)))
    hooked = nn.ReLU()
    hooked.register_forward_hook(lambda *_: None)
    with pytest.raises(nr.ConversionError, match="without hooks"):
        interop.from_module(nn.Sequential(hooked))
    with pytest.raises(nr.ConversionError, match="expected a layer without parameters beside modules"):
        interop.from_module([nn.Linear(1, 2), nr.GRU(2)])


DRAWN = nr.Connectivity(spectral_radius=0.9, input_scaling=0.5)
KEPT = nr.Connectivity(mask=[[0, 1, 0.5], [1, 0, 0], [1, 2, 0]], signs=[1, -1, 1])


@pytest.mark.parametrize("connectivity", [DRAWN, KEPT, nr.Connectivity(density=0.4)], ids=["drawn", "mask", "density"])
def test_a_connectivity_is_carried_as_the_weights_that_follow_from_it(connectivity):
    options = {"connectivity": connectivity, "layers": 2, "bidirectional": True}
    net = nr.Network([nr.GRU(3, **options), nr.Dense(2)], channels=2, seed=0)
    x, flat = np.random.default_rng(0).standard_normal((6, 4, 2)).astype(np.float32), net.params.flat.copy()
    np.testing.assert_allclose(reference(interop.to_module(net), torch.from_numpy(x)), net.predict(x), rtol=0, atol=1e-6)
    assert np.array_equal(net.params.flat, flat)
    state = interop.state_dict(net)
    plain = interop.load(nr.Network([nr.GRU(3, layers=2, bidirectional=True), nr.Dense(2)], channels=2), state)
    np.testing.assert_array_equal(plain.predict(x), net.predict(x))
    assert np.array_equal(state["0.weight_hh_l1"], net.params["0.weight_hh_l1"]) == (connectivity is not KEPT)
    if connectivity is DRAWN:
        assert np.array_equal(interop.load(net, state).params.flat, flat)
    else:
        with pytest.raises(nr.ConversionError, match=r"layers\[0\]: expected a layer without mask.* into a network without"):
            interop.load(net, state)
        assert np.array_equal(net.params.flat, flat)


NOT_IN_PYTORCH = [
    (nr.GRU(2, reset="before"), "reset 'after'"),
    (nr.LSTM(2, peepholes=True), "peepholes False"),
    (nr.RNN(2, "sigmoid"), "activation 'tanh' or 'relu'"),
    (nr.GRU(2, clip=1.0), "clip None"),
    (nr.GRU(2, zoneout=0.1), "zoneout 0.0"),
    (nr.LSTM(2, bidirectional=True, merge="sum"), "merge 'concat'"),
    (nr.MGU(2), "a layer that PyTorch has, got MGU"),
    (nr.Activation(("scaled_tanh", 2.0)), "an activation function that PyTorch has"),
]


@pytest.mark.parametrize("layer, message", NOT_IN_PYTORCH)
def test_a_layer_that_pytorch_does_not_have_is_named(layer, message):
    net = nr.Network([nr.Dropout(0.1), layer], channels=2, seed=0)
    with pytest.raises(nr.ConversionError, match=rf"^layers\[1\]: expected .*{message}"):
        interop.to_module(net)
    if net.params.names:
        with pytest.raises(nr.ConversionError, match=r"^layers\[1\]"):
            interop.state_dict(net)


@settings(max_examples=100)
@given(st.sampled_from(["pt", "safetensors", "npz"]), st.data())
def test_damaged_files(tmp_path_factory, ending, data):
    folder = tmp_path_factory.mktemp("damaged")
    interop.save(plain(), path := folder / f"m.{ending}")
    contents = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del contents[data.draw(st.integers(0, len(contents) - 1)) :]
    for _ in range(data.draw(st.integers(0, 3))):
        if contents:
            contents[data.draw(st.integers(0, len(contents) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(contents)
    try:
        interop.load(plain(), path)
    except (nr.FileFormatError, ValueError, TypeError) as error:
        assert str(error)


def test_files_that_claim_much(tmp_path):
    path = tmp_path / "m.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (2**40,)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weight.npy", header.getvalue())
    with pytest.raises(nr.FileFormatError, match="expected an npz file of NumPy, got a damaged or foreign one .*weight.npy"):
        interop.read(path)
    np.savez(path, weight=np.array([print], dtype=object))
    with pytest.raises(nr.FileFormatError, match="object"):
        interop.read(path)
    torch.save(Own(), tmp_path / "own.pt")
    with pytest.raises(nr.FileFormatError, match="expected a state dict that PyTorch has saved"):
        interop.read(tmp_path / "own.pt")
    with pytest.raises(ValueError, match=r"source: expected a file that ends in .safetensors or .npz"):
        interop.read(tmp_path / "m.bin")
    with pytest.raises(FileNotFoundError):
        interop.read(tmp_path / "none.pt")
