"""A training as a file has it: all that a `Course` is made of, as plain values, arrays and descriptions."""

import dataclasses

import numpy as np

from ..arrays.descriptor import is_array
from ..arrays.devices import moved
from ..errors import ShapeError
from ..files.container import write_file
from ..files.written import Writing
from ..layers.fed import FED
from .course import Course, Place
from .history import COLUMNS
from .losses import LOSSES
from .optimizers import optimizer as find_optimizer
from .shards import checked_shards

BIT_GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")


def save(path, course):
    """Write a course and its network into a file, whole or not at all."""
    arrays, description = course.network._written()
    writing = Writing()
    description["training"] = writing("training", described(course))
    write_file(path, arrays | writing.arrays, description)


def described(course):
    """A dict of what a course is made of, besides its network, for `files.written.Writing`."""
    place, history = course.place, course.history
    loss = next((name for name, each in LOSSES.items() if each is course.loss), course.loss)
    return {
        "loss": loss,
        "optimizer": course.optimizer,
        "clip": course.clip,
        "accumulate": course.accumulate,
        "kept": course.kept,
        "metrics": course.metrics,
        "frozen": course.frozen,
        "epochs": course.epochs,
        "most": course.most,
        "random": _state_of(course.random),
        "split": course.split,
        "masks": None if course.masks is None else _state_of(course.masks),
        "order": course.order,
        "carried": None if course.carried is None else in_host([*course.carried.values()]),
        "shared": None if course.summed is None else _shared(course),
        "updates": in_host(course.updates.state()),
        "history": {name: np.array(getattr(history, name), float) for name in COLUMNS},
        "measured": {name: np.array(values, float) for name, values in history.metrics.items()},
        "place": None if place is None else dataclasses.astuple(place),
        "feed": course.feed_of,
        "callbacks": in_host(course.callback_states()),
    }


def _shared(course):
    """What a file has of a course that is shared, with the states of the shards in an epoch that is begun."""
    states = course.shard_states and [
        (loss, masks, None if carried is None else in_host([*carried.values()]))
        for loss, masks, carried in course.shard_states
    ]
    return {"shards": course.shards, "seed": course.seed, "states": states}


def restored(network, found, ranks=1):
    """The Course that `described` has described, of a network whose parameters are as they were.

    ranks: how many will share it, if it is of a training that is shared.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is no such description.
    """
    shared = found["shared"]
    loss, optimizer = network._found_loss(found["loss"]), find_optimizer(found["optimizer"])
    random = _generator_of(found["random"])
    course = Course(
        network, loss, optimizer, random, found["clip"], found["accumulate"], tuple(found["kept"]),
        network._found_metrics(found["metrics"], None), found["frozen"], found["epochs"], found["most"],
        None if shared is None else (ranks, checked_shards(shared["shards"], 1)),
    )  # fmt: skip
    if shared is not None:
        course.seed = _count(shared["seed"])
        course.shard_states = shared["states"] and [_shard_state(network, *state) for state in shared["states"]]
    if (found["masks"] is None) != (course.masks is None):
        raise ValueError("masks: expected what the network's layers draw them with")
    course.random = random = _generator_of(found["random"])  # making a course has drawn from the first one
    course.split = _count(found["split"])
    course.masks = None if found["masks"] is None else _generator_of(found["masks"])
    order = found["order"]
    if order is not None and (order.ndim != 1 or order.dtype.kind != "i"):
        raise ValueError("order: expected a vector of integers")
    course.order = order
    course.carried = None if found["carried"] is None else _states(network, found["carried"])
    for name in COLUMNS:
        getattr(course.history, name).extend(_column(found["history"][name]))
    course.history.metrics.update({name: _column(values) for name, values in found["measured"].items()})
    course.resumed = found["feed"], [(name, state) for name, state in found["callbacks"]]
    if course.carried is not None:
        _check_sequences(course.carried, course.resumed[0]["batch_size"], len(course.order))
    if found["place"] is not None:
        epoch, last, batch, total, counted, rate = found["place"]
        course.place = Place(_count(epoch, 1), _count(last), _count(batch), float(total), float(counted), float(rate))
    course.updates.restore(found["updates"])
    return course


def _shard_state(network, loss, masks, carried):
    """What a shard goes on with, see `Shard.state`, from a file."""
    masks = None if masks is None else _generator_of(masks).bit_generator.state
    return float(loss), masks, None if carried is None else _states(network, carried)


def _check_sequences(carried, batch_size, samples):
    """Raise ShapeError unless there are carried states of as many sequences as a batch has."""
    whole, last = min(batch_size, samples), samples % batch_size
    found = next(iter(carried.values()))[0].shape[2]
    if found not in {whole, last or whole}:
        expected = f"states of {whole} sequences" + (f", or {last} in the last batch," if 0 < last < whole else "")
        raise ShapeError(f"carried: expected {expected} as {samples} samples of the training make, got states of {found}")


def _states(network, found):
    """{layer: its state} from a file, of as many sequences each, and under FED what is fed next, if a file has that."""
    sequences, states, count = found[0][0].shape[2], {}, len(network._recurrent)
    found, rest = found[:count], found[count:]
    for (index, layer), arrays in zip(network._recurrent.items(), found, strict=True):
        wanted = [(layer.layers, layer.directions, sequences, width) for width in layer.state_widths]
        if [array.shape for array in arrays] != wanted or any(array.dtype != network.dtype for array in arrays):
            raise ValueError(f"carried: expected {network.dtype} arrays of shapes {wanted} as the state of layer {index!r}")
        states[index] = [moved(array, network.device) for array in arrays]
    if rest:
        (output,), wanted = rest, [(sequences, channels) for channels in network._fed_channels]
        if output.shape not in wanted or output.dtype != network.dtype:
            expected = " or ".join(map(str, wanted))
            raise ValueError(f"carried: expected a {network.dtype} array of shape {expected} as the output that is fed")
        states[FED] = output
    return states


def _count(value, least=0):
    """A whole number from a file, if it is one that is not too small."""
    if type(value) is not int or value < least:
        raise ValueError(f"expected an integer >= {least}, got {value!r:.80}")
    return value


def _column(values):
    """A list of numbers from a file."""
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype != float:
        raise ValueError("history: expected vectors of numbers")
    return values.tolist()


def _state_of(random):
    """The state of a Generator."""
    return random.bit_generator.state


def _generator_of(state):
    """A Generator of this state."""
    if state["bit_generator"] not in BIT_GENERATORS:
        raise ValueError(f"random: expected one of NumPy's, got {state['bit_generator']!r:.80}")
    made = getattr(np.random, state["bit_generator"])(0)
    made.state = state
    return np.random.Generator(made)


def in_host(value):
    """Lists, tuples and dicts of arrays and plain values, all arrays in the host's memory."""
    if isinstance(value, (list, tuple)):
        items = [in_host(item) for item in value]
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, dict):
        return {name: in_host(item) for name, item in value.items()}
    return moved(value, "cpu") if is_array(value) else value
