"""Progress of calls that take long: a bar on stderr, if `verbose` asks for one."""

import subprocess
import sys

import numpy as np
import pytest

from skvae import VAEOutlierDetector, VAETransformer
from skvae._model import _chunks, _fitted


@pytest.fixture(scope="module")
def X():
    X = np.random.default_rng(0).normal(size=(60, 3))
    X[::7, 1] = np.nan
    return X


@pytest.fixture(scope="module")
def detector(X):
    return VAEOutlierDetector(1, max_epochs=2, random_state=0).fit(X)


@pytest.fixture
def no_delay(monkeypatch):
    """Let bars appear at once, and chunks have seven rows."""
    monkeypatch.setattr(_chunks, "_DELAY", 0)
    monkeypatch.setattr(_fitted, "get_chunk_size", lambda *args: 7)


CALLS = {
    "transform": lambda vae, X: vae.transform(X),
    "posterior": lambda vae, X: vae.posterior(X)[0],
    "reconstruct": lambda vae, X: vae.reconstruct(X),
    "inverse_transform": lambda vae, X: vae.inverse_transform(np.zeros((60, 1))),
    "score_samples": lambda vae, X: vae.score_samples(X),
    "score_features": lambda vae, X: vae.score_features(X),
    "impute": lambda vae, X: vae.impute(X),
    "sample": lambda vae, X: vae.sample(60, random_state=0),
    "explain": lambda vae, X: vae.explain(X),
    "p_values": lambda vae, X: vae.p_values(X),
}


@pytest.mark.parametrize("method", CALLS)
def test_long_calls_show_their_rows_and_return_the_same(
    method, detector, X, no_delay, capfd
):
    detector._kept_model = None
    quiet = CALLS[method](detector, X)
    assert capfd.readouterr() == ("", "")
    detector.verbose = 1
    try:
        detector._kept_model = None
        shown = CALLS[method](detector, X)
    finally:
        detector.verbose = 0
    np.testing.assert_array_equal(shown, quiet)
    out, err = capfd.readouterr()
    assert out == ""
    name = {"p_values": "score_samples"}.get(method, method)
    assert f"VAEOutlierDetector.{name}: 100%" in err
    assert "row/s" in err
    assert _chunks.get_progress() is None


def test_short_calls_show_nothing(detector, X, capfd):
    detector.verbose = 1
    try:
        detector.transform(X)
        detector.score_samples(X)
    finally:
        detector.verbose = 0
    assert capfd.readouterr() == ("", "")


def test_bar_of_an_ensemble_does_not_pass_its_end(X, no_delay, capfd):
    vae = VAETransformer(1, max_epochs=1, random_state=0, n_ensemble=2).fit(X)
    vae.verbose = 1
    expected = [
        vae.score_samples(X, "reconstruction"),
        vae.impute(X),
        vae.sample(20, random_state=0),
    ]
    vae.verbose = 0
    np.testing.assert_array_equal(vae.impute(X), expected[1])
    lines = [part for part in capfd.readouterr().err.split("\r") if "%|" in part]
    assert lines
    shares = [int(line.split("%")[0].split()[-1]) for line in lines]
    assert max(shares) == 100


def test_bar_ends_with_the_call_that_fails(detector, X, no_delay, capfd, monkeypatch):
    def fail(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(_fitted, "score_rows", fail)
    detector.verbose, detector._kept_model = 1, None
    try:
        with pytest.raises(KeyboardInterrupt):
            detector.score_samples(X)
    finally:
        detector.verbose = 0
    assert _chunks.get_progress() is None


def test_processes_without_stderr_show_nothing():
    code = (
        "import sys, numpy as np; from skvae import VAETransformer; "
        "from skvae._model import _chunks; _chunks._DELAY = 0; "
        "X = np.random.default_rng(0).normal(size=(40, 3)); "
        "vae = VAETransformer(1, max_epochs=1, random_state=0).fit(X); "
        "expected = vae.transform(X); "
        "vae.verbose, sys.stderr = 1, None; "
        "print((vae.transform(X) == expected).all())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.strip() == "True"


def test_training_needs_no_stream_to_write_to(X, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    VAETransformer(1, max_epochs=1, random_state=0, verbose=1).fit(X)
