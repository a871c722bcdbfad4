"""Generators of small data sets from known models, for examples and tests.

They are arrays of numpy, except that of `make_mixed`, a data frame of pandas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils import check_random_state

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from ._utils._typing import Floats, RandomState


def _make_generator(random_state: RandomState) -> np.random.Generator:
    """Return a generator; None draws a seed from numpy's, as scikit-learn does."""
    if random_state is None:
        random_state = check_random_state(None).randint(2**31 - 1)
    return np.random.default_rng(random_state)


def make_factors(
    n_samples: int = 500,
    n_features: int = 10,
    n_components: int = 3,
    noise: float = 0.5,
    random_state: RandomState = None,
) -> tuple[Floats, Floats]:
    """Draw rows from a factor-analysis model whose density is known.

    Parameters
    ----------
    n_samples, n_features, n_components : int
        Numbers of rows, of columns and of factors.
    noise : float, default=0.5
        Standard deviations of the noise are spread around it, by a factor of 2.
    random_state : int or None, default=None
        Seed of the draws.

    Returns
    -------
    X : ndarray (n_samples, n_features)
        Rows.
    covariance : ndarray (n_features, n_features)
        Rows are drawn from N(0, covariance).

    Examples
    --------
    >>> from skvae.datasets import make_factors
    >>> X, covariance = make_factors(n_samples=100, n_features=4, random_state=0)
    >>> X.shape, covariance.shape
    ((100, 4), (4, 4))
    """
    generator = _make_generator(random_state)
    loadings = generator.standard_normal((n_components, n_features))
    scale = noise * 2.0 ** generator.uniform(-1, 1, n_features)
    z = generator.standard_normal((n_samples, n_components))
    X = z @ loadings + scale * generator.standard_normal((n_samples, n_features))
    return X, loadings.T @ loadings + np.diag(scale**2)


def make_counts(
    n_samples: int = 500,
    n_features: int = 10,
    n_components: int = 2,
    kind: str = "poisson",
    dispersion: float = 2.0,
    extra_zeros: float = 0.3,
    random_state: RandomState = None,
) -> tuple[NDArray[np.int64], Floats]:
    """Draw counts whose log rates depend on a few factors.

    Parameters
    ----------
    n_samples, n_features, n_components : int
        Numbers of rows, of columns and of factors.
    kind : {'poisson', 'negative_binomial', 'zero_inflated'}, default='poisson'
        Poisson counts with the rate; with the rate times gamma noise; or with the
        rate, and some counts replaced by zero.
    dispersion : float, default=2.0
        The gamma noise has mean 1 and variance ``1 / dispersion``.
    extra_zeros : float, default=0.3
        Probability that a count is replaced by zero.
    random_state : int or None, default=None
        Seed of the draws.

    Returns
    -------
    X : ndarray of int (n_samples, n_features)
        Rows.
    rate : ndarray (n_samples, n_features)
        Mean of each count given the factors, without extra zeros.

    Raises
    ------
    ValueError
        If `kind` is not known.

    Examples
    --------
    >>> from skvae.datasets import make_counts
    >>> X, rate = make_counts(n_samples=100, n_features=4, random_state=0)
    >>> X.shape, rate.shape
    ((100, 4), (100, 4))
    """
    kinds = ("poisson", "negative_binomial", "zero_inflated")
    if kind not in kinds:
        names = ", ".join(repr(name) for name in kinds)
        raise ValueError(f"kind={kind!r} is not known; use one of {names}.")
    generator = _make_generator(random_state)
    loadings = generator.standard_normal((n_components, n_features))
    loadings *= 0.8 / np.sqrt((loadings**2).sum(axis=0))
    level = generator.uniform(0.5, 2.5, n_features)
    z = generator.standard_normal((n_samples, n_components))
    rate = np.exp(level + z @ loadings)
    noise: Floats | float = 1.0
    if kind == "negative_binomial":
        noise = generator.gamma(dispersion, 1 / dispersion, rate.shape)
    X = generator.poisson(rate * noise)
    if kind == "zero_inflated":
        X = np.where(generator.random(X.shape) < extra_zeros, 0, X)
    return X, rate


def make_spiral(
    n_samples: int = 500, noise: float = 0.05, random_state: RandomState = None
) -> tuple[Floats, Floats]:
    """Draw points around a spiral in three dimensions: one latent, not linear.

    Parameters
    ----------
    n_samples : int
        Number of rows.
    noise : float, default=0.05
        Standard deviation of the noise in each column.
    random_state : int or None, default=None
        Seed of the draws.

    Returns
    -------
    X : ndarray (n_samples, 3)
        Rows.
    t : ndarray (n_samples,)
        Position along the spiral, in [0, 1].

    Examples
    --------
    >>> from skvae.datasets import make_spiral
    >>> X, t = make_spiral(n_samples=100, random_state=0)
    >>> X.shape, t.shape
    ((100, 3), (100,))
    """
    generator = _make_generator(random_state)
    t = generator.uniform(0, 1, n_samples)
    angle = 3 * np.pi * t
    curve = np.column_stack([t * np.cos(angle), t * np.sin(angle), t])
    return curve + noise * generator.standard_normal((n_samples, 3)), t


