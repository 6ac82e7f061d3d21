"""A linear regression with its gradients, a dense classifier and LeNet: the programs of a textbook's chapter on PyTorch."""

import sys
from pathlib import Path

import numpy as np
import pytest

import numbarnn as nr

sys.path.insert(0, str(Path(__file__).parents[2]))
images = pytest.importorskip("benchmarks.images")

# What torch.manual_seed(42) gives torch.randn for x, y, w and b, and what the chapter prints of them.
X = np.array([0.33669037, 0.1288094, 0.23446237, 0.23033303, -1.1228564], np.float32)
Y = np.array([-0.18632829, 2.2082014, -0.63799703], np.float32)
W = np.array(
    [
        [0.46165723, 0.26735088, 0.53490466],
        [0.8093572, 1.1102903, -1.689799],
        [-0.9889599, 0.9579718, 1.3221351],
        [0.81718975, -0.7658386, -0.75062233],
        [1.3525478, 0.6863219, -0.32775864],
    ],
    np.float32,
)
B = np.array([0.7949687, 0.28151956, 0.056163542], np.float32)
LOSSES = (2.430109977722168, 0.06783159077167511, 0.0018933814717456698, 5.284887447487563e-05, 1.4753180721527315e-06)
DB = [-0.2143, -1.6107, 0.7745]
DW = [
    [-0.0721, -0.5423, 0.2608],
    [-0.0276, -0.2075, 0.0998],
    [-0.0502, -0.3777, 0.1816],
    [-0.0493, -0.3710, 0.1784],
    [0.2406, 1.8086, -0.8696],
]


def test_the_regression_has_the_printed_loss_gradients_and_steps():
    net = nr.Network([nr.Dense(3)], channels=5)
    net.params["0.weight"], net.params["0.bias"] = W.T, B
    loss, gradient = net.loss_and_gradient(net.params.flat, X[None], Y[None])
    parts = nr.Parameters(gradient, net.params.weights)
    assert loss == pytest.approx(LOSSES[0], rel=1e-6)
    assert np.abs(parts["0.weight"].T - DW).max() < 6e-5 and np.abs(parts["0.bias"] - DB).max() < 6e-5
    history = net.fit(X[None], Y[None], optimizer=nr.SGD(0.5), epochs=5, progress=False)
    assert history.loss == pytest.approx(LOSSES, rel=2e-4)


def test_the_networks_have_the_printed_numbers_of_parameters():
    for name, (count, _) in images.CHAPTER.items():
        net = images.network(name)
        assert len(net.params) == count and f"{count:,}" in net.summary()


def test_both_libraries_train_the_same_network():
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    x, labels = random.random((8, 784), dtype=np.float32), random.integers(0, 10, 8)
    for name in images.CHAPTER:
        ours, theirs = images.network(name), images.torch_network(name)
        assert sum(p.numel() for p in theirs.parameters()) == len(ours.params)
        with torch.no_grad():
            for part, own in zip(theirs.parameters(), ours.params.names, strict=True):
                part.copy_(torch.from_numpy(np.ascontiguousarray(ours.params[own])))
        rows = torch.from_numpy(x.reshape(-1, 1, 28, 28) if name == "lenet" else x)
        expected = torch.nn.functional.cross_entropy(theirs(rows), torch.from_numpy(labels))
        expected.backward()
        loss, gradient = ours.loss_and_gradient(ours.params.flat, x, labels, "cross_entropy")
        assert loss == pytest.approx(expected.item(), rel=1e-5)
        found = nr.Parameters(gradient, ours.params.weights)
        for part, own in zip(theirs.parameters(), ours.params.names, strict=True):
            assert np.abs(part.grad.numpy() - found[own]).max() < 1e-5


@pytest.mark.parametrize("name, least", [("dense", 0.62), ("lenet", 0.70)])
def test_a_part_of_fashion_mnist_is_learned(name, least):
    try:
        x, labels, test, test_labels = images.samples(4096)
    except nr.DataNotFoundError as error:
        pytest.skip(str(error))
    net = images.network(name)
    net.fit(x, labels, "cross_entropy", images.optimizer(name), epochs=2, batch_size=64, progress=False)
    assert nr.accuracy(net.predict(test[:2000]), test_labels[:2000]) > least
