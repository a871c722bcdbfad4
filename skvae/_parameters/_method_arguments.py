"""Arguments of the methods of a fitted estimator: counts, and options of scores."""

import numpy as np

from .._utils._checks import is_integer, suggest


def check_count(name, value, accepted="a positive integer"):
    """Return a positive integer as an int; raise a ValueError for anything else."""
    if not is_integer(value) or value < 1:
        raise ValueError(f"{name}={value!r} must be {accepted}.")
    return int(value)


def check_flags(**flags):
    """Refuse arguments that are not booleans."""
    for name, value in flags.items():
        if not isinstance(value, (bool, np.bool_)):
            raise ValueError(f"{name}={value!r} must be True or False.")


def check_score_options(estimator, method, n_draws, return_std, n_default):
    """Refuse methods that are not known, and options that a method does not have.

    `n_default` is the number of draws where n_draws is None.
    """
    if method not in estimator._methods:
        names = ", ".join(map(repr, estimator._methods))
        hint = suggest(method, estimator._methods)
        raise ValueError(f"method={method!r} is not known{hint}; use one of {names}.")
    check_flags(return_std=return_std)
    is_average = method in estimator._averages
    names = ", ".join(map(repr, estimator._averages))
    if n_draws is not None:
        check_count("n_draws", n_draws, "None or a positive integer")
        if not is_average:
            raise ValueError(
                f"n_draws={n_draws!r} is not for method={method!r}, which takes no "
                f"draws but those of the fit; use one of {names}."
            )
    if return_std and not is_average:
        raise ValueError(
            f"return_std=True is not for method={method!r}; use one of {names}."
        )
    n_draws = n_default if n_draws is None else n_draws
    if return_std and n_draws < 2:
        raise ValueError(
            f"return_std=True needs at least two draws, but n_draws={n_draws}; pass a "
            "larger n_draws."
        )
