"""Seconds of a default fit, and of scores, on one thread.

``python benchmarks/fit_time.py`` prints the table of ``docs/performance.md``: real
and drawn tables of 500 rows x 30 columns, 5,000 x 20 and 50,000 x 20, several seeds,
beside FactorAnalysis; and the seconds that 200,000 rows take to score.
``--estimator VAEOutlierDetector`` takes the detector instead. The libraries are warm: a
first small fit is not counted.
"""

import argparse
import time
import warnings

import numpy as np
import torch
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


def measure(fit):
    """Return the seconds that a call takes."""
    begin = time.perf_counter()
    fit()
    return time.perf_counter() - begin


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--estimator",
        choices=["VAETransformer", "VAEOutlierDetector"],
        default="VAETransformer",
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    tables = make_tables()
    first = next(iter(tables.values()))
    estimator = getattr(skvae, options.estimator)
    estimator(max_epochs=1, random_state=0).fit(first)
    titles = f"{'median s':>9s} {'min':>7s} {'max':>7s} {'epochs':>7s} {'score s':>8s}"
    print(f"{'table':26s} {titles}")
    for name, X in tables.items():
        X = StandardScaler().fit_transform(X)
        seconds, epochs = [], []
        for seed in range(options.repeats):
            vae = estimator(random_state=seed, device="cpu")
            seconds.append(measure(lambda vae=vae, X=X: vae.fit(X)))
            epochs.append(vae.n_iter_)
        rows = np.resize(X, (200_000, X.shape[1]))
        score = measure(lambda vae=vae, rows=rows: vae.score_samples(rows))
        linear = measure(lambda X=X: FactorAnalysis(2).fit(X))
        print(
            f"{name:26s} {np.median(seconds):9.2f} {min(seconds):7.2f} "
            f"{max(seconds):7.2f} {np.median(epochs):7.0f} {score:8.2f}   "
            f"(FactorAnalysis {linear:.2f} s)",
            flush=True,
        )


if __name__ == "__main__":
    main()
