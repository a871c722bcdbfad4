"""What all likelihoods share: the base class, and how raw values become log scales."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from sklearn.base import BaseEstimator
from torch.nn.functional import celu
from typing_extensions import override

from .._columns._support import REALS
from .._utils._missing import fill_at_random
from .._utils._nested_parameters import instantiate_named
from .._utils._site import SiteLinkMixin
from ._link import ScaledLink

if TYPE_CHECKING:
    from .._columns._support import Support
    from ._link import Link

# exp(12): no column is 160,000 times as noisy as the linear model found it
MAX_LOG_SCALE = 12.0


def to_log_scale(raw, log_range):
    """Return log scales: raw where positive, bent above -log_range elsewhere."""
    return (log_range * celu(raw / log_range)).clamp(max=MAX_LOG_SCALE)


def to_raw_scale(log_scale, log_range):
    """Return the raw value that `to_log_scale` maps to log_scale."""
    ratio = (log_scale / log_range).clamp(-0.999, 0.0)
    return torch.where(log_scale < 0, log_range * torch.log1p(ratio), log_scale)


def compute_residual(x, offset):
    """Return residuals of the linear model; missing ones are drawn from the others."""
    return torch.as_tensor(fill_at_random((x - offset).numpy()))


class Likelihood(SiteLinkMixin, BaseEstimator):
    """Base of all likelihoods: hyper-parameters, and the map from raw outputs.

    Calling a likelihood with ``(raw, free, offset, log_range)`` returns a
    `torch.distributions.Distribution` whose last dimension is one row of the table and
    whose ``log_prob`` has one value a column.

    - ``raw`` (..., n_raw, n_features): outputs of the decoder, given z;
    - ``free`` (..., n_free, n_features): learned values that do not depend on z;
    - ``offset`` (..., n_features): the location that the linear model predicts from z,
      ``(..., n_offsets, n_features)`` where it predicts several values a column;
    - ``log_range`` (..., n_features): how far a log scale may fall below 0.

    Zero everywhere in ``raw`` and ``free`` is the linear model itself.

    Attributes
    ----------
    n_raw : int
        Raw decoder outputs per column.
    link : Link
        How the linear model reaches the parameters of the likelihood.
    support : Support
        The values that are accepted. Others are refused before training.
    is_joint : bool
        Whether columns depend on one another given z.
    initialize : callable or None
        A method ``initialize(x, offset, log_range)`` that returns initial values of
        ``raw`` (n_raw, n_features) and ``free``, where zeros are not the best. ``x``
        (n, n_features) has NaN for missing values.
    """

    if TYPE_CHECKING:
        # attributes of some classes, properties of others

        @property
        def n_raw(self) -> int: ...
        @property
        def link(self) -> Link: ...
        @property
        def support(self) -> Support: ...
        @property
        def is_joint(self) -> bool: ...
        @property
        def initialize(self) -> Any: ...

    else:
        n_raw = 1
        link = ScaledLink()
        support = REALS
        is_joint = False
        initialize = None

    def check_parameters(self) -> None:
        """Refuse hyper-parameters out of range, by name."""

    def free_shape(self, n_features: int) -> tuple[int, ...]:
        """Return the shape of the learned values that do not depend on z."""
        return (0, n_features)

    def adapt(self, x: Any, weight: Any = None) -> None:
        """Learn what shapes or the link depend on, from training rows in units of X."""

    @property
    def learns(self) -> bool:
        """Whether `adapt` reads the rows."""
        return type(self).adapt is not Likelihood.adapt

    def select(self, column: int) -> Likelihood:
        """Return the likelihood of one of the columns it has adapted to.

        It is this one, unless `adapt` learns something of every column.
        """
        return self

    def _without_background(self):
        """Return the likelihood for draws, reconstruction and imputation.

        A background belongs to scores: it does not depend on z, so that a cell to which
        it gave most of the density would not determine z, nor any other cell.
        """
        return self

    def _reach_rows(self, free, reach):
        """Return ``free`` with a background as wide as training rows, (n_features,)."""
        return free

    def summarise(self, distribution: Any) -> torch.Tensor:
        """Return what is averaged where p(x|z) of several z is, ``(..., n_values)``."""
        return distribution.mean

    def conclude(self, summary: torch.Tensor) -> torch.Tensor:
        """Return the row, ``(..., n_features)``, that an average of summaries means."""
        return summary


class Wrapper(Likelihood):
    """Base of likelihoods around another one, which may be given by name."""

    # the parameter of the other one, and what names stand for
    _named: ClassVar[dict[str, Any]] = {}

    @override
    def set_params(self, **params: Any) -> Any:
        # a name becomes an instance where parameters of it are set
        members = instantiate_named(self, params, self._named)
        return super().set_params(**params | members)
