"""The measurements of ``python -m benchmarks gpu``: one job is one kind of layer, or the training of a network.

``python -m benchmarks.gpu_cases GRU 512,64,512,512,1 ...`` runs one job; each answer is one row of the table.
"""

import contextlib
import datetime
import importlib.util
import os
import platform
import statistics
import subprocess
import sys
import time
import traceback

import numpy as np

from . import cases, jobs

SHAPES = (  # T, N, I, H, layers
    (5, 32, 1, 128, 3), (1024, 16, 128, 128, 1), (1024, 16, 256, 256, 1), (1024, 1, 256, 256, 1), (512, 64, 512, 512, 1),
    (150, 64, 125, 100, 1),
)  # fmt: skip
ROUNDS, SECONDS = 5, 0.03  # turns of each library, and about how long one lasts
MOST_STEPS = 512  # that are launched one by one: more would take the time of other rows
BATCH, RATE, BLOCK = 32, 0.005, 10  # of the training: as in `hello`
DEEP_DIAMOND_MS = 5.7e3 / 6000  # an update of its training, on its author's GPU


def timer():
    """A function that returns the milliseconds that so many calls of another took, by the GPU's clock."""
    from numbarnn.cuda.device import SIMULATED, cuda

    def simulated(function, calls):
        start = time.perf_counter()
        for _ in range(calls):
            function()
        return 1e3 * (time.perf_counter() - start)

    if SIMULATED:
        return simulated
    first, last = cuda.event(), cuda.event()

    def milliseconds(function, calls):
        cuda.synchronize()
        first.record()
        for _ in range(calls):
            function()
        last.record()
        last.synchronize()
        return first.elapsed_time(last)

    return milliseconds


def take_turns(functions, rounds=ROUNDS, seconds=SECONDS):
    """{name: milliseconds of one call}: medians of rounds in which each function has a turn."""
    milliseconds, calls, found = timer(), {}, {name: [] for name in functions}
    for name, function in functions.items():
        try:
            milliseconds(function, 2)
            calls[name] = min(100, max(1, round(1e3 * seconds / max(milliseconds(function, 1), 1e-3))))
        except Exception as error:  # of one library or one way: the others still have their turns
            print(f"{name}: {type(error).__name__}: {error}", flush=True)
    for _ in range(rounds):
        for name in calls:
            found[name].append(milliseconds(functions[name], calls[name]) / calls[name])
    return {name: statistics.median(found[name]) for name in calls}


def ours(case, tf32=False, cublas=None, per_step=False):
    """A function that does the case's work on the GPU and returns y, or (y, dx, gradients by name), there."""
    import numbarnn as nr
    from numbarnn.cuda import allow_tf32, asarray, plans, use_cublas

    values, x, dy = case.arrays()
    layer = getattr(nr, case.cell)(case.hidden, layers=case.layers)
    p = layer.init(case.channels, dtype=case.dtype)
    for name, value in values.items():
        p[name] = value
    p, x, dy = p.to("cuda"), asarray(x), asarray(dy)
    gradient = p.zeros()

    def run():
        allow_tf32(tf32)
        use_cublas(cublas)
        plans.PER_STEP = per_step
        if case.work == "forward":
            return layer(p, x)[0]
        y, _, tape = layer.forward(p, x)
        found = layer.backward(tape, dy, into=gradient)
        return y, found.x, dict(gradient.items())

    return run


def torchs(case, tf32=False):
    """Like `ours`, by PyTorch and cuDNN."""
    import torch

    values, x, dy = case.arrays()
    module = getattr(torch.nn, case.cell)(case.channels, case.hidden, case.layers, dtype=getattr(torch, case.dtype)).cuda()
    with torch.no_grad():
        for name, value in values.items():
            getattr(module, name).copy_(torch.from_numpy(value))
    x, dy = torch.from_numpy(x).cuda(), torch.from_numpy(dy).cuda()

    def run():
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
        if case.work == "forward":
            module.eval()
            with torch.inference_mode():
                return module(x)[0]
        module.train()
        inputs = x.detach().requires_grad_()
        module.zero_grad(set_to_none=True)
        y, _ = module(inputs)
        y.backward(dy)
        return y, inputs.grad, {name: p.grad for name, p in module.named_parameters()}

    return run


