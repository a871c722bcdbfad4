"""AUROC of VAEOutlierDetector beside the detectors people use, on 17 tables of ADBench.

'semi': a detector sees the first half of the normal rows, in the order of the file, and
scores all others. 'unsupervised': it sees all rows, without labels, and scores the same
rows. All see the same standardised rows, 10,000 of a table at most, and nothing is
resampled. The odd-numbered tables of the list served to choose the detector's defaults;
the others did not.

``python benchmarks/outliers.py --help`` names the options; the defaults print the
tables of ``docs/outliers.md``. PyOD's VAE is there, with one seed, where PyOD is
installed.
"""

import argparse
import contextlib
import csv
import io
import time
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from sklearn.covariance import EmpiricalCovariance
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.preprocessing import StandardScaler
from tables import list_outlier_tables, load_outliers

# the tables that defaults were chosen on
CHOSEN_ON = slice(0, None, 2)
# left out of a second mean: of 1,555 columns, it decides the first
WIDE = "InternetAds"


def score_squares(train, test, seed):
    """Return minus the squared length: no model at all."""
    return -(test**2).sum(axis=1)


def score_mahalanobis(train, test, seed):
    """Return minus the Mahalanobis distance, of the covariance + 0.01 I."""
    model = EmpiricalCovariance().fit(train)
    precision = np.linalg.inv(model.covariance_ + 0.01 * np.eye(train.shape[1]))
    centred = test - model.location_
    return -np.einsum("ij,jk,ik->i", centred, precision, centred)


