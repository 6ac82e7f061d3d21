"""A graph and its training in files: what is loaded is what was saved, to the bit."""

import json
import struct

import numpy as np
import pytest
from test_graph import inputs_of_translator, translator
from test_graph_training import INPUTS, LOSS, TARGETS, forecast

import numbarnn as nr

pytest.importorskip("safetensors")


def test_what_is_loaded_is_what_was_saved(tmp_path):
    net, x, path = translator(), inputs_of_translator(), tmp_path / "net.safetensors"
    net.save(path, extra={"letters": nr.Vocabulary.of(["ab"], split="characters")})
    made, extra = nr.load(path, extra=True)
    assert type(made) is nr.Graph and repr(made) == repr(net) and list(extra) == ["letters"]
    y, right = made.predict(x), net.predict(x)
    assert all(np.array_equal(y[name], right[name]) for name in right)
    other = translator()
    other.params.flat[:] = 0
    assert nr.load(path, into=other) is other and np.array_equal(other.params.flat, net.params.flat)


def test_names_of_all_kinds_and_shared_layers(tmp_path):
    nodes = {
        "is": nr.Node(nr.Dense(2), ["x", "é s"]),
        "b 2": nr.Node("is", ["x", "é s"]),
        "z": nr.Node(nr.GRU(2), "b 2", None),
    }
    net = nr.Graph({"x": 2, "é s": nr.Input(1, False)}, nodes, ["z", "is"], layout="cnt")
    net.save(tmp_path / "net")
    assert repr(nr.load(tmp_path / "net")) == repr(net)


def test_a_training_goes_on_from_a_file(tmp_path):
    def trainer():
        return nr.Trainer(forecast(), LOSS, nr.Adam(0.01), epochs=4, metrics={"class": ["accuracy"]}, seed=2)

    whole, half = trainer(), trainer()
    whole.fit(INPUTS, TARGETS, batch_size=6, progress=False)
    half.fit(INPUTS, TARGETS, epochs=2, batch_size=6, progress=False)
    half.save(tmp_path / "training")
    again = nr.Trainer.load(tmp_path / "training")
    again.fit(INPUTS, TARGETS, batch_size=6, progress=False)
    assert np.array_equal(again.network.params.flat, whole.network.params.flat)
    assert again.history.loss == whole.history.loss and again.history.metrics == whole.history.metrics
    assert isinstance(nr.load(tmp_path / "training"), nr.Graph)


def test_a_checkpoint_in_the_middle_of_an_epoch(tmp_path):
    class Stopped(nr.Callback):
        def batch(self, network, loss):
            if len(network.history.loss) == 1:
                raise KeyboardInterrupt

    whole, stopped = (nr.Trainer(forecast(), LOSS, epochs=3, seed=2) for _ in range(2))
    whole.fit(INPUTS, TARGETS, batch_size=6, progress=False)
    keep = nr.Checkpoint(tmp_path / "folder", unit="update")
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(INPUTS, TARGETS, batch_size=6, callbacks=[keep, Stopped()], progress=False)
    resumed = nr.Trainer.load(tmp_path / "folder")
    resumed.fit(INPUTS, TARGETS, batch_size=6, callbacks=[keep], progress=False)
    assert np.array_equal(resumed.network.params.flat, whole.network.params.flat)


def changed(path, edit):
    """The file with its description edited (is modified)."""
    contents = path.read_bytes()
    (size,) = struct.unpack("<Q", contents[:8])
    header = json.loads(contents[8 : 8 + size])
    description = json.loads(header["__metadata__"]["numbarnn"])
    edit(description["graph"])
    header["__metadata__"]["numbarnn"] = json.dumps(description)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + contents[8 + size :])


@pytest.mark.parametrize("edit", [
    lambda graph: graph.pop("inputs"),
    lambda graph: graph.update(nodes=3),
    lambda graph: graph.update(outputs=["z"]),
    lambda graph: graph["nodes"].pop("y"),
    lambda graph: graph["nodes"]["y"].update(reads=["y"]),
    lambda graph: graph["nodes"]["y"].update(layers="encoder"),
    lambda graph: graph["inputs"]["known"].update(channels=4),
    lambda graph: graph["inputs"]["known"].update(channels=-1),
    lambda graph: graph.update(layout="xyz"),
])  # fmt: skip
def test_what_is_no_graph_is_an_error_of_the_file(tmp_path, edit):
    path = tmp_path / "net"
    translator().save(path)
    changed(path, lambda graph: None)
    nr.load(path)
    changed(path, edit)
    with pytest.raises(nr.FileFormatError, match="net: "):
        nr.load(path)


def test_subclasses_and_lambdas_are_refused(tmp_path):
    class Own(nr.Graph):
        pass

    for net, message in [
        (Own({"x": 1}, {"y": nr.Node(nr.Dense(1), "x")}, "y"), "save: expected a Graph and no subclass"),
    ]:
        with pytest.raises(TypeError, match=message):
            net.save(tmp_path / "net")
    trainer = nr.Trainer(forecast(), {"y": lambda prediction, target: (0.0, prediction)})
    with pytest.raises(TypeError, match="lambda"):
        trainer.save(tmp_path / "training")
    assert not list(tmp_path.iterdir())
