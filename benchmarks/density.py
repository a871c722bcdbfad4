"""Held-out log-likelihood of VAETransformer beside every density of scikit-learn.

Each line: mean nats per test row above max(PCA, FactorAnalysis) at the same number of
components. ``python benchmarks/density.py --help`` names the options; the defaults
print the tables of ``docs/density.md``.
"""

import argparse
import csv
import time
import warnings
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from records import write_records
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from tables import list_tables, split

# one floor for all: variance of a mixture's component as a share of the column's
FLOOR = 1e-3


def fit_gaussian_mixture(train, test):
    """Return the test score of a mixture chosen by 15 % of the training rows.

    1 to 32 components, full or diagonal, reg_covar 1e-3 (the floor), 1e-2 or 1e-1; the
    choice is refitted to all training rows.
    """
    fit, valid = train_test_split(train, test_size=0.15, random_state=0)
    best = (-np.inf, None)
    for kind in ("full", "diag"):
        for n_mixture in (1, 2, 4, 8, 16, 32):
            if n_mixture > len(fit) // 4:
                continue
            for floor in (FLOOR, 10 * FLOOR, 100 * FLOOR):
                model = GaussianMixture(
                    n_mixture, covariance_type=kind, reg_covar=floor, random_state=0
                )
                score = model.fit(fit).score(valid)
                best = max(best, (score, (n_mixture, kind, floor)))
    n_mixture, kind, floor = best[1]
    model = GaussianMixture(
        n_mixture, covariance_type=kind, reg_covar=floor, random_state=0
    )
    return model.fit(train).score(test)


def make_models(n_components, seed):
    """Return the models to compare, by name."""
    from skvae import VAETransformer
    from skvae.latents import Gaussian
    from skvae.likelihoods import GaussianMixture as Mixture

    common = {"n_components": n_components, "random_state": seed, "device": "cpu"}
    return {
        "skvae": VAETransformer(**common),
        "floor": VAETransformer(**common, likelihood=Mixture(variance_floor=FLOOR)),
        "plain": VAETransformer(
            **common,
            init="random",
            likelihood="gaussian",
            latent=Gaussian(prior="standard"),
        ),
    }


def run(name, sizes, seed, contenders):
    """Return the lines of one table and seed, one for each number of components."""
    warnings.simplefilter("ignore")
    train, test = split(name, seed)
    sizes = [q for q in sizes if q < train.shape[1]]
    mixture = fit_gaussian_mixture(train, test) if "gmm" in contenders else None
    return [run_one(name, train, test, q, seed, contenders, mixture) for q in sizes]


def run_one(name, train, test, n_components, seed, contenders, mixture):
    """Return one line of the table as a dict, and print it."""
    row = {"table": name, "n": len(train), "d": train.shape[1]}
    row |= {"q": n_components, "seed": seed}
    row["PCA"] = PCA(n_components).fit(train).score(test)
    row["FA"] = FactorAnalysis(n_components).fit(train).score(test)
    linear = max(row["PCA"], row["FA"])
    if mixture is not None:
        row["gmm"] = mixture - linear
    for label, model in make_models(n_components, seed).items():
        if label not in contenders:
            continue
        begin = time.perf_counter()
        model.fit(train)
        row[f"{label}_seconds"] = time.perf_counter() - begin
        row[label] = model.score(test) - linear
        row[f"{label}_epochs"] = model.n_iter_
        if label == "skvae":
            evidence = model.score_samples(test, "evidence").mean()
            row["evidence"] = evidence - linear
    print(
        f"{name:14s} n {row['n']:5d} d {row['d']:3d} q {n_components} seed {seed}",
        *(f"{k} {row[k]:+9.3f}" for k in (*contenders, "evidence") if k in row),
        *(f"{row[k]:5.1f} s" for k in ("skvae_seconds",) if k in row),
        *(f"{row[k]} ep" for k in ("skvae_epochs",) if k in row),
        flush=True,
    )
    return row


def summarise(rows, contenders):
    """Print what the lines add up to."""
    for q in sorted({row["q"] for row in rows}):
        part = [row for row in rows if row["q"] == q]
        for label in contenders:
            gains = np.array([row[label] for row in part if label in row])
            if len(gains):
                print(
                    f"q {q} {label:6s} {len(gains)} runs: worst {gains.min():+.3f}, "
                    f"median {np.median(gains):+.3f}, "
                    f"below -0.05: {(gains < -0.05).sum()}"
                )
        for label in ("skvae", "floor"):
            if "gmm" not in contenders or label not in contenders:
                continue
            names = sorted({row["table"] for row in part})
            wins = [
                np.mean([r[label] - r["gmm"] for r in part if r["table"] == name]) > 0
                for name in names
            ]
            lost = [n for n, won in zip(names, wins, strict=True) if not won]
            print(
                f"q {q} {label} above GaussianMixture on {sum(wins)} of {len(wins)} "
                f"tables; not on {', '.join(lost) or 'none'}"
            )


def print_markdown(rows):
    """Print one line a table and size: means over seeds, and the worst gain."""
    labels = ["PCA", "FA", "gmm", "plain", "floor", "skvae", "evidence"]
    labels = [label for label in labels if any(label in row for row in rows)]
    print("| table (n, d) | q |", " | ".join(labels), "| worst seed | s |")
    print("|---|--:|" + "--:|" * (len(labels) + 2))
    for name, q in dict.fromkeys((row["table"], row["q"]) for row in rows):
        part = [r for r in rows if (r["table"], r["q"]) == (name, q)]
        means = [np.mean([r[label] for r in part if label in r]) for label in labels]
        cells = [
            f"{mean:.2f}" if label in ("PCA", "FA") else f"{mean:+.2f}"
            for label, mean in zip(labels, means, strict=True)
        ]
        worst = min(r["skvae"] for r in part)
        seconds = np.median([r["skvae_seconds"] for r in part])
        size = f"{part[0]['n']:.0f}, {part[0]['d']:.0f}"
        cells += [f"{worst:+.2f}", f"{seconds:.1f}"]
        print(f"| {name} ({size}) | {q:.0f} |", " | ".join(cells), "|")


def read(path):
    """Return the lines of an earlier run from its file."""
    with path.open(newline="") as file:
        return [
            {k: v if k == "table" else float(v) for k, v in row.items() if v}
            for row in csv.DictReader(file)
        ]


def main():
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", nargs="*", default=None)
    parser.add_argument("--q", nargs="*", type=int, default=[2, 5, 8])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument(
        "--contenders", nargs="*", default=["gmm", "skvae", "floor", "plain"]
    )
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--csv", type=Path, default=None)
    parser.add_argument("--read", nargs="*", type=Path, help="show earlier runs")
    options = parser.parse_args()
    if options.read:
        rows = [row for path in options.read for row in read(path)]
        print_markdown(rows)
        summarise(rows, options.contenders)
        return
    tasks = [
        (name, options.q, seed, options.contenders)
        for name in options.tables or list_tables()
        for seed in options.seeds
    ]
    found = Parallel(n_jobs=options.jobs)(delayed(run)(*task) for task in tasks)
    rows = [row for rows in found for row in rows]
    print_markdown(rows)
    summarise(rows, options.contenders)
    if options.csv is not None:
        write_records(options.csv, rows)


if __name__ == "__main__":
    main()