def score_mixture(train, test, seed):
    """Return the log-density of up to 20 normals, fewer if rows are few."""
    is_wide = train.shape[1] > 200
    model = GaussianMixture(
        max(1, min(20, len(train) // 40)),
        covariance_type="diag" if is_wide else "full",
        reg_covar=1.0 if is_wide else 0.1,
        random_state=seed,
    )
    return model.fit(train).score_samples(test)


def _score_neighbours(train, test, summary):
    model = NearestNeighbors(n_neighbors=5).fit(train)
    # a row that was fitted is no neighbour of its own
    distances, _ = model.kneighbors(None if test is train else test)
    return -summary(distances, axis=1)


def score_knn_largest(train, test, seed):
    """Return minus the distance to the fifth neighbour."""
    return _score_neighbours(train, test, np.max)


def score_knn_mean(train, test, seed):
    """Return minus the mean distance to five neighbours."""
    return _score_neighbours(train, test, np.mean)


def score_lof(train, test, seed):
    """Return the local outlier factor, of 20 neighbours."""
    if test is train:
        return LocalOutlierFactor().fit(train).negative_outlier_factor_
    return LocalOutlierFactor(novelty=True).fit(train).score_samples(test)


def score_forest(train, test, seed):
    """Return the score of an isolation forest."""
    return IsolationForest(random_state=seed).fit(train).score_samples(test)


def score_pyod(train, test, seed):
    """Return minus the score of PyOD's VAE, at its defaults."""
    from pyod.models.vae import VAE

    with contextlib.redirect_stdout(io.StringIO()):
        model = VAE(random_state=seed, verbose=0, device="cpu").fit(train)
        return -model.decision_function(test)


def make_detector(**options):
    """Return a contender that fits a VAEOutlierDetector, its options changed."""

    def score(train, test, seed):
        from skvae import VAEOutlierDetector

        model = VAEOutlierDetector(random_state=seed, device="cpu", **options)
        return model.fit(train).score_samples(test)

    return score


BASELINES = {
    "|z|²": score_squares,
    "Mahalanobis": score_mahalanobis,
    "IForest": score_forest,
    "LOF": score_lof,
    "kNN largest": score_knn_largest,
    "kNN mean": score_knn_mean,
    "GMM 20": score_mixture,
}
if find_spec("pyod"):
    BASELINES["PyOD VAE"] = score_pyod
CONTENDERS = BASELINES | {"skvae": make_detector()}
# those that chance has no part in, and one that takes long
ONCE = {"|z|²", "Mahalanobis", "LOF", "kNN largest", "kNN mean", "PyOD VAE"}


def split(name, protocol):
    """Return training rows, test rows and labels of the latter; 1 is an outlier."""
    X, y = load_outliers(name)
    if protocol == "unsupervised":
        X = StandardScaler().fit_transform(X)
        return X, X, y
    normal = np.flatnonzero(y == 0)
    first = normal[: len(normal) // 2]
    rest = np.setdiff1d(np.arange(len(y)), first)
    scaler = StandardScaler().fit(X[first])
    return scaler.transform(X[first]), scaler.transform(X[rest]), y[rest]


def run(table, protocol, contenders, seeds):
    """Return one line a contender and seed, and print it."""
    train, test, y = split(table, protocol)
    lines = []
    for name in contenders:
        for seed in seeds[:1] if name in ONCE else seeds:
            begin = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                scores = CONTENDERS[name](train, test, seed)
            seconds = time.perf_counter() - begin
            auroc = 100 * roc_auc_score(y, -scores)
            line = {
                "protocol": protocol,
                "table": table,
                "n": len(train),
                "d": train.shape[1],
                "name": name,
                "seed": seed,
                "auroc": auroc,
                "seconds": seconds,
            }
            lines.append(line)
            print(
                f"{protocol:12s} {table:14s} {name:12s} seed {seed} "
                f"{auroc:6.2f} {seconds:6.1f} s",
                flush=True,
            )
    return lines


def print_markdown(lines, protocol):
    """Print AUROC by table, means over seeds, and the means of them."""
    lines = [line for line in lines if line["protocol"] == protocol]
    tables = [t for t in list_outlier_tables() if any(x["table"] == t for x in lines)]
    names = list(dict.fromkeys(line["name"] for line in lines))

    def mean(table, name, what="auroc"):
        part = [x for x in lines if (x["table"], x["name"]) == (table, name)]
        return np.mean([x[what] for x in part]) if part else np.nan

    chosen_on = set(list_outlier_tables()[CHOSEN_ON])
    sizes = {x["table"]: (x["n"], x["d"]) for x in lines}
    print(f"\n{protocol}\n")
    titles = [name.replace("|", r"\|") for name in names]
    print("| table | n | d |", " | ".join(titles), "|")
    print("|---|--:|--:|" + "--:|" * len(names))
    for table in tables:
        star = "*" if table in chosen_on else ""
        cells = [f"{mean(table, name):.1f}" for name in names]
        n, d = sizes[table]
        print(f"| {table}{star} | {n} | {d} |", " | ".join(cells), "|")
    groups = {
        f"mean of {len(tables)}": tables,
        f"without {WIDE}": [t for t in tables if t != WIDE],
        "chosen on (*)": [t for t in tables if t in chosen_on],
        "the others": [t for t in tables if t not in chosen_on],
    }
    for label, group in groups.items():
        cells = [f"{np.mean([mean(t, name) for t in group]):.2f}" for name in names]
        print(f"| **{label}** | | |", " | ".join(cells), "|")
    cells = [f"{np.mean([mean(t, n, 'seconds') for t in tables]):.1f}" for n in names]
    print("| seconds a table | | |", " | ".join(cells), "|")
    ours = [name for name in names if name.startswith("skvae")]
    for name in ours:
        for other in names:
            if other not in ours:
                wins = sum(mean(t, name) > mean(t, other) for t in tables)
                print(f"{name} is above {other} on {wins} of {len(tables)} tables")


def read(path):
    """Return the lines of an earlier run from its file."""
    kinds = {"n": int, "d": int, "seed": int, "auroc": float, "seconds": float}
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {key: kinds.get(key, str)(value) for key, value in line.items()}
            for line in csv.DictReader(file)
        ]


def main():
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", nargs="*", default=None)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--protocols", nargs="*", default=["semi", "unsupervised"])
    parser.add_argument("--contenders", nargs="*", default=list(CONTENDERS))
    parser.add_argument("--csv", type=Path, default=None)
    parser.add_argument("--read", nargs="*", type=Path, help="add earlier runs")
    options = parser.parse_args()
    lines = [line for path in options.read or [] for line in read(path)]
    for protocol in options.protocols:
        for table in options.tables or list_outlier_tables():
            lines += run(table, protocol, options.contenders, options.seeds)
            if options.csv is not None:
                with options.csv.open("w", newline="", encoding="utf-8") as file:
                    writer = csv.DictWriter(file, list(lines[0]))
                    writer.writeheader()
                    writer.writerows(lines)
    for protocol in dict.fromkeys(line["protocol"] for line in lines):
        print_markdown(lines, protocol)


if __name__ == "__main__":
    main()
