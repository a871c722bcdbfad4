"""The recipe of `density="after"`: p(x|z) is learned once z is.

A map is trained first, see `_map`. A second net then starts at it: the posterior means
stay, and p(x|z), the prior and the spread of q(z|x) are trained on the ELBO. Where
held-out rows do not gain, they stay at their start: the map with a noise for every
column, and the prior fitted to its posteriors.
"""

from dataclasses import replace

import numpy as np
import torch

from .. import _start
from .._closed_form._linear import NOISE_FLOOR
from .._closed_form._moments import find_variance_doubt
from .._model._map_start import MapStart, freeze, thaw
from .._start._base import get_log_range
from ..networks import MLP
from ..objectives import ELBO
from ._starting_point import StartingPoint, make_rows


def get_map_net(net):
    """Return the net of the map of a trained net or None, and the map's module or None.

    Only of a fit that was to be continued the net is there.
    """
    if net is None or not net.module_.is_refined:
        return net, None
    # copies and pickles of the two nets have modules of their own
    known = net.map_net_
    module = net.module_.linear_start.map if known is None else known.module_
    return known, thaw(module)


def _replace_map(net, module):
    """Let a net start at a map that has been trained further."""
    start = net.module_.linear_start
    start.map = freeze(module)
    if net.module_.latent.posterior_takes_prior:
        net.module_.prior = start.map.prior


def get_map_unit(net, n_features):
    """Return the units of the map of a trained net, in those of the net."""
    start = net.module_.linear_start
    if not net.module_.is_refined:
        return np.ones(n_features)
    return 1 / start.ratio.cpu().double().numpy().ravel()


def make_density_plan(plan, net):
    """Return the plan of the second net, or of training ``net`` further."""
    network = plan.network
    return replace(
        plan,
        likelihood=plan.density,
        density=None,
        # what the map's network is made of may exist once
        network=network if type(network) is MLP else MLP(),
        objective=ELBO(),
        settings=plan.settings | {"beta": 1.0, "kl_warmup": 0.0},
        is_map=False,
        net=net if net is not None and net.module_.is_refined else None,
    )


def start_density(plan, begin, map_net):
    """Return where the second net begins: at the map, with a noise for every column."""
    module = map_net.module_
    if plan.net is None:
        left, variance, doubt = _measure(plan, begin, module)
        widening = 1.0
        if begin.rows.valid:
            held_out, *_ = _measure(plan, begin, module, held_out=True)
            left = _pool(begin, left, held_out)
            widening = _compare(left, held_out)
            variance = np.fmax(variance, left)
        left = left * widening
        left += doubt * np.fmax(variance - left, 0.0)
        ratios, log_ranges = _find_units(plan, module, left, variance)
        starts = [
            _start.Start(s.shift, s.unit * ratio, {})
            for s, ratio in zip(begin.starts, ratios, strict=True)
        ]
        stack = (lambda v: v[:, None]) if begin.splits.n_copies else (lambda v: v)
        origin = MapStart(
            module,
            plan.likelihood,
            torch.as_tensor(stack(ratios)),
            torch.as_tensor(stack(log_ranges), dtype=torch.float32),
            widening=float(np.sqrt(widening)),
        )
    else:
        _replace_map(plan.net, module)
        origin = plan.net.module_.linear_start
        n_features = begin.x.shape[1]
        starts = [_start.Start(np.zeros(n_features), np.ones(n_features), {})]
    rows = make_rows(begin.x, begin.weight, starts, begin.splits, begin.rows.device)
    return StartingPoint(begin.x, begin.weight, begin.splits, starts, rows, origin)


def _compare(left, held_out):
    """Return how much more the map leaves of held-out rows, a ratio of variances.

    It is the geometric mean over columns: what is left of all rows would be the noise
    of rows that the map knows for the most part.
    """
    ratio = held_out.mean(axis=0) / left[: len(held_out)].mean(axis=0)
    ratio = ratio[np.isfinite(ratio)]
    return float(np.exp(np.log(ratio).mean()).clip(1.0)) if len(ratio) else 1.0


def _pool(begin, left, held_out):
    """Return what the map leaves of all rows, held-out ones included.

    A column may be nearly constant in the rows that train, so that nothing is left of
    it, and a held-out row would be next to impossible. Networks of all rows take the
    mean over the held-out rows of the others.
    """
    units = np.array([s.unit for s in begin.starts])
    sizes = [len(rows) for rows in begin.splits.valid]
    n_folds = len(held_out)
    if len(left) > n_folds:
        known = held_out * units[:n_folds] ** 2
        shared = np.average(known, axis=0, weights=sizes) / units[n_folds:] ** 2
        held_out = np.concatenate([held_out, shared])
        sizes += len(shared) * [sum(sizes)]
    n_valid = np.array(sizes)[:, None]
    n_train = np.array([len(rows) for rows in begin.splits.train])[:, None]
    return (n_train * left + n_valid * held_out) / (n_train + n_valid)


