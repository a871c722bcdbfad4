"""The map: how well reductions to the same number of dimensions keep held-out rows.

Every model is fitted to 70 % of the rows, columns standardised, and judged by
``transform`` of the others:

- R2: the share of variance of the standardised numbers that ``inverse_transform``
  recovers;
- kNN, logistic: accuracy of the classes from z, by 10 nearest neighbours and by
  logistic regression of standardised components;
- pipeline: accuracy of ``Pipeline([scale, reduce, LogisticRegression()])``, which
  takes z as it comes;
- trust, continuity: scikit-learn's trustworthiness, and the same with x and z exchanged
  (10 neighbours);
- invariance: every model is fitted twice, the second time with another seed to the same
  rows in another order. A linear map with an intercept from the second z to the first
  is fitted by least squares to the training rows; the measure is its R2 on held-out
  rows, over all components together: 1 if the two maps are equal but for a linear map;
- s: CPU seconds of the second fit, when everything is imported and compiled; that of
  UMAP and t-SNE includes ``transform`` of the held-out rows.

Where columns are mixed, others than skvae see one column for each level, medians for
missing numbers, and distances are measured between these rows; R2 is that of the
numbers.

All models have their defaults, but for the number of components; ``OURS`` lists the
variants of skvae. ``python benchmarks/representation.py --help`` names the options.
umap-learn, openTSNE and pythae are left out where they are not installed. The full run
can be split, for instance by table, and interrupted; ``--read`` joins the files::

    python benchmarks/representation.py --tables iris wine --csv 1.csv --resume
    python benchmarks/representation.py --tables digits --csv 2.csv --resume
    python benchmarks/representation.py --read 1.csv 2.csv
"""

import copy
import importlib.util
import os
from functools import partial

import numpy as np
import pandas as pd
from _run import (
    Axis,
    fill,
    get_mean,
    group,
    main,
    measured,
    print_groups,
    print_table,
)
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.manifold import trustworthiness
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tables import list_labelled, list_text, load_labelled
from workloads import Workload

# variants of skvae: name, parameters of VAETransformer
OURS = (
    ("skvae, map", {"density": None}),
    ("skvae, joint", {"density": "joint"}),
)
# held-out rows between which distances are compared
_MAX_TEST = 1500
_N_NEIGHBORS = 10
MEASURES = (
    "R2",
    "kNN",
    "logistic",
    "pipeline",
    "trust",
    "continuity",
    "invariance",
)
# a difference from PCA counts if it is larger
_MARGINS = (0.005, 0.02)
# what a contender needs that does not come with the benchmarks
_PACKAGES = {"UMAP": "umap", "t-SNE": "openTSNE", "pythae": "pythae"}


class Split:
    """A table, split and standardised; ``numbers`` are its columns of numbers."""

    def __init__(self, name, seed):
        X, y = load_labelled(name)
        train, test, self.y_train, self.y_test = train_test_split(
            X, y, test_size=0.3, random_state=seed
        )
        test, self.y_test = test[:_MAX_TEST], self.y_test[:_MAX_TEST]
        if isinstance(X, pd.DataFrame):
            text = list_text(X)
            numbers = [column for column in X if column not in text]
            scaler = StandardScaler().set_output(transform="pandas")
            # skvae's own units are the same
            self.train, self.test = train.copy(), test.copy()
            self.train[numbers] = scaler.fit_transform(train[numbers])
            self.test[numbers] = scaler.transform(test[numbers])
            coder = make_column_transformer(
                (SimpleImputer(strategy="median"), numbers),
                (OneHotEncoder(handle_unknown="ignore", sparse_output=False), text),
            )
            coder = make_pipeline(coder, StandardScaler())
            self.train_coded = coder.fit_transform(self.train)
            self.test_coded = coder.transform(self.test)
            self.numbers = numbers
        else:
            varies = train.std(axis=0) > 0
            scaler = StandardScaler().fit(train[:, varies])
            self.train = self.train_coded = scaler.transform(train[:, varies])
            self.test = self.test_coded = scaler.transform(test[:, varies])
            self.numbers = None
        self.mean = np.nanmean(self.get_numbers(self.train), axis=0)

    def reorder(self, order):
        """Return the split with its training rows in another order."""
        other = copy.copy(self)
        other.train_coded = self.train_coded[order]
        is_frame = isinstance(self.train, pd.DataFrame)
        other.train = self.train.iloc[order] if is_frame else self.train[order]
        return other

    def get_numbers(self, X):
        """Return the cells of numbers, in the units of the training rows."""
        if self.numbers is None:
            return X
        if isinstance(X, pd.DataFrame):
            return X[self.numbers].to_numpy(float)
        return X[:, : len(self.numbers)]

    def compute_r2(self, found):
        """Return R2 of reconstructed rows; NaN without a column of numbers."""
        x, found = self.get_numbers(self.test), self.get_numbers(found)
        return 1 - np.nansum((x - found) ** 2) / np.nansum((x - self.mean) ** 2)


