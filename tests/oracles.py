"""Slow recurrent layers in NumPy, from the papers' equations; they share no code with the library.

Parameters are a mapping from PyTorch's names to arrays of PyTorch's shapes: ``weight_ih_l0`` is (G * H, I), its gates
in the order r z n (GRU), i f g o (LSTM; i g o if coupled) or f n (MGU); ``weight_hr_l0`` (P, H) projects an LSTM's h.
``peephole_l0`` (3 * H,) is in the order i f o (i o if coupled); a normalized layer has ``gain_ih_l0`` and ``gain_hh_l0``
(G * H,), an LSTM's ``gain_c_l0`` and ``bias_c_l0`` (H,) too.  A bias that is not there is 0.

A layer is anything whose class has the name of a cell and whose attributes are options; an option that is not there has
its plain value.
"""

from types import SimpleNamespace

import numpy as np
from scipy.special import erf


def sigmoid(a):
    """Logistic function."""
    return 1 / (1 + np.exp(-a))


# name: (function of the pre-activation and alpha, beta; their defaults, as in ONNX; where it is not smooth)
ACTIVATIONS = {
    "identity": (lambda a: a, (), lambda: ()),
    "linear": (lambda a: a, (), lambda: ()),
    "tanh": (np.tanh, (), lambda: ()),
    "sigmoid": (sigmoid, (), lambda: ()),
    "softplus": (lambda a: np.logaddexp(0, a), (), lambda: ()),
    "gelu": (lambda a: a / 2 * (1 + erf(a / np.sqrt(2))), (), lambda: ()),
    "silu": (lambda a: a * sigmoid(a), (), lambda: ()),
    "affine": (lambda a, alpha, beta: alpha * a + beta, (1.0, 0.0), lambda alpha, beta: ()),
    "scaled_tanh": (lambda a, alpha, beta: alpha * np.tanh(beta * a), (1.0, 1.0), lambda alpha, beta: ()),
    "relu": (lambda a: np.maximum(a, 0), (), lambda: (0,)),
    "softsign": (lambda a: a / (1 + np.abs(a)), (), lambda: (0,)),
    "leaky_relu": (lambda a, alpha: np.where(a < 0, alpha * a, a), (0.01,), lambda alpha: (0,)),
    "elu": (lambda a, alpha: np.where(a < 0, alpha * np.expm1(np.minimum(a, 0)), a), (1.0,), lambda alpha: (0,)),
    "thresholded_relu": (lambda a, alpha: np.where(a > alpha, a, 0), (1.0,), lambda alpha: (alpha,)),
    "hard_sigmoid": (
        lambda a, alpha, beta: np.clip(alpha * a + beta, 0, 1),
        (0.2, 0.5),
        lambda alpha, beta: (-beta / alpha, (1 - beta) / alpha) if alpha else (),
    ),
}


def activated(spec, record, clip=None):
    """The function that `spec`, a name or (name, alpha, beta), stands for, its argument limited to [-clip, clip].

    Called, it adds to `record` how far each argument is from each place where it is not smooth.
    """
    name, *given = (spec,) if isinstance(spec, str) else spec
    function, defaults, kinks = ACTIVATIONS[name]
    values = (*given, *defaults[len(given) :])
    limits = () if clip is None else (-clip, clip)

    def apply(a):
        record.extend(a - limit for limit in limits)
        if clip is not None:
            a = np.clip(a, -clip, clip)
        record.extend(a - kink for kink in kinks(*values))
        return function(a, *values)

    return apply


# Each step takes the layer, its parameters p (W, R, b, d; 0 for a bias that is not there), its activations f, x (N, I) and
# the state, (N, H) arrays, and returns the next state.


def normalized(a, gain, bias):
    """Ba, Kiros, Hinton (2016), arXiv:1607.06450, eq. 3-4, over the last axis."""
    deviation = a - a.mean(axis=1, keepdims=True)
    return gain * deviation / np.sqrt((deviation**2).mean(axis=1, keepdims=True) + 1e-5) + bias


def normalized_gru_step(layer, p, f, x, h):
    """The same paper's supplement: r and z have their statistics in common, n has its own, for W x and for R h."""
    gates = slice(2 * layer.hidden), slice(2 * layer.hidden, None)
    wx, rh = x @ p.W.T, h @ p.R.T
    (wrz, wn), (rrz, rn) = (
        [normalized(a[:, part], gain[part], bias[part]) for part in gates]
        for a, gain, bias in ((wx, p.gain_ih, p.b), (rh, p.gain_hh, p.d))
    )
    r, z = np.split(f.gate(wrz + rrz), 2, axis=1)
    return ((1 - z) * f.candidate(wn + r * rn) + z * h,)


