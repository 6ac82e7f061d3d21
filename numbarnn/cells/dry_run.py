"""Whether a kernel can be made of a cell: what it declares, and its equations run once on symbols.

Each fault ends in one sentence that names the class, the method or the attribute, and the rule.
"""

import functools
import os
import re
import traceback
from dataclasses import is_dataclass
from types import FunctionType, MethodType

from ..descriptions.code import is_library_s
from ..descriptions.frozen import Frozen
from ..errors import CellError
from . import elementary
from .activations import Function
from .cell import Cell
from .constants import constant
from .symbols import RuleError, Symbol, Values

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
STATES = ("h", "c")
_sound = set()  # digests of what has been found sound


def check(owner):
    """Raise CellError unless a kernel can be made of a Cell or a Function of the user's; what is the library's is sound."""
    if is_library_s_alone(owner) or owner.fingerprint.digest in _sound:
        return
    inside = [value for value in vars(owner).values() if isinstance(value, (Cell, Function)) and value is not owner]
    for value in inside:
        check(value)
    if not is_library_s(type(owner)) or "value" in vars(owner):
        if isinstance(owner, Cell):
            check_declarations(owner)
            _run_cell(owner)
        else:
            _run_function(owner)
    _sound.add(owner.fingerprint.digest)


def _say(name, text):
    """A CellError in one line: what is wrong, after the name of the class or method."""
    return CellError(f"{name}: {' '.join(text.split())}")


# ------------------------------------------------------------------------------------------------ what a cell declares


def check_declarations(cell):
    """Raise CellError unless what a cell says of itself is complete and of one piece."""
    name = type(cell).__name__
    held = [part for part in vars(cell) if not isinstance(getattr(type(cell), part, None), functools.cached_property)]
    if held and not (is_dataclass(cell) and cell.__dataclass_params__.frozen):
        raise _say(name, "expected a frozen dataclass, @dataclass(frozen=True), since kernels are made for its values")
    for attribute in ("gates", "slots", "saved", "input_slots", "input_gates", "recurrent_slots", "recurrent_gates"):
        if not hasattr(cell, attribute):
            raise _say(name, f"{attribute}: expected this attribute of a cell, got none")
    for attribute in ("gates", "unit_values", "drives"):
        _check_names(cell, attribute)
    if not cell.gates:
        raise _say(f"{name}.gates", "expected at least one name, got ()")
    both = [value for value in cell.unit_values if value in cell.drives]
    if both:
        raise _say(f"{name}.drives", f"expected names that are not in unit_values, got {both[0]!r} in both")
    for attribute, least in (("slots", 1), ("saved", 0), ("states", 1)):
        value = getattr(cell, attribute)
        if type(value) is not int or value < least:
            raise _say(f"{name}.{attribute}", f"expected an integer >= {least}, got {value!r} ({type(value).__name__})")
    if cell.states > len(STATES):
        raise _say(f"{name}.states", f"expected 1 (h) or 2 (h and c), the most a kernel carries, got {cell.states}")
    if cell.normalized_values:
        return  # each slot then has one weight, and gates are terms
    fed = set()
    for kind in ("input", "recurrent", "gated"):
        fed |= _check_group(cell, kind)
    missing = sorted(set(range(cell.slots)) - fed)
    if missing:
        raise _say(
            f"{name}.slots", f"expected each of {cell.slots} slots among input_slots, recurrent_slots and gated_slots, but "
            f"slot {missing[0]} receives nothing",
        )  # fmt: skip
    repeated = set(cell.recurrent_gates) & set(cell.gated_gates)
    if repeated:
        raise _say(
            f"{name}.gated_gates", f"expected gates that are not among recurrent_gates, since each has one R, got "
            f"{min(repeated)} in both",
        )  # fmt: skip
    if not cell.input_slots:
        raise _say(f"{name}.input_slots", "expected at least one slot that receives W x, got ()")
    if cell.projected and (cell.states != 2 or cell.gated_slots):
        raise _say(f"{name}.projected", "expected False of a cell that has one state or gated_slots, got True")


def _check_names(cell, attribute):
    """Raise CellError unless an attribute of a cell is a tuple of different names."""
    values, where = getattr(cell, attribute), f"{type(cell).__name__}.{attribute}"
    if not isinstance(values, tuple) or not all(isinstance(value, str) and value for value in values):
        raise _say(where, f"expected a tuple of names, got {values!r} ({type(values).__name__})")
    for value in values:
        if values.count(value) > 1:
            raise _say(where, f"expected different names, got {value!r} twice")


