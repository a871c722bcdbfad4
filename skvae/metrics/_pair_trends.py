"""Each pair of columns of drawn rows beside that of real rows."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ._column_shapes import compute_total_variation
from ._tables import Columns, list_levels, measure_spread, read_tables, standardize

if TYPE_CHECKING:
    from .._utils._typing import Table

# of a column of numbers beside one of levels, as sdmetrics has them
N_BINS = 10


def pair_trend_errors(
    real: Table, drawn: Table, *, categorical: Columns = None
) -> pd.Series:
    r"""Compare the association of every pair of columns with that of the real rows.

    .. math::
        \tfrac12 |\rho(x_i, x_j) - \hat\rho(x_i, x_j)|, \qquad
        \tfrac12 \sum_{k, l} |\hat p_{kl} - \hat q_{kl}|,

    the difference of Pearson's correlations of two columns of numbers, and the total
    variation of pairs of levels. Beside a column of levels, numbers are put into ten
    intervals of equal width, from the least to the greatest real one. 0 is best, 1 is
    worst; the second error also contains those of both columns. Two samples of the same
    distribution differ by chance: compare with the errors of held-out real rows.
    Without missing cells these are 1 - `CorrelationSimilarity` and 1 -
    `ContingencySimilarity` of sdmetrics, and the mean is 1 - its score of pair trends,
    but that its report has intervals of their own for drawn rows.

    Parameters
    ----------
    real, drawn : array-like or data frame (n_samples, n_features)
        Rows of at least two columns; their numbers may differ.
    categorical : list of column names, default=None
        Columns of numbers that are codes of levels. Names of an array are positions.

    Returns
    -------
    Series (n_features * (n_features - 1) / 2,)
        Error of every pair, by both names, from 0 to 1; ``.mean()`` is that of the
        table.

    Raises
    ------
    ValueError
        If the tables have different columns, fewer than two, or infinite values.

    See Also
    --------
    column_shape_errors : Compares single columns.

    Notes
    -----
    Correlations are those of rows in which both numbers are present; that of a constant
    is 0. In all other pairs, missing cells are a level of their own.

    References
    ----------
    Patki, Wedge & Veeramachaneni (2016), "The Synthetic Data Vault".
    Zhang et al. (2024), "Mixed-type tabular data synthesis with score-based diffusion
    in latent space" (TabSyn), appendix on metrics.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae.datasets import make_mixed
    >>> from skvae.metrics import pair_trend_errors
    >>> real = make_mixed(n_samples=1000, random_state=0)
    >>> held_out = make_mixed(n_samples=1000, random_state=1)
    >>> shuffled = real.apply(np.random.default_rng(0).permutation)
    >>> errors = [pair_trend_errors(real, rows).mean() for rows in (held_out, shuffled)]
    >>> bool(errors[0] < 0.05 < errors[1])
    True
    """
    x, y = read_tables(real, drawn, categorical=categorical)
    if x.shape[1] < 2:
        raise ValueError("Pairs need two columns at least; the tables have one.")
    levels = set(list_levels(x))
    codes = {
        name: [rows[name].cat.codes.to_numpy(np.int64) for rows in (x, y)]
        if name in levels
        else _discretize(x[name].to_numpy(), y[name].to_numpy())
        for name in x
    }
    errors = {}
    for a, b in combinations(x, 2):
        if a in levels or b in levels:
            errors[a, b] = _compare_tables(codes[a], codes[b])
        else:
            errors[a, b] = abs(_correlate(x, a, b) - _correlate(y, a, b)) / 2
    return pd.Series(errors, name="error")


def _discretize(real: Any, drawn: Any) -> list[Any]:
    """Return the interval of every number, -1 if missing; the outer ones are open."""
    seen = real[~np.isnan(real)]
    least, most = (seen.min(), seen.max()) if len(seen) else (0.0, 1.0)
    if least == most:
        least, most = least - 0.5, most + 0.5
    # numpy's histogram refuses a range that is tiny beside its values; halves, since
    # the width may be beyond the range of float64
    edges = 2 * np.linspace(least / 2, most / 2, N_BINS + 1)[1:-1]
    return [np.where(np.isnan(x), -1, np.digitize(x, edges)) for x in (real, drawn)]


def _compare_tables(a: list[Any], b: list[Any]) -> float:
    """Return the total variation of pairs of codes, each of real and drawn rows."""
    # -1, a missing cell, is a code as others are
    width = max(codes.max() for codes in b) + 2
    real, drawn = (x * width + y for x, y in zip(a, b, strict=True))
    return compute_total_variation(real, drawn)


def _correlate(rows: pd.DataFrame, a: Any, b: Any) -> float:
    """Return Pearson's correlation of complete rows, 0 if a column is constant."""
    x, y = rows[[a, b]].dropna().to_numpy().T
    if len(x) < 2 or not np.ptp(x) or not np.ptp(y):
        return 0.0
    # differences that are tiny beside the values must not be lost, nor overflow
    x, y = (standardize(v, *measure_spread(v)) for v in (x, y))
    # the mean above has been rounded beside the values
    x, y = x - x.mean(), y - y.mean()
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))