def normalized_lstm_step(layer, p, f, x, h, c):
    """The same paper, eq. 20-22, gates in the order i f g o."""
    pre = normalized(x @ p.W.T, p.gain_ih, p.b) + normalized(h @ p.R.T, p.gain_hh, p.d)
    i, forget, g, o = np.split(pre, 4, axis=1)
    c = f.gate(forget) * c + f.gate(i) * f.candidate(g)
    return f.gate(o) * f.output(normalized(c, p.gain_c, p.bias_c)), c


def rnn_step(layer, p, f, x, h):
    """Elman (1990): ``h' = f(W x + b + R h + d)``."""
    return (f.gate(x @ p.W.T + p.b + h @ p.R.T + p.d),)


def gru_step(layer, p, f, x, h):
    """Cho et al. (2014), eq. 5-8, the reset gate after the recurrent product or before it."""
    wr, wz, wn = np.split(x @ p.W.T + p.b, 3, axis=1)
    rr, rz, rn = np.split(p.R, 3)
    dr, dz, dn = np.split(p.d, 3)
    r = f.gate(wr + h @ rr.T + dr)
    z = f.gate(wz + h @ rz.T + dz)
    recurrent = r * (h @ rn.T + dn) if getattr(layer, "reset", "after") == "after" else (r * h) @ rn.T + dn
    n = f.candidate(wn + recurrent)
    return ((1 - z) * n + z * h,)


def lstm_step(layer, p, f, x, h, c):
    """Gers et al. (2000): ``c' = f c + i g``, ``h' = o tanh(c')``.

    Peepholes as in Gers et al. (2002): i and f see c, o sees c'.  Coupled gates as in Greff et al. (2017): f = 1 - i.
    Projection as in Sak et al. (2014): ``h' = P (o tanh(c'))``.
    """
    coupled = getattr(layer, "coupled", False)
    gates = dict(zip("igo" if coupled else "ifgo", np.split(x @ p.W.T + p.b + h @ p.R.T + p.d, 3 if coupled else 4, axis=1)))
    peepholes = dict.fromkeys("ifo", 0.0)
    if getattr(layer, "peepholes", False):
        peepholes |= zip("io" if coupled else "ifo", np.split(p.peephole, 2 if coupled else 3))
    i = f.gate(gates["i"] + peepholes["i"] * c)
    forget = 1 - i if coupled else f.gate(gates["f"] + peepholes["f"] * c)
    c = forget * c + i * f.candidate(gates["g"])
    o = f.gate(gates["o"] + peepholes["o"] * c)
    h = o * f.output(c)
    return h if getattr(layer, "projection", None) is None else h @ p.hr.T, c


def mgu_step(layer, p, f, x, h):
    """Zhou et al. (2016), arXiv:1603.09420, eq. 7."""
    wf, wn = np.split(x @ p.W.T + p.b + p.d, 2, axis=1)
    rf, rn = np.split(p.R, 2)
    forget = f.gate(wf + h @ rf.T)
    n = f.candidate(wn + (forget * h) @ rn.T)
    return ((1 - forget) * h + forget * n,)


def indrnn_step(layer, p, f, x, h):
    """Li et al. (2018), arXiv:1803.04831, eq. 2: ``h' = f(W x + b + u * h)``, u a vector."""
    return (f.gate(x @ p.W.T + p.b + p.R * h + p.d),)


def leaky_step(layer, p, f, x, h):
    """Leaky integration of f, ``h' = (1 - a) h + a f(W x + R h + b)``, or inside: ``a (W x + R f(h) + b)``."""
    a = p.rate if p.rate is not None else np.asarray(layer.rate, np.float64)
    if getattr(layer, "form", "outside") == "outside":
        return ((1 - a) * h + a * f.gate(x @ p.W.T + p.b + h @ p.R.T + p.d),)
    return ((1 - a) * h + a * (x @ p.W.T + p.b + f.gate(h) @ p.R.T + p.d),)


