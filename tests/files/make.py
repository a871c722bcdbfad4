"""Make the file of a detector, and what it answers: run once for every format.

`python tests/files/make.py 1` wrote `detector-1.skvae` and `detector-1.json`, which
later versions must load with the same answers.
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


def answer(detector, rows):
    """Return what the detector says of rows, as lists."""
    return {
        "z": detector.transform(rows).tolist(),
        "scores": detector.score_samples(rows).tolist(),
        "cells": detector.score_features(rows).to_numpy().tolist(),
        "explained": detector.explain(rows).to_numpy().tolist(),
        "outliers": detector.predict(rows).tolist(),
        "p_values": detector.p_values(rows).tolist(),
        "drawn": detector.sample(3, random_state=0).astype(str).to_numpy().tolist(),
    }


if __name__ == "__main__":
    name = FOLDER / f"detector-{sys.argv[1]}"
    rows = make_rows()
    detector = skvae.VAEOutlierDetector(
        2,
        contamination=0.1,
        likelihood={"count": skvae.likelihoods.Poisson(), "sum": "student_t"},
        hidden_layer_sizes=(8,),
        max_epochs=5,
        random_state=0,
    ).fit(rows)
    skvae.save(detector, f"{name}.skvae")
    text = json.dumps(answer(detector, rows.head(12)))
    Path(f"{name}.json").write_text(text, encoding="utf-8")
