"""What layers, losses and training call is there for each target: the same files, names, parameters and defaults."""

import dataclasses
import importlib
import inspect

import pytest

from numbarnn import cells
from numbarnn.engine.equations import CellType

NAMES = {  # what `numbarnn.arrays.devices.backend` is asked for
    "convolution": ("forward", "backward"),
    "elementwise": ("value", "times_slope"),
    "embedding": ("take_rows", "put_rows", "sum_rows"),
    "launch": ("run", "Adjoint", "Tape"),
    "losses": ("cross_entropy",),
    "memory": ("empty", "zeros", "asarray"),
    "optimizers": ("sgd", "rmsprop", "adam", "nadam", "norm"),
    "plans": ("Size",),
    "pooling": ("forward", "backward"),
    "threads": ("threads",),
    "unpack": ("unpack",),
}
TAPE = ("fill", "start", "restart", "let_go_of_y", "nbytes", "outputs", "cells", "reached", "final")


def both(module):
    """The module of each target."""
    return [getattr(importlib.import_module(f"numbarnn.{device}.backend"), module) for device in ("cpu", "cuda")]


def signature(value):
    """Parameters and defaults of a function, a class or a compiled kernel."""
    return inspect.signature(getattr(value, "py_func", value)).replace(return_annotation=inspect.Signature.empty)


@pytest.mark.parametrize("module, name", [(m, n) for m, names in NAMES.items() for n in names])
def test_names_parameters_and_defaults(module, name):
    cpu, cuda = (getattr(found, name) for found in both(module))
    if name != "Tape":
        assert [p.replace(annotation=p.empty) for p in signature(cuda).parameters.values()] == [
            p.replace(annotation=p.empty) for p in signature(cpu).parameters.values()
        ]


def test_a_size_has_the_same_fields():
    cpu, cuda = ([(f.name, f.default) for f in dataclasses.fields(plans.Size)] for plans in both("plans"))
    assert cuda == cpu


@pytest.mark.parametrize("name", TAPE)
def test_a_tape_answers_the_same(name):
    cpu, cuda = (getattr(launch.Tape, name) for launch in both("launch"))
    assert isinstance(cuda, property) == isinstance(cpu, property)
    if not isinstance(cpu, property):
        assert list(signature(cuda).parameters) == list(signature(cpu).parameters)


@pytest.mark.parametrize("cell", [cells.LSTMCell(), cells.GRUBeforeCell()], ids=repr)
def test_the_equations_are_those_of_cells(cell):
    for name in ("forward", "adjoint", "gate", "gate_adjoint"):
        assert CellType(cell).method(name, lambda function: function) is getattr(type(cell), name)
