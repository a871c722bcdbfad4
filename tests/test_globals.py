"""What the first calls of a process leave behind, and what they read."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import skvae
from skvae import VAEOutlierDetector, VAETransformer

LOOK = """
import logging, os, pickle, signal, sys, warnings
import numpy as np
from skvae import VAEOutlierDetector, VAETransformer

def LowRank(*arguments, **settings):
    model = VAETransformer(*arguments, likelihood="gaussian", **settings)
    return model.set_params(likelihood__noise="low_rank")

def look():
    return {
        "environment": dict(os.environ),
        "filters": [repr(item) for item in warnings.filters],
        "hooks": [sys.excepthook, sys.displayhook, warnings.showwarning],
        "path": [*sys.path, *map(repr, sys.meta_path)],
        "logging": [logging.root.level, *logging.root.handlers],
        "signals": [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)],
        "errors": np.geterr(),
        "limit": sys.getrecursionlimit(),
    }

X = np.random.default_rng(0).normal(size=(60, 3))
"""


def run(code, *arguments):
    """Return what a script prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={k: v for k, v in os.environ.items() if k != "TORCHINDUCTOR_CACHE_DIR"},
        cwd=Path(skvae.__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "call",
    [
        "VAETransformer(1, max_epochs=1, random_state=0).fit(X)",
        "VAETransformer(1, random_state=0).partial_fit(X)",
        "VAETransformer(1, max_epochs=1, random_state=0, optimizer='sgd').fit(X)",
        "LowRank(1, max_epochs=1).fit(X).sample(2)",
        "VAEOutlierDetector(1, max_epochs=1, random_state=0).fit(X).explain(X[:2])",
        "VAETransformer().set_params(likelihood='beta', likelihood__link='x')",
        "VAETransformer(likelihood='beat').fit(X)",
    ],
)
def test_first_call_of_a_process_leaves_nothing_behind(call):
    code = f"""
before = look()
try:
    {call}
except ValueError:
    pass
after = look()
print({{k: (v, before[k]) for k, v in after.items() if v != before[k]}})
print("torch" in sys.modules)
"""
    assert run(code).splitlines() == ["{}", "True"]


@pytest.mark.parametrize("name", ["VAETransformer", "VAEOutlierDetector"])
def test_defaults_do_without_the_compiler_of_torch(name):
    code = f"""
model = {name}(1, max_epochs=1, random_state=0).fit(X)
model.score(X), model.sample(2), model.impute(np.where(X > 1, np.nan, X))
pickle.loads(pickle.dumps(model)).transform(X)
print(sorted({{"torch._dynamo", "sympy"}} & set(sys.modules)))
"""
    assert run(code) == "[]"


def test_first_call_of_a_loaded_estimator_leaves_nothing_behind(tmp_path):
    path = tmp_path / "model.pickle"
    save = "vae = VAETransformer(1, max_epochs=1, random_state=0).fit(X)\n"
    run(f"{save}pickle.dump(vae, open(sys.argv[1], 'wb'))", path)
    code = """
vae = pickle.load(open(sys.argv[1], "rb"))
before = look()
vae.transform(X)
vae.score_samples(X[:3], "refined")
vae.sample(3, random_state=0, given={0: 1.0})
vae.impute(np.where(X > 1, np.nan, X))
print(look() == before)
"""
    assert run(code, path) == "True"


@pytest.mark.parametrize("latent", ["gaussian", "categorical"])
def test_errstate_of_the_caller_is_not_read(latent):
    generator = np.random.default_rng(0)
    X = generator.normal(size=(120, 4)) * [1, 1, 1e-170, 1e-200]
    holes = np.where(X > 1, np.nan, X)
    settings = {"hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0}

    def compute():
        vae = VAEOutlierDetector(2, latent=latent, contamination=0.1, **settings)
        vae.fit(holes)
        z, filled = vae.transform(holes), vae.impute(holes)
        rows = vae.sample(5, random_state=0), vae.inverse_transform(z)
        scores = vae.score_samples(holes), vae.score_samples(holes[:5], "refined")
        usual = vae.usual_scores_, vae.explain(holes[:3]), vae.p_values(holes)
        again = vae.partial_fit(holes).transform(holes)
        return z, filled, *rows, *scores, *usual, again

    expected = compute()
    with np.errstate(all="raise"):
        for value, found in zip(expected, compute(), strict=True):
            np.testing.assert_array_equal(found, value)


@pytest.mark.parametrize("name", ["fit", "transform", "explain"])
def test_methods_keep_signature_and_documentation(name):
    method = getattr(VAEOutlierDetector, name)
    assert next(iter(inspect.signature(method).parameters)) == "self"
    assert "X" in inspect.signature(method).parameters
    assert method.__doc__
    assert method.__qualname__.endswith(name)


@pytest.mark.parametrize("word", ["catch_warnings", "simplefilter", "filterwarnings"])
def test_no_call_changes_the_filters_of_other_threads(word):
    # catch_warnings saves and restores the filters of the whole process
    sources = Path(skvae.__file__).parent.rglob("*.py")
    assert [p.name for p in sources if word in p.read_text(encoding="utf-8")] == []


@pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")
@pytest.mark.parametrize("rows", [np.repeat(np.eye(4), 30, axis=0), np.eye(60, 3)])
def test_fewer_different_rows_than_clusters_are_clustered_without_a_warning(rows):
    vae = VAETransformer(8, latent="categorical", max_epochs=0, random_state=0)
    rows = rows + 1e-12 * np.random.default_rng(0).normal(size=rows.shape)
    assert np.isfinite(vae.fit(rows).score(rows))
