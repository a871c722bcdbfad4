"""The recipe of `density=None`: z as PCA would learn it, on curved manifolds too.

Numbers have one noise for all columns. The encoder sees rows with some of that noise
added (Im et al. 2017, "Denoising criterion for variational auto-encoding framework"),
so that equal rows but for noise get equal z; the KL counts less than in the ELBO, for
the posterior mean of a column of little variance shrinks towards 0 with it; and the
best weights are those that reconstruct held-out rows best.
"""

import numpy as np
import scipy.special
import torch

from .._utils._missing import NEUTRAL, find_missing
from ..likelihoods import Gaussian

# weight of the KL, as a share of `beta`
BETA_SHARE = 0.5
# standard deviation of what is added to rows, as a share of that of the noise
CORRUPTION = 0.5
# nats; a column that is nearly constant does not count without bounds
_LEAST_ENTROPY = 0.01


def balance_columns(module):
    """Let all kinds of columns count as they do in PCA of coded columns.

    There a column of numbers has variance 1, and one of L levels L - 1, of its dummy
    variables. Half of it, in units of the noise, is lost if z does not know of the
    column; of a log-likelihood its entropy is. The ratio of the two is the weight of a
    column of levels; it grows as the noise of the numbers falls in training. Other
    likelihoods, which were asked for by name, have the weight of a number and one nat.
    """
    likelihood = module.likelihood
    if not likelihood.is_mixed:
        return
    is_number = get_is_number(likelihood)
    variance, numbers = 1.0, torch.nonzero(is_number).flatten()
    if len(numbers):
        scale = module.linear_start.input_scale.flatten(0, -2)[-1]
        inputs = module.linear_start.link.get_input_columns(module.n_features)
        variance = (scale[torch.isin(torch.as_tensor(inputs), numbers)] ** -2).mean()
    weight = torch.full((module.n_features,), 0.5 * float(variance))
    for member, columns in likelihood.list_groups():
        shares = getattr(member.link, "shares", None)
        if shares is not None:
            entropy = scipy.special.entr(shares).sum(axis=0).clip(_LEAST_ENTROPY)
            sizes = np.count_nonzero(shares, axis=0) - 1
            weight[columns] *= torch.as_tensor(sizes.clip(1) / entropy).float()
    module.column_weight = torch.where(is_number, 1.0, weight).to(module.free)


def get_is_number(likelihood):
    """Return which columns are numbers with normal noise, (n_features,) bool."""
    return torch.tensor([isinstance(m, Gaussian) for m in likelihood.list_members()])


def compute_error(module, x):
    """Return the error of reconstructed rows, ``(..., n)``.

    Half the squared error of numbers, in units of the linear model's noise, and the
    negative log-likelihood of all other columns. Missing cells have none.
    """
    z = module.latent.point_estimate(module.encode(x))
    distribution, missing = module.decode(z), find_missing(x)
    known = x if missing is None else torch.where(missing, NEUTRAL, x)
    error = -distribution.log_prob(known)
    if module.column_weight is not None:
        error = error * module.column_weight
    squared = 0.5 * (known - distribution.mean).square()
    is_number = get_is_number(module.likelihood).to(x.device)
    error = torch.where(is_number, squared, error)
    if missing is not None:
        error = error.masked_fill(missing, 0.0)
    return error.sum(dim=-1)
