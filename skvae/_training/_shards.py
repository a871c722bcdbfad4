"""The rows of all processes of a fit, from what each one was given."""

import numpy as np

from .._columns import (
    count_rows,
    describe_form,
    find_wrapper,
    join_rows,
    unwrap,
    wrap,
)
from .._utils._comparison import describe_meaning

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
    params = {}
    for name, value in estimator.get_params(deep=False).items():
        if name == "net_params" and value is not None:
            value = {k: v for k, v in value.items() if not k.startswith("callbacks")}
        if name not in ("device", "random_state", "verbose", "net_callbacks"):
            params |= _describe_parameter(f"the parameter {name}", value)
    forms = {}
    for name, value in given.items():
        form = (None, None) if value is None else describe_form(value)
        forms[f"the container of {name}"], forms[f"the columns of {name}"] = form
    n_rows = {
        name: count_rows(value) for name, value in given.items() if value is not None
    }
    forms = {name: repr(form) for name, form in forms.items()}
    return type(estimator).__name__, n_rows, {**forms, **params}


def _describe_parameter(name, value):
    """Return the text of a parameter by name, of a dict that of every value in it."""
    if not isinstance(value, dict):
        return {name: repr(describe_meaning(value))}
    found = {}
    for key, part in value.items():
        found |= _describe_parameter(f"{name}[{key!r}]", part)
    return found


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
        for key in first | described:
            value, expected = (d.get(key, "not given") for d in (described, first))
            if value != expected:
                raise ValueError(
                    f"In rank {rank} of torch.distributed {key} is {_shorten(value)}, "
                    f"in rank 0 {_shorten(expected)}. {_WAY_OUT}"
                )


def _shorten(text):
    return text if len(text) <= 80 else f"{text[:77]}..."
