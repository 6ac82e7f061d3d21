"""A network through random sequences of operations, beside a simple model of what it should hold: a vector."""

import copy
import io
import pickle

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from numba import cuda

import numbarnn as nr

H, C = 3, 2
X = np.random.default_rng(0).standard_normal((4, 6, C)).astype(np.float32)
Y = np.random.default_rng(1).standard_normal((6, 1)).astype(np.float32)
MOST = 4  # networks at once
WAYS = (
    copy.copy,
    copy.deepcopy,
    lambda net: pickle.loads(pickle.dumps(net, 2)),
    lambda net: pickle.loads(pickle.dumps(net)),
    lambda net: copy.deepcopy({"net": [net]})["net"][0],
    lambda net: copy.copy(pickle.loads(pickle.dumps(copy.deepcopy(net)))),
    lambda net: pickle.loads(pickle.dumps((net.params, net)))[1],
)
DEVICES = ("cpu", "cuda") if cuda.is_available() else ("cpu",)


def fresh(numbers=None):
    """A network that was made from scratch, with these numbers."""
    net = nr.Network([nr.GRU(H), nr.Last(), nr.Dense(1)], channels=C, seed=7)
    if numbers is not None:
        net.params.flat[:] = numbers
    return net


def predicted(numbers):
    """What NumPy predicts for X, in float64."""
    parts, at = {}, 0
    for name, shape in (("w", (C, 3, H)), ("r", (H, 3, H)), ("b", (3, H)), ("c", (3, H)), ("v", (H, 1)), ("a", (1,))):
        size = int(np.prod(shape))
        parts[name] = numbers[at : at + size].reshape(shape).astype(np.float64)
        at += size
    h = np.zeros((X.shape[1], H))
    for x in X.astype(np.float64):
        inputs = np.einsum("nc,cgh->ngh", x, parts["w"]) + parts["b"]
        states = np.einsum("nk,kgh->ngh", h, parts["r"]) + parts["c"]
        r, z = (0.5 + 0.5 * np.tanh((inputs[:, g] + states[:, g]) / 2) for g in (0, 1))
        h = (1 - z) * np.tanh(inputs[:, 2] + r * states[:, 2]) + z * h
    return h @ parts["v"] + parts["a"]


SIZE = len(fresh().params)
WHICH = st.integers(0, MOST - 1)
SEEDS = st.integers(0, 50)


def drawn(seed, size=SIZE):
    return np.random.default_rng(seed).uniform(-1, 1, size).astype(np.float32)


