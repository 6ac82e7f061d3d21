"""Is what the GPU computes right?  Against the CPU in float64, by finite differences, and to the bit where that is promised.

``python -m benchmarks.gpu_checks NAME`` runs one group of checks; it takes neither pytest nor hypothesis.  Sizes T,N,I,H
after the name replace SIZES, the sizes of the layers.
"""

import contextlib
import importlib.util
import itertools
import os
import sys

import numpy as np

import numbarnn as nr

from .cpu import numbers_of
from .gpu_compared import TOLERANCE, Checks, OnDevice, differing, error, numbers, planned, results

EMULATED = "NUMBARNN_EMULATED" in os.environ  # by tests/cuda/emulated, which has no cuBLAS
REPEATS = 4  # runs that must give the same bits: blocks that do not wait for each other would show
LAYERS = {  # name: what makes one of H hidden units
    "gru": lambda H: nr.GRU(H),
    "lstm": lambda H: nr.LSTM(H),
    "rnn": lambda H: nr.RNN(H),
    "gru-before": lambda H: nr.GRU(H, reset="before"),
    "lstm-projected": lambda H: nr.LSTM(H, projection=max(2, H // 2)),
    "lstm-normalized": lambda H: nr.LSTM(H, normalized=True),
    "gru-normalized": lambda H: nr.GRU(H, normalized=True),
    "lstm-peepholes": lambda H: nr.LSTM(H, peepholes=True, coupled=True),
    "mgu": lambda H: nr.MGU(H),
    "indrnn": lambda H: nr.IndRNN(H, activation="tanh"),  # without a kink, which float32 and a difference step over
    "leaky": lambda H: nr.LeakyRNN(H, rate=0.3),
    "zoneout": lambda H: nr.LSTM(H, zoneout=(0.3, 0.2)),
}
# T, N, I, H: small ones first, then sizes that blocks of threads share in other ways.
SIZES = ((3, 3, 2, 3), (9, 5, 7, 33), (6, 70, 16, 128), (5, 9, 20, 200), (4, 3, 12, 520), (40, 64, 8, 512))
CLUSTER_SIZES = ((5, 9, 20, 200), (4, 70, 8, 256))  # whose R has room in a cluster
size_of = numbers_of("T,N,I,H")


def check_layer(group, sizes=None):
    """One kind of layer, all sizes and both dtypes."""
    from numbarnn.cuda import use_cublas
    from numbarnn.cuda.columns import COLUMN
    from numbarnn.cuda.device import SIMULATED

    check, make = Checks(group), LAYERS[group]
    kinds = [(make(size[3]), size, {}) for size in sizes or (SIZES[:1] if SIMULATED else SIZES)]
    for _, (steps, batch, *_), options in kinds[:2]:
        options["lengths"] = np.resize([steps, 0, -(-2 * steps // 3), 1], batch)
    for layer, size, options in kinds:
        label = " ".join(f"{letter}{number}" for letter, number in zip("TNIH", size)) + (" ragged" if options else "")
        options = options | ({"seed": 1} if layer.random else {})
        for dtype in ("float64", "float32"):
            given, kept = numbers(layer, size, dtype), {}

            def parity(layer=layer, given=given, dtype=dtype, options=options, kept=kept):
                kept["found"] = results(OnDevice(layer), given, dtype, options)
                kept["expected"] = results(layer, given, "float64", options)
                return error(kept["found"], kept["expected"]), TOLERANCE[dtype]

            def same_bits(layer=layer, given=given, dtype=dtype, options=options, kept=kept):
                for _ in range(1 if SIMULATED else REPEATS):
                    names = differing(results(OnDevice(layer), given, dtype, options), kept["found"])
                    assert not names, f"other bits when run again: {names}"

            def step_by_step(layer=layer, size=size, given=given, dtype=dtype, options=options, kept=kept):
                with planned(PER_STEP=True):
                    found = results(OnDevice(layer), given, dtype, options)
                names = set(differing(found, kept["found"]))
                if names and size[3] <= COLUMN:  # R in registers: backward has sums of its own, forward the same ones
                    with planned(RESIDENT=False):
                        teams = results(OnDevice(layer), given, dtype, options)
                    names = {*differing(found, teams), *names & {"y", "h", "c"}}
                wrong = error(found, kept["expected"])
                assert not names, f"other bits step by step: {sorted(names)}, error {wrong:.2g}"
                return wrong, TOLERANCE[dtype]

            def alone(layer=layer, given=given, dtype=dtype):
                p, *arrays = given
                first = [tuple(s[:, :1] for s in a) if isinstance(a, tuple) else a[:, :1] for a in arrays]
                use_cublas(False)
                try:
                    many = results(OnDevice(layer), given, dtype, {})["y"][:, :1]
                    one = results(OnDevice(layer), (p, *first), dtype, {})["y"]
                finally:
                    use_cublas(None)
                assert many.tobytes() == one.tobytes(), "other bits alone than in a batch"

            check(f"{label} {dtype}: like the CPU", parity)
            check(f"{label} {dtype}: the same bits again", same_bits)
            check(f"{label} {dtype}: the same bits step by step", step_by_step)
            if not layer.random and not SIMULATED:
                check(f"{label} {dtype}: the same bits alone as in a batch", alone)
    small = [(make(3), SIZES[0])] if SIMULATED else [(make(3), (4, 3, 2, 3)), (make(40), (5, 4, 6, 40))]
    for layer, size in small:
        p, x, state, *_ = numbers(layer, size, "float64")
        options = {"seed": 1} if layer.random else {"lengths": np.arange(size[1]) % (size[0] + 1)}

        def differences(layer=layer, p=p, x=x, state=state, options=options):
            nr.testing.check_gradients(OnDevice(layer), p, x, state, directions=1, **options)

        check(f"T{size[0]} N{size[1]} I{size[2]} H{size[3]}: finite differences", differences)


def check_clusters(group):
    """Clusters of blocks: the bits of blocks that wait for each other by a counter."""
    from numbarnn import cuda

    try:
        cuda.use_clusters(True)
    except nr.DeviceError as refused:
        print(refused, flush=True)
        return
    check = Checks(group)
    for name, size in itertools.product(("gru", "lstm", "rnn"), CLUSTER_SIZES):
        layer, given = LAYERS[name](size[3]), numbers(LAYERS[name](size[3]), size, "float32")
        options = {"lengths": np.resize([size[0], 0, 1], size[1])}

        def same_bits(layer=layer, given=given, options=options):
            cuda.use_clusters(False)
            teams = results(OnDevice(layer), given, "float32", options)
            cuda.use_clusters(True)
            for _ in range(REPEATS):
                found = results(OnDevice(layer), given, "float32", options)
                names = differing(found, teams)
                assert not names, f"other bits in clusters: {names}"
            return error(found, results(layer, given, "float64", options)), TOLERANCE["float32"]

        label = " ".join(f"{letter}{number}" for letter, number in zip("TNIH", size))
        check(f"{name} {label}: like the CPU, and the bits of teams", same_bits)


def check_stacks(group):
    """Directions, stacked layers, dropout, activation functions, reset."""
    from numbarnn.cuda.device import SIMULATED

    check, H = Checks(group), 3 if SIMULATED else 45
    size = (4, 3, 2, H)
    reset = np.zeros((4, 3), bool)
    reset[2, 1] = True
    for layer, options in (
        (nr.GRU(H, bidirectional=True, layers=2), {"lengths": np.array([4, 0, 2])}),
        (nr.LSTM(H, bidirectional=True, layers=2, dropout=0.3), {"seed": 3}),
        (nr.GRU(H, merge="average", bidirectional=True, layers=2, residual=True), {}),
        (nr.LSTM(H), {"reset": reset}),
        (nr.RNN(H, activation="gelu", clip=3.0), {}),
        (nr.LSTM(H, gate_activation="hard_sigmoid", recurrent_dropout=0.2, input_dropout=0.2), {"seed": 4}),
        (nr.RNN(H, weight_drop=0.5), {"seed": 5}),
    ):

        def parity(layer=layer, options=options):
            given = numbers(layer, size, "float64")
            found = results(OnDevice(layer), given, "float64", options)
            return error(found, results(layer, given, "float64", options)), TOLERANCE["float64"]

        check(f"{layer!r} {', '.join(options)}: like the CPU", parity)


def check_products(group):
    """Both products, in all orders."""
    from numbarnn.cuda import allow_tf32, asarray, cublas, product, use_cublas
    from numbarnn.cuda.device import SIMULATED
    from numbarnn.cuda.records import Product

    check = Checks(group)
    sizes = [(3, 4, 5)] if SIMULATED else [(1, 1, 3), (130, 70, 33), (1, 257, 128), (64, 1, 300), (512, 384, 4096)]
    random = np.random.default_rng(0)

    def worst(dtype):
        found = 0.0
        for (rows, columns, depth), orders in itertools.product(sizes, itertools.product((0, 1), repeat=3)):
            arrays, places = [], []
            for (height, width), order in zip(((rows, depth), (depth, columns), (rows, columns)), orders):
                outer = random.standard_normal((width, height + 3) if order else (height, width + 3)).astype(dtype)
                view = outer[:, :height].T if order else outer[:, :width]
                arrays.append((outer, view, asarray(outer.ravel())))
                places += [0, *(stride // outer.itemsize for stride in view.strides)]
            (_, A, a), (_, B, b), (outer, C, c) = arrays
            call = Product(rows, columns, depth, *places, 1)
            product.multiply(np.dtype(dtype).type(0), call, a, b, c)
            scale = np.abs(A.astype("f8")) @ np.abs(B.astype("f8")) + 1
            C += A @ B
            found = max(found, float((np.abs(c.get().reshape(outer.shape) - outer).max()) / scale.max()))
        return found

    def by(choice, dtype, tf32=False):
        def run():
            use_cublas(choice)
            allow_tf32(tf32)
            try:
                return worst(dtype), 2e-3 if tf32 else 16 * float(np.finfo(dtype).eps)
            finally:
                use_cublas(None)
                allow_tf32(False)

        return run

    for dtype in ("float64", "float32"):
        check(f"this package's product, {dtype}", by(False, dtype))
        if not SIMULATED and not EMULATED:
            check(f"cuBLAS, {dtype}", by(True, dtype))
    if cublas.library() is not None:
        check("cuBLAS, TF32", by(True, "float32", True))


def check_network(group):
    """Training, prediction and gradients of networks."""
    from numbarnn import cuda
    from numbarnn.cuda.device import SIMULATED

    check, wide = Checks(group), 3 if SIMULATED else 40
    series = np.sin(np.arange(60) / 4.0)
    x, y = nr.windows(series[: 20 if SIMULATED else 60], 4)

    def make(dtype="float64"):
        layers = [nr.GRU(wide), nr.LSTM(wide - 1, layers=2), nr.Last(), nr.Dense(wide, "relu"), nr.Dense(1)]
        return nr.Network(layers, channels=1, dtype=dtype, seed=0)

    def training():
        a, b = make(), make().to("cuda")
        for net in (a, b):
            net.fit(x, y, optimizer=nr.Adam(0.01), epochs=2, batch_size=8, clip=1.0, progress=False)
        return error({"flat": b.params.flat.get()}, {"flat": a.params.flat}), 1e-9

    def gradient():
        a, b = make(), make().to("cuda")
        (v, g), (w, h) = a.loss_and_gradient(a.params.flat, x, y), b.loss_and_gradient(a.params.flat, x, y)
        assert isinstance(h, np.ndarray) and abs(v - w) <= 1e-12 * abs(v)
        return error({"gradient": h}, {"gradient": g}), 1e-11

    def prediction():
        a = make()
        b = a.to("cuda")
        found = b.predict(x)
        assert isinstance(found, np.ndarray)
        return error({"y": found}, {"y": a.predict(x)}), 1e-12

    def streams():
        a = make()
        with cuda.stream():
            b = a.to("cuda")
            found = b.predict(x)
        return error({"y": found}, {"y": a.predict(x)}), 1e-12

    def steps():
        a = make()
        one, other = a.stream(), a.to("cuda").stream()
        pairs = [(other.step(x[i, :1]), one.step(x[i, :1])) for i in range(3)]
        return max(error({"y": np.asarray(b)}, {"y": a}) for b, a in pairs), 1e-12

    for function in (training, gradient, prediction, streams, steps):
        check(function.__name__, function)


def check_memory(group):
    """Out of memory, and arrays of other libraries."""
    from numbarnn import cuda
    from numbarnn.cuda.device import SIMULATED

    check = Checks(group)

    def out_of_memory():
        net = nr.Network([nr.GRU(8)], channels=2, device="cuda")
        x = np.ones((3, 2, 2), np.float32)
        before = net.predict(x)
        try:
            cuda.empty((1 << 44,), "float64")
        except nr.DeviceError as error:
            assert "bytes" in str(error) and "free" in str(error), error
        else:
            raise AssertionError("128 TiB were to be had")
        assert np.array_equal(net.predict(x), before)

    def from_torch():
        import torch

        given = torch.arange(24, dtype=torch.float32, device="cuda").reshape(2, 3, 4)
        seen = cuda.asarray(given)
        assert seen.data.ptr == given.data_ptr() and np.array_equal(seen.get(), given.cpu().numpy())
        back = torch.as_tensor(seen, device="cuda")
        assert back.data_ptr() == given.data_ptr()
        assert np.array_equal(cuda.asarray(given.permute(2, 0, 1)).get(), given.permute(2, 0, 1).cpu().numpy())

    if not SIMULATED:
        with contextlib.suppress(ImportError):
            import torch  # noqa: F401 (before anything loads another version of the libraries that it brings)
        check("out of memory is an error, and the network goes on", out_of_memory)
        if importlib.util.find_spec("torch"):
            check("PyTorch's tensors, in and out without a copy", from_torch)


GROUPS = {  # the most important ones first
    "products": check_products, **{name: check_layer for name in ("gru", "lstm", "rnn")}, "network": check_network,
    "memory": check_memory, "stacks": check_stacks, **{name: check_layer for name in list(LAYERS)[3:]},
    "clusters": check_clusters,
}  # fmt: skip


if __name__ == "__main__":
    name, *words = sys.argv[1:]
    GROUPS[name](name, *([list(map(size_of, words))] if words else []))