# contenders -------------------------------------------------------------------------


def make_skvae(split, q, seed, **changes):
    """Fit skvae to the table as it is."""
    from skvae import VAETransformer

    vae = VAETransformer(q, device="cpu", random_state=seed, **changes).fit(split.train)
    return vae.transform(split.train), vae.transform(split.test), vae.reconstruct


def make_linear(split, q, seed, kind=PCA):
    """Fit PCA or factor analysis."""
    model = kind(q, random_state=seed).fit(split.train_coded)
    z, z_test = map(model.transform, (split.train_coded, split.test_coded))
    mean = model.mean_ + z_test @ model.components_
    return z, z_test, lambda X: mean


def make_umap(split, q, seed):
    """Fit UMAP at its defaults."""
    from umap import UMAP

    model = UMAP(n_components=q, random_state=seed, n_jobs=1)
    z = model.fit_transform(split.train_coded)
    return z, model.transform(split.test_coded), None


def make_tsne(split, q, seed):
    """Fit openTSNE at its defaults; a plane is as many dimensions as it is fast in."""
    from openTSNE import TSNE

    z = TSNE(n_components=q, random_state=seed, n_jobs=1).fit(split.train_coded)
    return np.asarray(z), np.asarray(z.transform(split.test_coded)), None


def make_torch(split, q, seed, kind):
    """Fit the textbook's VAE, one normal of learned noise per column, or pythae's.

    That of pythae has unit variance, its only one for numbers.
    """
    import torch
    from contenders import fit_pythae, fit_textbook

    torch.manual_seed(seed)
    own = {"learns_noise": kind == "textbook"}
    work = Workload("fit", (128, 128), q, batch_size=64, epochs=100, **own)
    fit = fit_textbook if kind == "textbook" else fit_pythae
    encode, decode = fit(split.train_coded.astype("float32"), work, seed).args

    @torch.no_grad()
    def transform(X):
        return encode(torch.as_tensor(X, dtype=torch.float32))[0].numpy()

    @torch.no_grad()
    def reconstruct(X):
        return decode(torch.from_numpy(transform(split.test_coded))).mean.numpy()

    return transform(split.train_coded), transform(split.test_coded), reconstruct


CONTENDERS = {
    "PCA": make_linear,
    "FA": partial(make_linear, kind=FactorAnalysis),
    **{name: partial(make_skvae, **changes) for name, changes in OURS},
    "UMAP": make_umap,
    "t-SNE": make_tsne,
    "textbook": partial(make_torch, kind="textbook"),
    "pythae": partial(make_torch, kind="pythae"),
}


def list_contenders():
    """Return the contenders whose packages are installed."""
    return [
        name
        for name in CONTENDERS
        if importlib.util.find_spec(_PACKAGES.get(name, "sklearn"))
    ]


# measuring --------------------------------------------------------------------------


def measure(options, table, seed, q, contender):
    """Return what one map of a table keeps."""
    split = Split(table, seed)
    x, y, y_test = split.test_coded, split.y_train, split.y_test
    if q >= x.shape[1] or (contender == "t-SNE" and q > 2):
        return None
    fit = CONTENDERS[contender]
    z, z_test, reconstruct = fit(split, q, seed)
    again, record = fit_again(fit, split, q, seed)
    z, z_test, *again = (np.asarray(found, float) for found in (z, z_test, *again))
    neighbors = KNeighborsClassifier(_N_NEIGHBORS).fit(z, y)
    plain = LogisticRegression(max_iter=2000)
    scaled = make_pipeline(StandardScaler(), plain)
    record |= {
        "n": len(z),
        "d": x.shape[1],
        "kNN": neighbors.score(z_test, y_test),
        "logistic": scaled.fit(z, y).score(z_test, y_test),
        # z of the training rows is what a pipeline gives to its last step
        "pipeline": plain.fit(z, y).score(z_test, y_test),
        "trust": trustworthiness(x, z_test, n_neighbors=_N_NEIGHBORS),
        "continuity": trustworthiness(z_test, x, n_neighbors=_N_NEIGHBORS),
        "invariance": compute_invariance(z, z_test, *again),
    }
    if reconstruct is not None:
        record["R2"] = split.compute_r2(reconstruct(split.test))
    return record


