"""Synthetic rows of mixed tables, evaluated by the classifiers that learn from them.

The protocol of Xu et al. (2019), "Modeling tabular data using conditional GAN": a
synthesiser is fitted to the training rows and draws as many rows; four classifiers are
trained on these and tested on real rows. F1 is that of the rarer class, the mean over
classifiers, and "of real" its share of that after training on the real rows. Adult has
10,000 test rows as in the paper, other tables a third of their rows, 10,000 at most.

Features are those of SDGym: levels one-hot (two levels are one column), numbers to
[0, 5], logarithms of those that reach 1,000. Classifiers are AdaBoost of 50 stumps, a
tree of depth 20, logistic regression and a network of 50 units; tree and regression
weigh classes by their rarity.

Beside F1, distances between draws and test rows, 0 at best; those of real training rows
are what chance leaves:

- TV: total variation of the levels of text columns, their mean;
- KS: Kolmogorov-Smirnov distance of number columns, their mean;
- pairs: difference of association, mean over pairs of columns. Association is Cramér's
  V of two text columns, the correlation ratio of a text column and the ranks of
  numbers (both corrected for chance), and Spearman's correlation of numbers.

Contenders: `real`, the training rows; `independent`, every column shuffled; `skvae`;
`TVAE` of ``pip install ctgan`` with its defaults. A missing text is a level for all.
Missing numbers are given to TVAE as the mean and a column of flags.

``python benchmarks/synthetic.py`` prints one line a table and contender, means over
seeds. Tables come from the folder that `tables.find_folder` returns.
"""

from importlib.util import find_spec
from itertools import combinations

import numpy as np
import pandas as pd
from _run import Axis, get_mean, group, main, print_groups, timed
from scipy.stats import ks_2samp, rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier
from tables import MIXED, list_mixed, list_text, split_mixed

# skvae's settings: n_components is one less than columns, MAX_COMPONENTS at most, and
# one for so many rows
MAX_COMPONENTS, ROWS_PER_COMPONENT = 20, 64
SKVAE = {"device": "cpu"}


# contenders: fit(train, seed, options) returns a function of a number of rows ---------


def keep_real(train, seed, options):
    """Return the training rows themselves."""
    return lambda n_samples: train.iloc[:n_samples]


def fit_independent(train, seed, options):
    """Shuffle every column."""
    generator = np.random.default_rng(seed)

    def sample(n_samples):
        columns = {name: generator.permutation(train[name]) for name in train}
        return pd.DataFrame(columns).iloc[:n_samples]

    return sample


