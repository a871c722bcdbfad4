"""What of an estimator is fixed as long as the training of its net goes on."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, clone

# what the net is made of
_FIXED = (
    "n_components",
    "likelihood",
    "latent",
    "network",
    "hidden_layer_sizes",
    "activation",
    "dropout",
    "standardize",
    "image_shape",
    "objective",
    "beta",
    "optimizer",
    "weight_decay",
    "kl_warmup",
    "n_draws",
    "net_params",
)


def copy_fixed(estimator):
    """Return copies of the parameters that the net is made of, a dict by name."""
    return {name: clone(getattr(estimator, name), safe=False) for name in _FIXED}


def check_fixed(estimator, fitted):
    """Refuse parameters that the net that training goes on with does not have.

    Parameters
    ----------
    estimator : VAETransformer
    fitted : dict
        What `copy_fixed` returned at the fit.

    Raises
    ------
    ValueError
    """
    for name, value in fitted.items():
        given = getattr(estimator, name)
        if _describe(given) != _describe(value):
            raise ValueError(
                f"{name}={given!r} is not the {value!r} of the fitted model, which "
                "warm_start and partial_fit go on with; use clone() to start anew."
            )


def _describe(value):
    """Return a parameter in a form whose equality is that of its meaning."""
    if isinstance(value, BaseEstimator):
        parameters = value.get_params(deep=False)
        parts = {k: _describe(v) for k, v in parameters.items()}
        return type(value).__name__, sorted(parts.items())
    if isinstance(value, dict):
        return {key: _describe(v) for key, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_describe(v) for v in value]
    if value is None or isinstance(value, (str, Integral, Real, type)):
        return value
    # torch modules and the like: copies of them are equal
    return type(value).__name__
