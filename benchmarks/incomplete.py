"""The density of tables with missing cells, of `VAETransformer` and of its settings.

Tables of `imputation.py`, and two made-up ones whose columns determine one another
nearly: (x, 2 x + 0.1 e, u) and rows of a factor analysis model with little noise. Cells
are deleted at random. What is printed is the mean ELBO of held-out rows in nats: those
of the tables are incomplete like the training rows, new rows of the made-up tables are
complete, so that their scores are those of one density.

``python benchmarks/incomplete.py`` prints one line a table and contender, means over
seeds. Tables that are not in the folder of `tables.find_folder` are left out.
"""

import numpy as np
from _run import Axis, get_values, main, print_groups, timed
from imputation import SETS, list_sets, load_complete
from missingness import delete_at_random

from skvae import VAETransformer
from skvae.datasets import make_factors

CONTENDERS = {
    "default": {},
    "joint": {"density": "joint"},
    "linear": {"likelihood": "gaussian", "hidden_layer_sizes": ()},
}
N_TRAIN, N_TEST = 1000, 2000


def make_line(generator):
    """Return rows (x, 2 x + 0.1 e, u) of independent standard normals x, e and u."""
    x, e, u = generator.standard_normal((3, N_TRAIN + N_TEST))
    return np.stack([x, 2 * x + 0.1 * e, u], axis=1)


def make_eight(generator):
    """Return rows of eight columns with two factors."""
    n, seed = N_TRAIN + N_TEST, int(generator.integers(2**31))
    return make_factors(n, 8, 2, noise=0.1, random_state=seed)[0]


MADE_UP = {"line": make_line, "factors": make_eight}


def split(name, seed, share):
    """Return incomplete training rows, and test rows."""
    generator = np.random.default_rng(seed)
    if name in MADE_UP:
        X = MADE_UP[name](generator)
        train, test = X[:N_TRAIN], X[N_TRAIN:]
    else:
        X = generator.permutation(load_complete(name))
        train, test = np.split(X, [int(0.7 * len(X))])
        test = np.where(delete_at_random(test, share, generator), np.nan, test)
    return np.where(delete_at_random(train, share, generator), np.nan, train), test


def measure(options, set, seed, contender):
    """Return the score of held-out rows, and the seconds of the fit."""
    train, test = split(set, seed, options.share)
    vae = VAETransformer(random_state=seed, **CONTENDERS[contender])
    vae, seconds = timed(lambda: vae.fit(train))
    return {"elbo": vae.score(test), "seconds": seconds, "q": vae.n_components_}


def summarize(part):
    """Return the cells of a line."""
    elbo = get_values(part, "elbo")
    return {
        "ELBO": f"{np.mean(elbo):.2f}",
        "least": f"{min(elbo):.2f}",
        "most": f"{max(elbo):.2f}",
        "q": " ".join(str(q) for q in sorted({r["q"] for r in part})),
        "s": f"{np.mean(get_values(part, 'seconds')):.0f}",
    }


def report(records, options):
    """Print one line a table and contender."""
    order = [*MADE_UP, *SETS]
    records.sort(key=lambda record: order.index(record["set"]))
    print_groups(records, ["set", "contender"], summarize)


AXES = [
    Axis(
        "set",
        "--sets",
        [*MADE_UP, *SETS],
        [*MADE_UP, *SETS],
        lambda: [*MADE_UP, *list_sets()],
    ),
    Axis("seed", "--seeds", (0, 1, 2)),
    Axis("contender", "--contenders", CONTENDERS, CONTENDERS, keeps_all=True),
]
OPTIONS = {"--share": {"type": float, "default": 0.3, "help": "of cells, deleted"}}


if __name__ == "__main__":
    main(__doc__, AXES, measure, report, options=OPTIONS)
