"""Seconds of a default fit, on one thread.

``python benchmarks/fit_time.py`` prints the table of ``docs/performance.md``: real
and drawn tables of 500 rows x 30 columns and of 50,000 x 20, several seeds, beside
FactorAnalysis. The libraries are warm: a first small fit is not counted.
"""

import argparse
import time
import warnings

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, make_blobs
from sklearn.decomposition import FactorAnalysis
from sklearn.preprocessing import StandardScaler

from skvae import VAETransformer


def make_tables():
    """Return tables by name."""
    generator = np.random.default_rng(0)
    draw = generator.standard_normal
    curved = np.tanh(draw((500, 2)) @ draw((2, 30))) ** 2 + 0.1 * draw((500, 30))
    z = draw((50_000, 3))
    large = np.hstack([np.sin(z @ draw((3, 10))), z @ draw((3, 10))])
    return {
        "breast_cancer, 500 x 30": load_breast_cancer().data[:500],
        "white noise, 500 x 30": draw((500, 30)),
        "4 factors, 500 x 30": draw((500, 4)) @ draw((4, 30)) + 0.3 * draw((500, 30)),
        "5 clusters, 500 x 30": make_blobs(500, 30, centers=5, random_state=0)[0],
        "curved, 500 x 30": curved,
        "curved, 50,000 x 20": large + 0.2 * draw((50_000, 20)),
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
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    tables = make_tables()
    first = next(iter(tables.values()))
    VAETransformer(max_epochs=1, random_state=0).fit(first)
    print(f"{'table':26s} {'median s':>9s} {'min':>7s} {'max':>7s} {'epochs':>7s}")
    for name, X in tables.items():
        X = StandardScaler().fit_transform(X)
        seconds, epochs = [], []
        for seed in range(options.repeats):
            vae = VAETransformer(random_state=seed, device="cpu")
            seconds.append(measure(lambda vae=vae, X=X: vae.fit(X)))
            epochs.append(vae.n_iter_)
        linear = measure(lambda X=X: FactorAnalysis(2).fit(X))
        print(
            f"{name:26s} {np.median(seconds):9.2f} {min(seconds):7.2f} "
            f"{max(seconds):7.2f} {np.median(epochs):7.0f}   (FactorAnalysis "
            f"{linear:.2f} s)",
            flush=True,
        )


if __name__ == "__main__":
    main()
