"""Teams of thread blocks: which rows and units a block has, how its threads share a product, and how a team waits.

A team carries `tile` rows of the batch through all steps; its blocks share the hidden units.  The threads of a block are
`units` times PARTS, for each of the groups of ROWS rows that it has abreast: a thread has one unit, one part of the depth of
every sum, and of each ROWS rows one row, whose equations it evaluates once the parts are summed.
"""

from .device import SIMULATED, cuda, function
from .ptx import acquire, count_up, load, load_four, peek, read, store, trap
from .records import MOST_SLOTS

THREADS = 384  # of a block, at most: a thread may have 170 registers then, and none is spilled to memory
NORMALIZED_THREADS = 256  # the same for cells that normalize
ROWS = 4  # rows that share what is read of the weights, as in `load_four`
PARTS = ROWS  # threads that share a sum, one part of its depth each; then one row each
CHUNK = 512  # numbers of a row in shared memory at a time
SUMS = ROWS * MOST_SLOTS
LEAST_SHARED = 192  # numbers: what the sums of `normalized` take
MOST_POLLS = 1 if SIMULATED else 1 << 26  # of a counter, some tens of seconds: blocks that run at once take microseconds


def exchange(units, slots, depth):
    """Numbers in a block's shared memory that `multiply` takes of a group of rows: a chunk, then the parts of sums."""
    return max(min(depth, CHUNK) * ROWS, PARTS * slots * ROWS * units, LEAST_SHARED)


exchange_here = function(exchange)


@function
def place_of(call):
    """(direction, team in all, first row, first unit, lane, part) of this thread."""
    block, thread = cuda.blockIdx.x, cuda.threadIdx.x
    team = block // call.splits
    return (
        team // call.tiles, team, team % call.tiles * call.tile, block % call.splits * call.units, thread % call.units,
        thread // call.units % PARTS,
    )  # fmt: skip


@function
def side_of(call):
    """Which of the groups of rows abreast is this thread's."""
    return cuda.threadIdx.x // (call.units * PARTS)


@function
def time_of(call, direction, step):
    """The time that a direction visits at a step."""
    return step if direction == 0 else call.steps - 1 - step


@function
def working(call, table, first, time):
    """How many of a team's rows are at work at a time."""
    return max(0, min(call.tile, table[time + 3] - table[time + 2] - first))


@function
def rows_before(call, table, time):
    """Rows at work at all times before this one."""
    return table[time + 2] - 2 * call.batch


