"""What a layer's tape and its adjoint do with states, whatever backend they are on.

Axis letters: N batch (of a ragged batch its runs), D directions, P channels of h, H hidden units.
"""

import numpy as np


class StateTape:
    """The states that one layer's forward starts from, goes through and ends in; a backend's `Tape` adds how it is run.

    Attributes
    ----------
    size : Size
    packing : Uniform or Packing
    h, c : arrays
        (rows, D, P or H): a block of rows for each step and one at either end, or N rows where a state has no other.
    zero_start : numpy.ndarray or None
        One number, which kernels read: 1 where the initial state is zeros that nobody gave; None where none do.
    """

    zero_start = None
    separates_unit_values = False  # whether a backend's `separate` has those of each sequence, too

    @property
    def separable(self):
        """Whether backward can have a gradient of each sequence, which is one row: see a backend's `separate`."""
        cell, packing = self.size.cell, self.packing
        plain = cell.feeds_every_gate and (self.separates_unit_values or not cell.unit_value_count)
        return plain and packing.batch == packing.sequences and self.keep.gates and packing.rows > 0

    @property
    def _states(self):
        """The array of each state that is carried from step to step."""
        return (self.h, self.c)[: self.size.cell.states]

    def start(self, initial):
        """Set the initial state: (D, sequences, P or H) for each state of the cell, a function that returns it, or None."""
        self._initial = initial if callable(initial) else None
        self.initial = initial = initial() if callable(initial) else initial
        for d in range(self.size.directions):
            rows = self.packing.initial_rows(d)
            for m, array in enumerate(self._states):
                here = rows if len(array) > self.size.batch else slice(None)
                array[:, d][here] = 0 if initial is None else initial[m][d][self.packing.sequence]
        if self.zero_start is not None:
            self.zero_start[0] = initial is None

    def restart(self, sequences):
        """Set the state of some sequences of a stream, their indices, to what it was at first."""
        for m, array in enumerate(self._states):
            array[: self.size.batch, 0][sequences] = 0 if self._origin is None else self._origin[m][0][sequences]

    def reached(self, m):
        """State m after a step of a stream, (1, N, P or H): h is carried to row 0, c is kept in place."""
        return (self.h, self.c)[m][: self.size.batch].swapaxes(0, 1)

    def final(self):
        """The states after the last step of each direction: (D, sequences, P or H) of each of them."""
        found = self.final_parts()
        return found[0] if len(found) == 1 else [*map(np.concatenate, zip(*found))]

    def final_parts(self):
        """For each direction a list of (1, sequences, P or H), one for each state: views for a uniform batch."""
        found = []
        for direction, run in enumerate((self.packing.last, self.packing.first)[: self.size.directions]):
            states = self._rows_of(direction, self.packing.final_rows(direction))
            found.append([state[run][None] for state in states])
        return found

    def initial_parts(self):
        """For each direction a list of (N, P or H), one for each initial state, of a uniform batch: views."""
        return [self._rows_of(d, self.packing.initial_rows(d)) for d in range(self.size.directions)]

    def _rows_of(self, direction, rows):
        """Some rows of a direction's h; of each other state likewise, or all where it has no more than a step's."""
        return [array[:, direction][rows if len(array) > self.size.batch else slice(None)] for array in self._states]


class StateAdjoint:
    """The derivatives that one layer's backward starts from; a backend's `Adjoint` adds how it is run."""

    def __init__(self, tape, dy, dfinal, gradient, accumulate, dcells):
        self.tape, self.dy, self.dcells, self.dfinal = tape, dy, dcells, dfinal
        self.gradient, self.accumulate = gradient, accumulate
        self.reads_initial = True  # whether anybody reads the derivatives of the initial states

    def _start(self, dstates):
        """Write dL/d(final state), where it is given, to the (D, N, P or H) of each state: to the run that ends there."""
        packing = self.tape.packing
        for dstate, given in zip(dstates, self.dfinal or ()):
            for d, run in zip(range(len(dstate)), (packing.last, packing.first)):
                dstate[d][run] = given[d]

    def _clear_gradient(self):
        """No step, no gradient."""
        size = self.tape.size
        if size.cell.unit_values:
            self.dunit_values.fill(0)
        if not self.accumulate:
            self.gradient[: size.directions * size.parameters[1]] = 0


class StateTangents:
    """Tangents of what one layer's forward returned, several at once; a backend's `Tangents` adds how they are computed.

    Parameters
    ----------
    tape : StateTape
    count : int
        Tangents M.
    vectors : list of arrays or None
        For each the tangent of the parameter vector, from this layer's part on; None for zeros.
    dx : list of TensorDescriptor or None
        (T, N, I) for each, I being its channels; None for zeros.
    dinitial : list of arrays or None
        (M, D, sequences, P or H) for each state of the cell; None for zeros.
    unit_values : callable, optional
        Writes the tangents of what the cell takes for each unit, V values, into an array (M, D, V, H).

    Attributes
    ----------
    dy : list of TensorDescriptor
        (T, N, D * P) for each.
    dfinal : list of arrays
        (M, D, sequences, P or H) for each state of the cell.
    """

    def _starts(self, tape, count, dinitial, zeros):
        """The tangents (M, D, N, P or H) of each state that the runs start from; zeros: of a shape and a dtype."""
        size, packing = tape.size, tape.packing
        states = [zeros((count, size.directions, packing.batch, width), size.dtype) for width in size.widths]
        for state, given in zip(states, dinitial or ()):
            state[...] = given[:, :, packing.sequence]
        return states

    def _ends(self, packing, state):
        """A state's tangents at the end of each sequence: of its run that ends there."""
        runs = packing.last, packing.first
        return np.stack([state[:, d][:, runs[d]] for d in range(state.shape[1])], axis=1)
