"""Memory and work that a module takes for a row.

The body of a network may be any torch module: its cost is measured by sending one row
of zeros through it.
"""

import math

import torch
from torch import nn

from .._utils._compat import add_note
from .._utils._draws import draw_privately
from ._precision import can_double

_CONVOLUTIONS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


def measure_bodies(module, n_outputs):
    """Return what `measure_body` finds in encoder and decoder together.

    And the names of those that can compute in single precision only. ``n_outputs`` are
    the widths of their bodies that the heads expect.
    """
    if module.network.is_linear:
        return 0, 0, ()
    folds = () if module.n_copies is None else (module.n_copies,)
    shapes = (module.n_inputs + module.n_flags,), (1, module.n_components)
    found, single = [], []
    for kind, (*draws, n_inputs), width in zip(
        ("encoder", "decoder"), shapes, n_outputs, strict=True
    ):
        shape = (*draws, *folds, 1, n_inputs)
        source = f"the n_outputs that make_{kind} returned"
        if kind == "decoder" and module.network.has_outputs:
            n_raw = module.likelihood.n_raw
            source = (
                f"n_raw * n_features = {n_raw} * {module.n_features}: the raw outputs "
                "of the likelihood, which has_outputs=True promises"
            )
        message = (
            f"network={module.network!r}: the {kind}'s body maps {shape} to {{given}}, "
            f"but the last dimension must be {width}, {source}."
        )
        body = getattr(module, kind)
        _check_body(body, module.network, kind)
        try:
            found.append(measure_body(body, shape, width, message))
        except Exception as error:
            add_note(
                error,
                f"network={module.network!r}: before training, the {kind}'s body was "
                f"called with zeros in single precision, {shape}.",
            )
            raise
        if not can_double(body, shape):
            single.append(kind)
    n_widest, n_repeated = zip(*found, strict=True)
    return max(n_widest), sum(n_repeated), tuple(single)


def _check_body(body, network, kind):
    """Refuse what cannot be measured, copied and recorded."""
    problem = None
    if not isinstance(body, nn.Module):
        problem = f"a {type(body).__name__}"
    elif any(isinstance(part, torch.jit.ScriptModule) for part in body.modules()):
        problem = "a module of torch.jit, or has one"
    if problem is not None:
        raise TypeError(
            f"network={network!r}: the {kind}'s body is {problem}; make_{kind} must "
            "return (body, n_outputs), the body a torch.nn.Module in Python."
        )


@torch.no_grad()
def measure_body(body, shape, n_outputs, message):
    """Return the size of a row's widest tensor, and the products of shared weights.

    The widest tensor of convolutions is their unfolded input. Of a weight that is used
    many times, the first product is not counted. The input has one row, or one for each
    fold; if the output is not ``n_outputs`` wide, the message is that of a ValueError,
    with ``{given}`` for the shape of the output.
    """
    n_rows = math.prod(shape[:-1])
    widths, repeated = [0], [0]

    def note(layer, inputs, output):
        if isinstance(output, torch.Tensor):
            widths.append(output.numel() // n_rows)
        if isinstance(layer, _CONVOLUTIONS):
            maps = inputs[0] if layer.transposed else output
            n_pixels = maps.numel() // (n_rows * maps.shape[1])
            repeated.append((n_pixels - 1) * layer.weight.numel())
            # torch may copy, for each pixel, all inputs that its output depends on
            window = layer.in_channels * math.prod(layer.kernel_size)
            widths.append(n_pixels * window)

    modes = [(module, module.training) for module in body.modules()]
    hooks = [module.register_forward_hook(note) for module, _ in modes]
    try:
        with draw_privately(0):
            output = body.eval()(torch.zeros(shape, dtype=torch.float32))
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes:
            module.training = mode
    given = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output)
    if given != (*shape[:-1], n_outputs):
        raise ValueError(message.format(given=given))
    return max(widths), sum(repeated)


def count_draws(module, n_draws):
    """Return the number of values of z that the score of a row averages over."""
    states = module.latent.enumerate(module.n_components)
    return n_draws if states is None else len(states)


def count_widest(module):
    """Return the number of values that a row has in the widest tensor of a pass."""
    if module.known_widest is not None:
        return module.known_widest
    outputs = [p.shape[-1] for p in module.parameters() if p.dim() > 1]
    # pseudo-inputs are not part of a row
    prior = getattr(module.prior, "n_widest", None)
    if prior is None:
        prior = max((p.numel() for p in module.prior.parameters()), default=0)
    n_start = module.linear_start.n_widest
    return max(*outputs, prior, n_start, module.n_features, module.n_widest, 256)


def count_work(module, batch_size):
    """Return the approximate number of floating-point operations of a training step."""
    parts = [part._parameters.values() for part in module.modules()]
    weights = [p for part in parts for p in part if p is not None and p.dim() > 1]
    products = sum(p.numel() for p in weights)
    return 6 * batch_size * (products + module.n_repeated)
