"""What the layers that normalize have in common: the parameters of the normalization."""

NAMES = ("gain_ih", "gain_hh", "gain_c", "bias_c")


def unit_parameters(cell, hidden):
    """`Recurrent.unit_parameters` of a `NormalizedCell`: (G * H,) in the order of its gates, or (H,) for c'."""
    place = {name: index for index, name in enumerate(cell.unit_values)}
    values = ((name, [name] if name in place else [f"{name}_{gate}" for gate in cell.gates]) for name in NAMES)
    return tuple(
        (name, [place[value] for value in of_name], len(of_name) * hidden) for name, of_name in values if of_name[0] in place
    )


def fill_vector(name, view):
    """Write fresh values into a vector of the normalization (modified): gains start at 1, the bias of c' at 0."""
    if name.startswith("gain_"):
        view[...] = 1
    elif name.startswith("bias_c_"):
        view[...] = 0
