"""Make files of estimators, and what they answer: run once for every format.

`python tests/files/make.py 1` wrote `detector-1.skvae` and `detector-1.json`, which
later versions must load with the same answers. From format 2 on there is a
`transformer` beside the `detector`, with mixtures in the units of their columns.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

import skvae

FOLDER = Path(__file__).parent


def make_rows(n=120):
    """Return a table of several kinds of columns, some cells missing."""
    rng = np.random.default_rng(0)
    number = rng.normal(size=n)
    columns = {
        "number": number,
        "sum": (2 * number + rng.normal(size=n)).astype("float32"),
        "count": rng.poisson(np.exp(number / 2)),
        "flag": rng.random(n) < 1 / (1 + np.exp(-number)),
        "level": pd.Categorical(rng.choice(["x", "y", "z"], n)),
    }
    frame = pd.DataFrame(columns)
    frame.loc[[3, 7], "number"] = np.nan
    frame.loc[5, "level"] = None
    return frame


def make_estimators():
    """Return unfitted estimators by their names."""
    settings = {"hidden_layer_sizes": (8,), "max_epochs": 5, "random_state": 0}
    likelihood = {"count": skvae.likelihoods.Poisson(), "sum": "student_t"}
    return {
        "detector": skvae.VAEOutlierDetector(
            2, contamination=0.1, likelihood=likelihood, **settings
        ),
        "transformer": skvae.VAETransformer(
            2, likelihood={"sum": "transformed"}, **settings
        ),
    }


def answer(estimator, rows):
    """Return what an estimator says of rows, as lists."""
    found = {
        "z": estimator.transform(rows).tolist(),
        "scores": estimator.score_samples(rows).tolist(),
        "cells": estimator.score_features(rows).to_numpy().tolist(),
        "drawn": estimator.sample(3, random_state=0).astype(str).to_numpy().tolist(),
    }
    if hasattr(estimator, "explain"):
        found["explained"] = estimator.explain(rows).to_numpy().tolist()
        found["outliers"] = estimator.predict(rows).tolist()
        found["p_values"] = estimator.p_values(rows).tolist()
    return found


if __name__ == "__main__":
    rows = make_rows()
    for name, estimator in make_estimators().items():
        path = FOLDER / f"{name}-{sys.argv[1]}"
        skvae.save(estimator.fit(rows), f"{path}.skvae")
        text = json.dumps(answer(estimator, rows.head(12)))
        Path(f"{path}.json").write_text(text, encoding="utf-8")
