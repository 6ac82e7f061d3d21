"""Conv2d, AvgPool2d, MaxPool2d and Flatten: against NumPy, finite differences and PyTorch; the same bits everywhere."""

import numba
import numpy as np
import pytest
from checks import check_images, check_network, same_bits
from hypothesis import given
from hypothesis import strategies as st

import numbarnn as nr

LAYERS = {
    "few filters": nr.Conv2d(3, (2, 3), stride=(1, 2), padding=(1, 0), shape=(2, 6, 7)),
    "many filters": nr.Conv2d(19, 3, padding=1, shape=(3, 5, 9)),
    "mean": nr.AvgPool2d(3, stride=2, padding=1, shape=(2, 7, 6)),
    "max": nr.MaxPool2d(3, stride=2, padding=1, shape=(2, 7, 6)),
}


@st.composite
def layers(draw, kind):
    """A layer of images of any shape that they fit into."""
    kernel = tuple(draw(st.integers(1, 4)) for _ in range(2))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    lengths = [draw(st.integers(max(1, k - 2 * p), 19)) for k, p in zip(kernel, padding)]
    options = {"stride": tuple(draw(st.integers(1, 3)) for _ in range(2)), "padding": padding}
    options["shape"] = (draw(st.integers(1, 3)), *lengths)
    return kind(draw(st.integers(1, 18)), kernel, **options) if kind is nr.Conv2d else kind(kernel, **options)


@pytest.mark.parametrize("kind", [nr.Conv2d, nr.AvgPool2d, nr.MaxPool2d])
def test_outputs_and_gradients(kind):
    @given(layers(kind), st.integers(1, 20), st.integers(0, 2**16))
    def check(layer, rows, seed):
        random, shape = np.random.default_rng(seed), (rows, int(np.prod(layer.shape)))
        x = random.standard_normal(shape)
        if kind is nr.MaxPool2d:  # no two numbers so close that a small step changes which is greater
            x = random.permutation(x.size).reshape(shape) / 50
        check_images(layer, x, seed)

    check()


def made(name, rows, dtype="float32", seed=0):
    """(layer, parameters, x, dy)."""
    layer, random = LAYERS[name], np.random.default_rng(seed)
    x = random.standard_normal((rows, int(np.prod(layer.shape)))).astype(dtype)
    p = layer.init(x.shape[1], seed, dtype, "pytorch")
    return layer, p, x, random.standard_normal((rows, layer.output_channels(x.shape[1]))).astype(dtype)


def results(layer, p, x, dy, layout="tnc", **options):
    """(y, dL/dx, dL/dp)."""
    y, tape = layer.forward(p, x, layout, **options)
    found = layer.backward(tape, dy)
    return y, found.x, found.params.flat


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_no_bit_depends_on_threads_or_on_the_batch(name, dtype):
    layer, p, x, dy = made(name, 70, dtype)
    found = []
    for threads in (1, 2, 3):
        numba.set_num_threads(threads)
        found.append(results(layer, p, x, dy))
    assert same_bits(found[0], found[1]) and same_bits(found[0], found[2])
    y, dx, _ = results(layer, p, x[40:43].copy(), dy[40:43].copy())
    assert same_bits(y, found[0][0][40:43].copy()) and same_bits(dx, found[0][1][40:43].copy())


