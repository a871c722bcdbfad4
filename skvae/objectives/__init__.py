"""Training losses: functions of (VAEOutput, x), to be minimised.

What they are made of stands in `_evidence.py`. `score` is the ELBO whatever was
trained.
"""

from ._base import Objective
from ._elbo import ELBO
from ._iwae import IWAE

__all__ = ["ELBO", "IWAE", "OBJECTIVES", "Objective"]

OBJECTIVES = {"elbo": ELBO, "iwae": IWAE}
