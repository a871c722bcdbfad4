"""Whether rows and networks are such as the likelihoods of the columns accept."""

import numpy as np

from . import describe

# rows whose support is checked at a time
_CHECKED_ROWS = 1024


def check_support(likelihood, array, names, columns):
    """Refuse values outside the support of a likelihood of some of the columns.

    Parameters
    ----------
    likelihood : Likelihood
        Of these columns.
    array : ndarray (n, n_features)
        Missing cells are NaN.
    names : sequence of str, or None
        What messages call the columns.
    columns : slice or ndarray (n_features,) of bool

    Raises
    ------
    ValueError
        With the column and the value.
    """
    if not likelihood.is_limited:
        return
    from .._utils._device import as_tensor

    for begin in range(0, len(array), _CHECKED_ROWS):
        part = array[begin : begin + _CHECKED_ROWS, columns]
        # torch lacks operations for bool and uint16 to uint64, and wraps bounds
        # that int8 and uint8 do not hold
        values = as_tensor(part.astype(np.float64, copy=False))
        mask = likelihood.find_unsupported(values).numpy() & ~np.isnan(part)
        if mask.any():
            row, number = np.argwhere(mask)[0]
            column = np.arange(array.shape[1])[columns][number]
            name, value = describe(column, names), float(values[row, number])
            member = likelihood.get_member(number)
            raise ValueError(
                f"{name[0].upper()}{name[1:]} has the value {value:g}, "
                f"but likelihood={type(member).__name__} accepts "
                f"{member.support}."
            )


def check_pixels(network, likelihood, n_pixels):
    """Refuse a network of images that the likelihood shows something else.

    Raises
    ------
    ValueError
    """
    if network.has_outputs and len(likelihood.list_groups(1)) > 1:
        raise ValueError(
            f"network={type(network).__name__} has one likelihood for all pixels, "
            "but columns have different ones; use network='mlp'."
        )
    n_inputs = likelihood.count_inputs(n_pixels)
    if network.needs_images and n_inputs != n_pixels:
        raise ValueError(
            f"network={type(network).__name__} sees one value a pixel, but "
            f"likelihood={type(likelihood).__name__} makes {n_inputs} values of "
            f"{n_pixels} pixels; use network='mlp'."
        )