def reference(case):
    """(y, dx, gradients) of the same numbers in float64 on the CPU, and who computed them."""
    exact = cases.Case("both", case.cell, *case.shape, "float64", case.dtype)
    try:
        return cases.torch_layer(exact)(), "PyTorch, float64, CPU"
    except ImportError:
        return cases.ours(exact)(), "numbarnn, float64, CPU"


def host(array):
    """A NumPy array of one of ours, or of PyTorch's."""
    return array.get() if hasattr(array, "get") else array.detach().cpu().numpy()


def error(found, exact):
    """The largest error of any array, in units of its largest number."""
    if not isinstance(found, tuple):
        pairs = [(found, exact[0])]
    else:
        pairs = [*zip(found[:2], exact), *((found[2][name], value) for name, value in exact[2].items())]
    errors = [np.abs(host(a).reshape(b.shape) - b).max() / np.abs(b).max() for a, b in pairs]
    return float(np.max(errors))  # a NaN is the largest


VARIANTS = {  # column: what makes the function; PyTorch's are left out where it is not installed
    "numbarnn": lambda case: ours(case),
    "PyTorch": lambda case: torchs(case),
    "numbarnn TF32": lambda case: ours(case, tf32=True),
    "PyTorch TF32": lambda case: torchs(case, tf32=True),
    "without cuBLAS": lambda case: ours(case, cublas=False),
    "per step": lambda case: ours(case, per_step=True),
}


def failure(error):
    """An exception in one line."""
    at = traceback.extract_tb(error.__traceback__)[-1]
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{said[:450]} ({at.filename.rpartition('/')[2]}:{at.lineno})"


def measure(case, exact):
    """{variant: its milliseconds, and its error}, and {variant: why there is none}."""
    functions, errors, reasons = {}, {}, {}
    for name, make in VARIANTS.items():
        if name == "per step" and int(case.shape[0]) > MOST_STEPS:
            continue
        if name.startswith("PyTorch") and importlib.util.find_spec("torch") is None:
            continue
        try:
            function = make(case)
            errors[name] = error(function(), exact)
            functions[name] = function
        except Exception as caught:
            reasons[name] = failure(caught)
    times = {}
    try:
        times = take_turns(functions)
    except Exception as caught:
        reasons["timing"] = failure(caught)
    return {"ms": times, "error": errors, "reasons": reasons}


def expect_gpu():
    """End this process if an error has left the GPU useless to it: another one goes on."""
    from numbarnn.cuda import synchronize

    try:
        synchronize()
    except Exception as caught:
        sys.exit(f"the GPU is lost to this process: {failure(caught)}")


def layers(cell, shapes):
    """Rows of the table for one kind of layer."""
    for shape in shapes:
        case = cases.Case("both", cell, *shape, "float32")
        about = {"cell": cell, "shape": shape}
        try:
            exact, by = reference(case)
        except Exception as caught:
            jobs.answer(**about, work="both", ms={}, error={}, reasons={"reference": failure(caught)})
            continue
        for work in ("forward", "both"):
            row = cases.Case(work, cell, *shape, "float32")
            jobs.answer(**about, work=work, reference=by, flops=row.flops, **measure(row, exact))
            expect_gpu()


def torch_network(tf32):
    """(model, a function that trains it for some epochs): Deep Diamond's network in PyTorch, with our initial parameters."""
    import torch

    from numbarnn.demo.counting import counting_network, counting_windows

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.others = torch.nn.GRU(1, 128), torch.nn.GRU(128, 128, 2)
            self.dense, self.out = torch.nn.Linear(128, 128), torch.nn.Linear(128, 1)

        def forward(self, x):
            y, _ = self.others(self.first(x)[0])
            return self.out(torch.relu(self.dense(y[-1])))

    model = Model().cuda()
    x, y = (torch.from_numpy(np.array(array)).cuda() for array in counting_windows())
    params = counting_network().params
    with torch.no_grad():
        for name, value in params.items():
            layer, _, own = name.partition(".")
            module = (model.first, model.others, None, model.dense, model.out)[int(layer)]
            own = own if int(layer) < 2 else own.partition("_")[0]
            getattr(module, own).copy_(torch.from_numpy(np.ascontiguousarray(value)))
    optimizer = torch.optim.Adam(model.parameters(), RATE)

    def train(epochs):
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
        for _ in range(epochs):
            for chosen in torch.randperm(len(y), device="cuda").split(BATCH):
                optimizer.zero_grad()
                loss = 0.5 * ((model(x[:, chosen]) - y[chosen]) ** 2).mean()
                loss.backward()
                optimizer.step()
        torch.cuda.synchronize()

    return model, train


