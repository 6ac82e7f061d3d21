"""What tests/test_mpi_sharing.py runs under mpiexec: pieces, accumulated batches, held-out samples, begun epochs."""

import contextlib
import os
import shutil
import tempfile

import numpy as np
from mpi_scenarios import COUNT, LABELS, LENGTHS, WORDS, X, Y, bits, network, numbers, plain, spread, stepwise

import numbarnn as nr

STEPS = np.tanh(X.sum(2, keepdims=True).cumsum(0))


def of_pieces(seed=0):
    """Two layers with states, and masks."""
    return nr.Network([nr.GRU(4), nr.Dropout(0.2), nr.LSTM(3), nr.Dense(1)], channels=2, seed=seed)


def accumulated(comm, own):
    """Of five batches the last two are an update: one sum over the ranks for each."""
    trainer = nr.Trainer(
        network(comm.rank if comm else 0), accumulate=3, clip=0.5, optimizer=nr.AdamW(nr.cosine(0.01)), seed=5, epochs=3,
        comm=comm, shards=8,
    )  # fmt: skip
    history = trainer.fit(X[:, own], Y[own], batch_size=10, progress=False)
    return [trainer.step, *bits(trainer.network, history)]


def pieces(comm, own):
    """Of samples of all lengths, some of no step: shards come to their ends in different pieces."""
    net = of_pieces(comm.rank if comm else 0)
    history = net.fit(
        X[:, own], STEPS[:, own], lengths=LENGTHS[own], carry=True, steps=2, epochs=2, batch_size=16, comm=comm, shards=8,
        metrics=["mae"], validation=(X[:, own], STEPS[:, own]), progress=False,
    )  # fmt: skip
    return bits(net, history) + [value.hex() for value in history.metrics["mae"]]


def pieces_of_a_graph(comm, own):
    nodes = {"h": nr.Node([nr.GRU(4), nr.Dropout(0.2)], "x"), "y": nr.Node(nr.Dense(1), "h"), "z": nr.Node(nr.Dense(2), "h")}
    net = nr.Graph({"x": 2}, nodes, ["y", "z"], seed=comm.rank if comm else 0)
    history = net.fit(
        {"x": X[:, own]}, {"y": STEPS[:, own], "z": X[:, own]}, carry=True, steps=4, epochs=2, batch_size=16, comm=comm,
        shards=4, progress=False,
    )  # fmt: skip
    return bits(net, history)


def pieces_with_feedback(comm, own):
    """The last output of a piece is fed at the first step of the next one."""
    net = nr.Network([nr.GRU(4), nr.Dense(2)], channels=2, seed=comm.rank if comm else 0)
    history = net.fit(
        X[:, own], X[:, own], feedback=nr.Feedback(every=4), carry=True, steps=3, epochs=2, batch_size=16, comm=comm,
        shards=4, validation_split=0.3, progress=False,
    )  # fmt: skip
    return bits(net, history)


def held_out(comm, own):
    """Early stopping by the samples that are held out: all end with the same parameters."""
    net, stopping = network(comm.rank if comm else 0), nr.EarlyStopping(patience=2)
    history = net.fit(
        X[:, own], Y[own], epochs=40, batch_size=16, optimizer=nr.SGD(0.9, momentum=0.95), seed=5, comm=comm, shards=8,
        validation_split=0.3, metrics=["mae", spread], callbacks=[stopping], progress=False,
    )  # fmt: skip
    assert len(history.loss) < 40
    return bits(net, history) + [value.hex() for values in history.metrics.values() for value in values]


def held_out_steps(comm, own):
    net = stepwise(comm.rank if comm else 0)
    history = net.fit(
        X[:, own], STEPS[:, own], lengths=np.maximum(LENGTHS, 2)[own], epochs=2, batch_size=16, seed=5, comm=comm, shards=8,
        validation_split=0.3, split_by="time", progress=False,
    )  # fmt: skip
    return bits(net, history)


def held_out_of_a_graph(comm, own):
    nodes = {"y": nr.Node([nr.GRU(4), nr.Last(), nr.Dense(1)], "x")}
    net = nr.Graph({"x": 2}, nodes, ["y"], seed=comm.rank if comm else 0)
    history = net.fit(
        {"x": X[:, own]}, {"y": Y[own]}, epochs=2, comm=comm, shards=4, validation_split=0.3, seed=5, progress=False
    )
    return bits(net, history)


class Killed(nr.Callback):
    """Ends the training by an error after so many updates, which are saved before."""

    def __init__(self, update):
        self.left = update + 1

    def batch(self, network, loss):
        self.left -= 1
        if not self.left:
            raise LookupError


