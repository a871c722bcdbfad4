"""AUROC of VAEOutlierDetector beside other detectors, on 100 small tables.

The tables are those of OddBench and OvRBench: 300 to 4,000 training rows, all normal,
and test rows with labels, many with repeated values, heavy tails or few columns. All
detectors see the same standardised rows. Every second table, in the order of names,
served to choose the detector's defaults ('chosen on'); the figures are those of the
others ('reported').

``python benchmarks/odd_tables.py --help`` names the options; the defaults print the
tables of ``docs/results/outliers.md``.
"""

from functools import lru_cache

import numpy as np
from _run import Axis, get_mean, group, main, print_table, timed
from outliers import (
    make_detector,
    score_forest,
    score_knn_largest,
    score_knn_mean,
    score_lof,
    score_mahalanobis,
    score_mixture,
    score_squares,
)
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from tables import list_odd_tables, load_odd

CONTENDERS = {
    "|z|²": score_squares,
    "Mahalanobis": score_mahalanobis,
    "IForest": score_forest,
    "LOF": score_lof,
    "kNN largest": score_knn_largest,
    "kNN mean": score_knn_mean,
    "GMM 20": score_mixture,
    "skvae": make_detector(),
}
# the contender that differences are from
BASELINE = "kNN mean"


@lru_cache(1)
def split(name):
    """Return standardised training and test rows, and labels of the latter."""
    train, test, y = load_odd(name)
    scaler = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(test), y


def measure(options, table, name, seed):
    """Return the AUROC of one detector."""
    train, test, y = split(table)
    scores, seconds = timed(CONTENDERS[name], train, test, seed)
    auroc = 100 * roc_auc_score(y, -scores)
    return {"auroc": auroc, "seconds": seconds}


def report(records, options):
    """Print means by group of tables, and the differences from the baseline."""
    found = group(records, ["table", "name"])
    tables = [t for (t,) in group(records, ["table"])]
    names = [name for (name,) in group(records, ["name"])]
    every, odd = list_odd_tables(), set(list_odd_tables("oddbench"))
    groups = {
        "chosen on": [t for t in tables if every.index(t) % 2 == 0],
        "reported": [t for t in tables if every.index(t) % 2 == 1],
        "reported, OddBench": [
            t for t in tables if every.index(t) % 2 == 1 and t in odd
        ],
        "reported, OvRBench": [
            t for t in tables if every.index(t) % 2 == 1 and t not in odd
        ],
    }

    def get(table, name, field="auroc"):
        return get_mean(found[table, name], field)

    lines = []
    for label, some in groups.items():
        if not some:
            continue
        means = {n: f"{np.mean([get(t, n) for t in some]):.2f}" for n in names}
        lines.append({"tables": label, "number": len(some)} | means)
    print_table(lines)
    if BASELINE not in names:
        return
    lines = []
    for label, some in groups.items():
        for name in names:
            if name == BASELINE or not some:
                continue
            gain = np.array([get(t, name) - get(t, BASELINE) for t in some])
            error = gain.std(ddof=min(1, len(gain) - 1)) / len(gain) ** 0.5
            seconds = np.mean([get(t, name, "seconds") for t in some])
            lines.append(
                {
                    "tables": label,
                    "detector": name.replace("|", "\\|"),
                    f"mean AUROC minus that of {BASELINE}": f"{gain.mean():+.2f}",
                    "standard error": f"{error:.2f}",
                    "above on": f"{(gain > 0).sum()} of {len(gain)}",
                    "seconds": f"{seconds:.1f}",
                }
            )
    print()
    print_table(lines)


AXES = [
    Axis("table", "--tables", list_odd_tables()),
    Axis("name", "--contenders", CONTENDERS, CONTENDERS, keeps_all=True),
    Axis("seed", "--seeds", (0,)),
]


if __name__ == "__main__":
    main(__doc__, AXES, measure, report)
