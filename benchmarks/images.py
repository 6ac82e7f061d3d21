"""Fashion-MNIST by a fully connected network and by LeNet: accuracy and the time of an epoch beside PyTorch."""

import statistics
import time

import numba
import numpy as np

import numbarnn as nr

from .turns import Worker

BATCH = 64
CHAPTER = {"dense": (669_706, 0.798), "lenet": (61_706, 0.859)}  # of the textbook: parameters, accuracy after 3 epochs
TITLES = {"dense": "784, 512, 512, 10, SGD 0.01", "lenet": "LeNet, Adam 0.001"}


def network(name, seed=0):
    """One of the two networks of the textbook's chapter."""
    if name == "dense":
        return nr.Network([nr.Dense(512, "relu"), nr.Dense(512, "relu"), nr.Dense(10)], channels=784, seed=seed)
    layers = [nr.Conv2d(6, 5, padding=2), nr.Activation("tanh"), nr.AvgPool2d(2)]
    layers += [nr.Conv2d(16, 5), nr.Activation("tanh"), nr.AvgPool2d(2)]
    layers += [nr.Flatten(), nr.Dense(120, "tanh"), nr.Dense(84, "tanh"), nr.Dense(10)]
    return nr.Network(layers, channels=(1, 28, 28), seed=seed)


def optimizer(name):
    """The chapter's optimizer of a network."""
    return nr.SGD(0.01) if name == "dense" else nr.Adam(0.001)


def torch_network(name):
    """The same network in PyTorch."""
    from torch import nn

    if name == "dense":
        return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10),
    )  # fmt: skip


def samples(images):
    """(x, labels) of so many training images, and of all that test."""
    data = nr.datasets.fashion_mnist()
    return data.train.rows[:images], data.train.labels[:images], data.test.rows, data.test.labels


def numbarnn_library(threads):
    """Our training: seconds of one more epoch, and the accuracy after it."""
    numba.set_num_threads(threads)
    kept = {}

    def work(name, images):
        if name not in kept:
            x, labels, *test = samples(images)
            trainer = nr.Trainer(network(name), "cross_entropy", optimizer(name))
            trainer.fit(x[:BATCH], labels[:BATCH], epochs=1, batch_size=BATCH, progress=False)  # compilation
            kept[name] = nr.Trainer(network(name), "cross_entropy", optimizer(name)), x, labels, *test
        trainer, x, labels, test, test_labels = kept[name]
        start = time.perf_counter()
        trainer.fit(x, labels, epochs=1, batch_size=BATCH, progress=False)
        seconds = time.perf_counter() - start
        return seconds, float(np.mean(trainer.network.predict(test).argmax(axis=1) == test_labels))

    return work


def torch_library(threads):
    """PyTorch's training, of images that lie in one tensor."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    kept = {}

    def work(name, images):
        if name not in kept:
            x, labels, test, test_labels = samples(images)
            if name == "lenet":
                x, test = x.reshape(-1, 1, 28, 28), test.reshape(-1, 1, 28, 28)
            model = torch_network(name)
            ways = (
                torch.optim.SGD(model.parameters(), 0.01) if name == "dense" else torch.optim.Adam(model.parameters(), 0.001)
            )
            kept[name] = model, ways, *(torch.from_numpy(array) for array in (x, labels, test)), test_labels
            model(kept[name][2][:BATCH]).sum().backward()  # memory is touched for the first time
        model, step, x, labels, test, test_labels = kept[name]
        start = time.perf_counter()
        for chosen in torch.randperm(len(labels)).split(BATCH):
            step.zero_grad()
            torch.nn.functional.cross_entropy(model(x[chosen]), labels[chosen]).backward()
            step.step()
        seconds = time.perf_counter() - start
        with torch.no_grad():
            found = model(test).argmax(dim=1).numpy()
        return seconds, float(np.mean(found == test_labels))

    return work


MAKERS = {"numbarnn": numbarnn_library, "PyTorch": torch_library}


def add_arguments(parser):
    """The options of the command line."""
    parser.add_argument("--epochs", type=int, default=3, help="of each library, by turns")
    parser.add_argument("--images", type=int, default=60_000, help="to train on; fewer give no accuracy to compare")
    parser.add_argument("--only", nargs="+", choices=tuple(CHAPTER), default=tuple(CHAPTER))


def run(epochs, images, only):
    """{network: {library: [(seconds, accuracy)] of each epoch}}, epochs by turns, each library in a process of its own."""
    threads, found = numba.get_num_threads(), {}
    for network in only:
        workers = {name: Worker(make, threads) for name, make in MAKERS.items()}
        turns = [{name: worker(network, images) for name, worker in workers.items()} for _ in range(epochs)]
        found[network] = {name: [turn[name] for turn in turns] for name in workers}
        for worker in workers.values():
            worker.close()
    return {"images": images, "epochs": found}


def table(result):
    """The result as lines of Markdown."""
    lines = [f"Fashion-MNIST, {result['images']:,} images, batches of {BATCH}; seconds of an epoch, median (least)", ""]
    lines += ["| network | parameters | | an epoch | test accuracy | the textbook's |", "|---" * 6 + "|"]
    for network, libraries in result["epochs"].items():
        count, accuracy = CHAPTER[network]
        for name, epochs in libraries.items():
            seconds = [each for each, _ in epochs]
            time_ = f"{statistics.median(seconds):.2f} ({min(seconds):.2f}) s"
            lines.append(f"| {TITLES[network]} | {count:,} | {name} | {time_} | {epochs[-1][1]:.4f} | {accuracy} |")
    return "\n".join(lines)
