"""The losses of a graph's outputs and their shares, and metrics of outputs, in the words of users and of files."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import finite_number, known_name, nearest, renamed
from ..training.losses import loss as find_loss
from ..training.metrics import checked_metrics


@dataclass(frozen=True)
class Losses:
    """The loss of a graph: a sum over outputs of their losses, each times a number.

    Attributes
    ----------
    parts : tuple of (str, callable, float)
        (output, its loss, what that is multiplied with).
    """

    parts: tuple

    @classmethod
    def of(cls, loss, outputs):
        """The Losses that a caller gives: one for all outputs, or by output a loss or a pair (loss, weight)."""
        if isinstance(loss, cls):
            given = {output: (own, weight) for output, own, weight in loss.parts}
        elif isinstance(loss, Mapping):
            if not loss:
                raise ValueError("loss: expected a loss for at least one output, got none")
            given = dict(loss)
        else:
            given = dict.fromkeys(outputs, loss)
        for output in given:
            if output not in outputs:
                raise nearest("loss", output, outputs)
        return cls(tuple((output, *_pair(output, given[output])) for output in outputs if output in given))

    @property
    def outputs(self):
        """The names of the outputs that have a loss."""
        return tuple(output for output, _, _ in self.parts)


def _pair(output, given):
    """(loss, weight) of one output."""
    argument = f"loss[{output!r}]"
    if isinstance(given, (tuple, list)):
        if len(given) != 2:
            raise ValueError(f"{argument}: expected a loss, or the pair (loss, weight), got {len(given)} of them")
        given, weight = given
        weight = finite_number(f"{argument}[1]", weight, above=0)
    else:
        weight = 1.0
    with renamed(loss=argument):
        return find_loss(given), weight


@dataclass(frozen=True)
class OutputMetric:
    """A metric of one output.

    Attributes
    ----------
    output : str
    metric : str or callable
        As `checked_metrics` has it.
    """

    output: str
    metric: object


def found_metrics(metrics, outputs, samples=None):
    """{name: OutputMetric} of metrics by output, ``{"class": ["accuracy"]}``; their names are like "class_accuracy".

    samples : dict of str to Samples, optional
        What they will be measured on, by output.
    """
    expected = "a dict of metrics by output"
    if not isinstance(metrics, Mapping):
        if not isinstance(metrics, (tuple, list)) or metrics:
            raise TypeError(f"metrics: expected {expected}, got {metrics!r:.80} ({type(metrics).__name__})")
        return {}
    found = {}
    for key, given in metrics.items():
        if isinstance(given, OutputMetric):  # checked before
            known_name("metrics", given.output, outputs)
            found[key] = given
            each = {key.removeprefix(f"{given.output}_"): given.metric}
            _checked(given.output, each, samples)
            continue
        output = known_name("metrics", key, outputs)
        for name, metric in _checked(output, given, samples).items():
            found[f"{output}_{name}"] = OutputMetric(output, metric)
    return found


def _checked(output, metrics, samples):
    """{name: metric} of the metrics of one output."""
    if samples is not None and output not in samples:
        raise ValueError(f"metrics: expected outputs with a loss, {', '.join(map(repr, samples))}, got {output!r}")
    with renamed(metrics=f"metrics[{output!r}]"):
        return checked_metrics(metrics, None if samples is None else samples[output])
