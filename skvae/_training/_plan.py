"""Plan: all that one fit needs beside its rows, resolved and checked."""

from dataclasses import dataclass, field

import numpy as np
import torch

from .. import _start
from .._columns import ColumnTable, check_support, widen_kinds
from .._columns._images import check_pixels
from .._columns._table import FARTHEST_IN_TRAINING
from .._model._evidence import make_noise
from .._utils._device import threads_for
from .._utils._lazy_rows import select_rows
from .._utils._missing import fill_at_random

# constructor arguments that a plan holds as they are
SETTINGS = (
    "init",
    "standardize",
    "beta",
    "kl_warmup",
    "max_epochs",
    "batch_size",
    "lr",
    "optimizer",
    "weight_decay",
    "early_stopping",
    "validation_fraction",
    "n_iter_no_change",
    "tol",
    "warm_start",
    "n_ensemble",
)
# draws of which 'auto' keeps as few as scores need
AUTO_DRAWS = 32
# bytes of the rows of all members, in single precision, up to which these are trained
# side by side
_MAX_STACKED_BYTES = 2**29
# draws, at most, on which 'refined' searches
_MAX_SEARCH_DRAWS = 256


@dataclass
class Plan:
    """Members and settings of one fit; nothing in it refers to the estimator.

    Attributes
    ----------
    network, likelihood, latent, objective : members
    n_components : int or None
        None until `choose_components`, for 'auto'.
    device : torch.device
    settings : dict
        Constructor arguments by name: `SETTINGS` and `net_params`.
    callbacks : list
        skorch callbacks of the estimator and of the user.
    generator : numpy Generator
        Source of every random number of the fit.
    noise : list of ndarray (n_draws, n_components)
        See `FittedModel`.
    keeps_fold_models : bool
        Whether models with held-out rows of their own are asked for.
    holds_out_all : bool
        Whether each row is to be held out by one of them.
    net : VAENet or None
        The trained net of a warm start.
    is_map : bool
        Whether training has the recipe of a map, see `_map`.
    density : PerColumn or None
        The likelihood that is learned after the map, with z kept; `likelihood` is then
        that of the map.
    is_stacked : bool
        Whether members of an ensemble are trained side by side, not in turn.
    """

    network: object
    likelihood: object
    latent: object
    objective: object
    n_components: int | None
    device: torch.device
    settings: dict
    callbacks: list = field(default_factory=list)
    generator: np.random.Generator | None = None
    noise: list | None = None
    keeps_fold_models: bool = False
    holds_out_all: bool = False
    net: object = None
    is_map: bool = False
    density: object = None
    is_stacked: bool = False

    @property
    def is_corrected(self):
        """Whether training starts at a linear model or a mixture, and corrects it."""
        # no mixture is known for columns of several kinds
        has_mixture = self.n_clusters > 0 and not self.likelihood.is_mixed
        is_linear = self.settings["init"] == "linear"
        return is_linear and (self.latent.is_anchored or has_mixture)

    @property
    def n_clusters(self):
        """Clusters of the mixture that training starts at, 0 for a linear model."""
        if self.latent.is_anchored:
            return 0
        return self.latent.count_clusters(self.n_components)

    @property
    def n_ensemble(self):
        """Number of members that are trained."""
        return self.settings["n_ensemble"]

    @property
    def n_stacked(self):
        """Number of members that are trained side by side."""
        return self.n_ensemble if self.is_stacked else 1

    @property
    def can_stack(self):
        """Whether networks can be trained side by side."""
        return (
            self.network.is_stackable
            and self.objective.is_stackable
            and not self.has_own_loader
            and not self.settings["warm_start"]
            and not self.network.is_linear
            and self.latent.is_stackable
        )

    @property
    def has_own_loader(self):
        """Whether batches come from an iterator of the user's own."""
        return any(k.startswith("iterator_train") for k in self.settings["net_params"])

    def resume(self, net, noise):
        """Train a net further, with its likelihood, device and callbacks."""
        net.resume_history()
        self.net, self.noise, self.callbacks = net, noise, []
        self.n_components = net.module_.n_components
        # it keeps what it has learned of the columns, such as levels
        self.likelihood = net.module_.likelihood
        if net.module_.is_refined:
            self.density = self.likelihood
            self.likelihood = net.module_.linear_start.map.likelihood
        elif net.held_out_loss is None:
            # it was no map, whatever these rows would be learned by
            self.density, self.is_map = None, False
        self.device = torch.device(net.device)

    def draw_noise(self, n_draws):
        """Draw the noise of the scores, unless a warm start has it."""
        if self.noise is None:
            n_draws = AUTO_DRAWS if n_draws == "auto" else n_draws
            # every step of a search holds the gradient of all its draws
            sizes = n_draws, min(max(n_draws, 32), _MAX_SEARCH_DRAWS)
            self.noise = [
                make_noise(n, self.n_components, self.generator).numpy() for n in sizes
            ]


