"""Imputation of half of all cells, beside scikit-learn's imputers.

The six tables and the protocol of Mattei & Frellsen (2019), "MIWAE": columns
standardised on the complete table, exactly half of all cells deleted at random, mean
squared error on the deleted cells; 1 is the variance of a column. Every contender gets
the same masks, one thread and one setting for all tables.

Methods that can draw have a column for nominal 90 % intervals, from the 5 % to the 95 %
quantile of 100 draws of a multiple imputation: the share of deleted cells inside, and
the mean width. Seconds are of fit and imputation, without these draws.

``python benchmarks/imputation.py`` prints one line a table and method, means over the
masks, and the means over tables. Tables come from the folder that `tables.find_folder`
returns; those that are not there are left out.
"""

import numpy as np
from _run import Axis, fill, get_mean, get_values, group, main, print_groups, timed
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.preprocessing import StandardScaler
from tables import list_tables, load

# skvae's settings: n_components is one less than columns, MAX_COMPONENTS at most
MAX_COMPONENTS = 20
SKVAE = {"device": "cpu"}
# Where cells are missing, z given the others is correlated, and q(z|x) is not: averaged
# over several weighed draws it need not be. Chosen on mask 0 of banknote and concrete,
# where less decay and more patience than by default were better, too.
N_TRAINING_DRAWS, WEIGHT_DECAY, PATIENCE = 10, 0.05, 20
# multiple imputation: draws, and the quantiles that bound an interval; those of n draws
# are at the ranks p (n + 1), between which a further draw lies with probability 0.9
N_DRAWS = 100
QUANTILES = 0.05, 0.95
# name: (table of tables.py, number of its leading columns)
SETS = {
    "banknote": ("u_banknote", 4),
    "breast_cancer": ("breast_cancer", 30),
    "concrete": ("u_concrete", 8),
    "wine_red": ("u_wine_red", 12),
    "wine_white": ("u_wine_white", 12),
    "yeast": ("u_yeast", 8),
}


def load_complete(name):
    """Return a standardised table without missing cells."""
    table, n_columns = SETS[name]
    return StandardScaler().fit_transform(load(table)[:, :n_columns])