def our_network(tf32=False):
    """(network, a function that trains it for some epochs) on the GPU."""
    from numbarnn import Adam
    from numbarnn.cuda import allow_tf32, plans, synchronize, use_cublas
    from numbarnn.demo.counting import counting_network, counting_windows

    network = counting_network().to("cuda")
    x, y = counting_windows()

    def train(epochs):
        allow_tf32(tf32)
        use_cublas(None)
        plans.PER_STEP = False
        network.fit(x, y, "quadratic", Adam(RATE), epochs, BATCH, progress=False)
        synchronize()

    return network, train


def gradient_error():
    """Of our gradient of Deep Diamond's network at its start, against PyTorch's in float64 on the CPU."""
    import torch

    from numbarnn.demo.counting import counting_windows

    network, _ = our_network()
    x, y = counting_windows()
    _, gradient = network.loss_and_gradient(network.params.flat.get(), x, y, "quadratic")
    model, _ = torch_network(False)
    model = model.cpu().double()
    x, y = (torch.from_numpy(np.array(array)).double() for array in (x, y))
    (0.5 * ((model(x) - y) ** 2).mean()).backward()
    found = type(network.params)(gradient, network.params.weights)
    worst = 0.0
    for name, value in found.items():
        layer, _, own = name.partition(".")
        module = (model.first, model.others, None, model.dense, model.out)[int(layer)]
        exact = getattr(module, own if int(layer) < 2 else own.partition("_")[0]).grad.numpy()
        worst = max(worst, float(np.abs(value - exact).max() / np.abs(exact).max()))
    return worst


def training(rounds=ROUNDS):
    """Deep Diamond's network: milliseconds of an update, by the clock on the wall, of each library in turns."""
    makers = {
        "numbarnn": our_network, "PyTorch": lambda: torch_network(False), "numbarnn TF32": lambda: our_network(True),
        "PyTorch TF32": lambda: torch_network(True),
    }  # fmt: skip
    trainers, reasons = {}, {}
    for name, make in makers.items():
        if name.startswith("PyTorch") and importlib.util.find_spec("torch") is None:
            continue
        try:
            _, train = make()
            train(BLOCK)  # compilation, and memory that is touched for the first time
            trainers[name] = train
        except Exception as caught:
            reasons[name] = failure(caught)
    updates, found = BLOCK * -(-195 // BATCH), {name: [] for name in trainers}
    for _ in range(rounds):
        for name, train in trainers.items():
            start = time.perf_counter()
            train(BLOCK)
            found[name].append(1e3 * (time.perf_counter() - start) / updates)
    try:
        wrong = gradient_error()
    except Exception as caught:
        wrong, reasons["gradient"] = None, failure(caught)
    times = {name: statistics.median(values) for name, values in found.items()}
    jobs.answer(training=True, ms=times, error={"numbarnn": wrong}, reasons=reasons)
    if "numbarnn" in trainers:
        jobs.answer(profile=profile(trainers["numbarnn"]))


def profile(train):
    """Where Python spends the time of ten epochs, as text."""
    import cProfile
    import io
    import pstats

    profiler, text = cProfile.Profile(), io.StringIO()
    profiler.runcall(train, BLOCK)
    pstats.Stats(profiler, stream=text).sort_stats("tottime").print_stats(25)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines() if line.strip())


