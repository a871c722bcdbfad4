"""One fit, from rows and members to a trained net.

It assembles what the rooms below offer. `Plan` holds what the estimator has resolved;
nothing here reads the estimator.
"""

import math
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch

from .. import _start
from .._model._cost import count_draws, count_widest, count_work
from .._model._evidence import make_noise
from .._model._initialization import initialize_members
from .._model._module import VAEModule
from .._utils._device import as_tensor, fits_on, scoring_dtype, threads_for
from .._utils._seed import draw_seed, seeded
from ..callbacks import Annealing, KLWarmup
from ..likelihoods import PerColumn
from ._batches import LazyTable, Rows
from ._net import Loss, TrainBatches, VAENet
from ._net_arguments import (
    count_valid_draws,
    resolve_batch_size,
    resolve_optimizer,
    resolve_weight_decay,
)
from ._splits import Splits, make_splits, split_off

# rows from which likelihood and prior take their start
_MAX_START_ROWS = 4000
# rows cast at a time
_CHUNK_ROWS = 1024
# bytes that a table takes in single precision from which on rows stay where they are
_MAX_TABLE_BYTES = 2**29
# cells from which on the start is made from a sample of the rows
_MAX_START_CELLS = 2**26
# rows judged at a time, and values of the widest tensor that comes of them
_MAX_VALID_ROWS = 2048
_VALID_VALUES = 20_000_000


@dataclass
class Plan:
    """All that one fit needs to know, resolved and checked.

    Attributes
    ----------
    network, likelihood, latent, objective : members
    init : {'linear', 'random'}
    n_components : int
    device : torch.device
    settings : dict
        The remaining constructor arguments, by name.
    callbacks : list
        skorch callbacks of the estimator and of the user.
    keeps_judges : bool
        Whether the copies that have not seen some rows, and which, are asked for.
    """

    network: object
    likelihood: object
    latent: object
    objective: object
    init: str
    n_components: int
    device: torch.device
    settings: dict
    callbacks: list = field(default_factory=list)
    keeps_judges: bool = False

    @property
    def is_corrected(self):
        """Whether training starts at a linear model or a mixture, and corrects it."""
        # no mixture is known for columns of several kinds
        is_mixed = isinstance(self.likelihood, PerColumn)
        has_mixture = self.n_clusters > 0 and not is_mixed
        return self.init == "linear" and (self.latent.is_anchored or has_mixture)

    @property
    def n_clusters(self):
        """Clusters of the mixture that training starts at, 0 for a linear model."""
        if self.latent.is_anchored:
            return 0
        return self.latent.count_clusters(self.n_components)


def _make_splits(plan, n_samples, n_valid, generator):
    settings = plan.settings
    if n_valid:
        return split_off(n_samples, n_valid)
    covers = plan.keeps_judges
    judged = settings["early_stopping"] or covers
    fraction = settings["validation_fraction"] if judged else None
    loads_itself = any(k.startswith("iterator_train") for k in settings["net_params"])
    can_stack = (
        plan.network.is_stackable
        and not loads_itself
        and not settings["warm_start"]
        and not plan.network.is_linear
        and plan.latent.is_stackable
    )
    return make_splits(n_samples, fraction, generator, can_stack, covers)


def _sample(x, weight, splits, generator):
    """Return what starts are made from: all rows, or so many that memory is bounded."""
    n_kept = _MAX_START_CELLS // x.shape[1]
    if len(splits.train) > 1 or len(x) <= n_kept:
        return x[:], weight, splits
    # in the order of the table, and as many of those held out as there are in it
    chosen = np.sort(generator.choice(len(x), n_kept, replace=False))

    def renumber(rows):
        return np.flatnonzero(np.isin(chosen, rows, assume_unique=True))

    part = Splits(
        [renumber(rows) for rows in splits.train],
        [renumber(rows) for rows in splits.valid],
        renumber(splits.table),
    )
    return x[chosen], None if weight is None else weight[chosen], part


def _make_starts(plan, x, weight, splits, generator):
    column_scale = x.columns.scale
    x, weight, splits = _sample(x, weight, splits, generator)
    if plan.is_corrected and plan.n_clusters:
        seed = draw_seed(generator)
        return _start.initialize_mixture(
            x, weight, splits, plan.n_clusters, plan.likelihood, seed
        )
    if plan.is_corrected:
        n_linear = plan.latent.count_linear(plan.n_components)
        return _start.initialize_linear(
            x,
            weight,
            splits,
            plan.n_components,
            plan.likelihood,
            column_scale,
            n_linear,
        )
    return _start.initialize_random(
        x, weight, splits, plan.n_components, plan.likelihood
    )


