"""Outputs that are fed back where a sequence is taken in pieces, in trainings and predictions, or its end is held out."""

import numpy as np
import pytest
from checks import same_bits
from test_feedback import Stop, network, numbers, strengths
from test_feedback_lengths import LENGTHS, packed

import numbarnn as nr
from numbarnn.layers.fed import FED, Fed
from numbarnn.networks.function import Function
from numbarnn.training.workspace import Workspace


@pytest.mark.parametrize("lengths", [None, (7, 3, 6)])
def test_a_training_in_pieces_goes_on_with_the_last_output(lengths):
    x, y, a = numbers((7, 3, 2)), numbers((7, 3, 2), 1), strengths("each", (7, 3, 2))
    net, own = network("lstm", channels=2), network("lstm", channels=2)
    ends = np.full(3, 7) if lengths is None else np.array(lengths)
    net.fit(
        x, y, lengths=lengths, feedback=nr.Feedback(a), carry=True, steps=3, shuffle=False, epochs=1, batch_size=3,
        optimizer=nr.SGD(0.1), progress=False,
    )  # fmt: skip
    trainer, state, before = nr.Trainer(own, optimizer=nr.SGD(0.1)), None, None
    for first in (0, 3, 6):
        piece, strength = x[first : first + 3].copy(), a[first : first + 3].copy()
        if first:  # what is read at the first step is a constant: no derivative goes back over the cut
            piece[0] = np.where(strength[0] == 1, piece[0], strength[0] * piece[0] + (1 - strength[0]) * before)
        steps = np.clip(ends - first, 0, len(piece))
        options = {"feedback": nr.Feedback(strength), "lengths": None if lengths is None else steps}
        outputs, _ = own(piece, state, **options)
        before = outputs[-1].copy() if lengths is None else outputs[steps - 1, np.arange(3)].copy()
        _, state = trainer.update(piece, y[first : first + 3], state=state, **options)
    if lengths is None:
        assert same_bits(net.params.flat, own.params.flat)
    else:  # a mean over the steps of a piece; sums over others than those that have ended
        np.testing.assert_allclose(net.params.flat, own.params.flat, rtol=1e-12, atol=1e-14)


def test_the_output_that_is_lost_at_a_cut_is_noticed(monkeypatch):
    x, y, options = numbers((6, 2, 2)), numbers((6, 2, 2), 1), {"carry": True, "steps": 2, "progress": False, "epochs": 1}
    one, other = network(channels=2), network(channels=2)
    one.fit(x, y, feedback=nr.Feedback(), **options)
    final = Workspace.final
    monkeypatch.setattr(Workspace, "final", lambda self: {k: v for k, v in final(self).items() if k != FED})
    other.fit(x, y, feedback=nr.Feedback(), **options)
    assert not same_bits(one.params.flat, other.params.flat)


@pytest.mark.parametrize("lengths", [None, (9, 6, 4)])
@pytest.mark.parametrize("kind", ["number", "steps", "mask", "each"])
def test_the_last_steps_are_held_out(kind, lengths):
    """They are sequences of their own, with strengths of their own: given at the first step, and `every` counts from it."""
    x, y = numbers((9, 3, 2)), numbers((9, 3, 2), 1)
    a = np.asarray(strengths(kind, (9, 3, 2)))
    x[1, 1, 0] = np.nan  # filled by what is fed
    own = np.broadcast_to(a.reshape(*a.shape, *(1,) * (3 - a.ndim)), x.shape)
    ends = np.array(lengths or (9,) * 3)
    cuts = ends - np.round(ends * 0.4).astype(int)
    left, held = np.zeros((2, *x.shape)), [np.zeros((4, 3, 2)) for _ in range(3)]
    for n, (cut, end) in enumerate(zip(cuts, ends)):
        for to, source in zip(held, (x, y, own)):
            to[: end - cut, n] = source[cut:end, n]
        left[0, :cut, n], left[1, :cut, n] = x[:cut, n], y[:cut, n]
    ways = {"epochs": 2, "progress": False, "optimizer": nr.SGD(0.1), "batch_size": 2, "shuffle": False}
    split, apart = network(channels=2), network(channels=2)
    found = split.fit(
        x, y, feedback=nr.Feedback(a, every=3, missing=True), lengths=lengths, validation_split=0.4, split_by="time", **ways
    )
    most = cuts.max()
    expected = apart.fit(
        left[0, :most], left[1, :most], feedback=nr.Feedback(own[:most].copy(), every=3, missing=True),
        lengths=None if lengths is None else cuts, **ways,
    )  # fmt: skip
    assert found.loss == expected.loss and same_bits(split.params.flat, apart.params.flat)
    fed = nr.Feedback(held[2], every=3, missing=True)
    lengths = None if lengths is None else ends - cuts
    assert split.loss(held[0], held[1], lengths=lengths, feedback=fed) == found.validation[-1]
    ragged = [packed(each, ends) for each in (x, y)]
    again = network(channels=2).fit(
        *ragged, feedback=nr.Feedback(a, every=3, missing=True), validation_split=0.4, split_by="time", **ways
    )
    np.testing.assert_allclose(again.validation, found.validation, rtol=1e-12)


