"""The sizes of one layer on one batch on the CPU: how its work is shared, and the buffers that it takes.

Axis letters: T steps, N batch, D directions, I input channels, H hidden units, P channels of h, V values of a unit.
In a ragged batch N are its runs and T is the longest; S counts the rows at work at all steps together, T N if all are.
"""

import functools

import numpy as np

from ..engine import sizes
from . import routines
from .blocks import block_vectors, packed_size, spread, transposed_size, vectors_in
from .pool import share, share_parts
from .product import MAX_VECTORS
from .regions import of_part, take_parts
from .threads import shares, sharing, threads_for
from .vectors import lanes_of

FORWARD_ROWS = 96  # rows of pre-activations computed ahead of the loop over time: they stay in the L2 cache


BACKWARD_ROWS = 512  # rows of derivatives between two sums of the weight gradients


FACTOR_BYTES = 1 << 18  # of what a weight multiplied that stay in the L2 cache while the derivatives of all units pass by


LEAST_COLUMNS = 48  # with fewer, the derivatives would pass by too often


def backward_chunk(packing):
    """Steps between two sums of the weight gradients, see `Size.backward_chunk`."""
    steps = max(BACKWARD_ROWS // packing.batch, BACKWARD_ROWS * packing.steps // (2 * max(1, packing.rows)))
    return max(1, min(packing.steps, steps))


class Size(sizes.Size):
    """The sizes of one layer on one batch, and of the buffers that it takes."""

    @functools.cached_property
    def padded(self):
        """Hidden units, rounded up to whole vectors."""
        return vectors_in(self.hidden, self.dtype) * lanes_of(self.dtype)

    def spread(self, channels):
        """Numbers in a row of derivatives of a state of so many channels."""
        return spread(vectors_in(channels, self.dtype)) * lanes_of(self.dtype)

    @functools.cached_property
    def dstates(self):
        """([(shape, offset, strides)] of the derivatives of each state, in a block of memory; bytes of the block)."""
        places, end, item = [], 0, self.dtype.itemsize
        for width in self.widths:
            row = self.spread(width) * item
            places.append(((self.directions, self.batch, width), end, (self.batch * row, row, item)))
            end += self.directions * self.batch * row
        return places, end

    @functools.cached_property
    def threads(self):
        """Threads that pay for this size, of those that there are now."""
        return threads_for(self.products)

    @functools.cached_property
    def numbers(self):
        """What each row is multiplied with, of each direction."""
        return sum(group.rows * group.columns * len(group.slots) for group in self.groups)

    @functools.cached_property
    def products(self):
        """Multiplications of numbers by parameters."""
        return self.packing.rows * self.directions * self.numbers

    @property
    def parts(self):
        """Into how many parts the work of each direction is split, so that every thread has one."""
        return -(-self.threads // self.directions)

    @functools.cached_property
    def shares(self):
        """(parts of the batch, parts of the hidden units) of each direction, for these threads."""
        slots = len(self.cell.recurrent_slots) + len(self.cell.gated_slots)
        weight_bytes = packed_size(self.hidden, self.hidden, slots, self.dtype) * self.dtype.itemsize
        panels = -(-self.padded // (MAX_VECTORS * lanes_of(self.dtype)))
        if self.cell.projected or self.cell.normalized_values:
            panels = 1  # a step needs all units, for the channels of h or for sums: these stay together
        return shares(self.threads, self.batch, self.directions, panels, weight_bytes)

    @property
    def forward_chunk(self):
        """Steps of input products computed ahead."""
        tasks, _ = self.shares
        return max(1, min(self.steps, FORWARD_ROWS // -(-self.batch // tasks)))

    @functools.cached_property
    def backward_chunk(self):
        """Steps between two sums of the weight gradients: more where there is little to do at most steps."""
        return backward_chunk(self.packing)

    @functools.cached_property
    def chunk_rows(self):
        """Rows of so many steps; where a row is read as a whole, an odd number, so that its blocks spread over a cache."""
        rows = self.packing.most_rows(self.backward_chunk)
        return rows | 1 if self.cell.normalized_values else rows

    @functools.cached_property
    def factor_columns(self):
        """Columns, at most, of what a weight multiplied that meet the derivatives together, see FACTOR_BYTES."""
        most = max(LEAST_COLUMNS, FACTOR_BYTES // (max(1, self.chunk_rows) * self.dtype.itemsize))  # none may be at work
        return min(most, -(-max(self.channels, self.hidden) // self.parts))

    def weights(self, bias_slots):
        """{field: numbers} of the weights and the bias in blocks, all directions, or of their gradients."""
        sizes = {
            f"{group.name}.weight": self.directions * packed_size(group.rows, group.columns, len(group.slots), self.dtype)
            for group in self.groups
        }
        return {**sizes, "bias": self.directions * packed_size(1, self.hidden, bias_slots, self.dtype)}

    def gradients(self):
        """{field: numbers} of the gradients of the weights and of the bias in blocks."""
        return self.weights(self.cell.dpre_count)

    def transposed(self):
        """{field: numbers} of the transposed weights."""
        return {
            f"{group.name}.transposed": self.directions
            * transposed_size(group.rows, group.columns, len(group.slots), self.dtype)
            for group in self.groups
        }

    def states(self, h_rows, c_rows):
        """{field: numbers} of h and c."""
        c = c_rows * self.directions * self.hidden if self.cell.states > 1 else 0
        return {"h": h_rows * self.directions * self.width, "c": c}

    def gates(self, rows):
        """{field: numbers} of what backward needs of each of `rows` besides the states."""
        return {
            "operand": rows * self.directions * self.hidden if self.cell.gated_slots or self.cell.projected else 0,
            "saved": self.directions * rows * self.padded * self.cell.saved,
            "normalized": self.directions * rows * self.padded * self.cell.normalized_values,
            "deviations": self.directions * rows * self.cell.deviations,
        }

    @property
    def saved_block(self):
        """Vectors of units in a block of what the cell saves."""
        return 1 if self.cell.normalized_values else block_vectors(self.cell.slots)

    def unit_values(self):
        """Numbers of what the cell takes for each unit."""
        return self.directions * self.cell.unit_value_count * self.padded

    def forward_scratch(self):
        """{field: numbers} of what a forward call needs for itself."""
        tasks, splits = self.shares
        rows = self.directions * self.batch * self.forward_chunk
        in_place = self.forward_chunk == 1 and self.packing.uniform
        inputs = 0 if in_place else rows * splits * self.channels
        projected = self.directions * self.batch * self._padded_width if self.cell.projected else 0
        return {
            "inputs": inputs,
            "pre": rows * self.padded * self.cell.slots,
            "projected": projected,
            "claims": self._claims(),
        }

    def _claims(self):
        """Numbers that take as much room as `regions.take_parts` needs."""
        tasks, splits = self.shares
        return of_part(tasks * splits * self.directions) // self.dtype.itemsize if splits > 1 else 0

    @property
    def _padded_width(self):
        return vectors_in(self.width, self.dtype) * lanes_of(self.dtype)

    def backward_scratch(self, need_x):
        """{field: numbers} of what backward needs for itself, the gradients in blocks included."""
        rows = self.directions * self.chunk_rows
        owners = self.parts
        columns, vector = vectors_in(self.factor_columns, self.dtype), lanes_of(self.dtype)
        return {
            **self.gradients(),
            "doperand": self.directions * self.batch * self.spread(self.hidden),
            "dpre": rows * self.padded * self.cell.dpre_count,
            "factors": rows * owners * spread(columns) * vector,
            "dprojected": rows * self._padded_width if self.cell.projected else 0,
            "outputs": rows * self.width,
            "cell_outputs": rows * self.hidden if self.cell.states > 1 else 0,
            "dinputs": rows * spread(vectors_in(self.channels, self.dtype)) * vector if need_x else 0,
            "claims": self._claims(),
        }

    def constants(self, names):
        """The fields of a record that are neither addresses of buffers nor the caller's.

        names: of the routines that are called.
        """
        places, direction = self.parameters
        tasks, splits = self.shares
        values = {
            "steps": self.steps,
            "total": self.steps,
            "batch": self.batch,
            "table": self.packing.table_address,
            "unit_value_count": self.cell.unit_value_count,
            "channels": self.channels,
            "hidden": self.hidden,
            "width": self.width,
            "item": self.dtype.itemsize,
            "directions": self.directions,
            "work.share": share.address,
            "work.pool": sharing(self.threads),
            "work.share_parts": share_parts.address if splits > 1 else 0,
            "work.take": take_parts.address if splits > 1 else 0,
            "work.threads": self.threads,
            "work.phases": 2 if self.cell.gated_slots else 1,
            "gates": len(self.cell.gates),
            "per_block": block_vectors(self.cell.slots),
            "tasks": tasks,
            "splits": splits,
            "parts": self.parts,
            "direction_stride": direction * self.dtype.itemsize,
            "whole": 1,
            "zeros": _zeros(self.dtype).ctypes.data,
        }
        for group in self.groups:
            values |= {
                f"{group.name}.rows": group.rows,
                f"{group.name}.first": group.slots[0] if group.slots else 0,
                f"{group.name}.bias_slot": self.cell.bias_slot(group.slots[0]) if group.slots and group.bias else 0,
                f"{group.name}.slots": len(group.slots),
                f"{group.name}.gates": _gate_table(group.gates).ctypes.data,
                f"{group.name}.parameter": self.dtype.itemsize * places[group.weight],
                f"{group.name}.bias": self.dtype.itemsize * places[group.bias] if group.bias else 0,
            }
        for name in names:
            values[f"routines.{name}"] = routines.ROUTINES[name].address(self.dtype)
        return values


@functools.cache
def _gate_table(gates):
    return np.array(gates, np.int64)


@functools.cache
def _zeros(dtype):
    return np.zeros(lanes_of(dtype), dtype)
