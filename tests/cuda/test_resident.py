"""Small layers, whose blocks keep R in registers: the bits of the layers whose teams do not, and their derivatives."""

import numpy as np
import pytest
from checks import check_gradients, same_bits
from device_layer import DeviceLayer
from strategies import KINDS, random_case
from test_device_layers import results

from numbarnn.cuda import columns, launch, plans, resident
from numbarnn.cuda.device import SIMULATED

SMALL = ("rnn-tanh", "gru-after", "lstm")
CASES = [("rnn-tanh", 6), ("gru-after", 3), ("lstm", 5)] if SIMULATED else [("rnn-tanh", 1), ("gru-after", 33), ("lstm", 90)]


@pytest.fixture
def seen(monkeypatch):
    """Names of the modules whose kernels have been launched through time."""
    found, run = [], launch.run_kernel

    def noted(way, tape, call, teams, *rest):
        found.append(teams.resident)
        run(way, tape, call, teams, *rest)

    monkeypatch.setattr(launch, "run_kernel", noted)
    return found


def case_of(kind, hidden):
    """Ragged sequences in both directions, more of them than the simulator has multiprocessors."""
    layer = KINDS[kind](hidden, bidirectional=True)
    return random_case(layer, 2, 4, 2, lengths=[2, 1, 0, 2], dtype="float32")


@pytest.mark.parametrize(("kind", "hidden"), CASES)
def test_registers_give_the_bits_of_shared_memory(kind, hidden, monkeypatch, seen):
    case = case_of(kind, hidden)
    layer = DeviceLayer(case.layer)
    small = results(case, layer)
    assert all(seen) and len(seen) == 2
    monkeypatch.setattr(plans, "RESIDENT", False)
    teams = results(case, layer)
    assert not any(seen[2:]) and len(seen) == 4
    states = len(small) - 4 if case.layer.cell.states == 1 else 3
    assert same_bits(small[:states], teams[:states])  # y and the final states; backward has another order of sums
    for one, other in zip(small, teams, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * max(np.abs(other).max(initial=0), 1e-6))


@pytest.mark.parametrize("tile", [1, 4])
def test_rows_of_a_block_make_no_difference(tile, monkeypatch):
    case = case_of("gru-after", 3)
    before = results(case, DeviceLayer(case.layer))
    share = plans.resident_teams

    def otherwise(size, numbers):
        found = share(size, numbers)
        shared = found.shared_bytes // found.tile * tile
        return found._replace(tile=tile, tiles=-(-size.batch // tile), shared_bytes=shared)

    monkeypatch.setattr(plans, "resident_teams", otherwise)
    assert same_bits(results(case, DeviceLayer(case.layer)), before)


@pytest.mark.skipif(not SIMULATED, reason="float64 is not kept in registers on a GPU")
@pytest.mark.parametrize("kind", SMALL)
def test_teams_of_small_layers_have_the_right_derivative(kind, monkeypatch, seen):
    monkeypatch.setattr(plans, "RESIDENT", False)
    case = random_case(KINDS[kind](2), 2, 2, 1, lengths=[2, 1])
    assert check_gradients(case, DeviceLayer(case.layer), directions=1) == 3
    assert seen and not any(seen)


@pytest.mark.skipif(not SIMULATED, reason="a compiled kernel keeps the functions that it was made of")
@pytest.mark.parametrize("mutant", ["add_sums", "dot"])
def test_finite_differences_see_a_wrong_backward(mutant, monkeypatch):
    case = random_case(KINDS["lstm"](2), 2, 2, 1, lengths=[2, 1])
    wrong = {
        "add_sums": lambda *args: None,
        "dot": lambda *args: 0.999 * columns.dot(*args),
    }

    class Wrong(DeviceLayer):
        def backward(self, *args, **options):
            with monkeypatch.context() as patched:
                patched.setattr(resident, mutant, wrong[mutant])
                return super().backward(*args, **options)

    check_gradients(case, DeviceLayer(case.layer), directions=2)
    with pytest.raises(AssertionError, match="times the error allowed"):
        check_gradients(case, Wrong(case.layer), directions=2)
