"""The map: how well reductions to the same number of dimensions keep held-out rows.

Every model is fitted to 70 % of the rows, columns standardised, and judged by
``transform`` of the others: R2, the share of variance of the standardised numbers that
``inverse_transform`` recovers; kNN and logistic, accuracies of the classes from z by 10
nearest neighbours and by logistic regression; trust and continuity, scikit-learn's
trustworthiness and the same with x and z exchanged (10 neighbours). Where columns are
mixed, others than skvae see one column for each level, medians for missing numbers, and
distances are measured between these rows; R2 is that of the numbers.

``skvae`` is the default, which maximises the density, and ``skvae, map`` has
``density=None``. ``python benchmarks/representation.py --help`` names the options.
umap-learn, openTSNE and pythae are left out where they are not installed.
"""

import importlib.util
from types import SimpleNamespace

import numpy as np
import pandas as pd
from _run import (
    Axis,
    fill,
    get_mean,
    get_values,
    group,
    main,
    measured,
    print_groups,
    print_table,
)
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import trustworthiness
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tables import list_labelled, list_text, load_labelled

# held-out rows between which distances are compared
_MAX_TEST = 1500
_N_NEIGHBORS = 10
MEASURES = ("R2", "kNN", "logistic", "trust", "continuity")
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
    """Fit the textbook's VAE, one normal of learned noise per column, or pythae's."""
    import torch
    from contenders import fit_pythae, fit_textbook

    torch.manual_seed(seed)
    work = SimpleNamespace(
        hidden=(128, 128),
        n_components=q,
        lr=1e-3,
        batch_size=64,
        epochs=100,
        likelihood="gaussian",
        learns_noise=kind == "textbook",
    )
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
    "FA": lambda *args: make_linear(*args, FactorAnalysis),
    "skvae": make_skvae,
    "skvae, map": lambda *args: make_skvae(*args, density=None),
    "UMAP": make_umap,
    "t-SNE": make_tsne,
    "textbook": lambda *args: make_torch(*args, "textbook"),
    "pythae": lambda *args: make_torch(*args, "pythae"),
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
    x = split.test_coded
    if q >= x.shape[1] or (contender == "t-SNE" and q > 2):
        return None
    fit = CONTENDERS[contender]
    (z, z_test, reconstruct), record = measured(fit, split, q, seed)
    z, z_test = z.astype(float), z_test.astype(float)
    neighbors = KNeighborsClassifier(_N_NEIGHBORS).fit(z, split.y_train)
    logistic = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    record |= {
        "n": len(z),
        "d": x.shape[1],
        "kNN": neighbors.score(z_test, split.y_test),
        "logistic": logistic.fit(z, split.y_train).score(z_test, split.y_test),
        "trust": trustworthiness(x, z_test, n_neighbors=_N_NEIGHBORS),
        "continuity": trustworthiness(z_test, x, n_neighbors=_N_NEIGHBORS),
    }
    if reconstruct is not None:
        record["R2"] = split.compute_r2(reconstruct(split.test))
    return record


def summarize(part):
    """Return means over splits."""
    cells = {name: fill(get_mean(part, name), ".3f") for name in MEASURES}
    return cells | {"s": fill(get_mean(part, "cpu"), ".1f")}


def report(records, options):
    """Print every table, and how all contenders compare with PCA."""
    for r in records:
        r["table (n, d)"] = f"{r['table']} ({r['n']}, {r['d']})"
    print_groups(records, ["table (n, d)", "q", "contender"], summarize)
    cells = group(records, ["table", "q", "contender"])
    for q in (None, *sorted(get_values(records, "q") and {r["q"] for r in records})):
        lines = [
            {"q": q or "all", "minus PCA": name} | compare(cells, name, q)
            for name in dict.fromkeys(r["contender"] for r in records)
            if name != "PCA"
        ]
        print()
        print_table(lines, 2)


def compare(cells, name, q):
    """Return means and worst cases of the differences between a contender and PCA."""
    found = {}
    pairs = {
        key[:2]: (part, cells[*key[:2], "PCA"])
        for key, part in cells.items()
        if key[2] == name and (*key[:2], "PCA") in cells and q in (None, key[1])
    }
    for field in MEASURES:
        means = [[get_mean(p, field) for p in pair] for pair in pairs.values()]
        gains = np.array([own - pca for own, pca in means if None not in (own, pca)])
        if not len(gains):
            continue
        found[field] = f"{gains.mean():+.3f}"
        found[f"{field}, worst"] = f"{gains.min():+.3f}"
        if field == "kNN":
            found["kNN < -.02"] = f"{(gains < -0.02).sum()} of {len(gains)}"
    return found


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
    main(__doc__, AXES, measure, report)
