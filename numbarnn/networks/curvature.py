"""Jacobians of a network, and what its loss's second derivatives make of a vector, at a vector of parameters."""

from collections.abc import Callable

import numpy as np

from ..arrays.descriptor import TensorDescriptor, checked_array, in_layout
from ..arrays.devices import backend, contiguous, native
from ..arrays.ragged import Ragged
from ..arrays.rows import like, numbers
from ..engine.keep import ALL
from ..errors import DeviceError, DTypeError, NonFiniteError, ShapeError
from ..layers.fed import FedAdjoint
from ..layers.feedback import Feedback
from ..layers.images import OfImages
from ..layers.tangents import Tangents
from ..parameters import Parameters
from ..training.losses import NashSutcliffe, is_of_library
from ..training.losses import loss as find_loss
from ..training.samples import Samples
from ..training.workspace import Workspace
from .derivatives import moved_by
from .objective import Objective
from .placing import brought

ROWS = 1 << 13  # steps of all sequences that outputs go back through together: what they keep stays in the L3 cache
LENGTHS = 16  # to which steps are cut at most, so that outputs do not go back from far behind them
CAUSAL = 1.5  # tangents of all steps in the time that an output's way back takes, from where it is on
TOGETHER = 64  # tangents at once: each loads the weights that all share
TINY = 2.0**-200  # of tangents in dual numbers: where NumPy multiplies complex numbers, the squares vanish
TANGENT_NUMBERS = 1 << 22  # numbers of a layer's rows that several tangents have at once, at most


