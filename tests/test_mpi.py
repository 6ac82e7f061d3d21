"""Training on several ranks of MPI: the same numbers whatever their number, and one that fails ends all."""

import re
import signal
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import numbarnn as nr

pytest.importorskip("mpi4py", reason="MPI comes with numbarnn[mpi]")

import mpi_scenarios as scenarios  # noqa: E402
from mpi_ranks import MPIEXEC, SIZES, WHOLE, found, launch  # noqa: E402
from mpi_scenarios import COUNT, LABELS, LENGTHS, WORDS, X, Y  # noqa: E402

from numbarnn.training.ranks import Ranks  # noqa: E402
from numbarnn.training.sums import sum_by_pairs  # noqa: E402

SHARDED = (
    "shards", "shards_of_ragged", "shards_of_words", "shards_of_weights", "shards_of_a_graph", "measured", "measured_graph",
)  # fmt: skip


def test_there_is_an_mpiexec():
    """The package that the extra brings has one: without it nothing here would run."""
    assert MPIEXEC is not None


# The same bits with shards


@pytest.mark.parametrize("name", SHARDED)
@pytest.mark.parametrize("size", SIZES)
def test_with_shards_any_number_of_ranks_gives_the_same_bits(name, size):
    alone = scenarios.SCENARIOS[name](None, WHOLE)  # without MPI
    for answers in found(size):
        assert answers[name] == alone


@pytest.mark.parametrize("size", SIZES)
def test_rank_0_s_callbacks_are_told_of_each_update_with_the_same_bits(size):
    alone = scenarios.told(None, WHOLE)
    assert alone["epochs"] == 1 and len(alone["losses"]) == 6
    first, *others = (answers["told"] for answers in found(size))
    assert first == alone
    assert all(answer == {**alone, "losses": []} for answer in others)


@pytest.mark.parametrize("size", SIZES)
def test_metrics_are_those_of_the_samples_of_all_ranks(size):
    for rank, answers in enumerate(found(size)):
        answer = answers["plain_metrics"]
        assert len(answer["losses"]) == (0 if rank else 4)
        for name in ("mae", "spread"):
            np.testing.assert_allclose(answer["metrics"][name][-1], answer["right"][name], rtol=1e-5)
            np.testing.assert_allclose(answer["metrics"][f"validation_{name}"][-1], answer["right"][name], rtol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_a_training_of_ranks_goes_on_from_its_checkpoint_with_the_same_bits(size):
    """Rank 0 writes it, all ranks read it; a trainer's two calls of fit are one of as many epochs."""
    alone = scenarios.stopped(None, WHOLE)
    assert alone["whole"] == alone["again"] and alone["left"] == 8
    for answers in found(size):
        assert answers["stopped"] == alone


def test_a_trainer_with_shards_is_fit_with_shards():
    trainer, net = nr.Trainer(scenarios.network(), shards=4, seed=3), scenarios.network()
    history = trainer.fit(X, Y, epochs=2, progress=False)
    assert history.loss == net.fit(X, Y, epochs=2, shards=4, seed=3, progress=False).loss
    np.testing.assert_array_equal(trainer.network.params.flat, net.params.flat)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda net: nr.Trainer(net, shards=3), "shards: expected a power of two, got 3"),
        (lambda net: nr.Trainer(net, shards=2).update(X, Y), "update: expected fit in a training with comm or shards"),
        (lambda net: nr.Trainer(net, shards=2).fit([(X, Y)]), "y: expected targets of samples in a training with comm"),
    ],
)  # fmt: skip
def test_what_a_shared_training_does_not_do(call, message):
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        call(scenarios.plain())


