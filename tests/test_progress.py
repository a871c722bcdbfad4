"""Progress of calls that take long: a bar on stderr, if `verbose` asks for one."""

import inspect
import subprocess
import sys

import numpy as np
import pytest

from skvae import VAEOutlierDetector, VAETransformer
from skvae._model import _chunks, _fitted
from skvae._utils import _progress


@pytest.fixture(scope="module")
def X():
    X = np.random.default_rng(0).normal(size=(60, 3))
    X[::7, 1] = np.nan
    return X


@pytest.fixture(scope="module")
def detector(X):
    # with a discriminator, so that every method is there
    objective = "vaegan"
    detector = VAEOutlierDetector(1, max_epochs=2, random_state=0, objective=objective)
    return detector.fit(X)


@pytest.fixture
def no_delay(monkeypatch):
    """Let bars appear at once, and chunks have seven rows."""
    monkeypatch.setattr(_chunks, "DELAY", 0)
    monkeypatch.setattr(_fitted, "get_chunk_size", lambda *args: 7)


@pytest.fixture
def in_terminal(monkeypatch):
    monkeypatch.setattr(_progress, "has_terminal", lambda stream: True)


CALLS = {
    "transform": lambda vae, X: vae.transform(X),
    "posterior": lambda vae, X: vae.posterior(X)[0],
    "reconstruct": lambda vae, X: vae.reconstruct(X),
    "inverse_transform": lambda vae, X: vae.inverse_transform(np.zeros((60, 1))),
    "score_samples": lambda vae, X: vae.score_samples(X),
    "score": lambda vae, X: vae.score(X),
    "evidence": lambda vae, X: vae.score_samples(X, "evidence"),
    "refined": lambda vae, X: vae.score_samples(X, "refined"),
    "score_features": lambda vae, X: vae.score_features(X),
    "impute": lambda vae, X: vae.impute(X),
    "posterior, refined": lambda vae, X: vae.posterior(X, refine=True)[0],
    "sample": lambda vae, X: vae.sample(60, random_state=0),
    "sample, given": lambda vae, X: vae.sample(60, random_state=0, given={0: 1.0}),
    "impute, drawn": lambda vae, X: vae.impute(X, random_state=0),
    "explain": lambda vae, X: vae.explain(X),
    "p_values": lambda vae, X: vae.p_values(X),
    "predict": lambda vae, X: vae.predict(X),
    "decision_function": lambda vae, X: vae.decision_function(X),
    "discriminate": lambda vae, X: vae.discriminate(X),
}
# methods that others do their work for
NAMES = dict.fromkeys(
    ["score", "evidence", "refined", "p_values", "predict", "decision_function"],
    "score_samples",
)


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
    name = NAMES.get(method, method).split(",")[0]
    assert f"VAEOutlierDetector.{name}: 100%" in err
    assert "row/s" in err
    # no terminal: nothing but lines of text
    assert err.replace("\n", "").isprintable()
    assert _chunks.get_progress() is None


def test_every_public_method_that_takes_rows_has_a_bar():
    fits = {"fit", "partial_fit", "fit_transform", "fit_predict"}
    takers = {
        name
        for name, method in inspect.getmembers(VAEOutlierDetector, inspect.isfunction)
        if not name.startswith(("_", "set_"))
        and {"X", "Z", "n_samples"} & set(inspect.signature(method).parameters)
    }
    methods = {name.split(",")[0] for name in CALLS} - {"evidence", "refined"}
    assert takers - fits == methods


@pytest.mark.parametrize("method", ["score_samples", "impute"])
def test_terminals_show_a_bar_that_is_redrawn(
    method, detector, X, no_delay, in_terminal, capfd
):
    detector.verbose = 1
    try:
        CALLS[method](detector, X)
    finally:
        detector.verbose = 0
    err = capfd.readouterr().err
    assert f"\rVAEOutlierDetector.{method}: 100%" in err
    assert "60/60" in err


def test_short_calls_show_nothing(detector, X, capfd):
    detector.verbose = 1
    try:
        detector.transform(X)
        detector.score_samples(X)
    finally:
        detector.verbose = 0
    assert capfd.readouterr() == ("", "")


def test_bar_of_an_ensemble_does_not_pass_its_end(X, no_delay, in_terminal, capfd):
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
        "from skvae._model import _chunks; _chunks.DELAY = 0; "
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


# epochs -------------------------------------------------------------------------------

STAGES = {
    "both": ({}, [" (map)", " (density)"]),
    "joint": ({"density": "joint"}, [""]),
    "map": ({"density": None}, [" (map)"]),
}


