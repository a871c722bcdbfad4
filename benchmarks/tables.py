"""Real tables for the benchmarks: scikit-learn's own, and a folder of others if given.

The folder holds ``uci/*.csv`` (a header row) and ``adbench/*_NAME.npz`` (an array X);
its path is taken from the environment variable SKVAE_DATA, or ``../shared/data``
beside the repository. Tables that are not there are left out, and the benchmarks say
so.
"""

import os
from pathlib import Path

import numpy as np
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
_MAX_ROWS = 10_000


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


def split(name, seed):
    """Return standardised training and test rows, 70/30, without constant columns."""
    train, test = train_test_split(load(name), test_size=0.3, random_state=seed)
    varies = train.std(axis=0) > 0
    scaler = StandardScaler().fit(train[:, varies])
    return scaler.transform(train[:, varies]), scaler.transform(test[:, varies])