class Curvature(Objective):
    """The part of a network that solvers of least squares and Newton's methods ask."""

    def jacobian(
        self,
        flat: np.ndarray,
        x: np.ndarray | Ragged,
        lengths: np.ndarray | None = None,
        reset: np.ndarray | None = None,
        feedback: Feedback | None = None,
    ) -> np.ndarray:
        """The derivative of every output with respect to every parameter, at the parameters `flat`.

        The network's own parameters stay as they are.  Of residuals ``(net.predict(x) - y).ravel()`` it is, as
        ``jacobian.reshape(y.size, -1)``, what ``scipy.optimize.least_squares(jac=)`` takes.

        Parameters
        ----------
        flat : numpy.ndarray
            (P,): as long as ``params.flat`` and of the network's dtype.
        x : array, list, DataFrame or Ragged
            As in `predict`.
        lengths : array of int, optional
            (N,): the steps of each sample in a padded x.
        reset : array of bool, optional
            (T, N): where True, a sample starts afresh.
        feedback : Feedback, optional
            As in a call of the network: the derivative of outputs that are fed back.

        Returns
        -------
        numpy.ndarray
            Shaped like ``predict(x)`` with one more axis, the last, of P: ``(N, C, P)`` after `Last`, else ``(T, N, C, P)``
            in the network's layout, 0 past the end of a sequence.  Of outputs that are Ragged ``(rows, C, P)``, row by row
            as in their ``data``.  It takes as many numbers as outputs times parameters, and lies where `flat` does.

        Raises
        ------
        ShapeError, LayoutError, DTypeError, TypeError, ValueError
            Named after the argument that is not as described.
        DeviceError
            On a GPU, for a layer that normalizes.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> from scipy.optimize import least_squares
        >>> net = nr.Network([nr.RNN(3), nr.Last(), nr.Dense(1)], channels=1, dtype="float64", seed=0)
        >>> x, y = nr.windows(np.sin(np.arange(40) / 3), 4)
        >>> def residuals(flat):
        ...     net.params.flat[:] = flat
        ...     return (net.predict(x) - y).ravel()
        >>> def jacobian(flat):
        ...     return net.jacobian(flat, x).reshape(y.size, -1)
        >>> jacobian(net.params.flat).shape
        (36, 22)
        >>> found = least_squares(residuals, net.params.flat, jacobian, method="lm", max_nfev=100)
        >>> bool(found.cost < 1e-3)
        True
        """
        (given, home), x = self._parameters_at(flat), self._read("x", x)
        batch, described = self._described(x, lengths, reset)
        strengths = None
        if feedback is not None:
            self._check_feedback(feedback)
            strengths = feedback._strengths_of(described, self.output_channels)
        output, tapes, fed = self._passed(self.split(given.flat), described, strengths)
        letters = self._letters(batch)

        def give(moved):
            if output.packing.uniform:
                return in_layout(moved.array, letters)
            padded = batch.give(moved)
            return padded.data if isinstance(padded, Ragged) else padded

        uniform = output.packing.uniform and described.packing.uniform
        if uniform and not self.takes_indices and self.device == "cpu" and fed is None:
            found = self._jacobian_of_rows(given, described, output)
            if found is not None:
                return _laid_out(found, letters)
        jacobian, at = backend(self.device).memory.zeros((*give(output).shape, len(given)), self.dtype), 0
        for index, part in enumerate(self.split(given.flat)):
            for first, several in self._moved_by_parameters(tapes, fed, index, part):
                for m, moved in enumerate(several):
                    jacobian[..., at + first + m] = give(moved)
            at += len(part)
        return brought(jacobian, home)

    def _jacobian_of_rows(self, given, described, output):
        """(T, N, C, P) by backward: of a batch that has each sequence again for every output of one, each row its gradient.

        None where the tangents of all parameters are fewer, or a layer cannot tell rows apart.
        """
        steps, batch, channels = numbers(output).shape
        outputs, rows = steps * channels, described.packing.rows
        causal = self._goes_on and steps > 1  # then nothing comes back from behind an output's step
        together = max(1, min(outputs, ROWS // rows))
        if outputs > (CAUSAL if causal else 1) * len(given) or together * batch < 2:
            return None
        jacobian, parts = np.empty((outputs, batch, len(given)), self.dtype), self.split(given.flat)
        source, made, grain = numbers(described), None, -(-steps // LENGTHS) if causal else steps
        for first in range(0, outputs, together):
            count = min(together, outputs - first)
            length = -(-((first + count - 1) // channels + 1) // grain) * grain if causal else len(source)
            if made != (count, length):
                made, copies = (count, length), np.tile(source[:length], (1, count, 1))
                copied, tapes = self._forward(parts, TensorDescriptor.of_tnc(copies), ALL)
                if count * batch < 2 or not all(tape.operation.separable() for tape in tapes):
                    return None
            dy = like(copied)
            ways = numbers(dy)
            ways[...] = 0
            for k in range(count):
                step, channel = divmod(first + k, channels)
                ways[step, k * batch : (k + 1) * batch, channel] = 1
            self._rows_gone_back(tapes, dy, jacobian[first : first + count].reshape(count * batch, -1))
        return jacobian.reshape(steps, channels, batch, -1).swapaxes(1, 2)

    def _rows_gone_back(self, tapes, described, gradients):
        """Write the gradient of each row of a batch, (N, P) (is modified), from a descriptor of dL/dy."""
        end = gradients.shape[1]
        for index in reversed(range(len(tapes))):
            part = tapes[index].parameters
            begin = end - len(part)
            adjoint = tapes[index].adjoint(described, index > 0, part, False, rows=gradients[:, begin:end])
            adjoint.fill()
            described, end = adjoint.dx, begin

    def sample_gradients(
        self,
        flat: np.ndarray,
        x: np.ndarray | Ragged,
        y: np.ndarray | Ragged,
        loss: str | Callable = "mse",
        lengths: np.ndarray | None = None,
        weights: np.ndarray | Ragged | None = None,
        reset: np.ndarray | None = None,
        feedback: Feedback | None = None,
    ) -> np.ndarray:
        """The gradient of each sample's loss by itself, at the parameters `flat`: ``(N, P)``.

        Row n is what `loss_and_gradient` gives for sample n alone: the loss is the mean over that sample.  The network's own
        parameters stay as they are.  Samples of equal length go back through time together, and their products are summed
        apart; others, and layers whose parameters are no weights, take a call each.

        Parameters
        ----------
        flat, x, y, loss, lengths, weights, reset
            As in `loss_and_gradient`.

        Returns
        -------
        numpy.ndarray
            (N, P), new.  Of a sample in which nothing counts, as its weights are 0, it is 0.

        Raises
        ------
        ShapeError, LayoutError, DTypeError, TypeError, ValueError
            Named after the argument that is not as described.
        DeviceError
            For a network on a GPU.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> net = nr.Network([nr.GRU(3), nr.Last(), nr.Dense(1)], channels=1, dtype="float64", seed=0)
        >>> x, y = nr.windows(np.sin(np.arange(40) / 3), 4)
        >>> found = net.sample_gradients(net.params.flat, x, y)
        >>> found.shape
        (36, 58)
        >>> np.allclose(found.mean(axis=0), net.loss_and_gradient(net.params.flat, x, y)[1])
        True
        """
        self._check_host()
        (given, _), loss = self._parameters_at(flat), find_loss(loss)
        samples = Samples.of(self, x, y, lengths, loss, weights, reset, feedback)
        count = samples.x.count
        found = np.zeros((count, len(given)), self.dtype)
        if not self._sample_gradients_together(given, samples, loss, found):
            for n in range(count):
                alone = samples.take(np.array([n]))
                if samples.lengths_of_x[n] or not samples.y.stepped:
                    Workspace(self, self.split(found[n]), self.split(given.flat)).gradient(alone, loss)
        return found

    def _sample_gradients_together(self, given, samples, loss, found):
        """Write the gradients of samples of equal length at once (`found` is modified); whether that could be done.

        The mean loss is the sum of the samples' own, weighed by what each counts, which says what each one's derivative is.
        """
        means = is_of_library(loss) and not isinstance(loss, NashSutcliffe)  # whose spread is of all samples
        if not means or samples.feedback or samples.ragged or self.takes_indices or len(found) < 2:
            return False
        batch, described = samples.batch()
        output, tapes = self._forward(self.split(given.flat), described, ALL)
        if not all(tape.operation.separable() for tape in tapes):
            return False
        prediction = self._rows(output, samples).copy()
        compared = self._target_rows(batch, output, samples), self._weight_rows(batch, samples)
        dy = like(output)
        self._rows(dy, samples)[...] = self._call_loss(loss, prediction, *compared, samples)[1]
        counts = samples.counts
        shares = np.divide(counts.sum(), counts, out=np.zeros_like(counts), where=counts > 0)
        numbers(dy)[...] *= shares[:, None].astype(self.dtype)
        self._rows_gone_back(tapes, dy, found)
        return True

    def _moved_by_parameters(self, tapes, fed, index, part):
        """(first, descriptors): the output's tangents by some of a layer's parameters at a time, one each, in order."""
        rows, widest = tapes[0].x.packing.rows, max(self.output_channels, *self._inputs)
        together = max(1, min(TOGETHER, TANGENT_NUMBERS // max(1, rows * widest)))
        for first in range(0, len(part), together):
            count = min(together, len(part) - first)
            ways = np.zeros((count, len(part)), self.dtype)
            ways[np.arange(count), first + np.arange(count)] = 1
            parameters = [Parameters(way, part.weights) for way in brought(ways, self.device)]
            ways = [Tangents(count) for _ in tapes]
            ways[index].parameters = parameters
            first_moved = index if fed is None else 0  # where outputs are fed back, all layers' inputs move
            moved = moved_by(ways[first_moved:], tapes[first_moved:], fed)
            if moved is not None:
                yield first, moved

    def gauss_newton_product(
        self,
        flat: np.ndarray,
        x: np.ndarray | Ragged,
        y: np.ndarray | Ragged,
        vector: np.ndarray,
        loss: str | Callable = "mse",
        lengths: np.ndarray | None = None,
        weights: np.ndarray | Ragged | None = None,
        reset: np.ndarray | None = None,
        feedback: Feedback | None = None,
    ) -> np.ndarray:
        """The product of the loss's Gauss-Newton matrix with a vector, at the parameters `flat`: ``J' H J v``.

        J is `jacobian`, and H the second derivative of the loss with respect to the outputs: of ``"mse"`` ``2 / n`` on the
        diagonal, for n numbers.  It is the Hessian without the second derivatives of the outputs, which vanish where they
        are fitted; of a loss that is convex in the outputs it has no negative eigenvalue.  It costs one forward, one `jvp`
        and one backward; no matrix is made.

        Parameters
        ----------
        flat, x, y, lengths, weights, reset, feedback
            As in `loss_and_gradient`.
        vector : numpy.ndarray
            v, (P,), of the network's dtype.
        loss : str or callable
            A loss of the library, or one of your own with a method ``hessian_product(prediction, target, direction)``, with
            ``weights=`` where there are some, which returns H times a direction, shaped like the prediction.

        Returns
        -------
        numpy.ndarray
            (P,), new, where `flat` lies.  On a GPU only the loss's H is applied on the host.

        Raises
        ------
        TypeError
            If a loss of your own has no ``hessian_product``.
        ShapeError, LayoutError, DTypeError, NonFiniteError, ValueError
            Named after the argument that is not as described.
        DeviceError
            On a GPU, for a layer that normalizes.

        References
        ----------
        Schraudolph 2002, doi:10.1162/08997660260028683; Martens 2010, Deep learning via Hessian-free optimization.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> net = nr.Network([nr.GRU(3), nr.Last(), nr.Dense(1)], channels=1, dtype="float64", seed=0)
        >>> x, y = nr.windows(np.sin(np.arange(40) / 3), 4)
        >>> flat, v = net.params.flat, np.ones(len(net.params))
        >>> J = net.jacobian(flat, x).reshape(y.size, -1)
        >>> np.allclose(net.gauss_newton_product(flat, x, y, v), 2 / y.size * J.T @ (J @ v))
        True
        """
        (given, home), loss = self._parameters_at(flat), _curved(find_loss(loss))
        vector = self._direction("vector", vector)
        samples = Samples.of(self, x, y, lengths, loss, weights, reset, feedback)
        batch, described = samples.batch()
        output, tapes, fed = self._passed(self.split(given.flat), described, samples.strength_rows(batch))
        moved = moved_by([Tangents(1, [part]) for part in self.split(vector)], tapes, fed)
        gradient = given.zeros()
        if moved is not None:
            prediction, direction = (brought(self._rows(each, samples).copy(), "cpu") for each in (output, moved[0]))
            compared = self._target_rows(batch, output, samples), self._weight_rows(batch, samples)
            compared = (None if each is None else brought(each, "cpu") for each in compared)
            dy = self._curvature_of(loss, prediction, *compared, direction, samples)
            self._gone_back(tapes, fed, output, samples, brought(dy, self.device), self.split(gradient.flat))
        return brought(gradient.flat, home)

    def hvp(
        self,
        flat: np.ndarray,
        x: np.ndarray | Ragged,
        y: np.ndarray | Ragged,
        vector: np.ndarray,
        loss: str | Callable = "mse",
        lengths: np.ndarray | None = None,
        weights: np.ndarray | Ragged | None = None,
        reset: np.ndarray | None = None,
        feedback: Feedback | None = None,
    ) -> np.ndarray:
        """The product of the loss's Hessian with a vector, at the parameters `flat`: exact, and no matrix is made.

        Forward and backward run once, in float64, on dual numbers, a value and how it moves along the vector: the tangent of
        the gradient is the product.  Cells and activation functions of your own have it by their equations.  Where one has a
        kink, it is that of one of its sides.

        Parameters
        ----------
        flat, x, y, lengths, weights, reset, feedback
            As in `loss_and_gradient`.
        vector : numpy.ndarray
            v, (P,), of the network's dtype.
        loss : str or callable
            As in `gauss_newton_product`.

        Returns
        -------
        numpy.ndarray
            (P,), new.

        Raises
        ------
        TypeError
            If a loss of your own has no ``hessian_product``, or a layer of images is in the network.
        ShapeError, LayoutError, DTypeError, NonFiniteError, ValueError
            Named after the argument that is not as described.
        DeviceError
            For a network on a GPU.

        References
        ----------
        Pearlmutter 1994, doi:10.1162/neco.1994.6.1.147.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> net = nr.Network([nr.GRU(3), nr.Last(), nr.Dense(1)], channels=1, dtype="float64", seed=0)
        >>> x, y = nr.windows(np.sin(np.arange(40) / 3), 4)
        >>> flat, v, step = net.params.flat.copy(), np.ones(len(net.params)), 1e-6
        >>> ahead, behind = (net.loss_and_gradient(flat + s * v, x, y)[1] for s in (step, -step))
        >>> np.allclose(net.hvp(flat, x, y, v), (ahead - behind) / (2 * step), atol=1e-8)
        True
        """
        self._check_host()
        (given, _), loss = self._parameters_at(flat), _curved(find_loss(loss))
        vector = self._direction("vector", vector)
        for layer in self.layers:
            if isinstance(layer, OfImages):
                raise TypeError(f"layers: expected layers whose second derivatives are known, got {layer!r}")
        samples = Samples.of(self, x, y, lengths, loss, weights, reset, feedback)
        batch, described = samples.batch()
        exponent = int(np.frexp(np.abs(vector).max(initial=0))[1])
        ways = self.split(np.ldexp(vector, -exponent))
        parts = [p._dual(TINY * way.flat.astype(np.float64)) for p, way in zip(self.split(given.flat), ways)]
        if not self.takes_indices:
            described = _filled(described, numbers(described), np.complex128)
        output, tapes, fed = self._passed(parts, described, samples.strength_rows(batch))
        found = numbers(output)
        value, moved = (_filled(output, part, self.dtype) for part in (found.real, found.imag / TINY))
        prediction, direction = self._rows(value, samples), self._rows(moved, samples)
        compared = self._target_rows(batch, value, samples), self._weight_rows(batch, samples)
        dy = self._call_loss(loss, prediction, *compared, samples)[1].astype(np.complex128)
        curvature = self._curvature_of(loss, prediction, *compared, direction, samples)
        dy.imag = TINY * curvature.astype(np.float64)
        gradient = [part.zeros() for part in parts]
        self._gone_back(tapes, fed, output, samples, dy, gradient)
        return np.ldexp(np.concatenate([part.flat.imag for part in gradient]) / TINY, exponent).astype(self.dtype)

    def _passed(self, parts, described, strengths=None):
        """(descriptor of the output, tapes, the Fed or None) of a forward; strengths: of a `Feedback`, None without one."""
        if strengths is None:
            return *self._forward(parts, described, ALL), None
        fed = self._fed(parts, described, ALL)
        fed.fill(described, strengths)
        return fed.outputs, fed.tapes, fed

    def _gone_back(self, tapes, fed, output, samples, dy, parts):
        """Write the gradient of each layer (parts are modified), from a derivative that lies as a loss sees an output."""
        described = own = like(output)
        self._rows(described, samples)[...] = dy
        adjoints = []
        for index in reversed(range(len(tapes))):
            adjoints.append(tapes[index].adjoint(described, index > 0 or fed is not None, parts[index], False))
            described = adjoints[-1].dx
        if fed is not None:
            FedAdjoint(fed, own, adjoints).fill()
            return
        for adjoint in adjoints:
            adjoint.fill()

    def _curvature_of(self, loss, prediction, target, weights, direction, samples):
        """The product of a loss's second derivative with a direction of what it sees, laid out like that."""
        if not is_of_library(loss):
            target = target.copy()
            if samples.classes is not None and samples.ignore_index is not None:
                target[target < 0] = samples.ignore_index
            options = {} if weights is None else {"weights": weights.copy()}
            found = loss.hessian_product(prediction, target, direction, **options)
            found = checked_array("loss.hessian_product", found)
            if found.shape != prediction.shape or found.dtype != prediction.dtype:
                expected = f"an array of shape {prediction.shape} and {prediction.dtype} like the prediction"
                raise ShapeError(f"loss.hessian_product: expected {expected}, got shape {found.shape} and {found.dtype}")
            return found
        if samples.classes is not None:
            return loss.curvature_of_labels(prediction, target, direction, None if weights is None else weights[:, 0])
        axis = -1 if samples.in_rows else self.output_layout.index("c") - prediction.ndim
        rows = (None if part is None else np.moveaxis(part, axis, -1) for part in (prediction, target, direction, weights))
        return np.moveaxis(loss.curvature_of_rows(*rows), -1, axis)

    def _direction(self, name, vector):
        """A contiguous vector (P,) that a caller gives as a direction of the parameters; else a typed error."""
        array, size = checked_array(name, native(name, vector)), len(self.params)
        if array.shape != (size,):
            raise ShapeError(f"{name}: expected shape {(size,)} like the parameters, got {array.shape}")
        if array.dtype != self.dtype:
            raise DTypeError(f"{name}: expected {self.dtype} like the network, got {array.dtype}")
        if not np.isfinite(array).all():
            array = brought(array, "cpu")
            place = int(np.argmin(np.isfinite(array)))
            raise NonFiniteError(f"{name}: expected finite numbers, got {array[place]} at {place}")
        return contiguous(brought(array, self.device))

    def _check_host(self):
        """Raise DeviceError for a network on a GPU, which has no kernels for this."""
        if self.device != "cpu":
            where = "where there are kernels for this"
            raise DeviceError(f"network: expected one on device 'cpu', {where}, got one on {self.device!r}")


def _laid_out(jacobian, letters):
    """A Jacobian (T, N, C, P) with its first axes in the order of some letters; those that are left out are of length 1."""
    kept = [letter for letter in "tnc" if letter in letters]
    squeezed = jacobian.squeeze(tuple(i for i, letter in enumerate("tnc") if letter not in letters))
    return np.ascontiguousarray(squeezed.transpose([*map(kept.index, letters), len(kept)]))


def _filled(described, values, dtype):
    """A descriptor of new numbers of a dtype, of the steps and sequences of another."""
    found = like(described, dtype=dtype)
    numbers(found)[...] = values
    return found


def _curved(loss):
    """`loss`, if its second derivative is known; else TypeError."""
    if not is_of_library(loss) and not callable(getattr(loss, "hessian_product", None)):
        kind = getattr(loss, "__qualname__", type(loss).__qualname__)
        expected = "a loss of the library, or one with a method hessian_product(prediction, target, direction)"
        raise TypeError(f"loss: expected {expected}, got {kind}")
    return loss