def test_shards_train_on_the_mean_over_all_samples():
    """An update on all samples equals an update of ordinary training, except for the order of the sum."""
    one, other = scenarios.plain(), scenarios.plain()
    options = dict(epochs=4, batch_size=COUNT, optimizer=nr.SGD(0.1), progress=False)
    history, plain = one.fit(X, Y, shards=16, **options), other.fit(X, Y, **options)
    np.testing.assert_allclose(one.params.flat, other.params.flat, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(history.loss, plain.loss, rtol=1e-6)


def test_empty_shards_add_nothing():
    one, other = scenarios.plain(), scenarios.plain()
    options = dict(epochs=2, batch_size=3, optimizer=nr.SGD(0.1), progress=False)
    history, plain = one.fit(X[:, :3], Y[:3], shards=8, **options), other.fit(X[:, :3], Y[:3], **options)
    np.testing.assert_allclose(one.params.flat, other.params.flat, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(history.loss, plain.loss, rtol=1e-6)


# The plain sum


def by_hand(parts, batch_size, epochs, rate, clip):
    """(parameters, losses) of gradient descent on what all ranks take in each update, computed in one piece."""
    net, losses, total = scenarios.plain(), [], sum(end - first for first, end in parts)
    for _ in range(epochs):
        loss = 0.0
        for update in range(-(-total // batch_size)):
            chosen = []
            for first, end in parts:
                count = end - first
                bounds = (min(count, i * batch_size * count // total) for i in (update, update + 1))
                chosen += range(*(first + bound for bound in bounds))
            value, gradient = net.loss_and_gradient(net.params.flat, X[:, chosen], Y[chosen])
            loss += value * len(chosen)
            net.params.flat[:] -= np.float32(rate) * gradient * np.float32(min(1, clip / np.linalg.norm(gradient)))
        losses.append(loss / total)
    return net.params.flat, losses


@pytest.mark.parametrize("size", SIZES)
def test_an_update_takes_the_gradient_of_the_mean_over_all_ranks(size):
    """Also of parts of different sizes, of which one is used up early; the initial parameters are rank 0's."""
    for answers in found(size):
        answer = answers["plain_sum"]
        assert len({end - first for first, end in answer["parts"]}) > 1 or size == 1
        flat, losses = by_hand(answer["parts"], 8, 3, 0.1, 0.05)
        np.testing.assert_allclose(answer["flat"], flat, rtol=2e-5, atol=1e-6)
        np.testing.assert_allclose(answer["loss"], losses, rtol=1e-5)
        assert answer["validation"][-1] < answer["validation"][0]


@pytest.mark.parametrize("size", SIZES)
def test_the_mean_is_over_the_steps_of_all_ranks(size):
    net, y, lengths = scenarios.stepwise(), np.tanh(X.sum(2, keepdims=True)), LENGTHS.copy()
    lengths[-1] = 3
    history = net.fit(X, y, lengths=lengths, epochs=2, batch_size=60, optimizer=nr.SGD(0.1), progress=False)
    for answers in found(size):
        np.testing.assert_allclose(answers["plain_sum_of_ragged"]["flat"], net.params.flat, rtol=2e-5, atol=1e-6)
        np.testing.assert_allclose(answers["plain_sum_of_ragged"]["loss"], history.loss, rtol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_the_table_of_an_embedding_is_trained(size):
    net = nr.Network([nr.Embedding(20, 3), nr.GRU(4), nr.Last(), nr.Dense(3)], seed=0)
    options = dict(loss="cross_entropy", epochs=3, batch_size=60, optimizer=nr.Adam(0.01), progress=False)
    history = net.fit(WORDS, LABELS, **options)
    for answers in found(size):
        np.testing.assert_allclose(answers["plain_sum_of_words"]["flat"], net.params.flat, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(answers["plain_sum_of_words"]["loss"], history.loss, rtol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_all_ranks_end_with_the_same(size):
    first, *others = found(size)
    for name in ("plain_sum", "plain_sum_of_ragged", "plain_sum_of_words"):
        assert all(answers[name] == first[name] for answers in others)


def test_a_single_rank_trains_as_without_mpi():
    net = scenarios.network()
    alone = scenarios.bits(net, net.fit(X, Y, epochs=2, progress=False))
    for size in (1, 2):
        assert all(answers["alone"] == alone for answers in found(size))


@pytest.mark.parametrize("size", SIZES)
def test_the_ranks_share_the_members_of_an_ensemble(size):
    """Four ranks and three members: rank 0 has none, and shows nothing."""
    alone = scenarios.many(None, WHOLE)
    assert alone["errors"][1] and alone["warned"] == 1
    for rank, answers in enumerate(found(size)):
        answer = answers["many"]
        assert all(answer[name] == alone[name] for name in ("bits", "errors", "more"))
        assert answer["warned"] == (rank == 0) and bool(answer["printed"]) == (rank == 0 and size < 4)


# How a training ends


@pytest.mark.parametrize("size", SIZES)
def test_callbacks_are_rank_0_s_and_all_ranks_follow(size):
    first, *others = (answers["callbacks"] for answers in found(size))
    assert first["called"] == [1, 2] and first["printed"].startswith("epoch 1/5")
    assert all(answer["called"] == [] and answer["printed"] == "" for answer in others)
    assert all(answer["last"] == 2 and answer["bits"] == first["bits"] for answer in others) and first["last"] == 2


@pytest.mark.parametrize("size", SIZES)
def test_early_stopping_ends_all_ranks_with_the_best_parameters(size):
    first, *others = (answers["early_stopping"] for answers in found(size))
    assert first["epoch"] == first["best"] == first["epochs"] - 2 and first["epochs"] < 60
    assert first["loss"] == pytest.approx(first["lowest"], rel=1e-5)
    assert all(answer["bits"] == first["bits"] for answer in others)


FAILURES = {  # on the last rank, or on rank 0: what it raises there
    "samples": r"NonFiniteError: x: expected finite numbers, got nan at \(2, 0, 0\)",
    "none": "ShapeError: x: expected at least one sequence, got none",
    "loss": "NonFiniteError: loss: expected a finite number, got nan at epoch 1, batch 3",
    "shards": "NonFiniteError: loss: expected a finite number, got nan at epoch 1, batch",
    "interrupt": "KeyboardInterrupt: ",
    "told": "KeyboardInterrupt: ",
    "type": "TypeError: loss: expected a pair",
    "optimizer": "OSError: the disk is full",
    "validation": r"NonFiniteError: validation x: expected finite numbers, got nan at \(2, 0, 0\)",
}
BEFORE = (
    "samples",
    "none",
    "validation",
    "epochs",
    "rates",
    "another loss",
    "metrics",
    "network",
    "parts",
    "held",
    "one",
)  # nothing is trained


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("name", FAILURES)
def test_a_rank_that_fails_ends_all(name, size):
    *others, last = (answers["failures"][name]["said"] for answers in found(size))
    assert re.match(FAILURES[name], last)
    told = f"RankError: comm: expected every rank to go on, got {last} (rank {size - 1} of {size})"
    assert all(said == told for said in others)


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("name", ["callback", "update", "metric"])
def test_a_callback_or_metric_that_fails_ends_all(name, size):
    first, *others = (answers["failures"][name]["said"] for answers in found(size))
    assert re.match(r"""LookupError: "?an? (callback|update|metric)'s"?$""", first) and name in first
    assert all(said.startswith("RankError: ") and first in said and f"(rank 0 of {size})" in said for said in others)


ON_ALL = {
    "gradient": "NonFiniteError: gradient of parameter .*: expected finite numbers, got .* at epoch 1, batch 3",
    "epochs": "ValueError: epochs: expected the same on every rank, got 3 on rank 0 and 4 on rank 1$",
    "rates": r"ValueError: optimizer: expected the same on every rank, got Adam\(rate=0.2.* and Adam\(rate=0.1.* on rank",
    "another loss": r"ValueError: loss: expected the same on every rank, got MSE\(.* on rank 0 and MAE\(.* on rank",
    "metrics": r"ValueError: metrics: expected the same on every rank, got \('mse',\) on rank 0 and \('mae',\) on rank",
    "network": r"ValueError: network: expected the same .*GRU\(hidden=4\).* on rank 0 and .*GRU\(hidden=5\)",
    "parts": r"ValueError: x: expected samples \d+ to \d+ of all \d+ on rank \d, as numbarnn.own_part gives them",
    "held": r"ValueError: validation: expected samples \d+ to \d+ of all \d+ on rank \d, as numbarnn.own_part gives them",
    "one": "ValueError: validation: expected the same on every rank, got False on rank 0 and True on rank",
}


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("name", ON_ALL)
def test_what_all_ranks_see_all_raise(name, size):
    for answers in found(size):
        assert re.match(ON_ALL[name], answers["failures"][name]["said"])


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("name", [*FAILURES, *ON_ALL, "callback", "update", "metric"])
def test_after_an_error_all_ranks_have_the_parameters_of_rank_0(name, size):
    answers = [each["failures"][name] for each in found(size)]
    assert all(answer["finite"] for answer in answers)
    if name in BEFORE:
        assert all(answer["untouched"] for answer in answers)
    else:
        assert len({answer["flat"] for answer in answers}) == 1


def test_ranks_that_nobody_catches_end_with_their_errors():
    program = """
import numpy as np, numbarnn as nr
from mpi4py import MPI
comm = MPI.COMM_WORLD
x = np.ones((3, 4, 1), np.float32)
x[0, 0] = np.nan if comm.rank else 1
nr.Network([nr.RNN(2), nr.Last()], channels=1).fit(x, np.ones((4, 2)), comm=comm, progress=False)
"""
    ended = launch(2, "-c", program)
    assert ended.returncode != 0
    assert "numbarnn.errors.NonFiniteError: x: expected finite" in ended.stderr or "RankError" in ended.stderr


def test_mistakes():
    for size in SIZES:
        for answers in found(size):
            said = answers["mistakes"]
            assert said["a number"] == "TypeError: comm: expected a communicator of mpi4py such as MPI.COMM_WORLD, got int"
            assert said["a class"].endswith("got the class Intracomm")
            assert said["null"].startswith("ValueError: comm: expected a communicator of mpi4py")
            assert said["three"] == "ValueError: shards: expected a power of two, got 3"
            assert said["text"] == "TypeError: shards: expected a positive integer, got '4' (str)"
            assert said["too few"].startswith("ValueError: shards: expected a")
            if size > 1:
                assert said["a graph"].startswith("loss: expected the same on every rank, got {'y': (MSE(")
                assert said["members"].startswith("optimizer: expected the same on every rank, got (Adam(rate=0.1,")


@pytest.mark.parametrize("size", SIZES)
def test_work_is_spread_and_gathered(size):
    for rank, answers in enumerate(found(size)):
        assert answers["members"]["squares"] == [member**2 for member in range(11)]
        kind = "ZeroDivisionError" if rank == size - 1 else "RankError: comm: .* ZeroDivisionError: .*rank"
        assert re.match(kind, answers["members"]["said"])


def test_the_script_of_the_documentation(tmp_path):
    page = (Path(__file__).parents[1] / "docs" / "mpi.rst").read_text()
    block = re.search(r"code-block:: python\n\n((?:   .*\n|\n)+)", page)[1]
    (tmp_path / "train.py").write_text(textwrap.dedent(block))
    ended = launch(2, "-m", "mpi4py", str(tmp_path / "train.py"))
    assert ended.returncode == 0, ended.stderr
    assert re.fullmatch(r"loss 0\.\d+\n", ended.stdout)
    assert ended.stderr.count("epoch 2/2") == 1


def test_the_benchmark():
    """It runs, and its model of two ranks is what two ranks have taken."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    benchmark = pytest.importorskip("benchmarks.mpi", reason="the benchmarks lie beside the tests, not in the package")
    one, two = benchmark.on_ranks(1, 4, 1), benchmark.on_ranks(2, 4, 1)
    assert two["bytes"] == 4 * (len(nr.Network([nr.GRU(4), nr.Last(), nr.Dense(1)], channels=16).params) + 1)
    two["messages"] |= {"latency": 1e-6, "plain": 5e-6}
    assert benchmark.model(one, two, 2)["sum"] == pytest.approx(5e-6)
    assert benchmark.model(one, two, 64)["sum"] == pytest.approx(6e-6 + 2 * 63 / 64 * 4e-6)
    row = {"hidden": 4, "one": one, "two": two, "model": benchmark.model(one, two)}
    lines = benchmark.table({"batch": 256, "steps": 50, "rows": [row]}).splitlines()
    assert sum(line.startswith("| GRU(4) |") for line in lines) == 3


# Without mpiexec


def test_a_sum_by_pairs_has_one_order():
    numbers = [1e16, 1.0, -1e16, 1.0, 3.0]
    assert sum_by_pairs(numbers) == ((1e16 + 1.0) + (-1e16 + 1.0)) + 3.0
    assert sum_by_pairs([2.0]) == 2.0


def test_an_interrupt_waits_for_a_message():
    """Ctrl-C while ranks exchange something is raised when all of them know it."""
    reached = []
    with pytest.raises(KeyboardInterrupt), Ranks() as ranks:
        with ranks.uninterrupted():
            with ranks.uninterrupted():
                signal.raise_signal(signal.SIGINT)
                reached.append("inside")
            reached.append("between")
        reached.append("after")
    assert reached == ["inside", "between"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_parts():
    from mpi4py import MPI

    assert nr.own_part(7, MPI.COMM_SELF) == slice(0, 7)
    with pytest.raises(TypeError, match="^comm: expected a communicator of mpi4py such as MPI.COMM_WORLD, got NoneType$"):
        nr.own_part(7, None)
    with pytest.raises(ValueError, match="^count: expected a positive integer, got 0$"):
        nr.own_part(0, MPI.COMM_SELF)
