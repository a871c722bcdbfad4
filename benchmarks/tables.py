"""Real tables for the benchmarks: scikit-learn's own, and a folder of others if given.

The folder holds ``uci/*.csv`` (a header row), ``adbench/*_NAME.npz`` (an array X),
``odd/*/NAME.npz`` (arrays train, test and test_labels) and ``mixed/*.csv`` (a header
row; empty fields are missing); its path is taken from the
environment variable SKVAE_DATA, or ``../shared/data`` beside the repository. Tables
that are not there are left out with a message.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

SKLEARN = ("iris", "wine", "breast_cancer", "diabetes", "digits")
UCI = ("banknote", "concrete", "wine_red", "wine_white", "yeast")
ADBENCH = (
    "annthyroid",
    "cardio",
    "mammography",
    "musk",
    "pendigits",
    "satellite",
    "shuttle",
    "SpamBase",
)
# name: (target, columns that repeat others)
MIXED = {
    "adult": ("income", []),
    "bank_marketing": ("y", []),
    "german_credit": ("class", []),
    "titanic": (
        "survived",
        ["alive", "class", "who", "adult_male", "alone", "embark_town"],
    ),
}
# two more, of which numbers that are codes, or parts of a date, are text
SYNTHETIC = MIXED | {
    "default": ("default payment next month", []),
    "beijing": ("pm2.5", ["No"]),
}
_CODES = {
    "default": (
        "SEX",
        "EDUCATION",
        "MARRIAGE",
        *(f"PAY_{k}" for k in (0, *range(2, 7))),
    ),
    "beijing": ("year", "month", "day", "hour"),
}
# name: column of the labels
_LABELS = {"banknote": "class", "wine_red": "quality", "wine_white": "quality"}
_LABELS |= {"yeast": "class"}
_IMAGES = ("mnist", "fashion_mnist_900")
_MAX_ROWS = 10_000
# of images, and of rows of a mixed table, whose maps are compared
_MAX_MAPPED = 5_000


def find_folder():
    """Return the folder of further tables; it need not exist."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("SKVAE_DATA", beside))


def list_tables():
    """Return the names of the tables that can be loaded here."""
    folder = find_folder()
    names = list(SKLEARN)
    names += [f"u_{name}" for name in UCI if (folder / f"uci/{name}.csv").exists()]
    names += [name for name in ADBENCH if list(folder.glob(f"adbench/*_{name}.npz"))]
    return names


def load(name):
    """Return a table as floats, ``(n_samples, n_features)``, cut to 10,000 rows."""
    folder = find_folder()
    if name in SKLEARN:
        return getattr(datasets, f"load_{name}")().data.astype(float)
    if name.startswith("u_"):
        return np.loadtxt(folder / f"uci/{name[2:]}.csv", delimiter=",", skiprows=1)
    (path,) = folder.glob(f"adbench/*_{name}.npz")
    X = np.load(path, allow_pickle=False)["X"].astype(float)
    if len(X) > _MAX_ROWS:
        rows = np.random.default_rng(0).permutation(len(X))[:_MAX_ROWS]
        X = X[np.sort(rows)]
    return X


def list_outlier_tables():
    """Return the names of the tables with labelled outliers, in the order of files."""
    paths = find_folder().glob("adbench/*_*.npz")
    numbered = [path.stem.split("_", 1) for path in paths]
    return [name for _, name in sorted((int(n), name) for n, name in numbered)]


def load_outliers(name):
    """Return rows, 10,000 at most in the order of the file, and 1 for outliers."""
    (path,) = find_folder().glob(f"adbench/*_{name}.npz")
    with np.load(path, allow_pickle=False) as file:
        X, y = file["X"].astype(float), file["y"]
    if len(X) > _MAX_ROWS:
        rows = np.random.default_rng(0).choice(len(X), _MAX_ROWS, replace=False)
        rows.sort()
        X, y = X[rows], y[rows]
    return X, y


def list_odd_tables(part="*"):
    """Return the names of OddBench's and OvRBench's tables, in alphabetical order."""
    return sorted(path.stem for path in find_folder().glob(f"odd/{part}/*.npz"))


