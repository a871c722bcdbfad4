"""Likelihoods: the raw outputs of a decoder become p(x|z).

A likelihood never sees an encoder or a latent. It works in the units of the model, in
which the noise that the linear start leaves unexplained is 1 in every column.
"""

from ._base import Likelihood, LikelihoodPass
from ._bernoulli import Bernoulli
from ._beta import Beta
from ._continuous_bernoulli import ContinuousBernoulli
from ._gaussian import Gaussian
from ._gaussian_mixture import GaussianMixture
from ._laplace import Laplace
from ._log_normal import LogNormal
from ._student_t import StudentT

__all__ = [
    "LIKELIHOODS",
    "Bernoulli",
    "Beta",
    "ContinuousBernoulli",
    "Gaussian",
    "GaussianMixture",
    "Laplace",
    "Likelihood",
    "LikelihoodPass",
    "LogNormal",
    "StudentT",
]

LIKELIHOODS = {
    "gaussian": Gaussian,
    "gaussian_mixture": GaussianMixture,
    "bernoulli": Bernoulli,
    "laplace": Laplace,
    "student_t": StudentT,
    "log_normal": LogNormal,
    "continuous_bernoulli": ContinuousBernoulli,
    "beta": Beta,
}
