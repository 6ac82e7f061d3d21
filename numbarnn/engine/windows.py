"""Windows that move over an image: how many there are, and the numbers of each."""

from typing import NamedTuple


class Windows(NamedTuple):
    """Windows of one size over images (channels, height, width) with a border of padding.

    The window of output pixel (i, j) begins in row ``i * stride - padding`` and column ``j * stride - padding``.
    """

    channels: int
    height: int
    width: int
    rows: int  # of a window
    columns: int
    row_stride: int
    column_stride: int
    row_padding: int
    column_padding: int

    @property
    def size(self):
        """Numbers of an image."""
        return self.channels * self.height * self.width

    @property
    def padded(self):
        """(height, width) with the padding on all sides."""
        return self.height + 2 * self.row_padding, self.width + 2 * self.column_padding

    @property
    def outputs(self):
        """(height, width): windows one below the other, and side by side; below 1 where the image is too small for one."""
        height, width = self.padded
        return (height - self.rows) // self.row_stride + 1, (width - self.columns) // self.column_stride + 1

    @property
    def pixels(self):
        """Windows of an image."""
        height, width = self.outputs
        return height * width

    @property
    def depth(self):
        """Numbers of a window, all channels."""
        return self.channels * self.rows * self.columns
