"""A convolution of images on the GPU, forward and backward: each number of a result is one thread's sum, or one block's.

A sum has one order, whatever the batch: the places of a window one after the other; that over images is shared by the
threads of a block, and their sums are added in pairs.
"""

from .arrays import contiguous
from .device import THREADS, blocks_for, cuda, kernel
from .images import images
from .launches import launch


@kernel
def outputs(real, call, parameters, x, y):
    """Fill y (rows, filters, out_height, out_width); parameters: weight and bias, one after the other."""
    window = call.window_rows * call.window_columns
    bias = call.filters * call.channels * window
    for i in range(cuda.grid(1), call.rows * call.filters * call.out_height * call.out_width, cuda.gridsize(1)):
        column, row = i % call.out_width, i // call.out_width % call.out_height
        f = i // (call.out_width * call.out_height) % call.filters
        image = i // (call.out_width * call.out_height * call.filters)
        total = real
        for channel in range(call.channels):
            weight = (f * call.channels + channel) * window
            for k in range(call.window_rows):
                a = row * call.row_stride + k - call.row_padding
                if 0 <= a < call.height:
                    source = ((image * call.channels + channel) * call.height + a) * call.width
                    for j in range(call.window_columns):
                        b = column * call.column_stride + j - call.column_padding
                        if 0 <= b < call.width:
                            total += parameters[weight + k * call.window_columns + j] * x[source + b]
        y[i] = parameters[bias + f] + total


@kernel
def image_gradient(real, call, parameters, dy, dx):
    """Fill dx (rows, channels, height, width)."""
    window = call.window_rows * call.window_columns
    for i in range(cuda.grid(1), call.rows * call.channels * call.height * call.width, cuda.gridsize(1)):
        b, a = i % call.width, i // call.width % call.height
        channel = i // (call.width * call.height) % call.channels
        image = i // (call.width * call.height * call.channels)
        total = real
        for k in range(call.window_rows):
            row = a + call.row_padding - k
            if row >= 0 and row % call.row_stride == 0 and row // call.row_stride < call.out_height:
                row = row // call.row_stride
                for j in range(call.window_columns):
                    column = b + call.column_padding - j
                    if column >= 0 and column % call.column_stride == 0 and column // call.column_stride < call.out_width:
                        column = column // call.column_stride
                        for f in range(call.filters):
                            weight = (f * call.channels + channel) * window + k * call.window_columns + j
                            source = ((image * call.filters + f) * call.out_height + row) * call.out_width + column
                            total += parameters[weight] * dy[source]
        dx[i] = total


@kernel
def gradient_sums(real, call, x, dy, gradient):
    """Fill, or add to, the gradient of the parameters: a block sums one of them over all images and pixels."""
    sums = cuda.shared.array(THREADS, gradient.dtype)
    thread, place = cuda.threadIdx.x, cuda.blockIdx.x
    window, pixels = call.window_rows * call.window_columns, call.out_height * call.out_width
    depth = call.channels * window
    of_bias = place >= call.filters * depth
    f = place - call.filters * depth if of_bias else place // depth
    channel, k, j = place % depth // window, place % window // call.window_columns, place % call.window_columns
    total = real
    for i in range(thread, call.rows * pixels, THREADS):
        image, row, column = i // pixels, i % pixels // call.out_width, i % call.out_width
        slope = dy[(image * call.filters + f) * pixels + i % pixels]
        if of_bias:
            total += slope
        else:
            a = row * call.row_stride + k - call.row_padding
            b = column * call.column_stride + j - call.column_padding
            if 0 <= a < call.height and 0 <= b < call.width:
                total += slope * x[((image * call.channels + channel) * call.height + a) * call.width + b]
    sums[thread] = total
    half = THREADS // 2
    while half > 0:
        cuda.syncthreads()
        if thread < half:
            sums[thread] += sums[thread + half]
        half //= 2
    if thread == 0:
        gradient[place] = sums[0] + gradient[place] if call.add else sums[0]


def forward(windows, filters, parameters, x, y):
    """Write the outputs of images.

    Parameters
    ----------
    windows : Windows
    filters : int
    parameters : cupy.ndarray
        The parameter vector from this layer's part on: the weight (filters, depth), the bias (filters,).
    x : cupy.ndarray
        (T, N, C) or (rows, C), at any strides.
    y : cupy.ndarray
        As many rows of (filters, pixels), contiguous (is modified).
    """
    if y.size:
        call = images(windows, y.size // (filters * windows.pixels), filters)
        launch(outputs, blocks_for(y.size), y.dtype.type(0), call, parameters, contiguous(x), y)


def backward(windows, filters, parameters, x, dy, gradient, accumulate, dx):
    """Derivatives with respect to x and the parameters, from `dy`, the derivatives with respect to the outputs.

    Parameters
    ----------
    windows, filters, parameters, x
        As in `forward`.
    dy : cupy.ndarray
        (T, N, C) or (rows, C), at any strides.
    gradient : cupy.ndarray
        The gradient vector from this layer's part on (is modified).
    accumulate : bool
        Add to it instead of overwriting it.
    dx : cupy.ndarray or None
        Shaped like x, contiguous (is modified); None leaves it out.
    """
    x, dy, real = contiguous(x), contiguous(dy), dy.dtype.type(0)
    call = images(windows, x.size // windows.size, filters, accumulate)
    launch(gradient_sums, (filters * (windows.depth + 1), THREADS), real, call, x, dy, gradient)
    if dx is not None and dx.size:
        launch(image_gradient, blocks_for(dx.size), real, call, parameters, dy, dx)