def output_of(*command):
    """What a command prints; why it does not."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        return (done.stdout or done.stderr).strip()
    except Exception as caught:
        return failure(caught)


def machine():
    """Device, clocks and versions."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"date": datetime.datetime.now().astimezone().isoformat(timespec="seconds")}
    query = "name,driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.limit,temperature.gpu,memory.total"
    found["nvidia-smi"] = output_of("nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader")
    found |= {"system": platform.platform(terse=True), "python": platform.python_version(), "processors": os.cpu_count()}
    for name in ("numba", "numba-cuda", "cuda-bindings", "cuda-core", "numpy", "torch"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    try:
        import torch

        found |= {"torch": torch.__version__, "CUDA of torch": torch.version.cuda, "cuDNN": torch.backends.cudnn.version()}
    except ImportError:
        found["torch"] = None
    return found


def probe(all_of_it=True):
    """The machine, and what a launch and a product take: each line on its own, whatever the others do."""
    about = machine()
    jobs.answer(machine=about)
    if importlib.util.find_spec("torch"):  # its libraries are then the ones in use
        try:
            import torch

            torch.zeros(1, device="cuda")
        except Exception as caught:
            jobs.answer(probe="PyTorch", found=failure(caught))

    def device():
        from numbarnn.cuda import require
        from numbarnn.cuda.device import SIMULATED, cuda
        from numbarnn.cuda.limits import limits

        require()
        if SIMULATED:
            return "Numba's simulator"
        gpu = cuda.get_current_device()
        return {
            "name": gpu.name if isinstance(gpu.name, str) else gpu.name.decode(),
            "capability": list(gpu.compute_capability), "processors, shared bytes": list(limits()),
            "free, total": [int(n) for n in cuda.current_context().get_memory_info()], "module": cuda.__file__,
        }  # fmt: skip

    def libraries():
        from cuda import pathfinder

        found = {}
        for name in ("nvvm", "nvrtc", "nvJitLink", "cublas"):
            try:
                found[name] = pathfinder.load_nvidia_dynamic_lib(name).abs_path
            except Exception as caught:
                found[name] = type(caught).__name__
        return found

    def cublas():
        import cupy

        from numbarnn.cuda import cublas

        return cublas.library().getVersion(cupy.cuda.get_cublas_handle()) if cublas.library() is not None else "not found"

    def launch():
        from numbarnn.cuda import optimizers, synchronize, zeros
        from numbarnn.cuda.device import SIMULATED

        vectors, numbers = [zeros((100,), "float32") for _ in range(4)], np.zeros(4, np.float32)
        launches = 10 if SIMULATED else 1000
        optimizers.sgd(*vectors, *numbers)
        synchronize()
        start = time.perf_counter()
        for _ in range(launches):
            optimizers.sgd(*vectors, *numbers)
        microseconds = 1e6 * (time.perf_counter() - start) / launches
        synchronize()
        return f"{microseconds:.1f} us on the host"

    def products():
        from numbarnn.cuda import allow_tf32, asarray, cublas, product, use_cublas
        from numbarnn.cuda.device import SIMULATED
        from numbarnn.cuda.records import Product

        rows, columns, depth = (4, 4, 4) if SIMULATED else (32768, 1536, 512)
        random = np.random.default_rng(0)
        a, b, c = (
            asarray(random.standard_normal(n).astype(np.float32)) for n in (rows * depth, depth * columns, rows * columns)
        )
        call = Product(rows, columns, depth, 0, depth, 1, 0, columns, 1, 0, columns, 1, 0)

        def run(choice, tf32):
            use_cublas(choice)
            allow_tf32(tf32)
            product.multiply(np.float32(0), call, a, b, c)

        functions = {"this package's": lambda: run(False, False)}
        if cublas.library() is not None:
            functions |= {"cuBLAS": lambda: run(True, False), "cuBLAS, TF32": lambda: run(True, True)}
        rates = {name: 2e-9 * rows * columns * depth / ms for name, ms in take_turns(functions).items()}
        return {name: f"{rate:.1f} TFLOP/s" for name, rate in rates.items()}

    for function in (device, libraries, cublas, launch, products) if all_of_it else (device,):
        try:
            jobs.answer(probe=function.__name__, found=function())
        except Exception as caught:
            jobs.answer(probe=function.__name__, found=failure(caught), failed=True)


if __name__ == "__main__":
    job, *others = sys.argv[1:]
    with contextlib.suppress(ImportError):
        import torch  # noqa: F401 (before anything loads another version of the libraries that it brings)
    if job in ("probe", "device"):
        probe(job == "probe")
    elif job == "training":
        training()
    else:
        layers(job, [tuple(int(n) for n in shape.split(",")) for shape in others])
