"""Held-out ELBO of laws of number columns: normal, mixtures, and after a transform.

Every fit has default settings but for the likelihood: normal noise, a mixture per
column, and both of them after the power transform of Yeo and Johnson or normal scores
(`skvae.likelihoods.Transformed`), whose Jacobian is in the score.

A third of the rows is for testing, 10,000 at most; the others are cut to ``--rows``.
To columns of whole numbers uniform noise from -0.5 to 0.5 is added, training and test
rows alike, so that no law gains by spikes at values that recur (Theis, van den Oord &
Bethge 2016, section 3.1). Of data frames the number columns are taken. Columns that are
constant in the training rows are left out, and all others standardised on them.

``python benchmarks/column_laws.py`` prints one Markdown table, a line a table and size:
nats per test row of normal noise, and what the others gain over it. Tables come from
the folder that `tables.find_folder` returns. After ``--minutes`` no further fit starts.
"""

import argparse
import sys
import time
import warnings

import numpy as np
import torch
from tables import list_mixed, list_tables, list_text, load, load_mixed
from threadpoolctl import threadpool_limits

TABLES = (
    "breast_cancer",
    "u_concrete",
    "adult",
    "mammography",
    "u_wine_white",
    "bank_marketing",
    "u_yeast",
    "annthyroid",
    "diabetes",
    "u_banknote",
)
MAX_TEST = 10_000


def make_laws():
    """Return the likelihoods by what their column of the table is called."""
    from skvae.likelihoods import Transformed

    laws = {"gaussian": "gaussian", "mixture": "gaussian_mixture"}
    for name, method in (("YJ", "yeo_johnson"), ("quantile", "quantile")):
        for label, base in (("gaussian", "gaussian"), ("mixture", "gaussian_mixture")):
            laws[f"{name}, {label}"] = Transformed(method, base)
    return laws


def load_numbers(name):
    """Return the number columns of a table, with noise on those of whole numbers."""
    if name in list_mixed():
        frame, _ = load_mixed(name)
        X = frame.drop(columns=list_text(frame)).to_numpy(float)
    else:
        X = load(name)
    whole = (np.round(X) == X).all(axis=0)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, X.shape)
    return X + noise * whole


def split(name, n_rows, seed):
    """Return standardised training and test rows."""
    X = load_numbers(name)
    order = np.random.default_rng(seed).permutation(len(X))
    n_test = len(X) // 3
    test, train = X[order[:n_test][:MAX_TEST]], X[order[n_test:][:n_rows]]
    varies = train.std(axis=0) > 0
    mean, std = train[:, varies].mean(axis=0), train[:, varies].std(axis=0)
    return (train[:, varies] - mean) / std, (test[:, varies] - mean) / std


def tell(text):
    """Print progress, apart from the table."""
    print(text, file=sys.stderr, flush=True)


def main():
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", nargs="*", default=list(TABLES))
    parser.add_argument("--q", nargs="*", type=int, default=[2, 5])
    parser.add_argument("--rows", type=int, default=2000, help="to train on, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=np.inf)
    options = parser.parse_args()
    from skvae import VAETransformer

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    begin, laws, lines = time.perf_counter(), make_laws(), []
    here = [n for n in options.tables if n in (*list_tables(), *list_mixed())]
    for q in options.q:
        for name in here:
            train, test = split(name, options.rows, options.seed)
            if q >= train.shape[1]:
                continue
            scores = {}
            for label, law in laws.items():
                if time.perf_counter() - begin > 60 * options.minutes:
                    break
                start = time.perf_counter()
                vae = VAETransformer(
                    q, likelihood=law, random_state=options.seed, device="cpu"
                )
                with threadpool_limits(1):
                    scores[label] = vae.fit(train).score(test)
                seconds = time.perf_counter() - start
                tell(f"{name}, q {q}, {label}: {scores[label]:.2f}, {seconds:.1f} s")
            if len(scores) == len(laws):
                lines.append((f"{name} ({len(train)}, {train.shape[1]})", q, scores))
    print("| table (n, d) | q |", " | ".join(laws), "|")
    print("|---|--:|" + "--:|" * len(laws))
    for name, q, scores in lines:
        first, *others = scores.values()
        cells = [f"{first:.2f}", *(f"{score - first:+.2f}" for score in others)]
        print(f"| {name} | {q} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