def make_clusters(
    n_samples: int = 500,
    n_features: int = 6,
    weights: Sequence[float] = (0.4, 0.25, 0.18, 0.12, 0.05),
    separation: float = 2.0,
    random_state: RandomState = None,
) -> tuple[Floats, NDArray[np.int64], Floats]:
    """Draw rows from a mixture of normals whose density is known.

    Parameters
    ----------
    n_samples, n_features : int
        Numbers of rows and of columns.
    weights : sequence of float, default=(0.4, 0.25, 0.18, 0.12, 0.05)
        Probabilities of the clusters.
    separation : float, default=2.0
        Standard deviation of the means of clusters in each column. Standard deviations
        within clusters are spread around 0.4, by a factor of 2, for each cluster and
        column.
    random_state : int or None, default=None
        Seed of the draws.

    Returns
    -------
    X : ndarray (n_samples, n_features)
        Rows.
    labels : ndarray of int (n_samples,)
        Cluster of each row.
    log_density : ndarray (n_samples,)
        Log density of each row, nats.

    Examples
    --------
    >>> from skvae.datasets import make_clusters
    >>> X, labels, log_density = make_clusters(n_samples=100, random_state=0)
    >>> X.shape, labels.shape, log_density.shape
    ((100, 6), (100,), (100,))
    """
    generator = _make_generator(random_state)
    n_clusters = len(weights)
    loc = separation * generator.standard_normal((n_clusters, n_features))
    scale = 0.4 * 2.0 ** generator.uniform(-1, 1, (n_clusters, n_features))
    labels = generator.choice(n_clusters, n_samples, p=weights)
    noise = generator.standard_normal((n_samples, n_features))
    X = loc[labels] + scale[labels] * noise
    unit = (X[:, None] - loc) / scale  # (n_samples, n_clusters, n_features)
    log_joint = np.log(weights) - (
        0.5 * unit**2 + np.log(scale) + 0.5 * np.log(2 * np.pi)
    ).sum(axis=-1)
    return X, labels, np.logaddexp.reduce(log_joint, axis=1)


def make_mixed(
    n_samples: int = 500, missing: float = 0.0, random_state: RandomState = None
) -> pd.DataFrame:
    r"""Draw a table of customers with all kinds of column, which depend on two factors.

    With independent a, w ~ N(0, 1) in each row, and e ~ N(0, 1) in each cell:

    - ``age``, a number: 45 + 10 a + 8 e;
    - ``income``, a number: exp(10.3 + 0.2 a + 0.5 w + 0.3 e);
    - ``visits``, a count: Poisson of rate exp(1 + 0.5 a);
    - ``savings``, an integer: 0 if 1.5 w + e < 0, which is half of the rows, otherwise
      exp(8 + 0.6 w + 0.4 e), rounded;
    - ``owns_home``, a boolean: True with probability σ(1.5 a + w);
    - ``region``, a string: north, south or west, with logits w, -w and 0;
    - ``education``, an ordered category: school if w + 0.5 e < -0.6, college if it is
      below 0.8, otherwise degree.

    Parameters
    ----------
    n_samples : int, default=500
        Number of rows.
    missing : float, default=0.0
        Probability that a value is missing, independent of all values. The other values
        are the same as with ``missing=0.0`` and the same `random_state`.
    random_state : int or None, default=None
        Seed of the draws.

    Returns
    -------
    DataFrame (n_samples, 7)
        A pandas data frame. With missing values, integers and booleans have nullable
        dtypes.

    Raises
    ------
    ValueError
        If `missing` is not in [0, 1).

    Examples
    --------
    >>> from skvae.datasets import make_mixed
    >>> X = make_mixed(n_samples=100, missing=0.1, random_state=0)
    >>> X.shape
    (100, 7)
    >>> X["education"].cat.categories.tolist()
    ['school', 'college', 'degree']
    """
    import pandas as pd

    if not 0 <= missing < 1:
        raise ValueError(f"missing={missing!r} must be at least 0, and below 1.")
    generator = _make_generator(random_state)
    a, w = generator.standard_normal((2, n_samples))
    e = generator.standard_normal((5, n_samples))
    logits = np.column_stack([w, -w, np.zeros(n_samples)])
    # the largest of logits with Gumbel noise is a draw from their softmax
    regions = (logits + generator.gumbel(size=logits.shape)).argmax(axis=1)
    amounts = np.rint(np.exp(8 + 0.6 * w + 0.4 * e[2])).astype(np.int64)
    X = pd.DataFrame(
        {
            "age": 45 + 10 * a + 8 * e[0],
            "income": np.exp(10.3 + 0.2 * a + 0.5 * w + 0.3 * e[1]),
            "visits": generator.poisson(np.exp(1 + 0.5 * a)),
            "savings": np.where(1.5 * w + e[3] < 0, 0, amounts),
            "owns_home": generator.random(n_samples) < 1 / (1 + np.exp(-1.5 * a - w)),
            "region": np.array(["north", "south", "west"])[regions],
            "education": pd.Categorical.from_codes(
                np.digitize(w + 0.5 * e[4], [-0.6, 0.8]),
                ["school", "college", "degree"],
                ordered=True,
            ),
        }
    )
    if missing > 0:
        is_missing = generator.random(X.shape) < missing
        nullable = {"visits": "Int64", "savings": "Int64", "owns_home": "boolean"}
        X = X.astype(nullable).mask(is_missing)
    return X