@function
def keep_weights(call, shared, at, weights, start, depth, depth_stride, slots, slot_stride, first_unit, units):
    """Copy a block's part of a weight to shared memory (is modified), (depth, slots, units) from `at` on."""
    for i in range(cuda.threadIdx.x, depth * slots * call.units, cuda.blockDim.x):
        unit, rest = i % call.units, i // call.units
        if first_unit + unit < units:
            shared[at + i] = weights[start + rest // slots * depth_stride + rest % slots * slot_stride + first_unit + unit]


@function
def read_before(real, source, start, k, end):
    """The number at a place behind `start`, or zero where it is not before the end."""
    return read(source, start + k) if k < end else real


@function
def store_before(shared, at, k, end, value):
    """Write a number of a row, unless it is not before the end (shared is modified)."""
    if k < end:
        store(shared, at + k * ROWS, value)


@function
def stage(real, call, shared, at, source, start, row_stride, rows, before, length, lane, part):
    """Copy numbers `before` to ``before + length`` of ROWS rows to shared memory (is modified), (length, ROWS) from `at` on.

    Past `rows` there are zeros.  A part of the threads has a row; each of them has eight loads under way at a time.
    """
    units, first, place = call.units, start + part * row_stride + before, at + part
    end = length if part < rows else 0
    for k in range(lane, length, 8 * units):
        a, b = read_before(real, source, first, k, end), read_before(real, source, first, k + units, end)
        c, d = read_before(real, source, first, k + 2 * units, end), read_before(real, source, first, k + 3 * units, end)
        e, f = read_before(real, source, first, k + 4 * units, end), read_before(real, source, first, k + 5 * units, end)
        g, h = read_before(real, source, first, k + 6 * units, end), read_before(real, source, first, k + 7 * units, end)
        store_before(shared, place, k, length, a)
        store_before(shared, place, k + units, length, b)
        store_before(shared, place, k + 2 * units, length, c)
        store_before(shared, place, k + 3 * units, length, d)
        store_before(shared, place, k + 4 * units, length, e)
        store_before(shared, place, k + 5 * units, length, f)
        store_before(shared, place, k + 6 * units, length, g)
        store_before(shared, place, k + 7 * units, length, h)


@function
def add_products(shared, rows, begin, length, weights, weight_start, depth_stride, slots, slot_stride, part, sums):
    """Add to `sums` (is modified), (slots, ROWS), the products of a thread's part of `length` numbers of the depth.

    The numbers are those from `begin` on: of the rows in shared memory (depth, ROWS) from `rows` on, and of a weight.
    """
    share = (length + PARTS - 1) // PARTS
    at, place = weight_start + (begin + part * share) * depth_stride, rows + part * share * ROWS
    for _ in range(min(length, (part + 1) * share) - part * share):
        a, b, c, d = load_four(shared, place)
        for slot in range(slots):
            weight = load(weights, at + slot * slot_stride)
            sums[slot * ROWS] += weight * a
            sums[slot * ROWS + 1] += weight * b
            sums[slot * ROWS + 2] += weight * c
            sums[slot * ROWS + 3] += weight * d
        at += depth_stride
        place += ROWS


@function
def sum_parts(call, shared, at, slots, lane, part, sums):
    """Put to ``sums[slot]`` the sum of all parts for the thread's row; shared memory from `at` on is modified."""
    for slot in range(slots):
        for row in range(ROWS):
            store(shared, at + ((part * slots + slot) * ROWS + row) * call.units + lane, sums[slot * ROWS + row])
    cuda.syncthreads()
    for slot in range(slots):
        first = at + (slot * ROWS + part) * call.units + lane
        total = load(shared, first)
        for other in range(1, PARTS):
            total += load(shared, first + other * slots * ROWS * call.units)
        sums[slot] = total


@function
def multiply(
    real, call, shared, staged, source, start, row_stride, rows, depth, weights, weight_start, depth_stride, slots,
    slot_stride, lane, part, sums,
):  # fmt: skip
    """``sums[slot] = sum over k of source[row, k] * weight[k, slot, unit]`` for the thread's unit and its row of ROWS.

    All threads of a block call it together.  `sums` has room for ROWS times the slots (is modified), and so has shared
    memory from `staged` on for `exchange` numbers, which belong to the thread's group of rows.  Weights on chip and weights
    in memory are calls of their own, so that the compiler knows where they are.
    """
    for i in range(slots * ROWS):
        sums[i] = real
    for before in range(0, depth, CHUNK):
        length = min(CHUNK, depth - before)
        stage(real, call, shared, staged, source, start, row_stride, rows, before, length, lane, part)
        cuda.syncthreads()
        add_products(shared, staged, before, length, weights, weight_start, depth_stride, slots, slot_stride, part, sums)
        cuda.syncthreads()
    sum_parts(call, shared, staged, slots, lane, part, sums)
    cuda.syncthreads()  # the next rows go where the parts are


@function
def wait_for_team(call, counters, team, region):
    """All that the team's blocks wrote before is seen by all after; within one block that takes no counter.

    One thread counts, behind the block's own barrier, for the writes of all, and looks at the counter until all blocks have
    counted: only then it asks for what they wrote, as that empties a cache.  Blocks that never come are an error, not a
    wait without end.
    """
    cuda.syncthreads()
    if call.splits > 1 and region + 1 < call.to_region:
        if cuda.threadIdx.x == 0:
            count_up(counters, team)
            goal = call.splits * (region + 1 - call.from_region)
            polls = 0
            while peek(counters, team) < goal:
                polls += 1
                if polls > MOST_POLLS:
                    trap()
            acquire(counters, team)
        cuda.syncthreads()
