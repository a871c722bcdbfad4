"""Cost and memory of every method against the size of a table, beside other packages.

``python benchmarks/scale.py`` prints the tables of ``docs/results/scale.md``: one
dimension at a time grows from a table of 2,000 rows and 20 columns: rows, columns,
components, levels of a category, and the share of missing cells. Each fit is in a
process of its own, on one thread. CPU seconds and the most memory beyond that of the
process before; methods take new rows and are given in microseconds a row. Exponents are
the slopes of log cost by log size, from the second size on. Methods that an estimator
does not have, and packages that are not installed, are left out.
"""

import importlib.util
import sys
import time

import numpy as np
from _run import Axis, fill, get_median, get_values, main, print_groups
from measure import metered
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.ensemble import IsolationForest
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor

from skvae import VAEOutlierDetector, VAETransformer
from skvae.datasets import make_factors

BASE = {"rows": 2_000, "columns": 20, "components": 2, "levels": 0, "missing": 0.0}
GROWING = {
    "rows": (500, 2_000, 8_000, 32_000),
    "columns": (5, 20, 80, 320, 1_280),
    "components": (2, 8, 16),
    "levels": (2, 30, 1_000),
    "missing": (0.0, 0.1, 0.3),
}
# new rows that methods take, and seconds after which no more calls are timed
_N_NEW, _BUDGET = 2_000, 20.0
# new rows of methods that take long
_N_FEW = 200


def make_detector(components, seed):
    """Return a detector of outliers."""
    return VAEOutlierDetector(components, random_state=seed)


def make_umap(components, seed):
    """Return a UMAP; its seed does not matter to its cost."""
    from umap import UMAP

    return UMAP(n_components=components, n_jobs=1)


def make_pyod(components, seed):
    """Return PyOD's VAE at its defaults."""
    from pyod.models.vae import VAE

    return VAE(latent_dim=components, random_state=seed, verbose=0)


def make_tvae(components, seed):
    """Return the TVAE of the package ctgan at its defaults."""
    from ctgan import TVAE

    return TVAE(embedding_dim=components, enable_gpu=False)


CONTENDERS = {
    "VAETransformer": lambda q, seed: VAETransformer(q, random_state=seed),
    "joint": lambda q, seed: VAETransformer(q, density="joint", random_state=seed),
    "VAEOutlierDetector": make_detector,
    "PCA": lambda q, seed: PCA(q, random_state=seed),
    "FactorAnalysis": lambda q, seed: FactorAnalysis(q, random_state=seed),
    "GaussianMixture": lambda q, seed: GaussianMixture(8, random_state=seed),
    "IsolationForest": lambda q, seed: IsolationForest(random_state=seed),
    "neighbours": lambda q, seed: LocalOutlierFactor(20, novelty=True),
    "UMAP": make_umap,
    "IterativeImputer": lambda q, seed: IterativeImputer(random_state=seed),
    "PyOD VAE": make_pyod,
    "TVAE": make_tvae,
}
PACKAGES = {"UMAP": "umap", "PyOD VAE": "pyod", "TVAE": "ctgan"}
# those that accept missing cells, and those that accept categories
WITH_MISSING = "VAETransformer", "joint", "VAEOutlierDetector", "IterativeImputer"
WITH_COMPONENTS = *WITH_MISSING[:3], "PCA", "FactorAnalysis", "UMAP"
WITH_LEVELS = "VAETransformer", "joint", "VAEOutlierDetector", "TVAE"
METHODS = {
    "transform": lambda model, X: model.transform(X),
    "inverse": lambda model, X: model.inverse_transform(model.transform(X)),
    "score": lambda model, X: model.score_samples(X),
    "evidence": lambda model, X: model.score_samples(X, "evidence"),
    "explain": lambda model, X: model.explain(X),
    "impute": lambda model, X: model.impute(X),
    "sample": lambda model, X: model.sample(len(X)),
}
# timed on fewer rows
SLOW = "explain", "impute"
# what a model must have; the evidence is a score of ours alone
OWNERS = {
    "inverse": "inverse_transform",
    "score": "score_samples",
    "evidence": "score_features",
}
# what it is called elsewhere
METHODS_OF = {
    "IterativeImputer": {"impute": METHODS["transform"]},
    "PyOD VAE": {"score": lambda model, X: model.decision_function(X)},
}


def list_here():
    """Return the contenders whose packages are installed."""
    return [
        name
        for name in CONTENDERS
        if importlib.util.find_spec(PACKAGES.get(name, "sklearn"))
    ]