@torch.no_grad()
def _measure(plan, begin, module, held_out=False):
    """Return mean squares of what the map leaves of numbers, and their variances.

    Both are in the units of the map, ``(n_folds, n_features)``, NaN for other columns.
    The third is how little is known of the variances: a row or two may have all the
    variance of a column, and the map knows what it leaves of these alone.
    """
    samples = begin.sample_rows(plan.generator, held_out)
    found = np.full((3, len(samples), module.n_features), np.nan)
    one = torch.ones(module.n_copies or 1, 1, module.n_features, dtype=torch.float64)
    one = one if module.n_copies else one[0]
    whole = MapStart(module, plan.likelihood, one, one)
    for fold, x in enumerate(samples):
        x = x.cpu().double()
        start = whole.make_precise(... if module.n_copies is None else fold)
        noise = plan.generator.standard_normal((len(x), module.n_components))
        _, z = start.draw(x, torch.as_tensor(noise), plan.latent)
        _, offset = start.predict(z)
        for _, columns, part in start.list_numbers(offset):
            values = x[:, columns].numpy()
            found[0, fold, columns] = _average_squares(values - part.numpy())
            values = values - _average(values)
            found[1, fold, columns] = _average_squares(values)
            found[2, fold, columns] = find_variance_doubt(values)
    left, variance, doubt = found
    return np.maximum(left, NOISE_FLOOR**2), np.maximum(variance, NOISE_FLOOR), doubt


def _average(values):
    """Return means of the cells that are known, 0 for a column without any."""
    count = np.maximum((~np.isnan(values)).sum(axis=0), 1)
    return np.nansum(values, axis=0) / count


def _average_squares(values):
    """Return mean squares of the cells that are known, 1 for a column without any."""
    return np.where(np.isnan(values).all(axis=0), 1.0, _average(values**2))


def _find_units(plan, module, left, variance):
    """Return units in those of the map, and how far log scales may fall, by fold.

    A unit is the standard deviation of what the map leaves of a column; columns that
    are no numbers keep theirs.
    """
    shape = left.shape[0], module.n_features
    ratio = np.ones(shape)
    known = module.linear_start.log_range.flatten(0, -2).double().cpu().numpy()
    log_range = np.broadcast_to(known, shape).copy()
    for member, columns in plan.likelihood.list_groups():
        if np.isnan(left[0, columns]).all():
            continue
        least = np.maximum(member.link.get_least_noise(0.0), NOISE_FLOOR)
        share = np.clip(left[:, columns] / variance[:, columns], least, 1.0)
        ratio[:, columns] = np.sqrt(share * variance[:, columns])
        log_range[:, columns] = get_log_range(member.link, share)
    return ratio, log_range


class LinearMap:
    """The map as it was before training, where it is a linear model.

    A map that reconstructs held-out rows better may be a worse latent of a density: if
    columns are independent, say, z is best when it says nothing.

    Parameters
    ----------
    net : VAENet
        Of the map, initialized.
    rows : Rows
    """

    def __init__(self, net, rows):
        module = net.module_
        self.state = {k: v.clone() for k, v in module.state_dict().items()}
        self.score = net.compute_valid_elbo(rows)

    def is_better_than(self, net):
        """Return whether held-out rows prefer it to a trained density."""
        return self.score > _get_score(net) and not net.interrupted_

    def restore(self, net):
        """Put the linear map into the net of a map; return what it replaces."""
        trained = {k: v.clone() for k, v in net.module_.state_dict().items()}
        net.module_.load_state_dict(self.state)
        net.averages_ = net.raw_weights_ = None
        return trained


def _get_score(net):
    return -dict(net.callbacks_)["best_weights"].best_loss_


def is_better(net, other):
    """Return whether the held-out score of a net is higher than that of another."""
    return _get_score(net) > _get_score(other)


def stop_at_map(net, map_net):
    """Return the net that is kept where the training of a map was broken off."""
    map_net.module_.eval()
    if net is None or net is map_net:
        return map_net
    net.interrupted_, net.diverged_ = map_net.interrupted_, map_net.diverged_
    _replace_map(net, map_net.module_)
    return net


def join_nets(map_net, net, n_map_epochs, n_epochs):
    """Return the second net, with the net of the map, and the history of both.

    ``n_map_epochs`` and ``n_epochs`` are the numbers of epochs that they had before.
    """
    net.map_net_ = map_net
    history = list(net.history)
    for row in history[n_epochs:]:
        row["stage"] = "density"
    new = map_net.history[n_map_epochs:]
    for row in new:
        row["stage"] = "map"
    history[n_epochs:n_epochs] = new
    for epoch, row in enumerate(history, 1):
        row["epoch"] = epoch
    net.history_ = type(net.history)(history)
    return net
