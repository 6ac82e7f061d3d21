"""Dropout: its masks, its mean, its gradient with a fixed mask, and how a network draws it."""

import numpy as np
import pytest
from checks import same_bits
from strategies import LAYOUTS

import numbarnn as nr
from numbarnn.testing import slope_error
from numbarnn.training.samples import Samples
from numbarnn.training.workspace import Workspace

LENGTHS = np.array([4, 0, 2, 5, 5])
LAYER = nr.Dropout(0.3)


def numbers(*shape, seed=0, dtype="float64"):
    """Normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def laid_out(tnc, layout):
    """A (T, N, C) array in a layout."""
    return tnc.transpose(["tnc".index(letter) for letter in layout])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_given_mask(layout, dtype):
    p, x = LAYER.init(3, dtype=dtype), numbers(5, 5, 3, dtype=dtype)
    masks = LAYER.draw(5, 5, 3, seed=1, dtype=dtype)
    assert np.array_equal(np.unique(masks["dropout"]), np.array([0, 1 / 0.7], dtype))
    y, tape = LAYER.forward(p, laid_out(x, layout), layout, masks=masks)
    assert same_bits(np.ascontiguousarray(y), np.ascontiguousarray(laid_out(x * masks["dropout"], layout)))
    assert same_bits(LAYER(p, laid_out(x, layout), layout, seed=1).copy(), y.copy())
    dy = numbers(*x.shape, seed=2, dtype=dtype)
    dx = LAYER.backward(tape, laid_out(dy, layout)).x
    assert same_bits(np.ascontiguousarray(dx), np.ascontiguousarray(laid_out(dy * masks["dropout"], layout)))


@pytest.mark.parametrize("form", ["lengths", "ragged"])
def test_sequences_of_different_lengths(form):
    p, x, dy = LAYER.init(3, dtype="float64"), numbers(5, 5, 3), numbers(5, 5, 3, seed=2)
    there, masks = np.arange(5)[:, None, None] < LENGTHS[:, None], LAYER.draw(5, 5, 3, seed=1, dtype="float64")
    expected, slope = (np.where(there, array * masks["dropout"], 0) for array in (x, dy))
    if form == "lengths":
        y, tape = LAYER.forward(p, np.where(there, x, np.nan), lengths=LENGTHS, masks=masks)
        assert same_bits(y.copy(), expected)
        assert same_bits(LAYER.backward(tape, dy).x, slope)
        assert same_bits(LAYER(p, np.where(there, x, np.nan), lengths=LENGTHS), np.where(there, x, 0))
        return
    ragged = [nr.Ragged.of([a[:length, n] for n, length in enumerate(LENGTHS)]) for a in (x, expected, dy, slope)]
    y, tape = LAYER.forward(p, ragged[0], masks=masks)
    assert same_bits(y.data, ragged[1].data) and same_bits(LAYER.backward(tape, ragged[2]).x.data, ragged[3].data)


def test_without_a_seed_it_is_the_mean():
    p, x = LAYER.init(2, dtype="float64"), numbers(6, 5, 2)
    assert np.array_equal(LAYER(p, x), x) and np.array_equal(LAYER(p, laid_out(x, "cnt"), "cnt"), laid_out(x, "cnt"))
    y, tape = LAYER.forward(p, x[0])
    assert np.array_equal(y, x[0]) and np.array_equal(LAYER.backward(tape, x[1]).x, x[1]) and x.flags.writeable
    drawn = np.mean([LAYER(p, x, seed=seed) for seed in range(2000)], axis=0)
    deviation = np.abs(x) * np.sqrt(0.3 / 0.7 / 2000)
    assert (np.abs(drawn - x) < 5 * deviation).all()


def test_a_gradient_that_is_passed_on_is_an_array_of_its_own():
    for layer in (LAYER, nr.Dropout(0.0)):
        p, x = layer.init(3), numbers(5, 4, 3)
        _, tape = layer.forward(p, x.astype(np.float32))
        dy = numbers(5, 4, 3, dtype="float32")
        dx = layer.backward(tape, dy).x
        assert np.array_equal(dx, dy) and not np.shares_memory(dx, dy) and dx.flags.writeable


def test_a_rate_of_zero_draws_nothing():
    layer = nr.Dropout(0.0)
    p, x = layer.init(2), numbers(3, 2, 2, dtype="float32")
    assert not layer.random and layer.draw(3, 2, 2) == {} and np.array_equal(layer(p, x, seed=1), x)


def network(rate=0.4, layers=None):
    """A network with two dropouts."""
    layers = [nr.Dropout(rate), nr.GRU(4), nr.Dropout(rate), nr.Last(), nr.Dropout(rate), nr.Dense(1)]
    return nr.Network(layers, 2, "float64", seed=1)


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_the_gradient_of_a_network_with_fixed_masks(lengths):
    net, x, y = network(), numbers(5, 5, 2), numbers(5, 1, seed=3)
    samples = Samples.of(net, x, y, lengths)
    loss = nr.loss("mse")

    def value_and_gradient(flat):
        gradient = net.params.zeros()
        workspace = Workspace(net, net.split(gradient.flat), net.split(flat))
        return workspace.gradient(samples, loss, np.random.default_rng(7)), gradient.flat  # the same masks each time

    flat = net.params.flat.copy()
    value, gradient = value_and_gradient(flat)
    assert value != net.loss(x, y, lengths=lengths)
    way = numbers(len(flat), seed=4)
    way /= np.linalg.norm(way)

    def moved(distance):
        found = value_and_gradient(flat + distance * way)[0]
        return found, found

    assert slope_error(moved, gradient @ way, np.linalg.norm(gradient)) <= 1


def test_training_draws_from_its_seed_and_prediction_takes_the_mean():
    x, y = numbers(5, 6, 2), numbers(6, 1, seed=3)
    nets = [network() for _ in range(3)]
    losses = [
        net.fit(x, y, epochs=3, batch_size=4, seed=seed, shuffle=False, progress=False).loss
        for net, seed in zip(nets, (0, 0, 1))
    ]
    assert losses[0] == losses[1] != losses[2]
    assert same_bits(nets[0].params.flat, nets[1].params.flat)
    assert len(set(losses[0])) == 3
    plain = nr.Network([nr.GRU(4), nr.Last(), nr.Dense(1)], 2, "float64")
    plain.params.flat[:] = nets[0].params.flat
    assert same_bits(plain.predict(x).copy(), nets[0].predict(x).copy())
    assert plain.loss(x, y) == nets[0].loss(x, y)


def test_each_batch_has_its_own_masks():
    masks = []

    class Remembers(nr.Dropout):
        def run(self, *arguments, masks=None, **options):
            y, tape = super().run(*arguments, masks=masks, **options)
            kept.append(tape)
            return y, tape

    kept = []
    net = nr.Network([Remembers(0.5), nr.Last(), nr.Dense(1)], 2, "float64")

    def look(prediction, target):
        masks.append(kept[-1].masks.get("dropout").copy())
        return nr.loss("mse")(prediction, target)

    net.fit(numbers(5, 6, 2), numbers(6, 1), look, epochs=2, batch_size=3, progress=False)
    assert len(masks) == 4 and all((a != b).any() for i, a in enumerate(masks) for b in masks[:i])


def test_a_stream_takes_the_mean():
    net = nr.Network([nr.GRU(4), nr.Dropout(0.5), nr.Dense(1)], 2, "float64")
    x = numbers(4, 1, 2)
    stream = net.stream()
    np.testing.assert_allclose([stream.step(x_t) for x_t in x], net.predict(x), rtol=0, atol=1e-14)


P, X = LAYER.init(3, dtype="float64"), numbers(5, 4, 3)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: nr.Dropout(1.0), ValueError, "rate: expected a rate from 0 to less than 1, got 1.0"),
        (lambda: nr.Dropout("half"), TypeError, "rate: expected a finite number, got 'half'"),
        (lambda: LAYER(P, X, seed=1, masks={}), ValueError, "masks: expected None together with a seed, got both"),
        (lambda: LAYER(P, X, masks={}), ValueError, "masks: expected dropout, got no dropout"),
        (lambda: LAYER(P, X, masks={"drop": X}), nr.UnknownNameError, "masks: unknown name 'drop'.*'dropout'"),
        (lambda: LAYER(P, X, masks={"dropout": X[0]}), nr.ShapeError, r"masks\['dropout'\]: expected shape \(5, 4, 3\)"),
        (lambda: LAYER(P, X, masks={"dropout": X.astype("f4")}), nr.DTypeError, r"masks\['dropout'\]: expected float64"),
        (lambda: LAYER.draw(0, 1, 1), ValueError, "steps: expected a positive integer, got 0"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
