"""``python -m numbarnn``: from an array to a trained recurrent network, twice."""

import argparse
import difflib
import os
import sys
import time

import numpy as np

from ..arrays.descriptor import DTYPES
from . import counting as numbers
from . import sunspots as yearly

BARS = "▁▂▃▄▅▆▇█"


def sparkline(values, low, high):
    """The values as a line of characters, one each."""
    levels = np.clip((np.asarray(values) - low) / (high - low) * len(BARS), 0, len(BARS) - 1)
    return "".join(BARS[int(level)] for level in levels)


def whole(least, most=None):
    """The type of an option that is a whole number of at least, and at most, so much."""
    expected = f"a whole number of at least {least}" if most is None else f"a whole number from {least} to {most}"

    def number(text):
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < least or most is not None and value > most:
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
        return value

    return number


def picture(text):
    """The type of an option that names a file for matplotlib to write: found out before the training, not after it."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise argparse.ArgumentTypeError("expected matplotlib, which is not installed: pip install numbarnn[plot]") from None
    new = not os.path.lexists(text)
    try:
        with open(text, "ab"):  # leaves a file that is there as it is
            pass
        if new:
            os.unlink(text)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"expected a file that can be written, got {text!r}: {error.strerror}") from None
    return text


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m numbarnn", description="Train two small recurrent networks.")
    epochs = whole(1, 10**9)
    parser.add_argument("--epochs", metavar="N", type=epochs, default=1000, help="of the first network (default 1000)")
    parser.add_argument("--seed", metavar="N", type=whole(0), default=0, help="of parameters and order (default 0)")
    parser.add_argument("--dtype", choices=[d.name for d in DTYPES], default="float32", help="(default float32)")
    parser.add_argument("--plot", metavar="FILE", type=picture, help="write a PNG; needs matplotlib")
    options, unknown = parser.parse_known_args()
    if unknown:
        known = ("--help", *(f"--{name}" for name in vars(options)))
        close = difflib.get_close_matches(unknown[0].partition("=")[0], known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        parser.error(f"expected one of {', '.join(known)}, got {unknown[0]!r}{hint}")
    return options


def counting(options):
    """Train Deep Diamond's network, and ask it Deep Diamond's questions."""
    print("1. The next number of -100 ... 99, from the five before it\n")
    network = numbers.counting_network(options.dtype, options.seed)
    print(network.summary(), end="\n\n")
    start = time.perf_counter()
    history = numbers.train_counting(network, options.epochs, options.seed)
    elapsed = time.perf_counter() - start
    updates = options.epochs * 7
    cost = network.loss(*numbers.counting_windows(network.dtype), loss="quadratic")
    print(f"\n{updates:,} updates in {elapsed:.1f} s, compilation included.")
    print(f"Cost {cost:.2g} (Deep Diamond: {numbers.DEEP_DIAMOND_COST})\n")
    print(f"{'question':38}{'answer':>9}{'Deep Diamond':>14}")
    for question, deep_diamonds in numbers.QUESTIONS:
        shown = ", ".join(f"{number:g}" for number in question)
        print(f"{shown:38}{numbers.answer(network, question):9.3f}{deep_diamonds:14.3f}")
    return history


def sunspots(options):
    """Forecast the sunspots of 1950-2008, and compare."""
    print("\n2. Yearly sunspots: trained on 1700-1949, forecasts of 1950-2008\n")
    result = yearly.forecast(options.dtype, options.seed)
    print(f"{'RMSE':16}{'1 year ahead':>14}{'11 years ahead':>16}")
    for method in ("network", "AR(9)", "persistence"):
        print(f"{method:16}{result.rmse(method, 1):14.1f}{result.rmse(method, 11):16.1f}")
    high = max(result.observed.max(), *(f.max() for f in result.forecasts.values()))
    print()
    for name, values in (
        ("observed", result.observed),
        ("1 year ahead", result.forecasts["network", 1]),
        ("11 years ahead", result.forecasts["network", 11]),
    ):
        print(f"{name:16}{sparkline(values, 0, high)}")
    return result


def plot(path, history, result):
    """Write a PNG with the cost of the first training and the forecasts of the second."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 2))
    left.semilogy(np.arange(1, len(history.loss) + 1), history.loss)
    left.set(title="-100 ... 99", xlabel="epoch", ylabel="cost")
    right.plot(result.years, result.observed, "k.-", label="observed")
    for lead in yearly.LEADS:
        label = f"{lead} year{'s' * (lead > 1)} ahead, RMSE {result.rmse('network', lead):.1f}"
        right.plot(result.years, result.forecasts["network", lead], label=label)
    right.set(title="yearly sunspot number", xlabel="year")
    right.legend()
    figure.savefig(path, format="png", dpi=120)
    print(f"\n{path} written")


def main():
    """Run both forecasts; the exit status."""
    options = arguments()
    if hasattr(sys.stdout, "reconfigure"):  # a terminal without these characters shows ?; a pager shows each line at once
        sys.stdout.reconfigure(errors="replace", line_buffering=True)
    try:
        history = counting(options)
        result = sunspots(options)
        if options.plot:
            plot(options.plot, history, result)
    except BrokenPipeError:  # the reader has gone, as with "| head"
        _let_go_of_pipes()
        return 128 + 13  # as a program ends that the signal SIGPIPE stops
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 128 + 2
    return 0


def _let_go_of_pipes():
    """What is still in a buffer goes nowhere: Python would complain of it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            os.dup2(nowhere, stream.fileno())
