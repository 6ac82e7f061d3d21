"""Shows that the gradient property can fail: `python tests/mutants.py`.

A mutant is a copy of the code with one fault.  Each runs the check of a test file, which must fail:

* Terms of a cell's adjoint are dropped or change their sign, one at a time, in the real kernel, and parts of what backward
  returns are lost: test_gradients.py.
* Rows of ragged batches are put in wrong places: test_ragged.py and test_reset.py.
* Sums of an embedding's rows, and slopes of losses: test_embedding.py and test_classification.py.
* Derivatives of image layers: test_images.py; of pooling over steps: test_over_time.py.
* Derivatives of networks: test_function.py; of graphs: test_graph.py.
* Forward derivatives: test_tangents.py and test_graph_derivatives.py.
* Second derivatives: test_hvp.py, test_curvature.py and test_graph_curvature.py.
* Derivatives through outputs that were fed back: test_feedback.py.
* States carried from piece to piece of a long sequence: test_carry.py.

The exit status is 1 if a mutant survives, or if the unchanged code does not pass.
"""

import argparse
import ast
import copy
import functools
import importlib
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass, fields, replace
from pathlib import Path
from unittest.mock import patch

import kernel_cache
import numpy as np

KERNELS = kernel_cache.use()
os.environ.setdefault("NUMBA_OPT", "1")
TEMPORARY = tempfile.TemporaryDirectory(prefix="numbarnn-mutants-")
FOLDER = Path(TEMPORARY.name)
CELLS = {
    "RNNCell": ("rnn.py", ("rnn-tanh", "rnn-relu")),
    "GRUAfterCell": ("gru.py", ("gru-after",)),
    "GRUBeforeCell": ("gru.py", ("gru-before",)),
    "LSTMCell": ("lstm.py", ("lstm",)),
    "PeepholeLSTMCell": ("lstm.py", ("lstm-peepholes",)),
    "CoupledLSTMCell": ("lstm.py", ("lstm-coupled",)),
    "CoupledPeepholeLSTMCell": ("lstm.py", ("lstm-coupled-peepholes",)),
    "MGUCell": ("mgu.py", ("mgu",)),
    "IndRNNCell": ("indrnn.py", ("indrnn",)),
    "LeakyOutsideCell": ("leaky.py", ("leaky-outside",)),
    "LeakyInsideCell": ("leaky.py", ("leaky-inside",)),
    "NormalizedLSTMCell": ("normalized.py", ("lstm-normalized",)),
    "NormalizedGRUCell": ("normalized.py", ("gru-normalized",)),
    "PerturbedCell": ("regularized.py", ("gru-zoneout", "gru-before-zoneout")),
    "PerturbedMemoryCell": ("regularized.py", ("lstm-zoneout",)),
    "RecurrentDropoutCell": ("regularized.py", ("rnn-dropout", "leaky-dropout")),
    "DecayedCell": ("decayed.py", ("gru-decay",)),
    "DecayedMemoryCell": ("decayed.py", ("lstm-decay",)),
}
REGULARIZED = {  # cells around others: a layer's class and its options
    "gru-zoneout": ("GRU", {"zoneout": 0.3, "noise": 0.1}),
    "lstm-zoneout": ("LSTM", {"zoneout": (0.3, 0.4)}),
    "rnn-dropout": ("RNN", {"recurrent_dropout": 0.4}),
    "gru-before-zoneout": ("GRU", {"reset": "before", "zoneout": 0.3}),
    "gru-decay": ("GRU", {"decay": True}),
    "lstm-decay": ("LSTM", {"decay": True}),
    "leaky-dropout": ("LeakyRNN", {"rate": 0.3, "form": "inside", "recurrent_dropout": 0.4}),
}
WITHOUT_CELL = ("lstm-projected",)  # kinds whose cell is mutated as another one
ADJOINTS = ("adjoint", "gate_adjoint", "output_adjoint", "normalized_adjoint")
EQUIVALENT = {  # an LSTM's h reaches its gates by R alone: its adjoint does not read h, and that derivative is 0
    "lstm-zoneout": ("drop `dstate[0]`",),
    "lstm-decay": (
        "in `g * state[0]`", "drop `dstate[0] * state[0]`", "drop `state[0]` in `dstate[0] * state[0]`",
        "flip `g * dstate[0]`", "drop `g` in `g * dstate[0]`", "drop `dstate[0]` in `dstate[0] + g * doperand`",
    ),
}  # fmt: skip
SEEDS = (3, 4, 5)


def is_zero_times(node):
    """Whether an expression is written as zero times something."""
    return isinstance(node, ast.BinOp) and isinstance(node.left, ast.Constant) and node.left.value == 0


def negative(node):
    """The expression with the other sign."""
    return ast.BinOp(ast.Constant(0), ast.Sub(), node)


def term_edits(node):
    """(what was done, replacement) for each way to drop or flip a term of one sum or product."""
    left, right = node.left, node.right
    if isinstance(node.op, ast.Mult):
        first = [] if isinstance(left, ast.BinOp) and isinstance(left.op, ast.Mult) else [("drop", left, right)]
        return [*first, ("drop", right, left)]
    if isinstance(node.op, ast.Add):
        return [("drop", left, right), ("drop", right, left), ("flip", right, ast.BinOp(left, ast.Sub(), right))]
    return [("drop", left, negative(right)), ("drop", right, left), ("flip", right, ast.BinOp(left, ast.Add(), right))]


def leaves(node):
    """The expressions of a tuple, of tuples of them, or of neither."""
    return [leaf for part in node.elts for leaf in leaves(part)] if isinstance(node, ast.Tuple) else [node]


def is_a_tuple(node):
    """Whether an expression is what another cell returned: a tuple, which has no sign."""
    joined = isinstance(node, ast.BinOp) and isinstance(node.left, ast.Tuple)
    return joined or isinstance(node, ast.Call) or (isinstance(node, ast.Name) and node.id == "dpre")


def method_edits(method):
    """(what was done, part, node, replacement) for every mutation of one method; none is known to be equivalent."""
    for statement in method.body:
        if isinstance(statement, ast.Return):
            values = [value for value in leaves(statement.value) if not is_zero_times(value)]
            yield from (("flip", value, value, negative(value)) for value in values if not is_a_tuple(value))
            dstate = leaves(statement.value.elts[-1]) if isinstance(statement.value, ast.Tuple) else []
            yield from (("keep", zero.right, zero, zero.right) for zero in dstate if is_zero_times(zero))
        else:
            values = [statement.value]
        for node in (
            node for value in values for node in ast.walk(value) if isinstance(node, ast.BinOp) and not is_a_tuple(node)
        ):
            yield from ((what, part, node, replacement) for what, part, replacement in term_edits(node))


