"""CPU time of scores, filled cells and coordinates: a row in bulk, and one row alone.

``python benchmarks/inference.py --against PATH`` prints the table of
``docs/results/performance.md``, with the checkout at PATH beside this one. Models are
fitted to 4,000 rows of 20 columns: a default `VAETransformer`, one with the joint
density of two components, and a `VAEOutlierDetector`. Microseconds of the CPU, on one
thread; the least of several repeats.
"""

import time

import numpy as np
import pandas as pd
from _run import Axis, get_mean, main

import skvae

MODELS = {
    "default": ("VAETransformer", {}),
    "two components": ("VAETransformer", {"n_components": 2, "density": "joint"}),
    "detector": ("VAEOutlierDetector", {}),
}
COLUMNS = ["draws", "score", "impute", "error"]
COLUMNS += [f"{w} 1{f}" for f in ("", " frame") for w in ("transform", "score")]
N_COLUMNS, MISSING_SHARE = 20, 0.3


def make_rows(n, seed):
    """Return rows (n, 20) of four factors, curved."""
    fixed, draw = np.random.default_rng(0), np.random.default_rng(seed)
    inner, outer = fixed.standard_normal((4, 12)), fixed.standard_normal((12, 20))
    noise = 0.3 * draw.standard_normal((n, N_COLUMNS))
    return np.tanh(draw.standard_normal((n, 4)) @ inner) @ outer / 3 + noise


def time_call(function, *args, n=1, n_repeats=5):
    """Return the microseconds of the CPU that a call takes, by n."""
    seconds = []
    function(*args)
    for _ in range(n_repeats):
        begin = time.process_time()
        function(*args)
        seconds.append(time.process_time() - begin)
    return 1e6 * min(seconds) / n


def measure(options, model, seed):
    """Return the CPU time of every piece of work, in microseconds a row."""
    name, settings = MODELS[model]
    estimator = getattr(skvae, name)
    if "density" in settings and "density" not in estimator().get_params():
        # an older checkout: its default
        settings = {key: settings[key] for key in settings if key != "density"}
    n_epochs = 2 if options.quick else 30
    vae = estimator(random_state=seed, device="cpu", max_epochs=n_epochs, **settings)
    vae.fit(make_rows(4000, seed + 1))
    framed = estimator(random_state=seed, device="cpu", max_epochs=1, **settings)
    names = [f"x{j}" for j in range(N_COLUMNS)]
    frame = pd.DataFrame(make_rows(4000, seed + 1), columns=names)
    framed.fit(frame)
    rows, gaps = make_rows(4000, 1000 + seed), make_rows(300, 2000 + seed)
    is_missing = np.random.default_rng(seed).random(gaps.shape) < MISSING_SHARE
    incomplete = np.where(is_missing, np.nan, gaps)
    error = (vae.impute(incomplete) - gaps)[is_missing]

    def repeat(method, table):
        for _ in range(20):
            method(table)

    one, one_of_frame = rows[:1], frame.iloc[:1]
    return {
        "n_components": vae.net_.module_.n_components,
        "draws": len(vae._noise[0]),
        "score": time_call(vae.score_samples, rows, n=len(rows), n_repeats=3),
        "impute": time_call(vae.impute, incomplete, n=len(gaps), n_repeats=1),
        "error": float(np.sqrt(np.mean(error**2))),
        "transform 1": time_call(repeat, vae.transform, one, n=20),
        "score 1": time_call(repeat, vae.score_samples, one, n=20),
        "transform 1 frame": time_call(repeat, framed.transform, one_of_frame, n=20),
        "score 1 frame": time_call(repeat, framed.score_samples, one_of_frame, n=20),
    }


def summarize(part):
    """Return the cells of a row."""
    return {name: f"{get_mean(part, name):.4g}" for name in COLUMNS}


if __name__ == "__main__":
    main(
        __doc__,
        [Axis("model", "--models", MODELS, MODELS), Axis("seed", "--seeds", 1)],
        measure,
        (["model"], summarize),
        isolated=True,
        compared={name: name for name in COLUMNS},
    )