def in_an_epoch(comm, make, update, options, samples, alone=None):
    """What a training comes to that goes on in the middle of an epoch, and one that was not stopped.

    alone: a training on all samples that rank 0 begins without the others, in the place of one of all ranks.
    """
    folder = tempfile.mkdtemp() if comm is None or comm.rank == 0 else None
    folder = folder if comm is None else comm.bcast(folder)
    whole = nr.Trainer(make(comm.rank if comm else 0), comm=comm, **options)
    whole.fit(**samples)
    if alone is None or comm is None or comm.rank == 0:
        begun = nr.Trainer(make(), comm=None if alone else comm, **options)
        with contextlib.suppress(LookupError, nr.RankError):
            begun.fit(**alone or samples, callbacks=[nr.Checkpoint(folder, unit="update"), Killed(update)])
    if comm is not None:
        comm.barrier()
    again, said, file = nr.Trainer.load(folder, comm=comm), "", ""
    left = again.step
    if comm is None or comm.rank == 0:
        file = open(os.path.join(folder, f"{update:010}.safetensors"), "rb").read().hex()
    if comm is not None and options.get("shards") is None:
        try:
            nr.Trainer.load(folder).fit(**samples)
        except ValueError as error:
            said = str(error)
    if comm is not None:
        comm.barrier()
    again.fit(**samples)
    if comm is None or comm.rank == 0:
        shutil.rmtree(folder)
    found = {"left": left, "whole": bits(whole.network, whole.history), "again": bits(again.network, again.history)}
    return found, said, file


def stopped_in_an_epoch(comm, own):
    """Masks, orders and losses go on; updates are of three batches, of which the last has one."""
    options = dict(accumulate=3, optimizer=nr.AdamW(nr.cosine(0.01)), seed=5, epochs=3, shards=8)
    samples = dict(x=X[:, own], y=Y[own], batch_size=8, validation_split=0.2, progress=False)
    found = in_an_epoch(comm, network, 5, options, samples)[0]
    assert found["left"] == 5 and found["whole"] == found["again"]
    return found


BEGUN = dict(optimizer=nr.AdamW(nr.cosine(0.01)), seed=5, epochs=2, shards=8)

begun_network = of_pieces


def begun_samples(own):
    return dict(x=X[:, own], y=STEPS[:, own], batch_size=16, carry=True, steps=4, progress=False)


def stopped_in_a_batch(comm, own):
    """Between two pieces of it: states go on, too."""
    found = in_an_epoch(comm, begun_network, 5, BEGUN, begun_samples(own))[0]
    assert found["left"] == 5 and found["whole"] == found["again"]
    return found


def begun(comm, own):
    return {"file": in_an_epoch(comm, begun_network, 5, BEGUN, begun_samples(own))[2]}


def goes_on_with_what_one_began(comm, own):
    """One process is stopped between two pieces, and all ranks go on."""
    found = in_an_epoch(comm, begun_network, 5, BEGUN, begun_samples(own), begun_samples(slice(0, COUNT)))[0]
    assert found["left"] == 5 and found["whole"] == found["again"]
    return found


def plain_held_out(comm, own):
    """The last samples are held out: the last of four ranks trains on nothing, the first measures nothing."""
    net = plain(comm.rank)
    history = net.fit(
        X[:, own], Y[own], epochs=3, batch_size=COUNT, optimizer=nr.SGD(0.1), comm=comm, validation_split=0.3,
        split_by="time", seed=4, progress=False,
    )  # fmt: skip
    return numbers(net, history)


def held_out_words(comm, own):
    """The last of four ranks trains on no label, and rank 0, which measures the metrics, holds out none."""
    net = nr.Network([nr.Embedding(20, 3), nr.GRU(4), nr.Last(), nr.Dense(3)], seed=0 if comm is None else comm.rank)
    history = net.fit(
        WORDS[:, own], LABELS[own], nr.CrossEntropy(ignore_index=1), epochs=3, batch_size=COUNT, optimizer=nr.SGD(0.1),
        comm=comm, validation_split=0.3, split_by="time", metrics=["accuracy", spread], progress=False,
    )  # fmt: skip
    return numbers(net, history) | history.metrics


def stopped_plain(comm, own):
    """Without shards as many ranks go on."""
    options = dict(optimizer=nr.AdamW(nr.cosine(0.01)), seed=5, epochs=2)
    samples = dict(x=X[:, own], y=STEPS[:, own], batch_size=16, carry=True, steps=4, progress=False)
    found, said, _ = in_an_epoch(comm, of_pieces, 5, options, samples)
    return found | {"said": said}


SCENARIOS = {
    each.__name__: each
    for each in (
        accumulated, pieces, pieces_of_a_graph, pieces_with_feedback, held_out, held_out_steps, held_out_of_a_graph,
        stopped_in_an_epoch, stopped_in_a_batch, begun, goes_on_with_what_one_began, plain_held_out, held_out_words,
        stopped_plain,
    )
}  # fmt: skip
