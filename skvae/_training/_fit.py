"""The steps of one fit that need torch: `start` and `train`.

`start` chooses the splits and where training begins, and puts the rows in the units of
the module. `train` makes the net and runs skorch's loop. A warm start differs in where
it begins alone. Nothing here reads the estimator.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from .. import _start
from .._model._cost import count_work
from .._model._fitted import FittedModel
from .._model._initialization import initialize_members
from .._model._module import VAEModule
from .._utils._device import as_tensor, fits_on, scoring_dtype, threads_for
from .._utils._seed import draw_seed, seeded
from ._batches import LazyTable, Rows
from ._net_arguments import make_net, update_net
from ._splits import Splits, make_splits, split_off

# rows from which likelihood and prior are initialized
_MAX_INIT_ROWS = 4000
# rows cast at a time
_CHUNK_ROWS = 1024
# bytes of a table in single precision from which on rows stay where they are
_MAX_TABLE_BYTES = 2**29
# cells from which on the linear model is fitted to a sample of the rows
_MAX_INIT_CELLS = 2**26


@dataclass
class StartingPoint:
    """Where training begins.

    Attributes
    ----------
    rows : Rows
        In the units of the module.
    splits : Splits
    starts : list of Start
        Units and linear model of every network.
    """

    rows: Rows
    splits: Splits
    starts: list


def start(plan, data):
    """Choose splits and units, and fit the linear model; return a `StartingPoint`.

    That of a warm start has the units of the net, and no linear model.
    """
    x, weight = data.encode()
    splits = _choose_splits(plan, data, len(x) - data.n_valid)
    if plan.net is None:
        with threads_for(x.shape[1] ** 3):
            starts = _make_starts(plan, x, weight, splits)
    else:
        starts = [_start.Start(np.zeros(x.shape[1]), np.ones(x.shape[1]), {})]
    # the workers of a loader cannot read from an accelerator
    device = torch.device("cpu") if plan.has_own_loader else plan.device
    return StartingPoint(_make_rows(x, weight, starts, splits, device), splits, starts)


def train(plan, data, begin):
    """Return a trained net, whose module is the network that is kept.

    Its `units_`, a shift and a unit per column, come on top of the units of
    `data.columns`. The models of its folds go to `data.fold_models` if the plan keeps
    them.
    """
    rows, starts = begin.rows, begin.starts
    with seeded(draw_seed(plan.generator), plan.device):
        if plan.net is None:
            net = _make_net(plan, data, begin)
        else:
            n_samples = len(begin.splits.table)
            net = update_net(plan.net, plan, rows, n_samples, data.is_chunk)
        net.units_ = starts[-1].shift, starts[-1].unit
        with threads_for(count_work(net.module_, net.batch_size)):
            net.partial_fit(rows, epochs=1 if data.is_chunk else None)
        if plan.keeps_fold_models:
            data.fold_models = [
                (_make_fold_model(plan, data, net, fold, starts[fold]), valid_rows)
                for fold, valid_rows in enumerate(begin.splits.valid)
            ]
        net.keep_fold(-1)
    return net


def _make_net(plan, data, begin):
    """Return an initialized net around a new module."""
    rows, starts, columns = begin.rows, begin.starts, data.columns
    module = VAEModule(
        plan.network,
        plan.latent,
        plan.likelihood,
        _start.stack_tensors(starts),
        begin.splits.n_copies,
        is_corrected=plan.is_corrected,
        sees_missing=rows.has_missing and not plan.network.needs_images,
    )
    if scoring_dtype(plan.device) == torch.float32:
        module = module.float()
    log_volume = columns.expected_log_volume - columns.constant_log_density
    share = columns.observed_share[columns.varies]
    volumes = [(share * np.log(s.unit)).sum() + log_volume for s in starts]
    net = make_net(plan, module, rows, volumes, data.is_chunk).initialize()
    if plan.likelihood.initialize is not None or plan.latent.initializes_prior:
        net.init_members = partial(
            _initialize_members, rows=rows, generator=plan.generator
        )
    return net


def _make_fold_model(plan, data, net, fold, start):
    columns = data.columns.rescaled(start.shift, start.unit)
    return FittedModel(net.module_.select(fold), columns, plan.noise)


def _choose_splits(plan, data, n_samples):
    settings = plan.settings
    if data.n_valid:
        return split_off(n_samples, data.n_valid)
    covers = plan.keeps_fold_models
    holds_out = (settings["early_stopping"] or covers) and not data.is_chunk
    fraction = settings["validation_fraction"] if holds_out else None
    can_stack = (
        plan.network.is_stackable
        and not plan.has_own_loader
        and not settings["warm_start"]
        and not plan.network.is_linear
        and plan.latent.is_stackable
    )
    return make_splits(n_samples, fraction, plan.generator, can_stack, covers)


def _sample(x, weight, splits, generator):
    """Return the rows the linear model is fitted to: all, or as many as memory has."""
    n_kept = _MAX_INIT_CELLS // x.shape[1]
    if len(splits.train) > 1 or len(x) <= n_kept:
        return x[:], weight, splits
    # in the order of the table, with the same share of held-out rows
    chosen = np.sort(generator.choice(len(x), n_kept, replace=False))

    def renumber(rows):
        return np.flatnonzero(np.isin(chosen, rows, assume_unique=True))

    part = Splits(
        [renumber(rows) for rows in splits.train],
        [renumber(rows) for rows in splits.valid],
        renumber(splits.table),
    )
    return x[chosen], None if weight is None else weight[chosen], part


def _make_starts(plan, x, weight, splits):
    column_scale = x.columns.scale
    link, n_components = plan.likelihood.link, plan.n_components
    x, weight, splits = _sample(x, weight, splits, plan.generator)
    if not plan.is_corrected:
        return _start.initialize_random(x, weight, splits, n_components, link)
    if plan.n_clusters:
        seed = draw_seed(plan.generator)
        return _start.initialize_mixture(
            x, weight, splits, plan.n_clusters, plan.likelihood, seed
        )
    n_linear = plan.latent.count_linear_components(n_components)
    return _start.initialize_linear(
        x, weight, splits, n_components, link, column_scale, n_linear
    )


def _to_tensor(x, start, device):
    """Return rows in the units of a start, float32, without a copy if they are so.

    Nothing larger than a chunk of them is in double precision on the way.
    """
    if x.dtype == np.float32 and not start.shift.any() and (start.unit == 1).all():
        return as_tensor(x[:]).to(device)
    scaled = np.empty(x.shape, dtype=np.float32)
    for begin in range(0, len(x), _CHUNK_ROWS):
        rows = slice(begin, begin + _CHUNK_ROWS)
        scaled[rows] = (x[rows] - start.shift) / start.unit
    return torch.from_numpy(scaled).to(device)


def _make_table(x, starts, device):
    """Return the rows in the units of every network, or a `LazyTable` of them."""
    n_bytes = 4 * x.size * len(starts)
    is_small = n_bytes <= _MAX_TABLE_BYTES or len(starts) > 1
    if is_small or (device.type != "cpu" and fits_on(n_bytes, device)):
        tensors = [_to_tensor(x, start, device) for start in starts]
        return tensors[0] if len(tensors) == 1 else torch.stack(tensors)
    (start,) = starts

    def read(rows):
        return (x[rows] - start.shift) / start.unit

    return LazyTable(read, x.shape, x.has_missing())


def _make_rows(x, weight, starts, splits, device):
    """Return rows, weights and splits, on the device if they fit."""
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


def _initialize_members(module, rows, generator):
    """Initialize likelihood and prior from a sample of the rows of every network."""
    samples = []
    for fold, train_rows in enumerate(rows.train):
        weight = rows.weight[train_rows].cpu().double().numpy()
        n_drawn = min(len(train_rows), _MAX_INIT_ROWS)
        if (weight == weight[0]).all():
            chosen = generator.permutation(len(train_rows))[:n_drawn]
        else:
            share = weight / weight.sum()
            chosen = generator.choice(len(train_rows), n_drawn, p=share)
        index = train_rows[torch.as_tensor(chosen, device=train_rows.device)]
        samples.append(rows.table.take(index, fold))
    initialize_members(module, samples, generator)
