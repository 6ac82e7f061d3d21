"""Layers of images on the device: the numbers of the CPU's, and a network of them that is trained there."""

import numpy as np
import pytest
from device_layer import to_device, to_host

import numbarnn as nr

LAYERS = {
    "convolution": nr.Conv2d(3, (2, 3), stride=(1, 2), padding=(1, 0), shape=(2, 3, 5)),
    "mean": nr.AvgPool2d((3, 2), stride=(2, 1), padding=1, shape=(2, 4, 3)),
    "max": nr.MaxPool2d((2, 3), stride=1, padding=1, shape=(2, 3, 4)),
}


def results(layer, p, x, dy, move, **options):
    """(y, dL/dx, dL/dp), on the host."""
    y, tape = layer.forward(move(p), move(x), **options)
    found = layer.backward(tape, move(dy))
    return [part if isinstance(part, np.ndarray) else to_host(part) for part in (y, found.x, found.params.flat)]


@pytest.mark.parametrize("lengths", [None, [2, 0, 1]])
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-13)])
@pytest.mark.parametrize("name", LAYERS)
def test_device_and_cpu_agree(name, dtype, tolerance, lengths):
    layer, random = LAYERS[name], np.random.default_rng(0)
    channels = int(np.prod(layer.shape))
    p = layer.init(channels, 0, dtype, "pytorch")
    x = random.standard_normal((2, 3, channels)).astype(dtype)
    dy = random.standard_normal((2, 3, layer.output_channels(channels))).astype(dtype)
    found, expected = (results(layer, p, x, dy, move, lengths=lengths) for move in (to_device, lambda value: value))
    for on_device, on_cpu in zip(found, expected, strict=True):
        np.testing.assert_allclose(on_device, on_cpu, rtol=0, atol=tolerance * max(1, np.abs(on_cpu).max(initial=0)))


def test_gradients_are_added_when_asked():
    layer = LAYERS["convolution"]
    p, x = layer.init(30, dtype="float64"), np.random.default_rng(0).standard_normal((2, 30))
    y, tape = layer.forward(to_device(p), to_device(x))
    into, dy = p.zeros().to("cuda"), to_device(np.ones(y.shape))
    layer.backward(tape, dy, into=into)
    once = to_host(into).flat.copy()
    layer.backward(tape, dy, into=into, accumulate=True)
    np.testing.assert_allclose(to_host(into).flat, 2 * once, rtol=1e-14)


def test_a_network_is_trained_like_on_the_cpu():
    layers = [nr.Conv2d(2, 2), nr.Activation("tanh"), nr.MaxPool2d(2, 1), nr.AvgPool2d(1), nr.Flatten(), nr.Dense(2)]
    random = np.random.default_rng(0)
    x, y = random.standard_normal((4, 16)), random.standard_normal((4, 2))
    trained = []
    for device in ("cpu", "cuda"):
        net = nr.Network(layers, channels=(1, 4, 4), dtype="float64", device=device, seed=0)
        net.fit(x, y, epochs=2, batch_size=2, progress=False)
        trained.append(net.predict(x))
    np.testing.assert_allclose(trained[1], trained[0], rtol=0, atol=1e-12)
