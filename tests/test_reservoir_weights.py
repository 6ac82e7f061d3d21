"""Recurrent weights that are drawn as a reservoir's: density, spectral radius, rank, balance, and what training leaves."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
from checks import same_bits
from hypothesis import given, settings
from hypothesis import strategies as st

import numbarnn as nr
from numbarnn.layers import drawn_weights

SIGNS = [1] * 24 + [-1] * 8


def radius(matrix):
    return np.abs(np.linalg.eigvals(matrix.astype(np.float64))).max()


def gates_of(connectivity, layer, seed=0, dtype="float64"):
    """R of each gate of a layer's parameters."""
    weight = layer.init(2, seed=seed, dtype=dtype)["weight_hh_l0"]
    return connectivity.applied(weight).reshape(-1, layer.hidden, layer.hidden)


def check_weights(connectivity, layer, seed, dtype):
    """Raise AssertionError unless the weights are as the Connectivity says."""
    hidden = layer.hidden
    gates = gates_of(connectivity, layer, seed, dtype)
    tolerance = 1e-9 if dtype == "float64" else 1e-6
    for r in gates:
        if connectivity.density is not None:
            assert np.count_nonzero(r) == max(1, round(connectivity.density * hidden**2))
            np.testing.assert_array_equal(r != 0, gates[0] != 0)
        if connectivity.spectral_radius is not None:
            np.testing.assert_allclose(radius(r), connectivity.spectral_radius, rtol=tolerance)
        if connectivity.rank is not None:
            values = np.linalg.svd(r.astype(np.float64), compute_uv=False)
            limit = hidden * np.finfo(dtype).eps * values[0]
            assert (values[: connectivity.rank] > limit).all() and (values[connectivity.rank :] <= limit).all()
        if connectivity.signs is not None:
            assert (r * connectivity.signs >= 0).all()
        if connectivity.balanced:
            np.testing.assert_allclose(r.sum(axis=1), 0, rtol=0, atol=hidden * np.finfo(dtype).eps * np.abs(r).max())


@st.composite
def connectivities(draw):
    """(a Connectivity that draws, units)"""
    hidden = draw(st.integers(2, 32))
    radius = draw(st.none() | st.floats(0.05, 3))
    if draw(st.booleans()):
        return nr.Connectivity(rank=draw(st.integers(1, hidden)), spectral_radius=radius), hidden
    signs = draw(st.none() | st.just(np.where(np.arange(hidden) % 4 == 3, -1, 1)))
    if signs is not None and hidden > 4 and draw(st.booleans()):
        return nr.Connectivity(signs=signs, balanced=True, spectral_radius=radius), hidden
    # So many that some are in a circle whatever is drawn: more than a strictly triangular matrix has.
    density = draw(st.floats(0.75, 1.0))
    return nr.Connectivity(signs=signs, density=density, spectral_radius=radius, seed=draw(st.integers(0, 99))), hidden


@given(
    connectivities(),
    st.sampled_from((nr.LeakyRNN, nr.RNN, nr.GRU)),
    st.integers(0, 99),
    st.sampled_from(("float32", "float64")),
)
@settings(deadline=None, max_examples=60)
def test_drawn_weights_are_what_they_are_said_to_be(drawn, layer, seed, dtype):
    connectivity, hidden = drawn
    check_weights(connectivity, layer(hidden, connectivity=connectivity), seed, dtype)


@pytest.mark.parametrize(
    "mutant",
    [
        ("spectral_radius", lambda matrix: np.abs(matrix).sum(axis=1).max()),
        ("balance", lambda matrix: np.ones_like(matrix)),
    ],
    ids=lambda mutant: mutant[0],
)
def test_the_checks_catch_mutants(monkeypatch, mutant):
    layer = nr.GRU(32, connectivity=nr.Connectivity(signs=SIGNS, balanced=True, spectral_radius=0.9))
    check_weights(layer.connectivity, layer, 0, "float64")
    monkeypatch.setattr(drawn_weights, *mutant)
    with pytest.raises(AssertionError):
        check_weights(layer.connectivity, layer, 0, "float64")


