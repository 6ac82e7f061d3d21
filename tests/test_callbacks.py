"""What fit calls after each epoch, the schedules that follow the losses, and how far a training has come."""

import io
import sys

import numpy as np
import pytest

import numbarnn as nr
from numbarnn.training import progress


def network():
    return nr.Network([nr.RNN(3), nr.Last(), nr.Dense(1)], channels=1, seed=0, dtype="float64")


def data():
    return nr.windows(np.sin(np.arange(40.0)), 4)


def train(net, **options):
    x, y = data()
    return net.fit(x, y, batch_size=12, progress=False, **options)


class Losses(nr.Callback):
    """Puts its own numbers in the place of the validation losses, and keeps the parameters of each epoch."""

    def __init__(self, *values):
        self.values, self.seen = values, []

    def __call__(self, network, history):
        history.validation.append(self.values[len(history.loss) - 1])
        self.seen.append(network.params.flat.copy())


@pytest.mark.parametrize("min_delta, epochs, best", [(0.0, 7, 4), (0.5, 5, 2)])
def test_early_stopping(min_delta, epochs, best):
    net, losses = network(), Losses(9.0, 3.0, 4.0, 2.9, 2.9, 5.0, np.nan, 1.0)
    stopping = nr.EarlyStopping(patience=3, min_delta=min_delta)
    history = train(net, epochs=8, callbacks=[losses, stopping])
    assert len(history.loss) == epochs and stopping.epoch == best
    assert stopping.best == losses.values[best - 1]
    assert np.array_equal(net.params.flat, losses.seen[best - 1])


def test_early_stopping_restores_where_all_epochs_are_done():
    for restore in (True, False):
        net, losses = network(), Losses(3.0, 1.0, 2.0)
        stopping = nr.EarlyStopping(patience=5, restore=restore)
        assert len(train(net, epochs=3, callbacks=[losses, stopping]).loss) == 3
        assert np.array_equal(net.params.flat, losses.seen[1 if restore else 2])


def test_early_stopping_follows_the_training_without_validation_and_starts_anew():
    stopping = nr.EarlyStopping(patience=2)
    for _ in range(2):
        history = train(network(), epochs=30, callbacks=[stopping], optimizer=nr.SGD(1.5), clip=5.0)
        assert stopping.best == min(history.loss) == history.loss[stopping.epoch - 1]


def test_the_printer_is_throttled_and_prints_the_last():
    clock, file = iter([0.0, 0.5, 0.9, 1.0, 1.5, 1.9]), io.StringIO()
    printer = nr.Printer(1.0, lambda network, history: f"{len(history.loss)}", file, lambda: next(clock))
    train(network(), epochs=6, callbacks=[printer])
    assert file.getvalue().split() == ["1", "4", "6"]


def test_the_printer_prints_the_last_once(capsys):
    history = train(network(), epochs=2, callbacks=[nr.Printer(0), Losses(0.5, 0.25)])
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"epoch 1  loss {history.loss[0]:.4g}"
    assert second == f"epoch 2  loss {history.loss[1]:.4g}  validation 0.5"


def test_a_callback_learns_of_start_and_end():
    class Told(nr.Callback):
        said = []

        def start(self, network):
            self.said.append("start")

        def __call__(self, network, history):
            self.said.append(len(history.loss))
            return len(history.loss) == 2

        def finish(self, network, history):
            self.said.append("finish")

    train(network(), epochs=5, callbacks=[Told()])
    assert Told.said == ["start", 1, 2, "finish"]


