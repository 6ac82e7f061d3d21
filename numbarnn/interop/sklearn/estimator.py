"""What the estimators have in common: a network made of parameters, and its training."""

import functools
from dataclasses import replace

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ...arrays.conversion import check_unmasked
from ...data.standardizer import Standardizer
from ...errors import ShapeError, finite_number, flag, integer, known_name, renamed, several
from ...layers.dense import Dense
from ...layers.dropout import Dropout
from ...layers.gru import GRU
from ...layers.last import Last
from ...layers.lstm import LSTM
from ...layers.over_time import KINDS, Pool
from ...layers.rnn import RNN
from ...network import Network
from ...trainer import Trainer
from ...training.optimizer import Optimizer
from ...training.optimizers import OPTIMIZERS
from ...training.saved import described, restored
from ...training.schedules import cosine
from ...training.stopping import EarlyStopping
from .reading import sequences_of

CELLS = {"gru": GRU, "lstm": LSTM, "rnn": RNN}
LAST = "last"


def whole_or_not(train):
    """A method that trains, after an error of which an estimator is what it was before."""

    @functools.wraps(train)
    def trained(self, *arguments, **options):
        before = dict(vars(self))
        try:
            return train(self, *arguments, **options)
        except Exception:  # not of Ctrl-C, which leaves the network as far as it has come
            vars(self).clear()
            vars(self).update(before)
            raise

    return trained


class SequenceEstimator(BaseEstimator):
    """A network that is made of an estimator's parameters, trained, and kept with what it was trained with."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def _read(self, X, reset, least=1):
        """The `Sequences` of X."""
        return sequences_of(self, X, reset, least)

    def _layers(self):
        """The layers before the last one, which gives the outputs."""
        if self.network is not None:
            return [*several("network", self.network, "layers in a list, or None")]
        cell = CELLS[known_name("cell", self.cell, CELLS)]
        readout = known_name("readout", self.readout, (LAST, *KINDS))
        with renamed(rate="dropout"):
            dropout = Dropout(self.dropout)
        recurrent = cell(self.hidden, layers=self.layers, bidirectional=self.bidirectional)
        if recurrent.layers > 1:
            recurrent = replace(recurrent, dropout=dropout.rate)
        return [recurrent, Last() if readout == LAST else Pool(readout), *([dropout] if dropout.rate else [])]

    def _optimizer(self, schedule=None):
        """The optimizer; `schedule` makes one of a learning rate that is a number."""
        if isinstance(self.optimizer, Optimizer):
            return self.optimizer
        kind = OPTIMIZERS[known_name("optimizer", self.optimizer, OPTIMIZERS)]
        whole = schedule is None or callable(self.learning_rate)
        with renamed(rate="learning_rate"):
            return kind(self.learning_rate if whole else schedule(self.learning_rate))

    def _begin(self, x, weights, outputs):
        """Make the network, and learn what it is standardized by (are attributes afterwards); the random numbers.

        Parameters
        ----------
        x : Ragged
        weights : numpy.ndarray or None
            (N,): what each sequence counts.
        outputs : int
        """
        random = check_random_state(self.random_state)
        with renamed(x="X"):
            standardizer = Standardizer.of(x, weights=weights) if flag("standardize", self.standardize) else None
        network = Network([*self._layers(), Dense(outputs)], x.channels, self.dtype, layout="ntc", seed=_seed(random))
        if "t" in network.output_layout:
            raise ShapeError(
                "network: expected layers that give one row for each sequence, as Last() and Pool do, got all steps"
            )
        self.standardizer_, self.network_, self._trainer = standardizer, network, None
        return random

    def _standardized(self, x):
        """What the network reads, of its dtype."""
        with renamed(x="X", data="X"):
            return (x if self.standardizer_ is None else self.standardizer_(x)).astype(self.network_.dtype)

    def _drawn(self, count, random, strata=None):
        """A function of a part, of so many samples: (those that are kept, those that are held out at random)."""

        def drawn(part):
            try:
                return train_test_split(np.arange(count), test_size=part, random_state=_seed(random), stratify=strata)
            except ValueError as error:
                of_classes = "" if strata is None else " of each class"
                expected = f"a part that keeps a sample{of_classes} and holds out one"
                message = f"validation_fraction: expected {expected}, got {part:g} of {count} samples: {error}"
                raise ValueError(message) from None

        return drawn

    def _fit(self, x, y, weights, loss, random, split):
        """Train the network on what it reads; split: a function of a part, (samples kept, samples held out)."""
        validation, callbacks = None, []
        if flag("early_stopping", self.early_stopping):
            part = finite_number("validation_fraction", self.validation_fraction, above=0)
            if part >= 1:
                raise ValueError(f"validation_fraction: expected a number between 0 and 1, got {part:g}")
            with renamed(patience="n_iter_no_change", min_delta="tol"):
                callbacks = [EarlyStopping(self.n_iter_no_change, self.tol)]
            kept, out = split(part)
            validation = x[out], y[out], None, None if weights is None else weights[out]
            x, y, weights = x[kept], y[kept], None if weights is None else weights[kept]
        with renamed(weights="sample_weight"):
            self.history_ = self.network_.fit(
                x, y, loss=loss, optimizer=self._optimizer(cosine), epochs=self.epochs, batch_size=self.batch_size,
                seed=_seed(random), clip=self.clip, validation=validation, callbacks=callbacks, weights=weights,
                progress=self._shown,
            )  # fmt: skip
        self.n_iter_ = len(self.history_.loss)
        return self

    @property
    def _shown(self):
        """Whether a training shows how far it is: `verbose` may be a number, as elsewhere in scikit-learn; 0 is no."""
        if isinstance(self.verbose, (bool, np.bool_)):
            return bool(self.verbose)
        return integer("verbose", self.verbose, "True, False or an integer") > 0

    def _check_partial(self):
        """Raise unless the parameters are such that a part of all samples can be trained on."""
        if flag("early_stopping", self.early_stopping):
            raise ValueError("early_stopping: expected False in partial_fit, which takes one epoch, got True")

    def _targets(self, y):
        """`y`, unless there is none, or it has a mask."""
        if y is None:
            raise ValueError(f"This {type(self).__name__} requires y to be passed, but the target y is None.")
        check_unmasked("y", y)
        return y

    def _fit_on(self, x, y, weights, loss, random):
        """One more epoch, on what the network reads; random: of a training that begins, else None."""
        if self._trainer is None:
            random = check_random_state(self.random_state) if random is None else random
            self._trainer = Trainer(self.network_, loss, self._optimizer(), clip=self.clip, seed=_seed(random))
        with renamed(weights="sample_weight"):
            self.history_ = self._trainer.fit(
                x, y, epochs=1, batch_size=self.batch_size, weights=weights, progress=self._shown
            )
        self.n_iter_ = len(self.history_.loss)
        return self

    def _to_predict(self, X):
        """The `Sequences` of X, of an estimator that is fitted."""
        check_is_fitted(self, "network_")
        return self._read(X, reset=False)

    def __getstate__(self):
        """What is pickled: a trainer as what it is made of, since it holds addresses of memory."""
        state = dict(super().__getstate__())
        if state.get("_trainer") is not None:
            state["_trainer"] = described(state["_trainer"]._course)
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        if state.get("_trainer") is not None:
            self._trainer = Trainer._of(restored(self.network_, state["_trainer"]))


def _seed(random):
    """A seed of the library's, drawn from a RandomState of NumPy."""
    return int(random.randint(2**31 - 1))