def check_rows(plan, data):
    """Refuse rows of positive weight that the likelihood does not accept."""
    varies = data.columns.varies if data.is_warm else slice(None)
    data.table.check_form(plan.likelihood)
    array, _ = data.select(data.counted)
    check_support(plan.likelihood, array, data.table.names, varies)


def learn_columns(plan, data):
    """Set the columns of the data; adapt likelihood and network to them.

    The validation set is checked here: values of constant columns are not.
    """
    if data.is_warm:
        data.table.check(plan.likelihood, data.columns, FARTHEST_IN_TRAINING)
        kinds = widen_kinds(data.columns, data.table)
        data.columns = data.columns.extended(data.get_kept()[0], kinds)
        if plan.density is not None and not plan.net.module_.is_refined:
            # a fit that ended before its second stage
            _learn_density(plan, data, data.columns)
    else:
        data.columns = _make_columns(plan, data)
    if data.validation is not None:
        data.validation.check(plan.likelihood, data.columns, FARTHEST_IN_TRAINING)


def _make_columns(plan, data):
    array, weight = data.get_kept()
    members = plan.likelihood.list_members()
    columns = ColumnTable.from_input(
        data.table.given,
        array,
        weight,
        np.array([member.link.is_scaled for member in members]),
        plan.settings["standardize"],
        data.image_shape,
        data.table.kinds,
    )
    columns.wrapper = data.table.wrapper
    plan.likelihood = likelihood = plan.likelihood.restrict(columns.varies)
    if likelihood.learns:
        likelihood.adapt(_read_values(columns, array), weight)
    if plan.density is not None:
        members = plan.density.list_members()
        _learn_density(plan, data, columns)
    codes = plan.likelihood.list_levels()
    # looked for at every chunk of rows
    columns.codes = codes if any(c is not None for c in codes) else None
    columns.likelihoods = [type(member).__name__ for member in members]
    check_pixels(plan.network, likelihood, int(columns.varies.sum()))
    if data.image_shape is not None:
        plan.network.set_image(data.image_shape, np.flatnonzero(columns.varies))
    return columns


def _learn_density(plan, data, columns):
    """Adapt the likelihood of the second stage to the columns that vary."""
    array, weight = data.get_kept()
    plan.density = plan.density.restrict(columns.varies)
    if plan.density.learns:
        plan.density.adapt(_read_values(columns, array), weight)


def _read_values(columns, array):
    """Return what likelihoods learn of columns from, in the units of X where linear."""
    kept = array if columns.varies.all() else array[:, columns.varies]
    return fill_at_random(columns.normal_scores.apply(kept))


def choose_stacking(plan, data):
    """Decide whether the members of an ensemble are trained side by side."""
    n_bytes = 4 * plan.n_ensemble * data.table.array.size
    is_small = n_bytes <= _MAX_STACKED_BYTES
    plan.is_stacked = plan.n_ensemble > 1 and plan.can_stack and is_small


def choose_components(plan, data):
    """Set the number of components, if 'auto' leaves it to the rows; check it."""
    latent = plan.latent
    if plan.n_components is None:
        plan.n_components = latent.count_components(None)
    if plan.n_components is None:
        plan.n_components = latent.count_components(_find_size(plan, data))
    latent.check_components(plan.n_components)


def _find_size(plan, data):
    x, weight = data.encode()
    if data.n_valid:
        x = select_rows(x, slice(-data.n_valid))
        weight = None if weight is None else weight[: -data.n_valid]
    # equal noise in all columns would ask for more components
    link = (plan.density or plan.likelihood).link
    with threads_for(x.shape[1] ** 3):
        if not plan.latent.is_anchored and plan.latent.count_clusters(2):
            return _start.choose_clusters(x, weight, link)
        return _start.choose_size(x, weight, link, data.columns.scale)
