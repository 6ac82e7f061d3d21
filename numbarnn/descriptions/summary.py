"""A table as text that a terminal and a notebook show as a table."""

import html


class Summary(str):
    """Text whose repr is itself, with lines as they are, and which a notebook shows as an HTML table.

    Parameters
    ----------
    text : str
    rows : sequence of sequence of str
        The table: a head, rows, and a row of totals.
    """

    def __new__(cls, text, rows=()):
        found = super().__new__(cls, text)
        found.rows = tuple(map(tuple, rows))
        return found

    @classmethod
    def of(cls, rows):
        """The summary of a table, whose last column are numbers."""
        widths = [max(map(len, column)) for column in zip(*rows)]
        pads = [*[str.ljust] * (len(widths) - 1), str.rjust]
        lines = ["  ".join(pad(cell, width) for pad, cell, width in zip(pads, row, widths)) for row in rows]
        return cls("\n".join([lines[0], "-" * len(lines[0]), *lines[1:]]), rows)

    def __repr__(self):
        return str(self)

    def _repr_html_(self):
        """The table in HTML, for notebooks."""
        head, *rows = [[html.escape(cell) for cell in row] for row in self.rows]
        lines = ["<table>", "<tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"]
        for *cells, last in rows:
            lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + f'<td align="right">{last}</td></tr>')
        return "\n".join([*lines, "</table>"])