def _to_tensor(x, start, device):
    """Return rows in the units of a start, float32; those that are so are not copied.

    On the way nothing larger than a chunk of them is in double precision.
    """
    if x.dtype == np.float32 and not start.shift.any() and (start.unit == 1).all():
        return as_tensor(x[:]).to(device)
    scaled = np.empty(x.shape, dtype=np.float32)
    for begin in range(0, len(x), _CHUNK_ROWS):
        rows = slice(begin, begin + _CHUNK_ROWS)
        scaled[rows] = (x[rows] - start.shift) / start.unit
    return torch.from_numpy(scaled).to(device)


def _make_table(x, starts, device):
    """Return the rows in the units of every copy, or what reads them."""
    n_bytes = 4 * x.size * len(starts)
    is_small = n_bytes <= _MAX_TABLE_BYTES or len(starts) > 1
    if is_small or (device.type != "cpu" and fits_on(n_bytes, device)):
        tensors = [_to_tensor(x, start, device) for start in starts]
        return tensors[0] if len(tensors) == 1 else torch.stack(tensors)
    (start,) = starts

    def read(rows):
        return (x[rows] - start.shift) / start.unit

    return LazyTable(read, x.shape, not x.has_missing())


def _make_rows(x, weight, starts, splits, device):
    """Return the table in the units of every copy, on the device if it fits."""
    if not fits_on(4 * x.size * len(starts), device):
        device = torch.device("cpu")
    weight = np.ones(len(x)) if weight is None else weight
    as_rows = [
        [torch.as_tensor(rows, device=device) for rows in part]
        for part in (splits.train, splits.valid)
    ]
    return Rows(
        _make_table(x, starts, device),
        torch.as_tensor(weight / weight.mean(), dtype=torch.float32, device=device),
        *as_rows,
    )


def _start_members(module, rows, generator):
    """Let likelihood and prior start from a sample of every copy's rows."""
    samples = []
    for copy, train in enumerate(rows.train):
        weight = rows.weight[train].cpu().double().numpy()
        n_drawn = min(len(train), _MAX_START_ROWS)
        if (weight == weight[0]).all():
            chosen = generator.permutation(len(train))[:n_drawn]
        else:
            share = weight / weight.sum()
            chosen = generator.choice(len(train), n_drawn, p=share)
        index = train[torch.as_tensor(chosen, device=train.device)]
        samples.append(rows.table.take(index, copy))
    initialize_members(module, samples, generator)


