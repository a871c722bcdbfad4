"""Parameters in a form in which equal meanings compare equal."""

from functools import partial
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator


def describe_meaning(value):
    """Return a parameter as numbers, strings and sequences of them, to compare.

    Torch modules and the like stand for their class, so that copies are equal.
    """
    if isinstance(value, BaseEstimator):
        parameters = value.get_params(deep=False)
        parts = {k: describe_meaning(v) for k, v in parameters.items()}
        return type(value).__name__, sorted(parts.items())
    if isinstance(value, dict):
        return {key: describe_meaning(v) for key, v in value.items()}
    if isinstance(value, np.ndarray):
        # also without dimensions
        return describe_meaning(value.tolist())
    if isinstance(value, (list, tuple)):
        return [describe_meaning(v) for v in value]
    if isinstance(value, partial):
        return describe_meaning([value.func, value.args, value.keywords])
    if isinstance(value, np.bool_):
        return bool(value)
    if value is None or isinstance(value, (str, Integral, Real, type)):
        return value
    return type(value).__name__
