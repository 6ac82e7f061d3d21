"""The numbers -100 ... 99: Deep Diamond's recurrent network and its training."""

import numpy as np

from ..data.series import windows
from ..layers.dense import Dense
from ..layers.gru import GRU
from ..layers.last import Last
from ..network import Network
from ..training.optimizers import Adam
from ..training.schedules import cosine

# Questions and answers of the recurrent network in Deep Diamond's blog post of 26 August 2022.
QUESTIONS = (
    ((1, 2, 3, 4, 5), 6.016),
    ((37.4, 38.4, 39.4, 40.4, 41.4), 42.392),
    ((10, 12, 14, 16, 18), 17.750),
    ((1000, 1001, 1002, 1003, 1004), 96.420),
)
DEEP_DIAMOND_COST = 0.0087


def counting_network(dtype="float32", seed=0):
    """Deep Diamond's network: three GRU layers of 128, the last step, dense 128 relu, dense 1."""
    layers = [GRU(128), GRU(128, layers=2), Last(), Dense(128, "relu"), Dense(1)]
    return Network(layers, channels=1, dtype=dtype, seed=seed)


def counting_windows(dtype="float32"):
    """The series -100 ... 99 as 195 windows of 5 steps, (5, 195, 1), and the numbers that follow, (195, 1)."""
    return windows(np.arange(-100, 100).astype(dtype), 5)


def train_counting(network, epochs=1000, seed=0, progress=True):
    """Deep Diamond's training with an annealed learning rate: Adam 0.005 along a cosine, batches of 32, half_mse."""
    x, y = counting_windows(network.dtype)
    return network.fit(
        x, y, loss="quadratic", optimizer=Adam(cosine(0.005)), epochs=epochs, batch_size=32, seed=seed, progress=progress
    )  # fmt: skip


def answer(network, question):
    """The network's continuation of one sequence of numbers, asked as a batch of one."""
    x = np.array(question, network.dtype).reshape(len(question), 1, 1)
    return float(network.predict(x)[0, 0])
