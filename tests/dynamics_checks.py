"""The checks by test_dynamics.py of Jacobians, exponents and fixed points."""

import numpy as np

import numbarnn as nr


def random_parameters(layer, channels=2, scale=0.6, seed=0):
    p = layer.init(channels, seed=0, dtype="float64")
    p.flat[...] = scale * np.random.default_rng(seed).standard_normal(len(p))
    return p


def random_state(layer, batch, seed=1, dtype="float64"):
    random = np.random.default_rng(seed)
    parts = tuple(random.standard_normal((layer.layers, batch, width)).astype(dtype) for width in layer.state_widths)
    return parts if len(parts) > 1 else parts[0]


def parts_of(state):
    return state if isinstance(state, tuple) else (state,)


def vectors(state):
    """(N, S): h of all stacked layers, then c, as the documentation has it."""
    return np.concatenate([part[layer] for part in parts_of(state) for layer in range(len(part))], axis=1)


def transpose_error(layer, batch=3, channels=2, seed=0):
    """How far the rows of a Jacobian are from what backward makes of each unit of the final state, over their size."""
    random = np.random.default_rng(seed)
    p, state, x = (
        random_parameters(layer, channels, seed=seed),
        random_state(layer, batch),
        random.standard_normal((batch, channels)),
    )
    found = nr.dynamics.step_jacobian(layer, p, x, state)
    _, final, tape = layer.forward(p, x[None], state)
    expected, row = np.empty_like(found), 0
    for part in range(len(parts_of(final))):
        for index in np.ndindex(len(parts_of(final)[part]), parts_of(final)[part].shape[-1]):
            ways = tuple(np.zeros_like(each) for each in parts_of(final))
            ways[part][index[0], :, index[1]] = 1
            expected[:, row] = vectors(layer.backward(tape, None, ways if len(ways) > 1 else ways[0]).state)
            row += 1
    return np.abs(found - expected).max() / np.abs(expected).max()


def qr_oracle(layer, p, x, state, tangents, every):
    """The logarithms summed over all steps, by NumPy: (K,) of one sequence."""
    q, total = np.linalg.qr(tangents.T)[0], 0
    for t in range(len(x)):
        q = nr.dynamics.step_jacobian(layer, p, x[t], state)[0] @ q
        state = layer(p, x[t : t + 1], state)[1]
        if (t + 1) % every == 0 or t + 1 == len(x):
            q, r = np.linalg.qr(q)
            total = total + np.log(np.abs(np.diag(r)))
    return total


def check_exponents(layer, every, count=None):
    """Exponents of two driven sequences equal `qr_oracle`'s, and their final states equal the layer's."""
    p, state, x = random_parameters(layer), random_state(layer, 2), np.random.default_rng(3).standard_normal((23, 2, 2))
    found = nr.dynamics.lyapunov(layer, p, x, state, exponents=count, every=every, dt=0.5, seed=7)
    size = vectors(state).shape[1]
    tangents = np.random.default_rng(7).standard_normal((count or size, size))
    assert found.exponents.shape == (2, count or size)
    for n in range(2):
        own = [part[:, [n]] for part in parts_of(state)]
        expected = qr_oracle(layer, p, x[:, [n]], tuple(own) if len(own) > 1 else own[0], tangents, every)
        np.testing.assert_allclose(found.exponents[n], np.sort(expected)[::-1] / (23 * 0.5), rtol=1e-9, atol=1e-9)
    for a, b in zip(parts_of(found.state), parts_of(layer(p, x, state)[1]), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


def check_spiral(angle):
    """0 is the fixed point of a rotation by an angle, stable if what it is multiplied with is less than 1."""
    layer = nr.RNN(2, activation="linear")
    p = layer.init(1, dtype="float64")
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    for factor in (0.8, 1.2):
        p.flat[...] = 0
        p["weight_hh_l0"][...] = factor * turn
        found = nr.dynamics.fixed_points(layer, p, None, np.ones((1, 3, 2)))
        assert len(found) == 1 and found.starts.tolist() == [3] and found.lost == 0
        np.testing.assert_allclose(found.states, [[0, 0]], rtol=0, atol=1e-11)
        np.testing.assert_allclose(np.sort_complex(found.eigenvalues[0]), np.sort_complex(np.linalg.eigvals(factor * turn)))
        assert found.unstable.tolist() == ([0] if factor < 1 else [2])