def test_the_first_step_that_is_held_out_must_have_been_observed():
    net, x, y = network(channels=2), numbers((10, 1, 2)), numbers((10, 1, 2), 1)
    x[6, 0, 1], flat = np.nan, net.params.flat.copy()
    message = "^validation x: .*got nan at step 0, sequence 0, channel 1.*but at the first step"
    with pytest.raises(nr.NonFiniteError, match=message):
        net.fit(x, y, feedback=nr.Feedback(missing=True), validation_split=0.4, split_by="time", progress=False)
    assert same_bits(net.params.flat, flat)


def test_a_training_in_pieces_is_resumed_to_the_bit(tmp_path):
    x, y = numbers((7, 3, 2)), numbers((7, 3, 2), 1)
    options = {"carry": True, "steps": 2, "feedback": nr.Feedback(0.2), "batch_size": 3, "progress": False}
    whole = nr.Trainer(network("lstm", channels=2))
    whole.fit(x, y, epochs=2, **options)
    with pytest.raises(KeyboardInterrupt):
        nr.Trainer(network("lstm", channels=2)).fit(
            x, y, epochs=2, callbacks=[Stop(), nr.Checkpoint(tmp_path, 1, "update")], **options
        )
    resumed = nr.Trainer.load(tmp_path)
    assert resumed.fit(x, y, **options).loss == whole.history.loss
    assert same_bits(resumed.network.params.flat, whole.network.params.flat)


@pytest.mark.parametrize("kind", ["gru", "lstm", "without a state"])
def test_long_sequences_are_predicted_in_pieces(kind, monkeypatch):
    net, x, y = network(kind, channels=2), numbers((9, 1, 2)), numbers((9, 1, 2), 1)
    feedback = nr.Feedback(strengths("each", (9, 1, 2)), every=4)
    whole, loss = net.predict(x, feedback=feedback).copy(), net.loss(x, y, feedback=feedback)
    monkeypatch.setattr(Function, "_piece_rows", 4)
    calls, fill = [], Fed.fill
    monkeypatch.setattr(Fed, "fill", lambda self, *arguments: calls.append(1) or fill(self, *arguments))
    assert same_bits(net.predict(x, feedback=feedback).copy(), whole) and len(calls) == 3
    assert same_bits(net.predict(x[:, 0], feedback=nr.Feedback(feedback.forcing, every=4)).copy(), whole[:, 0].copy())
    assert net.loss(x, y, feedback=feedback) == pytest.approx(loss, rel=1e-14)


def test_many_sequences_are_predicted_some_at_a_time(monkeypatch):
    net, x, feedback = network(), numbers((6, 5, 3)), nr.Feedback(strengths("each", (6, 5, 2)))
    first = nr.Feedback(strengths("steps", (6, 5, 2)))
    reset = np.random.default_rng(0).random((6, 5)) < 0.3
    ways = [
        lambda: net.predict(x, feedback=feedback),
        lambda: net.predict(x, LENGTHS, reset, feedback=feedback),
        lambda: net.predict(packed(x, LENGTHS), feedback=first).data,
    ]
    whole = [way().copy() for way in ways]
    monkeypatch.setattr(Function, "_piece_rows", 8)
    assert all(same_bits(way().copy(), expected) for way, expected in zip(ways, whole))
    with pytest.raises(nr.ShapeError, match=r"feedback: expected forcing of shape \(6, 5\) \(T, N\), got \(6, 4\)"):
        net.predict(x, feedback=nr.Feedback(np.zeros((6, 4))))
    assert net.predict(x[:, :0], feedback=nr.Feedback()).shape == (6, 0, 2)
