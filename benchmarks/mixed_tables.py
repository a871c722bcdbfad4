"""Real mixed tables as they come from ``read_csv``: from fit to a file and back.

Five tables of numbers, codes, text and missing cells, not prepared in any way, go
through fit, transform, score, sample, impute, and joblib's dump and load. Every line
has rows, columns and how many there are of every kind, the share of missing cells,
seconds of fit and of all the rest, the ELBO of the table (its own rows: no figure of
how good the model is), the share of columns whose draws have the dtype of the table,
and whether everything agreed: nothing missing after imputation, observed cells
unchanged, and scores after loading equal to the last bit.

``python benchmarks/mixed_tables.py`` takes the whole tables, and with ``--rows 1000
--epochs 10`` a part of them. Tables come from the folder that `tables.find_folder`
returns; those that are not there are left out.
"""

import tempfile
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from _run import Axis, main, timed
from tables import find_folder

from skvae import VAETransformer

TABLES = ("adult", "bank_marketing", "german_credit", "titanic", "horse_colic")
# n_components is one less than columns, MAX_COMPONENTS at most
MAX_COMPONENTS = 20


def load(name, n_rows=None):
    """Return a table as `read_csv` has it, or some of its rows, drawn at random."""
    frame = pd.read_csv(find_folder() / "mixed" / f"{name}.csv")
    if n_rows is not None and n_rows < len(frame):
        frame = frame.sample(n_rows, random_state=0).reset_index(drop=True)
    # a column without a value is refused
    return frame.dropna(axis="columns", how="all")


def measure(options, table):
    """Return what became of one table."""
    frame = load(table, options.rows)
    parameters = {} if options.epochs is None else {"max_epochs": options.epochs}
    n_components = min(frame.shape[1] - 1, MAX_COMPONENTS)
    vae = VAETransformer(n_components, device="cpu", random_state=0, **parameters)
    _, fit = timed(vae.fit, frame)
    (Z, scores, drawn, filled, again), rest = timed(use, vae, frame)
    observed = frame.notna()
    is_fine = np.isfinite(Z).all() and not filled.isna().any(axis=None)
    is_fine &= filled.where(observed).equals(frame.where(observed))
    is_fine &= np.array_equal(scores, again)
    kinds = vae.columns_.to_frame()["kind"].value_counts()
    return {
        "rows": f"{len(frame):,}",
        "columns": frame.shape[1],
        "kinds": ", ".join(f"{count} {kind}" for kind, count in kinds.items()),
        "missing": f"{frame.isna().mean(axis=None):.1%}",
        "fit, s": f"{fit:.1f}",
        "rest, s": f"{rest:.1f}",
        "epochs": len(vae.history_),
        "ELBO": f"{scores.mean():.2f}",
        "equal dtypes": f"{(drawn.dtypes == frame.dtypes).mean():.0%}",
        "agrees": "yes" if is_fine else "no",
    }


def use(vae, frame):
    """Return what the methods do with the table, and scores after loading."""
    with tempfile.TemporaryDirectory() as folder:
        path = joblib.dump(vae, Path(folder) / "vae.joblib")[0]
        again = joblib.load(path).score_samples(frame)
    drawn = vae.sample(len(frame), random_state=0)
    Z, scores = vae.transform(frame), vae.score_samples(frame)
    return Z, scores, drawn, vae.impute(frame), again


def list_here():
    """Return the tables that are there."""
    return [t for t in TABLES if (find_folder() / "mixed" / f"{t}.csv").exists()]


AXES = [Axis("table", "--tables", TABLES, TABLES, list_here)]
OPTIONS = {
    "--rows": {"type": int, "help": "rows of every table; default all"},
    "--epochs": {"type": int, "help": "max_epochs; default skvae's own"},
}
TITLES = "rows", "columns", "kinds", "missing", "fit, s", "rest, s", "epochs", "ELBO"
CELLS = dict.fromkeys((*TITLES, "equal dtypes", "agrees"), "")
TABLE = ["table"], CELLS | {"columns": ".0f", "epochs": ".0f"}


if __name__ == "__main__":
    main(__doc__, AXES, measure, TABLE, options=OPTIONS)
