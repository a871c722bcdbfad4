"""Likelihoods: the raw outputs of a decoder become p(x|z).

A likelihood never sees an encoder or a latent. It works in the units of the model, in
which the noise around the linear model is 1 in every column.
"""

from .._columns import Support
from ._autoregressive import Autoregressive
from ._base import Likelihood
from ._bernoulli import Bernoulli
from ._beta import Beta
from ._binomial import Binomial
from ._categorical import Categorical
from ._censored import Censored
from ._continuous_bernoulli import ContinuousBernoulli
from ._counts import CountLikelihood
from ._discretized_logistic import DiscretizedLogistic
from ._gaussian import Gaussian
from ._gaussian_mixture import GaussianMixture
from ._hurdle_log_normal import HurdleLogNormal
from ._laplace import Laplace
from ._link import Link, ScaledLink
from ._log_normal import LogNormal
from ._negative_binomial import NegativeBinomial
from ._ordinal import Ordinal
from ._per_column import PerColumn
from ._poisson import Poisson
from ._student_t import StudentT
from ._transformed import Transformed
from ._von_mises import VonMises
from ._zero_inflated import ZeroInflated

__all__ = [
    "LIKELIHOODS",
    "Autoregressive",
    "Bernoulli",
    "Beta",
    "Binomial",
    "Categorical",
    "Censored",
    "ContinuousBernoulli",
    "CountLikelihood",
    "DiscretizedLogistic",
    "Gaussian",
    "GaussianMixture",
    "HurdleLogNormal",
    "Laplace",
    "Likelihood",
    "Link",
    "LogNormal",
    "NegativeBinomial",
    "Ordinal",
    "PerColumn",
    "Poisson",
    "ScaledLink",
    "StudentT",
    "Support",
    "Transformed",
    "VonMises",
    "ZeroInflated",
]

LIKELIHOODS: dict[str, type[Likelihood]] = {
    "gaussian": Gaussian,
    "gaussian_mixture": GaussianMixture,
    "bernoulli": Bernoulli,
    "laplace": Laplace,
    "student_t": StudentT,
    "log_normal": LogNormal,
    "hurdle_log_normal": HurdleLogNormal,
    "censored": Censored,
    "transformed": Transformed,
    "continuous_bernoulli": ContinuousBernoulli,
    "beta": Beta,
    "binomial": Binomial,
    "von_mises": VonMises,
    "categorical": Categorical,
    "ordinal": Ordinal,
    "poisson": Poisson,
    "negative_binomial": NegativeBinomial,
    "zero_inflated": ZeroInflated,
    "discretized_logistic": DiscretizedLogistic,
    "autoregressive": Autoregressive,
}
# its base may be any other
Autoregressive._named = {
    "base": {
        name: cls
        for name, cls in LIKELIHOODS.items()
        if not issubclass(cls, Autoregressive)
    }
}
