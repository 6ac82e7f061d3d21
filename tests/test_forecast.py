"""The main job, in a small setting."""

import subprocess
import sys
import tempfile

import numpy as np
import pytest

from numbarnn.demo import counting, sunspots
from numbarnn.demo.command import arguments, main


def test_counting_converges():
    network = counting.counting_network(seed=1)
    history = counting.train_counting(network, epochs=150, seed=1, progress=False)
    x, y = counting.counting_windows()
    assert x.shape == (5, 195, 1) and y.shape == (195, 1)
    assert history.loss[0] > 100
    assert network.loss(x, y, "quadratic") < 0.1
    assert abs(counting.answer(network, (37.4, 38.4, 39.4, 40.4, 41.4)) - 42.4) < 0.3


def test_sunspots_beat_persistence():
    result = sunspots.forecast(seed=0)
    assert len(result.years) == len(result.observed) == 59
    assert result.rmse("persistence", 1) == pytest.approx(33.175, abs=1e-3)
    assert result.rmse("AR(9)", 1) == pytest.approx(18.749, abs=1e-3)
    assert result.rmse("network", 1) < 0.7 * result.rmse("persistence", 1)
    assert result.rmse("network", 11) < result.rmse("persistence", 11)


def test_autoregression_finds_its_own_coefficients():
    series = [1.0, 0.5]
    for _ in range(60):
        series.append(1.2 * series[-1] - 0.5 * series[-2] + 0.1)
    assert sunspots.fit_autoregression(np.array(series), 2) == pytest.approx([1.2, -0.5, 0.1], abs=1e-8)


def test_the_main_job_prints_both_forecasts(tmp_path):
    pytest.importorskip("matplotlib", reason="without it, the other test of the plot runs")
    picture = tmp_path / "forecast.png"
    text = run("--epochs", "2", "--seed", "3", "--plot", str(picture))
    assert "14 updates" in text and "1, 2, 3, 4, 5" in text and "persistence" in text
    assert picture.read_bytes()[:4] == b"\x89PNG"


def test_without_matplotlib_no_plot_is_promised():
    """It is said at once: no network is trained first."""
    code = "import sys; sys.modules['matplotlib'] = None; sys.argv = ['numbarnn', '--plot', 'x.png']; "
    command = [sys.executable, "-c", code + "from numbarnn.demo.command import main; main()"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and not done.stdout
    assert "argument --plot: expected matplotlib, which is not installed: pip install numbarnn[plot]" in done.stderr


@pytest.mark.parametrize("name, why", [("", "No such file"), ("missing/x.png", "No such file"), (".", "Is a directory")])
def test_a_plot_that_cannot_be_written_is_found_before_the_training(tmp_path, monkeypatch, capsys, name, why):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["numbarnn", "--plot", name])
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr()
    assert ended.value.code == 2 and not shown.out
    assert f"argument --plot: expected a file that can be written, got {name!r}: {why}" in shown.err


def test_a_file_stays_until_the_plot_is_there(tmp_path, monkeypatch):
    old, new = tmp_path / "old.png", tmp_path / "new.png"
    old.write_bytes(b"old")
    for path in (old, new):
        monkeypatch.setattr(sys, "argv", ["numbarnn", "--plot", str(path)])
        assert arguments().plot == str(path)
    assert old.read_bytes() == b"old" and not new.exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--epochs", "0"], "argument --epochs: expected a whole number from 1 to 1000000000, got '0'"),
        (["--epochs", "9" * 23], f"argument --epochs: expected a whole number from 1 to 1000000000, got '{'9' * 23}'"),
        (["--epochs", "1e3"], "argument --epochs: expected a whole number from 1 to 1000000000, got '1e3'"),
        (["--seed", "-1"], "argument --seed: expected a whole number of at least 0, got '-1'"),
        (["--dtype", "float16"], "argument --dtype: invalid choice: 'float16'"),
        (["--epoch-count=3"], "got '--epoch-count=3'; did you mean --epochs?"),
        (["20"], "expected one of --help, --epochs, --seed, --dtype, --plot, got '20'"),
    ],
)
def test_bad_arguments_are_refused(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["numbarnn", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="pipes end otherwise there")
@pytest.mark.parametrize("kept", [0, 1])
def test_a_reader_that_leaves_ends_it_quietly(kept):
    """As with ``| head -1``, and with ``2>&1 | head -1``: stderr is in the same pipe."""
    command = [sys.executable, "-m", "numbarnn", "--epochs", "3"]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors if kept else subprocess.STDOUT, text=True)
        assert process.stdout.readline().startswith("1. The next number")
        process.stdout.close()
        assert process.wait() == 141
        errors.seek(0)
        assert b"Error" not in errors.read()


def test_interrupted_it_says_so(monkeypatch, capsys):
    def interrupt(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["numbarnn"])
    monkeypatch.setattr("numbarnn.demo.command.counting", interrupt)
    assert main() == 130 and "stopped" in capsys.readouterr().err


def run(*arguments):
    command = [sys.executable, "-m", "numbarnn", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
