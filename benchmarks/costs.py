"""CPU time of whole fits and of large calls, at the defaults, beside another checkout.

``python benchmarks/costs.py --against PATH`` prints the first table of
``docs/results/scale.md``: tables that users have, small, wide and mixed. Each
measurement is in a process of its own, on one thread; imports, and a first small fit,
are not counted. The score is that of new rows where the table is drawn, and of the rows
of the fit otherwise, in nats.
"""

import os
from pathlib import Path

import numpy as np
from _run import Axis, fill, get_median, get_values, main
from measure import metered
from sklearn.datasets import load_breast_cancer, load_digits

from skvae import VAEOutlierDetector, VAETransformer

DATA = Path(os.environ.get("SKVAE_DATA", "data"))


def draw_curved(n, d, seed):
    """Return rows (n, d) of three latent variables, half of the columns curved."""
    fixed, draw = np.random.default_rng(0), np.random.default_rng(seed + 1)
    inner, outer = (fixed.standard_normal((3, k)) for k in (d // 2, d - d // 2))
    z = draw.standard_normal((n, 3))
    X = np.hstack([np.sin(z @ inner), z @ outer])
    return X + 0.2 * draw.standard_normal((n, d))


def read_titanic(seed):
    """Return the table titanic, 1,309 rows of mixed columns with missing cells."""
    import pandas as pd

    return pd.read_csv(DATA / "mixed" / "titanic.csv")


def fit(estimator, X, seed, **settings):
    """Return a fitted estimator, and what its fit cost."""
    return metered(estimator(random_state=seed, device="cpu", **settings).fit, X)


def measure_fit(make, make_new=None, estimator=VAETransformer):
    """Return a function that measures a fit, for a function of the seed."""

    def measure(seed):
        vae, record = fit(estimator, make(seed), seed)
        new = make(seed) if make_new is None else make_new(seed)
        return record | {"score": float(np.mean(vae.score_samples(new)))}

    return measure


def measure_drawn(n, d):
    """Return a function that measures a fit of curved rows, scored by new ones."""
    return measure_fit(
        lambda seed: draw_curved(n, d, seed),
        lambda seed: draw_curved(2000, d, 1000 + seed),
    )


def measure_detector_scores(seed):
    """Measure scores of 200,000 rows by a detector of 2,000."""
    detector, _ = fit(VAEOutlierDetector, draw_curved(2000, 20, seed), seed)
    return metered(detector.score_samples, draw_curved(200_000, 20, seed + 1))[1]


WORKS = {
    "fit, 500 x 30": measure_drawn(500, 30),
    "fit, 1,000 x 20": measure_drawn(1000, 20),
    "fit, 2,999 x 20": measure_drawn(2999, 20),
    "fit, 3,001 x 20": measure_drawn(3001, 20),
    "fit, 10,000 x 50": measure_drawn(10_000, 50),
    "fit, 1,000 x 600": measure_drawn(1000, 600),
    "fit, breast_cancer": measure_fit(lambda seed: load_breast_cancer().data),
    "fit, titanic": measure_fit(read_titanic),
    "fit, digits": measure_fit(lambda seed: load_digits().data),
    "fit, detector, 2,000 x 8": measure_fit(
        lambda seed: draw_curved(2000, 8, seed),
        lambda seed: draw_curved(2000, 8, 1000 + seed),
        VAEOutlierDetector,
    ),
    "scores, detector, 200,000 x 20": measure_detector_scores,
    "fit, 500 x 20,000": measure_drawn(500, 20_000),
}


def list_here():
    """Return the works whose data are there."""
    is_there = (DATA / "mixed" / "titanic.csv").exists()
    return [name for name in WORKS if is_there or "titanic" not in name]


def measure(options, work, seed):
    """Return the record of one piece of work."""
    VAETransformer(max_epochs=1, random_state=0).fit(load_breast_cancer().data[:300])
    return WORKS[work](seed)


def summarize(part):
    """Return the cells of a row."""
    cpu = get_values(part, "cpu")
    return {
        "CPU s": fill(get_median(part, "cpu"), ".3g"),
        "least": fill(min(cpu), ".3g"),
        "most": fill(max(cpu), ".3g"),
        "MB": fill(get_median(part, "memory"), ".0f"),
        "nats": fill(get_median(part, "score"), ".2f"),
    }


if __name__ == "__main__":
    main(
        __doc__,
        [
            Axis("work", "--works", WORKS, WORKS, list_here),
            Axis("seed", "--seeds", 3),
        ],
        measure,
        (["work"], summarize),
        isolated=True,
        compared={"memory": "MB", "score": "nats"},
    )