def delete_half(X, mask):
    """Return X with half of its cells missing, and where they are."""
    deleted = np.zeros(X.size, dtype=bool)
    deleted[np.random.default_rng(mask).permutation(X.size)[: X.size // 2]] = True
    deleted = deleted.reshape(X.shape)
    return np.where(deleted, np.nan, X), deleted


# methods: fill(X, seed) returns X filled, and a function of a seed that returns one
# draw of a multiple imputation, or None


def fill_with_mean(X, seed):
    """Fill with the column's mean."""
    return SimpleImputer().fit_transform(X), None


def fill_with_neighbours(X, seed):
    """Fill with the mean of the ten nearest rows."""
    return KNNImputer(n_neighbors=10).fit_transform(X), None


def fill_with_ridge(X, seed):
    """Fill by rounds of Bayesian ridge regression; a draw goes through them again."""

    def draw(seed):
        imputer = IterativeImputer(sample_posterior=True, random_state=seed)
        return imputer.fit_transform(X)

    return IterativeImputer(random_state=seed).fit_transform(X), draw


def fill_with_trees(X, seed):
    """Fill by five rounds of extremely randomised trees."""
    trees = ExtraTreesRegressor(n_estimators=30, random_state=seed)
    imputer = IterativeImputer(trees, max_iter=5, random_state=seed)
    return imputer.fit_transform(X), None


def fit_skvae(X, seed, **changes):
    """Return a fitted VAETransformer."""
    from skvae import VAETransformer

    n_components = min(X.shape[1] - 1, MAX_COMPONENTS)
    return VAETransformer(n_components, random_state=seed, **SKVAE, **changes).fit(X)


def recommend():
    """Return the settings that are recommended where many cells are missing."""
    from skvae.objectives import IWAE

    return {
        "objective": IWAE(N_TRAINING_DRAWS),
        "weight_decay": WEIGHT_DECAY,
        "n_iter_no_change": PATIENCE,
    }


def fill_with_skvae(X, seed, **changes):
    """Fill with the importance-weighted mean of a VAE."""
    vae = fit_skvae(X, seed, **changes)
    # conditional means, as those of the other imputers
    means = vae.impute(X, bounded=False)
    return means, lambda seed: vae.impute(X, random_state=seed)


def fill_with_recommended_skvae(X, seed):
    """Fill with a VAE trained on the importance-weighted bound."""
    return fill_with_skvae(X, seed, **recommend())


def fill_with_linear_skvae(X, seed):
    """Fill with the linear model alone, where a VAE's training starts."""
    return fill_with_skvae(X, seed, hidden_layer_sizes=(), max_epochs=0)


def fill_with_three_skvae(X, seed):
    """Fill with the mean of three VAEs."""
    seeds = range(3 * seed, 3 * seed + 3)
    filled = [fill_with_recommended_skvae(X, s)[0] for s in seeds]
    return np.mean(filled, axis=0), None


METHODS = {
    "column mean": fill_with_mean,
    "10 neighbours": fill_with_neighbours,
    "ridge": fill_with_ridge,
    "trees": fill_with_trees,
    "skvae, linear": fill_with_linear_skvae,
    "skvae": fill_with_skvae,
    "skvae, iwae": fill_with_recommended_skvae,
    "skvae, iwae, mean of 3": fill_with_three_skvae,
}


def measure_intervals(draw, X, deleted, n_draws):
    """Return the share of deleted cells inside their intervals, and the mean width."""
    cells = [draw(seed)[deleted] for seed in range(n_draws)]
    low, high = np.quantile(cells, QUANTILES, axis=0, method="weibull")
    inside = (low <= X[deleted]) & (X[deleted] <= high)
    return {"coverage": inside.mean(), "width": (high - low).mean()}


def measure(options, set, mask, method):
    """Return the error of one method, and how good its intervals are."""
    X = load_complete(set)
    given, deleted = delete_half(X, mask)
    (filled, draw), seconds = timed(METHODS[method], given, mask)
    record = {"seconds": seconds, "mse": np.mean((filled - X)[deleted] ** 2)}
    if draw is not None and options.draws:
        record |= measure_intervals(draw, X, deleted, options.draws)
    return record


def summarize(part):
    """Return the cells of a line: means of the records, and their range."""
    mse, coverage = get_values(part, "mse"), get_mean(part, "coverage")
    cells = {"MSE": np.mean(mse), "least": min(mse), "most": max(mse)}
    return {title: f"{value:.3f}" for title, value in cells.items()} | {
        "s": fill(get_mean(part, "seconds"), ".3g"),
        "in 90 %": "-" if coverage is None else f"{100 * coverage:.1f} %",
        "width": fill(get_mean(part, "width"), ".2f"),
    }


def report(records, options):
    """Print one line a set and method, and the means of what has all sets."""
    fields = "mse", "seconds", "coverage", "width"
    records.sort(key=lambda record: list(SETS).index(record["set"]))
    means = [
        {"set": "mean", "method": method} | {k: get_mean(rows, k) for k in fields}
        for (method,), part in group(records, ["method"]).items()
        if len(part) == len(group(records, ["set", "mask"]))
        for rows in group(part, ["mask"]).values()
    ]
    print_groups(records + means, ["set", "method"], summarize)


def list_sets():
    """Return the sets that can be loaded here."""
    return [name for name, (table, _) in SETS.items() if table in list_tables()]


AXES = [
    Axis("set", "--sets", SETS, SETS, list_sets),
    Axis("mask", "--masks", (0, 1, 2)),
    Axis("method", "--methods", METHODS, METHODS, keeps_all=True),
]
OPTIONS = {
    "--draws": {"type": int, "default": N_DRAWS, "help": "for intervals; 0: none"}
}


if __name__ == "__main__":
    main(__doc__, AXES, measure, report, options=OPTIONS)
