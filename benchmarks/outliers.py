"""AUROC of VAEOutlierDetector beside other detectors, on 17 tables of ADBench.

'semi': a detector sees the first half of the normal rows, in the order of the file, and
scores all others. 'unsupervised': it sees all rows, without labels, and scores the same
rows. All see the same standardised rows, 10,000 of a table at most, and nothing is
resampled. The odd-numbered tables of the list served to choose the detector's defaults;
the others did not.

``python benchmarks/outliers.py --help`` names the options; the defaults print the
tables of ``docs/results/outliers.md``. PyOD's VAE is there, with one seed, where
PyOD is installed.
"""

import contextlib
import io
from functools import lru_cache
from importlib.util import find_spec

import numpy as np
from _run import Axis, get_mean, group, main, print_table, timed
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


@lru_cache(1)
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


def measure(options, protocol, table, name, seed):
    """Return the AUROC of one detector."""
    if name in ONCE and seed != options.seeds[0]:
        return None
    train, test, y = split(table, protocol)
    scores, seconds = timed(CONTENDERS[name], train, test, seed)
    auroc = 100 * roc_auc_score(y, -scores)
    n, d = train.shape
    return {"n": n, "d": d, "auroc": auroc, "seconds": seconds}


def report(records, options):
    """Print AUROC by table, means over seeds, and the means of them."""
    for (protocol,), part in group(records, ["protocol"]).items():
        print(f"\n{protocol}\n")
        print_protocol(part)


def print_protocol(records):
    """Print the table of one setting."""
    means = group(records, ["table", "name"])
    tables = [t for (t,) in group(records, ["table"])]
    names = [name for (name,) in group(records, ["name"])]
    sizes = {r["table"]: {"n": r["n"], "d": r["d"]} for r in records}
    chosen_on = set(list_outlier_tables()[CHOSEN_ON])

    def mean(table, name, field="auroc"):
        return get_mean(means.get((table, name), [{field: np.nan}]), field)

    def make_line(label, tables, digits, field="auroc"):
        cells = {n: np.mean([mean(t, n, field) for t in tables]) for n in names}
        line = {"table": label + "*" * (label in chosen_on)}
        line |= sizes.get(label, {"n": "", "d": ""})
        return line | {name: f"{value:.{digits}f}" for name, value in cells.items()}

    groups = {
        f"mean of {len(tables)}": tables,
        f"without {WIDE}": [t for t in tables if t != WIDE],
        "chosen on (*)": [t for t in tables if t in chosen_on],
        "the others": [t for t in tables if t not in chosen_on],
    }
    lines = [make_line(table, [table], 1) for table in tables]
    lines += [make_line(f"**{k}**", group, 2) for k, group in groups.items() if group]
    print_table([*lines, make_line("seconds a table", tables, 1, "seconds")])
    for name in (name for name in names if name.startswith("skvae")):
        for other in (n for n in names if not n.startswith("skvae")):
            wins = sum(mean(t, name) > mean(t, other) for t in tables)
            print(f"{name} is above {other} on {wins} of {len(tables)} tables")


AXES = [
    Axis("protocol", "--protocols", ("semi", "unsupervised")),
    Axis("table", "--tables", list_outlier_tables()),
    Axis("name", "--contenders", CONTENDERS, CONTENDERS, keeps_all=True),
    Axis("seed", "--seeds", (0, 1, 2)),
]


if __name__ == "__main__":
    main(__doc__, AXES, measure, report)
