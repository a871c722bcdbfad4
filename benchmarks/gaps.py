"""Imputation by mechanism: cells missing at random or not, fitted rows and new ones.

30 % of the rows of a complete table are held out. Cells of all rows are deleted by one
of the mechanisms of `missingness`. Every imputer is fitted to the other rows, *given*
as they are (incomplete) or before the deletion (complete), and fills both parts.

Of numbers, in units of their standard deviation in the whole table: mean absolute
error and root mean squared error of deleted cells, Wasserstein distance of a draw from
the deleted cells (of the filled values where a method does not draw), mean over
columns, and the share of deleted cells inside nominal 90 % intervals, from the 5 % to
the 95 % quantile of ``--draws`` draws. Of texts, the share that is filled falsely.
Seconds are of fit and both fillings, without draws.

``python benchmarks/gaps.py`` prints means over tables, a line a mechanism, share, and
imputer; ``--by table`` one line a table. Tables come from the folder that
`tables.find_folder` returns; those that are not there are left out.
"""

import numpy as np
import pandas as pd
from _run import Axis, fill, get_mean, main, print_groups, timed
from imputation import SETS, load_complete
from imputers import IMPUTERS
from missingness import MECHANISMS, encode
from scipy.stats import wasserstein_distance
from sklearn.model_selection import train_test_split
from tables import list_mixed, list_tables, load_mixed

# for intervals, and the quantiles that bound one; those of n draws are at the ranks
# p (n + 1), between which a further draw lies with probability 0.9 exactly
N_DRAWS = 40
QUANTILES = 0.05, 0.95
# rows of mixed tables, drawn at random
MAX_ROWS = 2000
MIXED = ("german_credit", "titanic", "adult")


def load(table):
    """Return a data frame without missing cells, numbers standardised."""
    if table in SETS:
        X = load_complete(table)
        return pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])
    frame, _ = load_mixed(table)
    frame = frame.dropna(ignore_index=True)
    if len(frame) > MAX_ROWS:
        frame = frame.sample(MAX_ROWS, random_state=0, ignore_index=True)
    for name in frame:
        is_number = frame[name].dtype.kind in "iuf"
        frame[name] = (
            frame[name]
            .astype(float if is_number else str)
            .astype(float if is_number else object)
        )
        if is_number:
            frame[name] = (frame[name] - frame[name].mean()) / frame[name].std(ddof=0)
    return frame


def delete(frame, mechanism, share, mask):
    """Return where cells are deleted."""
    generator = np.random.default_rng(mask)
    return MECHANISMS[mechanism](encode(frame), share / 100, generator)


def measure(options, table, mechanism, share, mask, given, method):
    """Return a record of the fitted rows, and one of new rows."""
    frame = load(table)
    deleted = delete(frame, mechanism, share, mask)
    incomplete = frame.mask(deleted)
    parts = train_test_split(np.arange(len(frame)), test_size=0.3, random_state=mask)
    train = (incomplete if given == "incomplete" else frame).iloc[parts[0]]
    imputer, fit = timed(lambda: IMPUTERS[method](mask).fit(train))
    rows, records = {"fitted": parts[0], "new": parts[1]}, []
    if given == "complete":
        del rows["fitted"]
    for name, part in rows.items():
        holes = incomplete.iloc[part]
        filled, seconds = timed(imputer.impute, holes)
        draws = []
        if imputer.can_draw:
            draws = [imputer.draw(holes, seed) for seed in range(options.draws)]
        found = compare(frame.iloc[part], filled, draws, deleted[part])
        records.append({"rows": name, "seconds": fit + seconds, **found})
    return records


def compare(truth, filled, draws, deleted):
    """Return how far filled cells are from deleted ones."""
    errors, distances, inside, false = [], [], [], []
    for j, name in enumerate(truth):
        cells = deleted[:, j]
        if not cells.any():
            continue
        known, found = (f[name].to_numpy()[cells] for f in (truth, filled))
        if truth[name].dtype.kind != "f":
            false.append(known != found)
            continue
        errors.append(found - known)
        drawn = np.array([draw[name].to_numpy()[cells] for draw in draws])
        distances.append(wasserstein_distance(known, drawn[0] if draws else found))
        if draws:
            low, high = np.quantile(drawn, QUANTILES, axis=0, method="weibull")
            inside.append((low <= known) & (known <= high))
    errors = np.concatenate(errors)
    record = {
        "mae": np.abs(errors).mean(),
        "rmse": np.sqrt(np.square(errors).mean()),
        "distance": np.mean(distances),
    }
    if inside:
        record["coverage"] = np.concatenate(inside).mean()
    if false:
        record["false"] = np.concatenate(false).mean()
    return record


def summarize(part):
    """Return the cells of a line."""
    coverage = get_mean(part, "coverage")
    return {
        "MAE": fill(get_mean(part, "mae"), ".3f"),
        "RMSE": fill(get_mean(part, "rmse"), ".3f"),
        "Wasserstein": fill(get_mean(part, "distance"), ".3f"),
        "in 90 %": "-" if coverage is None else f"{100 * coverage:.1f} %",
        "texts, false": fill(get_mean(part, "false"), ".3f"),
        "s": fill(get_mean(part, "seconds"), ".3g"),
    }


def report(records, options):
    """Print means over tables, or a line a table."""
    fields = ["mechanism", "share", "given", "rows", "method"]
    print_groups(records, [*options.by, *fields], summarize)


def list_here():
    """Return the tables that can be loaded here."""
    here = [name for name, (table, _) in SETS.items() if table in list_tables()]
    return here + [name for name in MIXED if name in list_mixed()]


AXES = [
    Axis("table", "--tables", (*SETS, *MIXED), (*SETS, *MIXED), list_here),
    Axis("mechanism", "--mechanisms", MECHANISMS, MECHANISMS),
    Axis("share", "--shares", (10, 30, 50)),
    Axis("mask", "--masks", 1),
    Axis("given", "--given", ("incomplete",), ("incomplete", "complete")),
    Axis("method", "--methods", IMPUTERS, IMPUTERS, keeps_all=True),
]
OPTIONS = {
    "--draws": {"type": int, "default": N_DRAWS, "help": "for intervals; 0: none"},
    "--by": {"nargs": "*", "default": [], "choices": ["table", "mask"]},
}


if __name__ == "__main__":
    main(__doc__, AXES, measure, report, options=OPTIONS)
