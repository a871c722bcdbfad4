"""Which cells of a complete table are deleted: at random, or by the values of rows.

Every function takes codes (n_samples, n_features) of mean 0 and variance 1, the share
of cells to delete among those that may be deleted, and a numpy Generator, and returns
where cells are deleted. The last two are those of Muzellec et al. (2020), "Missing data
imputation using optimal transport", section 5.
"""

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit

# share of the columns that are never deleted where missingness depends on them
_OBSERVED_SHARE = 0.3
# logits of missingness have this standard deviation
_STEEPNESS = 2.0


def delete_at_random(codes, share, generator):
    """Delete cells independently of all values, exactly as many as asked (MCAR)."""
    deleted = np.zeros(codes.size, dtype=bool)
    deleted[generator.permutation(codes.size)[: round(share * codes.size)]] = True
    return deleted.reshape(codes.shape)


def delete_by_others(codes, share, generator):
    """Delete cells by a logistic model of columns that stay observed (MAR)."""
    n_features = codes.shape[1]
    n_observed = max(1, round(_OBSERVED_SHARE * n_features))
    order = generator.permutation(n_features)
    observed, others = order[:n_observed], order[n_observed:]
    weight = generator.standard_normal((n_observed, len(others)))
    deleted = np.zeros(codes.shape, dtype=bool)
    deleted[:, others] = _draw(codes[:, observed] @ weight, share, generator)
    return deleted


def delete_by_themselves(codes, share, generator):
    """Delete cells by a logistic model of their own value (MNAR)."""
    sign = generator.choice([-1.0, 1.0], codes.shape[1])
    return _draw(sign * codes, share, generator)


def _draw(logits, share, generator):
    """Return draws whose probabilities are logistic, with a mean for every column."""
    logits = _STEEPNESS * (logits - logits.mean(axis=0)) / logits.std(axis=0)
    found = np.zeros(logits.shape, dtype=bool)
    for j, column in enumerate(logits.T):

        def miss(shift, column=column):
            return expit(column + shift).mean() - share

        chances = expit(column + brentq(miss, -50, 50))
        found[:, j] = generator.random(len(column)) < chances
    return found


MECHANISMS = {
    "MCAR": delete_at_random,
    "MAR": delete_by_others,
    "MNAR": delete_by_themselves,
}


def encode(frame):
    """Return standardised codes of a data frame: numbers, and ranks of texts."""
    columns = [
        column if column.dtype.kind in "iufb" else pd.Series(column.factorize(True)[0])
        for _, column in frame.items()
    ]
    codes = np.column_stack([np.asarray(column, dtype=float) for column in columns])
    scale = codes.std(axis=0)
    return (codes - codes.mean(axis=0)) / np.where(scale > 0, scale, 1.0)
