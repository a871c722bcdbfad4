"""Log densities as bits per dimension."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, overload

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@overload
def bits_per_dimension(score: float, n_features: int) -> float: ...


@overload
def bits_per_dimension(
    score: ArrayLike, n_features: int
) -> float | NDArray[np.float64]: ...


def bits_per_dimension(
    score: ArrayLike, n_features: int
) -> float | NDArray[np.float64]:
    r"""Convert log densities of rows to bits per dimension.

    .. math:: b = -\frac{\log p(x)}{d \ln 2}

    for d columns: the average code length of a column, in bits. Lower is better. Like
    the score, it depends on the units of X. To model pixels 0 to 255 with a density,
    add uniform noise from [0, 1) before `fit`; the score then is a lower bound of the
    log probability of the integers (Theis et al. 2016).

    Parameters
    ----------
    score : float or array-like
        Nats per row, as from `VAETransformer.score` or `score_samples`.
    n_features : int
        Number of columns d; for images, channels * height * width.

    Returns
    -------
    float or ndarray
        Bits per dimension, of the shape of score, float64.

    Raises
    ------
    TypeError
        If n_features is not an integer.
    ValueError
        If n_features is not positive.

    References
    ----------
    Theis, van den Oord & Bethge (2016), "A note on the evaluation of generative
    models", section 3.1.

    Examples
    --------
    Each of eight fair coins takes one bit:

    >>> import numpy as np
    >>> from skvae.metrics import bits_per_dimension
    >>> bits_per_dimension(8 * np.log(0.5), n_features=8)
    1.0
    """
    if not isinstance(n_features, Integral) or isinstance(n_features, bool):
        raise TypeError(f"n_features={n_features!r} must be a positive integer.")
    if n_features < 1:
        raise ValueError(f"n_features={n_features!r} must be a positive integer.")
    bits = -np.asarray(score, dtype=np.float64) / (n_features * np.log(2))
    return float(bits) if bits.ndim == 0 else bits