def fit_again(fit, split, q, seed):
    """Return z of a second fit, rows in the order of the first, and its seconds."""
    order = np.random.default_rng(seed).permutation(len(split.train_coded))
    found, record = measured(fit, split.reorder(order), q, seed + 1000)
    return (found[0][np.argsort(order)], found[1]), record


def compute_invariance(z, z_test, other, other_test):
    """Return R2 of z of held-out rows, predicted linearly from z of another fit."""
    found = LinearRegression().fit(other, z).predict(other_test)
    error, variance = (z_test - found) ** 2, (z_test - z_test.mean(axis=0)) ** 2
    return 1 - error.sum() / variance.sum()


# tables -----------------------------------------------------------------------------


def summarize(part):
    """Return means over splits."""
    cells = {name: fill(get_mean(part, name), ".3f") for name in MEASURES}
    return cells | {"s": fill(get_mean(part, "cpu"), ".1f")}


def report(records, options):
    """Print how all contenders compare with PCA, their times, and every table."""
    names = list(dict.fromkeys(r["contender"] for r in records))
    others = [name for name in names if name != "PCA"]
    cells = group(records, ["table", "q", "contender"])
    pairs = {name: list_pairs(cells, name) for name in others}
    lines = [
        {"measure": measure, "minus PCA": name} | compare(pairs[name], measure)
        for measure in MEASURES
        for name in others
        if pairs[name]
    ]
    if lines:
        print_table([line for line in lines if "mean" in line], 2)
        print()
    print_table([{"contender": name} | summarize_time(cells, name) for name in names])
    print()
    for r in records:
        r["table (n, d)"] = f"{r['table']} ({r['n']}, {r['d']})"
    print_groups(records, ["table (n, d)", "q", "contender"], summarize)


def list_pairs(cells, name):
    """Return (table, q), records of a contender and of PCA, for every case of both."""
    return [
        (key[:2], part, cells[(*key[:2], "PCA")])
        for key, part in cells.items()
        if key[2] == name and (*key[:2], "PCA") in cells
    ]


def compare(pairs, measure):
    """Return how a measure differs from PCA's: a case is a table and q, all splits.

    Splits count that both have.
    """
    gains = {}
    for case, own, pca in pairs:
        values = [
            {r["seed"]: r[measure] for r in p if measure in r} for p in (own, pca)
        ]
        both = values[0].keys() & values[1].keys()
        if both:
            gains[case] = np.mean([values[0][s] - values[1][s] for s in both])
    if not gains:
        return {}
    found = np.array(list(gains.values()))
    sizes = sorted({q for _, q in gains})
    table, q = min(gains, key=gains.get)
    cells = {"cases": len(gains), "mean": f"{found.mean():+.3f}"}
    for size in sizes:
        part = [gain for (_, q_), gain in gains.items() if q_ == size]
        cells[f"q = {size}"] = f"{np.mean(part):+.3f}"
    cells |= {"worst": f"{found.min():+.3f}", "worst at": f"{table}, {q}"}
    for margin in _MARGINS:
        cells[f"< -{margin:g}"] = f"{(found < -margin).mean():.0%}"
    return cells | {f"> {_MARGINS[-1]:g}": f"{(found > _MARGINS[-1]).mean():.0%}"}


def summarize_time(cells, name):
    """Return CPU seconds of a fit, over tables and sizes."""
    times = {key[:2]: get_mean(p, "cpu") for key, p in cells.items() if key[2] == name}
    table, q = max(times, key=times.get)
    return {
        "mean s": f"{np.mean(list(times.values())):.1f}",
        "median s": f"{np.median(list(times.values())):.1f}",
        "longest s": f"{times[table, q]:.1f}",
        "longest at": f"{table}, {q}",
        "fits": 2 * sum(len(p) for key, p in cells.items() if key[2] == name),
    }


AXES = [
    Axis("table", "--tables", list_labelled()),
    Axis("seed", "--seeds", (0, 1, 2)),
    Axis("q", "--q", (2, 5, 8)),
    Axis(
        "contender",
        "--contenders",
        tuple(CONTENDERS),
        tuple(CONTENDERS),
        list_contenders,
        keeps_all=True,
    ),
]


if __name__ == "__main__":
    # pythae has a progress bar for every epoch
    os.environ["TQDM_DISABLE"] = "1"
    main(__doc__, AXES, measure, report)
