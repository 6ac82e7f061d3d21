"""One fixed piece of work, reduced to a digest of its bits: what threads and processes are compared by.

``python workload.py`` starts two Python threads before any kernel has run and prints their digest.
"""

import hashlib
import threading

import numba
import numpy as np

import numbarnn as nr


def digest(arrays):
    """A hash of shapes, dtypes and bits."""
    found = hashlib.sha256()
    for a in arrays:
        found.update(f"{a.shape} {a.dtype}".encode() + a.tobytes())
    return found.hexdigest()


def layers():
    """Arrays that forward and backward return."""
    random = np.random.default_rng(0)
    split = nr.GRU(320)  # weights so large that the units are split over threads
    for layer in (nr.LSTM(9, layers=2, bidirectional=True), nr.GRU(33), split):
        parameters = layer.init(3, seed=1, dtype="float32")
        y, state, tape = layer.forward(parameters, random.standard_normal((7, 70, 3)).astype("float32"))
        gradients = layer.backward(tape, y, state)
        yield from (y, gradients.params.flat, gradients.x)


def trained():
    """Parameters after a few updates with a clipped gradient."""
    random = np.random.default_rng(0)
    x = random.standard_normal((6, 40, 2)).astype("float32")
    net = nr.Network([nr.GRU(8), nr.Last(), nr.Dense(40), nr.Activation("tanh"), nr.Dense(1)], channels=2, seed=1)
    net.fit(x, x[-1].sum(1, keepdims=True), optimizer=nr.Adam(0.01), epochs=3, clip=0.1, progress=False)
    return net.params.flat, net.predict(x)


def work(_=None):
    """Digest of everything."""
    return digest([*layers(), *trained()])


def threaded(rounds=3):
    """Digests from two Python threads that enter together, `rounds` in each; what one raises is among them."""
    together, found = threading.Barrier(2), []

    def several():
        together.wait()
        for _ in range(rounds):
            try:
                found.append(work())
            except Exception as error:
                found.append(repr(error))

    both = [threading.Thread(target=several) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    return found


if __name__ == "__main__":
    found = threaded()
    for count in (1, 2, 3):
        numba.set_num_threads(count)
        found.append(work())
    print(*sorted(set(found)))
