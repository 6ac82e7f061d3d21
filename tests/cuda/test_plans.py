"""Plans for an H100 of layers by their sizes: what the estimates choose, and what no plan may break."""

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numbarnn import cells
from numbarnn.cuda import clusters, costs, plans
from numbarnn.cuda.team import PARTS, ROWS, exchange

PROCESSORS, MOST_BYTES, FLOAT = 132, 227 << 10, 4
CELLS = {"rnn": cells.RNNCell(), "gru": cells.GRUAfterCell(), "lstm": cells.LSTMCell()}


class Sizes(NamedTuple):
    """What `plans` asks of a `Size`."""

    cell: cells.Cell
    hidden: int
    batch: int
    directions: int = 1
    dtype: np.dtype = np.dtype(np.float32)
    plain = plans.Size.plain


def forward(kind, hidden, batch, directions=1, processors=PROCESSORS):
    """The plan of forward of a layer whose R is in shared or other memory."""
    slots = len(CELLS[kind].recurrent_slots)
    return plans.fastest(
        hidden, batch, directions, slots, hidden, hidden * slots, FLOAT, 96, plans.MOST_ABREAST, processors, MOST_BYTES
    )


def backward(kind, hidden, batch, processors=PROCESSORS):
    """The same of backward."""
    depth = len(CELLS[kind].recurrent_slots) * hidden
    return plans.fastest(hidden, batch, 1, 1, depth, depth, FLOAT, 96, plans.MOST_ABREAST, processors, MOST_BYTES)


@pytest.fixture(autouse=True)
def of_a_gpu(monkeypatch):
    """Plans as they are on an H100, in the simulator too."""
    plans.fastest.cache_clear()
    monkeypatch.setattr(plans, "SIMULATED", False)
    monkeypatch.setattr(plans, "UNITS", 8)
    monkeypatch.setattr(plans, "WARP", 32)
    monkeypatch.setattr(plans, "COLUMN", 128)
    monkeypatch.setattr(plans, "THREADS", 384)
    monkeypatch.setattr(plans, "limits", lambda: (PROCESSORS, MOST_BYTES))
    yield
    plans.fastest.cache_clear()


def test_a_single_sequence_takes_more_multiprocessors_than_its_weights_fit_on():
    plan = forward("gru", 256, 1)
    assert plan.on_chip and plan.splits > 4  # four blocks have room for R


def test_weights_are_on_chip_where_they_fit():
    plan = forward("lstm", 512, 64)
    assert plan.on_chip and plan.units % 32 != 0  # 32 units of a block would not fit
    assert plan.splits * plan.tiles <= PROCESSORS
    assert forward("gru", 512, 64).on_chip
    assert not forward("lstm", 2048, 64).on_chip  # 64 MiB
    assert backward("gru", 256, 16).on_chip


@pytest.mark.parametrize("batch", [1, 16, 64, 128])
def test_backward_of_a_large_lstm_is_on_chip(batch):
    plan = backward("lstm", 512, batch)
    assert plan.on_chip and plan.units == 24  # of 32, R alone would take 256 KiB
    assert plan.splits * plan.tiles <= PROCESSORS and plan.shared_bytes <= MOST_BYTES


def test_groups_of_rows_are_abreast_where_a_block_has_few_units():
    plan = backward("lstm", 512, 64)
    assert plan.abreast == plan.tile // ROWS > 1 and plan.threads == plan.units * PARTS * plan.abreast
    assert forward("gru", 512, 64).abreast == 2
    assert forward("gru", 512, 16).abreast == 1  # a team for each four rows


@pytest.mark.parametrize(
    ("kind", "hidden", "batch"), [("gru", 256, 16), ("lstm", 256, 16), ("rnn", 512, 64), ("gru", 512, 64)]
)
def test_a_large_part_of_the_multiprocessors_is_at_work(kind, hidden, batch):
    plan = forward(kind, hidden, batch)
    assert plan.splits * plan.tiles >= 32  # of 132


