"""numpy's handling of floating-point errors inside the methods of a class."""

from functools import wraps
from inspect import isfunction

import numpy as np

# numpy's own defaults
_DEFAULTS = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}


def uses_default_errors(cls):
    """Let public methods and properties run with numpy's defaults; decorates a class.

    ``numpy.errstate(all="raise")`` of the caller would reach scikit-learn's mixtures
    inside a fit, whose underflow is meant.
    """
    for name, value in list(vars(cls).items()):
        if name.startswith("_"):
            continue
        if isfunction(value):
            setattr(cls, name, _wrap(value))
        elif isinstance(value, property):
            setattr(cls, name, property(_wrap(value.fget)))
    return cls


def _wrap(method):
    @wraps(method)
    def run(*args, **kwargs):
        with np.errstate(**_DEFAULTS):
            return method(*args, **kwargs)

    return run
