"""`net_params`: refuse keys that have a parameter of their own."""

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


def check_net_params(net_params):
    """Refuse keys that have a parameter of their own."""
    for key in net_params or {}:
        if not isinstance(key, str):
            raise TypeError(f"net_params has the key {key!r}; keys must be strings.")
        part = key.split("__")[0]
        own = _OWN_PARAMETERS.get(key)
        if part in ("module", "criterion"):
            own = own or _OWN_PARAMETERS[part]
        if key in _INTERNALS:
            raise ValueError(
                f"net_params has the key {key!r}, which VAETransformer sets itself."
            )
        if own is not None:
            raise ValueError(
                f"net_params has the key {key!r}, which is set by the parameter "
                f"{own!r}; use that instead."
            )
