"""A unit's Jacobian: how the new states of a cell move where its pre-activations, values of units and old states do.

A cell's adjoint is linear in ``dnew``: called with 1 for one of the new states and 0 for the others, it says what that
state is changed by.  So a row of the Jacobian is a call of the adjoint, and cells need no equations besides.
"""

from .choices import by_cell, joined


def rows(target, number):
    """(row_of, rows_of_step) of a backend, the module `extending`; number: its function of a real and an integer."""
    chosen = by_cell(target)

    @chosen
    def row_of(cell):
        """What changes of the pre-activations, the values of units and the old states are multiplied with, and summed, for
        what `dnew` asks of the new ones.
        """
        if not cell.gated_slots:

            def row(cell, real, kept, old, new, dnew, per_unit):
                dpre, dold = cell.adjoint(kept, old, new, dnew, per_unit)
                return joined(dpre, dold)

            return row

        def row_past_gate(cell, real, kept, old, new, dnew, per_unit):
            dpre, dold = cell.adjoint(kept, old, new, dnew, per_unit)
            dpre, dold = cell.gate_adjoint(kept, old, number(real, 0), dpre, dold, per_unit)
            return joined(dpre, dold)

        return row_past_gate

    @chosen
    def rows_of_step(cell):
        """`row_of` each new state by itself."""
        if cell.states == 1:
            return lambda cell, real, kept, old, new, per_unit: (
                row_of(cell, real, kept, old, new, (number(real, 1),), per_unit),
            )

        def both(cell, real, kept, old, new, per_unit):
            one, zero = number(real, 1), number(real, 0)
            of_h = row_of(cell, real, kept, old, new, (one, zero), per_unit)
            return of_h, row_of(cell, real, kept, old, new, (zero, one), per_unit)

        return both

    return row_of, rows_of_step