def list_points(options):
    """Yield contender, dimension and size; the base once for every dimension."""
    for dimension in options.dimensions or GROWING:
        for size in GROWING[dimension][: 2 if options.quick else None]:
            for contender in options.contenders:
                if _suits(contender, dimension, size):
                    yield {"contender": contender, "dimension": dimension, "size": size}


def _suits(contender, dimension, size):
    """Return whether a contender takes the table, and the dimension matters to it."""
    if contender == "IterativeImputer":
        return dimension == "missing" and size > 0
    if dimension == "components":
        return contender in WITH_COMPONENTS
    if dimension == "levels":
        return contender in WITH_LEVELS
    return dimension != "missing" or size == 0 or contender in WITH_MISSING


def make_table(rows, columns, components, levels, missing, seed):
    """Return rows of curved factors; the last column may be a category."""
    X, _ = make_factors(rows + _N_NEW, columns, n_components=4, random_state=seed)
    generator = np.random.default_rng(seed)
    X[:, ::2] = np.tanh(X[:, ::2])
    if missing:
        X = np.where(generator.random(X.shape) < missing, np.nan, X)
    if levels:
        import pandas as pd

        X = pd.DataFrame(X, columns=[f"x{j}" for j in range(columns)])
        codes = generator.integers(levels, size=len(X))
        X["level"] = pd.Categorical.from_codes(codes, [f"l{k}" for k in range(levels)])
        return X.iloc[:rows], X.iloc[rows:]
    return X[:rows], X[rows:]


def measure(options, contender, dimension, size):
    """Return CPU seconds and MB of fit, and microseconds a row of the methods."""
    shape = BASE | {dimension: size}
    seed = options.seed
    train, new = make_table(**shape, seed=seed)
    make = CONTENDERS[contender]
    # libraries are warm, and warnings of few rows are not wanted
    make(2, seed).fit(train[:100])
    q = min(shape["components"], shape["columns"] - 1)
    model, record = metered(make(q, seed).fit, train)
    record = {"fit": record["cpu"], "fit MB": record["memory"]}
    begin = time.process_time()
    for name, call in METHODS_OF.get(contender, METHODS).items():
        is_known = contender in METHODS_OF or hasattr(model, OWNERS.get(name, name))
        is_over = time.process_time() - begin > _BUDGET
        if not is_known or is_over or (name == "impute" and not shape["missing"]):
            continue
        rows = new[:_N_FEW] if name in SLOW else new
        call(model, rows[:2])
        _, used = metered(call, model, rows)
        record[name] = 1e6 * used["cpu"] / len(rows)
    return record


def report(records, options):
    """Print a table for every dimension, and the exponents."""
    names = "fit", "fit MB", *METHODS

    def summarize(part):
        cells = {"fit, CPU s": fill(get_median(part, "fit"), ".3g")}
        cells["MB"] = fill(get_median(part, "fit MB"), ".0f")
        for name in METHODS:
            if get_values(part, name):
                cells[f"{name}, µs"] = fill(get_median(part, name), ".3g")
        return cells

    for dimension in options.dimensions or GROWING:
        part = [r for r in records if r["dimension"] == dimension]
        if part:
            print(f"\nBy {dimension}\n")
            print_groups(part, ["contender", "size"], summarize)
    print("\nExponents, from the second size on\n")
    part = [r for r in records if r["dimension"] in ("rows", "columns")]

    def find_slopes(part):
        cells = {}
        for name in names:
            pairs = [(float(r["size"]), float(r[name])) for r in part if r.get(name)]
            pairs = np.log([pair for pair in sorted(pairs)[1:] if min(pair) > 0])
            if len(pairs) > 1:
                cells[name] = f"{np.polyfit(*pairs.T, 1)[0]:.2f}"
        return cells

    print_groups(part, ["dimension", "contender"], find_slopes)


AXES = [
    Axis("dimension", "--dimensions", list(GROWING), list(GROWING), keeps_all=True),
    Axis(
        "contender",
        "--contenders",
        list(CONTENDERS),
        list(CONTENDERS),
        list_here,
        keeps_all=True,
    ),
]
OPTIONS = {"--seed": {"type": int, "default": 0, "help": "of tables and models"}}


if __name__ == "__main__":
    sys.exit(
        main(
            __doc__,
            AXES,
            measure,
            report,
            points=list_points,
            options=OPTIONS,
            isolated=True,
        )
    )