@pytest.mark.parametrize("name", LAYERS)
def test_layouts_lengths_and_sequences(name):
    layer, p, x, dy = made(name, 12)
    expected = results(layer, p, x.reshape(4, 3, -1), dy.reshape(4, 3, -1))
    for layout in ("ntc", "cnt"):
        order = ["tnc".index(letter) for letter in layout]
        y, dx, gradient = results(layer, p, *(a.reshape(4, 3, -1).transpose(order) for a in (x, dy)), layout)
        back = [layout.index(letter) for letter in "tnc"]
        assert same_bits(expected, (y.transpose(back).copy(), dx.transpose(back).copy(), gradient))
    lengths = np.array([4, 0, 2])
    there = np.arange(4)[:, None] < lengths
    padded = x.reshape(4, 3, -1).copy()
    padded[~there] = np.nan
    y, dx, gradient = results(layer, p, padded, dy.reshape(4, 3, -1), lengths=lengths)
    assert same_bits(y[there], expected[0][there]) and not y[~there].any()
    assert same_bits(dx[there], expected[1][there]) and not dx[~there].any()
    alone = results(layer, p, x.reshape(4, 3, -1)[there], dy.reshape(4, 3, -1)[there])
    np.testing.assert_allclose(gradient, alone[2], rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_are_added_only_when_asked_and_derivatives_of_x_left_out(name):
    layer, p, x, dy = made(name, 5, "float64")
    _, tape = layer.forward(p, x)
    into = p.zeros()
    into.flat[:] = 7
    once = layer.backward(tape, dy, into=into).params.flat.copy()
    assert np.array_equal(layer.backward(tape, dy, into=into, accumulate=True).params.flat, 2 * once)
    assert layer.backward(tape, dy, need_x=False).x is None


@pytest.mark.parametrize("dtype, tolerance", [("float32", 2e-5), ("float64", 1e-13)])
@pytest.mark.parametrize("name", [*LAYERS, "LeNet's first", "LeNet's second"])
def test_pytorch(name, dtype, tolerance):
    torch = pytest.importorskip("torch")
    ours = {
        "LeNet's first": nr.Conv2d(6, 5, padding=2, shape=(1, 28, 28)),
        "LeNet's second": nr.Conv2d(16, 5, shape=(6, 14, 14)),
    }
    layer = (LAYERS | ours)[name]
    random = np.random.default_rng(0)
    x = random.standard_normal((9, int(np.prod(layer.shape)))).astype(dtype)
    p = layer.init(x.shape[1], 0, dtype, "pytorch")
    ways = {"stride": layer.stride, "padding": layer.padding}
    if isinstance(layer, nr.Conv2d):
        twin = torch.nn.Conv2d(layer.shape[0], layer.filters, layer.kernel, **ways).to(getattr(torch, dtype))
        with torch.no_grad():
            twin.weight.copy_(torch.from_numpy(p["weight"]))
            twin.bias.copy_(torch.from_numpy(p["bias"]))
    else:
        twin = getattr(torch.nn, type(layer).__name__)(layer.kernel, **ways)
    images = torch.from_numpy(x.reshape(9, *layer.shape)).requires_grad_()
    outputs = twin(images)
    assert outputs.shape[1:] == layer.output_shape
    dy = random.standard_normal((9, layer.output_channels(x.shape[1]))).astype(dtype)
    outputs.backward(torch.from_numpy(dy).reshape(outputs.shape))
    y, dx, gradient = results(layer, p, x, dy)
    expected = [outputs.detach().numpy().reshape(9, -1), images.grad.numpy().reshape(9, -1)]
    gradients = nr.Parameters(gradient, p.weights)
    found = [y, dx, *(view for _, view in gradients.items())]
    expected += [each.grad.numpy() for each in twin.parameters()]
    for mine, theirs in zip(found, expected, strict=True):
        assert np.abs(mine - theirs).max() <= tolerance * max(1, np.abs(theirs).max())


def test_a_maximum_of_equal_numbers_and_of_nan():
    layer = nr.MaxPool2d(2, shape=(1, 2, 4))
    p = layer.init(8)
    x = np.array([[1, 1, 0, np.nan, 1, 1, 2, 3]], np.float32)
    y, tape = layer.forward(p, x)
    assert y[0, 0] == 1 and np.isnan(y[0, 1])
    assert np.array_equal(layer.backward(tape, np.array([[5, 7]], np.float32)).x, [[5, 0, 0, 7, 0, 0, 0, 0]])


def lenet(**options):
    """The LeNet of 1998 as textbooks have it: 61,706 parameters."""
    layers = [nr.Conv2d(6, 5, padding=2), nr.Activation("tanh"), nr.AvgPool2d(2), nr.Conv2d(16, 5), nr.Activation("tanh")]
    layers += [nr.AvgPool2d(2), nr.Flatten(), nr.Dense(120, "tanh"), nr.Dense(84, "tanh"), nr.Dense(10)]
    return nr.Network(layers, channels=(1, 28, 28), **options)


def small(**options):
    """A network of images with all of these layers."""
    layers = [nr.Conv2d(3, 3, padding=1), nr.Activation("tanh"), nr.MaxPool2d(2), nr.Conv2d(4, (2, 3)), nr.AvgPool2d(2)]
    return nr.Network([*layers, nr.Flatten(), nr.Dense(2)], channels=(2, 6, 8), **options)


def test_a_network_tells_its_layers_the_shape_of_their_images():
    net = lenet(seed=0)
    assert len(net.params) == 61706 and "61,706" in net.summary() and net.channels == 784
    shapes = [layer.shape for layer in net.layers if hasattr(layer, "shape")]
    assert shapes == [(1, 28, 28), (6, 28, 28), (6, 14, 14), (16, 10, 10)]
    again = nr.Network(net.layers, seed=0)  # they know it now
    assert again.channels == 784 and again.layers == net.layers
    assert np.array_equal(again.params.flat, net.params.flat)
    assert net.params["3.weight"].shape == (16, 6, 5, 5)


def test_the_gradient_of_a_network_of_images():
    random = np.random.default_rng(0)
    check_network(small(dtype="float64", seed=1), random.standard_normal((7, 96)), random.standard_normal((7, 2)))


def test_a_sequence_of_images_into_a_recurrent_layer():
    layers = [nr.Conv2d(2, 3), nr.Activation("tanh"), nr.AvgPool2d(2), nr.Flatten(), nr.GRU(3), nr.Last(), nr.Dense(1)]
    net = nr.Network(layers, channels=(1, 6, 6), dtype="float64", seed=0)
    random = np.random.default_rng(0)
    x, y = random.standard_normal((5, 3, 36)), random.standard_normal((3, 1))
    check_network(net, x, y)
    check_network(net, x, y, lengths=np.array([5, 0, 2]))
    stream = net.stream(batch=3)
    for step in x:
        found = stream.step(step)
    np.testing.assert_allclose(found, net.predict(x), rtol=0, atol=1e-13)
    assert np.array_equal(net.stream(batch=3).run(x)[-1], found)


def test_training_learns_and_copies_and_files_predict_alike(tmp_path):
    random = np.random.default_rng(0)
    x = random.random((64, 96), dtype=np.float32)
    labels = (x[:, :48].sum(axis=1) > x[:, 48:].sum(axis=1)).astype(np.int64)
    net = small(seed=0)
    history = net.fit(x, labels, loss="cross_entropy", optimizer=nr.Adam(0.01), epochs=40, batch_size=16, progress=False)
    assert history.loss[-1] < 0.5 * history.loss[0]
    assert same_bits(net.predict(x)[:1], net.predict(x[:1]))
    pytest.importorskip("safetensors")
    net.save(tmp_path / "net.safetensors")
    assert same_bits(nr.load(tmp_path / "net.safetensors").predict(x), net.predict(x))


def test_many_images_are_predicted_some_at_a_time(monkeypatch):
    x = np.random.default_rng(0).random((7, 96), dtype=np.float32)
    net, turned = small(seed=0), small(seed=0, layout="ctn")
    expected, sizes = net.predict(x), []
    loss = net.loss(x, expected + 1)
    monkeypatch.setattr("numbarnn.networks.function.PIECE_NUMBERS", 3 * 144)  # of the first layer's output
    forward = type(net)._forward
    monkeypatch.setattr(
        type(net),
        "_forward",
        lambda self, own, x, *rest, **options: sizes.append(x.steps) or forward(self, own, x, *rest, **options),
    )
    assert same_bits(net.predict(x), expected) and sizes == [2, 2, 3]
    assert same_bits(np.ascontiguousarray(turned.predict(x.T).T), expected)
    assert same_bits(net.predict(x[:, None]), expected[:, None])
    assert net.loss(x, expected + 1) == loss


SHAPE = (1, 4, 4)


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        (lambda: nr.Conv2d(0, 3), ValueError, "^filters: expected a positive integer, got 0"),
        (lambda: nr.Conv2d(2, 3.5), TypeError, "^kernel: expected a positive integer, got 3.5"),
        (lambda: nr.Conv2d(2, (3, 3, 3)), nr.ShapeError, "^kernel: expected an integer or .rows, columns., got 3"),
        (lambda: nr.Conv2d(2, 3, padding=-1), ValueError, "^padding: expected a positive integer, got -1"),
        (lambda: nr.Conv2d(2, 3, stride=0), ValueError, "^stride: expected a positive integer, got 0"),
        (lambda: nr.Conv2d(2, 5, shape=SHAPE), nr.ShapeError, "^kernel: expected one that fits into images of 4 x 4"),
        (lambda: nr.Conv2d(2, 3, shape=(4, 4)), nr.ShapeError, r"^shape: expected \(channels, height, width\)"),
        (lambda: nr.Conv2d(2, 3, shape=4), TypeError, r"^shape: expected \(channels, height, width\)"),
        (lambda: nr.MaxPool2d(2, padding=2, shape=SHAPE), nr.ShapeError, "^padding: expected at most half the kernel 2"),
        (lambda: nr.Conv2d(2, 3).init(16), nr.ShapeError, r"^shape: expected the \(channels, height, width\)"),
        (lambda: nr.Conv2d(2, 3, shape=SHAPE).init(17), nr.ShapeError, "^channels: expected 16, .* 1 x 4 x 4"),
        (lambda: nr.AvgPool2d(2, shape=SHAPE).init(17), nr.ShapeError, "^channels: expected 16"),
        (lambda: nr.Network([nr.Conv2d(2, 3)], channels=16), nr.ShapeError, "^shape: expected the"),
        (lambda: nr.Network([nr.Conv2d(2, 3)]), nr.ShapeError, "^shape: expected the"),
        (lambda: nr.Network([nr.Dense(16), nr.Conv2d(2, 3)], channels=SHAPE), nr.ShapeError, "^shape: expected the"),
        (lambda: nr.Network([nr.Conv2d(2, 3, shape=SHAPE)], (1, 5, 4)), nr.ShapeError, r"^shape: expected \(1, 5, 4\)"),
        (lambda: nr.Network([nr.Dense(2)], channels=(1, 0, 4)), ValueError, "^channels: expected a positive integer, got 0"),
    ],
)
def test_errors(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()


def test_images_that_are_no_rows_are_told_how_to_become_some():
    net = small(seed=0)
    for x in (np.zeros((5, 2, 6, 8), np.float32), np.zeros((5, 12, 8), np.float32)):
        with pytest.raises(nr.ShapeError, match=r"^x: expected rows of 96 numbers.*; x.reshape\(len\(x\), -1\) has them"):
            net.predict(x)
