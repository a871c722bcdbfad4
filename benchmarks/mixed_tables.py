"""Real mixed tables as they come from ``read_csv``: from fit to a file and back.

Five tables of numbers, codes, text and holes, none of them prepared in any way, go
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

import argparse
import sys
import tempfile
import time
import warnings
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import torch
from tables import find_folder
from threadpoolctl import threadpool_limits

from skvae import VAETransformer

TABLES = ("adult", "bank_marketing", "german_credit", "titanic", "horse_colic")
# n_components is one less than columns, MAX_COMPONENTS at most
MAX_COMPONENTS = 20


def tell(text):
    """Print progress, apart from the table."""
    print(text, file=sys.stderr, flush=True)


def load(name, n_rows=None):
    """Return a table as `read_csv` has it, or some of its rows, drawn at random."""
    frame = pd.read_csv(find_folder() / "mixed" / f"{name}.csv")
    if n_rows is not None and n_rows < len(frame):
        frame = frame.sample(n_rows, random_state=0).reset_index(drop=True)
    # a column without a value is refused
    return frame.dropna(axis="columns", how="all")


def run(name, options):
    """Return the measurements of one table as a dict."""
    frame = load(name, options.rows)
    parameters = {} if options.epochs is None else {"max_epochs": options.epochs}
    n_components = min(frame.shape[1] - 1, MAX_COMPONENTS)
    vae = VAETransformer(n_components, device="cpu", random_state=0, **parameters)
    begin = time.perf_counter()
    vae.fit(frame)
    fit = time.perf_counter() - begin
    begin = time.perf_counter()
    is_fine = bool(np.isfinite(vae.transform(frame)).all())
    scores = vae.score_samples(frame)
    drawn = vae.sample(len(frame), random_state=0)
    filled = vae.impute(frame)
    with tempfile.TemporaryDirectory() as folder:
        path = joblib.dump(vae, Path(folder) / "vae.joblib")[0]
        again = joblib.load(path).score_samples(frame)
    rest = time.perf_counter() - begin
    observed = frame.notna()
    is_fine &= not filled.isna().any(axis=None)
    is_fine &= filled.where(observed).equals(frame.where(observed))
    is_fine &= np.array_equal(scores, again)
    kinds = vae.columns_.to_frame()["kind"].value_counts()
    return {
        "table": name,
        "rows": f"{len(frame):,}",
        "columns": frame.shape[1],
        "kinds": ", ".join(f"{count} {kind}" for kind, count in kinds.items()),
        "missing": f"{frame.isna().mean(axis=None):.1%}",
        "fit, s": f"{fit:.1f}",
        "rest, s": f"{rest:.1f}",
        "epochs": vae.n_iter_,
        "ELBO": f"{scores.mean():.2f}",
        "equal dtypes": f"{(drawn.dtypes == frame.dtypes).mean():.0%}",
        "agrees": "yes" if is_fine else "no",
    }


def main():
    """Run all tables and print a line each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", nargs="*", choices=TABLES, default=TABLES)
    parser.add_argument("--rows", type=int, help="rows of every table; default all")
    parser.add_argument("--epochs", type=int, help="max_epochs; default skvae's own")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    has_header = False
    for name in options.tables:
        if not (find_folder() / "mixed" / f"{name}.csv").exists():
            tell(f"{name} not found: left out")
            continue
        with threadpool_limits(1):
            found = run(name, options)
        if not has_header:
            print("|", " | ".join(found), "|")
            print("|" + "---|" * len(found))
            has_header = True
        print("|", " | ".join(map(str, found.values())), "|", flush=True)


if __name__ == "__main__":
    main()
