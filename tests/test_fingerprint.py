"""What a kernel is made of is in its key, by value; what cannot be seen is not kept on disk."""

import array
import collections
import enum
import functools
import math
import pickle
import sys
import threading
import types
from dataclasses import dataclass, replace

import numba
import numpy as np
import pytest
from processes import run

import numbarnn as nr
import numbarnn.cpu.types  # gives cells their Numba type
from numbarnn.cells import Function, LSTMCell, PerturbedCell, around
from numbarnn.descriptions.fingerprint import fingerprint
from numbarnn.descriptions.frozen import Frozen
from numbarnn.engine.disk_cache import keepable

el = nr.elementary


def value_of(spec, x=0.5):
    """What a compiled layer makes of one number, in float64."""
    layer = nr.Activation(spec)
    return layer(layer.init(channels=1, dtype="float64"), np.full((1, 1), x))[0, 0]


def made(source, **names):
    """The function f that a program defines, without a file, among other names."""
    namespace = {"el": el, "nr": nr, "np": np, "math": math, "numba": numba, "functools": functools} | names
    exec(source, namespace)
    return namespace["f"]


def module(**attributes):
    """A module of the user's."""
    created = types.ModuleType("consts")
    vars(created).update(attributes)
    return created


class Pair(collections.namedtuple("Pair", "a b")):
    """A named tuple with a method."""

    def total(self):
        return self.a + self.b


class Colour(enum.Enum):
    RED = 1


@dataclass(frozen=True)
class Rates:
    tau: float
    name: str = "rates"


class Slotted:
    __slots__ = ("a", "_b")

    def __init__(self, a, b):
        self.a, self._b = a, b


class Scaled:
    """A callable object."""

    def __init__(self, scale):
        self.scale = scale

    def __call__(self, x):
        return x * self.scale

    def half(self, x):
        return x * self.scale / 2


def scaled(x, scale):
    return x * scale


def outer(a):
    """A function that closes over another that closes over a."""

    def inner(x):
        return x * a

    return lambda x: inner(x) + 1


def with_inner(number):
    """A function with a constant in a function inside it."""
    return made(f"def f(x):\n    g = lambda y: y * {number!r}\n    return g(x)")


def recursive(number):
    """Two functions that call each other."""
    return made(f"def f(x): return g(x) if x else {number}\ndef g(x): return f(x - 1)")


def compiled(source="x * 2.0", **options):
    """A function that Numba compiles, with options."""
    return numba.njit(**options)(made(f"def f(x): return {source}"))


def circle(number):
    """A list that is in itself."""
    found = [number]
    found.append(found)
    return found


def ring(number):
    """A dict that is in itself."""
    found = {"number": number}
    found["self"] = found
    return found


def object_array(number):
    return np.array([number, None], object)


