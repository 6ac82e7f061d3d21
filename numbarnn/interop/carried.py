"""What of a layer another library can carry: an option that it cannot is named, never left out."""

from dataclasses import MISSING, fields

from ..errors import ConversionError

DRAWN_LATER = ("forget_bias",)  # what initial parameters are drawn with is no part of a trained layer


def expect_carried(where, layer, library, *names, **values):
    """Raise ConversionError unless all that a layer says can be said in another library.

    Parameters
    ----------
    where : str
        What the layer is called in the error, ``layers[2]``.
    layer : Layer
    library : str
    names : str
        Fields that the library has, with any value.
    values : tuple
        Fields of which the library has these values.
    """
    for field in fields(layer):
        if field.name in names or field.name in DRAWN_LATER:
            continue
        value = getattr(layer, field.name)
        if field.name == "connectivity" and not layer.constrained:  # it is what weights are drawn with
            continue
        allowed = values.get(field.name, () if field.default is MISSING else (field.default,))
        if value not in allowed:
            expected = " or ".join(map(repr, allowed))
            raise ConversionError(
                f"{where}: expected a layer that {library} has, with {field.name} {expected}, got {field.name}={value!r} in"
                f" {layer!r}"
            )


def no_counterpart(where, layer, library):
    """The ConversionError of a layer of a kind that a library does not have."""
    return ConversionError(f"{where}: expected a layer that {library} has, got {layer!r}")


def carried_parameters(net):
    """The parameters of a network in the host's memory, recurrent weights as its cells see them."""
    params = net.params.to("cpu")
    constrained = {index: layer for index, layer in enumerate(net.layers) if _constrained(layer)}
    if constrained:
        params = params.copy()
    for index, layer in constrained.items():
        for stacked in range(layer.layers):
            for suffix in layer.suffixes(stacked):
                view = params[f"{index}.weight_hh_{suffix}"]
                view[...] = layer.connectivity.applied(view)
    return params


def expect_unconstrained(net, library):
    """Raise ConversionError if recurrent weights of a network that is written to are not what its cells see."""
    for index, layer in enumerate(net.layers):
        if _constrained(layer):
            raise ConversionError(
                f"layers[{index}]: expected a layer without mask, signs and density to read weights of {library} into, since"
                f" these would be applied to them, got {layer.connectivity!r}; read them into a network without"
            )


def _constrained(layer):
    return getattr(layer, "constrained", False)
