"""Single and double precision: copies of a module, and what a network can compute in.

Training is in single precision, scores are in double.
"""

import torch
from torch import nn

from .._utils._draws import draw_privately
from ..networks import MLP, Linear

# draws of a row that are decoded by one product
DRAWS_TOGETHER = 8
# values, in units of a column, whose squares may overflow in single precision
_FARTHEST_SINGLE = 1e12
# the parts of a module that decode many draws of a row
_DECODER = ("decoder", "decoder_neck", "decoder_head")


def make_single(module):
    """Bring weights to single precision that torch made in another default type."""
    if torch.get_default_dtype() != torch.float32:
        module.float()


def is_far(x):
    """Return which rows (n, n_features) are too far from others for single precision.

    They are given in double precision. What is divided by a small noise, squared, may
    overflow.
    """
    return (x.abs() > _FARTHEST_SINGLE).any(dim=-1)


def convert(module, dtype):
    """Return a copy of a module with its tensors in another precision.

    A deep copy takes ten times as long, more than scoring a few rows does. Networks in
    the module's ``single_bodies`` are not copied.
    """
    # not copy.copy, which modules with parametrizations refuse
    converted = object.__new__(type(module))
    vars(converted).update(vars(module))
    kept = getattr(module, "single_bodies", ())
    for kind in ("_parameters", "_buffers", "_modules"):
        parts = dict(vars(module)[kind])
        for name, part in parts.items():
            if name in kept or part is None:
                continue
            if isinstance(part, nn.Module):
                parts[name] = convert(part, dtype)
            elif part.is_floating_point():
                parts[name] = part.detach().to(dtype)
        vars(converted)[kind] = parts
    return converted


def decode_single(module, precise):
    """Return a copy of a precise module that decodes draws in single precision.

    Corrections to the linear start are small numbers in units of its noise, and have
    digits to spare; everything else stays in double precision. Every row has products
    of its own, so that its rounding does not depend on other rows. Where this is not
    possible, the precise module itself is returned.

    Parameters
    ----------
    module : VAEModule
        The module as it was trained.
    precise : VAEModule
        The same in double precision.
    """
    start = precise.linear_start
    if precise.is_refined:
        found = decode_single(module.linear_start.map, start.map)
        if found is start.map:
            return precise
        start = _replace(start, map=found)
    elif not _can_decode_single(module):
        return precise
    parts = ((name, getattr(module, name)) for name in _DECODER)
    parts = {name: _split_rows(part) for name, part in parts if part is not None}
    mixed = _replace(precise, linear_start=start, **parts)
    mixed.decodes_by_row = True
    return mixed


def leave_out_background(module):
    """Return a copy of a module for draws, or itself; see `_without_background`."""
    copied = _replace(module)
    copied.likelihood = module.likelihood._without_background()
    return copied


def run_single(module, precise):
    """Return a copy of a precise module whose networks compute in single precision.

    What they are corrections to stays in double precision. A linear model, whose
    outputs are not bounded, is returned as it is.
    """
    names = ("encoder", "encoder_head", *_DECODER)
    parts = {name: getattr(module, name) for name in names}
    parts = {name: part for name, part in parts.items() if part is not None}
    if module.network.is_linear or module.dtype != torch.float32:
        parts = {}
    start = precise.linear_start
    if precise.is_refined:
        start = _replace(start, map=run_single(module.linear_start.map, start.map))
    return _replace(precise, linear_start=start, **parts)


def _can_decode_single(module):
    is_known = type(module.network) is MLP and not module.network.is_linear
    # squashed, z is finite in single precision too
    is_known = is_known and module.is_corrected and module.n_copies is None
    # a sum over all values of z is exact
    is_known = is_known and module.latent.enumerate(module.n_components) is None
    weight = module.decoder_head.weight
    return is_known and weight.dtype == torch.float32 and weight.device.type == "cpu"


def _replace(module, **parts):
    """Return a shallow copy of a module with other parts."""
    copied = object.__new__(type(module))
    vars(copied).update(vars(module))
    vars(copied)["_modules"] = {**module._modules, **parts}
    return copied


def _split_rows(body):
    """Return a shallow copy of a body whose layers multiply row by row."""
    copied = _replace(
        body, **{name: _split_rows(part) for name, part in body._modules.items()}
    )
    if isinstance(body, Linear):
        copied.by_row = True
    return copied


@torch.no_grad()
def can_double(body, shape):
    """Return whether a network can compute in double precision.

    It cannot if it has tensors that `convert` does not reach: tensors that are neither
    parameters nor buffers, those made without a dtype, layers in a list.

    Parameters
    ----------
    body : Module
        It computes in single precision.
    shape : tuple of int
        Shape of an input.
    """
    zeros = torch.zeros(shape, dtype=torch.float64)
    try:
        with draw_privately(0):
            return convert(body, zeros.dtype).eval()(zeros).dtype == zeros.dtype
    except Exception:
        return False
