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
