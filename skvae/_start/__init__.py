"""From standardised rows to where training starts, for the network of every fold.

The linear model that predicts held-out rows best is chosen among factor analysis and
probabilistic PCA in two units. Where z is one-hot it is a mixture instead. It also sets
the units in which the module works: columns are centred at its mean and divided by the
standard deviation of its noise. The number of components is chosen here as well.
"""

from ._base import Start, stack_tensors
from ._linear import initialize_linear
from ._linked import initialize_linked
from ._mixture import initialize_mixture
from ._random import initialize_random
from ._size import choose_clusters, choose_size

__all__ = [
    "Start",
    "choose_clusters",
    "choose_size",
    "initialize_linear",
    "initialize_linked",
    "initialize_mixture",
    "initialize_random",
    "stack_tensors",
]
