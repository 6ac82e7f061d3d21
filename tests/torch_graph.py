"""An encoder and a decoder in PyTorch, with the parameters of a graph."""

import numpy as np

import numbarnn as nr


def encoder_decoder(net, x, dy):
    """(y, {parameter: its derivative}, {input: its derivative}) of <dy, y>.

    The graph's nodes are "encoder" of "past", "decoder" of "known" and "static" from the encoder's state, and "y" of the
    decoder and "known".
    """
    import torch
    from torch_layers import twin

    own = dict(zip(("encoder", "decoder"), net.split(net.params.flat)))
    modules = {name: twin(net.nodes[name].layers[0], p) for name, p in own.items()}
    dense = torch.nn.Linear(net.params["y.weight"].shape[1], net.params["y.weight"].shape[0], dtype=torch.float64)
    with torch.no_grad():
        dense.weight.copy_(torch.from_numpy(np.ascontiguousarray(net.params["y.weight"])))
        dense.bias.copy_(torch.from_numpy(net.params["y.bias"].copy()))
    past, static, known = (torch.from_numpy(x[name].copy()).requires_grad_() for name in ("past", "static", "known"))
    _, state = modules["encoder"](past)
    h, _ = modules["decoder"](torch.cat([known, static.expand(len(known), -1, -1)], 2), state)
    y = dense(torch.cat([h, known], 2))
    (y * torch.from_numpy(dy)).sum().backward()
    slopes = {f"{node}.{name}": p.grad for node, module in modules.items() for name, p in module.named_parameters()}
    slopes |= {f"y.{name}": p.grad for name, p in dense.named_parameters()}
    assert isinstance(net, nr.Graph)
    return (
        y.detach().numpy(),
        {name: slope.numpy() for name, slope in slopes.items()},
        {"past": past.grad.numpy(), "static": static.grad.numpy(), "known": known.grad.numpy()},
    )