class Replace(ast.NodeTransformer):
    """Puts one expression in the place of another."""

    def __init__(self, node, replacement):
        self.node, self.replacement = node, replacement

    def visit(self, node):
        return self.replacement if node is self.node else self.generic_visit(node)


def edits_of(tree, name):
    """[(description, edited tree)] of a cell's adjoints, those it has from a class of the same file included."""
    edited = []
    for number in range(sys.maxsize):
        fresh = copy.deepcopy(tree)
        classes = {node.name: node for node in fresh.body if isinstance(node, ast.ClassDef)}
        body = [
            node
            for class_ in (classes[name], *(classes[b.id] for b in classes[name].bases if b.id in classes))
            for node in class_.body
        ]
        named = [node for node in body if isinstance(node, ast.FunctionDef) and node.name in ADJOINTS]
        own = list({node.name: node for node in reversed(named)}.values())  # not what a class overrides
        methods = [node for node in own if not all(isinstance(part, (ast.Expr, ast.Raise)) for part in node.body)]
        found = [(method, edit) for method in methods for edit in method_edits(method)]
        if number == len(found):
            return edited
        method, (what, part, node, replacement) = found[number]
        line = f"{method.name} {node.lineno - method.lineno}"
        description = f"{line}: {what} `{ast.unparse(part)}` in `{ast.unparse(node)}`"
        Replace(node, replacement).visit(method)
        edited.append((description, ast.fix_missing_locations(fresh)))