def fit_skvae(train, seed, options):
    """Fit VAETransformer to the table as it is."""
    from skvae import VAETransformer

    n_rows, n_columns = train.shape
    most = min(MAX_COMPONENTS, n_rows // ROWS_PER_COMPONENT)
    n_components = max(1, min(n_columns - 1, most))
    vae = VAETransformer(n_components, random_state=seed, **SKVAE).fit(train)
    return lambda n_samples: vae.sample(n_samples, random_state=seed)


def fit_tvae(train, seed, options):
    """Fit TVAE of ctgan, which takes no missing numbers."""
    from ctgan import TVAE

    missing = [name for name in train if train[name].isna().any()]
    flags = [f"{name} is missing" for name in missing]
    filled = train.fillna(train[missing].mean())
    filled[flags] = train[missing].isna().astype(str)
    vae = TVAE(epochs=options.tvae_epochs)
    vae.set_random_state(seed)
    vae.fit(filled, list_text(filled))

    def sample(n_samples):
        drawn = vae.sample(n_samples)
        for name, flag in zip(missing, flags, strict=True):
            drawn.loc[drawn[flag] == "True", name] = np.nan
        return drawn[train.columns]

    return sample


CONTENDERS = {
    "real": keep_real,
    "independent": fit_independent,
    "skvae": fit_skvae,
    "TVAE": fit_tvae,
}


# classifiers ------------------------------------------------------------------------


class RealAdaBoost:
    """Real AdaBoost of 50 stumps, scikit-learn's ``SAMME.R`` until version 1.5.

    Friedman, Hastie & Tibshirani (2000), "Additive logistic regression", algorithm 2.
    The paper's figures are of it. Discrete AdaBoost, which is what is left there, has
    an F1 that is 0.02 lower on adult.
    """

    def fit(self, X, y):
        """Fit stumps to weighted rows; y is 0 or 1."""
        weight, self.stumps = np.full(len(y), 1 / len(y)), []
        for _ in range(50):
            stump = DecisionTreeClassifier(max_depth=1).fit(X, y, weight)
            self.stumps.append(stump)
            weight *= np.exp(-np.where(y, 1, -1) * self._get_half_logit(stump, X))
            weight /= weight.sum()
        return self

    @staticmethod
    def _get_half_logit(stump, X):
        p = stump.predict_proba(X).clip(np.finfo(float).eps)
        return np.log(p[:, 1] / p[:, 0]) / 2

    def predict(self, X):
        """Return 0 or 1."""
        return sum(self._get_half_logit(stump, X) for stump in self.stumps) > 0


def make_classifiers(seed):
    """Return the four classifiers by name."""
    balanced = {"class_weight": "balanced", "random_state": seed}
    return {
        "AdaBoost": RealAdaBoost(),
        "tree": DecisionTreeClassifier(max_depth=20, **balanced),
        "logistic": LogisticRegression(max_iter=50, **balanced),
        "network": MLPClassifier((50,), max_iter=50, random_state=seed),
    }


class Features:
    """Numbers for classifiers, by what the real training rows have."""

    def __init__(self, train, target):
        self.target = target
        self.rare = train[target].value_counts().index[-1]
        self.text = [name for name in list_text(train) if name != target]
        self.numbers = [name for name in train if name not in (*self.text, target)]
        self.levels = {name: sorted(train[name].unique()) for name in self.text}
        self.range = train[self.numbers].agg(["min", "max", "mean"])
        self.missing = [name for name in self.numbers if train[name].isna().any()]

    def transform(self, rows):
        """Return features, and whether the target is the rarer class."""
        columns = [self._make_number(name, rows[name]) for name in self.numbers]
        columns += [rows[name].isna().to_numpy() for name in self.missing]
        for name, levels in self.levels.items():
            levels = levels[1:] if len(levels) == 2 else levels
            columns += [(rows[name] == level).to_numpy() for level in levels]
        is_rare = (rows[self.target] == self.rare).to_numpy()
        return np.column_stack(columns).astype(float), is_rare.astype(int)

    def _make_number(self, name, column):
        least, most, mean = self.range[name]
        column = column.fillna(mean).to_numpy(float)
        if least >= 0 and most >= 1000:
            return np.log(np.maximum(column, 0.01))
        return 5 * (column - least) / (most - least)


def measure_classifiers(drawn, test, features, seed):
    """Return F1 on real rows of classifiers trained on draws, by name."""
    X, y = features.transform(drawn)
    X_test, y_test = features.transform(test)
    if len(np.unique(y)) < 2:
        return dict.fromkeys(make_classifiers(seed), 0.0)
    return {
        name: f1_score(y_test, classifier.fit(X, y).predict(X_test))
        for name, classifier in make_classifiers(seed).items()
    }


# distances --------------------------------------------------------------------------


def measure_marginals(drawn, test, text):
    """Return the mean distances of text and of number columns."""
    variation, distance = [], []
    for name in test:
        if name in text:
            shares = [rows[name].value_counts(normalize=True) for rows in (drawn, test)]
            variation.append(shares[0].sub(shares[1], fill_value=0).abs().sum() / 2)
        else:
            pair = (rows[name].dropna().to_numpy(float) for rows in (drawn, test))
            distance.append(ks_2samp(*pair, method="asymp").statistic)
    return {"TV": np.mean(variation), "KS": np.mean(distance)}


def compute_cramer(a, b):
    """Return Cramér's V of codes, corrected for chance (Bergsma 2013)."""
    counts = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(counts, (a, b), 1)
    n, (n_rows, n_columns) = len(a), counts.shape
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / n
    phi = ((counts - expected) ** 2 / expected).sum() / n
    phi = max(0, phi - (n_rows - 1) * (n_columns - 1) / (n - 1))
    n_rows, n_columns = (k - (k - 1) ** 2 / (n - 1) for k in (n_rows, n_columns))
    least = min(n_rows, n_columns) - 1
    return np.sqrt(min(1, phi / least)) if least > 0 else 0.0


def compute_ratio(codes, values):
    """Return the correlation ratio of ranks, corrected for chance (Kelley 1935)."""
    ranks, codes = rankdata(values), np.unique(codes, return_inverse=True)[1]
    n, n_levels = len(ranks), codes.max() + 1
    total = ((ranks - ranks.mean()) ** 2).sum()
    if total == 0 or n <= n_levels:
        return 0.0
    means = np.bincount(codes, ranks) / np.bincount(codes)
    within = ((ranks - means[codes]) ** 2).sum()
    return np.sqrt(max(0, 1 - within / total * (n - 1) / (n - n_levels)))


def compute_spearman(a, b):
    """Return Spearman's correlation, 0 of a constant."""
    a, b = rankdata(a), rankdata(b)
    return np.corrcoef(a, b)[0, 1] if np.ptp(a) and np.ptp(b) else 0.0


def compute_associations(rows, text):
    """Return the association of every pair of columns, over complete rows."""
    values = {
        name: pd.factorize(rows[name], use_na_sentinel=False)[0]
        if name in text
        else rows[name].to_numpy()
        for name in rows
    }
    found = []
    # text columns first
    for a, b in combinations(sorted(rows, key=lambda name: name not in text), 2):
        seen = ~(pd.isna(values[a]) | pd.isna(values[b]))
        kind = (a in text) + (b in text)
        compute = (compute_spearman, compute_ratio, compute_cramer)[kind]
        found.append(compute(values[a][seen], values[b][seen]))
    return np.array(found)


def measure_pairs(drawn, test, text):
    """Return the mean difference of associations."""
    found = [compute_associations(rows[test.columns], text) for rows in (drawn, test)]
    return {"pairs": np.abs(found[0] - found[1]).mean()}


# measurements -----------------------------------------------------------------------


def measure(options, table, seed, contender):
    """Return what classifiers learn from the draws of one contender."""
    train, test, target = split_mixed(table, seed)
    sample, fit = timed(CONTENDERS[contender], train, seed, options)
    drawn, seconds = timed(sample, len(train))
    text = list_text(train)
    f1 = measure_classifiers(drawn, test, Features(train, target), seed)
    record = {"fit, s": fit, "sample, s": seconds, "F1": np.mean(list(f1.values()))}
    record |= f1 | measure_marginals(drawn, test, text)
    return record | measure_pairs(drawn, test, text)


def report(records, options):
    """Print one line a table and contender, means over seeds."""
    for part in group(records, ["table"]).values():
        real = get_mean([r for r in part if r["contender"] == "real"], "F1")
        for record in part:
            record["of real"] = real and record["F1"] / real
    cells = dict.fromkeys(("F1", "of real", *make_classifiers(0)), ".3f")
    cells |= dict.fromkeys(("TV", "KS", "pairs"), ".4f")
    cells |= dict.fromkeys(("fit, s", "sample, s"), ".1f")
    print_groups(records, ["table", "contender"], cells)


def list_contenders():
    """Return the contenders that are installed (``pip install ctgan`` for TVAE)."""
    return [name for name in CONTENDERS if name != "TVAE" or find_spec("ctgan")]


AXES = [
    Axis("table", "--tables", MIXED, MIXED, list_mixed),
    Axis("seed", "--seeds", (0, 1, 2)),
    Axis("contender", "--contenders", CONTENDERS, CONTENDERS, list_contenders, True),
]
OPTIONS = {"--tvae-epochs": {"type": int, "default": 300, "help": "its own are 300"}}


if __name__ == "__main__":
    main(__doc__, AXES, measure, report, options=OPTIONS)
