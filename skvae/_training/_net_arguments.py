"""Plan → net: optimizer, batches, draws and callbacks of a fit and of a warm start."""

import math

import torch

from .._model._cost import count_draws, count_widest
from .._model._evidence import make_noise
from .._utils._checks import suggest
from ..callbacks import Annealing, KLWarmup
from ._adam import ADAM, DECOUPLED, Adam, AdamW
from ._batches import TrainBatches, ValidBatches
from ._map import BETA_SHARE, CORRUPTION, balance_columns, compute_error
from ._net import Loss, VAENet
from ._net_params import check_net_params

# held-out rows that are scored at a time, and values of the widest tensor of them
_MAX_VALID_ROWS = 2048
_VALID_VALUES = 5_000_000
# steps of an epoch, at least; with more columns than these they are fewer, down to a
# number, and half as many where the table is very wide
_STEPS, _FEW_STEPS, _NARROW, _VERY_WIDE = 32, 12, 128, 4096

_OPTIMIZERS = {
    "adamw": AdamW,
    "adam": Adam,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "rmsprop": torch.optim.RMSprop,
    "sgd": torch.optim.SGD,
}


def find_optimizer(optimizer):
    """Return the class or function that makes the optimizer; refuse unknown names."""
    names = ", ".join(repr(name) for name in _OPTIMIZERS)
    advice = f"use {names}, or a class from torch.optim."
    if optimizer is torch.optim.SparseAdam:
        raise ValueError(
            f"optimizer={optimizer!r} is for sparse gradients, but those of networks "
            f"are dense; {advice}"
        )
    if isinstance(optimizer, str):
        if optimizer not in _OPTIMIZERS:
            hint = suggest(optimizer, _OPTIMIZERS)
            raise ValueError(f"optimizer={optimizer!r} is not known{hint}; {advice}")
        return _OPTIMIZERS[optimizer]
    return optimizer


def check_arguments(settings, parameters):
    """Refuse an unknown optimizer, and unknown keys and values of `net_params`.

    `parameters` are the names of those of the estimator.
    """
    net_params = settings["net_params"]
    has_loader = any(str(key).startswith("iterator_train") for key in net_params)
    check_net_params(
        net_params,
        parameters,
        {
            "optimizer": find_optimizer(settings["optimizer"]),
            "iterator_train": torch.utils.data.DataLoader if has_loader else None,
            "iterator_valid": ValidBatches,
        },
    )


def resolve_optimizer(optimizer, lr, weight_decay, n_samples, device):
    """Return the optimizer's class and arguments as skorch takes them."""
    optimizer = find_optimizer(optimizer)
    arguments = {"optimizer": optimizer, "lr": lr}
    if weight_decay == "auto":
        weight_decay = resolve_weight_decay(optimizer, n_samples)
    if weight_decay:
        arguments["optimizer__weight_decay"] = weight_decay
        # every parameter not called "...weight": biases, free values, the prior
        groups = [("*[!t]", {"weight_decay": 0.0})]
        arguments["optimizer__param_groups"] = groups
    if optimizer in ADAM and torch.device(device).type in ("cpu", "cuda"):
        arguments["optimizer__fused"] = True
    return arguments


def resolve_weight_decay(optimizer, n_samples):
    """Return the decay of 'auto': strong for few hundred rows, weak for many."""
    return min(1.0, 300 / n_samples) if optimizer in DECOUPLED else 0.0


