"""Distributions that torch lacks, or has in a form that is slow or imprecise.

Nothing here depends on encoders, decoders or data sets.
"""

from ._base import HALF_LOG_2PI, detach
from ._beta import MAX_LOGIT, Beta
from ._chain import NormalChain
from ._continuous_bernoulli import (
    ContinuousBernoulli,
    continuous_bernoulli_mean,
)
from ._counts import LogPoisson, MeanNegativeBinomial, ZeroInflated, log_poisson
from ._groups import ColumnGroups
from ._levels import CategoricalColumns, DiscretizedLogistic, OrdinalColumns
from ._log_normal import LogNormal
from ._mixtures import DiagonalNormalMixture, EqualMixture, NormalMixture
from ._monotone import (
    Identity,
    PiecewiseLinearMap,
    TransformedColumns,
    YeoJohnsonMap,
)
from ._normals import CorrelatedNormal, LowRankNormal
from ._one_hot import OneHotCategoricals
from ._student_t import StudentT

__all__ = [
    "HALF_LOG_2PI",
    "MAX_LOGIT",
    "Beta",
    "CategoricalColumns",
    "ColumnGroups",
    "ContinuousBernoulli",
    "CorrelatedNormal",
    "DiagonalNormalMixture",
    "DiscretizedLogistic",
    "EqualMixture",
    "Identity",
    "LogNormal",
    "LogPoisson",
    "LowRankNormal",
    "MeanNegativeBinomial",
    "NormalChain",
    "NormalMixture",
    "OneHotCategoricals",
    "OrdinalColumns",
    "PiecewiseLinearMap",
    "StudentT",
    "TransformedColumns",
    "YeoJohnsonMap",
    "ZeroInflated",
    "continuous_bernoulli_mean",
    "detach",
    "log_poisson",
]