@given(st.sampled_from(sorted(CELLS)), st.integers(1, 2500), st.integers(1, 700), st.integers(1, 2), st.integers(1, 160))
def test_every_plan_can_be_run(kind, hidden, batch, directions, processors):
    plan = forward(kind, hidden, batch, directions, processors)
    if plan is None:  # a block for each 96 units, and more of these than multiprocessors
        assert math.ceil(hidden / 96) * directions > processors or hidden > 96 * processors
        return
    slots = len(CELLS[kind].recurrent_slots)
    assert plan.units % 8 == 0 and 32 <= plan.threads <= 384
    assert (plan.splits - 1) * plan.units < hidden <= plan.splits * plan.units
    assert plan.tile % ROWS == 0 and (plan.tiles - 1) * plan.tile < batch <= plan.tiles * plan.tile
    assert plan.splits == 1 or directions * plan.splits * plan.tiles <= processors
    assert 1 <= plan.abreast <= max(1, plan.tile // ROWS)
    numbers = plan.abreast * exchange(plan.units, slots, hidden) + plan.on_chip * hidden * slots * plan.units
    assert plan.shared_bytes == numbers * FLOAT <= MOST_BYTES


def work(**changes):
    """Some work of a block, with changes."""
    told = dict(
        slots=3,
        depth=256,
        chunks=1,
        units=64,
        parts=PARTS,
        rows=ROWS,
        abreast=1,
        turns_of_rows=1,
        blocks=4,
        turns=1,
        weights=0,
        waits=True,
        launched=False,
    )
    return costs.Work(**told | changes)


@pytest.mark.parametrize(
    "more",
    [
        {"slots": 4}, {"depth": 512}, {"turns_of_rows": 2}, {"abreast": 4}, {"chunks": 4}, {"turns": 2},
        {"weights": 1 << 20}, {"launched": True}, {"units": 96}, {"units": 8},
    ],
    ids=str,
)  # fmt: skip
def test_more_work_takes_longer_and_so_do_less_threads_than_a_warp_has_lanes(more):
    base = work(units=32) if more == {"units": 8} else work()
    assert costs.nanoseconds(work(**more)) > costs.nanoseconds(base) * (1 if more != {"units": 8} else 0.99)


def test_a_barrier_of_blocks_costs_more_than_the_work_of_a_small_layer():
    alone, together = work(depth=16, units=16, waits=False), work(depth=16, units=8, waits=True)
    assert costs.nanoseconds(alone) < costs.nanoseconds(together)


@pytest.mark.parametrize(
    ("kind", "hidden", "resident"),
    [("gru", 128, True), ("gru", 129, False), ("lstm", 96, True), ("lstm", 97, False), ("rnn", 128, True)],
)
def test_small_layers_keep_r_in_registers(kind, hidden, resident, monkeypatch):
    size = Sizes(CELLS[kind], hidden, 1)
    assert plans.Size.resident.fget(size) == resident
    assert not plans.Size.resident.fget(size._replace(dtype=np.dtype(np.float64)))  # two registers a number
    monkeypatch.setattr(plans, "PER_STEP", True)
    assert not plans.Size.resident.fget(size)


@given(st.integers(1, 128), st.integers(1, 5000), st.integers(1, 2))
def test_rows_of_a_small_layer_are_spread(hidden, batch, directions):
    plan = plans.resident_teams(Sizes(CELLS["gru"], hidden, batch, directions), 128)
    assert plan.splits == 1 and not plan.waits and plan.threads == 3 * plan.units <= 384 and hidden <= plan.units
    assert (plan.tiles - 1) * plan.tile < batch <= plan.tiles * plan.tile
    if batch * directions <= PROCESSORS:
        assert plan.tile == 1
    assert plan.shared_bytes <= 48 << 10


def in_cluster(kind, way, hidden, batch, directions=1, dtype="float32"):
    """(plan, depth, slots) of a layer whose teams are clusters."""
    cell = CELLS[kind]
    slots, depth = len(cell.recurrent_slots), hidden
    if way == "backward":
        slots, depth = 1, slots * hidden
    return plans.cluster_teams(Sizes(cell, hidden, batch, directions, np.dtype(dtype)), slots, depth), depth, slots


@pytest.mark.parametrize("way", ["forward", "backward"])
def test_clusters_take_what_has_room_in_eight_blocks(way):
    assert all(in_cluster(kind, way, 256, 16)[0] for kind in CELLS)
    assert in_cluster("rnn", way, 512, 64)[0]
    assert not in_cluster("gru", way, 512, 64)[0] and not in_cluster("lstm", way, 512, 64)[0]  # 3 and 4 MiB of 1.8
    assert in_cluster("gru", way, 341, 1)[0] and in_cluster("lstm", way, 299, 1)[0] and in_cluster("rnn", way, 640, 1)[0]


def test_only_plain_cells_are_in_clusters(monkeypatch):
    def asked(cell):
        return plans.Size.in_clusters.fget(Sizes(cell, 256, 1))

    assert not any(map(asked, CELLS.values()))  # off unless asked for
    monkeypatch.setattr(clusters, "wanted", lambda: True)
    assert all(map(asked, CELLS.values()))
    others = cells.LSTMCell(projected=True), cells.GRUBeforeCell(), cells.NormalizedLSTMCell(), cells.IndRNNCell()
    assert not any(map(asked, others))
    monkeypatch.setattr(plans, "PER_STEP", True)
    assert not any(map(asked, CELLS.values()))


def test_limits_of_clusters_are_those_that_are_documented():
    for kind, most in (("gru", 341), ("lstm", 299), ("rnn", 640)):
        assert not all(in_cluster(kind, way, most + 1, 1)[0] for way in ("forward", "backward"))


@given(
    st.sampled_from(sorted(CELLS)), st.sampled_from(["forward", "backward"]), st.integers(1, 700), st.integers(1, 700),
    st.integers(1, 2), st.sampled_from(["float32", "float64"]),
)  # fmt: skip
def test_every_plan_of_clusters_can_be_run(kind, way, hidden, batch, directions, dtype):
    plan, depth, slots = in_cluster(kind, way, hidden, batch, directions, dtype)
    if plan is not None:
        assert plan.clustered and not plan.waits and plan.splits == 8 and plan.units * 8 >= hidden
        assert plan.threads <= 384 and plan.threads % 32 == 0
        assert plan.tile == ROWS * plan.abreast and (plan.tiles - 1) * plan.tile < batch <= plan.tiles * plan.tile
        numbers = plan.abreast * (PARTS * slots * ROWS * plan.units + 2 * depth * ROWS) + depth * slots * plan.units
        assert plan.shared_bytes == numbers * np.dtype(dtype).itemsize <= MOST_BYTES
