"""A character model of Shakespeare: both libraries train the same one, and a small one learns to write words."""

import sys
from pathlib import Path

import numpy as np
import pytest

import numbarnn as nr

sys.path.insert(0, str(Path(__file__).parents[2]))
characters = pytest.importorskip("benchmarks.characters")


@pytest.mark.parametrize("count", [1, 3])
def test_both_libraries_train_the_same_network(count):
    torch = pytest.importorskip("torch")
    sizes = dict(hidden=12, layers=3, embedding=6)
    net, model = characters.network(9, **sizes), characters.torch_network(9, **sizes)
    parts, own = dict(model.named_parameters()), net.params
    names = {"embedding.weight": "0.weight", "out.weight": "2.weight", "out.bias": "2.bias"}
    names |= {f"lstm.{name[2:]}": name for name in own.names if name.startswith("1.")}
    assert len(own) == sum(part.numel() for part in parts.values())
    for theirs, ours in names.items():
        parts[theirs].data.copy_(torch.from_numpy(np.array(own[ours])))
    random, steps = np.random.default_rng(0), characters.STEPS
    text = random.integers(0, 9, count * 3 * steps + 1)
    x, y = characters.samples(text, count)
    optimizer, state, losses = torch.optim.Adam(model.parameters(), characters.RATE), None, []
    for first in range(0, len(x), steps):
        piece = (torch.from_numpy(part[first : first + steps].astype(np.int64)) for part in (x, y))
        loss, state = characters.torch_update(model, optimizer, *piece, state)
        losses.append(loss.item())
    trainer, found = nr.Trainer(net, "cross_entropy", nr.Adam(characters.RATE), clip=characters.CLIP), []

    class Batches(nr.Callback):
        def batch(self, network, loss):
            found.append(loss)

    trainer.fit(x, y, epochs=1, batch_size=count, carry=True, steps=steps, callbacks=[Batches()], progress=False)
    assert found == pytest.approx(losses, rel=1e-4)
    for theirs, ours in names.items():
        assert np.abs(parts[theirs].detach().numpy() - own[ours]).max() < 1e-3


def test_a_part_of_shakespeare_is_learned():
    try:
        vocabulary, (x, y), (x_held, y_held) = characters.read(characters.STRIPS)
    except nr.DataNotFoundError as error:
        pytest.skip(str(error))
    assert len(vocabulary) == 65 and x.shape == (31370, 32) and x_held.shape == (3485, 32)
    text = nr.datasets.shakespeare()
    assert vocabulary.decode(x[:20, 0]) == text[:20] and vocabulary.decode(y[:20, 0]) == text[1:21]
    letters, first, held = characters.read(1)
    assert len(letters) == 59 and [part.shape for part in first] == [(characters.PART - 1, 1)] * 2 and held is None
    indices = vocabulary.encode(text)
    x, y = nr.strips(indices[:120_000], 32), nr.strips(indices[1:120_001], 32)
    net = characters.network(65, hidden=64, layers=1, embedding=32)
    history = net.fit(
        x, y, "cross_entropy", nr.Adam(0.01), epochs=4, batch_size=32, clip=1.0, carry=True, steps=50,
        validation=(x_held[:500], y_held[:500]), progress=False,
    )  # fmt: skip
    assert history.loss[-1] < 1.95 and history.validation[-1] < 2.4  # 3.3 nats know how frequent each character is
    written = nr.sample(net, "\n", characters.WRITTEN, seed=1, vocabulary=vocabulary)
    assert len(written) == 200 and " " in written
