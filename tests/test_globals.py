"""What the first calls of a process leave behind, and what they read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import skvae

LOOK = """
import logging, os, pickle, signal, sys, warnings
import numpy as np
from skvae import VAEOutlierDetector, VAETransformer

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