def _check_group(cell, kind):
    """The slots that one weight feeds, if they and their gates are as they must be."""
    name = type(cell).__name__
    slots, gates = getattr(cell, f"{kind}_slots"), getattr(cell, f"{kind}_gates")
    for attribute, values in ((f"{kind}_slots", slots), (f"{kind}_gates", gates)):
        if not isinstance(values, tuple) or not all(type(value) is int for value in values):
            raise _say(f"{name}.{attribute}", f"expected a tuple of integers, got {values!r} ({type(values).__name__})")
    if slots and (slots[0] < 0 or slots[-1] >= cell.slots or slots != tuple(range(slots[0], slots[0] + len(slots)))):
        last = cell.slots - 1
        raise _say(f"{name}.{kind}_slots", f"expected consecutive slots from 0 to {last}, ascending, got {slots!r}")
    if len(gates) != len(slots):
        raise _say(f"{name}.{kind}_gates", f"expected as many as the {len(slots)} of {kind}_slots, got {gates!r}")
    if any(not 0 <= gate < len(cell.gates) for gate in gates):
        raise _say(f"{name}.{kind}_gates", f"expected places among the {len(cell.gates)} gates, from 0 on, got {gates!r}")
    if len(set(gates)) < len(gates):
        raise _say(f"{name}.{kind}_gates", f"expected each gate once, since it has one weight, got {gates!r}")
    return set(slots)


# ------------------------------------------------------------------------------------------------- equations on symbols


class OnlyCompiled(Exception):
    """The equations run something that is there only when they are compiled."""


class _Self:
    """What equations see of a cell or an activation function: its constants and its methods."""

    def __init__(self, owner, plain):
        vars(self).update(_owner=owner, _plain=plain)

    def __getattr__(self, name):
        owner = self._owner
        if isinstance(method := getattr(type(owner), name, None), FunctionType) and name not in vars(owner):
            found = next(vars(base)[name] for base in type(owner).__mro__ if name in vars(base))
            plain = self._plain(method)
            return plain if isinstance(found, staticmethod) else MethodType(plain, self)
        value = getattr(owner, name)
        if isinstance(value, (Cell, Function)):
            return _Self(value, self._plain)
        if isinstance(owner, Function) and name in ("value", "slope"):
            return self._plain(value)
        found = constant(value)
        if found is None:
            raise RuleError(
                f"self.{name} is a {type(value).__name__}, and equations read what is a constant in their kernel: numbers, "
                "tuples of numbers, activation functions and cells"
            )
        return found

    def __setattr__(self, name, value):
        raise RuleError(f"self.{name} cannot be set: what lasts from a step to the next is the state")


def equations(owner):
    """A cell or an activation function whose methods run on symbols, in Python."""
    return _Self(owner, Frozen(lambda f: f, lambda dispatcher, f: f))


def run_on_symbols(owner, name, *args):
    """(what errors call a method of a cell or an activation function, what it makes of symbols); else OnlyCompiled."""
    where = f"{_name_of(owner)}.{name}"
    try:
        return where, getattr(equations(owner), name)(*args)
    except Exception as error:
        if type(error).__module__.startswith("numba."):
            raise OnlyCompiled from None
        text = str(error) if isinstance(error, RuleError) else _described(error)
        raise _say(where, f"{text}{_line_of(error)}") from None


def _name_of(owner):
    """What errors call the owner of equations: a cell's class, or an activation function's name."""
    return f"ActivationFunction {owner.name!r}" if "value" in vars(owner) else type(owner).__name__


def _described(error):
    """An exception as text; one about `numbarnn.elementary` also says which functions that has."""
    text = f"{error} ({type(error).__name__})"
    if isinstance(error, AttributeError) and "elementary" in text:
        own = (name for name, value in vars(elementary).items() if getattr(value, "__module__", "") == elementary.__name__)
        names = sorted(own)
        text += f"; numbarnn.elementary has {', '.join(names)}"
    return text


