"""Held-out score and cost of an ensemble beside as many single fits.

Each line: nats per test row in units of standardised columns, of single fits from
several seeds (mean, worst, best), and of one ensemble of as many members (mean of its
members, and its own score); and the CPU seconds of all single fits and of the ensemble.
``python benchmarks/ensembles.py`` prints the table of ``docs/results/ensembles.md``.
"""

import numpy as np
from _run import Axis, fill, get_mean, main, measured
from tables import list_tables, split

TABLES = "wine", "breast_cancer", "diabetes", "u_concrete", "annthyroid"
_FIELDS = ("single", "worst", "best", "members", "ensemble")


def measure(options, table, seed):
    """Return test scores and CPU seconds of single fits and of an ensemble."""
    from skvae import VAETransformer

    train, test = split(table, seed)

    def fit(random_state, n_ensemble=1):
        vae = VAETransformer(random_state=random_state, n_ensemble=n_ensemble)
        return vae.fit(train)

    n = options.members
    fits = [measured(fit, n * seed + number) for number in range(n)]
    singles = np.array([vae.score(test) for vae, _ in fits])
    ensemble, spent = measured(fit, n * seed, n)
    models = ensemble._get_model().models
    members = [model.score(test, "elbo").mean() for model in models]
    return {
        "rows": len(train),
        "columns": train.shape[1],
        "single": singles.mean(),
        "worst": singles.min(),
        "best": singles.max(),
        "members": np.mean(members),
        "ensemble": ensemble.score(test),
        "cpu_singles": sum(record["cpu"] for _, record in fits),
        "cpu_ensemble": spent["cpu"],
    }


def show(records):
    """Return the cells of one line."""
    cells = {f: fill(get_mean(records, f), ".0f") for f in ("rows", "columns")}
    cells |= {field: fill(get_mean(records, field), ".2f") for field in _FIELDS}
    singles, own = (get_mean(records, f"cpu_{f}") for f in ("singles", "ensemble"))
    cells |= {"CPU s, singles": f"{singles:.1f}", "CPU s, ensemble": f"{own:.1f}"}
    return cells | {"ratio": f"{own / singles:.2f}"}


if __name__ == "__main__":
    axes = [
        Axis("table", "--tables", TABLES, list_tables(), list_tables),
        Axis("seed", "--seeds", 2),
    ]
    options = {"--members": {"type": int, "default": 4, "help": "of the ensemble"}}
    main(__doc__, axes, measure, (["table"], show), options=options)
