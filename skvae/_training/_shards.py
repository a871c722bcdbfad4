"""The rows of all processes of a fit, from what each one was given."""

from numbers import Number

import numpy as np
from sklearn.base import BaseEstimator

from .._columns import (
    count_rows,
    describe_form,
    find_wrapper,
    join_rows,
    unwrap,
    wrap,
)

_WAY_OUT = "Pass every process rows of one table, and equal arguments."


def join_shards(ranks, estimator, X, sample_weight, X_val):
    """Return X, weights and held-out rows of all processes, in order of their ranks.

    Raises
    ------
    ValueError
        If a process has no rows, other columns, or other arguments.
    """
    wrappers = map(find_wrapper, (X, sample_weight, X_val))
    X, sample_weight, X_val = map(unwrap, (X, sample_weight, X_val))
    given = {"X": X, "sample_weight": sample_weight, "X_val": X_val}
    if X is not None and sample_weight is not None:
        _check_length(sample_weight, X)
    found = ranks.exchange(_describe(estimator, given), "the start of a fit")
    _compare(found)
    return tuple(
        None if value is None else wrap(join_rows(ranks.exchange(value, name)), wrapper)
        for (name, value), wrapper in zip(given.items(), wrappers, strict=True)
    )


def _check_length(weight, X):
    if np.ndim(weight) == 1 and len(weight) != count_rows(X):
        raise ValueError(
            f"sample_weight has {len(weight)} values, but X has {count_rows(X)} rows."
        )


def _describe(estimator, given):
    """Return what has to be equal in all processes, and the rows of this one."""
    params = {
        f"the parameter {name}": _summarise(value)
        for name, value in estimator.get_params(deep=False).items()
        if name not in ("device", "random_state", "verbose", "net_callbacks")
    }
    forms = {}
    for name, value in given.items():
        form = (None, None) if value is None else describe_form(value)
        forms[f"the container of {name}"], forms[f"the columns of {name}"] = form
    n_rows = {
        name: count_rows(value) for name, value in given.items() if value is not None
    }
    return type(estimator).__name__, n_rows, {**forms, **params}


def _summarise(value):
    """Return a parameter as far as processes can compare it: objects by their class."""
    if isinstance(value, (Number, str, type(None))):
        return value
    if isinstance(value, dict):
        return {name: _summarise(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_summarise(part) for part in value]
    if hasattr(value, "__qualname__"):
        return value.__qualname__
    name = type(value).__name__
    if isinstance(value, BaseEstimator):
        return name, _summarise(value.get_params(deep=False))
    return name


def _compare(found):
    for rank, (_, n_rows, _) in enumerate(found):
        for name, n in n_rows.items():
            if not n:
                raise ValueError(
                    f"{name} has no rows in rank {rank} of torch.distributed. "
                    f"{_WAY_OUT}"
                )
    first_name, _, first = found[0]
    for rank, (name, _, described) in enumerate(found):
        if name != first_name:
            raise ValueError(
                f"Rank {rank} of torch.distributed fits a {name}, rank 0 a "
                f"{first_name}. {_WAY_OUT}"
            )
        for key, value in described.items():
            if value != first.get(key):
                raise ValueError(
                    f"In rank {rank} of torch.distributed {key} is {_shorten(value)}, "
                    f"in rank 0 {_shorten(first.get(key))}. {_WAY_OUT}"
                )


def _shorten(value):
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
