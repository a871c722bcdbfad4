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
import pandas as pd
from _run import Axis, fill, get_mean, get_values, group, main, print_groups, timed
from imputers import IMPUTERS, TreesImputer, make_three_skvae
from missingness import delete_at_random
from sklearn.preprocessing import StandardScaler
from tables import list_tables, load

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


METHODS = {
    "column mean": IMPUTERS["mean, mode"],
    "10 neighbours": IMPUTERS["10 neighbours"],
    "ridge": IMPUTERS["ridge"],
    "trees": TreesImputer,
    "skvae, linear": IMPUTERS["skvae, linear"],
    "skvae": IMPUTERS["skvae"],
    "skvae, joint": IMPUTERS["skvae, joint"],
    "skvae, iwae": IMPUTERS["skvae, iwae"],
    "skvae, iwae, mean of 3": make_three_skvae,
}


def measure_intervals(imputer, given, X, deleted, n_draws):
    """Return the share of deleted cells inside their intervals, and the mean width."""
    draws = (imputer.draw(given, seed) for seed in range(n_draws))
    cells = [draw.to_numpy()[deleted] for draw in draws]
    low, high = np.quantile(cells, QUANTILES, axis=0, method="weibull")
    inside = (low <= X[deleted]) & (X[deleted] <= high)
    return {"coverage": inside.mean(), "width": (high - low).mean()}


def measure(options, set, mask, method):
    """Return the error of one method, and how good its intervals are."""
    X = load_complete(set)
    deleted = delete_at_random(X, 0.5, np.random.default_rng(mask))
    given = pd.DataFrame(X).add_prefix("x").mask(deleted)
    imputer = METHODS[method](mask)
    filled, seconds = timed(lambda: imputer.fit(given).impute(given).to_numpy())
    record = {"seconds": seconds, "mse": np.mean((filled - X)[deleted] ** 2)}
    if imputer.can_draw and options.draws:
        record |= measure_intervals(imputer, given, X, deleted, options.draws)
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
