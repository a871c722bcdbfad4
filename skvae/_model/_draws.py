"""The number of draws that scores need, from the variance between draws."""

import numpy as np

# numbers of draws that are tried, if there are more, and twice as many as components
_SIZES = (8, 16)
# blocks of each, whose scores are compared
_N_BLOCKS = 4
# largest error: in nats, and as a share of the standard deviation between rows
_LARGEST_ERROR, _ERROR_SHARE = 0.01, 0.005


def choose_noise(model, X, noise):
    """Return the noise of a model with the smallest block that scores can share.

    Parameters
    ----------
    model : FittedModel
    X : ndarray (n, n_features)
        Rows, in the units of X, whose scores are tried.
    noise : list of two ndarray
        The blocks of the model, see there.

    Returns
    -------
    list of three ndarray
        The chosen block, that of searches, and the first of `noise`.
    """
    whole, search = noise
    # the fewest that match the covariance, and so integrate polynomials of degree 3
    for size in sorted({*_SIZES, 2 * whole.shape[1]}):
        if _SIZES[0] <= size < len(whole):
            error, spread = measure_error(model, X, size)
            if error <= max(_LARGEST_ERROR, _ERROR_SHARE * spread):
                return [model.get_noise(size).numpy(), search, whole]
    return [whole, search, whole]


def measure_error(model, X, n_draws):
    """Return the Monte-Carlo error of ELBOs, and their spread between rows, in nats.

    The error is the standard deviation between blocks of draws, the root mean square
    over rows.
    """
    blocks = [model.get_noise(n_draws, number) for number in range(1, _N_BLOCKS + 1)]
    scores = np.stack([model.compute_elbo(X, block) for block in blocks])
    variance = scores.var(axis=0, ddof=1)
    return np.sqrt(variance.mean()), scores.mean(axis=0).std()
