"""Held-out log-likelihood of VAETransformer beside every density of scikit-learn.

Each line: mean nats per test row above max(PCA, FactorAnalysis) at the same number of
components. ``python benchmarks/density.py --help`` names the options; the defaults
print the tables of ``docs/results/density.md``.
"""

from functools import cache

import numpy as np
from _run import Axis, fill, get_mean, get_values, group, main, print_groups, timed
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from tables import list_tables, split

# one floor for all: variance of a mixture's component as a share of the column's
FLOOR = 1e-3
CONTENDERS = "gmm", "skvae", "floor", "plain"
# asked for by name
FURTHER = ("joint", "autoregressive", "wide")


@cache
def fit_gaussian_mixture(table, seed):
    """Return the test score of a mixture chosen by 15 % of the training rows.

    1 to 32 components, full or diagonal, reg_covar 1e-3 (the floor), 1e-2 or 1e-1; the
    choice is refitted to all training rows.
    """
    train, test = split(table, seed)
    fit, valid = train_test_split(train, test_size=0.15, random_state=0)
    best = (-np.inf, None)
    for kind in ("full", "diag"):
        for n_mixture in (1, 2, 4, 8, 16, 32):
            if n_mixture > len(fit) // 4:
                continue
            for floor in (FLOOR, 10 * FLOOR, 100 * FLOOR):
                model = GaussianMixture(
                    n_mixture, covariance_type=kind, reg_covar=floor, random_state=0
                )
                score = model.fit(fit).score(valid)
                best = max(best, (score, (n_mixture, kind, floor)))
    n_mixture, kind, floor = best[1]
    model = GaussianMixture(
        n_mixture, covariance_type=kind, reg_covar=floor, random_state=0
    )
    return model.fit(train).score(test)


def make_models(n_components, seed):
    """Return the models to compare, by name."""
    from skvae import VAETransformer
    from skvae.latents import Gaussian
    from skvae.likelihoods import GaussianMixture as Mixture

    common = {"n_components": n_components, "random_state": seed, "device": "cpu"}
    return {
        "skvae": VAETransformer(**common),
        "joint": VAETransformer(**common, density="joint"),
        "autoregressive": VAETransformer(**common, likelihood="autoregressive"),
        # the widths of large tables for all tables
        "wide": VAETransformer(**common, hidden_layer_sizes=(128, 128)),
        "floor": VAETransformer(**common, likelihood=Mixture(variance_floor=FLOOR)),
        "plain": VAETransformer(
            **common,
            init="random",
            likelihood="gaussian",
            latent=Gaussian(prior="standard"),
        ),
    }


def measure(options, table, seed):
    """Return one record for each number of components."""
    train, test = split(table, seed)
    sizes = [q for q in options.q if q < train.shape[1]]
    return [measure_size(options, table, seed, train, test, q) for q in sizes]


def measure_size(options, table, seed, train, test, q):
    """Return the scores of all contenders."""
    record = {"n": len(train), "d": train.shape[1], "q": q}
    record["PCA"] = PCA(q).fit(train).score(test)
    record["FA"] = FactorAnalysis(q).fit(train).score(test)
    linear = max(record["PCA"], record["FA"])
    if "gmm" in options.contenders:
        record["gmm"] = fit_gaussian_mixture(table, seed) - linear
    for label, model in make_models(q, seed).items():
        if label not in options.contenders:
            continue
        _, record[f"{label}_seconds"] = timed(model.fit, train)
        record[label] = model.score(test) - linear
        record[f"{label}_epochs"] = len(model.history_)
        if label == "skvae":
            evidence = model.score_samples(test, "evidence").mean()
            record["evidence"] = evidence - linear
    return record


def summarize(part):
    """Return the cells of a table and size: means over seeds, and the worst seed."""
    cells = {}
    labels = "PCA", "FA", "gmm", "plain", "floor", "skvae", "evidence", *FURTHER
    for label in labels:
        if get_values(part, label):
            spec = ".2f" if label in ("PCA", "FA") else "+.2f"
            cells[label] = fill(get_mean(part, label), spec)
    if get_values(part, "skvae"):
        cells["worst seed"] = f"{min(get_values(part, 'skvae')):+.2f}"
        cells["s"] = f"{np.median(get_values(part, 'skvae_seconds')):.1f}"
    for label in FURTHER:
        if get_values(part, label):
            seconds = np.median(get_values(part, f"{label}_seconds"))
            cells[f"{label} s"] = f"{seconds:.1f}"
    return cells


def report(records, options):
    """Print the table, and what its lines add up to."""
    for r in records:
        r["table (n, d)"] = f"{r['table']} ({r['n']}, {r['d']})"
    print_groups(records, ["table (n, d)", "q"], summarize)
    for (q,), part in sorted(group(records, ["q"]).items()):
        for label in CONTENDERS + FURTHER:
            gains = np.array(get_values(part, label))
            if len(gains):
                print(
                    f"q {q} {label:6s} {len(gains)} runs: worst {gains.min():+.3f}, "
                    f"median {np.median(gains):+.3f}, "
                    f"below -0.05: {(gains < -0.05).sum()}"
                )
        for label in ("skvae", "floor", *FURTHER):
            both = [r for r in part if label in r and "gmm" in r]
            tables = sorted(group(both, ["table"]).items())
            lost = [
                name
                for (name,), rows in tables
                if get_mean(rows, label) <= get_mean(rows, "gmm")
            ]
            if tables:
                print(
                    f"q {q} {label} above GaussianMixture on {len(tables) - len(lost)} "
                    f"of {len(tables)} tables; not on {', '.join(lost) or 'none'}"
                )


AXES = [Axis("table", "--tables", list_tables()), Axis("seed", "--seeds", (0, 1, 2))]
OPTIONS = {
    "--q": {"nargs": "*", "type": int, "default": [2, 5, 8]},
    "--contenders": {
        "nargs": "*",
        "choices": CONTENDERS + FURTHER,
        "default": CONTENDERS,
    },
}


if __name__ == "__main__":
    main(__doc__, AXES, measure, report, options=OPTIONS)
