"""Loads files with hostile headers, and says what came of it: ``python tests/file_fuzz.py FOLDER NUMBER SEED``.

While they are loaded, nothing is imported, compiled, executed or started, no other file is opened, and the process may take
no more memory than it has and a little: each file is of some kilobytes.
"""

import collections
import copy
import json
import random
import resource
import sys
from pathlib import Path

import numpy as np

import numbarnn as nr
from numbarnn.files.container import KEY

ROOM = 48 << 20  # bytes: what the interpreter and the header's JSON take
EVENTS = ("import", "exec", "compile", "ctypes", "os.", "subprocess", "socket", "shutil", "tempfile", "marshal", "pickle")
LOADS = dict.fromkeys(("net", "text", "images", "layer", "params"), nr.load) | {"training": nr.Trainer.load}
VALUES = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**40, 0.5, -0.0, 1e308, "", "F32", "F64", "BF16", "LSTM", "GRU",
    "Network", "Embedding", "tanh", "os:system", "builtins:eval", "numbarnn:compile", "__main__:main", "a" * 5000,
    "\x00", "\ud800", [], [[]], {}, {"is": "list"}, {"is": "dict", "items": [[[], 1]]},
    {"is": "array", "name": "0.weight_ih_l0"},
    {"is": "texts", "name": "0.weight_ih_l0"},
    {"is": "float", "value": "nan"}, {"is": "reference", "to": "os:system"}, {"is": "subprocess:Popen", "args": ["true"]},
    {"is": "Compiled"}, {"is": "TensorDescriptor", "address": 1}, {"is": "RNN", "hidden": 10**12, "layers": 10**9},
    {"is": "Embedding", "vocabulary": 10**12, "size": 10**6}, {"is": "Connectivity", "mask": None, "signs": None},
    {"is": "ActivationFunction", "name": "f", "value": {"is": "reference", "to": "posix:system"}},
    [0, 2**40], [2**40, 2**40], [0] * 40, list(range(500)), float("nan"), float("inf"),
)  # fmt: skip


def start(folder):
    """Files to begin with, as (function that loads it, header, bytes behind it)."""
    dale = nr.Connectivity(1 - np.eye(3), [1, -1, 1])
    net = nr.Network([nr.LSTM(3, layers=2, connectivity=dale, zoneout=(0.1, 0.2)), nr.Last(), nr.Dense(1)], channels=2)
    net.save(folder / "net")
    nr.Network([nr.Embedding(3, 2), nr.LeakyRNN(2, (0.1, 0.2))], layout="ntc").save(folder / "text")
    nr.Network([nr.Conv2d(2, 3), nr.AvgPool2d(2), nr.Dense(1)], channels=(1, 4, 4)).save(folder / "images")
    dense = nr.Network([nr.Dense(2), nr.Dropout(0.5)], channels=3)
    nr.Trainer(dense, "mae", nr.AdamW(nr.warmup(nr.cosine(0.1), 3)), epochs=5, clip=1.0).save(folder / "training")
    layer = nr.GRU(2, activation=("leaky_relu", 0.1))
    layer.save(folder / "layer", layer.init(1))
    layer.init(2, dtype="float64").save(folder / "params")
    for name, load in LOADS.items():
        data = (folder / name).read_bytes()
        end = 8 + int.from_bytes(data[:8], "little")
        yield load, data[8:end], data[end:]


def places(value, found):
    """(container, key) of everything in JSON."""
    for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
        found.append((value, key))
        if isinstance(item, (dict, list)):
            places(item, found)
    return found


def changed(value, draw):
    """JSON with some of its parts changed, left out or put elsewhere."""
    value = copy.deepcopy(value)
    for _ in range(draw.randint(1, 3)):
        found = places(value, [])
        if not found:
            break
        where, key = draw.choice(found)
        other, name = draw.choice(found)
        way = draw.randrange(5)
        if way == 0:
            del where[key]
        elif way == 1 and isinstance(where, dict):
            where[draw.choice(("is", "layers", "hidden", "name", KEY, "x"))] = copy.deepcopy(draw.choice(VALUES))
        elif way == 2 and name in (other if isinstance(other, dict) else range(len(other))):
            where[key] = copy.deepcopy(other[name])
        elif way == 3 and type(where[key]) is int:
            where[key] = draw.choice((where[key] + 1, -where[key], where[key] * 2**32, 10**9, where[key] + 4))
        else:
            where[key] = copy.deepcopy(draw.choice(VALUES))
    return value


def hostile(header, body, draw):
    """A file with a hostile header."""
    way = draw.randrange(6)
    if way < 2:  # the description
        whole = json.loads(header)
        whole["__metadata__"][KEY] = json.dumps(changed(json.loads(whole["__metadata__"][KEY]), draw))
        header = json.dumps(whole).encode()
    elif way < 4:  # the table of arrays
        header = json.dumps(changed(json.loads(header), draw)).encode()
    elif way == 4:
        spoilt = bytearray(header)
        for _ in range(draw.choice((1, 1, 2, 8, 100))):
            spoilt[draw.randrange(len(spoilt))] = draw.choice((draw.randrange(256), *b'"{}[]:,0-9e\\'))
        header = bytes(spoilt)
    else:
        deep = draw.choice((b"[", b'{"a":', b'{"__metadata__":{"numbarnn":"', b"0", b"\xff"))
        header = draw.choice((header[: draw.randrange(len(header))], deep * draw.randrange(3000), header + deep * 100))
    length = len(header) + draw.choice((0,) * 20 + (1, -1, 8, 2**20, 2**40, 2**63))
    data = (max(length, 0) % 2**64).to_bytes(8, "little") + header + body
    return data[: draw.randrange(len(data))] if draw.random() < 0.05 else data


def main(folder, number, seed):
    """Load so many hostile files."""
    draw, starts, path = random.Random(seed), list(start(folder)), folder / "hostile"
    path.write_bytes(starts[0][1])
    for _ in range(2):  # what is imported and compiled when it is first needed
        for name, load in LOADS.items():
            load(folder / name)
    watched, outcomes, events = [False], collections.Counter(), []
    allowed = str(path), str(Path(nr.__file__).parent)  # an error may quote a line of the library

    def hook(event, arguments):
        opens = event == "open" and not str(arguments[0]).startswith(allowed)
        if watched[0] and (opens or event.startswith(EVENTS)):
            events.append((event, str(arguments)[:200]))

    sys.addaudithook(hook)
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, size + ROOM))
    for _ in range(number):
        load, header, body = draw.choice(starts)
        path.write_bytes(hostile(header, body, draw))
        watched[0] = True
        try:
            found = load(str(path))
            outcome = type(found).__name__
        except (nr.FileFormatError, nr.TrustError) as error:
            outcome = type(error).__name__
            assert str(error).startswith(f"{path}: "), error
        finally:
            watched[0] = False
        outcomes[outcome] += 1
    print(json.dumps({"outcomes": outcomes, "events": events}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
