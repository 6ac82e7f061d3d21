"""An estimator inside a class of another library of time series."""

from sklearn.base import clone


def adapted(estimator, kind, layout, **parameters):
    """A clone of an estimator of a kind, or one with its defaults, for another library's order of axes.

    parameters: what the other library's class says.
    """
    if estimator is not None and not isinstance(estimator, kind):
        raise TypeError(f"estimator: expected a {kind.__name__} or None, got {type(estimator).__name__}")
    return (kind() if estimator is None else clone(estimator)).set_params(layout=layout, **parameters)


def small(kind):
    """An estimator of a kind that trains in no time, for checks of what an adapter does."""
    return kind(hidden=4, epochs=2, random_state=0)
