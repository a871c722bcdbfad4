"""`net_params`: keys and values that the net takes, and those that are refused."""

from inspect import signature
from itertools import chain

import torch

from .._utils._checks import is_integer, is_number, suggest
from ._net import VAENet

# keys of the net that the transformer sets, and the parameter to use instead
_OWN_PARAMETERS = {
    "module": "network",
    "criterion": "objective",
    "criterion__beta": "beta",
    "optimizer": "optimizer",
    "optimizer__lr": "lr",
    "optimizer__weight_decay": "weight_decay",
    "lr": "lr",
    "max_epochs": "max_epochs",
    "batch_size": "batch_size",
    "iterator_train__batch_size": "batch_size",
    "train_split": "validation_fraction",
    "callbacks": "net_callbacks",
    "warm_start": "warm_start",
    "verbose": "verbose",
    "device": "device",
    "callbacks__best_weights__patience": "n_iter_no_change",
    "callbacks__best_weights__tol": "tol",
    "callbacks__best_weights__restore": "early_stopping",
    "callbacks__best_weights__first_epoch": "kl_warmup",
}

_INTERNALS = (
    "log_volume",
    "noise",
    "init_members",
    "dataset",
    "history_",
    "initialized_",
)


# the values of the net's own parameters
_ACCEPTED = {
    "averaging": (
        lambda v: v is None or (is_number(v) and 0 <= v < 1),
        "a number in [0, 1)",
    ),
    "lr_warmup": (lambda v: is_integer(v) and v >= 0, "an integer of at least 0"),
    "max_gradient_norm": (
        lambda v: v is None or (is_number(v) and v > 0),
        "None or a positive number",
    ),
    "matmul_precision": (
        lambda v: v in ("highest", "high", "medium"),
        "'highest', 'high' or 'medium'",
    ),
    "autocast": (
        lambda v: v is None or isinstance(v, torch.dtype),
        "None or a torch.dtype",
    ),
    "iterator_train": (callable, "a class such as torch.utils.data.DataLoader"),
    "iterator_valid": (callable, "a class such as torch.utils.data.DataLoader"),
}


def check_net_params(net_params, parameters, targets):
    """Refuse unknown keys, values out of range, and keys with a parameter of their own.

    Parameters
    ----------
    net_params : dict
    parameters : collection of str
        Names of the parameters of the estimator.
    targets : dict
        The class, or another callable, that takes what is nested in a key, by the first
        part of the key.
    """
    nested = [_list_arguments(kind, True) for kind in VAENet.__mro__]
    known = list(dict.fromkeys(chain.from_iterable(nested)))
    free = [name for name in known if name not in (*_OWN_PARAMETERS, *_INTERNALS)]
    for key, value in net_params.items():
        if not isinstance(key, str):
            raise TypeError(f"net_params has the key {key!r}; keys must be strings.")
        part, _, inner = key.partition("__")
        own = _OWN_PARAMETERS.get(key)
        if part in ("module", "criterion"):
            own = own or _OWN_PARAMETERS[part]
        if key in parameters and key not in known:
            own = key
        if key in _INTERNALS:
            raise ValueError(
                f"net_params has the key {key!r}, which VAETransformer sets itself."
            )
        if own is not None:
            raise ValueError(
                f"net_params has the key {key!r}, which is set by the parameter "
                f"{own!r}; use that instead."
            )
        if part not in known or (inner and part not in [*VAENet.prefixes_, *targets]):
            raise ValueError(
                f"net_params has the key {key!r}, which skorch.NeuralNet does not have"
                f"{suggest(part, [*free, 'optimizer', 'callbacks'])}."
            )
        target = net_params.get(part, targets.get(part))
        inner = inner.partition("__")[0]
        names = _list_arguments(target) if inner and callable(target) else []
        # skorch makes groups of parameters for optimizers
        if names and inner not in (*names, "param_groups"):
            name = getattr(target, "__name__", repr(target))
            raise ValueError(
                f"net_params has the key {key!r}, but {name} has no "
                f"parameter {inner!r}{suggest(inner, names)}."
            )
        is_accepted, accepted = _ACCEPTED.get(key, (None, None))
        if is_accepted is not None and not is_accepted(value):
            raise ValueError(
                f"net_params has {key!r}: {value!r}, but {accepted} is accepted."
            )


def _list_arguments(function, may_be_open=False):
    """Return the names that a callable takes.

    There are none where it takes any name, unless such callables are asked for.
    """
    try:
        found = signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    is_open = any(p.kind is p.VAR_KEYWORD for p in found)
    names = [p.name for p in found if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    return names if may_be_open or not is_open else []
