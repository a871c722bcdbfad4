"""One row through latents and likelihoods of a user's own, before training.

What fails is refused there, with the name of the member: not after training, where
scores are computed in double precision with noise that is given.
"""

import torch
from sklearn.base import BaseEstimator

from .._utils._compat import add_note
from .._utils._draws import draw_privately
from ._precision import convert


def try_members(module):
    """Refuse a latent or a likelihood that cannot be trained or scored.

    Members of this package are not tried.

    Parameters
    ----------
    module : VAEModule
    """
    own = [m for m in (module.latent, *module.likelihood.members) if _is_own(m)]
    if not own:
        return
    _check_copies(module)
    names = " and ".join(map(repr, own))
    for dtype, precision in {torch.float32: "single", torch.float64: "double"}.items():
        try:
            with torch.no_grad(), draw_privately(0):
                tried = module if dtype == module.dtype else convert(module, dtype)
                _run(tried, dtype)
        except Exception as error:
            add_note(
                error,
                f"{names}: tried out before training with a row of zeros, in "
                f"{precision} precision. Training is in single precision, scores are "
                "in double: give new tensors the dtype of the arguments.",
            )
            raise


def _is_own(member):
    """Return whether a member, or a member among its parameters, is not ours."""
    parts = [member, *member.get_params().values()]
    own = __name__.split(".")[0]
    return any(
        isinstance(part, BaseEstimator) and type(part).__module__.split(".")[0] != own
        for part in parts
    )


def _check_copies(module):
    """Refuse weights of a prior that the folds would share."""
    for name, weight in module.prior.named_parameters():
        if module.n_copies is not None and weight.shape[:1] != (module.n_copies,):
            raise ValueError(
                f"latent={module.latent!r}: the weight {name!r} of its prior has the "
                f"shape {tuple(weight.shape)}, but n_copies={module.n_copies} folds "
                "are trained side by side, and need as many in the first dimension; "
                "or set is_stackable = False."
            )


def _run(module, dtype):
    """Compute, for a row of zeros, what training and scores need."""
    latent, n_components = module.latent, module.n_components
    batch = (1,) if module.n_copies is None else (module.n_copies, 1)
    loc = torch.zeros(*batch, n_components, dtype=dtype)
    raw = torch.zeros(*batch, *latent.raw_shape(n_components), dtype=dtype)
    posterior = module.make_posterior(raw, loc, torch.ones_like(loc))
    noise = torch.zeros(2, *(1 for _ in batch), n_components, dtype=dtype)
    output = module.complete(posterior, noise)
    shape = *output.z.shape[:-1], n_components
    _check_shape(module, "draw", output.z, shape)
    for name, density in (("posterior", posterior), ("make_prior", output.prior)):
        _check_shape(module, name, density.log_prob(output.z), shape[:-1], "log_prob")
    if latent.enumerate(n_components, in_training=True) is None:
        _check_shape(module, "draw", latent.draw(posterior, None, 2), (2, *shape[1:]))
    shape = *posterior.batch_shape, latent.count_embedded(n_components)
    _check_shape(module, "embed", latent.embed(posterior), shape)
    _check_shape(module, "point_estimate", latent.point_estimate(posterior), loc.shape)
    latent.get_loc_scale(posterior)
    latent.log_ratio_per_component(posterior, output.prior, output.z)
    _ = output.likelihood.mean, output.likelihood.variance


def _check_shape(module, method, values, shape, of=None):
    """Refuse values of a latent that cannot be broadcast to a shape."""
    given, shape = tuple(values.shape), tuple(shape)
    # the prior is the same for all rows, and often for all folds
    pairs = zip(reversed(given), reversed(shape), strict=False)
    if len(given) > len(shape) or any(n not in (1, size) for n, size in pairs):
        what = f"{method}, of which {of} is" if of else f"{method} is"
        raise ValueError(
            f"latent={module.latent!r}: {what} {given}, but must be {shape}. "
            "The event of posterior and prior is all components: "
            "torch.distributions.Independent(..., 1)."
        )
