"""Images as rows of a table, and checks of their shape."""

from math import prod

import numpy as np

from .._utils._checks import is_integer


def check_image_shape(image_shape):
    """Return image_shape as a tuple of three integers."""
    accepted = "must be three positive integers, (channels, height, width)."
    lengths = tuple(image_shape)
    if not all(map(is_integer, lengths)):
        raise TypeError(f"image_shape={image_shape!r} {accepted}")
    if len(lengths) != 3 or min(lengths) < 1:
        raise ValueError(f"image_shape={image_shape!r} {accepted}")
    return tuple(int(n) for n in lengths)


def count_dimensions(X):
    """Return the number of dimensions of an array-like, without converting it."""
    n_dimensions = getattr(X, "ndim", None)
    if isinstance(n_dimensions, int):
        return n_dimensions
    if isinstance(X, (list, tuple)):
        return 1 + (count_dimensions(X[0]) if X else 0)
    return len(getattr(X, "shape", ()))


def flatten_images(X, image_shape, estimator_name, is_fitted):
    """Return images (n, channels, height, width) as rows, other input unchanged.

    Refuse images of another shape; whether that of the images is known from `fit` is
    for the message.
    """
    n_dimensions = count_dimensions(X)
    if n_dimensions < 3:
        return X
    images = np.asarray(X)
    shape = images.shape[1:]
    if image_shape is None:
        given = "was fitted without image_shape" if is_fitted else "has no image_shape"
        advice = ""
        if len(shape) == 3:
            advice = (
                f"Set image_shape={shape} before fit if X is (n, channels, height, "
                "width), or pass"
            )
        elif len(shape) == 2:
            advice = (
                f"Set image_shape={(1, *shape)} before fit and pass X[:, None] if X is "
                "(n, height, width), or pass"
            )
        raise ValueError(
            f"Found array with dim {n_dimensions}, while dim <= 2 is required by "
            f"{estimator_name}, which {given}. {advice or 'Pass'} rows, "
            "X.reshape(len(X), -1)."
        )
    channels, height, width = image_shape
    if shape == image_shape:
        return images.reshape(len(images), prod(image_shape))
    advice = "pass (n, channels, height, width), or rows (n, channels*height*width)"
    if shape == (height, width, channels):
        advice = "channels come first: pass (n, C, H, W); use X.transpose(0, 3, 1, 2)"
    elif shape == (channels, width, height):
        advice = "height comes before width"
    elif shape == (height, width) and channels == 1:
        advice = "the channel has a dimension of its own: pass X[:, None]"
    expected = f"image_shape={image_shape}"
    if is_fitted:
        expected = f"{estimator_name} was fitted to images of shape {image_shape}"
    raise ValueError(f"X has shape {images.shape}, but {expected}; {advice}.")


def check_n_columns(image_shape, n_columns):
    """Refuse a table that does not have one column per pixel of the images."""
    size = prod(image_shape)
    if n_columns != size:
        product = " * ".join(map(str, image_shape))
        raise ValueError(
            f"image_shape={image_shape} means {product} = {size} columns, but X has "
            f"{n_columns}; pass images (n, channels, height, width), or rows of "
            "channels*height*width columns, and the image_shape they have."
        )


def check_pixels(network, likelihood, n_pixels):
    """Refuse a network for images if the likelihood does not fit to it."""
    if network.has_outputs and likelihood.is_mixed:
        raise ValueError(
            f"network={type(network).__name__} has one likelihood for all pixels, "
            "but columns have different ones; use network='mlp'."
        )
    n_inputs = likelihood.link.count_inputs(n_pixels)
    if network.needs_images and n_inputs != n_pixels:
        raise ValueError(
            f"network={type(network).__name__} takes one value per pixel, but "
            f"likelihood={type(likelihood.members[0]).__name__} makes {n_inputs} "
            f"values of {n_pixels} pixels; use network='mlp'."
        )
