"""Models that draw rows of mixed tables: skvae, two baselines, and other packages.

``fit(train, seed, options)`` returns a function of a number of rows. Tables have text,
without missing cells, and numbers. A model that draws no missing numbers is given a
column of text that tells where they are, and cells are deleted where it draws "True".
Columns of whole numbers are rounded.
"""

from importlib.util import find_spec

import numpy as np
import pandas as pd
from scipy.stats import norm
from tables import list_text

# skvae's settings: n_components is one less than columns, MAX_COMPONENTS at most, and
# one for so many rows
MAX_COMPONENTS, ROWS_PER_COMPONENT = 20, 64
SKVAE = {"device": "cpu"}


# missing numbers --------------------------------------------------------------------


def mark_missing(train):
    """Return a table with a column of text for every number that may be missing."""
    missing = [name for name in train if train[name].isna().any()]
    flags = {f"{name} is missing": train[name].isna().astype(str) for name in missing}
    return train.assign(**flags)


def fill_missing(train):
    """Return what `mark_missing` does, means in place of missing numbers."""
    return mark_missing(train).fillna(train.mean(numeric_only=True))


def restore(drawn, train):
    """Return rows as those of the table: columns, missing cells, whole numbers."""
    drawn = drawn.copy()
    for name in train:
        flag = f"{name} is missing"
        if flag in drawn:
            drawn[name] = drawn[name].mask(drawn[flag].astype(str) == "True")
        if train[name].dtype.kind == "i":
            drawn[name] = drawn[name].astype(float).round().astype(int)
    return drawn[list(train)]


# baselines --------------------------------------------------------------------------


def keep_real(train, seed, options):
    """Return the training rows themselves."""
    return lambda n_samples: train.iloc[:n_samples]


def fit_independent(train, seed, options):
    """Shuffle every column."""
    generator = np.random.default_rng(seed)

    def sample(n_samples):
        columns = {name: generator.permutation(train[name]) for name in train}
        return pd.DataFrame(columns).iloc[:n_samples]

    return sample


def fit_copula(train, seed, options):
    """Fit a Gaussian copula: correlated normals, mapped to the values of each column.

    Equal values and levels are intervals of normal scores; a score is drawn in them.
    """
    filled, generator = fill_missing(train), np.random.default_rng(seed)
    values, scores = {}, []
    for name in filled:
        found, codes = np.unique(filled[name].to_numpy(), return_inverse=True)
        order = np.lexsort((generator.random(len(codes)), codes))
        ranks = np.empty(len(order))
        ranks[order] = (np.arange(len(order)) + 0.5) / len(order)
        values[name] = found[np.sort(codes)]
        scores.append(norm.ppf(ranks))
    root = np.linalg.cholesky(np.corrcoef(scores) + 1e-9 * np.eye(len(scores)))

    def sample(n_samples):
        u = norm.cdf(generator.standard_normal((n_samples, len(root))) @ root.T)
        rows = (u * len(filled)).astype(int).clip(0, len(filled) - 1)
        columns = {name: values[name][rows[:, j]] for j, name in enumerate(values)}
        return restore(pd.DataFrame(columns), train)

    return sample


# models -----------------------------------------------------------------------------


def fit_skvae(train, seed, options, **changes):
    """Fit VAETransformer to the table as it is."""
    from skvae import VAETransformer

    n_rows, n_columns = train.shape
    most = min(MAX_COMPONENTS, n_rows // ROWS_PER_COMPONENT)
    n_components = max(1, min(n_columns - 1, most))
    vae = VAETransformer(n_components, random_state=seed, **SKVAE, **changes)
    vae.fit(mark_missing(train))
    return lambda n_samples: restore(vae.sample(n_samples, random_state=seed), train)


def fit_quantile_skvae(train, seed, options):
    """Fit VAETransformer to normal scores of numbers."""
    return fit_skvae(train, seed, options, standardize="quantile")


def fit_tvae(train, seed, options):
    """Fit TVAE of ctgan."""
    return _fit_ctgan("TVAE", train, seed, options)


def fit_gan(train, seed, options):
    """Fit CTGAN of ctgan."""
    return _fit_ctgan("CTGAN", train, seed, options)


def _fit_ctgan(name, train, seed, options):
    import ctgan

    filled = fill_missing(train)
    model = getattr(ctgan, name)(epochs=options.epochs)
    model.set_random_state(seed)
    model.fit(filled, list_text(filled))
    return lambda n_samples: restore(model.sample(n_samples), train)


def fit_arf(train, seed, options):
    """Fit an adversarial random forest (Watson et al. 2023) of arfpy."""
    from arfpy import arf

    # a name that numpy 2.4 has no more
    vars(np).setdefault("in1d", np.isin)
    # it knows text by the dtype object, and draws from numpy's global generator
    filled = fill_missing(train)
    filled = filled.astype(dict.fromkeys(list_text(filled), object))
    np.random.seed(seed)  # noqa: NPY002
    model = arf.arf(filled, verbose=False, random_state=seed)
    model.forde()
    return lambda n_samples: restore(model.forge(n_samples), train)


def fit_forest_flow(train, seed, options):
    """Fit Forest-Flow (Jolicoeur-Martineau et al. 2024), with less noise than its own.

    Its defaults have 100 copies of the rows with noise, and take hours.
    """
    from ForestDiffusion import ForestDiffusionModel

    filled, levels, numbers = fill_missing(train), {}, {}
    for name in filled:
        numbers[name] = filled[name]
        if name in list_text(filled):
            numbers[name], levels[name] = pd.factorize(filled[name], sort=True)
    table = pd.DataFrame(numbers)
    whole = [name for name in train if train[name].dtype.kind == "i"]
    sizes = {name: len(found) for name, found in levels.items()}
    kinds = {
        "cat_indexes": [name for name, size in sizes.items() if size > 2],
        "bin_indexes": [name for name, size in sizes.items() if size <= 2],
        "int_indexes": [name for name in whole if name not in levels],
    }
    kinds = {k: table.columns.get_indexer(v).tolist() for k, v in kinds.items()}
    noise = {"n_t": 20, "duplicate_K": 10}
    X = table.to_numpy(float)
    model = ForestDiffusionModel(X, n_jobs=1, seed=seed, nthread=1, **noise, **kinds)

    def sample(n_samples):
        drawn = pd.DataFrame(model.generate(n_samples), columns=table.columns)
        for name, found in levels.items():
            drawn[name] = found[drawn[name].astype(int)]
        return restore(drawn, train)

    return sample


# name: fit, package
SYNTHESIZERS = {
    "real": (keep_real, None),
    "independent": (fit_independent, None),
    "copula": (fit_copula, None),
    "skvae": (fit_skvae, None),
    "skvae, quantile": (fit_quantile_skvae, None),
    "TVAE": (fit_tvae, "ctgan"),
    "CTGAN": (fit_gan, "ctgan"),
    "ARF": (fit_arf, "arfpy"),
    "Forest-Flow": (fit_forest_flow, "ForestDiffusion"),
}


def list_synthesizers():
    """Return the names of those whose packages are installed."""
    packages = {name: package for name, (_, package) in SYNTHESIZERS.items()}
    return [name for name, p in packages.items() if p is None or find_spec(p)]