@pytest.mark.parametrize("stages", STAGES)
def test_fit_shows_its_epochs_on_stderr(stages, X, capfd):
    parameters, names = STAGES[stages]
    VAETransformer(1, max_epochs=2, random_state=0, verbose=1, **parameters).fit(X)
    out, err = capfd.readouterr()
    assert out == ""
    lines = err.splitlines()
    # a density may be trained after two maps
    shown = dict.fromkeys(line.split(":")[0] for line in lines)
    assert list(shown) == [f"VAETransformer.fit{name}" for name in names]
    for line in lines:
        assert ": 100% 2/2 [" in line
        assert line.isprintable()
        assert "elbo=" in line


def test_fit_in_a_terminal_shows_a_bar(X, in_terminal, capfd):
    VAETransformer(1, max_epochs=2, random_state=0, verbose=True).fit(X)
    assert "\rVAETransformer.fit (map): 100%" in capfd.readouterr().err


def parse(line):
    """Return epoch, the two ELBOs, the mark and seconds of a line of an epoch."""
    parts = line.split()
    marked = parts[3] == "*"
    return int(parts[0]), float(parts[1]), float(parts[2]), marked, float(parts[-1])


@pytest.mark.parametrize("stages", STAGES)
def test_a_line_per_epoch_has_what_the_history_has(stages, X, capfd):
    parameters, names = STAGES[stages]
    vae = VAETransformer(1, max_epochs=3, random_state=0, verbose=2, **parameters)
    vae.fit(X)
    out, err = capfd.readouterr()
    assert err == ""
    assert out.replace("\n", "").isprintable()
    lines = out.splitlines()
    found = [parse(line) for line in lines if line.strip()[0].isdigit()]
    titles = [line for line in lines if line.startswith("VAE")]
    # a density may be trained after two maps, and one is kept
    assert list(dict.fromkeys(titles)) == [
        f"VAETransformer.fit{name}" for name in names
    ]
    assert len(lines) == len(found) + 2 * len(titles)
    assert [epoch for epoch, *_ in found] == [1, 2, 3] * len(titles)
    shown = [line[1:] for line in found]
    assert len(vae.history_) == 3 * len(names)
    for row in vae.history_:
        train, valid = (
            round(row[f"{part}_reconstruction"] - row[f"{part}_kl"], 4)
            for part in ("train", "valid")
        )
        mark, seconds = row["valid_loss_best"], round(row["dur"], 2)
        assert (train, valid, mark, seconds) in shown


def test_lines_change_nothing(X):
    fits = [
        VAETransformer(1, max_epochs=2, random_state=0, verbose=v) for v in (0, 1, 2)
    ]
    scores = [vae.fit(X).score_samples(X) for vae in fits]
    np.testing.assert_array_equal(scores[0], scores[1])
    np.testing.assert_array_equal(scores[0], scores[2])


def test_lines_without_held_out_rows_leave_their_place_empty(X, capfd):
    vae = VAETransformer(1, max_epochs=2, random_state=0, verbose=2, density="joint")
    vae.set_params(early_stopping=False).fit(X)
    lines = capfd.readouterr().out.splitlines()[2:]
    assert [len(line.split()) for line in lines] == [3, 3]


def test_streams_show_one_header_and_no_bar_of_short_passes(X, capfd):
    vae = VAETransformer(1, random_state=0, verbose=1, density="joint")
    vae.partial_fit(X).partial_fit(X)
    assert capfd.readouterr() == ("", "")
    vae.set_params(verbose=2).partial_fit(X)
    [line] = capfd.readouterr().out.splitlines()
    assert line.split()[0] == "3"


def test_detector_shows_the_scores_of_its_threshold(X, no_delay, capfd):
    VAEOutlierDetector(1, max_epochs=1, random_state=0, verbose=1).fit(X)
    lines = capfd.readouterr().err.splitlines()
    assert lines[0].startswith("VAEOutlierDetector.fit: 100% 1/1 [")
    assert lines[1].startswith("VAEOutlierDetector.fit (threshold): 100%")


class Full:
    """A stream that takes nothing any more."""

    def write(self, text):
        raise BrokenPipeError

    def isatty(self):
        return False


def test_a_stream_that_is_broken_ends_no_call(X, no_delay, monkeypatch):
    vae = VAETransformer(1, max_epochs=1, random_state=0, verbose=1)
    monkeypatch.setattr(sys, "stderr", Full())
    monkeypatch.setattr(sys, "stdout", Full())
    scores = vae.fit(X).score_samples(X)
    vae.set_params(verbose=2).fit(X)
    assert np.isfinite(scores).all()


def test_long_calls_write_a_line_now_and_then(monkeypatch, capsys):
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(_progress, "monotonic", lambda: next(clock))
    with _progress.open_bar("call", 5, "row") as bar:
        for _ in range(5):
            bar.update()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[2] for line in lines] == ["3/5", "5/5"]