def _make_net(plan, module, rows, volumes, generator, epochs=None):
    """Turn parameters into a net: the single place where that happens."""
    settings = plan.settings
    n_train = len(rows)
    plan.objective.prepare(n_train)
    batch_size, min_steps = resolve_batch_size(settings["batch_size"], n_train)
    if epochs is not None:
        min_steps = 1
    n_valid = sum(len(r) for r in rows.valid)
    noise = make_noise(count_valid_draws(max(n_valid, 1)), plan.n_components, generator)
    # the last epoch, at least, has all of beta
    n_epochs = settings["max_epochs"]
    warmup = min(math.ceil(settings["kl_warmup"] * n_epochs), max(n_epochs - 1, 0))
    callbacks = list(plan.callbacks)
    if warmup:
        callbacks.append(("kl_warmup", KLWarmup(settings["beta"], warmup)))
    if plan.latent.is_annealed:
        callbacks.append(("annealing", Annealing(n_epochs)))
    arguments = {
        "criterion": Loss,
        "criterion__objective": plan.objective,
        "criterion__beta": settings["beta"],
        "log_volume": float(volumes[0]) if len(volumes) == 1 else volumes,
        "noise": noise.to(torch.float32),
        "max_gradient_norm": 10 * math.sqrt(module.n_features),
        "max_epochs": settings["max_epochs"],
        "batch_size": batch_size,
        "callbacks": callbacks,
        "callbacks__best_weights__patience": (
            settings["n_iter_no_change"] if settings["early_stopping"] else None
        ),
        "callbacks__best_weights__restore": settings["early_stopping"],
        "callbacks__best_weights__tol": settings["tol"],
        "callbacks__best_weights__first_epoch": warmup,
        "callbacks__best_weights__keep_start": not warmup,
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
    }
    net_params = settings["net_params"]
    if not any(key.startswith("iterator_train") for key in net_params):
        arguments["iterator_train"] = TrainBatches
        arguments["iterator_train__min_steps"] = min_steps
    else:
        arguments["iterator_train"] = torch.utils.data.DataLoader
        if not any(key.endswith("sampler") for key in net_params):
            arguments["iterator_train__shuffle"] = True
    if any(key.startswith("optimizer__fo") for key in net_params):
        # foreach and fused exclude each other
        arguments.pop("optimizer__fused", None)
    values = count_draws(module, len(noise)) * count_widest(module)
    values *= module.n_copies or 1
    n_rows = min(_MAX_VALID_ROWS, max(1, _VALID_VALUES // values))
    arguments["iterator_valid__batch_size"] = n_rows
    return VAENet(module, **{**arguments, **net_params})


def train(plan, x, weight, n_valid, generator, epochs=None):
    """Fit a net to standardised rows.

    Parameters
    ----------
    plan : Plan
    x : EncodedRows (n_samples + n_valid, n_features)
        The last n_valid rows are the validation set.
    weight : ndarray (n_samples + n_valid,) or None
    n_valid : int
    generator : numpy Generator
    epochs : int, default=None
        Train for so many instead, without judging.

    Returns
    -------
    net : VAENet
        Trained, its module a single copy; the units of its `start_` come on top of the
        columns'.
    judges : list of (VAEModule, Start, ndarray)
        Copies, and the numbers of rows that each has only been judged by, if the plan
        keeps them.
    """
    if epochs is None:
        splits = _make_splits(plan, len(x) - n_valid, n_valid, generator)
    else:
        splits = make_splits(len(x), None, generator, can_stack=False)
    with threads_for(x.shape[1] ** 3):
        starts = _make_starts(plan, x, weight, splits, generator)
    loads_itself = any(
        k.startswith("iterator_train") for k in plan.settings["net_params"]
    )
    # the workers of a loader cannot read from an accelerator
    rows_device = torch.device("cpu") if loads_itself else plan.device
    rows = _make_rows(x, weight, starts, splits, rows_device)
    with seeded(draw_seed(generator), plan.device):
        module = VAEModule(
            plan.network,
            plan.latent,
            plan.likelihood,
            _start.stack_tensors(starts),
            splits.n_copies,
            is_corrected=plan.is_corrected,
            sees_missing=x.has_missing() and not plan.network.needs_images,
        )
        if scoring_dtype(plan.device) == torch.float32:
            module = module.float()
        columns = x.columns
        log_volume = columns.expected_log_volume - columns.constant_log_density
        share = columns.observed_share[columns.varies]
        volumes = [(share * np.log(s.unit)).sum() + log_volume for s in starts]
        net = _make_net(plan, module, rows, volumes, generator, epochs)
        net.initialize()
        net.start_ = replace(starts[-1], tensors={}, model=None)
        with threads_for(count_work(net.module_, net.batch_size)):
            if plan.likelihood.has_start or plan.latent.has_start:
                net.members_start = partial(
                    _start_members, rows=rows, generator=generator
                )
            net.partial_fit(rows, epochs=epochs)
        judges = []
        if plan.keeps_judges:
            judges = [
                (net.module_.select(copy), starts[copy], held_out)
                for copy, held_out in enumerate(splits.valid)
            ]
        net.keep_copy(-1)
    return net, judges


def resume(net, x, weight, n_valid, epochs, settings, callbacks, generator):
    """Train a net further on rows in the units of its module.

    Returns
    -------
    net : VAENet
        The net given, changed in place.
    """
    n_samples = len(x) - n_valid
    if n_valid:
        splits = split_off(n_samples, n_valid)
    else:
        judged = settings["early_stopping"] and epochs is None
        fraction = settings["validation_fraction"] if judged else None
        splits = make_splits(n_samples, fraction, generator, can_stack=False)
    device = torch.device(net.device)
    if net.iterator_train is not TrainBatches:
        device = torch.device("cpu")
    n = x.shape[1]
    rows = _make_rows(
        x, weight, [_start.Start(np.zeros(n), np.ones(n), {})], splits, device
    )
    net.criterion_.objective.prepare(len(rows))
    net.set_params(max_epochs=settings["max_epochs"], lr=settings["lr"])
    if net.iterator_train is TrainBatches:
        batch_size, min_steps = resolve_batch_size(settings["batch_size"], n_samples)
        net.set_params(batch_size=batch_size)
        net.iterator_train__min_steps = 1 if epochs is not None else min_steps
    if settings["weight_decay"] == "auto":
        weight_decay = resolve_weight_decay(net.optimizer, n_samples)
        # the last group has the weight matrices
        net.optimizer_.param_groups[-1]["weight_decay"] = weight_decay
    best = dict(net.callbacks_)["best_weights"]
    best.patience = settings["n_iter_no_change"] if settings["early_stopping"] else None
    best.tol, best.restore = settings["tol"], settings["early_stopping"]
    net.callbacks_ += [(type(c).__name__.lower(), c.initialize()) for c in callbacks]
    with (
        seeded(draw_seed(generator), net.device),
        threads_for(count_work(net.module_, net.batch_size)),
    ):
        net.partial_fit(rows, epochs=epochs)
    return net