def resolve_batch_size(batch_size, n_samples, n_features=1):
    """Return ``(batch_size, min_steps)``.

    'auto' grows with the table. It makes at least 32 steps per epoch, by several passes
    over the rows of a small table; with more than 128 columns fewer, since each step
    sees so many more cells, but 12, or 6 with more than 4,096.
    """
    if batch_size != "auto":
        return min(batch_size, n_samples), 1
    least = _FEW_STEPS if n_features <= _VERY_WIDE else _FEW_STEPS // 2
    min_steps = max(least, min(_STEPS, _STEPS * _NARROW // max(n_features, 1)))
    size = 64 if n_samples < 1000 else 128
    if n_samples > 20_000:
        size = 512 if n_samples <= 200_000 else 1024
    return min(size, n_samples), min_steps


def _count_draws(n_valid, n_features):
    """Return the number of draws per held-out row.

    They are few where many rows, or many columns, average them.
    """
    most = max(2, min(8, 8 * _NARROW // max(n_features, 1)))
    return 2 * max(1, min(most, math.ceil(2048 / max(n_valid, 1))))


def _count_columns(plan, module):
    """Return the number of columns with weights of their own, 1 of images."""
    return 1 if plan.network.needs_images else module.n_features


def _get_early_stopping(settings, objective):
    stops = settings["early_stopping"] and objective.is_scored
    return {
        "patience": settings["n_iter_no_change"] if stops else None,
        "tol": settings["tol"],
        "restore": stops,
    }


def _get_beta(plan):
    return plan.settings["beta"] * (BETA_SHARE if plan.is_map else 1)


def _list_callbacks(plan, n_warmup):
    callbacks, settings = list(plan.callbacks), plan.settings
    if n_warmup:
        callbacks.append(("kl_warmup", KLWarmup(_get_beta(plan), n_warmup)))
    if plan.latent.is_annealed:
        callbacks.append(("annealing", Annealing(settings["max_epochs"])))
    return callbacks


def list_own_callbacks(net):
    """Return the callbacks of a net but those that `_list_callbacks` added."""
    added = {"kl_warmup": KLWarmup, "annealing": Annealing}

    def is_added(item):
        return isinstance(item, tuple) and type(item[1]) is added.get(item[0])

    return [item for item in net.callbacks or [] if not is_added(item)]


def make_net(plan, module, rows, log_volumes, is_chunk, n_members=1):
    """Return a VAENet: the single place where parameters become a net.

    `log_volumes` are the log-Jacobians of the units, one per network. `n_members` are
    trained side by side.
    """
    settings, net_params = plan.settings, plan.settings["net_params"]
    n_train, n_valid = len(rows), sum(len(part) for part in rows.valid)
    plan.objective.prepare(n_train)
    batch_size, min_steps = resolve_batch_size(
        settings["batch_size"], n_train, _count_columns(plan, module)
    )
    n_draws = _count_draws(n_valid, module.n_features)
    noise = make_noise(n_draws, plan.n_components, plan.generator)
    # the last epoch, at least, has all of beta
    n_epochs = settings["max_epochs"]
    n_warmup = min(math.ceil(settings["kl_warmup"] * n_epochs), max(n_epochs - 1, 0))
    n_values = count_draws(module, len(noise)) * count_widest(module)
    n_values *= module.n_copies or 1
    arguments = {
        "criterion": Loss,
        "criterion__objective": plan.objective,
        "criterion__beta": _get_beta(plan),
        "log_volume": float(log_volumes[0]) if len(log_volumes) == 1 else log_volumes,
        "noise": noise.to(torch.float32),
        # of all networks together
        "max_gradient_norm": 10 * math.sqrt(module.n_features * n_members),
        "max_epochs": n_epochs,
        "batch_size": batch_size,
        "callbacks": _list_callbacks(plan, n_warmup),
        **{
            f"callbacks__best_weights__{name}": value
            for name, value in _get_early_stopping(settings, plan.objective).items()
        },
        "callbacks__best_weights__first_epoch": n_warmup,
        "callbacks__best_weights__keep_start": not n_warmup
        and plan.objective.is_scored,
        "train_split": None,
        "verbose": 0,
        "device": str(plan.device),
        **resolve_optimizer(
            settings["optimizer"],
            settings["lr"],
            settings["weight_decay"],
            n_train,
            plan.device,
        ),
        "iterator_valid__batch_size": min(
            _MAX_VALID_ROWS, max(1, _VALID_VALUES // n_values)
        ),
    }
    if plan.is_map:
        module.corruption, arguments["held_out_loss"] = CORRUPTION, compute_error
        # its ELBO chooses nothing
        arguments["noise"] = arguments["noise"][:2]
        balance_columns(module)
    if not plan.has_own_loader:
        arguments["iterator_train"] = TrainBatches
        arguments["iterator_train__min_steps"] = 1 if is_chunk else min_steps
    else:
        arguments["iterator_train"] = torch.utils.data.DataLoader
        if not any(key.endswith("sampler") for key in net_params):
            arguments["iterator_train__shuffle"] = True
    if any(key.startswith("optimizer__fo") for key in net_params):
        # foreach and fused exclude each other
        arguments.pop("optimizer__fused", None)
    return VAENet(module, **{**arguments, **net_params})


def update_net(net, plan, rows, n_samples, is_chunk):
    """Give a trained net the settings and callbacks of a further fit; return it."""
    settings = plan.settings
    net.criterion_.objective.prepare(len(rows))
    net.set_params(max_epochs=settings["max_epochs"], lr=settings["lr"])
    if net.iterator_train is TrainBatches:
        batch_size, min_steps = resolve_batch_size(
            settings["batch_size"], n_samples, _count_columns(plan, net.module_)
        )
        net.set_params(batch_size=batch_size)
        net.iterator_train__min_steps = 1 if is_chunk else min_steps
    if settings["weight_decay"] == "auto":
        weight_decay = resolve_weight_decay(net.optimizer, n_samples)
        # the last group has the weight matrices
        net.optimizer_.param_groups[-1]["weight_decay"] = weight_decay
    vars(dict(net.callbacks_)["best_weights"]).update(
        _get_early_stopping(settings, net.criterion_.objective)
    )
    callbacks = [(type(c).__name__.lower(), c.initialize()) for c in plan.callbacks]
    net.callbacks_ += callbacks
    return net
