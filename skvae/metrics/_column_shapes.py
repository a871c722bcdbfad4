"""Each column of drawn rows beside that of real rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ._tables import Columns, list_levels, read_tables

if TYPE_CHECKING:
    from .._utils._typing import Table


def column_shape_errors(
    real: Table, drawn: Table, *, categorical: Columns = None
) -> pd.Series:
    r"""Compare the distribution of every column with that of the real rows.

    .. math::
        \tfrac12 \sum_k |\hat p_k - \hat q_k|, \qquad
        \sup_t |\hat F(t) - \hat G(t)|,

    the total variation of levels, and the Kolmogorov-Smirnov distance of numbers and
    times. 0 is best, 1 is worst. Two samples of the same distribution differ by chance:
    compare with the errors of held-out real rows. For columns without missing cells,
    these are 1 - `TVComplement` and 1 - `KSComplement` of sdmetrics, and the mean is 1
    - its score of column shapes.

    Parameters
    ----------
    real, drawn : array-like or data frame (n_samples, n_features)
        Rows; their numbers may differ.
    categorical : list of column names, default=None
        Columns of numbers that are codes of levels. Names of an array are positions.

    Returns
    -------
    Series (n_features,)
        Error of every column, by name, from 0 to 1; ``.mean()`` is that of the table.

    Raises
    ------
    ValueError
        If the tables have different columns, or values are infinite.

    See Also
    --------
    pair_trend_errors : Compares pairs of columns.

    Notes
    -----
    Missing cells are a level of their own, and below all numbers: a share of missing
    cells that differs is an error. sdmetrics leaves them out.

    References
    ----------
    Patki, Wedge & Veeramachaneni (2016), "The Synthetic Data Vault".
    Zhang et al. (2024), "Mixed-type tabular data synthesis with score-based diffusion
    in latent space" (TabSyn), appendix on metrics.

    Examples
    --------
    >>> from skvae.datasets import make_mixed
    >>> from skvae.metrics import column_shape_errors
    >>> real = make_mixed(n_samples=1000, random_state=0)
    >>> held_out = make_mixed(n_samples=1000, random_state=1)
    >>> errors = column_shape_errors(real, held_out)
    >>> bool(errors.max() < 0.07), float(column_shape_errors(real, real).max())
    (True, 0.0)
    """
    x, y = read_tables(real, drawn, categorical=categorical)
    levels = set(list_levels(x))
    errors = {
        name: compute_total_variation(x[name].cat.codes, y[name].cat.codes)
        if name in levels
        else _compute_distance(x[name].to_numpy(), y[name].to_numpy())
        for name in x
    }
    return pd.Series(errors, name="error")


def compute_total_variation(real: Any, drawn: Any) -> float:
    """Return the total variation of two samples of integers."""
    _, codes = np.unique(np.concatenate([real, drawn]), return_inverse=True)
    n_real, n_levels = len(real), codes.max() + 1
    shares = [
        np.bincount(part, minlength=n_levels) / len(part)
        for part in (codes[:n_real], codes[n_real:])
    ]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def _compute_distance(real: Any, drawn: Any) -> float:
    """Return the Kolmogorov-Smirnov distance; missing numbers are below all others."""
    samples = [np.sort(np.nan_to_num(x, nan=-np.inf)) for x in (real, drawn)]
    values = np.concatenate(samples)
    F, G = (np.searchsorted(x, values, side="right") / len(x) for x in samples)
    return float(np.abs(F - G).max())
