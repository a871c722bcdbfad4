"""Training losses: functions of (VAEOutput, x), to be minimised.

Their terms are defined in `_model/_evidence.py`. `score` is the ELBO for all of them.
"""

from ._base import Objective
from ._elbo import ELBO
from ._iwae import IWAE
from ._mmd import MMD
from ._tc import TC
from ._vaegan import VAEGAN

__all__ = ["ELBO", "IWAE", "MMD", "OBJECTIVES", "TC", "VAEGAN", "Objective"]

OBJECTIVES: dict[str, type[Objective]] = {
    "elbo": ELBO,
    "iwae": IWAE,
    "tc": TC,
    "mmd": MMD,
    "vaegan": VAEGAN,
}