CELLS = {  # name: (step, gates)
    "RNN": (rnn_step, "h"),
    "GRU": (gru_step, "rzn"),
    "LSTM": (lstm_step, "ifgo"),
    "MGU": (mgu_step, "fn"),
    "IndRNN": (indrnn_step, "h"),
    "LeakyRNN": (leaky_step, "h"),
}


def functions_of(layer, record):
    """The activations of a layer: ``gate``, and of a gated cell ``candidate`` and ``output``, an LSTM's on c."""
    name, clip = type(layer).__name__, getattr(layer, "clip", None)

    def of(option, plain, clip=clip):
        return activated(getattr(layer, option, plain), record, clip)

    if len(CELLS[name][1]) == 1:
        return SimpleNamespace(gate=of("activation", "relu" if name == "IndRNN" else "tanh"))
    return SimpleNamespace(
        gate=of("gate_activation", "sigmoid"),
        candidate=of("activation", "tanh"),
        output=of("output_activation", "tanh", clip=None),  # c is not a pre-activation
    )


def directions_of(layer):
    """1, or 2 for a bidirectional layer."""
    return 2 if getattr(layer, "bidirectional", False) else 1


def widths(layer):
    """Channels of each of the states: h, then an LSTM's c."""
    if type(layer).__name__ != "LSTM":
        return (layer.hidden,)
    return getattr(layer, "projection", None) or layer.hidden, layer.hidden


def suffixes(layer):
    """[[``"l0"``, ``"l0_reverse"``], ...]: the names' ends of each stacked layer's directions."""
    count = getattr(layer, "layers", 1)
    return [[f"l{index}", f"l{index}_reverse"][: directions_of(layer)] for index in range(count)]


def parameter_shapes(layer, channels):
    """{name: shape} of all the parameters."""
    name, hidden, (width, *_) = type(layer).__name__, layer.hidden, widths(layer)
    coupled = getattr(layer, "coupled", False)
    rows = (len(CELLS[name][1]) - coupled) * hidden
    shapes = {}
    for index, ends in enumerate(suffixes(layer)):
        for end in ends:
            shapes[f"weight_ih_{end}"] = (rows, channels if index == 0 else len(ends) * width)
            shapes[f"weight_hh_{end}"] = (hidden,) if name == "IndRNN" else (rows, width)
            shapes |= {f"bias_ih_{end}": (rows,), f"bias_hh_{end}": (rows,)}
            if getattr(layer, "projection", None):
                shapes[f"weight_hr_{end}"] = (width, hidden)
            if getattr(layer, "peepholes", False):
                shapes[f"peephole_{end}"] = ((3 - coupled) * hidden,)
            if getattr(layer, "normalized", False):
                shapes |= {f"gain_ih_{end}": (rows,), f"gain_hh_{end}": (rows,)}
                if name == "LSTM":
                    shapes |= {f"gain_c_{end}": (hidden,), f"bias_c_{end}": (hidden,)}
            if getattr(layer, "learned", False):
                shapes[f"rate_{end}"] = (hidden,)
    return shapes


def weights_of(parameters, end):
    """The parameters whose names end with `end`, in float64."""

    def of(name, missing=None):
        name = f"{name}_{end}"
        return np.asarray(parameters[name], np.float64) if name in parameters else missing

    w = of("weight_ih")
    none = np.zeros(len(w))
    return SimpleNamespace(
        W=w, R=of("weight_hh"), b=of("bias_ih", none), d=of("bias_hh", none),
        hr=of("weight_hr"), peephole=of("peephole"), rate=of("rate"),
        gain_ih=of("gain_ih"), gain_hh=of("gain_hh"), gain_c=of("gain_c"), bias_c=of("bias_c"), decay=of("decay"),
    )  # fmt: skip


MERGES = {
    "concat": lambda a, b: np.concatenate([a, b], axis=2),
    "sum": lambda a, b: a + b,
    "average": lambda a, b: (a + b) / 2,
    "product": lambda a, b: a * b,
}


