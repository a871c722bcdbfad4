"""Synthetic rows of mixed tables, beside real ones.

A synthesiser is fitted to the training rows and draws as many rows. Scores:

- F1: four classifiers are trained on the draws and tested on real rows, as
  `ctgan_protocol` describes; the mean over classifiers. "Of real" is its share of that
  after training on the real rows.
- trees: boosted trees trained on draws and tested on real rows, ROC AUC of classes and
  R² of numbers (beijing, which has no classes).
- shapes, trends: mean errors of columns and of pairs of columns from the training rows
  (`skvae.metrics.column_shape_errors` and `pair_trend_errors`). Those of `real` are of
  the test rows: chance leaves them.
- AUC: that of boosted trees that tell draws from test rows, 0.5 at best
  (`two_sample_auc`).
- closer: share of draws closer to training rows than to as many test rows, 0.5 if no
  row is memorised (`closest_record_share`). `real` has that of copies: 1 where there
  are as many test rows as training rows.

Seconds are those of the CPU, of one thread: other work on the machine changes them
little. A third of the rows is for testing, 10,000 at most: for adult the sizes of Xu et
al. ``--rows`` takes fewer training rows, for all contenders alike.

Contenders are those of `synthesizers`: `real`, the training rows; `independent`, every
column shuffled; `copula`, a Gaussian copula; `skvae`, and with normal scores
(``standardize="quantile"``) `skvae, quantile`; TVAE and CTGAN (``pip install ctgan``),
ARF (``pip install arfpy``), with their defaults; Forest-Flow (``pip install
ForestDiffusion``) with fewer copies of the rows. What is not installed is left out.

``python benchmarks/synthetic.py`` prints one line a table and contender, means over
seeds, and the means over tables. Tables come from the folder that `tables.find_folder`
returns.
"""

import numpy as np
from _run import Axis, get_mean, group, main, measured, print_groups
from ctgan_protocol import measure_classifiers
from synthesizers import SYNTHESIZERS, list_synthesizers
from tables import SYNTHETIC, list_synthetic, list_text, split_mixed

from skvae.metrics import (
    closest_record_share,
    column_shape_errors,
    pair_trend_errors,
    train_on_synthetic_scores,
    two_sample_auc,
)

CELLS = {"F1": ".3f", "of real": ".3f", "trees": ".3f"}
CELLS |= {"shapes, %": ".2f", "trends, %": ".2f", "AUC": ".3f", "closer": ".3f"}
CELLS |= {"fit, s": ".1f", "draw, s": ".1f"}


def measure(options, table, seed, contender):
    """Return the scores of the draws of one contender."""
    train, test, target = split_mixed(table, seed)
    train = train.iloc[: options.rows]
    fit, _ = SYNTHESIZERS[contender]
    sample, of_fit = measured(fit, train, seed, options)
    drawn, of_draw = measured(sample, len(train))
    record = {"fit, s": of_fit["cpu"], "draw, s": of_draw["cpu"]}
    record |= measure_prediction(drawn, train, test, target, seed)
    rows = test if contender == "real" else drawn
    return record | {
        "shapes, %": 100 * column_shape_errors(train, rows).mean(),
        "trends, %": 100 * pair_trend_errors(train, rows).mean(),
        "AUC": two_sample_auc(test, drawn, random_state=seed),
        "closer": closest_record_share(train, test, drawn, random_state=seed),
    }


def measure_prediction(drawn, train, test, target, seed):
    """Return scores on real rows of what is trained on draws."""
    has_classes = target in list_text(train)
    record = {}
    if has_classes:
        f1 = measure_classifiers(drawn, train, test, target, seed)
        record = {"F1": np.mean(list(f1.values()))} | f1
    if not has_classes or drawn[target].nunique() > 1:
        scoring = "roc_auc" if has_classes else "r2"
        seeds = {"scoring": scoring, "random_state": seed}
        found = train_on_synthetic_scores(train, test, drawn, target, **seeds)
        record["trees"] = found["drawn"]
    return record


def report(records, options):
    """Print one line a table and contender, means over seeds, and means over tables."""
    orders = {"table": list(SYNTHETIC), "contender": list(SYNTHESIZERS)}
    records.sort(key=lambda r: [order.index(r[k]) for k, order in orders.items()])
    for part in group(records, ["table"]).values():
        real = get_mean([r for r in part if r["contender"] == "real"], "F1")
        for record in part:
            if real and "F1" in record:
                record["of real"] = record["F1"] / real
    print_groups(records, ["table", "contender"], CELLS)
    means = [
        {"contender": contender, "tables": 1}
        | {name: get_mean(part, name) for name in CELLS}
        for (_, contender), part in group(records, ["table", "contender"]).items()
    ]
    for part in group(means, ["contender"]).values():
        for record in part:
            record["tables"] = len(part)
    print("\nMeans over tables\n")
    print_groups(means, ["contender", "tables"], CELLS)


AXES = [
    Axis("table", "--tables", SYNTHETIC, SYNTHETIC, list_synthetic),
    Axis("seed", "--seeds", (0, 1, 2)),
    Axis(
        "contender",
        "--contenders",
        SYNTHESIZERS,
        SYNTHESIZERS,
        list_synthesizers,
        True,
    ),
]
OPTIONS = {
    "--epochs": {
        "type": int,
        "default": 300,
        "help": "of TVAE and CTGAN, whose own it is",
    },
    "--rows": {"type": int, "help": "training rows at most, of every contender"},
}


if __name__ == "__main__":
    main(__doc__, AXES, measure, report, options=OPTIONS)
