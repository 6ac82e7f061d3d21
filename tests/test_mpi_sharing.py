"""Ranks share carried states, accumulated batches, what is held out, and epochs that are begun: with the bits of one."""

import numpy as np
import pytest

import numbarnn as nr

pytest.importorskip("mpi4py", reason="MPI comes with numbarnn[mpi]")

import mpi_scenarios as scenarios  # noqa: E402
import mpi_sharing as sharing  # noqa: E402
from mpi_ranks import SIZES, WHOLE, found  # noqa: E402
from mpi_scenarios import COUNT, LENGTHS, X, Y  # noqa: E402

from numbarnn.training.sums import TreeSum  # noqa: E402

ROUNDING = dict(rtol=1e-4, atol=1e-6)  # float32, whose sums over 50 samples are taken in another order, in a few updates
SHARDED = (
    "accumulated", "pieces", "pieces_of_a_graph", "pieces_with_feedback", "held_out", "held_out_steps",
    "held_out_of_a_graph", "stopped_in_an_epoch", "stopped_in_a_batch", "goes_on_with_what_one_began",
)  # fmt: skip


@pytest.mark.parametrize("name", SHARDED)
@pytest.mark.parametrize("size", SIZES)
def test_with_shards_any_number_of_ranks_gives_the_same_bits(name, size):
    alone = sharing.SCENARIOS[name](None, WHOLE)  # without MPI
    for answers in found(size):
        assert answers[name] == alone


def test_what_ranks_have_begun_one_process_goes_on_with(tmp_path):
    """With shards a checkpoint in an epoch is that of any number of ranks."""
    for size in SIZES:
        (tmp_path / "begun.safetensors").write_bytes(bytes.fromhex(found(size)[0]["begun"]["file"]))
        again = nr.Trainer.load(tmp_path / "begun.safetensors")
        assert again.step == 5
        again.fit(**sharing.begun_samples(WHOLE))
        whole = nr.Trainer(sharing.begun_network(), **sharing.BEGUN)
        whole.fit(**sharing.begun_samples(WHOLE))
        assert scenarios.bits(again.network, again.history) == scenarios.bits(whole.network, whole.history)


@pytest.mark.parametrize("size", SIZES)
def test_without_shards_an_epoch_is_gone_on_with_by_as_many_ranks(size):
    for answers in found(size):
        answer = answers["stopped_plain"]
        assert answer["left"] == 5 and answer["whole"] == answer["again"]
        if size > 1:
            expected = (
                f"comm: expected {size} ranks as in the epoch that is begun, got 1 rank; resume=False begins a new one"
            )
            assert answer["said"] == expected