def test_a_sparse_matrix_of_small_density():
    connectivity = nr.Connectivity(density=0.1, spectral_radius=1.25)
    check_weights(connectivity, nr.LeakyRNN(100, connectivity=connectivity), 3, "float64")


def test_the_largest_eigenvalue_of_a_large_matrix_is_that_of_all():
    random = np.random.default_rng(0)
    matrix = random.standard_normal((200, 200)) * (random.random((200, 200)) < 0.1)
    np.testing.assert_allclose(drawn_weights._largest(matrix), radius(matrix), rtol=1e-10)


def test_the_radius_of_a_triangular_matrix_is_on_its_diagonal():
    matrix = np.tril(np.random.default_rng(0).standard_normal((20, 20)))
    np.testing.assert_allclose(drawn_weights.spectral_radius(matrix), np.abs(np.diag(matrix)).max(), rtol=1e-11)
    assert drawn_weights.spectral_radius(np.tril(matrix, -1)) == 0


def test_seeds():
    """The seed of a Connectivity draws which connections exist; the seed of init draws their weights."""
    one, other = (nr.Connectivity(density=0.3, seed=seed) for seed in (0, 1))
    first, again, second = (gates_of(one, nr.RNN(12, connectivity=one), seed) for seed in (0, 0, 1))
    assert same_bits(first, again) and not np.array_equal(first, second)
    np.testing.assert_array_equal(first != 0, second != 0)
    assert not np.array_equal(first != 0, gates_of(other, nr.RNN(12, connectivity=other)) != 0)


def test_which_connections_a_seed_has_never_changes():
    """A file has the seed alone: of another version of NumPy it must be the same network."""
    mask = nr.Connectivity(density=0.25, seed=5).factor(np.ones((4, 4)))
    assert np.argwhere(mask).tolist() == [[1, 0], [1, 3], [2, 0], [2, 3]]


def test_without_a_connectivity_that_draws_all_is_as_ever():
    plain, signed = nr.GRU(6), nr.GRU(6, connectivity=nr.Connectivity(signs=[1, 1, 1, 1, -1, -1]))
    assert same_bits(plain.init(2, seed=3).flat, signed.init(2, seed=3).flat)


def test_input_weights():
    connectivity = nr.Connectivity(input_scaling=0.5, input_density=0.25)
    layer = nr.LeakyRNN(16, connectivity=connectivity)
    p, plain = layer.init(3, seed=0), nr.LeakyRNN(16).init(3, seed=0)
    values, counts = np.unique(np.abs(p["weight_ih_l0"]), return_counts=True)
    assert values.tolist() == [0, 0.5] and counts.tolist() == [36, 12]
    assert {*np.unique(p["weight_ih_l0"])} == {-0.5, 0, 0.5}
    assert layer.connectivity.hidden is None and same_bits(p["bias_hh_l0"].copy(), plain["bias_hh_l0"].copy())
    x = np.random.default_rng(0).standard_normal((4, 2, 3)).astype(np.float32)
    assert same_bits(layer(p, x)[0].copy(), nr.LeakyRNN(16)(p, x)[0].copy())


@pytest.mark.parametrize("layer", [nr.GRU(7, layers=2), nr.LeakyRNN(7, 0.3, bidirectional=True)], ids=repr)
def test_a_density_is_the_mask_that_it_draws(layer):
    """To the bit, forward and back: what a mask is proved to do holds for a density."""
    sparse = nr.Connectivity(density=0.4, signs=[1, 1, 1, 1, -1, -1, 1], seed=2)
    given = nr.Connectivity(sparse.factor(np.ones((7, 7))) != 0, sparse.signs)
    layers = [replace(layer, connectivity=each) for each in (sparse, given)]
    p, x = layers[0].init(2, seed=0, dtype="float64"), np.random.default_rng(0).standard_normal((5, 3, 2))
    runs = [each.forward(p, x) for each in layers]
    gradients = [each.backward(tape, np.ones_like(y)) for each, (y, _, tape) in zip(layers, runs)]
    assert same_bits(runs[0][0].copy(), runs[1][0].copy())
    assert same_bits(gradients[0].params.flat, gradients[1].params.flat) and same_bits(gradients[0].x, gradients[1].x)
    assert np.count_nonzero(sparse.factor(np.ones((7, 7)))) == round(0.4 * 49)