def _line_of(error):
    """Where in the user's code an error came up."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(HERE)]
    if not frames:
        return ""
    source = f": {frames[-1].line}" if frames[-1].line else ""
    return f" (line {frames[-1].lineno} of {os.path.basename(frames[-1].filename)}{source})"


def _check_tuple(where, what, value, count, why):
    """Raise CellError unless a method has returned a tuple of so many values for `what`."""
    if not isinstance(value, tuple):
        raise _say(where, f"expected {what} to be a tuple, got {_kind(value)}")
    if len(value) != count:
        raise _say(where, f"expected {what} to have {count} values, {why}, got {len(value)}")
    for item in value:
        _check_value(where, f"each of {what}", item)


def _check_value(where, what, value):
    """Raise CellError unless a method has returned a value of each unit for `what`."""
    if not isinstance(value, Symbol):
        raise _say(
            where, f"expected {what} to be a value of each unit, got {_kind(value)}; numbarnn.elementary.full_like(x, "
            "number) makes one of a number",
        )  # fmt: skip


def _kind(value):
    """A plain number or None as it is written; the name of its class for anything else."""
    return repr(value) if isinstance(value, (int, float, type(None))) else f"a {type(value).__name__}"


def _pair(where, value, names):
    """The pair that a method has returned, or a CellError that says which pair was expected."""
    if not isinstance(value, tuple) or len(value) != 2:
        got = f"{len(value)} of them" if isinstance(value, tuple) else _kind(value)
        raise _say(where, f"expected {names} to be returned, a pair, got {got}")
    return value


def _run_cell(cell):
    """Run a cell's equations once."""
    slots = cell.terms if cell.normalized_values else cell.slots
    per_slot = f"one for each of {slots} {'terms' if cell.normalized_values else 'slots'}"
    per_state = f"one for each of {cell.states} states"
    pre = Values("pre", slots, per_slot)
    per_unit = Values("per_unit", cell.unit_value_count + cell.drive_count, "unit_values, then drives")
    state, new, dnew = (Values(name, cell.states, per_state) for name in ("state", "new", "dnew"))
    saved = Values("saved", cell.saved, "as the cell's attribute saved says")
    derivatives = slots + (0 if cell.normalized_values else cell.unit_value_count)
    if type(cell).forward is Cell.forward:
        raise _say(type(cell).__name__, "expected a method forward(self, pre, state, per_unit), got none")
    try:
        if cell.gated_slots:
            where, found = run_on_symbols(cell, "gate", pre, state, per_unit)
            values, operand = _pair(where, found, "pre and the operand")
            _check_tuple(where, "pre", values, slots, per_slot)
            _check_value(where, "the operand", operand)
        where, found = run_on_symbols(cell, "forward", pre, state, per_unit)
        values, kept = _pair(where, found, "the new state and what is saved")
        _check_tuple(where, "the new state", values, cell.states, per_state)
        _check_tuple(where, "what is saved", kept, cell.saved, "as the attribute saved says")
        if type(cell).adjoint is Cell.adjoint or not _has_slopes(cell):
            return
        why = "one for each of the slots, then of unit_values"
        where, found = run_on_symbols(cell, "adjoint", saved, state, new, dnew, per_unit)
        dpre, dstate = _pair(where, found, "dpre and dstate")
        _check_tuple(where, "dpre", dpre, derivatives, why)
        _check_tuple(where, "dstate", dstate, cell.states, per_state)
        if cell.gated_slots:
            where, found = run_on_symbols(
                cell, "gate_adjoint", saved, state, Symbol(), Values("dpre", derivatives, why),
                Values("dstate", cell.states, per_state), per_unit,
            )  # fmt: skip
            dpre, dstate = _pair(where, found, "dpre and dstate")
            _check_tuple(where, "dpre", dpre, derivatives, why)
            _check_tuple(where, "dstate", dstate, cell.states, per_state)
    except OnlyCompiled:
        return


def _has_slopes(cell):
    """Whether each activation function in a cell, and in the cells in it, has a slope."""
    inside = [value for value in cell.__getstate__().values() if isinstance(value, (Cell, Function))]
    return all(_has_slopes(value) if isinstance(value, Cell) else value.differentiable for value in inside)


def _run_function(function):
    """Run an activation function once, and its slope."""
    try:
        where, found = run_on_symbols(function, "value", Symbol())
        _check_value(where, "what is returned", found)
        if function.differentiable and (type(function).slope is not Function.slope):
            where, found = run_on_symbols(function, "slope", Symbol())
            _check_value(where, "what is returned", found)
    except OnlyCompiled:
        return


# ----------------------------------------------------------------------------------------------------- what Numba says


def is_library_s_alone(owner):
    """Whether neither an object with equations nor any in it is the user's."""
    inside = [value for value in vars(owner).values() if isinstance(value, (Cell, Function))]
    own = not is_library_s(type(owner)) or "value" in vars(owner)
    return not own and all(is_library_s_alone(value) for value in inside)


def explained(cell, text):
    """A CellError of one sentence, for a cell whose equations Numba cannot compile, from the pages that it writes."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    owner, name, line, file = _place(cell, re.findall(r'File "([^"]+)", line (\d+)', text))
    said = [part.strip() for part in text.splitlines()]
    beginnings = ("No implementation", "Untyped", "Unknown attr", "Cannot", "cannot", "Invalid", "Unsupported")
    telling = [part for part in said if part.startswith(beginnings)]
    reason = (telling or [part for part in said if part] or ["no reason given"])[-1 if telling else 0]
    where = f" (line {line} of {os.path.basename(file)})" if line else ""
    return _say(
        f"{_name_of(owner)}.{name}" if name else _name_of(owner),
        f"expected equations of operators, comparisons, abs and the functions of numbarnn.elementary, which Numba compiles, "
        f"but it says: {reason[:200]}{where}",
    )  # fmt: skip


def _place(cell, lines):
    """(object, method, line, file) of the innermost of some lines that is in the user's equations."""
    owners = [cell]
    for owner in owners:
        owners += [value for value in vars(owner).values() if isinstance(value, (Cell, Function))]
    for file, line in reversed(lines):
        for owner in owners:
            for name in ("forward", "adjoint", "gate", "gate_adjoint", "value", "slope"):
                method = vars(owner).get(name) or getattr(type(owner), name, None)
                code = getattr(getattr(method, "py_func", method), "__code__", None)
                if code is None or not (os.path.basename(code.co_filename) == os.path.basename(file)):
                    continue
                ends = max((end for *_, end in code.co_lines() if end), default=code.co_firstlineno)
                if code.co_firstlineno <= int(line) <= ends:
                    return owner, name, int(line), file
    owns = [owner for owner in owners if not is_library_s(type(owner)) or "value" in vars(owner)]
    return (owns or owners)[-1], "", 0, ""