def run(layer, parameters, x, state=None, record=None, lengths=None, reset=None, cells=False):
    """``(y, state)`` of a stack of layers on x (T, N, C), in float64; with `cells` also every c of the last LSTM.

    Past a sequence's length (N,) y is 0 and nothing is read; its last state is the one at the length, and the reverse
    direction starts at its last valid step.  Where reset (T, N) is True a new sequence starts: what either direction
    carries from the other side of that border is the initial state.  `record` collects how far the pre-activations
    are from where an activation is not smooth.
    """
    x = np.asarray(x, np.float64)
    steps, batch, _ = x.shape
    alive = np.arange(steps)[:, None] < (np.full(batch, steps) if lengths is None else np.asarray(lengths))
    border = np.zeros((steps + 1, batch), bool)  # between the steps t - 1 and t
    if reset is not None:
        border[:steps] = reset
    ends, sizes, step = suffixes(layer), widths(layer), CELLS[type(layer).__name__][0]
    if getattr(layer, "normalized", False):
        step = {"GRU": normalized_gru_step, "LSTM": normalized_lstm_step}[type(layer).__name__]
    if state is None:
        state = [np.zeros((len(ends) * len(ends[0]), batch, size)) for size in sizes]
    elif len(sizes) == 1:
        state = [state]
    starts = zip(*state)
    y, final, c = np.where(alive[:, :, None], x, 0), [], None
    for names in ends:
        halves = []
        for end in names:
            reverse = end.endswith("_reverse")
            p, distances = weights_of(parameters, end), []
            f = functions_of(layer, distances)
            start = now = tuple(np.asarray(s, np.float64) for s in next(starts))
            outputs = [np.zeros((steps, batch, size)) for size in sizes]
            for t in reversed(range(steps)) if reverse else range(steps):
                live, fresh = alive[t][:, None], border[t + 1 if reverse else t][:, None]
                before = tuple(np.where(fresh, a, b) for a, b in zip(start, now))
                inputs = y[t]
                if p.decay is not None:  # the last channel of x is the span
                    inputs = inputs[:, :-1] if names is ends[0] else inputs
                    span = x[t, :, -1:]
                    if reverse:  # comes from the step behind, if there is one
                        first = fresh[:, 0] | ~(alive[t + 1] if t + 1 < steps else np.zeros(batch, bool))
                        span = np.where(first[:, None], 1, x[min(t + 1, steps - 1), :, -1:])
                    lost = p.decay * (span - 1)
                    distances.append(np.where(first[:, None], np.inf, lost) if reverse else lost)
                    before = tuple(np.exp(-np.maximum(0, lost)) * a for a in before)
                after = step(layer, p, f, inputs, *before)
                now = tuple(np.where(live, a, b) for a, b in zip(after, now))
                for output, a in zip(outputs, after):
                    output[t] = np.where(live, a, 0)
                if record is not None:
                    record.extend(d[alive[t]].ravel() for d in distances)
                distances.clear()
            halves.append(outputs)
            final.append(now)
        below = y
        y, *c = (np.concatenate(parts, axis=2) for parts in zip(*halves))
        if len(names) == 2:
            y = MERGES[getattr(layer, "merge", "concat")](*(half[0] for half in halves))
        if getattr(layer, "residual", False) and names is not ends[0]:
            y = y + below
    final = tuple(np.stack(parts) for parts in zip(*final))
    result = y, final[0] if len(final) == 1 else final
    return (*result, c[0]) if cells else result


def distances(layer, parameters, x, state=None, **options):
    """How far each pre-activation is from where its activation is not smooth, signed; empty for a smooth layer."""
    record = []
    run(layer, parameters, x, state, record, **options)
    return np.concatenate([np.zeros(0), *record])


def kinks(layer, parameters, x, state=None, **options):
    """On which side of every kink each pre-activation is; None for a smooth layer."""
    found = distances(layer, parameters, x, state, **options)
    return found > 0 if len(found) else None


def described(kind, hidden, **options):
    """A stand-in for the library's layer called `kind`: nothing but its options."""
    return type(kind, (SimpleNamespace,), {})(hidden=hidden, **options)


def random_parameters(layer, channels, random, dtype="float32"):
    """Normal numbers; rates from 0 to 1. Weights are scaled so that W x is about as large as x."""

    def draw(name, shape):
        if name.startswith("rate"):
            return random.random(shape)
        return random.standard_normal(shape) / np.sqrt(shape[1] if len(shape) > 1 else 1)

    return {name: draw(name, shape).astype(dtype) for name, shape in parameter_shapes(layer, channels).items()}


def random_state(layer, batch, random, dtype="float32"):
    """Normal numbers as initial state: h, or the pair (h, c)."""
    count = sum(map(len, suffixes(layer)))
    parts = tuple(random.standard_normal((count, batch, width)).astype(dtype) for width in widths(layer))
    return parts if len(parts) == 2 else parts[0]