@pytest.mark.parametrize("size", SIZES)
def test_what_is_held_out_does_not_depend_on_the_ranks(size):
    """Without shards, too; a rank may then have nothing to train on, or to measure."""
    net = scenarios.plain()
    options = dict(epochs=3, batch_size=COUNT, optimizer=nr.SGD(0.1), validation_split=0.3, split_by="time", seed=4)
    history = net.fit(X, Y, progress=False, **options)
    for answers in found(size):
        np.testing.assert_allclose(answers["plain_held_out"]["validation"], history.validation, rtol=1e-5)
        np.testing.assert_allclose(answers["plain_held_out"]["loss"], history.loss, rtol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_metrics_of_what_is_held_out_are_those_of_one_process(size):
    alone = sharing.held_out_words(None, WHOLE)
    for answers in found(size):
        for name, values in alone.items():
            np.testing.assert_allclose(answers["held_out_words"][name], values, **ROUNDING)


WITH_SHARDS = {  # what one process does in other sums
    "accumulate": dict(batch_size=13, accumulate=4),
    "pieces": dict(batch_size=COUNT, carry=True, steps=4),
    "pieces of all lengths": dict(batch_size=COUNT, carry=True, steps=4, lengths=LENGTHS),
    "pieces of no weight": dict(batch_size=COUNT, carry=True, steps=2, weights=np.where(np.arange(6) // 2 == 1, 0, 1)),
    "pieces together": dict(batch_size=COUNT, carry=True, steps=2, accumulate=2),
    "held out": dict(batch_size=COUNT, validation_split=0.3, metrics=["mae"]),
    "steps held out": dict(batch_size=COUNT, validation_split=0.4, split_by="time", carry=True, steps=2),
}


@pytest.mark.parametrize("name", WITH_SHARDS)
def test_with_shards_an_update_is_what_it_is_without(name):
    """But for the order of sums, where batches have the same samples: all of them, or sums over all of them."""
    options, made = WITH_SHARDS[name].copy(), ("accumulate", "metrics")
    y = np.tanh(X.sum(2, keepdims=True).cumsum(0))
    if "weights" in options:
        options["weights"] = np.broadcast_to(options["weights"][:, None], (6, COUNT)).copy()
    made = {key: options.pop(key) for key in made if key in options}
    histories, trained = [], []
    for shards in (None, 8):
        net = scenarios.stepwise()
        trainer = nr.Trainer(net, optimizer=nr.SGD(0.1), seed=2, shards=shards, **made)
        histories.append(trainer.fit(X, y, epochs=2, shuffle="accumulate" not in made, progress=False, **options))
        trained.append(net.params.flat)
    np.testing.assert_allclose(trained[0], trained[1], **ROUNDING)
    np.testing.assert_allclose(histories[0].loss, histories[1].loss, rtol=1e-5)
    np.testing.assert_allclose(histories[0].validation, histories[1].validation, rtol=1e-5)
    for key, values in histories[0].metrics.items():
        np.testing.assert_allclose(values, histories[1].metrics[key], rtol=1e-5)


def test_batches_that_are_accumulated_are_summed_once_over_the_ranks(monkeypatch):
    taken = []
    whole = TreeSum.take
    monkeypatch.setattr(TreeSum, "take", lambda self, *args, **options: taken.append("sum") or whole(self, *args, **options))
    trainer = nr.Trainer(scenarios.plain(), shards=4, accumulate=3)
    trainer.fit(X, Y, epochs=2, batch_size=8, progress=False)  # 7 batches an epoch
    assert taken.count("sum") == trainer.step == 6


def test_a_checkpoint_in_an_epoch_wants_the_same_samples(tmp_path):
    trainer = nr.Trainer(sharing.begun_network(), **sharing.BEGUN)
    keep = [nr.Checkpoint(tmp_path, unit="update"), sharing.Killed(5)]
    with pytest.raises(LookupError):
        trainer.fit(**sharing.begun_samples(WHOLE), callbacks=keep)
    for changed, message in (
        (dict(batch_size=17), "batch_size: expected 16 as in the epoch that is begun, got 17"),
        (dict(steps=3), "steps: expected 4 as in the epoch that is begun, got 3"),
        (dict(shuffle=False), "shuffle: expected True as in the epoch that is begun, got False"),
        (
            dict(x=X[:, :40], y=sharing.STEPS[:, :40]),
            "x: expected 50 samples that count of 300 steps in all as in the .*, got 40 samples .* 240 steps",
        ),
        (
            dict(lengths=np.maximum(LENGTHS, 1)),
            "x: expected 50 samples that count of 300 steps .*, got 50 .* of [12].. steps",
        ),
    ):
        again = nr.Trainer.load(tmp_path)
        before = again.network.params.flat.copy()
        with pytest.raises(ValueError, match=f"^{message}"):
            again.fit(**sharing.begun_samples(WHOLE) | changed)
        assert np.array_equal(again.network.params.flat, before)
    again = nr.Trainer.load(tmp_path)
    again._course.shard_states.pop()
    with pytest.raises(ValueError, match="^states of shards: expected those of 8, in which .*, got 7; resume=False begins"):
        again.fit(**sharing.begun_samples(WHOLE))


def test_pieces_of_several_losses_count_the_same():
    nodes = {"h": nr.Node(nr.GRU(4), "x"), "y": nr.Node(nr.Dense(1), "h"), "z": nr.Node(nr.Dense(1), "h")}
    graph, y = nr.Graph({"x": 2}, nodes, ["y", "z"], seed=0), sharing.STEPS
    weights = {"y": np.ones((6, COUNT))}
    with pytest.raises(ValueError, match="^loss: expected one output, or samples that .* in 'y' some steps count more"):
        graph.fit({"x": X}, {"y": y, "z": y}, weights=weights, shards=2, carry=True, steps=3, progress=False)
