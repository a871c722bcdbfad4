"""How the linear model reaches a likelihood: what it sees, and what it turns into.

Links that several likelihoods share are here; others stand beside their likelihood.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from typing_extensions import override

from .._closed_form._linear import NOISE_FLOOR

# noise that depends on z and is smaller than this is repeated values, not noise
NARROW_FLOOR = 1e-3
# share of a column of codes that factors may explain
_MAX_EXPLAINED = 0.9


class Link:
    """Base of links, for columns that are not centred and scaled.

    The linear model is fitted to inputs, which `represent` computes from the columns;
    `convert` turns it into the likelihood's own parameters.

    Attributes
    ----------
    n_offsets : int
        Values per column that the linear model predicts from z.
    is_scaled : bool
        Whether columns are centred and scaled, with the Jacobian in the score.
    least_noise : float, ndarray (n_features,) or None
        Smallest noise of the linear model, as a share of the variance of an input. None
        leaves it to the model.
    noise_floor : float or ndarray (n_features,)
        Smallest variance of the noise in p(x|z), as such a share.
    least_scale : float
        The encoder's inputs are divided by their standard deviation, or by this where
        it is larger.
    fixed_noise : float or None
        A known standard deviation of the noise.
    is_isotropic : bool
        Whether all columns have one noise variance.
    """

    n_offsets: Any = 1
    is_scaled = False
    least_noise: Any = 0.1
    noise_floor: Any = NARROW_FLOOR
    least_scale: Any = 0.0
    fixed_noise: Any = None
    is_isotropic = False

    @property
    def is_represented(self) -> bool:
        """Whether the inputs are something else than the columns themselves."""
        return type(self).represent is not Link.represent

    def get_least_noise(self, default: Any) -> Any:
        """Return `least_noise`, or a default for None."""
        return default if self.least_noise is None else self.least_noise

    def list_groups(self, n_features: int) -> Any:
        """Return the links of groups of columns, and the numbers of those."""
        return [(self, np.arange(n_features))]

    def offset_shape(self, n_features: int) -> tuple[int, ...]:
        """Return the shape of what the linear model predicts for one row."""
        return (n_features,) if self.n_offsets == 1 else (self.n_offsets, n_features)

    def count_inputs(self, n_features: int) -> int:
        """Return the number of inputs of a row."""
        return n_features

    def get_input_columns(self, n_features: int) -> Any:
        """Return which column each of the inputs comes from, ``(n_inputs,)``.

        None is one input a column, in their order.
        """
        return None

    def represent(self, x: Any) -> Any:
        """Return the inputs of rows x (..., n, n_features), ``(..., n, n_inputs)``.

        They are real numbers whose variances and covariances mean something.
        """
        return x

    def refine(self) -> Link:
        """Return a link that tells more values apart, for columns after this one."""
        return self

    def convert(self, mean: Any, scale: Any, loadings: Any, noise: Any) -> Any:
        """Return the linear model in the likelihood's own parameters.

        Mean and scale are those of the inputs of the training rows; loadings
        (n_components, n_inputs), zero for random initial weights, and noise, a share of
        the variance, are those of the linear model of standardised inputs. The offset
        is ``z @ weight + bias`` with the results, (n_components, n_offsets *
        n_features) and (n_offsets * n_features,).
        """
        raise NotImplementedError

    def refit(self, x: Any, weight: Any) -> Link:
        """Return the link of some rows, of the same shapes.

        It is this one, unless it has learned from the rows of the table.
        """
        return self


class ScaledLink(Link):
    """The link of columns that are centred and scaled.

    The offset is in units of the noise around the linear model.

    Parameters
    ----------
    least_noise, noise_floor, fixed_noise, is_isotropic : optional
        Attributes of `Link`.
    """

    is_scaled = True

    def __init__(
        self,
        least_noise: Any = None,
        noise_floor: Any = NARROW_FLOOR,
        fixed_noise: Any = None,
        is_isotropic: bool = False,
    ) -> None:
        self.least_noise, self.noise_floor = least_noise, noise_floor
        self.fixed_noise, self.is_isotropic = fixed_noise, is_isotropic

    @override
    def convert(self, mean: Any, scale: Any, loadings: Any, noise: Any) -> Any:
        return loadings / np.sqrt(noise), np.zeros(len(noise))


class MappedLink(Link):
    """The link of columns whose maps are normal: locations, and log noise."""

    n_offsets = 2
    least_noise = NOISE_FLOOR

    def __init__(self, map: Any, noise_floor: Any) -> None:
        self.map, self.noise_floor = map, noise_floor

    @override
    def represent(self, x: Any) -> Any:
        return self.map.to(x).forward(x)[0]

    @override
    def convert(self, mean: Any, scale: Any, loadings: Any, noise: Any) -> Any:
        return stack_offsets(loadings * scale, mean, np.log(scale * np.sqrt(noise)))


class GroupedLink(Link):
    """The links of groups of columns, their inputs and offsets side by side.

    ``groups`` are pairs of a link and the numbers of its columns.
    """

    # those of the groups differ
    n_offsets = None

    def __init__(self, groups: Any) -> None:
        self.groups = groups

    @override
    def list_groups(self, n_features: int) -> Any:
        return self.groups

    @override
    def offset_shape(self, n_features: int) -> tuple[int, ...]:
        return (sum(link.n_offsets * len(columns) for link, columns in self.groups),)

    @override
    def count_inputs(self, n_features: int) -> int:
        return sum(link.count_inputs(len(columns)) for link, columns in self.groups)

    @override
    def get_input_columns(self, n_features: int) -> Any:
        found = []
        for link, columns in self.groups:
            own = link.get_input_columns(len(columns))
            found.append(columns if own is None else columns[own])
        return np.concatenate(found)

    @override
    def represent(self, x: Any) -> Any:
        index = [torch.as_tensor(c, device=x.device) for _, c in self.groups]
        parts = zip(self.groups, index, strict=True)
        found = [link.represent(x.index_select(-1, i)) for (link, _), i in parts]
        return torch.cat(found, dim=-1)

    @override
    def refit(self, x: Any, weight: Any) -> Link:
        groups = [(link.refit(x[:, c], weight), c) for link, c in self.groups]
        return GroupedLink(groups)


def stack_offsets(slope, *biases):
    """Return weight and bias of several offsets, the first of which depends on z."""
    bias = np.concatenate(biases)
    return np.pad(slope, ((0, 0), (0, len(bias) - slope.shape[1]))), bias


def compute_logistic_slope(loadings):
    """Return slopes of a logistic model, for loadings of standardised columns.

    A loading w is a correlation with a factor. If it were that of a normal variable
    which the column cuts in two, the logistic slope would be 1.7 w / sqrt(1 - Σ w²),
    the classical relation of factor analysis and item response theory (Lord & Novick
    1968, chapter 16). Codes correlate less, so the slope is a little too small.
    """
    explained = np.minimum((loadings**2).sum(axis=0), _MAX_EXPLAINED)
    return 1.7 * loadings / np.sqrt(1 - explained)
