"""The steps of one fit that need torch: `start` and `train`.

`start` chooses the splits and where training begins, and puts the rows in the units of
the module. `train` makes the net and runs skorch's loop. A warm start differs in where
it begins alone. Nothing here reads the estimator.
"""

import copy
from dataclasses import replace

import numpy as np
import torch

from .. import _start
from .._model._cost import count_work
from .._model._ensemble import make_model
from .._model._initialization import initialize_members
from .._model._module import VAEModule
from .._utils._device import scoring_dtype, threads_for
from .._utils._seed import draw_seed, seeded
from ._density import (
    LinearMap,
    get_map_net,
    get_map_unit,
    is_better,
    join_nets,
    make_density_plan,
    start_density,
    stop_at_map,
)
from ._ensemble import join_members, list_members
from ._net_arguments import list_own_callbacks, make_net, update_net
from ._objective_networks import start_objective
from ._ranks import share_weights
from ._sklearn_callbacks import EpochTasks
from ._splits import Splits, make_splits, split_off
from ._starting_point import StartingPoint, make_rows

# cells from which on the linear model is fitted to a sample of the rows
_MAX_INIT_CELLS = 2**26


def start(plan, data):
    """Choose splits and units, and fit the linear model; return a `StartingPoint`.

    That of a warm start has the units of the net, and no linear model.
    """
    x, weight = data.encode()
    splits = _choose_splits(plan, data, len(x) - data.n_valid, x.shape[1])
    origin = None
    if plan.net is None:
        with threads_for(x.shape[1] ** 3):
            starts = _make_starts(plan, x, weight, splits)
        if splits.n_members < plan.n_stacked:
            splits = splits.repeat(plan.n_ensemble)
            starts = [start for start in starts for _ in range(plan.n_ensemble)]
        origin = _start.stack_tensors(starts)
    else:
        unit = get_map_unit(plan.net, x.shape[1])
        starts = [_start.Start(np.zeros(x.shape[1]), unit, {})]
    # the workers of a loader cannot read from an accelerator
    device = torch.device("cpu") if plan.has_own_loader else plan.device
    rows = make_rows(x, weight, starts, splits, device)
    return StartingPoint(x, weight, splits, starts, rows, origin)


def train(plan, data, begin):
    """Return a trained net, whose module is the network that is kept.

    Its `units_`, a shift and a unit per column, come on top of the units of
    `data.columns`. The models of its folds go to `data.fold_models` if the plan keeps
    them. Of an ensemble it is the net of one member, see `join_members`.
    """
    with seeded(draw_seed(plan.generator), plan.device):
        members = []
        for part in _list_plans(plan):
            net, place = _train_stages(part, data, begin)
            members += list_members(net, place)
            if net.interrupted_:
                break
        if plan.keeps_fold_models:
            data.fold_models = [
                (_make_fold_model(plan, data, members, fold), rows)
                for fold, rows in enumerate(begin.splits.valid[:: plan.n_stacked])
            ]
        return join_members(members)


def _list_plans(plan):
    """Return the plan, or one for every member that is trained in turn."""
    n_plans = plan.n_ensemble // plan.n_stacked
    # modules of a user's own may exist once
    networks = [copy.deepcopy(plan.network) for _ in range(n_plans - 1)]
    # scikit-learn is told of one training
    callbacks = [c for c in plan.callbacks if not isinstance(c, EpochTasks)]
    more = [
        replace(
            plan,
            network=network,
            objective=copy.deepcopy(plan.objective),
            callbacks=callbacks,
        )
        for network in networks
    ]
    return [plan, *more]


def _train_stages(plan, data, begin):
    """Train the map and, where the plan has one, the density after it."""
    if plan.density is None:
        return _run(_prepare_net(plan, data, begin), data, begin), begin
    whole = plan.net
    plan.net, module = get_map_net(whole)
    n_epochs = [0 if n is None else len(n.history) for n in (plan.net, whole)]
    map_plan = plan
    if whole is not None and plan.net is None:
        # that of the map is made anew
        map_plan = replace(
            plan, callbacks=[*list_own_callbacks(whole), *plan.callbacks]
        )
    map_net = _prepare_net(map_plan, data, begin, module)
    linear = None
    if whole is None and begin.rows.valid and plan.is_corrected:
        linear = LinearMap(map_net, begin.rows)
    _run(map_net, data, begin)
    if map_net.interrupted_ or map_net.diverged_:
        return stop_at_map(whole, map_net), begin
    plan = make_density_plan(plan, whole)
    net, start = _train_density(plan, data, begin, map_net)
    is_curved = dict(map_net.callbacks_)["best_weights"].best_epoch_ != 0
    if linear is not None and is_curved and linear.is_better_than(net):
        trained = linear.restore(map_net)
        # scikit-learn has been told of both stages
        kept = [c for c in plan.callbacks if not isinstance(c, EpochTasks)]
        plan = replace(plan, callbacks=kept)
        other, other_start = _train_density(plan, data, begin, map_net)
        net.interrupted_ = other.interrupted_
        if is_better(other, net):
            net, start = other, other_start
        else:
            start.origin.map.load_state_dict(trained)
    return join_nets(map_net, net, *n_epochs), start