class Networks(RuleBasedStateMachine):
    """Some networks, and for each the numbers that it should hold."""

    @initialize()
    def start(self):
        self.networks, self.numbers = [fresh()], [fresh().params.flat.copy()]

    def at(self, which):
        return which % len(self.networks)

    def add(self, net, numbers):
        if len(self.networks) == MOST:
            del self.networks[0], self.numbers[0]
        self.networks.append(net)
        self.numbers.append(numbers.copy())

    @rule(which=WHICH, way=st.sampled_from(WAYS))
    def copied(self, which, way):
        at = self.at(which)
        self.add(way(self.networks[at]), self.numbers[at])

    @rule(which=WHICH, seed=SEEDS, optimizer=st.sampled_from(("adam", "sgd")))
    def trained(self, which, seed, optimizer):
        at, options = self.at(which), {"optimizer": optimizer, "epochs": 2, "batch_size": 4, "seed": seed, "progress": False}
        model = fresh(self.numbers[at])
        assert self.networks[at].fit(X, Y, **options).loss == model.fit(X, Y, **options).loss
        self.numbers[at] = model.params.flat.copy()

    @rule(which=WHICH, seed=SEEDS, stride=st.sampled_from((1, -1, 2)))
    def vector_assigned(self, which, seed, stride):
        at, numbers = self.at(which), drawn(seed)
        whole = np.zeros(SIZE * abs(stride), np.float32)
        view = whole[::stride]
        view[:] = numbers
        self.networks[at].params.flat = view
        whole[:] = 9  # it was copied
        self.numbers[at] = numbers

    @rule(to=WHICH, of=WHICH)
    def parameters_assigned(self, to, of):
        to, of = self.at(to), self.at(of)
        self.networks[to].params = self.networks[of].params
        self.numbers[to] = self.numbers[of].copy()

    @rule(to=WHICH, of=WHICH)
    def transferred(self, to, of):
        to, of = self.at(to), self.at(of)
        assert self.networks[to].transfer(self.networks[of]) is self.networks[to]
        self.numbers[to] = self.numbers[of].copy()

    @rule(which=WHICH, part=st.integers(0, 5), seed=SEEDS, in_place=st.booleans())
    def part_assigned(self, which, part, seed, in_place):
        at = self.at(which)
        params = self.networks[at].params
        name, view = params.items()[part]
        value = drawn(seed, view.size).reshape(view.shape)
        if in_place:
            params[name][...] = value
        else:
            params[name] = value
        start = params.offset(name)
        self.numbers[at][start : start + view.size] = value.T.ravel()

    @rule(which=WHICH, layer=st.sampled_from((0, 2)))
    def written_by_way_of_a_layer(self, which, layer):
        at = self.at(which)
        parts = self.networks[at].split(self.networks[at].params.flat)
        parts[layer].flat *= np.float32(0.5)
        start = sum(map(len, parts[:layer]))
        self.numbers[at][start : start + len(parts[layer])] *= np.float32(0.5)

    @rule(which=WHICH, layer=st.sampled_from((0, 2)), seed=SEEDS)
    def a_copy_of_a_part_is_apart(self, which, layer, seed):
        net = self.networks[self.at(which)]
        part = WAYS[seed % 4](net.split(net.params.flat)[layer])
        part.flat[:] = 5

    @rule(which=WHICH)
    def kept_in_a_file(self, which):
        at, file = self.at(which), io.BytesIO()
        np.save(file, self.networks[at].params.flat)
        file.seek(0)
        net = fresh()
        net.params.flat = np.load(file)
        self.add(net, self.numbers[at])

    @rule(which=WHICH, device=st.sampled_from(DEVICES))
    def on_a_device_and_back(self, which, device):
        at = self.at(which)
        there = self.networks[at].to(device)
        assert (there is self.networks[at]) == (device == "cpu")
        if device != "cpu":
            self.add(there.to("cpu"), self.numbers[at])

    @rule(which=WHICH, kind=st.integers(0, 4))
    def refused(self, which, kind):
        net = self.networks[self.at(which)]
        try:
            if kind == 0:
                net.params.flat = drawn(0, SIZE - 1)
            elif kind == 1:
                net.params.flat = drawn(0).astype(np.float64)
            elif kind == 2:
                net.params = net.split(net.params.flat)[0]
            elif kind == 3:
                net.params["2.bias"] = np.zeros((1, 1), np.float32)
            else:
                net.params.flat.flags.writeable = False
                net.fit(X, Y, epochs=1, progress=False)
        except (ValueError, TypeError):
            net.params.flat.flags.writeable = True
            return
        raise AssertionError("it was not refused")

    @precondition(lambda self: len(self.networks) > 1)
    @rule()
    def forgotten(self):
        del self.networks[0], self.numbers[0]

    @invariant()
    def every_network_is_what_its_numbers_say(self):
        for net, numbers in zip(self.networks, self.numbers):
            assert np.array_equal(net.params.flat, numbers) and np.array_equal(np.asarray(net.params), numbers)
            y = net.predict(X)
            assert np.array_equal(y, fresh(numbers).predict(X))
            assert np.allclose(y, predicted(numbers), rtol=1e-4, atol=1e-5)

    @invariant()
    def no_two_have_the_same_memory(self):
        for at, net in enumerate(self.networks):
            for other in self.networks[:at]:
                assert not np.shares_memory(net.params.flat, other.params.flat)


Networks.TestCase.settings = settings(max_examples=20, stateful_step_count=12, deadline=None)
TestNetworks = Networks.TestCase
