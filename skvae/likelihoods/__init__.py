"""Likelihoods: the raw outputs of a decoder become p(x|z).

A likelihood never sees an encoder or a latent. It works in the units of the model, in
which the noise that the linear start leaves unexplained is 1 in every column.
"""

from ._base import Likelihood, LikelihoodPass
from ._bernoulli import Bernoulli
from ._gaussian import Gaussian
from ._gaussian_mixture import GaussianMixture

__all__ = [
    "LIKELIHOODS",
    "Bernoulli",
    "Gaussian",
    "GaussianMixture",
    "Likelihood",
    "LikelihoodPass",
]

LIKELIHOODS = {
    "gaussian": Gaussian,
    "gaussian_mixture": GaussianMixture,
    "bernoulli": Bernoulli,
}
