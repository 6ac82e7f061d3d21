"""Blocks of memory that arrays have given back: taken again by the next request, and not too many of them kept."""

import pytest

from numbarnn.cpu import memory


@pytest.fixture(autouse=True)
def own(monkeypatch):
    """No free blocks from before, and few bytes that are kept."""
    monkeypatch.setattr(memory, "_free", {})
    monkeypatch.setattr(memory, "_kept", 0)
    monkeypatch.setattr(memory, "KEPT_BYTES", 10 * memory.SMALLEST)
    monkeypatch.setattr(memory, "KEPT_ANYWAY", 4 * memory.SMALLEST)


def give(*counts):
    """Take blocks of so many times the smallest size, and give all of them back; their addresses."""
    blocks = [memory.take(count * memory.SMALLEST) for count in counts]
    for block in blocks:
        memory.give(block)
    return [address for _, address in blocks]


def kept():
    """The sizes of free blocks, in smallest ones; their sum is what the module has counted."""
    sizes = sorted(block.nbytes for blocks in memory._free.values() for block, _ in blocks)
    assert sum(sizes) == memory._kept
    return [size // memory.SMALLEST for size in sizes]


def test_a_loop_takes_what_it_has_given_back():
    first = give(6, 2, 2)
    assert kept() == [2, 2, 6]
    for _ in range(3):
        assert sorted(give(6, 2, 2)) == sorted(first) and kept() == [2, 2, 6]


def test_no_more_is_kept_than_the_limit():
    give(6, 3, 3)
    assert kept() == [3, 6]


def test_a_request_of_another_size_lets_go_of_the_largest():
    give(6, 2, 1)
    assert kept() == [1, 2, 6]
    block = memory.take(8 * memory.SMALLEST)
    assert kept() == [1, 2]
    memory.give(block)
    assert kept() == [1, 2]  # it would be more than is kept at all


def test_an_array_gives_its_block_back_when_its_last_view_is_gone():
    array, address = memory.borrow(3 * memory.SMALLEST)
    view = array[10:]
    del array
    assert kept() == []
    del view
    assert kept() == [3] and memory.borrow(3 * memory.SMALLEST)[1] == address
