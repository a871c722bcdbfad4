"""Constructor arguments → the optimizer, batches and draws of the net."""

import math

import torch

_OPTIMIZERS = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "rmsprop": torch.optim.RMSprop,
    "sgd": torch.optim.SGD,
}


def resolve_optimizer(optimizer, lr, weight_decay, n_samples, device):
    """Return the optimizer's class and arguments as skorch takes them."""
    if isinstance(optimizer, str):
        if optimizer not in _OPTIMIZERS:
            names = ", ".join(repr(name) for name in _OPTIMIZERS)
            raise ValueError(
                f"optimizer={optimizer!r} is not known; use {names}, or a class "
                "from torch.optim."
            )
        optimizer = _OPTIMIZERS[optimizer]
    arguments = {"optimizer": optimizer, "lr": lr}
    if weight_decay == "auto":
        weight_decay = resolve_weight_decay(optimizer, n_samples)
    if weight_decay:
        arguments["optimizer__weight_decay"] = weight_decay
        # whatever is not called "...weight": biases, free values, the prior
        groups = [("*[!t]", {"weight_decay": 0.0})]
        arguments["optimizer__param_groups"] = groups
    fused = (torch.optim.AdamW, torch.optim.Adam)
    if optimizer in fused and torch.device(device).type in ("cpu", "cuda"):
        arguments["optimizer__fused"] = True
    return arguments


def resolve_weight_decay(optimizer, n_samples):
    """Return what 'auto' is: strong for a few hundred rows, fading as they get many."""
    return min(1.0, 300 / n_samples) if optimizer is torch.optim.AdamW else 0.0


def resolve_batch_size(batch_size, n_samples):
    """Return ``(batch_size, min_steps)``.

    'auto' grows with the table, and lets an epoch of a small one pass over the rows as
    often as it takes to make 32 steps.
    """
    if batch_size != "auto":
        return min(batch_size, n_samples), 1
    size = 64 if n_samples < 1000 else 128
    if n_samples > 20_000:
        size = 512 if n_samples <= 200_000 else 1024
    return min(size, n_samples), 32


def count_valid_draws(n_rows):
    """Return how many draws judge a row: fewer where many rows average the noise."""
    return 2 * max(1, min(8, math.ceil(2048 / n_rows)))
