"""numpy's handling of floating-point errors inside the methods of a class."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import isfunction
from typing import Any, TypeVar

import numpy as np

_Class = TypeVar("_Class", bound=type)

# numpy's own defaults
_DEFAULTS: dict[str, Any] = {
    "divide": "warn",
    "over": "warn",
    "under": "ignore",
    "invalid": "warn",
}


def uses_default_errors(cls: _Class) -> _Class:
    """Let public methods and properties run with numpy's defaults; decorates a class.

    ``numpy.errstate(all="raise")`` of the caller would reach scikit-learn's mixtures
    inside a fit, whose underflow is meant.
    """
    for name, value in list(vars(cls).items()):
        if name.startswith("_"):
            continue
        if isfunction(value):
            setattr(cls, name, _wrap(value))
        elif isinstance(value, property) and value.fget is not None:
            setattr(cls, name, property(_wrap(value.fget)))
    return cls


def _wrap(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        with np.errstate(**_DEFAULTS):
            return method(*args, **kwargs)

    return run
