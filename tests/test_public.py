"""What is public of each class, held to a written list: a new name is a decision, and internals are on no page."""

import dataclasses
import inspect

import pytest

import numbarnn as nr
from numbarnn.descriptions.docstrings import public_members

STATELESS = "backward forward init jvp output_channels save weights"
RECURRENT = "backward cell compiled_step draw forward gates init jvp output_channels save stream weights"
PUBLIC = {
    "GRU": RECURRENT,
    "GRUD": RECURRENT,
    "LSTM": RECURRENT,
    "MGU": RECURRENT,
    "RNN": RECURRENT,
    "IndRNN": RECURRENT,
    "LeakyRNN": RECURRENT,
    "Recurrent": RECURRENT,
    "Activation": STATELESS,
    "Dense": STATELESS,
    "Last": STATELESS,
    "LastStep": STATELESS,
    "Pool": STATELESS,
    "Dropout": f"draw {STATELESS}",
    "Flatten": STATELESS,
    **dict.fromkeys(("AvgPool2d", "Conv2d", "MaxPool2d"), f"output_shape {STATELESS}"),
    "Embedding": f"row_gradient {STATELESS}",
    "CompiledStep": "adjoint gradient_size initial_adjoint initial_state run states workspace workspace_size",
    "Connectivity": "applied factor hidden",
    "EarlyStopping": "best epoch",
    "Ensemble": "finished predict_many",
    "Feedback": "strengths",
    "GaussianNLL": "distribution",
    "Graph": "backward decode evaluate export_c fit fit_readout forward gauss_newton_product history hvp inputs jacobian "
    "jvp loss loss_and_gradient nodes outputs params predict predict_many probabilities random sample_gradients save split "
    "states stream summary to transfer",
    "GraphStream": "reset run state step",
    "History": "as_dict",
    "Network": "backward compiled_step evaluate export_c fit fit_readout forward gauss_newton_product history hvp jacobian "
    "jvp loss loss_and_gradient output_layout params predict predict_many probabilities random sample_gradients save split "
    "states stream summary takes_indices to transfer",
    **dict.fromkeys(("Optimizer", "SGD", "RMSProp", "Adam", "AdamW", "RAdam", "Nadam"), "start update"),
    "Parameters": "check_finite copy device dtype flat items names offset save to update weights zeros",
    "Predictions": "mean quantile spread",
    "Ragged": "astype channels device dtype lengths of padded take to",
    "RecursiveLeastSquares": "feed_back run state",
    "Standardizer": "inverse of",
    "Stream": "feed_back reset run state step",
    "TensorDescriptor": "of tnc",
    "Trainer": "fit history load network save step update",
    "Vocabulary": "decode encode encode_all of",
}
CLASSES = [name for name in nr.__all__ if inspect.isclass(getattr(nr, name))]
CLASSES = [name for name in CLASSES if not issubclass(getattr(nr, name), BaseException)]


@pytest.mark.parametrize("name", CLASSES)
def test_public_members(name):
    assert sorted(public_members(getattr(nr, name))) == sorted(PUBLIC.get(name, "").split())


def test_every_public_member_is_described():
    for name, members in PUBLIC.items():
        for member in members.split():
            found = [vars(base)[member] for base in getattr(nr, name).__mro__ if member in vars(base)]
            assert any(each.__doc__ for each in found), f"{name}.{member}"


def test_a_network_shows_no_more():
    assert {name for name in dir(nr.Network) if not name.startswith("_")} - {"settled"} == set(PUBLIC["Network"].split())


@pytest.mark.parametrize("layer", [nr.GRU(3), nr.Dense(2), nr.Dropout(0.5), nr.Last()], ids=repr)
def test_a_layer_shows_no_more(layer):
    shown = {name for name in dir(layer) if not name.startswith("_")}
    assert shown == {*PUBLIC[type(layer).__name__].split(), *(field.name for field in dataclasses.fields(layer))}
    assert "__call__" in dir(layer)
