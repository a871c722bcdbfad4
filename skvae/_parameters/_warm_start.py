"""Warm starts: parameters that must not change while a net is trained further."""

from numbers import Integral

from sklearn.base import clone

from .._utils._comparison import describe_meaning

# parameters that the net is made of
_FIXED = (
    "n_components",
    "density",
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
    """Return copies of the fixed parameters, a dict by name."""
    return {name: clone(getattr(estimator, name), safe=False) for name in _FIXED}


def check_fixed(estimator, fitted):
    """Refuse parameters that differ from those that `copy_fixed` copied at the fit."""
    for name, value in fitted.items():
        given = getattr(estimator, name)
        if _describe(name, given) != _describe(name, value):
            raise ValueError(
                f"{name}={given!r} is not the {value!r} of the fitted model, which "
                "warm_start and partial_fit train further; use clone() to start anew."
            )


def check_ensemble(estimator, is_chunk):
    """Refuse an ensemble that would be trained further: its members are not kept so."""
    n_members = estimator.n_ensemble
    if n_members == 1 or not (is_chunk or estimator.warm_start):
        return
    other = "partial_fit" if is_chunk else "warm_start=True"
    raise ValueError(
        f"n_ensemble={n_members!r} is not for {other}, which trains one model further; "
        "use n_ensemble=1, or fit the ensemble to all rows at once."
    )


def _describe(name, value):
    """Return the meaning of a parameter, however it is written."""
    from ._members import MEMBERS

    registry, _ = MEMBERS.get(name, ({}, None))
    if isinstance(value, str) and value in registry:
        value = registry[value]()
    if name == "hidden_layer_sizes" and isinstance(value, Integral):
        value = [value]
    return describe_meaning(value)