def test_training_leaves_what_is_not_connected():
    sparse = nr.Connectivity(density=0.3, spectral_radius=0.9)
    net = nr.Network([nr.LeakyRNN(8, 0.3, connectivity=sparse), nr.Dense(1)], channels=1, seed=0)
    x = np.sin(np.arange(40, dtype=np.float32) / 3)[:, None, None]
    before = net.params["0.weight_hh_l0"].copy()
    net.fit(x[:-1], x[1:], epochs=5, progress=False)
    after = net.params["0.weight_hh_l0"]
    assert (after[before == 0] == 0).all() and (after[before != 0] != before[before != 0]).all()


def test_copies_are_equal():
    given = {"signs": SIGNS, "density": 0.5, "spectral_radius": 0.9, "balanced": True, "input_scaling": 0.5, "seed": 3}
    connectivity = nr.Connectivity(**given)
    for again in (copy.deepcopy(connectivity), pickle.loads(pickle.dumps(connectivity)), nr.Connectivity(**given)):
        assert again == connectivity and hash(again) == hash(connectivity) and repr(again) == repr(connectivity)
    for name, value in {"density": 0.4, "spectral_radius": 1, "input_scaling": 1, "seed": 4}.items():
        assert nr.Connectivity(**given | {name: value}) != connectivity


@pytest.mark.parametrize(
    "bad, error, fragments",
    [
        (lambda: nr.Connectivity(density=0), ValueError, ["density", "> 0", "0"]),
        (lambda: nr.Connectivity(density=1.5), ValueError, ["density", "1 at most", "1.5"]),
        (lambda: nr.Connectivity(density=np.nan), ValueError, ["density", "finite", "nan"]),
        (lambda: nr.Connectivity(density="0.1"), TypeError, ["density", "'0.1'"]),
        (lambda: nr.Connectivity(spectral_radius=-0.9), ValueError, ["spectral_radius", "> 0", "-0.9"]),
        (lambda: nr.Connectivity(rank=0), ValueError, ["rank", "positive", "0"]),
        (lambda: nr.Connectivity(rank=2.0), TypeError, ["rank", "2.0"]),
        (lambda: nr.Connectivity(input_density=2), ValueError, ["input_density", "1 at most", "2"]),
        (lambda: nr.Connectivity(density=0.1, seed=-1), ValueError, ["seed", ">= 0", "-1"]),
        (lambda: nr.Connectivity(spectral_radius=0.9, seed=1), ValueError, ["seed", "without a density", "1"]),
        (lambda: nr.Connectivity(np.eye(3), density=0.5), ValueError, ["density", "beside a mask", "0.5"]),
        (lambda: nr.Connectivity(rank=2, density=0.5), ValueError, ["rank", "beside", "2"]),
        (lambda: nr.Connectivity(rank=2, signs=[1, -1]), ValueError, ["rank", "signs", "2"]),
        (lambda: nr.Connectivity(balanced=True, density=0.5), ValueError, ["balanced", "without signs"]),
        (lambda: nr.Connectivity(signs=[1, -1], balanced="yes"), TypeError, ["balanced", "'yes'"]),
        (lambda: nr.GRU(3, connectivity=nr.Connectivity(rank=4)), nr.ShapeError, ["connectivity", "rank of 3", "4"]),
        (lambda: init(np.tri(4, k=-1), spectral_radius=0.9), ValueError, ["spectral_radius", "circle", "4 units"]),
        (lambda: init(None, signs=[1, 1, 1, 1], balanced=True), ValueError, ["balanced", "both signs", "unit 0", "excite"]),
    ],
)  # fmt: skip
def test_named_error(bad, error, fragments):
    with pytest.raises(error) as raised:
        bad()
    assert all(fragment in str(raised.value) for fragment in fragments), raised.value


def init(mask, **options):
    connectivity = nr.Connectivity(mask, **options)
    return nr.RNN(4, connectivity=connectivity).init(1)
