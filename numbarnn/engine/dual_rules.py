"""Elementary functions of dual numbers inside kernels, by the rules in `cells.duals`: the same for every backend."""

from ..cells import duals, elementary


def register(target, kind, value_of, tangent_of, dual):
    """Teach a backend what the elementary functions make of its dual numbers.

    Parameters
    ----------
    target : module
        ``extending`` of the backend, as `equations.register` takes it.
    kind : type
        The class of the Numba types of its dual numbers.
    value_of, tangent_of : function
        Of a dual number, in compiled code.
    dual : function
        Of a dual number, a value and a tangent: the dual number of these two, of the type of the first one.
    """
    for function, rule in duals.RULES.items():
        _register_rule(target, kind, value_of, tangent_of, dual, function, target.register_jitable(rule))
    normal = target.register_jitable(duals.normal)

    @target.overload(elementary.normal)
    def normal_of_dual(x):
        if isinstance(x, kind):

            def apply(x):
                below, slope, density, bend = normal(value_of(x), tangent_of(x))
                return dual(x, below, slope), dual(x, density, bend)

            return apply

    @target.overload(abs)
    def absolute(x):
        if isinstance(x, kind):
            return lambda x: elementary.where(x < 0, -x, x)


def _register_rule(target, kind, value_of, tangent_of, dual, function, rule):
    """Let a function of one dual number be what a rule says."""

    @target.overload(function)
    def of_dual(x):
        if isinstance(x, kind):

            def apply(x):
                value, tangent = rule(value_of(x), tangent_of(x))
                return dual(x, value, tangent)

            return apply
