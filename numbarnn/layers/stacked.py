"""What a recurrent layer is by its description: a cell in stacked layers, its parameters and states."""

import functools

import numpy as np

from ..arrays.descriptor import checked_array
from ..arrays.devices import expect_device, native
from ..cells import Cell, Clipped, DecayedCell, DecayedMemoryCell, activation, around, check
from ..errors import CellError, DTypeError, ShapeError
from ..parameters import Weight
from .decayed import DECAY, DecayedWeights, blocks_of
from .distributions import glorot_uniform, orthogonal, uniform
from .drawn_weights import fill_connected
from .normalized import fill_vector as fill_normalization
from .recurrence import INITIAL
from .regularization import Regularized


class Stacked(Regularized):
    """The part of a recurrent layer that says what its parameters and its states are."""

    takes_steps = True
    unit_parameter = None  # what the parameter is called that holds the cell's values of each unit
    projection = None  # channels of h in each direction, where they are not one a unit

    @property
    def cell(self) -> Cell:
        """The equations."""
        raise NotImplementedError

    @property
    def on_duals(self):
        return not self.cell.normalized_values

    @property
    def spread(self):
        """Whether kernels read other matrices than the parameters hold: `effective_weights`."""
        return self.decay

    @functools.cached_property
    def reads_parameters(self):
        """Whether kernels read the parameters as they are, where no mask drops a weight."""
        return not (self.constrained or self.spread)

    @functools.cached_property
    def stepping_cell(self):
        """The equations that kernels step with: the equations of the cell, and around them the decay of the state."""
        if not self.decay:
            return self.cell
        return around(DecayedCell if self.cell.states == 1 else DecayedMemoryCell, self.cell)

    @property
    def recurrent_matrix(self):
        """Whether there is a weight (H, G, H)."""
        return bool(self.cell.recurrent_slots or self.cell.gated_slots)

    @property
    def directions(self):
        """2 for a bidirectional layer, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def state_widths(self):
        """Channels of each state of the cell, in each direction."""
        return (self.projection or self.hidden, self.hidden)[: self.cell.states]

    def suffixes(self, layer):
        """What the parameters' names of one stacked layer end with, in each direction."""
        return (f"l{layer}", f"l{layer}_reverse")[: self.directions]

    def __post_init__(self):
        super().__post_init__()
        self._check_cell()
        self.check_regularization()
        self._check_use()
        if self.decay:
            self._check_decay()

    def _check_decay(self):
        """Raise ValueError for what does not go together with a decay of the state."""
        cell = self.cell
        if not cell.recurrent_slots or cell.gated_slots or cell.normalized_values or cell.projected:
            raise ValueError(f"decay: expected False, since there is none of a layer like {self!r}, got True")
        names = ("residual", "input_dropout", "weight_drop", "connectivity")
        for name, plain in zip(names, (False, 0, 0, None)):
            if getattr(self, name) != plain:
                raise ValueError(f"{name}: expected {plain} together with decay, got {getattr(self, name)!r}")

    def _check_use(self):
        """Raise ValueError for an option that would do nothing."""
        if self.layers == 1:
            if self.dropout:
                raise ValueError(
                    f"dropout: expected 0 with one layer, since it acts between stacked ones, got {self.dropout!r};"
                    " a Dropout after this layer acts on its outputs"
                )
            if self.residual:
                raise ValueError("residual: expected False with one layer, since the first has no residual, got True")
        if self.merge != "concat" and not self.bidirectional:
            raise ValueError(f"merge: expected 'concat' with one direction, got {self.merge!r} (bidirectional=True has two)")

    def _check_cell(self):
        """Raise unless kernels can be made of the cell, and layer and cell say the same."""
        cell, name = self.cell, type(self).__name__
        if not isinstance(cell, Cell):
            raise CellError(f"{name}.cell: expected an instance of a numbarnn.Cell, got {cell!r} ({type(cell).__name__})")
        check(cell)
        kind = type(cell).__name__
        if self.recurrent_matrix != bool(cell.recurrent_slots or cell.gated_slots):
            raise CellError(
                f"{name}.recurrent_matrix: expected {not self.recurrent_matrix}, like the slots of {kind}, got "
                f"{self.recurrent_matrix}"
            )
        if cell.projected != (self.projection is not None):
            raise CellError(f"{name}.projection: expected one where {kind} is projected, got {self.projection!r}")
        constants = type(self).unit_constants is not Stacked.unit_constants
        if cell.unit_values and not self.unit_parameters and not constants:
            raise CellError(
                f"{name}.unit_parameter: expected the name of the parameter that holds {', '.join(cell.unit_values)}, the "
                f"unit_values of {kind}, got None"
            )

    def _functions(self):
        """{field: Function} of the activation functions, which layer and cell call the same."""
        names = ("gate_activation", "activation", "output_activation")
        functions = {name: activation(getattr(self, name), name) for name in names if hasattr(self, name)}
        if self.clip is not None:  # limits the pre-activations of the gates; c is none
            clipped = {name: Clipped(f, self.clip) for name, f in functions.items() if name != "output_activation"}
            functions |= clipped
        return functions

    def weights(self, channels):
        if not self.decay:
            return self._weights(channels, self.cell)
        if channels < 2:
            raise ShapeError(f"channels: expected 2 or more, of which the last is the span of each step, got {channels}")
        suffixes = [suffix for layer in range(self.layers) for suffix in self.suffixes(layer)]
        decays = (Weight(f"{DECAY}_{suffix}", None, self.hidden) for suffix in suffixes)
        return (*self._weights(channels - 1, self.cell), *decays)

    def _span_channels(self, channels):
        return slice(channels - 1, channels) if self.decay else None

    def has_parameters(self, p):
        first = p.weights[0].inputs if p.weights else None
        return self.weights(first + 1) == p.weights if self.decay and first else super().has_parameters(p)

    def effective_weights(self, p, masks):
        if not self.decay:
            return super().effective_weights(p, masks)
        read = self._weights(p.weights[0].inputs, self.stepping_cell, self.directions)
        return DecayedWeights(p, read, blocks_of(p.weights, self.hidden, self.cell.gate_count * self.hidden))

    @functools.lru_cache(maxsize=1024)  # noqa: B019 (layers are small and equal ones share an entry)
    def _weights(self, channels, cell, spans=0):
        """The Weights of a cell, in the order of the flat vector.

        spans: input channels of each stacked layer besides the first one's and the outputs below.
        """
        parts, columns, widths = [], len(cell.gates) * self.hidden, self.state_widths
        for layer in range(self.layers):
            inputs = (channels if layer == 0 else self.output_channels(channels)) + spans
            for suffix in self.suffixes(layer):
                parts.append(Weight(f"weight_ih_{suffix}", inputs, columns))
                if self.recurrent_matrix:
                    parts.append(Weight(f"weight_hh_{suffix}", widths[0], columns))
                parts.append(Weight(f"bias_ih_{suffix}", None, columns))
                if self.recurrent_matrix:
                    parts.append(Weight(f"bias_hh_{suffix}", None, columns))
                if self.projection:
                    parts.append(Weight(f"weight_hr_{suffix}", self.hidden, self.projection))
                parts += [Weight(f"{name}_{suffix}", None, numbers) for name, _, numbers in self.unit_parameters]
                if self.learned_state:
                    parts += [Weight(f"{name}_{suffix}", None, width) for name, width in zip(INITIAL, widths)]
        return tuple(parts)

    def _unit_numbers(self):
        """Numbers in the parameter that holds the values of units."""
        return self.cell.unit_value_count * self.hidden

    @property
    def unit_parameters(self):
        """(name, which of the cell's values of each unit, numbers) of every parameter that holds some of them."""
        return ((self.unit_parameter, slice(None), self._unit_numbers()),) if self.unit_parameter else ()

    def vector_numbers(self):
        """Numbers of one direction's parameters in vectors that no kernel reads."""
        units = sum(numbers for _, _, numbers in self.unit_parameters)
        return units + (sum(self.state_widths) if self.learned_state else 0)

    def unit_constants(self):
        """The values of units where no parameter holds them: something that broadcasts to (V, H)."""
        raise NotImplementedError

    def write_unit_values(self, p, suffix, values):
        """Write the values of the units of one stacked layer and direction into a (V, H) array (is modified)."""
        for name, which, _ in self.unit_parameters:
            values[which] = p[f"{name}_{suffix}"].reshape(len(values[which]), -1)
        if not self.unit_parameters:
            values[...] = self.unit_constants()

    def output_channels(self, channels):
        return (self.directions if self.merge == "concat" else 1) * self.state_widths[0]

    def fill(self, parameters, random, scheme):
        hidden = self.hidden
        for name, view in parameters.items():
            if scheme == "pytorch":
                view[...] = uniform(random, view.shape, hidden)
            elif view.ndim == 2:
                draw = orthogonal if name.startswith("weight_hh") else glorot_uniform
                rows = self.projection if name.startswith("weight_hr") else hidden  # else of a gate
                for first in range(0, len(view), rows):
                    view[first : first + rows] = draw(random, (view.shape[1], rows)).T
            else:
                self.fill_vector(name, view, random)
            if name.startswith(INITIAL):
                view[...] = 0
            if name.startswith(DECAY) and scheme != "pytorch":  # below 0 nothing decays, and nothing is learned
                view[...] = np.abs(uniform(random, view.shape, hidden))
            fill_normalization(name, view)
            if self.connectivity is not None:
                fill_connected(self.connectivity, name, view, random, hidden)

    def fill_vector(self, name, view, random):
        """Write fresh values into a vector of parameters (modified), zeros as a rule: it is called with zeros."""

    def checked_state(self, argument, state, batch, dtype, device):
        """A list of (L, D, N, H) arrays, one for each state of the cell, or None."""
        if state is None:
            return None
        names = ("h", "c")[: self.cell.states]
        if self.cell.states == 1:
            state, names = (state,), ("",)
        elif not isinstance(state, (tuple, list)) or len(state) != 2:
            raise TypeError(f"{argument}: expected the pair (h, c), got {type(state).__name__}")
        result = []
        for name, array, width in zip(names, state, self.state_widths):
            shape = (self.layers * self.directions, batch, width)
            channels = "projection" if width == self.projection else "hidden"
            label = f"{argument} {name}".strip()
            array = checked_array(label, native(label, array))
            expect_device(label, array, device)
            if array.shape != shape:
                raise ShapeError(f"{label}: expected shape {shape} (layers * directions, N, {channels}), got {array.shape}")
            if array.dtype != dtype:
                raise DTypeError(f"{label}: expected {dtype} like the parameters, got {array.dtype}")
            result.append(array.reshape(self.layers, self.directions, batch, width))
        return result

    def as_state(self, stacked):
        """The state, (L * D, N, H) arrays, from several (D, N, H) for each state of the cell."""
        states = [*map(np.concatenate, stacked)]
        return states[0] if self.cell.states == 1 else tuple(states)
