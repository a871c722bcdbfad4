"""Held-out ELBO of likelihoods of number columns: normal, mixtures, and transformed.

Every fit has default settings but for the likelihood: normal noise, a mixture per
column, and both of them after the power transform of Yeo and Johnson or normal scores
(`skvae.likelihoods.Transformed`), whose Jacobian is in the score.

A third of the rows is for testing, 10,000 at most; the others are cut to ``--rows``.
To columns of whole numbers uniform noise from -0.5 to 0.5 is added, training and test
rows alike, so that spikes at values that recur raise no score (Theis, van den Oord &
Bethge 2016, section 3.1). Of data frames the number columns are taken. Columns that are
constant in the training rows are left out, and all others standardised on them.

``python benchmarks/column_likelihoods.py`` prints one Markdown table, a line a table
and size: nats per test row of normal noise, and the differences of the others from it.
Tables come from the folder that `tables.find_folder` returns. After ``--minutes`` no
further fit starts.
"""

import numpy as np
from _run import Axis, main, print_groups
from tables import list_mixed, list_tables, list_text, load, load_mixed, standardize

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
# what their column is called: transform, and the likelihood of what it returns
LIKELIHOODS = {
    "gaussian": (None, "gaussian"),
    "mixture": (None, "gaussian_mixture"),
    "YJ, gaussian": ("yeo_johnson", "gaussian"),
    "YJ, mixture": ("yeo_johnson", "gaussian_mixture"),
    "quantile, gaussian": ("quantile", "gaussian"),
    "quantile, mixture": ("quantile", "gaussian_mixture"),
}


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
    return standardize(X[order[n_test:][:n_rows]], X[order[:n_test][:MAX_TEST]])


def measure(options, q, table, likelihood):
    """Return the held-out score of one likelihood."""
    from skvae import VAETransformer
    from skvae.likelihoods import Transformed

    train, test = split(table, options.rows, options.seed)
    if q >= train.shape[1]:
        return None
    transform, base = LIKELIHOODS[likelihood]
    chosen = base if transform is None else Transformed(transform, base)
    vae = VAETransformer(q, likelihood=chosen, random_state=options.seed, device="cpu")
    score = vae.fit(train).score(test)
    return {"n": len(train), "d": train.shape[1], "score": score}


def report(records, options):
    """Print a line a table and size: the first score, and differences from it."""

    def summarize(part):
        scores = {record["likelihood"]: record["score"] for record in part}
        first, *_ = scores
        cells = {name: f"{s - scores[first]:+.2f}" for name, s in scores.items()}
        return cells | {first: f"{scores[first]:.2f}"}

    for r in records:
        r["table (n, d)"] = f"{r['table']} ({r['n']}, {r['d']})"
    print_groups(records, ["table (n, d)", "q"], summarize)


AXES = [
    Axis("q", "--q", (2, 5)),
    Axis("table", "--tables", TABLES, here=lambda: (*list_tables(), *list_mixed())),
    Axis("likelihood", "--likelihoods", LIKELIHOODS, LIKELIHOODS, keeps_all=True),
]
OPTIONS = {
    "--rows": {"type": int, "default": 2000, "help": "to train on, at most"},
    "--seed": {"type": int, "default": 0},
}


if __name__ == "__main__":
    main(__doc__, AXES, measure, report, options=OPTIONS)