def _train_density(plan, data, begin, map_net):
    """Return the net of the density after a map, and where it began."""
    begin = start_density(plan, begin, map_net)
    return _run(_prepare_net(plan, data, begin), data, begin), begin


def _prepare_net(plan, data, begin, module=None):
    """Return the net of the plan with its settings, or a new one.

    A new one is around a new module, if none is given.
    """
    if plan.net is None:
        net = _make_net(plan, data, begin, module)
    else:
        n_samples = len(begin.splits.table)
        net = update_net(plan.net, plan, begin.rows, n_samples, data.is_chunk)
    net.units_ = begin.starts[-1].shift, begin.starts[-1].unit
    share_weights(net.module_)
    return net


def _run(net, data, begin):
    """Return a net after a call of skorch's loop."""
    rows = begin.rows
    with threads_for(count_work(net.module_, net.batch_size)):
        net.partial_fit(rows, epochs=1 if data.is_chunk else None)
    share_weights(net.module_)
    return net


def _make_module(plan, begin):
    module, n_members = _build_module(plan, begin), begin.splits.n_members
    for number in range(1, n_members):
        # copies start at the same weights, members at their own
        other = _build_module(plan, begin)
        with torch.no_grad():
            for mine, its in zip(module.parameters(), other.parameters(), strict=True):
                mine[number::n_members] = its[number::n_members]
    return module


def _build_module(plan, begin):
    module = VAEModule(
        plan.network,
        plan.latent,
        plan.likelihood,
        begin.origin,
        begin.splits.n_copies,
        is_corrected=plan.is_corrected,
        sees_missing=begin.rows.has_missing and not plan.network.needs_images,
    )
    return module.float() if scoring_dtype(plan.device) == torch.float32 else module


def _make_net(plan, data, begin, module=None):
    """Return an initialized net around a module, or a new one."""
    rows, starts, columns = begin.rows, begin.starts, data.columns
    is_new = module is None
    if is_new:
        module = _make_module(plan, begin)
    log_volume = columns.expected_log_volume - columns.constant_log_density
    share = columns.observed_share[columns.varies]
    volumes = [(share * np.log(s.unit)).sum() + log_volume for s in starts]
    settings = data.is_chunk, begin.splits.n_members
    net = make_net(plan, module, rows, volumes, *settings).initialize()
    start_objective(plan, begin, net)
    initializes = plan.likelihood.initialize is not None
    if is_new and (initializes or plan.latent.initializes_prior):

        def initialize(module):
            samples = begin.sample_rows(plan.generator)
            reach = begin.find_reach() if initializes else None
            initialize_members(module, samples, plan.generator, reach)

        net.init_members = initialize
    return net


def _make_fold_model(plan, data, members, fold):
    parts = []
    for module, unit in (member.select(fold) for member in members):
        parts.append((module, data.columns.rescaled(*unit)))
    return make_model(parts, plan.noise)


def _choose_splits(plan, data, n_samples, n_features):
    settings = plan.settings
    if data.n_valid:
        return split_off(n_samples, data.n_valid)
    covers = plan.holds_out_all
    holds_out = (settings["early_stopping"] or covers) and not data.is_chunk
    fraction = settings["validation_fraction"] if holds_out else None
    # held-out rows are those of all members where they are scored by ensembles
    n_members = 1 if plan.keeps_fold_models or fraction is None else plan.n_stacked
    rest = plan.generator, plan.can_stack, covers, n_features, n_members
    return make_splits(n_samples, fraction, *rest)


def _sample(x, weight, splits, generator):
    """Return the rows the linear model is fitted to: all, or as many as memory has."""
    n_kept = _MAX_INIT_CELLS // x.shape[1]
    if len(splits.train) > 1 or len(x) <= n_kept:
        return x if x.is_sparse else x[:], weight, splits
    # in the order of the table, with the same share of held-out rows
    chosen = np.sort(generator.choice(len(x), n_kept, replace=False))

    def renumber(rows):
        return np.flatnonzero(np.isin(chosen, rows, assume_unique=True))

    part = Splits(
        [renumber(rows) for rows in splits.train],
        [renumber(rows) for rows in splits.valid],
        renumber(splits.table),
    )
    x = x.select(chosen) if x.is_sparse else x[chosen]
    return x, None if weight is None else weight[chosen], part


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
