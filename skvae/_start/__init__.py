"""From standardised rows to where training starts, for every copy of the network.

The linear model that predicts held-out rows best is chosen among factor analysis and
probabilistic PCA in two units. Where z is one-hot it is a mixture instead. It also sets
the units in which the module works: columns are centred at its mean and divided by the
noise it leaves.
"""

from ._base import Start, stack
from ._linear import make_linear_starts
from ._linked import make_linked_start
from ._mixture import make_mixture_starts
from ._random import make_random_starts

__all__ = [
    "Start",
    "make_linear_starts",
    "make_linked_start",
    "make_mixture_starts",
    "make_random_starts",
    "stack",
]
