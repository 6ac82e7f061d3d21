"""Clusters of blocks on the emulated GPU: the bits of teams that wait by a counter, derivatives, what is refused."""

import re
import sys
from pathlib import Path

import emulator
import numpy as np
import pytest

import numbarnn as nr
from numbarnn.cuda import asarray, empty, launches, ptx, use_clusters, use_graphs
from numbarnn.cuda.clusters import CLUSTER
from numbarnn.cuda.device import cuda, kernel
from numbarnn.errors import DeviceError

sys.path.insert(0, str(Path(__file__).parents[1]))
from checks import check_gradients, same_bits
from device_layer import DeviceLayer
from strategies import KINDS, random_case
from test_device_layers import results

THREADS = 32
arrive_at_cluster, store_to_block, wait_for_cluster = ptx.arrive_at_cluster, ptx.store_to_block, ptx.wait_for_cluster


@pytest.fixture
def clusters():
    """In the test teams are clusters, and every test begins with the same order of blocks."""
    emulator.seed(1)
    use_clusters(True)
    yield
    use_clusters(False)
    emulator.seed(1)


def clustered_launches():
    """How many kernels have been launched in clusters so far."""
    return emulator.launches()[2]


CASES = [
    ("gru-after", 136, 3, "float32"),
    ("lstm", 100, 6, "float32"),
    ("rnn-tanh", 130, 70, "float32"),  # more than a group of rows for each cluster that runs at a time
    ("lstm", 5, 3, "float64"),  # some blocks have no unit
]


@pytest.mark.parametrize(("kind", "hidden", "batch", "dtype"), CASES)
def test_clusters_have_the_bits_of_teams(kind, hidden, batch, dtype, clusters):
    layer = KINDS[kind](hidden, bidirectional=True)
    case = random_case(layer, 3, batch, 2, lengths=np.resize([3, 0, 2, 1], batch), dtype=dtype)
    use_clusters(False)
    teams = results(case, DeviceLayer(layer))
    use_clusters(True)
    before = clustered_launches()
    for number in (0, 1, 2):
        emulator.seed(number)
        assert same_bits(results(case, DeviceLayer(layer)), teams)
    assert clustered_launches() - before == 3 * 2  # forward and backward


@pytest.mark.parametrize("kind", ["rnn-tanh", "gru-after", "lstm"])
def test_clusters_have_the_right_derivative(kind, clusters):
    case = random_case(KINDS[kind](9), 3, 2, 2, lengths=[3, 1])
    before = clustered_launches()
    assert check_gradients(case, DeviceLayer(case.layer), directions=2) == 3
    assert clustered_launches() - before > 2


def test_what_has_no_room_in_a_cluster_is_as_it_was(clusters):
    for layer in (nr.GRU(512), nr.RNN(4)):  # the second has R in its registers
        before = clustered_launches()
        layer(layer.init(2).to("cuda"), asarray(np.ones((1, 1, 2), np.float32)))
        assert clustered_launches() == before


def test_graphs_have_clusters(clusters):
    random = np.random.default_rng(0)
    x, y = random.standard_normal((2, 8, 3)).astype(np.float32), random.standard_normal((8, 1)).astype(np.float32)

    def trained(graphs):
        network = nr.Network([nr.RNN(130), nr.Last(), nr.Dense(1)], channels=3, device="cuda")
        before = clustered_launches()
        use_graphs(graphs)
        try:
            network.fit(x, y, epochs=2, batch_size=2, progress=False)
        finally:
            use_graphs(False)
        return network.params.flat.get().tobytes(), clustered_launches() - before

    assert trained(True) == trained(False) and trained(True)[1] == 16  # eight updates


@kernel
def send_round(x, y, before, after):
    """Each block writes its number to the next one's shared memory, which writes it to y."""
    shared = cuda.shared.array(32, x.dtype)
    block, thread = cuda.blockIdx.x, cuda.threadIdx.x
    if before:
        arrive_at_cluster()
        wait_for_cluster()
    store_to_block(shared, thread, x[block], (block + 1) % 8)
    if after:
        arrive_at_cluster()
        wait_for_cluster()
    cuda.syncthreads()
    y[block * 32 + thread] = shared[thread]


@kernel
def come_twice(x):
    """Come to the cluster's barrier again before having waited."""
    cuda.syncthreads()
    x[0] = 1
    arrive_at_cluster()
    arrive_at_cluster()


@kernel
def wait_alone(x):
    """Wait for blocks that wait for something else."""
    if cuda.blockIdx.x == 0:
        arrive_at_cluster()
        wait_for_cluster()
    else:
        while ptx.peek(x, 0) == 0:
            x[1] = 1
    cuda.syncthreads()


def sent(number, before=1, after=1):
    """What `send_round` writes, with or without its barriers."""
    emulator.seed(number)
    x, y = asarray(np.arange(8.0)), empty((8 * THREADS,), "float64")
    launches.launch(send_round, (CLUSTER, THREADS), x, y, before, after, cluster=CLUSTER)
    return y.get().reshape(8, THREADS)


def test_blocks_of_a_cluster_write_to_each_other(clusters):
    for number in (0, 1, 2, 3):
        assert (sent(number) == np.roll(np.arange(8.0), 1)[:, np.newaxis]).all()


def test_a_missing_barrier_of_a_cluster_is_seen(clusters, capfd):
    with pytest.raises(DeviceError, match="CUDA_ERROR_LAUNCH_FAILED"):
        sent(0, before=0)  # one block after the other: the next has not begun
    assert "a number for a block that has not begun, or has ended" in capfd.readouterr().err


def test_reading_before_the_others_have_come_is_seen(clusters):
    def is_seen(number):
        try:
            return np.isnan(sent(number, after=0)).any()
        except DeviceError:  # the block has ended
            return True

    assert any(map(is_seen, range(1, 9)))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [(come_twice, "comes to its cluster twice"), (wait_alone, "a cluster, some of whose threads never come")],
)
def test_misuse_of_a_barrier_is_said(wrong, said, clusters, capfd):
    x = asarray(np.zeros(2, np.int64))
    with pytest.raises(DeviceError, match="CUDA_ERROR_LAUNCH_FAILED"):
        launches.launch(wrong, (CLUSTER, THREADS), x, cluster=CLUSTER)
    assert said in capfd.readouterr().err


@pytest.mark.parametrize(("blocks", "cluster"), [(CLUSTER + 1, CLUSTER), (16, 16)])
def test_a_launch_that_is_not_of_whole_clusters_is_an_error(blocks, cluster):
    x = asarray(np.zeros(2, np.int64))
    with pytest.raises(DeviceError, match=re.escape("come_twice") + ".*CUDA_ERROR_INVALID_CLUSTER_SIZE"):
        launches.launch(come_twice, (blocks, THREADS), x, cluster=cluster)
