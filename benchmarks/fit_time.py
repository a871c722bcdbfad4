"""Seconds of a default fit, and of scores, on one thread.

``python benchmarks/fit_time.py`` prints the table of ``docs/results/performance.md``:
real and drawn tables of 500 rows x 30 columns, 5,000 x 20 and 50,000 x 20, several
seeds, beside FactorAnalysis; and the seconds that 200,000 rows take to score.
``--estimator VAEOutlierDetector`` takes the detector instead. The libraries are warm: a
first small fit is not counted.
"""

import numpy as np
from _run import Axis, fill, get_mean, get_median, get_values, main, measured
from sklearn.datasets import load_breast_cancer, make_blobs
from sklearn.decomposition import FactorAnalysis
from sklearn.preprocessing import StandardScaler

import skvae


def make_tables():
    """Return tables by name."""
    generator = np.random.default_rng(0)
    draw = generator.standard_normal
    curved = np.tanh(draw((500, 2)) @ draw((2, 30))) ** 2 + 0.1 * draw((500, 30))
    z = draw((50_000, 3))
    large = np.hstack([np.sin(z @ draw((3, 10))), z @ draw((3, 10))])
    large += 0.2 * draw((50_000, 20))
    return {
        "breast_cancer, 500 x 30": load_breast_cancer().data[:500],
        "white noise, 500 x 30": draw((500, 30)),
        "4 factors, 500 x 30": draw((500, 4)) @ draw((4, 30)) + 0.3 * draw((500, 30)),
        "5 clusters, 500 x 30": make_blobs(500, 30, centers=5, random_state=0)[0],
        "curved, 500 x 30": curved,
        "curved, 5,000 x 20": large[:5000],
        "curved, 50,000 x 20": large,
    }


def measure(options, table, seed):
    """Return the seconds of a fit and, of the first one, of scores and the baseline."""
    tables = make_tables()
    X = StandardScaler().fit_transform(tables[table])
    estimator = getattr(skvae, options.estimator)
    few = next(iter(tables.values()))
    estimator(max_epochs=1, device="cpu", random_state=0).fit(few)
    vae = estimator(random_state=seed, device="cpu")
    _, record = measured(vae.fit, X)
    record["epochs"] = len(vae.history_)
    if seed == 0:
        n_rows = 2_000 if options.quick else 200_000
        rows = np.resize(X, (n_rows, X.shape[1]))
        record["score"] = measured(vae.score_samples, rows)[1]["seconds"]
        record["FactorAnalysis"] = measured(FactorAnalysis(2).fit, X)[1]["seconds"]
    return record


def summarize(part):
    """Return the cells of a table."""
    seconds = get_values(part, "seconds")
    cells = {"median s": np.median(seconds), "min": min(seconds), "max": max(seconds)}
    cells |= {"score s": get_mean(part, "score")}
    cells |= {"FactorAnalysis s": get_mean(part, "FactorAnalysis")}
    epochs = {"epochs": fill(get_median(part, "epochs"), ".0f")}
    return {title: fill(value, ".2f") for title, value in cells.items()} | epochs


AXES = [
    Axis("table", "--tables", list(make_tables())),
    Axis("seed", "--repeats", 3),
]
ESTIMATORS = "VAETransformer", "VAEOutlierDetector"
OPTIONS = {"--estimator": {"choices": ESTIMATORS, "default": ESTIMATORS[0]}}
TABLE = ["table"], summarize


if __name__ == "__main__":
    main(__doc__, AXES, measure, TABLE, options=OPTIONS, isolated=True)
