"""The sizes of one layer on one batch, as every backend counts them; a backend's own `Size` adds how it shares the work.

Axis letters: N batch, D directions, I input channels, H hidden units, P channels of h, T steps, G gates.
In a ragged batch N are its runs and T is the longest; S counts the rows at work at all steps together, T N if all are.
"""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..arrays.packing import Packing, Uniform
from ..cells import Cell


class Group(NamedTuple):
    """One weight, the run of slots that it feeds, and the parameters that it and its bias are."""

    name: str
    rows: int  # what the weight multiplies, counted: I, P or H
    columns: int  # for each gate
    slots: tuple[int, ...]
    gates: tuple[int, ...]  # that feed each of the slots
    weight: str
    bias: str | None


@dataclass(frozen=True)
class Size:
    """The sizes of one layer on one batch."""

    cell: Cell
    hidden: int
    directions: int
    packing: Uniform | Packing
    channels: int
    dtype: np.dtype
    vectors: int = 0  # numbers of a direction's parameters that no kernel reads, after the others
    projection: int | None = None  # P, for a cell whose h is projected

    @functools.cached_property
    def width(self):
        """P, channels of h: H where it is not projected."""
        return self.projection or self.hidden

    @functools.cached_property
    def widths(self):
        """Channels of each state of the cell."""
        return (self.width, self.hidden)[: self.cell.states]

    @functools.cached_property
    def steps(self):
        """T."""
        return self.packing.steps

    @functools.cached_property
    def batch(self):
        """N."""
        return self.packing.batch

    @functools.cached_property
    def rows(self):
        """S."""
        return self.packing.rows

    @functools.cached_property
    def gate_groups(self):
        """The runs of slots that the weights of the gates feed."""
        cell, hidden = self.cell, self.hidden
        return (
            Group("input", self.channels, hidden, cell.input_slots, cell.input_gates, "weight_ih", "bias_ih"),
            Group("recurrent", self.width, hidden, cell.recurrent_slots, cell.recurrent_gates, "weight_hh", "bias_hh"),
            Group("gated", hidden, hidden, cell.gated_slots, cell.gated_gates, "weight_hh", "bias_hh"),
        )

    @functools.cached_property
    def groups(self):
        """These, and the projection: a weight of one slot, or none."""
        projected = (0,) if self.cell.projected else ()
        return (*self.gate_groups, Group("projection", self.hidden, self.width, projected, projected, "weight_hr", None))

    @functools.cached_property
    def packed(self):
        """Numbers of all directions' weights and biases that lead to a slot, or project h."""
        gates = [(group, len(set(group.gates)) * group.columns) for group in self.groups if group.slots]
        return self.directions * sum(columns * (group.rows + (group.bias is not None)) for group, columns in gates)

    @functools.cached_property
    def parameters(self):
        """({name: where it starts}, numbers in all) of one direction's parameters."""
        columns = len(self.cell.gates) * self.hidden
        recurrent = self.width if self.cell.recurrent_slots or self.cell.gated_slots else 0
        sizes = {
            "weight_ih": self.channels * columns,
            "weight_hh": recurrent * columns,
            "bias_ih": columns,
            "bias_hh": columns if recurrent else 0,
            "weight_hr": self.hidden * self.width if self.cell.projected else 0,
        }
        starts, total = {}, 0
        for name, size in sizes.items():
            starts[name] = total
            total += size
        return starts, total + self.vectors
