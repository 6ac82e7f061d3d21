"""Networks on a device: copies, pickles, assigned parameters, and gradients that are not written over what is read."""

import copy
import pickle

import numpy as np
import pytest

import numbarnn as nr

WAYS = (copy.copy, copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing)))


def network(device="cuda", seed=0):
    return nr.Network([nr.RNN(2), nr.Last(), nr.Dense(1)], channels=2, device=device, seed=seed)


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_is_a_whole_network_on_its_device(way):
    net, host = network(), network("cpu")
    made, x = way(net), np.ones((2, 3, 2), np.float32)
    assert made.device == made.params.device == "cuda"
    assert np.array_equal(made.params.flat.get(), host.params.flat)
    assert np.array_equal(made.predict(x), net.predict(x))
    made.params.flat[:] = 0
    assert not made.predict(x).any() and np.array_equal(net.params.flat.get(), host.params.flat)
    if way is not copy.copy:
        first, params = way((net, net.params))
        assert first.params is params
    part = way(net.split(net.params.flat)[0])
    part.flat[:] = 7
    assert np.array_equal(net.params.flat.get(), host.params.flat)


def test_a_pickle_holds_the_numbers_as_the_host_has_them():
    net, host = network(), network("cpu")
    assert host.params.flat.tobytes() in pickle.dumps(net)
    assert len(pickle.dumps(net)) < len(pickle.dumps(host)) + 200


def test_a_device_that_is_not_there_is_said(monkeypatch):
    from numbarnn.cuda import arrays

    data = pickle.dumps(network())

    def absent():
        raise nr.DeviceError("device: expected a GPU, got none")

    monkeypatch.setattr(arrays, "require", absent)
    with pytest.raises(nr.DeviceError, match="expected a GPU"):
        pickle.loads(data)


def test_numbers_are_assigned_from_either_device():
    net, other = network(), network(seed=1)
    host = network("cpu", seed=1)
    for source in (other.params, host.params):
        net.params.flat[:] = 0
        net.params = source
        assert np.array_equal(net.params.flat.get(), host.params.flat)
        host_net = network("cpu")
        host_net.params.flat = source.flat
        assert np.array_equal(host_net.params.flat, host.params.flat)
    net.params["2.bias"] = nr.cuda.asarray(np.ones(1, np.float32))
    assert net.params["2.bias"].get() == 1
    with pytest.raises(nr.DTypeError, match="^flat: expected float32"):
        net.params.flat = nr.cuda.asarray(np.zeros(len(net.params)))
    with pytest.raises(nr.ShapeError, match="^flat: expected shape"):
        net.params.flat = other.params.flat[1:]
    with pytest.raises(nr.DeviceError, match="^parameters: expected them on device 'cpu'"):
        np.asarray(net.params)


def test_a_gradient_on_a_device_is_not_written_over_what_is_read():
    layer = nr.RNN(2)
    p = layer.init(2, seed=0, device="cuda")
    y, _, tape = layer.forward(p, nr.cuda.asarray(np.ones((2, 1, 2), np.float32)))
    dy = nr.cuda.asarray(np.ones((2, 1, 2), np.float32))
    with pytest.raises(ValueError, match="^into: .* shares with the parameters"):
        layer.backward(tape, dy, into=p)
    room = nr.cuda.asarray(np.zeros(len(p) + 4, np.float32))
    with pytest.raises(ValueError, match="^into: .* shares with dy"):
        layer.backward(tape, room[len(p) - 1 : len(p) + 3].reshape(2, 1, 2), into=nr.Parameters(room[: len(p)], p.weights))
    with pytest.raises(TypeError, match="holds addresses"):
        copy.deepcopy(tape)


def test_a_file_from_a_device_loads_anywhere(tmp_path):
    net, path = network(seed=3), tmp_path / "net"
    net.save(path)
    for made in (
        nr.load(path),
        nr.load(path, device="cuda"),
        nr.load(path, into=network()),
        nr.load(path, into=network("cpu")),
    ):
        assert made.layers == net.layers and made.device == made.params.device
        assert np.array_equal(made.to("cpu").params.flat, net.to("cpu").params.flat)
    layer = net.layers[0]
    layer.save(path, layer.init(2, device="cuda"))
    assert nr.load(path, device="cuda")[1].device == "cuda" and np.array_equal(nr.load(path)[1].flat, layer.init(2).flat)
