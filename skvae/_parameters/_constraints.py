"""What scikit-learn's messages about parameters leave out: the way out."""

import re

import numpy as np

from .._utils._checks import suggest

_ADVICE = {
    "n_components": (
        "Pass a number of components, or 'auto', which chooses it by the held-out "
        "score; shares of the variance are not accepted."
    ),
    "hidden_layer_sizes": (
        "Pass a tuple of integers, or 'auto'; () is the linear model."
    ),
    "optimizer": "Pass a name such as 'adam', or a class from torch.optim.",
    "net_params": "Pass a dict such as {'optimizer__betas': (0.9, 0.99)}.",
    "net_callbacks": "Pass a list of skorch callbacks.",
    "random_state": "numpy.random.RandomState(seed) is accepted, Generator is not.",
}


def find_boolean(estimator):
    """Return a message about a boolean in the place of a number, or None.

    scikit-learn takes it for 0 or 1.
    """
    for name, accepted in estimator._parameter_constraints.items():
        value = getattr(estimator, name)
        # intervals have ends
        if isinstance(value, (bool, np.bool_)) and any(
            hasattr(part, "left") for part in accepted
        ):
            return (
                f"The {name!r} parameter of {type(estimator).__name__} must be a "
                f"number. Got {value!r} instead."
            )
    return None


def find_way_out(estimator, message):
    """Return the advice that goes behind a message about a parameter, or nothing."""
    found = re.match(r"The '(\w+)' parameter", message)
    name = found.group(1) if found else None
    for part in estimator._parameter_constraints.get(name, ()):
        hint = suggest(getattr(estimator, name), getattr(part, "options", ()))
        if hint:
            return f" {hint[2].upper()}{hint[3:-1]}"
    return f" {_ADVICE[name]}" if name in _ADVICE else ""
