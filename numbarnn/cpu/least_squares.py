"""Recursive least squares on the CPU: a step of a network, and of its readout's weights, again and again in one call."""

from . import step_type  # noqa: F401 (what compiled code may do with a step)
from .compiled import kernel


@kernel
def learn(step, x, y, first, every, forgetting, fed, state, work, inputs, features, weight, inverse, memory, outputs):
    """Take a step for each row of y (T, U), and learn from every so many of them.

    Modified: state, work; inputs (C,) and features (F,), of the step; weight (U, F + 1) and inverse (F + 1, F + 1), in
    float64, of the readout and of its bias, which is the weight of a 1; memory (2, F + 1); outputs (T, U), in float64.

    x : array
        (T, C), or with channels that are fed back (T, C - fed): then the inputs hold those of the first step.
    first : int
        How many steps there were before: a step is learned from if its number can be divided by `every`.
    fed : int
        How many of the first channels are the outputs of the step before; 0 for none.
    """
    r, gain = memory[0], memory[1]
    count, targets = features.size, outputs.shape[1]
    r[count] = 1.0
    for t in range(len(y)):
        if fed == 0:
            for c in range(inputs.size):
                inputs[c] = x[t, c]
        elif t > 0:
            for c in range(fed):
                inputs[c] = outputs[t - 1, c]
            for c in range(fed, inputs.size):
                inputs[c] = x[t - 1, c - fed]
        step(inputs, state, features, work)
        for i in range(count):
            r[i] = features[i]
        for u in range(targets):
            total = 0.0
            for i in range(count + 1):
                total += weight[u, i] * r[i]
            outputs[t, u] = total
        if (first + t + 1) % every != 0:
            continue
        # The matrix is its own transpose: rows in the place of columns, so that the numbers of a sum are side by side.
        gain[:] = 0.0
        for i in range(count + 1):
            scale, row = r[i], inverse[i]
            for j in range(count + 1):
                gain[j] += scale * row[j]
        divisor = forgetting
        for i in range(count + 1):
            divisor += r[i] * gain[i]
        for u in range(targets):
            error = (y[t, u] - outputs[t, u]) / divisor
            for i in range(count + 1):
                weight[u, i] += error * gain[i]
        for i in range(count + 1):
            scale, row = gain[i] / divisor, inverse[i]
            for j in range(count + 1):
                row[j] = (row[j] - scale * gain[j]) / forgetting
