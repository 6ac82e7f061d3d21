"""A training that is killed at random moments and goes on, beside one that runs through: ``python tests/kills.py 50``.

``python tests/kills.py 50 pieces``: one in pieces of long sequences, which carries states.
"""

import hashlib
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from processes import environment

import numbarnn as nr

RANDOM = np.random.default_rng(0)
WORDS, LABELS, LENGTHS = RANDOM.integers(0, 50, (6, 41)), RANDOM.integers(0, 3, 41), RANDOM.integers(1, 7, 41)
TEXTS, NEXT, ENDS = RANDOM.integers(0, 50, (40, 6)), RANDOM.integers(0, 3, (40, 6)), RANDOM.integers(1, 41, 6)
EPOCHS = 30
HEADS = {"samples": [nr.Last(), nr.Dropout(0.1), nr.Dense(3)], "pieces": [nr.Dropout(0.1), nr.Dense(3)]}


def samples(kind):
    """(x, y, lengths, validation data, how it is trained) of a kind of training."""
    if kind == "pieces":
        return TEXTS, NEXT, ENDS, (TEXTS, NEXT, ENDS), {"batch_size": 4, "carry": True, "steps": 7}
    held = WORDS[:, :9], LABELS[:9], LENGTHS[:9]
    return WORDS[:, 9:], LABELS[9:], LENGTHS[9:], held, {"batch_size": 5}


def train(folder, kind):
    """Go on with the training in a folder, or begin it, until its end; a digest of all that it has come to."""
    keep = nr.Checkpoint(folder, every=1, unit="update", keep_last=2, keep_best=True)
    stopping = nr.EarlyStopping(patience=EPOCHS)
    try:
        trainer = nr.Trainer.load(folder)
    except (FileNotFoundError, nr.DataNotFoundError):
        net = nr.Network([nr.Embedding(50, 3), nr.GRU(4, dropout=0.2, layers=2), *HEADS[kind]], seed=0)
        trainer = nr.Trainer(
            net, "cross_entropy", nr.AdamW(nr.cosine(0.02)), epochs=EPOCHS, updates=EPOCHS * 10, clip=1.0,
            metrics=["accuracy"], seed=1,
        )  # fmt: skip
    x, y, lengths, held, way = samples(kind)
    history = trainer.fit(
        x, y, lengths=lengths, validation=held, callbacks=[keep, stopping], progress=False, **way
    )  # fmt: skip
    found = hashlib.sha256(trainer.network.params.flat.tobytes())
    columns = {name: values for name, values in history.as_dict().items() if name != "seconds"}
    found.update(repr((columns, stopping.best, stopping.epoch, trainer.step)).encode())
    found.update(nr.load(Path(folder) / "best.safetensors").params.flat.tobytes())
    return found.hexdigest()


def run(folder, kind, seconds=None):
    """Train in a process, which is killed so many seconds after it has begun to; (what it prints or None, seconds)."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--train", folder, kind], stdout=subprocess.PIPE, text=True, env=environment()
    )
    assert process.stdout.readline() == "begins\n"
    begin = time.perf_counter()
    try:
        found = process.communicate(timeout=seconds)[0]
        assert process.returncode == 0
        return found.strip(), time.perf_counter() - begin
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return None, seconds


def kill_and_go_on(kills, kind="samples", seed=0):
    """Kill so many processes, in as many trainings as that takes; (trainings that came to their end, updates at kills)."""
    random, left, ends, at = np.random.default_rng(seed), kills, 0, []
    with tempfile.TemporaryDirectory() as folder:
        whole, _ = run(f"{folder}/whole", kind)
        again, most = run(f"{folder}/again", kind)  # compiled by now
        assert again == whole
        while left:
            ends, own, found = ends + 1, f"{folder}/{ends}", None
            while found is None:
                found, _ = run(own, kind, random.uniform(0, most / 2) if left else None)
                left -= found is None
                if found is None and Path(own).exists():
                    at.append(max((int(file.stem) for file in Path(own).glob("0*")), default=0))
            assert found == whole, f"training {ends}, killed after {at} updates"
    return ends, at


if __name__ == "__main__":
    if sys.argv[1] == "--train":
        print("begins", flush=True)
        print(train(*sys.argv[2:]))
    else:
        ends, at = kill_and_go_on(int(sys.argv[1]), *sys.argv[2:])
        print(f"{sys.argv[1]} kills, {ends} trainings, each with the bits of one that ran through; updates at kills: {at}")