def load_odd(name):
    """Return normal training rows, test rows, and 1 for outliers among these."""
    (path,) = find_folder().glob(f"odd/*/{name}.npz")
    with np.load(path, allow_pickle=False) as file:
        return (
            file["train"].astype(float),
            file["test"].astype(float),
            file["test_labels"],
        )


def split(name, seed):
    """Return standardised training and test rows, 70/30, without constant columns."""
    return standardize(*train_test_split(load(name), test_size=0.3, random_state=seed))


def standardize(train, test):
    """Return rows scaled by the training rows, without columns constant in these."""
    varies = train.std(axis=0) > 0
    scaler = StandardScaler().fit(train[:, varies])
    return scaler.transform(train[:, varies]), scaler.transform(test[:, varies])


def list_mixed():
    """Return the names of the mixed tables with classes that can be loaded here."""
    return [name for name in list_synthetic() if name in MIXED]


def list_synthetic():
    """Return the names of all mixed tables that can be loaded here."""
    folder = find_folder() / "mixed"
    return [name for name in SYNTHETIC if (folder / f"{name}.csv").exists()]


def load_mixed(name):
    """Return a data frame of numbers and text, and the name of its target.

    The target is text, but that of beijing, of which rows without it are left out. A
    missing text is a level of its own, 'missing'; missing numbers stay missing.
    """
    target, repeated = SYNTHETIC[name]
    frame = pd.read_csv(find_folder() / "mixed" / f"{name}.csv")
    frame = frame.drop(columns=repeated).dropna(subset=target)
    texts = [*_CODES.get(name, ()), *([target] if name != "beijing" else [])]
    frame = frame.astype(dict.fromkeys(texts, str))
    text = list_text(frame)
    return frame.fillna(dict.fromkeys(text, "missing")), target


def list_text(frame):
    """Return the names of the columns that are not numbers."""
    return list(frame.columns[[dtype.kind not in "iuf" for dtype in frame.dtypes]])


def split_mixed(name, seed):
    """Return training and test rows and the target.

    A third of the rows is for testing, 10,000 at most: the sizes that the CTGAN paper
    has for adult.
    """
    frame, target = load_mixed(name)
    rows = np.random.default_rng(seed).permutation(len(frame))
    n_test = min(_MAX_ROWS, len(frame) // 3)
    train, test = frame.iloc[rows[n_test:]], frame.iloc[rows[:n_test]]
    return train.reset_index(drop=True), test.reset_index(drop=True), target


def list_labelled():
    """Return the names of the tables with classes that can be loaded here."""
    folder = find_folder()
    names = [name for name in SKLEARN if name != "diabetes"]
    names += [f"u_{name}" for name in _LABELS if f"u_{name}" in list_tables()]
    names += [n for n in _IMAGES if (folder / f"images/{n}.npz").exists()]
    return names + list_mixed()


def load_labelled(name):
    """Return rows, 5,000 at most, and their classes; mixed rows are a data frame."""
    if name in SKLEARN:
        bunch = getattr(datasets, f"load_{name}")()
        return bunch.data.astype(float), bunch.target
    if name in MIXED:
        X, target = load_mixed(name)
        X, y = X.drop(columns=target), X[target].to_numpy()
    elif name in _IMAGES:
        with np.load(find_folder() / f"images/{name}.npz") as file:
            X = file["X_train" if name == "mnist" else "X"]
            y = file["y_train" if name == "mnist" else "y"]
        X = X.reshape(len(X), -1).astype(float)
    else:
        frame = pd.read_csv(find_folder() / f"uci/{name[2:]}.csv")
        X = frame.drop(columns=_LABELS[name[2:]]).to_numpy(float)
        y = frame[_LABELS[name[2:]]].to_numpy()
    if len(X) > _MAX_MAPPED:
        rows = np.random.default_rng(0).permutation(len(X))[:_MAX_MAPPED]
        X, y = X.iloc[rows] if name in MIXED else X[rows], y[rows]
    return X, y
