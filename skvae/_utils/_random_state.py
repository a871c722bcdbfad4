"""Random generators of numpy from random_state; torch's are elsewhere."""

import numpy as np
from sklearn.utils import check_random_state

SEED_LIMIT = 2**31 - 1


def make_generator(random_state):
    """Return a private numpy generator.

    As in scikit-learn, None draws one seed from numpy's global generator, so that
    `numpy.random.seed` makes results repeatable. A RandomState is advanced by one seed.
    """
    if random_state is None or isinstance(random_state, np.random.RandomState):
        random_state = check_random_state(random_state).randint(SEED_LIMIT)
    try:
        return np.random.default_rng(random_state)
    except (TypeError, ValueError):
        raise ValueError(
            f"random_state={random_state!r} must be None, a non-negative integer or a "
            "numpy RandomState."
        ) from None