def cell_class(tree, name, number):
    """The class of an edited tree, from a module file of its own, under a name of its own."""
    tree = copy.deepcopy(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            node.module, node.level = f"numbarnn.cells.{node.module}", 0
        elif isinstance(node, ast.ClassDef) and node.name == name:
            node.name = f"{name}Mutant{number}"
        elif isinstance(node, ast.Name) and node.id == name:
            node.id = f"{name}Mutant{number}"
    module = f"mutant_{name.lower()}_{number}"
    (FOLDER / f"{module}.py").write_text(ast.unparse(tree))
    importlib.invalidate_caches()
    return getattr(importlib.import_module(module), f"{name}Mutant{number}")


@dataclass(frozen=True)
class WithCell:
    """A layer whose backward runs the adjoint of another cell."""

    layer: object
    cell: object

    def forward(self, *arguments, **options):
        return self.layer.forward(*arguments, **options)

    def backward(self, tape, *arguments, **options):
        plans = [kernels.plans for kernels in tape.stack]
        for kernels in tape.stack:
            kernels.plans = replace(kernels.plans, size=replace(kernels.size, cell=self.cell))
        try:
            return self.layer.backward(tape, *arguments, **options)
        finally:
            for kernels, own in zip(tape.stack, plans):
                kernels.plans = own


@dataclass(frozen=True)
class WithLoss:
    """A layer whose backward loses one part of its result."""

    layer: object
    lose: object

    def forward(self, *arguments, **options):
        return self.layer.forward(*arguments, **options)

    def backward(self, tape, *arguments, **options):
        gradients = self.layer.backward(tape, *arguments, **options)
        self.lose(gradients)[...] = 0
        return gradients


def caught(layer, subject):
    """Whether the property of test_gradients.py fails, for any seed and route."""
    from checks import ROUTES, check_gradients, routed
    from strategies import random_case, states_of

    routes = [route for route in ROUTES if route != "final c" or states_of(layer) == 2]
    for seed in SEEDS:
        masks = layer.draw(4, 2, 2, seed, "float64") if layer.random else None
        case = random_case(layer, 4, 2, 2, seed=seed, masks=masks)
        for route in routes:
            try:
                check_gradients(routed(case, route), subject)
            except AssertionError:
                return True
    return False


def layer_of(kind, **options):
    """A small layer of one kind; two units that are normalized would be 1 and -1, or close."""
    from strategies import KINDS, OTHER_KINDS

    import numbarnn as nr

    if kind in REGULARIZED:
        name, regularization = REGULARIZED[kind]
        return getattr(nr, name)(2, **regularization, **options)
    if kind.endswith("-normalized"):
        return KINDS[{"lstm": "lstm", "gru": "gru-after"}[kind.split("-")[0]]](3, normalized=True, **options)
    return (KINDS | OTHER_KINDS)[kind](3 if kind == "lstm-projected" else 2, **options)


def vars_of(cell):
    """The fields of a cell."""
    return {field.name: getattr(cell, field.name) for field in fields(cell)}


def cell_mutants(kind, name, file, every=1):
    """(description, caught) of every mutant of a cell, or of one in so many; the unchanged cell first."""
    tree = ast.parse((kernel_cache.package_folder() / "cells" / file).read_text())
    layer = layer_of(kind)
    whole = {"inner": layer.cell} if kind in REGULARIZED else vars_of(layer.cell)
    suffix = kind.replace("-", "_")
    for number, (description, edited) in enumerate([("unchanged", tree), *edits_of(tree, name)]):
        if number % every:
            continue
        if any(edit in description for edit in EQUIVALENT.get(kind, ())):
            continue
        cell = cell_class(edited, name, f"_{suffix}_{number}")(**whole)
        yield description, caught(layer, WithCell(layer, cell))


def lost_parts(layer):
    """(description, function of gradients to an array that is lost) for each part of what backward returns."""
    from checks import as_tuple
    from strategies import states_of

    for name in layer.init(2).names:
        yield f"lose d{name}", lambda gradients, name=name: gradients.params[name]
        if name.startswith("weight_hr"):
            yield f"lose the last channel of d{name}", lambda gradients, name=name: gradients.params[name][-1]
    yield "lose dx at the first step", lambda gradients: gradients.x[0]
    yield "lose dx of the last sequence", lambda gradients: gradients.x[:, -1]
    for m in range(states_of(layer)):
        yield f"lose d{'hc'[m]} of the initial state", lambda gradients, m=m: as_tuple(gradients.state)[m]


def loss_mutants(kind):
    """(description, caught) of every part of backward's result that is lost in turn."""
    layer = layer_of(kind, layers=2, bidirectional=True)
    for description, lose in lost_parts(layer):
        yield description, caught(layer, WithLoss(layer, lose))


def packing_mutants():
    """{description: (method of numbarnn.arrays.packing.Packing, its mutant)}; none reads or writes past an array."""
    from numbarnn.arrays.packing import Packing

    make, entering = Packing.__init__, Packing.entering

    def made(edit):
        def mutant(self, *arguments):
            make(self, *arguments)
            edit(self)

        return "__init__", mutant

    def early(self, direction):
        return np.arange(self.batch) + (self.table[self.length] if direction else 0)

    def late(self, direction):
        return np.arange(self.batch) + (self.batch if direction else self.table[self.length + 1])

    def backwards(self, first, end):
        runs, rows = entering(self, first, end)
        return runs[::-1], rows

    def swap(self):
        self.first, self.last = self.last, self.first

    def shorten(self):
        self.table[3:] -= np.arange(1, self.steps + 1)

    return {
        "the reverse direction starts a block early": ("initial_rows", early),
        "the forward direction ends a block late": ("final_rows", late),
        "pieces summed in the order of their lengths": ("summed", lambda self, a: np.add.reduceat(a, self._runs, axis=-2)),
        "runs enter a segment backwards": ("entering", backwards),
        "first and last pieces swapped": made(swap),
        "one row fewer at every step": made(shorten),
        "rows in the order of the sequences": made(lambda self: self.sequence.sort()),
        "every piece read from the first step on": made(lambda self: self.start.fill(0)),
    }


def ragged_caught(layer):
    """Whether the property of test_ragged.py and test_reset.py fails, for any seed and tape."""
    from checks import check_runs
    from strategies import random_case

    reset = np.zeros((7, 4), bool)
    reset[[2, 3, 4], [0, 0, 2]] = True
    for seed in SEEDS:
        case = random_case(layer, 7, 4, 2, seed=seed, lengths=np.array([5, 0, 7, 3]), reset=reset)
        for way in ({}, {"checkpoints": 2}):
            try:
                check_runs(case, **way)
            except (AssertionError, IndexError):
                return True
    return False


def ragged_mutants(kind):
    """(description, caught) of every mutant of what places the rows of ragged batches, unchanged first."""
    from strategies import KINDS

    from numbarnn.arrays.packing import Packing
    from numbarnn.cpu import sizes

    layer = KINDS[kind](2, layers=2, bidirectional=True)
    with patch.object(sizes, "BACKWARD_ROWS", 4):  # several segments
        yield "unchanged", ragged_caught(layer)
        for description, (name, mutant) in packing_mutants().items():
            with patch.object(Packing, name, mutant):
                yield description, ragged_caught(layer)


def slope_mutants():
    """{name: [(description, module, name in it, mutant)]} of the sums of an embedding's rows and of losses' slopes."""
    from numbarnn.arrays.indices import Groups
    from numbarnn.cpu import embedding
    from numbarnn.cpu import losses as of_rows
    from numbarnn.training import losses

    sum_rows, cross_entropy, terms = embedding.sum_rows, of_rows.cross_entropy, losses.BinaryCrossEntropy.terms

    def first_alone(source, groups, target, compact, accumulate=False):
        alone = Groups(groups.indices)
        sum_rows(np.ascontiguousarray(source[groups.order[groups.starts[:-1]]]), alone, target, compact, accumulate)

    def means(source, groups, target, compact, accumulate=False):
        sum_rows(source, groups, target, compact, accumulate)
        target[slice(None) if compact else groups.indices] /= np.diff(groups.starts)[:, None]

    def misplaced(source, groups, target, compact, accumulate=False):
        sum_rows(source, groups, target[: len(groups.indices)], True, accumulate)

    def unlabelled(logits, labels, scales, smoothing=None):
        values, others, gradient = cross_entropy(logits, labels, scales, smoothing)
        gradient[np.arange(len(labels)), labels] += scales * (labels >= 0)
        return values, others, gradient

    def unscaled(logits, labels, scales, smoothing=None):
        return cross_entropy(logits, labels, np.ones_like(scales), smoothing)

    def unsmoothed(logits, labels, scales, smoothing=None):
        values, others, _ = cross_entropy(logits, labels, scales, smoothing)
        return values, others, cross_entropy(logits, labels, scales)[2]

    def of_equal_classes(logits, labels, scales, smoothing=None):
        values, others, gradient = cross_entropy(logits, labels, scales, smoothing)
        rests, shares = smoothing
        return values, others, gradient + rests[:, None] * (shares - shares.mean())

    def upside_down(self, x, y):
        value, slope = terms(self, x, y)
        return value, -slope

    def without_target(self, x, y):
        value, slope = terms(self, x, y)
        return value, slope + y

    def missing_counted(self, prediction, target, weights=None, there=None):
        value, gradient = of_numbers(self, prediction, target, weights, there)
        return value, gradient * (1 - np.isnan(target).mean())

    def unweighted(self, prediction, target, weights=None, there=None):
        value, gradient = of_numbers(self, prediction, target, weights, there)
        return value, gradient if weights is None else of_numbers(self, prediction, target, None, there)[1]

    def slopes(loss, change):
        own = loss.terms

        def mutant(self, prediction, target):
            value, slope = own(self, prediction, target)
            return value, change(self, prediction, target, slope)

        return loss, "terms", mutant

    def one_level(self, q, y, slope):
        return slope + (1 - 2 * self.levels[0]) / len(self.levels) * (q < y[..., None])

    def deviation_of_log(self, p, y, slope):
        s = self._deviation(p[..., 1])[0]
        return np.stack([slope[..., 0], (1 - ((p[..., 0] - y) / s) ** 2) * np.exp(np.minimum(p[..., 1], 0)) / s], axis=-1)

    def mean_unscaled(self, p, y, slope):
        return np.stack([slope[..., 0] * self._deviation(p[..., 1])[0], slope[..., 1]], axis=-1)

    of_numbers = losses.numeric.NumberLoss.of_rows
    binary = losses.BinaryCrossEntropy
    return {
        "embedding": [
            ("the first place of an index alone", embedding, "sum_rows", first_alone),
            ("means in the place of sums", embedding, "sum_rows", means),
            ("sums in the order of the groups", embedding, "sum_rows", misplaced),
        ],
        "cross entropy": [
            ("the label's share left out", of_rows, "cross_entropy", unlabelled),
            ("not divided by the number of labels", of_rows, "cross_entropy", unscaled),
        ],
        "smoothed": [
            ("labels not smoothed", of_rows, "cross_entropy", unsmoothed),
            ("classes of equal weight", of_rows, "cross_entropy", of_equal_classes),
        ],
        "mse": [
            ("missing targets counted", losses.numeric.NumberLoss, "of_rows", missing_counted),
            ("weights left out", losses.numeric.NumberLoss, "of_rows", unweighted),
            ("half the slope", losses.MSE, "slope", lambda self, d: d),
        ],
        "huber": [("delta of 1", losses.Huber, "slope", lambda self, d: np.clip(d, -1, 1))],
        "quantile": [
            ("the levels the other way round", *slopes(losses.Quantile, lambda self, q, y, slope: slope[..., ::-1])),
            ("of the lowest level where it is below", *slopes(losses.Quantile, one_level)),
        ],
        "gaussian": [
            ("the mean's part not divided by the deviation", *slopes(losses.GaussianNLL, mean_unscaled)),
            ("the slope of another softplus", *slopes(losses.GaussianNLL, deviation_of_log)),
        ],
        "poisson": [("without the target", *slopes(losses.PoissonNLL, lambda self, p, y, slope: slope + y))],
        "nash_sutcliffe": [
            (
                "divided by the spread once",
                *slopes(losses.NashSutcliffe, lambda self, p, y, slope: slope * np.asarray(self.spread)),
            ),
        ],
        "binary": [
            ("the other sign", binary, "terms", upside_down),
            ("without the target", binary, "terms", without_target),
        ],
    }


def numbers_case(name, random):
    """(loss, prediction, target, options) of a loss of numbers: two targets, some of them missing, and weights."""
    import numbarnn as nr

    loss, channels = {
        "mse": (nr.MSE(missing="nan"), 1),
        "huber": (nr.Huber(0.5, missing="nan"), 1),
        "quantile": (nr.Quantile((0.1, 0.6), missing="nan"), 2),
        "gaussian": (nr.GaussianNLL(missing="nan"), 2),
        "poisson": (nr.PoissonNLL(missing="nan"), 1),
        "nash_sutcliffe": (nr.NashSutcliffe(missing="nan"), 1),
    }[name]
    target = np.abs(random.standard_normal((5, 3, 2)))
    target[random.random(target.shape) < 0.2] = np.nan
    return loss, random.standard_normal((5, 3, 2 * channels)), target, {"weights": random.random((5, 3))}


def slope_caught(name):
    """Whether the property of test_embedding.py, test_classification.py or test_forecast_losses.py fails, for any seed."""
    from checks import check_embedding, check_loss

    import numbarnn as nr

    for seed in SEEDS:
        random = np.random.default_rng(seed)
        try:
            if name == "embedding":
                check_embedding(nr.Embedding(9, 3), 8 - random.integers(0, 6, (5, 3)), seed)
            elif name in ("binary", "cross entropy", "smoothed"):
                channels = 1 if name == "binary" else 4
                loss = {
                    "cross entropy": nr.CrossEntropy(),
                    "smoothed": nr.CrossEntropy(class_weights=(1, 3, 0.5, 2), smoothing=0.2),
                    "binary": nr.BinaryCrossEntropy(),
                }[name]
                labels = random.integers(0, max(2, channels), (5, 3))
                check_loss(loss, random.standard_normal((5, 3, channels)), labels, seed)
            else:
                loss, prediction, target, options = numbers_case(name, random)
                check_loss(loss, prediction, target, seed, **options)
        except AssertionError:
            return True
    return False


def image_layers():
    """{kind: a small layer of images}."""
    import numbarnn as nr

    return {
        "convolution": nr.Conv2d(3, (2, 3), stride=(1, 2), padding=(1, 0), shape=(2, 5, 5)),
        "mean": nr.AvgPool2d(3, stride=2, padding=1, shape=(2, 7, 6)),
        "max": nr.MaxPool2d((2, 3), stride=2, shape=(2, 6, 7)),
    }


def image_mutants():
    """{kind: [(description, module, mutant of its `backward`)]} of what backward writes of images."""
    from numbarnn.cpu import convolution, pooling

    whole, pooled = convolution.backward, pooling.backward

    def edited(edit):
        """The convolution's backward, whose gradient of the weight, of the bias, and dL/dx are edited afterwards."""

        def mutant(windows, filters, parameters, x, dy, gradient, accumulate, dx):
            whole(windows, filters, parameters, x, dy, gradient, accumulate, dx)
            shape = filters, windows.channels, windows.rows, windows.columns
            count = filters * windows.depth
            edit(gradient[:count].reshape(shape), gradient[count:], dx.reshape(-1, *windows[:3]))

        return mutant

    def flipped(weight, bias, dx):
        weight[...] = weight[:, :, ::-1, ::-1].copy()

    def swapped(weight, bias, dx):
        weight[:, [0, 1]] = weight[:, [1, 0]]

    def shifted(weight, bias, dx):
        dx[...] = np.roll(dx, 1, axis=-1)

    def without_border(weight, bias, dx):
        dx[:, :, [0, -1]] = 0

    def of_pixels(weight, bias, dx):
        bias /= 18

    def last_image(windows, filters, parameters, x, dy, gradient, accumulate, dx):
        whole(windows, filters, parameters, x, dy, gradient, accumulate, dx)
        whole(windows, filters, parameters, x[..., -1:, :], dy[..., -1:, :], gradient, accumulate, None)

    def of_other_x(kind, windows, x, dy, dx):
        pooled(kind, windows, -x, dy, dx)

    def whole_sums(kind, windows, x, dy, dx):
        pooled(kind, windows, x, dy, dx)
        dx *= windows.rows * windows.columns

    def one_image(kind, windows, x, dy, dx):
        pooled(kind, windows, x, dy, dx)
        dx.reshape(-1, windows.size)[1:] = 0

    def as_means(kind, windows, x, dy, dx):
        pooled("mean", windows, x, dy, dx)

    edits = {
        "the filters the other way round": flipped,
        "two channels swapped": swapped,
        "dx a pixel further": shifted,
        "no dx in the rows at the border": without_border,
        "the bias divided by the pixels": of_pixels,
    }
    found = [(description, convolution, edited(edit)) for description, edit in edits.items()]
    return {
        "convolution": [*found, ("the last image alone", convolution, last_image)],
        "mean": [("not divided by the numbers", pooling, whole_sums), ("the first image alone", pooling, one_image)],
        "max": [("to the least number", pooling, of_other_x), ("to all numbers", pooling, as_means)],
    }


def image_caught(layer):
    """Whether the property of test_images.py fails, for any seed."""
    from checks import check_images

    for seed in SEEDS:
        x = np.random.default_rng(seed).standard_normal((4, int(np.prod(layer.shape))))
        try:
            check_images(layer, x, seed)
        except AssertionError:
            return True
    return False


def last_mutants():
    """[(description, name in layers.last, mutant)] of what becomes of the derivatives of both final outputs."""
    from numbarnn.layers import last

    put = last._put_ends

    def at_the_other_end(dx, packing, values, channels, first=False):
        put(dx, packing, values, channels, not first)

    def at_the_last_step(dx, packing, values, channels, first=False):
        put(dx, packing, values, channels, False)

    def forward_alone(dx, packing, values, channels, first=False):
        if not first:
            put(dx, packing, values, channels)

    return [
        ("each half at the other end", "_put_ends", at_the_other_end),
        ("both halves at the last step", "_put_ends", at_the_last_step),
        ("no derivative of the backward half", "_put_ends", forward_alone),
    ]


def last_caught():
    """Whether the property of test_last.py fails, for any seed, lengths or merge."""
    from checks import check_network

    import numbarnn as nr

    for seed in SEEDS:
        random = np.random.default_rng(seed)
        x, y = random.standard_normal((5, 3, 2)), random.standard_normal((3, 1))
        for merge, lengths in (("concat", None), ("sum", np.array([5, 0, 2]))):
            layers = [nr.GRU(3, bidirectional=True, merge=merge), nr.Last(), nr.Dense(1)]
            try:
                check_network(nr.Network(layers, channels=2, dtype="float64", seed=seed), x, y, lengths, seed)
            except AssertionError:
                return True
    return False


def pool_mutants():
    """{kind: [(description, what becomes of dL/dx afterwards)]}, (T, N, C), of sequences of so many steps."""

    def whole(dx, lengths):
        dx *= np.maximum(lengths, 1)[:, None]

    def later(dx, lengths):
        dx[...] = np.roll(dx, 1, axis=0)

    def one_channel(dx, lengths):
        dx[..., 1:] = 0

    def shared(dx, lengths):
        dx[...] = dx.sum(axis=0) / len(dx)

    return {
        "mean": [("not divided by the steps", whole), ("one channel alone", one_channel)],
        "max": [("a step later", later), ("to all steps", shared)],
    }


def pool_caught(kind, edit=None):
    """Whether the property of test_over_time.py fails, for any seed, with dL/dx edited."""
    from checks import check_pool

    import numbarnn as nr
    from numbarnn.layers.over_time import Pooled

    own = Pooled._backward

    def mutant(self, adjoint, need_x, fill):
        def wrong(dx):
            fill(dx)
            if edit is not None:
                edit(dx.tnc, self.lengths)

        return own(self, adjoint, need_x, wrong)

    with patch.object(Pooled, "_backward", mutant):
        for seed in SEEDS:
            try:
                check_pool(nr.Pool(kind), np.random.default_rng(seed).standard_normal((5, 3, 2)), seed=seed)
            except AssertionError:
                return True
    return False


def function_mutants():
    """[(description, what becomes of the arguments of a layer's adjoint)] of a network's backward."""

    def without_final(dy, need_x, gradient, accumulate, dfinal=None):
        return dy, need_x, gradient, accumulate, None

    def twice(dy, need_x, gradient, accumulate, dfinal=None):
        return dy, need_x, gradient, accumulate, None if dfinal is None else [2 * part for part in dfinal]

    def added(dy, need_x, gradient, accumulate, dfinal=None):
        gradient.flat[...] = 1
        return dy, need_x, gradient, True, dfinal

    return [
        ("no derivative of the final states", without_final),
        ("the derivative of the final states twice", twice),
        ("gradients added to what was there", added),
    ]


def function_caught(edit=None):
    """Whether the property of test_function.py fails, with the arguments of the layers' adjoints edited."""
    from checks import check_function

    import numbarnn as nr
    from numbarnn.layers.chain import Tape

    own = Tape.adjoint

    def mutant(self, *arguments):
        return own(self, *(arguments if edit is None else edit(*arguments)))

    net = nr.Network([nr.GRU(3), nr.LSTM(2), nr.Dense(2)], 2, "float64", seed=0)
    random = np.random.default_rng(1)
    state = random.standard_normal((1, 3, 3)), tuple(random.standard_normal((1, 3, 2)) for _ in range(2))
    with patch.object(Tape, "adjoint", mutant):
        try:
            check_function(net, random.standard_normal((4, 3, 2)), {}, state)
        except AssertionError:
            return True
    return False


def feedback_mutants():
    """[(description, place, name, mutant)] of the way back through outputs that were fed."""
    from numbarnn.cpu.feedback_adjoint import StepsBack
    from numbarnn.layers.fed import FedAdjoint

    made, own = StepsBack.made, FedAdjoint.__init__

    def lost(self):
        for adjoint in self.adjoints:
            adjoint.fill()

    def unforced(self):
        return self.dx

    def other_strengths(self, fed, dy, adjoints):
        fed._forcing, kept = 1 - fed._forcing, fed._forcing
        self._other = fed._forcing  # which must live as long as its address
        own(self, fed, dy, adjoints)
        fed._forcing = kept

    def a_step_before(self, kind, **values):
        values["dx"] -= self.packing.batch * values["channels"] * self.dtype.itemsize
        return made(self, kind, **values)

    return [
        ("nothing by way of the next input", FedAdjoint, "fill", lost),
        ("what is given matters as if all of it were", FedAdjoint, "given", unforced),
        ("strengths the other way round", FedAdjoint, "__init__", other_strengths),
        ("the derivative of the input a step before", StepsBack, "made", a_step_before),
    ]


def feedback_caught():
    """Whether the property of test_feedback.py fails."""
    from checks import check_function

    import numbarnn as nr

    random = np.random.default_rng(1)
    net = nr.Network([nr.GRU(3), nr.Dense(2)], 2, "float64", seed=0)
    feedback = nr.Feedback(random.random((5, 3, 2)))
    try:
        check_function(net, random.standard_normal((5, 3, 2)), {"feedback": feedback}, (random.standard_normal((1, 3, 3)),))
    except AssertionError:
        return True
    return False


def piece_mutants():
    """[(description, place, name, mutant)] of what a piece of a long sequence leaves to the next."""
    from numbarnn.layers.chain import Tape
    from numbarnn.layers.recurrence import Recurrence
    from numbarnn.training.samples import Samples

    start, final, own_start = Tape.start, Tape.final, Recurrence.start

    def without_cell(self):
        return [part if index == 0 else np.zeros_like(part) for index, part in enumerate(final(self))]

    def lowest_alone(self):
        found = final(self)
        for part in found:
            part[1:] = 0
        return found

    def never_afresh(self, initial):
        if initial is not None:
            start(self, initial)

    def learned(self, initial):
        own_start(self, initial)
        self.starts_learned = True

    return [
        ("states that are not carried", Tape, "start", lambda self, initial: start(self, None)),
        ("a cell state that is lost", Tape, "final", without_cell),
        ("the lowest of stacked layers alone", Tape, "final", lowest_alone),
        ("an epoch that goes on from the one before", Tape, "start", never_afresh),
        ("a gradient of the learned state in each piece", Recurrence, "start", learned),
        ("a short piece that counts as a whole one", Samples, "count_between", lambda self, chosen, begin, end: 1.0),
    ]


def piece_caught():
    """Whether the property of test_carry.py fails."""
    from test_carry import check_pieces

    for kind in ("stacked layers", "a learned state"):
        try:
            check_pieces(kind, 5)
        except AssertionError:
            return True
    return False


def tangent_mutants():
    """[(description, place, name, mutant)] of forward derivatives."""
    from numbarnn.cpu.tangent_launch import TangentPlans, Tangents
    from numbarnn.layers.connectivity import EffectiveWeights
    from numbarnn.layers.recurrence import Recurrence

    constants, packing, ends = TangentPlans._constants, Tangents._packing_record, Tangents._ends

    def without(group):
        return lambda self, *arguments: constants(self, *arguments) | {f"{group}.slots": 0}

    def swapped(self, m, vector, scratch):
        return packing(self, self.plans.count - 1 - m, vector, scratch)

    found = [
        (f"{what} left out", TangentPlans, "_constants", without(group))
        for what, group in (
            ("W dx", "input"),
            ("R dh", "recurrent"),
            ("R times the gated operand's tangent", "gated"),
            ("dW x", "dinput"),
            ("dR h", "drecurrent"),
            ("dR times the gated operand", "dgated"),
        )  # fmt: skip
    ]
    return [
        *found,
        ("directions of the parameters swapped", Tangents, "_packing_record", swapped),
        ("values of units that do not move", Recurrence, "_moved_unit_values", lambda self, tangents: None),
        ("an initial state that does not move", Recurrence, "_moved_start", lambda self, tangents: None),
        ("effective weights that move as the parameters do", EffectiveWeights, "moved", lambda self, dp: dp),
        ("the final states of both directions swapped", Tangents, "_ends", lambda self, *of: ends(self, *of)[:, ::-1]),
    ]


def tangent_caught():
    """Whether the property of test_tangents.py fails, for any layer."""
    from strategies import random_case
    from tangent_checks import check_transpose

    import numbarnn as nr
    from numbarnn.cpu import tangent_launch

    tangent_launch._make_plans.cache_clear()
    layers = [
        nr.LSTM(5, peepholes=True, bidirectional=True),
        nr.GRU(5, "before", connectivity=nr.Connectivity(signs=[1, -1, 1, -1, 1])),
        nr.GRU(3, learned_state=True),
    ]
    try:
        for layer in layers:
            check_transpose(random_case(layer, 4, 3, 2, with_state=not layer.learned_state))
    except AssertionError:
        return True
    finally:
        tangent_launch._make_plans.cache_clear()
    return False


def dynamics_mutants():
    """[(description, place, name, mutant)] of Jacobians, exponents and fixed points."""
    from numbarnn.cpu import step_jacobians
    from numbarnn.dynamics import FixedPoints, exponents, points
    from numbarnn.dynamics.maps import StateMap

    fields, weights, states, before = (
        step_jacobians.fields_of, StateMap._recurrent_weights, StateMap._vectors, StateMap._before,
    )  # fmt: skip
    group, sums = exponents._Group, exponents._Sums
    decompose, jacobians, add = group._decompose, group._jacobians, sums.add

    def without(name, less=None):
        def mutant(cell):
            found = fields(cell)
            return found | {name: found[name] - less if less else 0}

        return mutant

    def transposed(self, tape):
        found = weights(self, tape)
        return None if found is None else found.transpose(0, 2, 1)

    def later(rows, steps, batch):
        return before(rows[batch:], steps, batch)

    def twice(self, logs):
        add(self, logs)
        self._total += logs[-1] * (self._done == self._points[-1])
        self.history[-1] = self._total

    def by_real_parts(self):
        return (self.eigenvalues.real >= 1).sum(axis=1)

    return [
        ("R h left out", step_jacobians, "fields_of", without("recurrent_count")),
        ("R times the gated operand left out", step_jacobians, "fields_of", without("gated_count")),
        ("the slope of another number for that of the old state", step_jacobians, "fields_of", without("dpre", 1)),
        ("recurrent weights transposed", StateMap, "_recurrent_weights", transposed),
        ("h and c swapped", StateMap, "_vectors", lambda self, found: states(self, found[::-1])),
        ("Jacobians at the states after the steps", StateMap, "_before", staticmethod(later)),
        ("Jacobians transposed", group, "_jacobians", lambda self, *part: jacobians(self, *part).swapaxes(2, 3).copy()),
        (
            "windows without the tangents of those before",
            group, "_decompose", lambda self, windows, logs, composed: decompose(self, windows, logs, False),
        ),
        ("the last window counted twice", sums, "add", twice),
        ("stability by real parts", FixedPoints, "unstable", property(by_real_parts)),
        ("searches that end where the speed is small", points, "CLEARLY", 0.0),
        ("searches without bounds", points, "ROOM", 1e9),
    ]  # fmt: skip


def dynamics_caught():
    """Whether the properties of test_dynamics.py fail, for any layer."""
    import test_dynamics
    from dynamics_checks import check_exponents, check_spiral, transpose_error

    import numbarnn as nr

    layers = [nr.GRU(4, "before"), nr.LSTM(3, peepholes=True), nr.LSTM(3, peepholes=True, layers=2)]
    try:
        errors = [transpose_error(layer) for layer in layers]
        for every, count in ((1, None), (4, None), (4, 2)):
            check_exponents(layers[1], every, count)
        check_exponents(layers[2], 2)
        check_spiral(1.4)
        test_dynamics.test_a_fixed_point_comes_once("float32", 1e-8)
        test_dynamics.test_states_that_are_far_away_are_not_slow("uniform")
    except AssertionError:
        return True
    return max(errors) > 1e-13


def curvature_mutants():
    """[(description, place, name, mutant)] of products with Hessians and Gauss-Newton matrices."""
    import numbarnn as nr
    from numbarnn.network import Network
    from numbarnn.networks.passing import Passing
    from numbarnn.training.losses.numeric import NumberLoss
    from numbarnn.training.samples import Samples

    of, dual, back, which = Network._curvature_of, nr.Parameters._dual, Passing.back, Samples.sample_rows

    def other_rows(self, slopes, parts, rows=None):
        back(self, slopes, parts, rows and [each[::-1] for each in rows])

    return [
        ("a loss of half the curvature", nr.MSE, "bend", lambda self, d: d.dtype.type(1)),
        ("curvature outside of Huber's delta", nr.Huber, "bend", lambda self, d: np.ones_like(d)),
        ("no curvature of the loss", Network, "_curvature_of", lambda *args: 0 * of(*args)),
        ("its sign", Network, "_curvature_of", lambda *args: -of(*args)),
        ("what samples count", NumberLoss, "_counted_in_samples", lambda self, target, *rest: np.ones_like(target)),
        ("other samples' counts", Samples, "sample_rows", lambda self, batch: np.roll(which(self, batch), 1)),
        ("gradients of other rows", Passing, "back", other_rows),
        ("parameters that do not move", nr.Parameters, "_dual", lambda self, way: dual(self, 0 * way)),
    ]


def curvature_caught():
    """Whether the property of test_hvp.py or of test_curvature.py fails."""
    import test_curvature
    import test_hvp

    import numbarnn as nr

    net = test_hvp.network(nr.GRU(9), nr.Last(), nr.Dense(1))
    x, y = test_hvp.numbers(5, 4, 2), test_hvp.numbers(4, 1, seed=1)
    try:
        for loss in ("mse", nr.Huber(0.5)):
            test_hvp.check(net, x, y, loss)
        for loss in (nr.MSE(missing="nan"), nr.Huber(0.7)):
            test_curvature.test_curvature_of_losses_of_numbers(loss, True)
        for given in ("steps", "lengths"):
            test_curvature.test_sample_gradients_are_those_of_each_sample("mse", given)
        test_curvature.test_jacobian_is_the_slope_of_every_output("last", None)
    except AssertionError:
        return True
    return False


def second_mutants():
    """[(description, place, name, mutant)] of second derivatives of layers of images, and of graphs."""
    import numbarnn as nr
    from numbarnn.cpu import separate
    from numbarnn.graphs import jacobians
    from numbarnn.graphs.passage import Passage
    from numbarnn.layers.images import OverImagesAdjoint
    from numbarnn.networks.comparison import Comparison
    from numbarnn.networks.dual_numbers import Way
    from numbarnn.training.losses.numeric import NumberLoss

    fill, of, parts = OverImagesAdjoint.fill, Comparison._curvature_of, Way.parts
    counted, ones, make = NumberLoss._counted_in_samples, jacobians.ones_at, separate.Adjoint.__init__

    def other_steps(like, places, batch):
        return ones(like, [(k, *at) for (k, *_), (_, *at) in zip(places, places[::-1])], batch)

    def other_sequences(self, *work):
        make(self, *work)
        self._alone[:, 2] = self._alone[::-1, 2].copy()

    def still(self):
        fill(self)
        if self.dx is not None and self.dx.dtype.kind == "c":
            self.dx.array.imag = 0

    def half(self, described, dtype):
        value, tangent = parts(self, described, dtype)
        tangent.array[...] /= 2
        return value, tangent

    def left(self, loss):
        losses = self._found_loss(loss)
        return type(losses)(tuple((output, own, 1.0) for output, own, _ in losses.parts))

    return [
        ("derivatives of images that do not move", OverImagesAdjoint, "fill", still),
        ("no curvature of the losses", Comparison, "_curvature_of", lambda *args: 0 * of(*args)),
        ("half of how fast outputs move", Way, "parts", half),
        ("losses without their weights", nr.Graph, "_curved_loss", left),
        ("gradients of samples of shared layers", Passage, "separable", lambda self: True),
        ("gradients of other sequences", separate.Adjoint, "__init__", other_sequences),
        ("outputs of other steps", jacobians, "ones_at", other_steps),
        ("the share of a sample", NumberLoss, "_counted_in_samples", lambda *args: 2 * counted(*args)),
    ]


def second_caught():
    """Whether what is checked in test_hvp.py of images, or the properties of test_graph_curvature.py, fail."""
    import test_graph_curvature
    import test_hvp
    from graph_strategies import graph_case

    try:
        test_hvp.test_images_of_two_steps_before_a_recurrent_layer_of_different_lengths()
        for seed in range(6):
            case = graph_case(seed, "plain")
            if test_graph_curvature.second_error(case) > 1e-8:
                return True
            test_graph_curvature.check_sample_gradients(case)
        test_graph_curvature.test_gauss_newton_products_have_the_jacobians_in_them()
    except AssertionError:
        return True
    return False


def graph_mutants():
    """[(description, place, name, mutant)] of what lies between the nodes of a graph, on the way back."""
    from numbarnn.graphs import joining, passage

    own_total, own_states, own_static = joining.Total.__init__, joining.StateTotal.__init__, joining.StaticSlope.fill
    own_start, own_sources, own_adjoint = (
        passage.Return._to_start, passage.Return._to_sources, passage.Return.__init__,
    )  # fmt: skip

    def first_alone(self, value, parts):
        own_total(self, value, parts[:1])

    def one_state(self, parts):
        own_states(self, parts[:1])

    def last_step(self):
        own_static(self)
        self._rows[...] = self._dy.tnc[-1] if self._dy.packing.uniform else 0

    def unlinked(self, row, part, adjoint):
        if row.state is None:
            own_start(self, row, part, adjoint)

    def swapped(self, name, row, described):
        joined = self.passage.joined.get(name)
        if joined is not None:
            sizes = [own.stop - own.start for own in joined.channels]
            joined.channels = [slice(0, size) for size in sizes]
        own_sources(self, name, row, described)

    def overwritten(self, passage, dy, dstate, into, accumulate, need_x, zeros=False):
        copies = {}
        for name, row in passage.graph._rows.items():
            if isinstance(passage.graph.nodes[name].layers, str):
                for part in row.parts:
                    copies[part.index] = into[part.index].zeros()
        own_adjoint(self, passage, dy, dstate, [copies.get(i, p) for i, p in enumerate(into)], accumulate, need_x, zeros)

    return [
        ("one of several derivatives of a value", joining.Total, "__init__", first_alone),
        ("one of several derivatives of a final state", joining.StateTotal, "__init__", one_state),
        ("the derivative of what is repeated at one step", joining.StaticSlope, "fill", last_step),
        ("no derivative to the node that a state comes from", passage.Return, "_to_start", unlinked),
        ("the channels of another joined value", passage.Return, "_to_sources", swapped),
        ("no gradient of shared layers", passage.Return, "__init__", overwritten),
    ]


def graph_caught(seeds=range(24)):
    """Whether the property of test_graph.py fails on one of some generated graphs."""
    from checks import check_graph
    from graph_strategies import graph_case

    for seed in seeds:
        case = graph_case(seed, ("plain", "lengths")[seed % 2])
        try:
            check_graph(case.net, case.inputs, case.options, case.state)
        except AssertionError:
            return True
    return False


def graph_tangent_mutants():
    """[(description, place, name, mutant)] of what moves between the nodes of a graph, forward."""
    from numbarnn.graphs.motion import Motion

    own_read, own_start = Motion._read, Motion._start

    def afresh(self, row, part):
        return own_start(self, row, part) if row.state is None else None

    def of_one_layer(self, row, part):
        found = own_start(self, row, part)
        return None if found is None else [np.repeat(each[:, :1], each.shape[1], axis=1) for each in found]

    def first_alone(self, name, row, steps):
        kept, self.values = self.values, {**self.values, **dict.fromkeys(row.reads[1:])}
        found = own_read(self, name, row, steps)
        self.values = kept
        return found

    return [
        ("states that come from other nodes do not move", Motion, "_start", afresh),
        ("all stacked layers start as the first one", Motion, "_start", of_one_layer),
        ("of joined values the first one moves alone", Motion, "_read", first_alone),
    ]


def graph_tangent_caught(seeds=range(24)):
    """Whether the property of test_graph_derivatives.py fails on one of some generated graphs."""
    from graph_strategies import graph_case
    from tangent_checks import TRANSPOSE_ERROR, graph_transpose_error

    cases = (graph_case(seed, ("plain", "lengths")[seed % 2]) for seed in seeds)
    return any(graph_transpose_error(case) > TRANSPOSE_ERROR for case in cases)


def show(name, description, outcome):
    """One row of the table."""
    print(f"{name:<14} {description:<96} {outcome}", flush=True)


def main(every=1):
    if KERNELS.exists():
        shutil.copytree(KERNELS, FOLDER / "kernels", ignore=shutil.ignore_patterns("*.tmp.*"))  # drafts of other processes
    os.environ["NUMBA_CACHE_DIR"] = str(FOLDER / "kernels")
    sys.path.insert(0, str(FOLDER))
    outcomes, unchanged_passes = [], True
    show("cell", "mutation", "caught")
    for name, (file, kinds) in CELLS.items():
        for kind in kinds:
            (_, broken), *mutants = cell_mutants(kind, name, file, every)
            show(kind, "unchanged", "FAILS" if broken else "passes")
            unchanged_passes &= not broken
            for description, found in [*mutants, *loss_mutants(kind)]:
                show(kind, description, "yes" if found else "SURVIVED")
                outcomes.append(found)
    (_, broken), *mutants = ragged_mutants("lstm")
    show("ragged", "unchanged", "FAILS" if broken else "passes")
    unchanged_passes &= not broken
    for description, found in mutants:
        show("ragged", description, "yes" if found else "SURVIVED")
        outcomes.append(found)
    for name, mutants in slope_mutants().items():
        broken = slope_caught(name)
        show(name, "unchanged", "FAILS" if broken else "passes")
        unchanged_passes &= not broken
        for description, place, part, mutant in mutants:
            with patch.object(place, part, mutant):
                outcomes.append(slope_caught(name))
            show(name, description, "yes" if outcomes[-1] else "SURVIVED")
    for name, mutants in image_mutants().items():
        layer = image_layers()[name]
        broken = image_caught(layer)
        show(name, "unchanged", "FAILS" if broken else "passes")
        unchanged_passes &= not broken
        for description, place, mutant in mutants:
            with patch.object(place, "backward", mutant):
                outcomes.append(image_caught(layer))
            show(name, description, "yes" if outcomes[-1] else "SURVIVED")
    broken = last_caught()
    show("last", "unchanged", "FAILS" if broken else "passes")
    unchanged_passes &= not broken
    for description, part, mutant in last_mutants():
        with patch(f"numbarnn.layers.last.{part}", mutant):
            outcomes.append(last_caught())
        show("last", description, "yes" if outcomes[-1] else "SURVIVED")
    checked = [(f"pool {kind}", edits, functools.partial(pool_caught, kind)) for kind, edits in pool_mutants().items()]
    for name, edits, caught in (*checked, ("network", function_mutants(), function_caught)):
        broken = caught()
        show(name, "unchanged", "FAILS" if broken else "passes")
        unchanged_passes &= not broken
        for description, edit in edits:
            outcomes.append(caught(edit))
            show(name, description, "yes" if outcomes[-1] else "SURVIVED")
    for name, mutants, caught in (
        ("graph", graph_mutants(), graph_caught),
        ("graph tangents", graph_tangent_mutants(), graph_tangent_caught),
        ("pieces", piece_mutants(), piece_caught),
        ("feedback", feedback_mutants(), feedback_caught),
        ("tangents", tangent_mutants(), tangent_caught),
        ("dynamics", dynamics_mutants(), dynamics_caught),
        ("second derivatives", curvature_mutants(), curvature_caught),
        ("second derivatives of images and graphs", second_mutants(), second_caught),
    ):
        broken = caught()
        show(name, "unchanged", "FAILS" if broken else "passes")
        unchanged_passes &= not broken
        for description, place, part, mutant in mutants:
            with patch.object(place, part, mutant):
                outcomes.append(caught())
            show(name, description, "yes" if outcomes[-1] else "SURVIVED")
    for kind in WITHOUT_CELL:
        for description, found in loss_mutants(kind):
            show(kind, description, "yes" if found else "SURVIVED")
            outcomes.append(found)
    print(f"{len(outcomes)} mutants, {sum(outcomes)} caught")
    return 0 if unchanged_passes and all(outcomes) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1, help="of each cell's mutants one in so many")
    sys.exit(main(**vars(parser.parse_args())))
