"""Single and double precision: copies of a module, and what a network can compute in.

Training is in single precision, scores are in double.
"""

import torch
from torch import nn

from .._utils._draws import draw_privately


def make_single(module):
    """Bring weights to single precision that torch made in another default type."""
    if torch.get_default_dtype() != torch.float32:
        module.float()


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