def test_a_rate_that_falls_on_a_plateau():
    rate = nr.reduce_on_plateau(1.0, factor=0.5, patience=2, least=0.2, min_delta=0.1)

    def after(*losses, **other):
        return rate.after(nr.History(loss=list(losses), **other))(3, 10)

    assert rate(0, 10) == after() == after(5.0, 5.0) == 1.0
    assert after(5.0, 5.0, 4.95) == after(5.0, 5.0, 4.95, 4.0, 3.0) == 0.5
    assert after(5.0, 5.0, 5.0, 5.0, 5.0) == 0.25
    assert after(*[5.0] * 20) == 0.2
    assert after(3.0, 2.0, 1.0, validation=[1.0, 1.0, np.nan]) == 0.5
    history = train(network(), epochs=3, optimizer=nr.SGD(rate), callbacks=[Losses(2.0, 2.0, 2.0)])
    assert history.rate == [1.0, 1.0, 1.0]
    history = train(network(), epochs=4, optimizer=nr.SGD(nr.warmup(rate, 1)), callbacks=[Losses(2.0, 2.0, 2.0, 2.0)])
    assert history.rate == [1.0, 1.0, 1.0, 0.5]


def test_a_rate_that_warms_up():
    rate = nr.warmup(nr.cosine(1.0), 4)
    assert [rate(u, 8) for u in (0, 4, 6)] == [0.25, nr.cosine(1.0)(4, 8), nr.cosine(1.0)(6, 8)]


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: nr.EarlyStopping(0), ValueError, "patience: expected a positive integer, got 0"),
        (lambda: nr.EarlyStopping(min_delta=-1), ValueError, "min_delta: expected a number >= 0, got -1"),
        (lambda: nr.EarlyStopping(restore="yes"), TypeError, "restore: expected True or False, got 'yes'"),
        (lambda: nr.Printer("often"), TypeError, "seconds: expected a finite number, got 'often'"),
        (lambda: nr.reduce_on_plateau(0.1, factor=1.0), ValueError, "factor: expected a number between 0 and 1, got 1.0"),
        (lambda: nr.reduce_on_plateau(0.1, patience=1.5), TypeError, "patience: expected a positive integer, got 1.5"),
        (lambda: nr.warmup(0.1, 0), ValueError, "updates: expected a positive integer, got 0"),
        (lambda: train(network(), callbacks=[3]), TypeError, r"callbacks\[0\]: expected something to call, got int"),
    ],
)
def test_bad_input_is_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("epochs, ended, shown", [
    (7, 7, [1, 2, 3, 4, 5, 6, 7]), (1000, 1000, [1, *range(100, 1001, 100)]), (45, 45, [1, *range(5, 46, 5)]),
    (1003, 1003, [1, *range(101, 1003, 101), 1003]), (1000, 250, [1, 100, 200, 250]), (500, 1, [1]),
])  # fmt: skip
def test_some_lines_where_there_is_no_terminal(monkeypatch, epochs, ended, shown):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    history = nr.History()
    with progress.bar(epochs, True) as bar:
        for epoch in range(ended):
            history.loss.append(1 / (1 + epoch))
            bar.advance(history)
    lines = sys.stderr.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == [f"{epoch}/{epochs}" for epoch in shown]
    assert lines[-1].endswith(f"loss {1 / ended:.3g}") and len(lines) <= 12


def test_the_lines_of_a_training_say_its_losses(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    x, y = data()
    history = network().fit(x, y, epochs=3, validation=(x, y))
    lines = sys.stderr.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == ["1/3", "2/3", "3/3"]
    assert lines[2].endswith(f"loss {history.loss[2]:.3g}  validation {history.validation[2]:.3g}")


def test_a_bar_in_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    x, y = data()
    history = network().fit(x, y, epochs=3)
    text = sys.stderr.getvalue()
    assert "3/3" in text and f"loss {history.loss[2]:.3g}" in text and "\r" in text and text.endswith("\n")


def test_nothing_is_shown_unless_asked_for(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    train(network(), epochs=1)
    assert not sys.stderr.getvalue() and not progress.in_notebook()


@pytest.mark.parametrize("event, arguments", [("start", "network"), ("finish", "network, history")])
def test_what_is_called_at_start_and_end_is_a_function(event, arguments):
    kind = type("Own", (nr.Callback,), {event: None})
    net = nr.Network([nr.Dense(1)], channels=1, seed=0)
    with pytest.raises(TypeError, match=rf"callbacks\[0\].{event}: expected a function of \({arguments}\), got None"):
        net.fit(np.ones((4, 1), np.float32), np.ones((4, 1), np.float32), callbacks=[kind()], progress=False)
