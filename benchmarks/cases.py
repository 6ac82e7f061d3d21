"""The layers that the benchmarks time, in each library: built from the same numbers, called the same way.

Axis letters: T steps, N batch, I input channels, H hidden units.
"""

from dataclasses import dataclass

import numpy as np

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
SHAPES = (
    (5, 32, 1, 128, 3),
    (100, 1, 64, 128, 1),
    (100, 32, 64, 128, 1),
    (150, 64, 125, 100, 1),
    (100, 64, 512, 512, 1),
    (50, 128, 1024, 1024, 1),
    (1000, 16, 16, 64, 1),
    (1000, 1, 8, 32, 1),
    (100, 1, 59, 512, 3),
    (2000, 4, 32, 256, 1),
)
STREAMED = tuple(shape for shape in SHAPES if shape[1] == 1 and shape[3] <= 128)


@dataclass(frozen=True)
class Case:
    """One layer of one size, and what is done with it.

    work: ``forward`` (no gradient asked for), ``both`` (forward, then the gradient of parameters and input), ``step`` (one
    step of one sequence, the state carried on: in PyTorch the layer itself on a sequence of one step), or ``cell`` (the
    same, but in PyTorch the class for one step, ``GRUCell``).
    """

    work: str
    cell: str
    steps: int
    batch: int
    channels: int
    hidden: int
    layers: int
    dtype: str
    numbers: str = ""  # the dtype the numbers are rounded to first, if it is another

    @property
    def shape(self):
        """(T, N, I, H, layers)."""
        return self.steps, self.batch, self.channels, self.hidden, self.layers

    @property
    def flops(self):
        """Operations of the matrix products: the gates' sums, thrice that with the gradient."""
        inputs = self.channels + (self.layers - 1) * self.hidden
        rows = self.batch * (1 if self.work in ("step", "cell") else self.steps)
        return (
            2
            * rows
            * GATES[self.cell]
            * self.hidden
            * (inputs + self.layers * self.hidden)
            * (3 if self.work == "both" else 1)
        )

    def arrays(self):
        """(parameters by PyTorch's names, x, dy) from one seed, the same for each dtype but for the rounding."""
        random = np.random.default_rng(0)
        columns, scale = GATES[self.cell] * self.hidden, 1 / np.sqrt(self.hidden)
        parameters = {}
        for layer in range(self.layers):
            inputs = self.channels if layer == 0 else self.hidden
            shapes = {"weight_ih": (columns, inputs), "weight_hh": (columns, self.hidden)}
            for name, shape in {**shapes, "bias_ih": (columns,), "bias_hh": (columns,)}.items():
                parameters[f"{name}_l{layer}"] = self._rounded(random.uniform(-scale, scale, shape))
        x = self._rounded(random.standard_normal((self.steps, self.batch, self.channels)))
        dy = self._rounded(random.standard_normal((self.steps, self.batch, self.hidden)))
        return parameters, x, dy

    def _rounded(self, array):
        return array.astype(self.numbers or self.dtype).astype(self.dtype)


def ours(case):
    """A function that does the case's work and returns y, or (y, dx, gradients by name), as arrays."""
    import numbarnn as nr

    values, x, dy = case.arrays()
    layer = getattr(nr, case.cell)(case.hidden, layers=case.layers)
    p = layer.init(case.channels, dtype=case.dtype)
    for name, value in values.items():
        p[name] = value
    gradient = p.zeros()

    def forward():
        return layer(p, x)[0]

    def both():
        y, _, tape = layer.forward(p, x)
        found = layer.backward(tape, dy, into=gradient)
        return y, found.x, dict(gradient.items())

    if case.work in ("step", "cell"):
        stream, row = layer.stream(p), x[0]
        return lambda: stream.step(row)
    return {"forward": forward, "both": both}[case.work]


def torch_layer(case):
    """Like `ours`, in PyTorch."""
    import torch

    values, x, dy = case.arrays()
    module = getattr(torch.nn, case.cell)(case.channels, case.hidden, case.layers, dtype=getattr(torch, case.dtype))
    with torch.no_grad():
        for name, value in values.items():
            getattr(module, name).copy_(torch.from_numpy(value))
    x, dy = torch.from_numpy(x), torch.from_numpy(dy)

    def forward():
        with torch.inference_mode():
            return module(x)[0].numpy()

    def both():
        inputs = x.detach().requires_grad_()
        module.zero_grad(set_to_none=True)
        y, _ = module(inputs)
        y.backward(dy)
        return y.detach().numpy(), inputs.grad.numpy(), {n: p.grad.numpy() for n, p in module.named_parameters()}

    if case.work == "step":
        return _torch_layer_step(torch, module, x[:1])
    if case.work == "cell":
        return _torch_cell_step(torch, module, case, x[0])
    return {"forward": forward, "both": both}[case.work]


def _torch_layer_step(torch, module, x):
    state = None

    def step():
        nonlocal state
        with torch.inference_mode():
            y, state = module(x, state)
            return y[0].numpy()

    return step


def _torch_cell_step(torch, module, case, row):
    cells = []
    for layer in range(case.layers):
        inputs = case.channels if layer == 0 else case.hidden
        cell = getattr(torch.nn, f"{case.cell}Cell")(inputs, case.hidden, dtype=row.dtype)
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(cell, name).data.copy_(getattr(module, f"{name}_l{layer}").data)
        cells.append(cell)
    states = [None] * case.layers

    def step():
        with torch.inference_mode():
            h = row
            for index, cell in enumerate(cells):
                states[index] = cell(h, states[index])
                h = states[index][0] if case.cell == "LSTM" else states[index]
            return h.numpy()

    return step


def jax_layer(case):
    """Like `ours`, in JAX: the input's products hoisted out of `lax.scan`, everything under one `jit`."""
    import jax
    import jax.numpy as jnp

    values, x, dy = case.arrays()
    values, x, dy = jax.tree.map(jnp.asarray, (values, x, dy))

    def cell_step(pre, R, b, state):
        h = state[0]
        recurrent = h @ R.T + b
        if case.cell == "RNN":
            return (jnp.tanh(pre + recurrent),)
        if case.cell == "GRU":
            xr, xz, xn = jnp.split(pre, 3, -1)
            hr, hz, hn = jnp.split(recurrent, 3, -1)
            r, z = jax.nn.sigmoid(xr + hr), jax.nn.sigmoid(xz + hz)
            n = jnp.tanh(xn + r * hn)
            return ((1 - z) * n + z * h,)
        i, f, g, o = jnp.split(pre + recurrent, 4, -1)
        c = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
        return jax.nn.sigmoid(o) * jnp.tanh(c), c

    def layers(p, x):
        for layer in range(case.layers):
            W, R, b, c = (p[f"{name}_l{layer}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
            start = (jnp.zeros((x.shape[1], case.hidden), x.dtype),) * (2 if case.cell == "LSTM" else 1)

            def step(state, pre, R=R, c=c):
                state = cell_step(pre, R, c, state)
                return state, state[0]

            _, x = jax.lax.scan(step, start, x @ W.T + b)
        return x

    @jax.jit
    def value_and_gradient(p, x, dy):
        y, pullback = jax.vjp(layers, p, x)
        return y, *pullback(dy)

    run = jax.jit(layers)
    if case.work == "forward":
        return lambda: np.asarray(run(values, x))

    def both():
        y, gradient, dx = jax.block_until_ready(value_and_gradient(values, x, dy))
        return np.asarray(y), np.asarray(dx), gradient

    return both