GLOBAL = "def f(x): return el.tanh(x) * G"
ATTRIBUTE = "def f(x): return el.tanh(x) * consts.A"
CALLED = "def f(x): return helper.g(x)"
OTHERS = {  # what must be told apart
    "byte code": (lambda: (lambda x: x + 1), lambda: (lambda x: x - 1)),
    "a constant": (lambda: (lambda x: x + 1), lambda: (lambda x: x + 2)),
    "signs of zero": (lambda: 0.0, lambda: -0.0),
    "int and float": (lambda: 1, lambda: 1.0),
    "int and bool": (lambda: 1, lambda: True),
    "an integer in code": (lambda: made("def f(x): return x * 1"), lambda: made("def f(x): return x * 1.0")),
    "a sign of zero in code": (lambda: made("def f(x): return x + 0.0"), lambda: made("def f(x): return x + -0.0")),
    "the ninth digit": (lambda: 1 / 3, lambda: 1 / 3 + 1e-10),
    "scalars of two dtypes": (lambda: np.float32(1), lambda: np.float64(1)),
    "a scalar and a float": (lambda: np.float64(1), lambda: 1.0),
    "an entry of a long array": (lambda: np.zeros(5000), lambda: np.r_[np.zeros(4999), 1e-300]),
    "shapes": (lambda: np.zeros((2, 3)), lambda: np.zeros((3, 2))),
    "dtypes": (lambda: np.zeros(2, "i4"), lambda: np.zeros(2, "u4")),
    "orders": (lambda: np.zeros((2, 2)), lambda: np.zeros((2, 2), order="F")),
    "arrays of objects": (lambda: object_array(1), lambda: object_array(2)),
    "arrays of Python's": (lambda: array.array("d", [1, 2]), lambda: array.array("d", [1, 3])),
    "numbers in a tuple": (lambda: (1, (2, 3)), lambda: (1, (2, 4))),
    "tuple and list": (lambda: (1, 2), lambda: [1, 2]),
    "nesting": (lambda: ((1, 2), 3), lambda: (1, (2, 3))),
    "a dict": (lambda: {"a": 1}, lambda: {"a": 2}),
    "a set": (lambda: {"a", "b"}, lambda: {"a", "c"}),
    "strings": (lambda: ("ab", "c"), lambda: ("a", "bc")),
    "named tuples": (lambda: Pair(1, 2), lambda: Pair(1, 3)),
    "a named tuple and a tuple": (lambda: Pair(1, 2), lambda: (1, 2)),
    "dataclasses": (lambda: Rates(0.1), lambda: Rates(0.2)),
    "namespaces": (lambda: types.SimpleNamespace(a=1), lambda: types.SimpleNamespace(a=2)),
    "slots": (lambda: Slotted(1, 2), lambda: Slotted(1, 3)),
    "members of an enum": (lambda: enum.Enum("E", {"A": 1}).A, lambda: enum.Enum("E", {"A": 2}).A),
    "a default": (lambda: made("def f(x, a=1.0): return x * a"), lambda: made("def f(x, a=2.0): return x * a")),
    "a keyword's default": (lambda: made("def f(x, *, a=1): return x"), lambda: made("def f(x, *, a=2): return x")),
    "a closure": (lambda: outer(1.0), lambda: outer(2.0)),
    "code inside code": (lambda: with_inner(1.0), lambda: with_inner(2.0)),
    "recursion": (lambda: recursive(1), lambda: recursive(2)),
    "a circle": (lambda: circle(1), lambda: circle(2)),
    "a circle of dicts": (lambda: ring(1), lambda: ring(2)),
    "a global": (lambda: made(GLOBAL, G=1.0), lambda: made(GLOBAL, G=2.0)),
    "a global array": (lambda: made(GLOBAL, G=np.zeros(3)), lambda: made(GLOBAL, G=np.ones(3))),
    "a global that is missing": (lambda: made(GLOBAL), lambda: made(GLOBAL, G=2.0)),
    "a module's constant": (
        lambda: made(ATTRIBUTE, consts=module(A=1.0)), lambda: made(ATTRIBUTE, consts=module(A=2.0))
    ),
    "a module's constant by getattr": (
        lambda: made("def f(x): return x * getattr(consts, 'A')", consts=module(A=1.0)),
        lambda: made("def f(x): return x * getattr(consts, 'A')", consts=module(A=2.0)),
    ),
    "a constant of a module in a module": (
        lambda: made("def f(x): return x * helper.sub.C", helper=module(sub=module(C=1.0))),
        lambda: made("def f(x): return x * helper.sub.C", helper=module(sub=module(C=2.0))),
    ),
    "a module by another name": (
        lambda: made("def f(x):\n    m = consts\n    return m.A * x", consts=module(A=1.0)),
        lambda: made("def f(x):\n    m = consts\n    return m.A * x", consts=module(A=2.0)),
    ),
    "a module's function": (
        lambda: made(CALLED, helper=module(g=outer(1.0))), lambda: made(CALLED, helper=module(g=outer(2.0)))
    ),
    "a module's compiled function": (
        lambda: made(CALLED, helper=module(g=compiled("x * 2.0"))),
        lambda: made(CALLED, helper=module(g=compiled("x * 3.0"))),
    ),
    "options of a compiled function": (lambda: compiled(fastmath=True), lambda: compiled(fastmath=False)),
    "a class's constant": (
        lambda: made("def f(x): return x * C.A", C=type("C", (), {"A": 1})),
        lambda: made("def f(x): return x * C.A", C=type("C", (), {"A": 2})),
    ),
    "an inherited constant": (
        lambda: type("D", (type("C", (), {"A": 1}),), {}), lambda: type("D", (type("C", (), {"A": 2}),), {})
    ),
    "a property": (
        lambda: type("C", (), {"A": property(lambda self: 1)}), lambda: type("C", (), {"A": property(lambda self: 2)})
    ),
    "a static method": (
        lambda: type("C", (), {"g": staticmethod(outer(1))}), lambda: type("C", (), {"g": staticmethod(outer(2))})
    ),
    "partials": (lambda: functools.partial(scaled, scale=1.0), lambda: functools.partial(scaled, scale=2.0)),
    "callable objects": (lambda: Scaled(1.0), lambda: Scaled(2.0)),
    "methods of an object": (lambda: Scaled(1.0).half, lambda: Scaled(2.0).half),
    "methods": (lambda: Scaled(1.0).half, lambda: Scaled(1.0).__call__),
    "library functions": (lambda: np.tanh, lambda: np.sinh),
    "built-in functions": (lambda: math.exp, lambda: math.log),
    "dtype objects": (lambda: np.dtype("f4"), lambda: np.dtype("f8")),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_equal_by_value_and_by_nothing_else(name):
    one, other = (make() for make in OTHERS[name])
    again = OTHERS[name][0]()
    assert fingerprint(one) == fingerprint(again) and fingerprint(one).keepable
    assert fingerprint(one).digest != fingerprint(other).digest and fingerprint(other).keepable


def test_what_is_not_a_number_is_like_itself():
    assert fingerprint(math.nan) == fingerprint(float("nan")) == fingerprint(np.array(np.nan).item())


def test_where_a_function_lies_and_what_it_is_called_do_not_count():
    one, other = made("def f(x): return x * 2.0"), made("\n\n\ndef f(x): return x * 2.0")
    other.__name__ = other.__qualname__ = "g"
    assert fingerprint(one) == fingerprint(other)
    assert fingerprint(made("f = lambda x: x * 2.0")) == fingerprint(one)


@pytest.mark.parametrize(
    "make",
    [object, threading.Lock, lambda: np.random.default_rng(0), lambda: iter([1]), lambda: sys.stdout],
    ids=["object", "lock", "generator", "iterator", "stream"],
)
def test_what_cannot_be_seen_is_itself_alone_and_not_kept(make):
    one, other = make(), make()
    assert fingerprint(one) == fingerprint(one) and not fingerprint(one).keepable
    assert (fingerprint(one) == fingerprint(other)) is (one is other)
    function = made("def f(x): return el.tanh(x) if G else x", G=(1.0, one))
    assert not fingerprint(function).keepable
    spec = nr.ActivationFunction("own", function)
    assert not keepable((nr.Activation(spec).cell._numba_type_,))
    assert keepable((nr.RNN(3).cell._numba_type_,))


def test_calls_nested_more_deeply_than_python_follows_are_not_kept():
    source = "\n".join(f"def f{i}(x): return f{i + 1}(x)" for i in range(1500)) + "\ndef f1500(x): return x\nf = f0"
    assert not fingerprint(made(source)).keepable


def test_library_modules_are_taken_by_name_and_their_namesakes_are_not(tmp_path, monkeypatch):
    assert fingerprint(made("def f(x): return math.pi * x")).keepable
    found = {}
    for value in (1.0, 2.0):
        namesake = types.ModuleType("this")  # a module of Python's that nobody imports
        namesake.__file__, namesake.A = str(tmp_path / "this.py"), value
        monkeypatch.setitem(sys.modules, "this", namesake)
        found[fingerprint(made(ATTRIBUTE, consts=namesake)).digest] = value
    assert len(found) == 2


def test_a_function_that_numba_compiles_another_for():
    def stub():
        def stands_for(x):
            """Nothing."""

        return stands_for

    def overloaded(number):
        function = stub()

        @numba.extending.overload(function)
        def implementation(x):
            return lambda x: x * number

        return function

    assert fingerprint(overloaded(1)) == fingerprint(overloaded(1)) != fingerprint(overloaded(2))
    kept = overloaded(1)
    assert Frozen(lambda f: f, lambda d, f: f)(kept) is kept


CELL = """
@dataclass(frozen=True)
class Namesake(nr.Cell):
    activation: object = None
    rate: float = 0.5
    inner: object = None

    gates = ("h",)
    slots, saved, states = 1, 1, 1
    input_slots, input_gates = (0,), (0,)
    recurrent_slots, recurrent_gates = (0,), (0,)
    unit_values, drives = (), ()
    gain = 1.0

    def __repr__(self):
        return "Namesake()"

    def forward(self, pre, state, given):
        h = tanh(pre[0]) * self.gain
        return (h,), (h,)

    def adjoint(self, saved, state, new, dnew, given):
        return (dnew[0] * (1 - saved[0] * saved[0]),), (0 * dnew[0],)

f = Namesake
"""
EDITS = {
    "slots": ("states = 1, 1, 1", "states = 2, 1, 1"),
    "saved": ("states = 1, 1, 1", "states = 1, 2, 1"),
    "states": ("states = 1, 1, 1", "states = 1, 1, 2"),
    "gates": ('("h",)', '("g",)'),
    "input_slots": ("input_gates = (0,), (0,)", "input_gates = (1,), (0,)"),
    "recurrent_gates": ("recurrent_gates = (0,), (0,)", "recurrent_gates = (0,), (1,)"),
    "unit_values": ("drives = (), ()", 'drives = ("u",), ()'),
    "drives": ("drives = (), ()", 'drives = (), ("m",)'),
    "a constant of the class": ("gain = 1.0", "gain = 2.0"),
    "a constant of the class, int": ("gain = 1.0", "gain = 1"),
    "forward": ("* self.gain", "/ self.gain"),
    "adjoint": ("1 - saved", "2 - saved"),
    "a field's default": ("rate: float = 0.5", "rate: float = 0.25"),
    "projected": ("gain = 1.0", "gain = 1.0; projected = True"),
    "a property": ("gain = 1.0", "gain = property(lambda self: 1.0)"),
}


def namesake(edit=None, **fields):
    """A cell of a class called Namesake, whose repr says nothing."""
    source = CELL if edit is None else CELL.replace(*EDITS[edit])
    return made(source, dataclass=dataclass, tanh=el.tanh)(**fields)


@pytest.mark.parametrize("edit", EDITS)
def test_namesakes_have_kernels_of_their_own(edit):
    one, other = namesake(), namesake(edit)
    assert repr(one) == repr(other)
    assert one._numba_type_ == namesake()._numba_type_ != other._numba_type_
    assert around(PerturbedCell, one)._numba_type_ != around(PerturbedCell, other)._numba_type_


@pytest.mark.parametrize(
    "one, other",
    [
        ({"rate": 0.5}, {"rate": 0.25}),
        ({"rate": 1}, {"rate": 1.0}),
        ({"rate": 0.0}, {"rate": -0.0}),
        ({"rate": True}, {"rate": 1}),
        ({"activation": nr.RNN(1, ("elu", 1.0)).cell.activation}, {"activation": nr.RNN(1, ("elu", 2.0)).cell.activation}),
        ({"inner": LSTMCell()}, {"inner": LSTMCell(projected=True)}),
        ({"inner": ("a", 1)}, {"inner": ("a", 2)}),
    ],
)
def test_fields_are_told_apart(one, other):
    cell = namesake()
    assert replace(cell, **one) == replace(cell, **one) != replace(cell, **other)
    assert replace(cell, **one)._numba_type_ != replace(cell, **other)._numba_type_


def test_a_subclass_of_a_cell_of_the_library():
    def subclass(**names):
        return type("LSTMCell", (LSTMCell,), names)()

    def forward(self, pre, state, given):
        return state, pre

    found = [LSTMCell(), subclass(), subclass(forward=forward), subclass(saved=5), subclass(gain=1.0), subclass(gain=2.0)]
    assert len({cell._numba_type_ for cell in found}) == len(set(found)) == len(found)
    assert subclass(gain=1.0)._numba_type_ == found[4]._numba_type_


def test_a_cell_whose_global_has_changed_is_another():
    scope = {"dataclass": dataclass, "tanh": el.tanh, "nr": nr, "G": 1.0}
    exec(CELL.replace("* self.gain", "* G"), scope)
    one, same = scope["Namesake"](), scope["Namesake"]()
    assert one == same and hash(one) == hash(same)
    scope["G"] = 2.0
    other = scope["Namesake"]()
    assert other != one == same and len({one, same, other}) == 2
    assert other._numba_type_ != one._numba_type_


def test_a_changed_value_reaches_a_new_function_and_nothing_else():
    scope = {"el": el, "numba": numba, "G": 1.0, "__name__": "own"}
    exec(
        "def plain(x): return el.tanh(x) * G\n"
        "@numba.njit\ndef compiled(x): return x * G\n"
        "def by_plain(x): return plain(x)\n"
        "def by_compiled(x): return compiled(el.tanh(x))\n",
        scope,
    )
    first, old = {}, {}
    for name in ("plain", "by_plain", "by_compiled"):
        old[name] = nr.ActivationFunction("own", scope[name])
        first[name] = value_of(old[name])
        assert first[name] == pytest.approx(math.tanh(0.5), rel=1e-14)
    scope["G"] = 3.0
    for name in first:
        spec = nr.ActivationFunction("own", scope[name])
        assert spec != old[name] and nr.Activation(spec) != nr.Activation(old[name])
        assert value_of(spec) == pytest.approx(3 * first[name], rel=1e-14)
        assert value_of(old[name]) == first[name]
        with pytest.raises(nr.CellError, match="'own'.*changed"):  # a kernel of float32 there was not yet
            layer = nr.Activation(old[name])
            layer(layer.init(channels=1), np.zeros((1, 1), np.float32))


@dataclass(frozen=True)
class Cube(Function):
    """A class of one's own, with methods and a constant of its own."""

    gain: float
    powers: tuple[int, ...] = (3, 4)
    from_output = False
    half = 0.5

    @staticmethod
    def square(x):
        return x * x

    def times(self, x, number):
        return x * number * self.powers[0]

    def value(self, z):
        return self.times(self.square(z) * z, self.gain) * self.half


@dataclass(frozen=True)
class Twice(Cube):
    def times(self, x, number):
        return 2 * x * number


def test_methods_constants_and_tuples_of_a_class_of_ones_own():
    assert value_of(Cube(2.0)) == pytest.approx(2.0 * 3 * 0.5 * 0.125) == Cube(2.0).value(0.5)
    assert value_of(Twice(2.0)) == pytest.approx(2 * 2.0 * 0.5 * 0.125)


def test_copies_are_made_of_what_there_is_then():
    spec = nr.ActivationFunction("own", scaled_by_two)
    again = pickle.loads(pickle.dumps(spec))
    assert again == spec and again.fingerprint == spec.fingerprint
    SCALES.two = 3.0
    try:
        assert pickle.loads(pickle.dumps(spec)).fingerprint != spec.fingerprint
    finally:
        del SCALES.two


def scaled_by_two(x):
    return x * getattr(SCALES, "two", 2.0)


SCALES = module()
PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np, numbarnn as nr
import own
from numbarnn.cpu import elementwise
{function}
layer = nr.Activation(f if isinstance(f, nr.cells.Function) else nr.ActivationFunction("own", f))
y = layer(layer.init(channels=1, dtype="float64"), np.full((1, 1), 0.5))[0, 0]
print(y / 0.5, sum(not found.cache_hits for found in elementwise._value.compiled.values()))
"""
FUNCTIONS = {
    "a constant of a module": "def f(x): return x * own.A",
    "a compiled function of a module": "def f(x): return own.bend(x)",
    "what cannot be seen": "class Scaled(nr.cells.Function):\n    lock = object()\n    "
    "def value(self, x): return x * own.A\nf = Scaled()",
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_process_that_comes_later(name, tmp_path):
    found = []
    for scale in (2.0, 3.0, 2.0):
        (tmp_path / "own.py").write_text(
            f"import numba\nA = {scale}\nB = {scale}\n@numba.njit(cache=True)\ndef bend(x):\n    return x * B\n"
        )
        program = PROGRAM.format(function=FUNCTIONS[name])
        found += [run("-c", program, str(tmp_path), NUMBA_CACHE_DIR=str(tmp_path), PYTHONDONTWRITEBYTECODE="1").split()]
    kept = name != "what cannot be seen"
    assert found == [["2.0", "1"], ["3.0", "1"], ["2.0", "0" if kept else "1"]]
