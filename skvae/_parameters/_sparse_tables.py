"""What likelihood="auto" is for a sparse table: one of zeros and ones, or of counts."""

from contextlib import suppress

import numpy as np

from .._columns._support import BINARY, COUNTS
from .._columns._validation import refuse_sparse
from ..likelihoods import LIKELIHOODS, Likelihood
from ..likelihoods._per_column import PerColumn

# by what the stored values, and the zeros around them, may be
_CHOICES = (("bernoulli", BINARY), ("negative_binomial", COUNTS))


def name_sparse(likelihood, table):
    """Return a likelihood in which the 'auto' of a sparse table is named.

    Dicts then name every column. All columns that are 'auto' have one likelihood, which
    the values stored for them decide.
    """
    if isinstance(likelihood, str) and likelihood == "auto":
        return _choose(table.array, None)
    if not isinstance(likelihood, dict):
        return likelihood
    n_features = table.array.shape[1]
    names = list(range(n_features) if table.labels is None else table.labels)

    def is_auto(name):
        asked = likelihood.get(name, "auto")
        return isinstance(asked, str) and asked == "auto"

    rest = [column for column, name in enumerate(names) if is_auto(name)]
    if not rest:
        return likelihood
    chosen = _choose(table.array, rest)
    return likelihood | {names[column]: chosen for column in rest}


def _choose(array, columns):
    values = array.list_values(columns).astype(np.float64)
    for name, support in _CHOICES:
        is_outside = support.find_outside(values)
        if not is_outside.any():
            return name
    value = values[is_outside.argmax()]
    refuse_sparse(f"likelihood='auto' is dense for values such as {value:g}")
    return None


def accepts_sparse(likelihood):
    """Return whether sparse tables are for a likelihood, whatever their values."""
    if isinstance(likelihood, str) and likelihood in LIKELIHOODS:
        likelihood = LIKELIHOODS[likelihood]()
    if isinstance(likelihood, PerColumn):
        return likelihood.accepts_sparse
    # parameters that are not valid are refused later
    with suppress(AttributeError, KeyError, TypeError, ValueError):
        return isinstance(likelihood, Likelihood) and likelihood.support.accepts_sparse
    return False
