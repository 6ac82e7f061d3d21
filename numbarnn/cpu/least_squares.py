"""Recursive least squares on the CPU: a step of a network, and of its readout's weights, again and again in one call."""

from . import step_type  # noqa: F401 (what compiled code may do with a step)
from .compiled import kernel


@kernel
def learn(
    step, x, y, lengths, owners, first, every, forgetting, fed, state, before, work, inputs, features, weight, inverse,
    memory, outputs,
):  # fmt: skip
    """Take a step of N sequences for each row of y (T, N, U), and learn from every so many of them.

    Modified: state and before, of the same shape; work; inputs (N, C) and features (N, F), of the step; weight (U, F + 1)
    and inverse (F + 1, F + 1), in float64, of the readout and of its bias, which is the weight of a 1; memory (2, F + 1);
    outputs (T, N, U), in float64, 0 past the end of a sequence.

    x : array
        (T, N, C), or with channels that are fed back (T, N, C - fed): then the inputs hold the fed channels of the first
        step.  Past the end of a sequence it is not read, and neither is y.
    lengths : array of int
        (N,): the steps of each sequence; its state then stays as it is.
    owners : array of int
        Of each number of the state the sequence.
    first : int
        How many steps there were before: a step is learned from if its number can be divided by `every`.
    fed : int
        How many of the first channels are the outputs of the step before; 0 for none.
    """
    r, gain = memory[0], memory[1]
    batch, channels = inputs.shape
    count, targets = features.shape[1], outputs.shape[2]
    r[count] = 1.0
    for t in range(len(y)):
        some_ended = False
        for n in range(batch):
            if t >= lengths[n]:
                some_ended = True
                inputs[n] = 0
            elif fed == 0:
                for c in range(channels):
                    inputs[n, c] = x[t, n, c]
            elif t > 0:
                for c in range(fed):
                    inputs[n, c] = outputs[t - 1, n, c]
                for c in range(fed, channels):
                    inputs[n, c] = x[t - 1, n, c - fed]
        if some_ended:
            before[:] = state
        step(inputs, state, features, work)
        if some_ended:
            for i in range(state.size):
                if t >= lengths[owners[i]]:
                    state[i] = before[i]
        for n in range(batch):
            for u in range(targets):
                total = 0.0
                if t < lengths[n]:
                    for i in range(count):
                        total += weight[u, i] * features[n, i]
                    total += weight[u, count]
                outputs[t, n, u] = total
        if (first + t + 1) % every != 0:
            continue
        forgotten = forgetting
        for n in range(batch):  # one after the other: each learns from what those before it have left
            if t >= lengths[n]:
                continue
            for i in range(count):
                r[i] = features[n, i]
            # The matrix is its own transpose: rows in the place of columns, so that the numbers of a sum are side by side.
            gain[:] = 0.0
            for i in range(count + 1):
                scale, row = r[i], inverse[i]
                for j in range(count + 1):
                    gain[j] += scale * row[j]
            divisor = forgotten
            for i in range(count + 1):
                divisor += r[i] * gain[i]
            for u in range(targets):
                total = 0.0
                for i in range(count + 1):
                    total += weight[u, i] * r[i]
                error = (y[t, n, u] - total) / divisor
                for i in range(count + 1):
                    weight[u, i] += error * gain[i]
            for i in range(count + 1):
                scale, row = gain[i] / divisor, inverse[i]
                for j in range(count + 1):
                    row[j] = (row[j] - scale * gain[j]) / forgotten
            forgotten = 1.0  # once for each step, with the first of its sequences
